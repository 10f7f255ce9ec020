"""The studies whose results a visitor may see: the list, and the one that the address names."""

from __future__ import annotations

import streamlit as st
from sqlalchemy import Engine

from lss_core.permissions import OF_ROLE, Permission
from lss_core.study import studies
from lss_core.study.actors import Actor
from lss_core.study.database import StudyState
from lss_core.study.studies import StudySummary
from lss_core.vocabulary import counted
from ui import demo_offer
from ui.study import badges
from ui.study.opened import OpenStudy
from ui.wording import plain

PARAMETER = "study"                             # of the address: the token of the open study
NOT_YOURS = "The address names a study whose results you may not see, or none. These are yours."
EMPTY = "No study yet. Make one under Studies; its progress stands here, and its figures after it was unblinded."
BLINDED, UNBLINDED = "blinded: progress only", "figures"


def opened(engine: Engine, actor: Actor) -> OpenStudy | None:
    """The study that the address names, or None."""
    token = st.query_params.get(PARAMETER)
    if token is None:
        return None
    found = _own(engine, actor).get(token)
    if found is None:
        st.warning(NOT_YOURS, icon=":material/warning:")
        return None
    return OpenStudy(engine, actor, found.study_id, found.token, found.title, found.state, found.is_demo, found.roles)


def show_list(engine: Engine, actor: Actor) -> None:
    """The studies of a person, the newest first."""
    st.title("Dashboard", anchor=False)
    own = _own(engine, actor)
    if not own:
        st.info(EMPTY, icon=":material/monitoring:")
    for study in own.values():
        _show_row(study)
    demo_offer.show()


def leave() -> None:
    """Go back to the list."""
    st.query_params.clear()


def _own(engine: Engine, actor: Actor) -> dict[str, StudySummary]:
    return {
        each.token: each for each in studies.my_studies(engine, actor)
        if any(Permission.SEE_RESULTS in OF_ROLE[role] for role in each.roles)
    }


def _open(token: str) -> None:
    st.query_params[PARAMETER] = token


def _show_row(study: StudySummary) -> None:
    with st.container(border=True, gap="xxsmall", key=f"dashboard-row-{study.study_id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(plain(study.title), key=f"look-{study.study_id}", type="tertiary", icon=":material/monitoring:",
                      on_click=_open, args=(study.token,))
            badges.show(study.state, simulated=study.is_demo)
        shown = UNBLINDED if study.state is StudyState.UNBLINDED else BLINDED
        st.caption(f"{counted(study.test_cases, 'test case')} · {counted(study.readers, 'reader')} · {shown}")
