"""The tabs of the Models page; only the open one is made, because charts take time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from lss_core.registry import ModelVersion
from ui import default_model, model_cards, model_failures, model_figures, model_real

Tab = Callable[[Sequence[ModelVersion], str], None]     # versions, and the set of scans that is chosen


def _failures(versions: Sequence[ModelVersion], set_name: str) -> None:
    model_figures.show(versions, set_name, "Failures")
    model_failures.show_discussion(versions)


TABS: dict[str, Tab] = {
    "Overview": lambda versions, _: model_cards.show(versions),
    "Accuracy": lambda versions, set_name: model_figures.show(versions, set_name, "Accuracy"),
    "Calibration": lambda versions, set_name: model_figures.show(versions, set_name, "Calibration"),
    "Measurement": lambda versions, set_name: model_figures.show(versions, set_name, "Measurement"),
    "Comparison": lambda versions, set_name: model_figures.show(versions, set_name, "Comparison"),
    "Failures": _failures,
    "Real scans": lambda versions, _: model_real.show(versions),
    "Training": lambda versions, _: model_cards.show_training(versions),
    "History": lambda versions, _: default_model.show_log(),
}


def show(versions: Sequence[ModelVersion], set_name: str) -> None:
    """The tabs, and what is in the open one."""
    for tab, make in zip(st.tabs(list(TABS), key="models-tab", on_change="rerun"), TABS.values(), strict=True):
        if tab.open:
            with tab:
                make(versions, set_name)
