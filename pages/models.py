"""Model versions side by side: what they are, what was measured of them, and which one is the default."""

from __future__ import annotations

import streamlit as st

from ui import access, default_model, model_cards, model_figures, model_tabs, resources

visitor = access.require(access.Permission.READ_MODELS)

st.title("Models", anchor=False)
versions = resources.versions()
default_model.show(versions, visitor)
shown = model_cards.choose(versions)
if shown:
    model_tabs.show(shown, model_figures.choose_set(shown))
