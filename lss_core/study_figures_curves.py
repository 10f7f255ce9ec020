"""Operating curves and reliability diagrams of a reader study."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from lss_core.figures import FAMILY_COLOURS, GREY, ORANGE, VERMILION, reliability_figure, titled
from lss_core.study.analysis_values import OperatingPoint, RaterKind, RegionKind, RocPanel, StudyAnalysis
from lss_core.study_figures import SYMBOL_OF, StudyFigure, printed


def roc_figure(analysis: StudyAnalysis, region: RegionKind, *, cut: int) -> StudyFigure | None:
    """Model and average-reader curves with readers' operating points; None where not estimable."""
    panel = next((each for each in analysis.roc if each.region is region and each.cut == cut), None)
    if panel is None:
        return None
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot", "width": 1},
                                  name="chance", hoverinfo="skip"))
    _add_curves(figure, panel)
    for arm in ("", *analysis.scope.arms):
        _add_points(figure, arm, [each for each in panel.points if each.arm == arm])
    figure.update_xaxes(title="1 - specificity", range=[-0.02, 1.02])
    figure.update_yaxes(title="sensitivity", range=[-0.02, 1.02])
    n = panel.positives + panel.negatives
    title = f"{region.label}: grade >= {cut} ({panel.positives} of {n} regions positive)"
    figure = titled(figure, title, analysis.statement, height=520, right=280)
    figure.update_layout(legend={"orientation": "v", "x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top"})
    rows = tuple((region.value, cut, each.kind, each.name, each.arm, x, y)
                 for each in panel.curves for x, y in zip(each.false_positive_rate, each.sensitivity, strict=True))
    head = ("region", "cut", "kind", "rater", "arm", "1 - specificity", "sensitivity")
    return StudyFigure(f"roc-{region}-{cut}", figure, head, rows, analysis.statement)


def _add_curves(figure: go.Figure, panel: RocPanel) -> None:
    several = [each for each in panel.curves if each.kind is not RaterKind.READER]
    for number, each in enumerate(several):
        model = each.kind is RaterKind.MODEL
        name = f"model {each.name}" if model else f"{each.name}, {each.arm}"
        figure.add_scatter(
            x=each.false_positive_rate, y=each.sensitivity, mode="lines",
            name=f"{html.escape(name)}<br>AUC {html.escape(printed(each.area))}, n = {each.n}",
            line={"color": FAMILY_COLOURS[number % len(FAMILY_COLOURS)], "dash": "solid" if model else "dash"},
        )


def _add_points(figure: go.Figure, arm: str, points: Sequence[OperatingPoint]) -> None:
    """Readers of an arm, or the models' own grades."""
    shown = [each for each in points if each.rater.kind in (RaterKind.READER, RaterKind.MODEL)
             and not math.isnan(each.sensitivity.value + each.specificity.value)]
    if shown:
        figure.add_scatter(
            x=[1 - each.specificity.value for each in shown], y=[each.sensitivity.value for each in shown],
            mode="markers", name=f"readers, {arm}" if arm else "model's grades",
            marker={"symbol": SYMBOL_OF[arm], "size": 9, "color": ORANGE if arm else VERMILION,
                    "line": {"color": "#000000", "width": 1}},
            text=[html.escape(f"{each.rater.label}: sensitivity {each.sensitivity}, specificity "
                              f"{each.specificity}, n = {each.n}") for each in shown],
            hovertemplate="%{text}<extra></extra>",
        )


def calibration_figures(analysis: StudyAnalysis, region: RegionKind) -> Iterator[StudyFigure]:
    """One reliability diagram a version."""
    for each in analysis.calibration:
        if each.region is region:
            figure = reliability_figure(each.bins, expected_error=each.expected_error,
                                        title=f"{region.label}, model {each.version}", measured_on=analysis.statement)
            rows = tuple((region.value, each.version, one.low, one.high, one.n, one.confidence, one.accuracy)
                         for one in each.bins)
            head = ("region", "version", "above", "to", "regions", "mean probability", "accuracy")
            yield StudyFigure(f"calibration-{region}-{each.version}", figure, head, rows, analysis.statement)
