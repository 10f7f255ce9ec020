"""What is in the collection: its scans with what was noted of them, what was refused, and patients who may be one."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from lss_core.curation import scans
from lss_core.curation.scans import CuratedScanRow, PossibleDuplicate, RefusedSource
from lss_core.vocabulary import Refusal, counted
from ui.curate.opened import OpenCollection
from ui.study import confirm
from ui.study.confirm import Question, Typed
from ui.study.wording import moment
from ui.tables import table
from ui.wording import plain

A_PAGE = 50                                     # rows
REASON = "Reason (kept in the audit log)"
EMPTY = "No scan yet. What you import appears here, with what was refused and why."


def show(opened: OpenCollection) -> None:
    """The quality report, and the ways to join patients and to remove a scan."""
    rows = scans.scans_of(opened.engine, opened.actor, opened.collection_id)
    refused = scans.refused_of(opened.engine, opened.actor, opened.collection_id)
    if not rows and not refused:
        st.info(EMPTY, icon=":material/radiology:")
        return
    _show_counts(rows, refused)
    _show_duplicates(opened, scans.possible_duplicates(opened.engine, opened.actor, opened.collection_id))
    _show_scans(rows)
    _show_refused(refused)
    if rows:
        _offer_join(opened, sorted({row.patient for row in rows}))
        _offer_removal(opened, rows)


def _show_counts(rows: Sequence[CuratedScanRow], refused: Sequence[RefusedSource]) -> None:
    noted = sum(bool(row.notes) for row in rows)
    left, second, third, right = st.columns(4)
    left.metric("Patients", len({row.patient for row in rows}), border=True)
    second.metric("Scans", len(rows), border=True)
    third.metric("Scans with a note", noted, border=True)
    right.metric("Refused", len(refused), border=True)


def _show_duplicates(opened: OpenCollection, found: Sequence[PossibleDuplicate]) -> None:
    for pair in found:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(
                f":material/group: **{plain(pair.first)}** and **{plain(pair.second)}** may be one person: "
                f"{plain(pair.reason)}. Until they are joined, a split may put them on both sides.", width="stretch",
            )
            _join(opened, pair.first, pair.second, key=f"join-{pair.first}-{pair.second}", label="Join …")


def _offer_join(opened: OpenCollection, patients: Sequence[str]) -> None:
    with st.expander("Join two patients"):
        left, right = st.columns(2)
        keep = left.selectbox("Keep", patients, index=None, key=f"join-keep-{opened.token}",
                              placeholder="Choose a patient")
        other = right.selectbox("and add the scans of", [each for each in patients if each != keep], index=None,
                                key=f"join-other-{opened.token}", placeholder="Choose the other")
        _join(opened, keep or "", other or "", key="join-two", label="Join …", disabled=not (keep and other))


def _join(opened: OpenCollection, keep: str, other: str, *, key: str, label: str, disabled: bool = False) -> None:
    question = Question(
        title="Join two patients?", button="Join", word="join", reason=REASON,
        consequence=f"All scans of **{plain(other)}** become scans of **{plain(keep)}**. They then stay together in "
                    "every split. Joining cannot be undone on this page.",
    )

    def join(typed: Typed) -> str:
        moved = scans.join_patients(opened.engine, opened.actor, opened.collection_id, keep=keep, other=other,
                                    reason=typed.reason)
        return f"{counted(moved, 'scan')} of {plain(other)} now belong to {plain(keep)}."

    confirm.offer(label, question, join, key=key, icon=":material/group:", disabled=disabled)


def _show_scans(rows: Sequence[CuratedScanRow]) -> None:
    if not rows:
        return
    text = ""
    if len(rows) > 10:
        text = st.text_input("Find", placeholder="patient, site, scanner or note", key="curate-scans-find")
    wanted = [row for row in rows if text.strip().lower() in _searched(row)]
    pages = max(1, -(-len(wanted) // A_PAGE))
    page = 1 if pages == 1 else int(st.number_input(f"Page of {pages}", 1, pages, 1, 1, key="curate-scans-page",
                                                    width=160))
    head = ("Scan", "Patient", "Scanner", "Slices", "Notes", "Levels")
    shown = wanted[(page - 1) * A_PAGE : page * A_PAGE]
    st.html(table(head, [_row(row) for row in shown], label="Scans"))


def _searched(row: CuratedScanRow) -> str:
    words = (str(row.scan_id), row.patient, row.site, row.name, row.manufacturer, row.kernel, *row.notes)
    return " ".join(words).lower()


def _row(row: CuratedScanRow) -> list[str]:
    who = ", ".join(filter(None, (row.sex, f"{row.age_years:.0f} y" if row.age_years is not None else "")))
    source = " · ".join(filter(None, (row.site and f"site {row.site}", "simulated" if row.simulated else "")))
    scanner = " ".join(filter(None, (row.manufacturer, row.kernel)))
    part = f"<br><small>{row.part}</small>" if row.part else ""
    return [
        f"{row.scan_id}<br><small>{html.escape(row.name)}</small>",
        f"{html.escape(row.patient)}<br><small>{html.escape(' · '.join(filter(None, (who, source))))}</small>",
        html.escape(scanner) or "—", f"{row.slices}<br><small>{row.slice_thickness_mm:g} mm</small>",
        "<br>".join(map(html.escape, row.notes)) or "—",
        ("confirmed" if row.levels_confirmed else "to confirm") + part,
    ]


def _show_refused(refused: Sequence[RefusedSource]) -> None:
    if not refused:
        return
    with st.expander(f"Refused: {counted(len(refused), 'source')}", icon=":material/block:"):
        rows = [[html.escape(each.name), html.escape(each.reason), moment(each.at)] for each in refused]
        st.html(table(("Source", "Why", "When"), rows, label="Refused sources"))


def _offer_removal(opened: OpenCollection, rows: Sequence[CuratedScanRow]) -> None:
    with st.expander("Remove a scan"):
        by_id = {row.scan_id: row for row in rows}
        chosen = st.selectbox("Scan", list(by_id), index=None, placeholder="Choose a scan",
                              key=f"remove-scan-{opened.token}",
                              format_func=lambda id: f"Scan {id}, {by_id[id].patient}")
        question = Question(
            title="Remove this scan?", button="Remove", word="remove", reason=REASON,
            consequence=f"Scan {chosen} leaves the collection with all its cases, and is not taken again by a later "
                        "import. It stays in the flow diagram with your reason.",
        )

        def remove(typed: Typed) -> str:
            if chosen is None:
                raise Refusal("Choose a scan first.")
            scans.remove_scan(opened.engine, opened.actor, opened.collection_id, chosen, reason=typed.reason)
            return f"Scan {chosen} is removed."

        confirm.offer("Remove …", question, remove, key="remove-scan", icon=":material/delete:",
                      disabled=chosen is None)
