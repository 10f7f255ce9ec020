"""Curate a collection: scans in, levels and regions set, graded by two, adjudicated, split, trained on, handed over."""

from __future__ import annotations

import streamlit as st

from lss_core.vocabulary import Refusal
from ui import access, resources
from ui.curate import picker, tabs

visitor = access.require(access.Permission.CURATE)

try:
    engine = resources.studies()
    if visitor.actor is None:
        raise Refusal("Nobody is signed in; sign in to see your collections.")
    collection = picker.opened(engine, visitor.actor, visitor)
    if collection:
        tabs.show(collection)
    else:
        picker.show_list(engine, visitor.actor)
except Refusal as refusal:
    st.error(str(refusal), icon=":material/block:")
