"""The tabs of figures: each a part of the report, with what is not estimable said in its place."""

from __future__ import annotations

import html
from collections.abc import Callable

import streamlit as st

from lss_core.study.analysis_values import RaterKind, RaterResult, RegionKind
from lss_core.study.report_html import kinds_of
from lss_core.study.report_tables import sections
from lss_core.study_figures import (
    StudyFigure,
    headline_figure,
    p_text,
    rater_confusion_figure,
    readers_figure,
)
from ui.dashboard import cells, chart
from ui.dashboard.computed import Board
from ui.tables import table
from ui.wording import plain

MRMC = "mrmc"                                   # how the names of its figures begin
TESTED = "{region}: model {version} minus the average {arm} reader {difference}, p {p}"


def _headline(board: Board) -> None:
    """Models, experience levels and published figures."""
    _show_figures(board, [headline_figure(board.analysis, kind) for kind in kinds_of(board.analysis)])
    _show_why_not(board, "results")


def _readers(board: Board) -> None:
    """Each reader and the model, and the test of the model against the average reader."""
    for each in board.analysis.against_readers:
        if each.figure == "accuracy" and not each.level:
            st.markdown(plain(TESTED.format(
                region=each.region.label, version=each.first, arm=board.analysis.scope.main_arm,
                difference=each.difference, p=p_text(each.p_value))))
    _show_figures(board, [readers_figure(board.analysis, kind) for kind in kinds_of(board.analysis)])
    _show_part(board, "against_readers", lambda figure: not figure.name.startswith(MRMC))


def _confusion(board: Board) -> None:
    """The matrix of a rater for each kind of region; a click on a cell lists its cases."""
    results = sorted(board.analysis.results, key=_models_first)
    names = list(dict.fromkeys((each.rater.name, each.arm) for each in results))
    if not names:
        _show_why_not(board, "results")
        return
    rater, arm = st.selectbox("Rater", names, format_func=lambda each: ", ".join(filter(None, each)),
                              key=f"rater-{board.study.study_id}", width=320)
    for kind in RegionKind:
        for each in results:
            if (each.region, each.rater.name, each.arm) == (kind, rater, arm):
                cells.show_matrix(board, each, rater_confusion_figure(board.analysis, each))
    cells.show_cell(board, rater, arm)


def _models_first(result: RaterResult) -> tuple[int, str]:
    order = (RaterKind.MODEL, RaterKind.READERS, RaterKind.LEVEL, RaterKind.READER)
    return order.index(result.rater.kind), result.rater.name


def _aid(board: Board) -> None:
    """Aided against unaided of every reader and experience level."""
    _show_part(board, "aided", lambda figure: not figure.name.startswith(MRMC))


def _mrmc(board: Board) -> None:
    """Every figure of merit for readers and cases like these, and the tests with their families."""
    for key in ("against_readers", "aided"):
        _show_part(board, key, lambda figure: figure.name.startswith(MRMC))
    _show_part(board, "tests")


def _tables(board: Board) -> None:
    """All rates as numbers, and what is missing."""
    _show_part(board, "scope")
    _show_part(board, "accuracy", lambda figure: False)


def _part(key: str) -> Callable[[Board], None]:
    return lambda board: _show_part(board, key)


TABS: dict[str, Callable[[Board], None]] = {
    "Headline": _headline,
    "Readers": _readers,
    "Confusion": _confusion,
    "ROC": _part("roc"),
    "Agreement": _part("agreement"),
    "Parts": _part("subgroups"),
    "Aid": _aid,
    "Time": _part("times"),
    "Repeats": _part("repeats"),
    "Calibration": _part("calibration"),
    "MRMC": _mrmc,
    "Tables": _tables,
}


def _show_part(board: Board, key: str, wanted: Callable[[StudyFigure], bool] = lambda figure: True) -> None:
    """A section of the report: its words, the figures that are wanted, its tables folded."""
    found = next(each for each in sections(board.analysis) if each.key == key)
    st.subheader(found.title, anchor=False)
    for paragraph in filter(None, found.paragraphs):
        st.info(plain(paragraph), icon=":material/info:")
    _show_figures(board, [each for each in board.figures(key) if wanted(each)])
    for each in found.tables:
        with st.expander(plain(each.caption)):
            st.html(table(each.head, [list(map(html.escape, row)) for row in each.rows], label=each.caption))


def _show_figures(board: Board, figures: list[StudyFigure]) -> None:
    for each in figures:
        chart.show(each, key=f"chart-{board.study.study_id}-{each.key}")


def _show_why_not(board: Board, section: str) -> None:
    if why := board.analysis.why_not(section):
        st.info(plain(why), icon=":material/info:")
