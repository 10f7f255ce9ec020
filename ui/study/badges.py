"""The state of a study as a mark beside its name, in colours of a contrast above 7."""

from __future__ import annotations

import html

import streamlit as st

from lss_core.study.database import StudyState

# Text and background.
COLOURS = {
    StudyState.DRAFT: ("#1f2937", "#e5e7eb"),
    StudyState.OPEN: ("#14532d", "#dcfce7"),
    StudyState.PAUSED: ("#7c2d12", "#ffedd5"),
    StudyState.CLOSED: ("#1e3a8a", "#dbeafe"),
    StudyState.UNBLINDED: ("#4c1d95", "#ede9fe"),
}
SIMULATED = "Simulated scans or readers: no figure of this study is clinical."
SIMULATED_COLOURS = ("#7c2d12", "#fef3c7")
STYLE = "padding:.1rem .6rem;border-radius:1rem;font-size:.85rem;font-weight:600;white-space:nowrap;"


def show(state: StudyState, *, simulated: bool) -> None:
    """The state, and whether the study is simulated."""
    marks = [_mark(state.value, COLOURS[state])]
    if simulated:
        marks.append(_mark("SIMULATED", SIMULATED_COLOURS, title=SIMULATED))
    st.html(f'<div style="display:flex;gap:.4rem">{"".join(marks)}</div>', width="content")


def show_simulated() -> None:
    """The mark of what is simulated, alone."""
    st.html(f'<div style="display:flex;gap:.4rem">{_mark("SIMULATED", SIMULATED_COLOURS, title=SIMULATED)}</div>',
            width="content")


def _mark(text: str, colours: tuple[str, str], *, title: str = "") -> str:
    style = f"{STYLE}color:{colours[0]};background:{colours[1]}"
    return f'<span title="{html.escape(title)}" style="{style}">{html.escape(text)}</span>'
