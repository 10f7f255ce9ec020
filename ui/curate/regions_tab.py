"""The three regions of each case: drawn, or taken over from the software, on the level's slice and its neighbours."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping

import streamlit as st

from lss_core.curation import levels, regions
from lss_core.curation.levels import CuratedCase
from lss_core.curation.regions import BoxOrigin
from lss_core.permissions import Permission
from lss_core.vocabulary import Refusal, counted
from ui.curate import chooser, drawing, scan_view
from ui.curate.drawing import Answer, Work
from ui.curate.opened import OpenCollection
from ui.tables import table

CASE = "curate-regions-case"                    # of the session: the open case
ANSWER = "curate-regions-answer"                # of the session: what became of the boxes handed in last
NO_CASE = "No case yet. Regions are drawn once the levels of a scan are confirmed."
HOW = (
    "Draw the central canal and both lateral recesses on the level's slice, or take over the dashed proposals where "
    "they are right. Left and right are the patient's. Who took over, moved, drew or copied which box is recorded."
)


def show(opened: OpenCollection) -> None:
    """How well the annotators agree, for those who steer, and one case after another."""
    if Permission.IMPORT_SCANS in opened.may:
        _show_agreement(opened)
    cases = {
        case.case_id: case for case in levels.cases_of(opened.engine, opened.actor, opened.collection_id)
        if case.confirmed
    }
    if not cases:
        st.info(NO_CASE, icon=":material/crop_free:")
        return
    if Permission.ANNOTATE not in opened.may:
        st.caption(f"{counted(len(cases), 'case')} for the annotators to draw. Only annotators draw; what one draws is "
                   "hidden from the other.")
        return
    drawn = regions.drawn_cases(opened.engine, opened.actor, opened.collection_id) & cases.keys()
    st.markdown(f"You have drawn **{len(drawn)} of {counted(len(cases), 'case')}**.")
    chooser.take_wanted(CASE)
    first = next((case_id for case_id in cases if case_id not in drawn), next(iter(cases)))
    case_id = chooser.choose("Case", list(cases), key=CASE, first=first,
                             named=lambda each: _named(cases[each], is_drawn=each in drawn))
    _examine(opened, list(cases), cases[case_id], drawn)
    st.caption(HOW)


def _named(case: CuratedCase, *, is_drawn: bool) -> str:
    return f"Scan {case.scan_id}, {case.level.value}{' · drawn' if is_drawn else ''}"


def _examine(opened: OpenCollection, order: list[int], case: CuratedCase, drawn: frozenset[int]) -> None:
    boxes = regions.boxes_of(opened.engine, opened.actor, opened.collection_id, case.case_id)
    token, volume = scan_view.look_at(opened, case.scan_id)
    work = drawing.show(
        token, volume, key=f"{opened.token}-{opened.actor.account_id}-{case.case_id}", level=case.level,
        slice_index=case.slice_index, proposed=boxes.proposed, mine=boxes.mine,
        last=st.session_state.get(ANSWER, Answer()),
    )
    if work is None:
        return
    try:
        work.check_inside(*volume.shape[1:])
        _save(opened, case, work)
    except Refusal as refusal:
        st.session_state[ANSWER] = Answer(work.answer, problem=str(refusal))
    else:
        st.session_state[ANSWER] = Answer(work.answer, saved=f"{opened.token}-{opened.actor.account_id}-{case.case_id}")
        if work.go_on:
            chooser.go_on(order, key=CASE, is_open=lambda each: each not in drawn)
    st.rerun()


def _save(opened: OpenCollection, case: CuratedCase, work: Work) -> None:
    for each in work.slices:
        regions.save_boxes(opened.engine, opened.actor, opened.collection_id, case.case_id, each.slice_index,
                           each.boxes, copied_from=each.copied_from)


def _show_agreement(opened: OpenCollection) -> None:
    with st.expander("Agreement of the annotators", icon=":material/compare_arrows:"):
        agreed = regions.box_agreement(opened.engine, opened.actor, opened.collection_id)
        rows = [
            [each.region.label, str(each.n), f"{each.median:.2f}" if each.n else "—",
             f"{each.low_quartile:.2f} to {each.high_quartile:.2f}" if each.n else "—"] for each in agreed
        ]
        st.html(table(("Region", "Pairs of boxes", "Median overlap (IoU)", "Middle half"), rows,
                      label="Overlap of the annotators' boxes"))
        st.caption("Overlap of two people's boxes on the same slice: their intersection over their union, 1 where they "
                   "are the same.")
        _show_origins(regions.box_origins(opened.engine, opened.actor, opened.collection_id))


def _show_origins(origins: Mapping[str, Counter[BoxOrigin]]) -> None:
    if not origins:
        return
    head = ("Annotator", *(origin.value.capitalize() for origin in BoxOrigin))
    rows = [[html.escape(email), *(str(counts[origin]) for origin in BoxOrigin)]
            for email, counts in sorted(origins.items())]
    st.html(table(head, rows, label="How each annotator came to the boxes"))
