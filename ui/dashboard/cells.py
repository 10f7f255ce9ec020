"""From a cell of a confusion matrix to its cases, and from a case to the viewer with the model's heat map."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from lss_core.study.analysis_values import RaterResult, RegionKind
from lss_core.study.report import cases_of_cell
from lss_core.study_figures import StudyFigure
from lss_core.vocabulary import Grade, Region
from ui.dashboard import case_view, chart
from ui.dashboard.computed import Board
from ui.wording import plain

NO_CELL = "Click a cell of a matrix, or choose one here, to list its cases."
GRADES = tuple(int(grade) for grade in Grade)


@dataclass(frozen=True)
class Cell:
    """A cell of a rater's matrix. `given` None: no grade was given."""

    region: RegionKind
    rater: str
    arm: str
    reference: int
    given: int | None


def show_matrix(board: Board, result: RaterResult, shown: StudyFigure) -> None:
    """A matrix whose cells can be clicked."""
    key = f"matrix-{board.study.study_id}-{shown.key}"

    def choose() -> None:
        row, column = st.session_state[key]["cell"]
        if row in GRADES:                       # a browser may send anything
            st.session_state.update({
                _key(board, "region"): result.region, _key(board, "reference"): row,
                _key(board, "given"): column if column in GRADES else None, _key(board, "cell"): True,
            })

    chart.show(shown, key=key, on_cell=choose)


def show_cell(board: Board, rater: str, arm: str) -> None:
    """The choice of a cell, which a click fills in; then its cases."""
    st.subheader("Cases of a cell", anchor=False)
    first, second, third, fourth = st.columns(4, vertical_alignment="bottom")
    region = first.selectbox("Regions", list(RegionKind), key=_key(board, "region"),
                             format_func=lambda kind: kind.label)
    reference = second.selectbox("Reference grade", GRADES, key=_key(board, "reference"))
    given = third.selectbox("Graded", [*GRADES, None], key=_key(board, "given"),
                            format_func=lambda grade: "not graded" if grade is None else str(grade))
    if fourth.button("List its cases", key=_key(board, "list"), icon=":material/list:", width="stretch"):
        st.session_state[_key(board, "cell")] = True
    if _key(board, "cell") not in st.session_state:
        st.caption(NO_CELL)
        return
    _show_cases(board, Cell(region, rater, arm, reference, given))


def _show_cases(board: Board, cell: Cell) -> None:
    found = cases_of_cell(board.record.tables, cell.region, cell.rater, arm=cell.arm, reference=cell.reference,
                          given=cell.given, kept=board.kept)
    graded = "not graded" if cell.given is None else f"graded {cell.given}"
    who = f"{cell.rater}, {cell.arm}" if cell.arm else f"model {cell.rater}"
    st.markdown(plain(f"{cell.region.label}, reference {cell.reference}, {graded} by {who}: "
                      f"{len(found)} region{'' if len(found) == 1 else 's'}."))
    if not found:
        return
    chosen = st.radio("Open a case", found, index=None, format_func=_in_words, horizontal=True,
                      key=f"{_key(board, 'case')}-{cell}")
    if chosen is not None:
        case_view.show(board, int(chosen[0]), Region(chosen[1]))


def _in_words(case: tuple[str, str]) -> str:
    return f"case {case[0]}, {Region(case[1]).label.lower()}"


def _key(board: Board, name: str) -> str:
    return f"cell-{board.study.study_id}-{name}"
