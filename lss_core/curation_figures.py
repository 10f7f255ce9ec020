"""The figures of a collection: two annotators against each other, and the flow of patients from import to the split."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from lss_core.figures import INK, WHITE_TO_BLUE, titled
from lss_core.vocabulary import Grade

NAMES = [*(f"{int(grade)} {grade.label}" for grade in Grade), "not gradable"]
ROW, GAP = 1.0, 0.7                             # height of a box with two lines, and of the arrow between two
LINE_PX = 19
EDGE, FILL, ASIDE_FILL = "#475569", "#f1f5f9", "#ffffff"
MAIN, ASIDE = (0.0, 0.56), (0.64, 1.0)          # where the boxes stand, in shares of the width


@dataclass(frozen=True)
class FlowBox:
    """A box of the flow diagram: its first line in bold, and more lines below."""

    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class FlowStep:
    """A step from above to below, and what was left out before it."""

    box: FlowBox
    left_out: FlowBox | None = None


def annotators_figure(table: Sequence[Sequence[int]], *, title: str, measured_on: str) -> go.Figure:
    """Counts of the second annotator's grades against the first's, coloured by their share of the row.

    Args:
        table: [first][second] over the four grades, and then "not gradable".
    """
    counts = np.asarray(table, int)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    figure = go.Figure(go.Heatmap(
        z=shares, x=NAMES, y=[f"{name} (n = {n})" for name, n in zip(NAMES, rows[:, 0], strict=True)],
        text=counts, texttemplate="%{text}", hovertemplate="first %{y}, second %{x}: %{text}<extra></extra>",
        colorscale=WHITE_TO_BLUE, textfont={"color": INK}, zmin=0, zmax=1, showscale=False, xgap=1, ygap=1,
    ))
    figure.update_xaxes(title="second annotator", side="bottom")
    figure.update_yaxes(title="first annotator", autorange="reversed")
    return titled(figure, f"{title}: {counts.sum()} regions", measured_on, height=400, left=150)


def flow_figure(steps: Sequence[FlowStep], parts: Sequence[FlowBox], *, title: str) -> go.Figure:
    """Boxes from above to below, what was left out beside them, and the parts of the split in a row at the end."""
    figure = go.Figure()
    top = 0.0
    for number, step in enumerate(steps):
        height = _height(step.box, step.left_out)
        if number:
            _arrow(figure, (_middle(MAIN), top + GAP), (_middle(MAIN), top))
        _box(figure, step.box, MAIN, top, height, FILL)
        if step.left_out:
            _box(figure, step.left_out, ASIDE, top, height, ASIDE_FILL)
            _arrow(figure, (MAIN[1], top - height / 2), (ASIDE[0], top - height / 2))
        top -= height + GAP
    top = _parts(figure, parts, top) if parts else top + GAP
    figure.update_xaxes(visible=False, range=[-0.01, 1.01], fixedrange=True)
    figure.update_yaxes(visible=False, range=[top - 0.1, 0.1], fixedrange=True)
    lines = -top * 2.2
    return titled(figure, title, "", height=round(90 + LINE_PX * lines), left=10, right=10)


def _parts(figure: go.Figure, parts: Sequence[FlowBox], top: float) -> float:
    """The row of parts; returns its lower edge."""
    width, height = 1 / len(parts), max(_height(part) for part in parts)
    for number, part in enumerate(parts):
        left, right = number * width + 0.01, (number + 1) * width - 0.01
        _box(figure, part, (left, right), top, height, FILL)
        _arrow(figure, (_middle(MAIN), top + GAP), ((left + right) / 2, top))
    return top - height


def _height(*boxes: FlowBox | None) -> float:
    return max(ROW * (1.6 + len(box.lines)) / 2 for box in boxes if box)


def _box(
    figure: go.Figure, box: FlowBox, across: tuple[float, float], top: float, height: float, fill: str
) -> None:
    figure.add_shape(type="rect", x0=across[0], x1=across[1], y0=top - height, y1=top, fillcolor=fill,
                     line={"color": EDGE, "width": 1}, layer="below")
    text = "<br>".join([f"<b>{html.escape(box.title)}</b>", *map(html.escape, box.lines)])
    figure.add_annotation(x=_middle(across), y=top - height / 2, text=text, showarrow=False, font={"size": 12})


def _arrow(figure: go.Figure, begin: tuple[float, float], end: tuple[float, float]) -> None:
    figure.add_annotation(
        x=end[0], y=end[1], ax=begin[0], ay=begin[1], xref="x", yref="y", axref="x", ayref="y", text="",
        showarrow=True, arrowhead=2, arrowsize=1, arrowwidth=1.2, arrowcolor=EDGE,
    )


def _middle(across: tuple[float, float]) -> float:
    return sum(across) / 2
