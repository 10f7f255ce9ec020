"""The blinded reading test: one case, one form, next."""

from __future__ import annotations

import streamlit as st

from lss_core.vocabulary import Refusal
from ui import access
from ui.reading import room

visitor = access.require(access.Permission.READ_CASES)

try:
    room.show(visitor)
except Refusal as refusal:
    st.error(str(refusal), icon=":material/block:")
