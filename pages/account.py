"""Who one is here: what a reader states of their experience, and the browsers in which one is signed in."""

from __future__ import annotations

import streamlit as st

from ui import access, account

visitor = access.require(access.Permission.READ_ABOUT)

st.title("Account", anchor=False)
account.show_profile(visitor)
account.show_sessions(visitor)
