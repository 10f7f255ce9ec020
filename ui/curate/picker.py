"""The collections of a visitor: the list, a new one, and the one that the address names."""

from __future__ import annotations

import streamlit as st
from sqlalchemy import Engine

from lss_core.curation import collections
from lss_core.curation.collections import CollectionSummary
from lss_core.permissions import Permission
from lss_core.study.actors import Actor
from lss_core.vocabulary import Refusal, counted
from ui.access import Visitor
from ui.curate.opened import OpenCollection
from ui.study import badges
from ui.study.confirm import announce
from ui.wording import plain

PARAMETER = "collection"                        # of the address: the token of the open collection
TAB = "curate-tab"                              # of the session and of the address
FIRST_TAB = "Overview"
OPERATOR_MAY = (
    "You may not create collections here. Ask whoever runs this installation to allow it "
    "(`python -m lss_core invite YOUR-EMAIL`), or a principal investigator to invite you to a collection."
)
NONE_YET = (
    "No collection yet. A collection is a pile of scans on its way to a reference standard: import the scans, confirm "
    "the disc levels, draw the regions, have two people grade every case alone, adjudicate, lock the reference, split, "
    "train, and hand the control set to a reader study."
)


def opened(engine: Engine, actor: Actor, visitor: Visitor) -> OpenCollection | None:
    """The collection that the address names, or None."""
    token = st.query_params.get(PARAMETER)
    if token is None:
        return None
    found = {each.token: each for each in collections.my_collections(engine, actor)}.get(token)
    if found is None:
        st.warning("The address names a collection in which you have no role, or none. These are yours.",
                   icon=":material/warning:")
        return None
    return OpenCollection(engine, actor, visitor, found.collection_id, found.token, found.title, found.is_demo,
                          found.roles)


def show_list(engine: Engine, actor: Actor) -> None:
    """The collections of a person, and a form for a new one."""
    st.title("Collections", anchor=False)
    mine = collections.my_collections(engine, actor)
    if not mine:
        st.info(NONE_YET, icon=":material/inventory_2:")
    for collection in mine:
        _show_row(collection)
    _offer_new(engine, actor, first=not mine)


def leave() -> None:
    """Go back to the list."""
    st.query_params.pop(PARAMETER, None)


def go_to(tab: str) -> None:
    """Open a tab: call before the tabs are made, as a button's `on_click`."""
    st.session_state[TAB] = tab


def _open(token: str) -> None:
    st.query_params[PARAMETER] = token
    st.session_state[TAB] = FIRST_TAB


def _show_row(collection: CollectionSummary) -> None:
    with st.container(border=True, gap="xxsmall", key=f"collection-row-{collection.collection_id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(plain(collection.title), key=f"open-{collection.collection_id}", type="tertiary",
                      icon=":material/folder_open:", on_click=_open, args=(collection.token,))
            if collection.is_demo:
                badges.show_simulated()
        roles = " and ".join(sorted(role.label for role in collection.roles))
        st.caption(
            f"{counted(collection.scans, 'scan')} · {counted(collection.cases, 'case')} · "
            f"{collection.labelled} graded by both · you are {roles}"
        )


def _offer_new(engine: Engine, actor: Actor, *, first: bool) -> None:
    if Permission.CREATE_STUDY not in actor.permissions:
        st.caption(OPERATOR_MAY)
        return
    with st.expander("New collection", expanded=first, icon=":material/add:"), st.form("new-collection", border=False):
        title = st.text_input("Title", placeholder="for example: Lumbar CT 2022-2023, two surgeons", max_chars=200,
                              help="Its annotators see it. It must not tell a hypothesis or a prevalence.")
        asked = st.form_submit_button("Create the collection", type="primary")
    if not asked:
        return
    try:
        collection = collections.create(engine, actor, title=title)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    announce("The collection is made. You are its principal investigator.")
    _open(collection.token)
    st.rerun()
