"""Readers against the model: progress while the study is blinded, figures after it was unblinded."""

from __future__ import annotations

import streamlit as st

from lss_core.vocabulary import Refusal
from ui import access, resources
from ui.dashboard import board, picker

visitor = access.require(access.Permission.SEE_RESULTS)

try:
    if visitor.actor is None:
        raise Refusal("Nobody is signed in; sign in to see your studies.")
    study = picker.opened(resources.studies(), visitor.actor)
    if study:
        board.show(study, visitor)
    else:
        picker.show_list(resources.studies(), visitor.actor)
except Refusal as refusal:
    st.error(str(refusal), icon=":material/block:")
