"""The audit log of the study, newest first, whether it is whole, and the signatures."""

from __future__ import annotations

import html
import json
import re

import streamlit as st

from lss_core.study import audit_log, verification
from lss_core.study.database import AuditEvent
from ui.study.opened import OpenStudy
from ui.study.wording import moment
from ui.tables import table

HEAD = ("Line", "Who", "What", "Change")
SIGNED = ("When", "Who", "Signed as", "Meaning", "What", "SHA-256 of what was signed")
A_PAGE = 100
LONGEST = 240                                   # characters of a value that are shown
HASH = re.compile("[0-9a-f]{64}")
EVERYBODY, EVERYTHING = "Everybody", "Everything"


def show(opened: OpenStudy) -> None:
    """The check, the signatures, filters, and the lines."""
    _check(opened)
    _show_signatures(opened)
    kinds = audit_log.kinds_of(opened.engine, opened.actor, opened.study_id)
    left, right = st.columns(2)
    who = left.selectbox("Who", [EVERYBODY, *kinds.actors], key=f"audit-who-{opened.study_id}")
    what = right.selectbox("What", [EVERYTHING, *kinds.actions], key=f"audit-what-{opened.study_id}")
    wanted = {"who": "" if who == EVERYBODY else who, "action": "" if what == EVERYTHING else what}
    total = audit_log.how_many(opened.engine, opened.actor, opened.study_id, **wanted)
    pages = max(1, -(-total // A_PAGE))
    page = 1
    if pages > 1:
        page = int(st.number_input(f"Page of {pages}", 1, pages, 1, 1, key=f"audit-page-{who}-{what}", width=160))
    lines = audit_log.lines_of(
        opened.engine, opened.actor, opened.study_id, skip=(page - 1) * A_PAGE, limit=A_PAGE, **wanted
    )
    st.html(table(HEAD, [_row(line) for line in lines], label="Audit log"))
    st.caption(
        "Lines are only ever added; the database refuses to change one. An answer's line holds its hash, not its "
        "grades, and drafts are not logged."
    )


def _check(opened: OpenStudy) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        asked = st.button("Verify", icon=":material/verified:", key="audit-verify")
        st.markdown("Checks every line's hash, and protocol, orders and answers against the log.", width="stretch")
    if not asked:
        return
    with st.spinner("Checking …"):
        problems = audit_log.problems(opened.engine, opened.actor, opened.study_id)
        last = verification.last_line(opened.engine)
    if problems:
        st.error("The records are not whole:\n" + "\n".join(f"- {html.escape(each)}" for each in problems),
                 icon=":material/gpp_bad:")
        return
    st.success(
        f"Everything is whole. The log ends with line {last.number}, hash `{last.hash}`. Note both outside this "
        "system: they prove later that no line was cut off.", icon=":material/verified:",
    )


def _show_signatures(opened: OpenStudy) -> None:
    signed = audit_log.signatures_of(opened.engine, opened.actor, opened.study_id)
    with st.expander(f"Signatures ({len(signed)})", icon=":material/signature:"):
        if not signed:
            st.caption("Nothing is signed yet: the protocol is signed at its lock, a session at its end.")
            return
        rows = [
            [moment(each.at), *map(html.escape, (email, each.typed_name, each.meaning, each.what)),
             f"<code>{each.sha256}</code>"]
            for each, email in signed
        ]
        st.html(table(SIGNED, rows, label="Signatures"))


def _row(line: AuditEvent) -> list[str]:
    what = [html.escape(line.action), f"<small>{html.escape(line.subject)}</small>" if line.subject else "",
            f"<small>Reason: {html.escape(line.reason)}</small>" if line.reason else ""]
    return [
        f"{line.id}<br><small>{moment(line.at)}</small>", html.escape(line.actor), "<br>".join(filter(None, what)),
        _change(line),
    ]


def _change(line: AuditEvent) -> str:
    """The old and the new value, shortened."""
    parts = [f"<small>{name} {html.escape(in_words(text))}</small>"
             for name, text in (("from", line.old), ("to", line.new)) if text]
    return "<br>".join(parts)


def in_words(text: str) -> str:
    """A value of the log: "sha256 8f1ee20490646240…, session 1" for an object, itself otherwise; shortened."""
    value = json.loads(text)
    pairs = [f"{name} {_plain(each)}" for name, each in value.items()] if isinstance(value, dict) else [_plain(value)]
    said = HASH.sub(lambda found: f"{found.group()[:16]}…", ", ".join(pairs))
    return said if len(said) <= LONGEST else f"{said[:LONGEST]} … ({len(text)} characters in the log)"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
