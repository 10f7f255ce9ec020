"""The tabs of an open collection, in the order of the work; only the open one is made."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lss_core.permissions import Permission
from lss_core.vocabulary import Refusal
from ui.curate import (
    adjudicate_tab,
    agreement_tab,
    handover_tab,
    import_tab,
    labels_tab,
    levels_tab,
    overview_tab,
    people_tab,
    picker,
    plan_tab,
    reference_tab,
    regions_tab,
    split_tab,
    train_tab,
)
from ui.curate.opened import OpenCollection
from ui.study import badges, confirm
from ui.wording import plain

# The tab's name, the permission that it needs, and what makes it.
TABS: dict[str, tuple[Permission, Callable[[OpenCollection], None]]] = {
    "Overview": (Permission.CURATE, overview_tab.show),
    "People": (Permission.INVITE, people_tab.show),
    "Import": (Permission.IMPORT_SCANS, import_tab.show),
    "Levels": (Permission.CURATE, levels_tab.show),
    "Regions": (Permission.CURATE, regions_tab.show),
    "Plan": (Permission.IMPORT_SCANS, plan_tab.show),
    "Labels": (Permission.CURATE, labels_tab.show),
    "Agreement": (Permission.CURATE, agreement_tab.show),
    "Adjudicate": (Permission.ADJUDICATE, adjudicate_tab.show),
    "Reference": (Permission.IMPORT_SCANS, reference_tab.show),
    "Split": (Permission.IMPORT_SCANS, split_tab.show),
    "Train": (Permission.TRAIN, train_tab.show),
    "Hand over": (Permission.TRAIN, handover_tab.show),
}


def show(opened: OpenCollection) -> None:
    """The collection's name and its tabs."""
    _show_head(opened)
    confirm.show_announcement()
    confirm.begin_run()
    offered = {name: make for name, (needed, make) in TABS.items() if needed in opened.may}
    made = st.tabs(list(offered), key=picker.TAB, on_change="rerun", bind="query-params")
    for tab, make in zip(made, offered.values(), strict=True):
        if tab.open:
            with tab:
                _make(make, opened)
    confirm.end_run()


def _make(make: Callable[[OpenCollection], None], opened: OpenCollection) -> None:
    try:
        make(opened)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")


def _show_head(opened: OpenCollection) -> None:
    st.button("All collections", icon=":material/arrow_back:", type="tertiary", on_click=picker.leave)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(opened.title), anchor=False, width="content")
        if opened.is_demo:
            badges.show_simulated()
