"""The disc levels of each scan: proposed by the software, corrected and confirmed by a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from lss_core.curation import levels, scans
from lss_core.permissions import Permission
from lss_core.vocabulary import DiscLevel, Refusal, counted
from ui.curate import chooser, marking, picker, proposals_form, scan_view
from ui.curate.marking import Asked, Mark
from ui.curate.opened import OpenCollection

SCAN = "curate-levels-scan"                     # of the session: the open scan
ANSWERED = "curate-levels-answered"             # of the session: (scan, order of what was answered last)
PROBLEM = "curate-levels-problem"               # of the session: why what was asked last was not done
NO_SCAN = "No scan yet. Import scans first; then the software proposes where the discs are, and you correct it."
HOW = (
    "Go through the scans: put each level on the slice through its disc, or say that the scan does not show it, and "
    "confirm. A level of a confirmed scan is a case: its regions are drawn and it is graded on that slice."
)


@dataclass(frozen=True)
class Placed:
    """What a tab needs to know of one scan."""

    scan_id: int
    name: str                                   # a pseudonym for those who curate; else only the number
    slices: int
    confirmed: bool
    marks: Mapping[DiscLevel, int]


def show(opened: OpenCollection) -> None:
    """The proposals, and one scan after another."""
    if Permission.IMPORT_SCANS in opened.may:
        proposals_form.show(opened)
    placed = _placed(opened)
    if not placed:
        st.info(NO_SCAN, icon=":material/radiology:")
        if Permission.IMPORT_SCANS in opened.may:
            st.button("Go to Import", on_click=picker.go_to, args=("Import",))
        return
    open_scans = [each.scan_id for each in placed.values() if not each.confirmed]
    st.markdown(f"**{len(placed) - len(open_scans)} of {counted(len(placed), 'scan')}** confirmed.")
    chooser.take_wanted(SCAN)
    scan_id = chooser.choose("Scan", list(placed), key=SCAN, named=lambda each: _named(placed[each]),
                             first=(open_scans or list(placed))[0])
    _examine(opened, placed, placed[scan_id])
    st.caption(HOW)


def _placed(opened: OpenCollection) -> dict[int, Placed]:
    """The scans in the order of import, each with its levels."""
    marks: dict[int, dict[DiscLevel, int]] = {}
    found: dict[int, Placed] = {}
    for case in levels.cases_of(opened.engine, opened.actor, opened.collection_id):
        own = marks.setdefault(case.scan_id, {})
        own[case.level] = case.slice_index
        found[case.scan_id] = Placed(case.scan_id, "", case.slices, case.confirmed, own)
    if Permission.IMPORT_SCANS not in opened.may:
        return found
    return {
        row.scan_id: Placed(row.scan_id, row.patient, row.slices, row.levels_confirmed,
                            marks.get(row.scan_id, {}))
        for row in scans.scans_of(opened.engine, opened.actor, opened.collection_id)
    }


def _named(scan: Placed) -> str:
    who = f", {scan.name}" if scan.name else ""
    state = "confirmed" if scan.confirmed else f"{counted(len(scan.marks), 'level')}, not confirmed"
    return f"Scan {scan.scan_id}{who} · {state}"


def _examine(opened: OpenCollection, placed: Mapping[int, Placed], scan: Placed) -> None:
    if problem := st.session_state.pop(PROBLEM, None):
        st.error(problem, icon=":material/block:")
    token, volume = scan_view.look_at(opened, scan.scan_id)
    answered_scan, order = st.session_state.get(ANSWERED, (None, 0))
    asked = marking.show(
        [Mark(level, scan.marks.get(level)) for level in DiscLevel], token, volume,
        key=f"{opened.token}-{scan.scan_id}", start=_first_slice(scan), confirmed=scan.confirmed,
        answered=order if answered_scan == scan.scan_id else 0,
    )
    if asked is None:
        return
    st.session_state[ANSWERED] = (scan.scan_id, asked.order)
    try:
        _answer(opened, placed, scan, asked)
    except Refusal as refusal:
        st.session_state[PROBLEM] = str(refusal)
    st.rerun()


def _answer(opened: OpenCollection, placed: Mapping[int, Placed], scan: Placed, asked: Asked) -> None:
    """Put the levels where they were marked, or confirm them and go on to the next scan."""
    for level, slice_index in asked.marks.items():
        if scan.marks.get(level) != slice_index:
            levels.set_level(opened.engine, opened.actor, opened.collection_id, scan.scan_id, level, slice_index)
    if asked.confirm:
        levels.confirm_levels(opened.engine, opened.actor, opened.collection_id, scan.scan_id)
        chooser.go_on(list(placed), key=SCAN, is_open=lambda each: not placed[each].confirmed)


def _first_slice(scan: Placed) -> int:
    """The uppermost level, or the middle of a scan without any."""
    return max(scan.marks.values(), default=scan.slices // 2)
