"""Run a reader study: cases, protocol, people, lock, progress, audit, export."""

from __future__ import annotations

import streamlit as st

from lss_core.vocabulary import Refusal
from ui import access, resources
from ui.study import picker, tabs

visitor = access.require(access.Permission.MANAGE_STUDY)

try:
    engine, actor = resources.studies(), visitor.actor
    if actor is None:
        raise Refusal("Nobody is signed in; sign in to see your studies.")
    study = picker.opened(engine, actor)
    if study:
        tabs.show(study)
    else:
        picker.show_list(engine, actor)
except Refusal as refusal:
    st.error(str(refusal), icon=":material/block:")
