"""Model versions side by side: what they are, what was measured of them, and which one is the default."""

from __future__ import annotations

import streamlit as st

from ui import access, default_model, model_cards, model_failures, model_figures, model_real, resources

visitor = access.require(access.Permission.READ_MODELS)

st.title("Models", anchor=False)
versions = resources.versions()
default_model.show(versions, visitor)
shown = model_cards.choose(versions)
if shown:
    chosen_set = model_figures.choose_set(shown)
    titles = ["Overview", *model_figures.TABS, "Real scans", "Training", "History"]
    overview, *figures, real, training, history = st.tabs(titles)
    with overview:
        model_cards.show(shown)
    for tab, title in zip(figures, model_figures.TABS, strict=True):
        with tab:
            model_figures.show(shown, chosen_set, title)
            if title == "Failures":
                model_failures.show_discussion(shown)
    with real:
        model_real.show(shown)
    with training:
        model_cards.show_training(shown)
    with history:
        default_model.show_log()
