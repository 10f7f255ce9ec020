"""Figures of reading times: by experience and arm, along a session, and against accuracy."""

from __future__ import annotations

import html
from collections.abc import Iterator

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lss_core.figures import BLUE, FAMILY_COLOURS, ORANGE, error_bars, titled
from lss_core.study.analysis_times import BY_PLACE, BY_TIME
from lss_core.study.analysis_values import Bin, StudyAnalysis
from lss_core.study_figures import ESTIMATE_HEAD, SYMBOL_OF, Line, StudyFigure, estimate_cells, forest, p_text

PANEL_TITLE_PX = 24


def time_figures(analysis: StudyAnalysis) -> Iterator[StudyFigure]:
    """Those that the times allow, in their order."""
    times = analysis.times
    if times.seconds:
        yield _seconds(analysis)
    if times.ratios or times.trends:
        yield _ratios(analysis)
    for by, key in ((BY_PLACE, "order"), (BY_TIME, "time-accuracy")):
        if bins := [each for each in times.bins if each.by == by]:
            yield _along(analysis, bins, by, key)


def _seconds(analysis: StudyAnalysis) -> StudyFigure:
    found = analysis.times.seconds
    lines = [Line(f"{each.level or 'all readers'}, {each.arm}", each.seconds, f", {each.readings} readings",
                  BLUE if each.level else "#000000", SYMBOL_OF[each.arm]) for each in found]
    figure = forest(lines, title="Time of a case without idle time, geometric mean", statement=analysis.statement,
                    axis="seconds")
    rows = tuple((each.level or "all", each.arm, each.readings, *estimate_cells(each.seconds)) for each in found)
    return StudyFigure("times", figure, ("level", "arm", "readings", *ESTIMATE_HEAD), rows, analysis.statement)


def _ratios(analysis: StudyAnalysis) -> StudyFigure:
    ratios, trends = analysis.times.ratios, analysis.times.trends
    lines = [Line(f"aided / unaided, {each.level or 'all'}{', adjusted for order' if each.adjusted else ''}",
                  each.ratio, f", n = {each.ratio.n}, p {p_text(each.p_value)}", BLUE, "diamond") for each in ratios]
    lines += [Line(f"place x 2, session {each.session}, {each.arm}", each.per_doubling,
                   f", n = {each.per_doubling.n}, p {p_text(each.p_value)}", ORANGE) for each in trends]
    figure = forest(lines, title="Time as a multiple: below 1 is faster", statement=analysis.statement,
                    axis="multiple", zero=1.0, logarithmic=True)
    rows = (*(("aided / unaided", each.level or "all", 0, "", *estimate_cells(each.ratio), each.p_value)
              for each in ratios),
            *(("place x 2", "all", each.session, each.arm, *estimate_cells(each.per_doubling), each.p_value)
              for each in trends))
    return StudyFigure("time-multiples", figure, ("what", "level", "session", "arm", *ESTIMATE_HEAD, "p"), rows,
                       analysis.statement)


def _along(analysis: StudyAnalysis, bins: list[Bin], by: str, key: str) -> StudyFigure:
    """Accuracy and median seconds in quarters."""
    panels = ("accuracy, both kinds of region", "median seconds of a case")
    figure = make_subplots(rows=1, cols=2, subplot_titles=panels)
    series = list(dict.fromkeys((each.session, each.arm) for each in bins))
    for number, (session, arm) in enumerate(series):
        own = [each for each in bins if (each.session, each.arm) == (session, arm)]
        colour = FAMILY_COLOURS[number % len(FAMILY_COLOURS)]
        name = f"session {session}, {arm}" if session else arm
        shift = 0.06 * (number - (len(series) - 1) / 2)
        for column, values in ((1, [each.accuracy.value for each in own]), (2, [each.median_s for each in own])):
            figure.add_scatter(
                x=[each.part + shift for each in own], y=values, name=name, legendgroup=name, showlegend=column == 1,
                mode="lines+markers", marker={"color": colour, "symbol": SYMBOL_OF[arm], "size": 8},
                line={"color": colour}, row=1, col=column, hovertemplate="%{text}<extra></extra>",
                error_y=error_bars([each.accuracy for each in own], colour) if column == 1 else None,
                text=[html.escape(f"{name}, quarter {each.part}: accuracy {each.accuracy}, {each.median_s:.1f} s, "
                                  f"n = {each.readings}") for each in own],
            )
    axis = "quarter of the session" if by == BY_PLACE else "quarter of the reader's own times, 1 the fastest"
    figure.update_xaxes(title=axis, tickvals=sorted({each.part for each in bins}))
    title = "Learning and fatigue along a session" if by == BY_PLACE else "Accuracy against time"
    figure.update_annotations(font={"size": 12})
    figure = titled(go.Figure(figure), title, analysis.statement, height=480)
    top = figure.layout.margin.t + PANEL_TITLE_PX      # type: ignore[union-attr]
    figure.update_layout(legend={"x": 0, "xanchor": "left", "y": -0.22, "yanchor": "top"}, margin={"b": 90, "t": top})
    rows = tuple((each.by, each.arm, each.session, each.part, each.median_s, each.readings,
                  *estimate_cells(each.accuracy)) for each in bins)
    head = ("by", "arm", "session", "quarter", "median seconds", "regions", *ESTIMATE_HEAD)
    return StudyFigure(key, figure, head, rows, analysis.statement)
