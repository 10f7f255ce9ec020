"""What can be taken away: the report as PDF and HTML, the analysis as JSON, and the numbers of every figure."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lss_core.study import results
from lss_core.study.analysis_json import analysis_as_json
from lss_core.study.export import zipped
from lss_core.study.report_html import FIGURES_OF, report_html
from lss_core.study.report_pdf import report_pdf
from lss_core.study.report_text import methods_text
from ui.dashboard.computed import Board
from ui.wording import plain

WORDS = (
    "Each report holds what the filter keeps, and says so. It is made anew at the click, and the audit log keeps its "
    "SHA-256. Equal records, plans and filters give equal reports."
)


def show(board: Board) -> None:
    """The downloads and, to read here, the methods paragraph."""
    st.markdown(WORDS)
    st.markdown(f"Filter: **{plain(str(board.kept))}**")
    with st.container(horizontal=True):
        _offer(board, "PDF report", "report.pdf", "application/pdf", lambda: report_pdf(board.analysis), primary=True)
        _offer(board, "HTML report", "report.html", "text/html", lambda: report_html(board.analysis).encode())
        _offer(board, "Analysis (JSON)", "analysis.json", "application/json",
               lambda: analysis_as_json(board.analysis).encode())
        _offer(board, "Figures as CSV (ZIP)", "figures.zip", "application/zip", lambda: _tables(board))
    st.subheader("Methods", anchor=False)
    st.code(methods_text(board.analysis), language=None, wrap_lines=True)


def _offer(board: Board, label: str, file: str, kind: str, make: Callable[[], bytes], *, primary: bool = False) -> None:
    def made() -> bytes:
        content = make()
        study = board.study
        results.note_report(study.engine, study.actor, study.study_id, what=f"{file}; filter: {board.kept}",
                            content=content)
        return content

    st.download_button(label, made, f"study-{board.study.token}-{file}", kind, icon=":material/download:",
                       on_click="ignore", key=f"take-{file}", type="primary" if primary else "secondary")


def _tables(board: Board) -> bytes:
    """A CSV file for each figure."""
    return zipped({f"{each.key}.csv": each.as_csv().encode("utf-8-sig")
                   for section in FIGURES_OF for each in board.figures(section)})
