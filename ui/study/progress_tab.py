"""How far each reader is, a reminder to copy, and giving a case back. Nothing here tells what was answered."""

from __future__ import annotations

import html

import streamlit as st

from lss_core.permissions import Permission
from lss_core.study import progress, revisiting
from lss_core.study.database import StudyState
from lss_core.study.desks import Stage
from lss_core.study.progress import ReaderProgress
from lss_core.study.revisiting import AnsweredItem
from lss_core.vocabulary import Refusal
from ui.study import acts, confirm
from ui.study.confirm import Question, Typed
from ui.study.opened import OpenStudy
from ui.study.wording import moment
from ui.tables import table
from ui.wording import plain

HEAD = ("Reader", "Where", "Cases read", "Last answer", "Median time", "To look at")
STAGES = {
    Stage.PREPARING: "waits for the lock",
    Stage.EXPERIENCE: "has not stated experience",
    Stage.WAITING: "washout",
    Stage.PAUSED: "paused",
    Stage.INSTRUCTIONS: "session not begun",
    Stage.CASE: "reading",
    Stage.SIGN: "all read, not signed",
    Stage.DONE: "finished",
    Stage.CLOSED: "closed",
    Stage.RESULT: "closed",
}


def show(opened: OpenStudy) -> None:
    """A row for each reader, then what can be done for one."""
    readers = progress.progress(opened.engine, opened.actor, opened.study_id)
    if not readers:
        st.info("No reader yet. Invite readers under People.", icon=":material/person_add:")
        return
    if opened.is_draft:
        st.info("Reading begins when the protocol is locked.", icon=":material/lock_open:")
    finished = sum(reader.stage is Stage.DONE for reader in readers)
    if not opened.is_draft and opened.state in (StudyState.OPEN, StudyState.PAUSED):
        st.progress(finished / len(readers), text=f"{finished} of {len(readers)} readers have signed all sessions")
    st.html(table(HEAD, [_row(reader) for reader in readers], label="Progress of the readers"))
    st.caption(
        "Cases count when submitted, hidden repeats included. The median is the time of a case by the server's "
        "clock, without idle time. Nothing here tells what was answered."
    )
    by_id = {reader.account_id: reader for reader in readers}
    chosen = st.selectbox(
        "For one reader", list(by_id), index=None, placeholder="Choose a reader: reminder, reopening a case",
        format_func=lambda each: f"{by_id[each].name} ({by_id[each].email})", key=f"progress-reader-{opened.study_id}",
    )
    if chosen is not None:
        reader = by_id[chosen]
        _remind(opened, reader)
        if Permission.REOPEN_CASE in opened.may and opened.state in (StudyState.OPEN, StudyState.PAUSED):
            _reopen(opened, reader)


def _row(reader: ReaderProgress) -> list[str]:
    where = STAGES[reader.stage]
    if reader.opens_at and reader.stage is Stage.WAITING:
        where += f", opens {reader.opens_at:%Y-%m-%d}"
    idle = f"<br><small>idle {duration(reader.idle_s)} in all</small>" if reader.idle_s else ""
    experience = reader.experience.value if reader.experience else "experience not stated"
    return [
        f"{html.escape(reader.name)}<br><small>{html.escape(reader.email)} · {experience}</small>",
        f"{where}<br><small>session {reader.session} of {reader.sessions}</small>",
        f"{reader.done} of {reader.total}" if reader.total else "—", moment(reader.last_answer_at),
        f"{duration(reader.median_s)}{idle}", "<br>".join(map(html.escape, reader.flags)) or "—",
    ]


def duration(seconds: float | None) -> str:
    """'45 s', '3 min 05 s', '2 h 10 min'; a dash for None."""
    if seconds is None:
        return "—"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _remind(opened: OpenStudy, reader: ReaderProgress) -> None:
    st.markdown("**Reminder to copy** into an e-mail; nothing is sent from here.")
    text = progress.reminder(opened.engine, opened.actor, opened.study_id, account_id=reader.account_id,
                             address=_reading_address())
    st.code(text, language=None, wrap_lines=True)


def _reading_address() -> str:
    """Where readers read, as this browser reaches the server; empty where that is not known."""
    base = (st.context.url or "").partition("?")[0].rstrip("/")
    return base.removesuffix("/study") + "/read" if base.endswith("/study") else ""


def _reopen(opened: OpenStudy, reader: ReaderProgress) -> None:
    items = revisiting.answered_items(opened.engine, opened.actor, opened.study_id, account_id=reader.account_id)
    if not items:
        st.caption("This reader has submitted no case yet, so none can be reopened.")
        return
    by_id = {item.item_id: item for item in items}
    chosen = st.selectbox(
        "Reopen a case", list(by_id), index=None, placeholder="Choose a submitted case",
        format_func=lambda each: _item_in_words(by_id[each]), key=f"reopen-item-{reader.account_id}",
        help="The reader answers it again. The former answer stays in the database; the last one counts.",
    )
    question = Question(
        title="Give this case back?", button="Reopen", word="reopen", reason=acts.REASON,
        consequence=f"**{plain(reader.name)}** answers this case once more and signs the session again; the "
                    "former answer stays. A washout counts from the new signature.",
    )

    def reopen(typed: Typed) -> str:
        if chosen is None:
            raise Refusal("Choose a case first.")
        item = by_id[chosen]
        revisiting.reopen(opened.engine, opened.actor, opened.study_id, item_id=chosen, reason=typed.reason)
        return f"Case {item.number} of session {item.session_number} is given back to {reader.name}."

    confirm.offer("Reopen …", question, reopen, key="reopen", icon=":material/undo:", disabled=chosen is None)


def _item_in_words(item: AnsweredItem) -> str:
    again = f", answered {item.revisions} times" if item.revisions > 1 else ""
    waits = ", waits for its reader" if item.is_open else ""
    return (f"Session {item.session_number}, case {item.number} ({item.level.value}, case {item.case_number} of the "
            f"study), submitted {moment(item.submitted_at)}{again}{waits}")
