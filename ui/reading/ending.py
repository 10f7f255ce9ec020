"""The end of a session: the reader signs; and after unblinding, where the protocol allows it, their own result."""

from __future__ import annotations

import math

import streamlit as st
from sqlalchemy import Engine

from lss_core.study import finishing
from lss_core.study.actors import Actor
from lss_core.study.desks import Desk
from lss_core.study.finishing import RegionResult
from lss_core.vocabulary import Refusal
from ui.reading import cases
from ui.tables import table

MEANINGS = (
    "I read these cases myself, without help and without knowledge of the reference standard.",
    "I read these cases myself; what hindered me is in the comments of the cases.",
)


def show_signature(engine: Engine, actor: Actor, desk: Desk) -> None:
    """The form under which a session is signed, and before it the way back where the protocol has one."""
    st.success(f"All {desk.total} cases of session {desk.session_number} are submitted.", icon=":material/check:")
    if desk.protocol_view.may_revisit:
        with st.expander("Look at an earlier case again"):
            cases.choose_earlier(engine, actor, desk.study_id)
    st.subheader("Sign", anchor=False)
    st.markdown("Your signature closes the session: its answers cannot be changed by you afterwards.")
    with st.form("signature"):
        meaning = st.radio("What your signature means", MEANINGS, index=None)
        name = st.text_input("Your name, as it stands in your account", autocomplete="off")
        if st.form_submit_button("Sign this session", type="primary"):
            _sign(engine, actor, desk, name, meaning or "")


def _sign(engine: Engine, actor: Actor, desk: Desk, name: str, meaning: str) -> None:
    try:
        finishing.sign_session(engine, actor, desk.study_id, typed_name=name, meaning=meaning)
    except Refusal as refusal:
        st.error(str(refusal))
    else:
        st.rerun()


def show_result(engine: Engine, actor: Actor, desk: Desk) -> None:
    """How the reader did, by arm and region. Nobody else's figures."""
    st.subheader("Your own result", anchor=False)
    result = finishing.own_result(engine, actor, desk.study_id)
    if not result:
        st.info("You have no submitted test case with a reference grade, so there is no result.")
        return
    on = "simulated cases, so these figures say nothing about patients" if desk.is_demo else "the cases of this study"
    st.caption(f"Agreement with the reference standard on {on}. First showings only; 95 % Wilson intervals, which take "
               "the cases as independent.")
    rows = [[arm.value, region.label, *_cells(each)] for (arm, region), each in result.items()]
    head = ["Arm", "Region", "Same grade", "One grade off", "Not gradable"]
    st.html(table(head, rows, label="Your own result"))


def _cells(result: RegionResult) -> list[str]:
    share, low, high = result.accuracy.value, result.accuracy.low, result.accuracy.high
    same = f"{result.right} of {result.graded}"
    if not math.isnan(share + low + high):
        same = f"{share:.0%} <small>({low:.0%} to {high:.0%}; {same})</small>"
    return [same, str(result.off_by_one), str(result.not_gradable)]
