"""The tabs of an open study; only the open one is made."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lss_core.permissions import Permission
from lss_core.vocabulary import Refusal
from ui.study import (
    audit_tab,
    badges,
    cases_tab,
    confirm,
    export_tab,
    overview_tab,
    people_tab,
    picker,
    preview_tab,
    progress_tab,
    protocol_tab,
)
from ui.study.opened import OpenStudy
from ui.wording import plain

# The tab's name, the permission that it needs, and what makes it.
TABS: dict[str, tuple[Permission, Callable[[OpenStudy], None]]] = {
    "Overview": (Permission.MANAGE_STUDY, overview_tab.show),
    "Cases": (Permission.MANAGE_STUDY, cases_tab.show),
    "Protocol": (Permission.MANAGE_STUDY, protocol_tab.show),
    "People": (Permission.MANAGE_STUDY, people_tab.show),
    "Preview": (Permission.MANAGE_STUDY, preview_tab.show),
    "Progress": (Permission.SEE_PROGRESS, progress_tab.show),
    "Audit": (Permission.SEE_AUDIT, audit_tab.show),
    "Export": (Permission.EXPORT, export_tab.show),
}


def show(opened: OpenStudy) -> None:
    """The study's name and state, and its tabs."""
    _show_head(opened)
    confirm.show_announcement()
    confirm.begin_run()
    offered = {name: make for name, (needed, make) in TABS.items() if needed in opened.may}
    made = st.tabs(list(offered), key="tab", on_change="rerun", bind="query-params")
    for tab, make in zip(made, offered.values(), strict=True):
        if tab.open:
            with tab:
                _make(make, opened)
    confirm.end_run()


def _make(make: Callable[[OpenStudy], None], opened: OpenStudy) -> None:
    try:
        make(opened)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")


def _show_head(opened: OpenStudy) -> None:
    st.button("All studies", icon=":material/arrow_back:", type="tertiary", on_click=picker.leave)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(opened.title), anchor=False, width="content")
        badges.show(opened.state, simulated=opened.is_demo)
