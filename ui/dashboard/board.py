"""An open study: its tabs, before and after unblinding; only the open tab is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from lss_core.study import results
from lss_core.study.database import StudyState
from lss_core.vocabulary import Refusal
from ui.access import Visitor
from ui.dashboard import computed, filters, picker, progress, reports, sections
from ui.dashboard.computed import Board
from ui.study import badges
from ui.study.opened import OpenStudy
from ui.wording import plain

BLINDED = (
    "The study is {}. Until it is closed and unblinded, nothing here tells what is right, for anybody: only progress, "
    "times and the quality of the record."
)
Tab = Callable[[Board], None]


def show(study: OpenStudy, visitor: Visitor) -> None:
    """The study's name and state, the filter, and the tabs."""
    _show_head(study)
    if study.state is not StudyState.UNBLINDED:
        st.info(BLINDED.format(study.state.value), icon=":material/visibility_off:")
        progress.show(study)
        return
    version = results.record_version(study.engine, study.actor, study.study_id)
    record = computed.record(study, version)
    kept = filters.choose(record.tables, study.token)
    board = Board(study, visitor, record, kept, computed.analysis(study, version, kept))
    st.markdown(f"**{plain(board.analysis.statement)}**")
    _show_tabs(board, {**sections.TABS, "Report": reports.show, "Progress": _progress})


def _show_tabs(board: Board, offered: Mapping[str, Tab]) -> None:
    made = st.tabs(list(offered), key="board", on_change="rerun", bind="query-params")
    for tab, make in zip(made, offered.values(), strict=True):
        if tab.open:
            with tab:
                _make(make, board)


def _make(make: Tab, board: Board) -> None:
    try:
        make(board)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")


def _progress(board: Board) -> None:
    progress.show(board.study)


def _show_head(study: OpenStudy) -> None:
    st.button("All studies", icon=":material/arrow_back:", type="tertiary", on_click=picker.leave)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(study.title), anchor=False, width="content")
        badges.show(study.state, simulated=study.is_demo)
