"""Figures of a study that may still be blinded: how complete it is, and how long cases take."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from lss_core.figures import BLUE, GREY, ORANGE, titled
from lss_core.study.analysis_json import SIMULATED
from lss_core.study.progress import ReaderProgress
from lss_core.study.quality import FAST_S, StudyQuality
from lss_core.study_figures import StudyFigure
from lss_core.vocabulary import RESEARCH_USE

ROW_PX = 26


def completeness_figure(readers: Sequence[ReaderProgress], found: StudyQuality, *, simulated: bool) -> StudyFigure:
    """Submitted cases of every reader beside those that all sessions hold."""
    submitted = {each.account_id: each.cases for each in found.readers}
    longest = max((reader.total for reader in readers), default=0)      # who has not begun has no order yet
    rows = [(reader.name, submitted.get(reader.account_id, 0), (reader.total or longest) * reader.sessions)
            for reader in readers]
    names = [html.escape(name) for name, _, _ in rows]
    figure = go.Figure()
    for label, values, colour in (("submitted", [done for _, done, _ in rows], BLUE),
                                  ("to come", [max(0, due - done) for _, done, due in rows], "#d1d5db")):
        figure.add_bar(y=names, x=values, orientation="h", name=label, marker={"color": colour},
                       text=[str(value) if value else "" for value in values], textposition="inside")
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="test cases of all sessions, hidden repeats included")
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    done, due = sum(row[1] for row in rows), sum(row[2] for row in rows)
    share = f"{done} of {due} cases, {done / due:.0%}" if due else "no case yet"
    statement = _statement(simulated)
    figure = titled(figure, f"Completeness: {share}", statement, height=190 + ROW_PX * len(rows))
    return StudyFigure("completeness", figure, ("reader", "submitted", "planned"), tuple(rows), statement)


def durations_figure(found: StudyQuality, *, simulated: bool) -> StudyFigure:
    """Seconds of every submitted case by reader, on a logarithmic axis, with the bound of "very fast"."""
    figure = go.Figure()
    for each in found.readers:
        figure.add_box(x=[max(seconds, 0.1) for seconds in each.seconds], name=html.escape(each.name), orientation="h",
                       boxpoints="all", jitter=0.5, pointpos=0, marker={"color": ORANGE, "size": 4},
                       line={"color": BLUE, "width": 1.5}, fillcolor="rgba(0,0,0,0)", showlegend=False)
    figure.add_vline(x=FAST_S, line={"color": GREY, "dash": "dash", "width": 1})
    figure.add_annotation(x=math.log10(FAST_S), y=1, yref="paper", yanchor="bottom", showarrow=False,
                          text=f"very fast: below {FAST_S:g} s", font={"size": 10, "color": "#555555"})
    figure.update_xaxes(title="seconds of a case without idle time", type="log")
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    statement = _statement(simulated)
    total = sum(each.cases for each in found.readers)
    figure = titled(figure, f"Time of each case: {total} cases", statement, height=190 + ROW_PX * len(found.readers))
    rows = tuple((each.name, round(seconds, 3)) for each in found.readers for seconds in each.seconds)
    return StudyFigure("durations", figure, ("reader", "seconds"), rows, statement)


def _statement(simulated: bool) -> str:
    return f"{SIMULATED if simulated else ''}{RESEARCH_USE} Nothing here tells whether an answer is right."
