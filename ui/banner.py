"""The research-use banner."""

from __future__ import annotations

import html

import streamlit as st

from lss_core.vocabulary import RESEARCH_USE

STYLE = (
    "background:#7c2d12;color:#fff;padding:.45rem .9rem;border-radius:.35rem;font-size:.95rem;font-weight:600;"
    "line-height:1.35"
)
LOCAL = "No sign-in is configured: whoever uses this computer may act as anybody."


# Streamlit leaves 6 rem free above a page and sets titles in 2.75 rem, which pushes the images off a laptop's screen.
LAYOUT = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 4.4rem; }
[data-testid="stMainBlockContainer"] h1 { font-size: 1.6rem; padding: 0.3rem 0; }
[data-testid="stMainBlockContainer"] h3 { font-size: 1.15rem; padding: 0.3rem 0; }
</style>"""


def show(*, acting_as: str = "") -> None:
    """Show the banner, and set the spacing that every page shares.

    Args:
        acting_as: Whom the local user acts as, where no sign-in is configured.
    """
    st.html(LAYOUT)
    text = html.escape(RESEARCH_USE)
    if acting_as:
        text += f' <span style="font-weight:400">{LOCAL} Now acting as: {html.escape(acting_as)}.</span>'
    st.html(f'<div role="note" aria-label="Research use" style="{STYLE}">{text}</div>')
