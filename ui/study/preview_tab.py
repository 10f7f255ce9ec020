"""The study as its readers will see it; nothing is stored."""

from __future__ import annotations

import streamlit as st

from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import window
from lss_core.settings import Settings
from lss_core.study import cases, studies
from lss_core.study.cases import CaseRow
from lss_core.study.database import Arm, CaseKind
from lss_core.study.desks import ProtocolView
from lss_core.study.protocol import Protocol, arms_of
from lss_core.vocabulary import Grade, Refusal
from ui.reading import instructions
from ui.study.opened import OpenStudy

SOFT_WINDOW = {"width": 400.0, "level": 40.0}


def show(opened: OpenStudy) -> None:
    """Instructions, criteria, and one case with its questions."""
    protocol, _ = studies.protocol_of(opened.engine, opened.actor, opened.study_id)
    rows = cases.cases_of(opened.engine, opened.actor, opened.study_id)
    st.info("A preview for you. Nothing that you enter here is stored, and no order is drawn.",
            icon=":material/visibility:")
    with st.container(border=True):
        if not protocol.instructions.strip():
            st.caption("No instructions of yours are written yet; write them under Protocol.")
        instructions.show(ProtocolView.of(protocol))
    case = next((row for row in rows if row.kind is CaseKind.TRAINING), rows[0] if rows else None)
    if case is None:
        st.info("No case yet. Import cases to see one here as a reader does.", icon=":material/radiology:")
        return
    _show_case(protocol, case)


def _show_case(protocol: Protocol, case: CaseRow) -> None:
    with st.container(border=True):
        kind = "first training case" if case.kind is CaseKind.TRAINING else "first test case"
        st.subheader(f"{case.level.value}, the {kind}", anchor=False)
        left, right = st.columns([3, 2], gap="medium")
        with left:
            _show_slices(protocol, case)
        with right:
            _show_questions(protocol, case)


def _show_slices(protocol: Protocol, case: CaseRow) -> None:
    """The slices that are shown around the level."""
    store = ScanStore(Settings.from_environment().image_store)
    try:
        first, last = store.geometry(case.scan_key).around(case.slice_index, protocol.slices_around_mm)
        index = case.slice_index
        if last > first:
            index = st.slider("Slice", first + 1, last + 1, case.slice_index + 1, key=f"preview-{case.case_id}") - 1
        plane = store.slab(case.scan_key, index, index).hu[0]
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    st.image(window(plane, **SOFT_WINDOW), width="stretch", output_format="PNG", alt=f"Axial CT, slice {index + 1}")
    st.caption(f"Slice {index + 1}, in the window {SOFT_WINDOW['width']:g}/{SOFT_WINDOW['level']:g}. Readers scroll "
               f"from {first + 1} to {last + 1}, change the window, zoom and measure.")


def _show_questions(protocol: Protocol, case: CaseRow) -> None:
    """What is asked; the widgets are switched off."""
    for region in protocol.regions:
        st.radio(region.label, [int(grade) for grade in Grade], index=None, horizontal=True, disabled=True,
                 key=f"preview-{region.value}")
        if protocol.ask_confidence:
            st.slider("Confidence", 0, 100, 50, disabled=True, key=f"preview-confidence-{region.value}",
                      label_visibility="collapsed")
    st.caption(
        ("Each grade with a confidence from 0 to 100" if protocol.ask_confidence else "Each grade without a confidence")
        + ", or “not gradable” with a reason; image quality and a comment for the case."
    )
    if Arm.AIDED in arms_of(protocol.design) and protocol.aid:
        heat = " and its heat maps" if protocol.aid.heat_map else ""
        st.caption(f"In the aided arm the grades of model {protocol.aid.version}{heat} stand beside the case.")
    if case.kind is CaseKind.TRAINING and protocol.training_feedback:
        st.caption("After a training case its reference is shown; after a test case nothing is.")
