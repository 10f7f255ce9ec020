"""The studies of a visitor: the list, a new one, and the one that the address names."""

from __future__ import annotations

import streamlit as st
from sqlalchemy import Engine

from lss_core.permissions import OF_ROLE, Permission
from lss_core.study import studies
from lss_core.study.actors import Actor
from lss_core.study.studies import StudySummary
from lss_core.vocabulary import Refusal, counted
from ui import demo_offer
from ui.study import badges
from ui.study.confirm import announce
from ui.study.opened import OpenStudy
from ui.wording import plain

PARAMETER = "study"                             # of the address: the token of the open study
OPERATOR_MAY = (
    "You may not create studies here. Ask whoever runs this installation to allow it "
    "(`python -m lss_core invite YOUR-EMAIL`), or a principal investigator to invite you to a study."
)


def managed(engine: Engine, actor: Actor) -> dict[str, StudySummary]:
    """The studies that a person manages, the newest first, by their tokens."""
    return {
        each.token: each for each in studies.my_studies(engine, actor)
        if any(Permission.MANAGE_STUDY in OF_ROLE[role] for role in each.roles)
    }


def opened(engine: Engine, actor: Actor) -> OpenStudy | None:
    """The study that the address names, or None."""
    token = st.query_params.get(PARAMETER)
    if token is None:
        return None
    found = managed(engine, actor).get(token)
    if found is None:
        st.warning("The address names a study in which you have no such role, or none. These are yours.",
                   icon=":material/warning:")
        return None
    return OpenStudy(engine, actor, found.study_id, found.token, found.title, found.state, found.is_demo, found.roles)


def show_list(engine: Engine, actor: Actor) -> None:
    """The studies of a person, and a form for a new one."""
    st.title("Studies", anchor=False)
    mine = managed(engine, actor)
    if not mine:
        st.info(
            "No study yet. A reader study goes in five steps: import the cases, set the protocol, invite the readers, "
            "lock, and watch the progress until you close and unblind it.", icon=":material/science:",
        )
    for study in mine.values():
        _show_row(study)
    _offer_new(engine, actor, first=not mine)
    demo_offer.show()


def leave() -> None:
    """Go back to the list."""
    st.query_params.pop(PARAMETER, None)


def _open(token: str) -> None:
    st.query_params[PARAMETER] = token
    st.session_state["tab"] = "Overview"


def _show_row(study: StudySummary) -> None:
    with st.container(border=True, gap="xxsmall", key=f"study-row-{study.study_id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(plain(study.title), key=f"open-{study.study_id}", type="tertiary", icon=":material/folder_open:",
                      on_click=_open, args=(study.token,))
            badges.show(study.state, simulated=study.is_demo)
        roles = " and ".join(sorted(role.label for role in study.roles))
        st.caption(
            f"{counted(study.test_cases, 'test case')} · {counted(study.training_cases, 'training case')} · "
            f"{counted(study.readers, 'reader')} · you are {roles} · made {study.created_at:%Y-%m-%d}"
        )


def _offer_new(engine: Engine, actor: Actor, *, first: bool) -> None:
    if Permission.CREATE_STUDY not in actor.permissions:
        st.caption(OPERATOR_MAY)
        return
    with st.expander("New study", expanded=first, icon=":material/add:"), st.form("new-study", border=False):
        title = st.text_input(
            "Title", placeholder="for example: Lumbar stenosis on CT, readers against model", max_chars=200,
            help="Readers see it. It must not tell prevalence, hypothesis or site.",
        )
        asked = st.form_submit_button("Create the study", type="primary")
    if not asked:
        return
    try:
        study = studies.create(engine, actor, title=title)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    announce("The study is made. You are its principal investigator, and so cannot be one of its readers.")
    _open(study.token)
    st.rerun()

