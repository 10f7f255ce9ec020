"""The way from a collection to what came of it on other pages."""

from __future__ import annotations

import html

import streamlit as st


def show(label: str, page: str, **parameters: str) -> None:
    """A link to another page of the portal, opened in this tab.

    Args:
        page: Its address, as in `ui.portal.ENTRIES`.
        parameters: Of the address; tokens, which need no quoting.
    """
    asked = "&".join(f"{name}={value}" for name, value in parameters.items())
    address = html.escape(f"{page}?{asked}" if asked else page)
    st.html(f'<a href="{address}" target="_self" style="color:#1d4ed8">{html.escape(label)}</a>', width="content")
