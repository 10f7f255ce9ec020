"""The study as its readers will see it; nothing is stored."""

from __future__ import annotations

import streamlit as st

from lss_core.study import cases, studies
from lss_core.study.database import Arm, CaseKind
from lss_core.study.protocol import Protocol, arms_of
from lss_core.vocabulary import Refusal
from ui import access
from ui.reading import preview
from ui.study.opened import OpenStudy


def show(opened: OpenStudy) -> None:
    """Instructions, criteria, and one case on the readers' own desk."""
    protocol, _ = studies.protocol_of(opened.engine, opened.actor, opened.study_id)
    rows = cases.cases_of(opened.engine, opened.actor, opened.study_id)
    st.info("A preview for you. Nothing that you enter here is stored, and no order is drawn.",
            icon=":material/visibility:")
    if not protocol.instructions.strip():
        st.caption("No instructions of yours are written yet; write them under Protocol.")
    visitor = access.present()
    if visitor is None:
        return
    try:
        preview.show(visitor, protocol, rows)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    _tell_what_differs(protocol, training=any(row.kind is CaseKind.TRAINING for row in rows))


def _tell_what_differs(protocol: Protocol, *, training: bool) -> None:
    """What the one case of the preview does not show."""
    if Arm.AIDED in arms_of(protocol.design) and protocol.aid:
        heat = " and its heat maps" if protocol.aid.heat_map else ""
        st.caption(f"In the aided arm the grades of model {protocol.aid.version}{heat} stand beside the case.")
    if training and protocol.training_feedback:
        st.caption("After a training case its reference is shown; after a test case nothing is.")
