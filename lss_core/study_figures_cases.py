"""The hardest regions of a reader study: what the readers gave, beside the reference and the models."""

from __future__ import annotations

import html

import plotly.graph_objects as go

from lss_core.figures import INK, VERMILION, WHITE_TO_BLUE, titled
from lss_core.study.analysis_values import HardCase, StudyAnalysis
from lss_core.study_figures import StudyFigure
from lss_core.vocabulary import Grade

SHOWN = 20
COLUMNS = (*(f"{int(grade)} {grade.label}" for grade in Grade), "not graded")


def hardest_figure(analysis: StudyAnalysis) -> StudyFigure | None:
    """How many readers gave which grade to each of the hardest regions; the reference is framed. None without any."""
    hard = analysis.hardest[:SHOWN]
    if not hard:
        return None
    names = [_name(each) for each in hard]
    counts = [[*each.given, each.not_gradable] for each in hard]
    figure = go.Figure(go.Heatmap(
        z=[[n / each.readers for n in row] for each, row in zip(hard, counts, strict=True)], x=COLUMNS, y=names,
        text=[[str(n) if n else "" for n in row] for row in counts], texttemplate="%{text}", zmin=0, zmax=1,
        colorscale=WHITE_TO_BLUE, textfont={"color": INK}, showscale=False, xgap=1, ygap=1,
        hovertemplate="%{y}: %{text} readers gave %{x}<extra></extra>",
    ))
    for place, each in enumerate(hard):
        figure.add_shape(type="rect", x0=each.reference - 0.5, x1=each.reference + 0.5, y0=place - 0.5, y1=place + 0.5,
                         line={"color": VERMILION, "width": 2})
        figure.add_annotation(x=1.01, xref="paper", xanchor="left", y=place, showarrow=False, font={"size": 11},
                              text=html.escape(f"{each.right} of {each.readers} right; {_models(each)}"))
    figure.update_xaxes(title="readers by the grade that they gave (frame: reference)", type="category")
    figure.update_yaxes(autorange="reversed", type="category")
    title = f"The {len(hard)} hardest regions, {analysis.scope.main_arm}"
    figure = titled(figure, title, analysis.statement, height=170 + 22 * len(hard), left=250, right=200)
    rows = tuple((each.case, each.region, each.level, each.reference, each.readers, each.right, *each.given,
                  each.not_gradable, each.mean_distance, _models(each)) for each in hard)
    head = ("case", "region", "level", "reference", "readers", "right", "gave 0", "gave 1", "gave 2", "gave 3",
            "not graded", "mean distance", "models")
    return StudyFigure("hardest", figure, head, rows, analysis.statement)


def _name(case: HardCase) -> str:
    return html.escape(f"case {case.case}, {case.level} {case.region.replace('_', ' ')}")


def _models(case: HardCase) -> str:
    return ", ".join(f"{name}: {grade if grade >= 0 else 'no grade'}" for name, grade in case.models) or "no model"
