"""The cases one by one: the desk with the case that is due, breaks, and the way back to earlier cases."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from sqlalchemy import Engine

from lss_core.study import reading, revisiting, submitting
from lss_core.study.actors import Actor
from lss_core.study.desks import Desk
from lss_core.study.reading import BlindedCase
from lss_core.study.revisiting import EarlierCase
from lss_core.vocabulary import Refusal
from ui.access import Visitor
from ui.reading import desk as component

RESTING = "reading_break"                       # in the tab's state: the token at which the reader took a break
CHOOSING = "reading_back"                       # the reader looks for an earlier case
NO_COOKIE = "The browser sent no cookie, so no case can be shown. Allow cookies for this site and reload the page."


def show(engine: Engine, visitor: Visitor, desk: Desk, *, note: str, leave: Callable[[], None]) -> None:
    """The case that is due, or the break that the reader takes from it."""
    assert visitor.actor is not None
    if not visitor.has_cookie:
        st.error(NO_COOKIE)
    elif RESTING in st.session_state:
        _show_break(engine, visitor.actor, leave)
    elif CHOOSING in st.session_state:
        choose_earlier(engine, visitor.actor, desk.study_id)
    else:
        _show_case(engine, visitor.actor, desk, note)


def choose_earlier(engine: Engine, actor: Actor, study_id: int) -> None:
    """A list of the reader's submitted cases; the chosen one is opened again with its former answer."""
    earlier = revisiting.earlier_cases(engine, actor, study_id)
    st.subheader("Earlier cases", anchor=False)
    if not earlier:
        st.info("No case of this session was submitted yet.")
    else:
        chosen = st.selectbox("Case", earlier, index=len(earlier) - 1, format_func=_earlier_name)
        st.caption("Its former answer stays stored. A new answer counts in its place.")
        if chosen and st.button("Open this case again", type="primary"):
            _go_back(engine, actor, chosen.token)
    if CHOOSING in st.session_state and st.button("Go on where I was"):
        del st.session_state[CHOOSING]
        st.rerun()


def _show_case(engine: Engine, actor: Actor, desk: Desk, note: str) -> None:
    case = reading.current_case(engine, actor, desk.study_id)
    if case is None:
        st.rerun()
    following = reading.next_scan(engine, actor, desk.study_id)
    data = component.as_data(case, desk.protocol_view, following=following.token if following else None)
    data["note"] = f"{note} · simulated study" if desk.is_demo else note
    asked = component.show(data, key=f"desk-{desk.study_id}")
    if asked:
        _follow(engine, actor, case, *asked)


def _follow(engine: Engine, actor: Actor, case: BlindedCase, asked: str, token: str) -> None:
    """Do what the desk asks. "done" and "reload" ask nothing but this run, which has shown what is due now."""
    if token != case.token:
        return
    if asked == "rest":
        st.session_state[RESTING] = token
        st.rerun()
    if asked == "back":
        st.session_state[CHOOSING] = True
        st.rerun()
    if asked == "leave":
        revisiting.return_forward(engine, actor, token)
        if _still_due(engine, actor, token):
            st.toast("This case was given back to you and needs an answer.")
        else:
            st.rerun()


def _still_due(engine: Engine, actor: Actor, token: str) -> bool:
    """A case that the principal investigator gave back stays due, whatever its reader does."""
    try:
        return submitting.touch(engine, actor, token)
    except Refusal:
        return False


def _show_break(engine: Engine, actor: Actor, leave: Callable[[], None]) -> None:
    st.subheader("Break", anchor=False)
    st.markdown("Your entries are saved, and this time is not counted as reading. You may also close the page.")
    with st.container(horizontal=True):
        resumed = st.button("Go on", type="primary")
        st.button("All my studies", on_click=leave)
    if resumed:
        submitting.touch(engine, actor, st.session_state.pop(RESTING), rested=True)
        st.rerun()


def _go_back(engine: Engine, actor: Actor, token: str) -> None:
    try:
        revisiting.go_back(engine, actor, token)
    except Refusal as refusal:
        st.error(str(refusal))
        return
    st.session_state.pop(CHOOSING, None)
    st.rerun()


def _earlier_name(case: EarlierCase) -> str:
    return f"Case {case.number}, {case.level.value}, submitted {case.submitted_at:%H:%M} UTC"
