"""A reader's studies, and within one of them whatever its stage asks: experience, instructions, cases, signature."""

from __future__ import annotations

import streamlit as st
from sqlalchemy import Engine

from lss_core.study import desks, studies
from lss_core.study.actors import Actor
from lss_core.study.desks import Desk, Stage
from lss_core.vocabulary import Refusal
from ui import account, resources
from ui.access import Visitor
from ui.reading import cases, ending, instructions
from ui.wording import plain

PARAMETER = "study"                             # of the address: the token of the study that is being read
SIMULATED = "Simulated study: its scans are drawn by software. What is read here says nothing about patients."
TELLS = {
    Stage.PREPARING: "The study is being prepared. You will be able to read once its protocol is locked.",
    Stage.PAUSED: "The study is paused. What you entered is kept; come back when it goes on.",
    Stage.DONE: "You have read and signed all sessions of this study. Thank you. Nothing is left to do; results are "
                "shown to nobody before the study is closed and unblinded.",
    Stage.CLOSED: "The study is closed. Thank you for reading.",
}
STATES = {
    Stage.PREPARING: "being prepared", Stage.EXPERIENCE: "ready to begin", Stage.WAITING: "waiting",
    Stage.PAUSED: "paused", Stage.INSTRUCTIONS: "ready to begin", Stage.CASE: "reading", Stage.SIGN: "to be signed",
    Stage.DONE: "done", Stage.CLOSED: "closed", Stage.RESULT: "result available",
}
OPEN_LABELS = {
    Stage.EXPERIENCE: "Begin", Stage.INSTRUCTIONS: "Begin", Stage.CASE: "Go on", Stage.SIGN: "Sign",
    Stage.RESULT: "See my result",
}


def show(visitor: Visitor) -> None:
    """The study that the address names, or the list of all."""
    if visitor.actor is None:
        return
    engine = resources.studies()
    study_id = _study_of_address(engine, visitor.actor)
    if study_id is None:
        _show_list(engine, visitor.actor)
        return
    desk = desks.desk(engine, visitor.actor, study_id)
    if desk.stage is Stage.CASE:
        cases.show(engine, visitor, desk, note=_session_line(desk), leave=_leave)
        return
    _show_head(desk)
    _show_stage(engine, visitor, desk)


def _study_of_address(engine: Engine, actor: Actor) -> int | None:
    token = st.query_params.get(PARAMETER)
    if token is None:
        return None
    known: dict[str, int] = st.session_state.setdefault("reading_studies", {})
    if token not in known:
        known.update({each.token: each.study_id for each in studies.my_studies(engine, actor)})
    if token not in known:
        st.warning("The address names a study in which you do not read. These are yours.", icon=":material/warning:")
    return known.get(token)


def _show_list(engine: Engine, actor: Actor) -> None:
    st.title("Reading", anchor=False)
    mine = desks.desks(engine, actor)
    if not mine:
        st.info("You are not a reader of any study. A principal investigator can invite you by e-mail.",
                icon=":material/info:")
        return
    tokens = {each.study_id: each.token for each in studies.my_studies(engine, actor)}
    for desk in mine:
        _show_row(desk, tokens[desk.study_id])


def _show_row(desk: Desk, token: str) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        with st.container(gap="small"):
            st.markdown(f"**{plain(desk.title)}**")
            st.caption(f"{_session_line(desk)} · {STATES[desk.stage]}{_progress(desk)}")
        label = OPEN_LABELS.get(desk.stage, "Open")
        kind = "primary" if desk.stage in OPEN_LABELS else "secondary"
        if st.button(label, type=kind, key=f"open-{desk.study_id}", help=f"Open {desk.title}"):
            st.query_params[PARAMETER] = token
            st.rerun()


def _show_head(desk: Desk) -> None:
    st.button("All my studies", icon=":material/arrow_back:", on_click=_leave, type="tertiary")
    st.title(plain(desk.title), anchor=False)
    st.caption(f"{_session_line(desk)}{_progress(desk)}")
    if desk.is_demo:
        st.info(SIMULATED, icon=":material/science:")


def _leave() -> None:
    st.query_params.pop(PARAMETER, None)
    st.session_state.pop(cases.RESTING, None)


def _show_stage(engine: Engine, visitor: Visitor, desk: Desk) -> None:
    assert visitor.actor is not None
    if desk.stage in TELLS:
        st.info(TELLS[desk.stage], icon=":material/info:")
    elif desk.stage is Stage.EXPERIENCE:
        _ask_experience(engine, visitor, desk)
    elif desk.stage is Stage.WAITING and desk.opens_at:
        st.info(f"Thank you for session {desk.session_number - 1}. Session {desk.session_number} opens on "
                f"{desk.opens_at:%A, %d %B %Y} (UTC), so that the cases are not remembered.", icon=":material/event:")
    elif desk.stage is Stage.INSTRUCTIONS:
        _offer_session(engine, visitor.actor, desk)
    elif desk.stage is Stage.SIGN:
        ending.show_signature(engine, visitor.actor, desk)
    elif desk.stage is Stage.RESULT:
        ending.show_result(engine, visitor.actor, desk)


def _ask_experience(engine: Engine, visitor: Visitor, desk: Desk) -> None:
    assert visitor.actor is not None
    st.subheader("First, about you", anchor=False)
    st.markdown("Readers are compared by experience, so please state yours. You sign with the name that you give here.")
    account.show_profile(visitor)
    if desks.desk(engine, visitor.actor, desk.study_id).stage is not Stage.EXPERIENCE:
        st.rerun()


def _offer_session(engine: Engine, actor: Actor, desk: Desk) -> None:
    instructions.show(desk.protocol_view)
    understood = st.checkbox("I have read the instructions and the criteria.", key=f"understood-{desk.study_id}")
    if not st.button(f"Begin session {desk.session_number}", type="primary", disabled=not understood):
        return
    try:
        desks.begin_session(engine, actor, desk.study_id)
    except Refusal as refusal:
        st.error(str(refusal))
    else:
        st.rerun()


def _session_line(desk: Desk) -> str:
    return f"Session {desk.session_number} of {desk.sessions}"


def _progress(desk: Desk) -> str:
    return f" · {desk.done} of {desk.total} cases submitted" if desk.total else ""
