"""Pictures and plotly figures made from results; every figure says on what it was measured."""

from __future__ import annotations

import html
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw, ImageFont
from plotly.subplots import make_subplots

from lss_core.statistics.calibration import ReliabilityBin
from lss_core.statistics.estimate import Estimate, wilson_interval
from lss_core.vocabulary import RESEARCH_USE, Box, Grade

# matplotlib's "inferno" at nine equal steps, as the viewer colours its heat maps (ui/viewer/frontend/src/heat.js).
INFERNO = np.array(
    [(0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10),
     (249, 201, 50), (252, 255, 164)],
    dtype=np.float32,
)
PICTURE_MM = 110.0
PICTURE_PX = 660
MARGIN_PX = 12
LINE_PX = 22
HEAT_OPACITY = 0.5
# Okabe & Ito 2008, told apart with every kind of colour vision.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8a8a8a"
FAMILY_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, "#CC79A7", "#56B4E9", "#000000", "#8a8a8a")
INK = "#111827"
WHITE_TO_BLUE = ((0.0, "#ffffff"), (1.0, "#5aa9d6"))     # as dark as INK can be read on, 6.8 to 1
LINE_CHARACTERS = 95            # of the statement below a title
FOREST_ROW_PX = 22
TITLE_PX = 14                   # from the upper edge to the title, however tall the figure
FOREST_GAP = 0.5                # rows between groups


def region_picture(
    grey: np.ndarray,
    *,
    pixel_spacing_mm: tuple[float, float],
    box: Box,
    caption: Sequence[str],
    heat: np.ndarray | None = None,
    heat_box: Box | None = None,
) -> bytes:
    """A PNG of the anatomy around one region, with its box, its heat map and lines of text below.

    Args:
        grey: the windowed slice, 0..1 [row, column].
        pixel_spacing_mm: (row, column).
        box: the region, in pixels of `grey`.
        caption: one string a line; the research-use sentence is added below them.
        heat: 0..1 [row, column], covering `heat_box`.
        heat_box: where the heat map lies, in pixels of `grey`.
    """
    size = tuple(PICTURE_MM / spacing for spacing in pixel_spacing_mm)
    view = Box.around(box.centre, (size[0], size[1]))
    picture = enlarged(grey, view)
    if heat is not None and heat_box is not None:
        blend_heat(picture, heat, on_picture(heat_box, view))
    draw = ImageDraw.Draw(picture)
    draw.rectangle(on_picture(box, view), outline=(255, 209, 102), width=3)
    mark_sides(draw)
    return _as_png(with_caption(picture, [*caption, RESEARCH_USE]))


def enlarged(grey: np.ndarray, view: Box) -> Image.Image:
    """The part of a slice in `view`, at PICTURE_PX; black outside the slice."""
    whole = Image.fromarray((np.clip(grey, 0, 1) * 255).astype(np.uint8))
    # Pillow's coefficients map an output pixel to an input point, counted from pixel edges; the view counts centres.
    scale_x, scale_y = view.size[1] / PICTURE_PX, view.size[0] / PICTURE_PX
    coefficients = (scale_x, 0, view.col0 + 0.5, 0, scale_y, view.row0 + 0.5)
    size = (PICTURE_PX, PICTURE_PX)
    return whole.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC).convert("RGB")


def on_picture(box: Box, view: Box) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) of a box on the enlarged picture."""
    x, y = PICTURE_PX / view.size[1], PICTURE_PX / view.size[0]
    return (
        (box.col0 - view.col0) * x, (box.row0 - view.row0) * y, (box.col1 - view.col0) * x, (box.row1 - view.row0) * y
    )


def blend_heat(picture: Image.Image, heat: np.ndarray, place: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = (round(value) for value in place)
    size = (max(x1 - x0, 1), max(y1 - y0, 1))
    values = np.clip(heat, 0, 1).astype(np.float32)
    warm = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
    steps = np.arange(len(INFERNO)) / (len(INFERNO) - 1)
    colours = np.stack([np.interp(warm, steps, INFERNO[:, channel]) for channel in range(3)], axis=-1)
    alpha = HEAT_OPACITY * (0.16 + 0.84 * warm)
    mask = Image.fromarray((alpha * 255).astype(np.uint8))
    picture.paste(Image.fromarray(colours.astype(np.uint8)), (x0, y0), mask)


def mark_sides(draw: ImageDraw.ImageDraw) -> None:
    font = ImageFont.load_default(size=LINE_PX)
    middle = PICTURE_PX // 2
    draw.text((MARGIN_PX, middle), "R", font=font, fill="white", anchor="lm", stroke_width=2, stroke_fill="black")
    right = (PICTURE_PX - MARGIN_PX, middle)
    draw.text(right, "L", font=font, fill="white", anchor="rm", stroke_width=2, stroke_fill="black")


def with_caption(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    height = PICTURE_PX + 2 * MARGIN_PX + LINE_PX * len(lines)
    page = Image.new("RGB", (PICTURE_PX, height), "white")
    page.paste(picture, (0, 0))
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        place = (MARGIN_PX, PICTURE_PX + MARGIN_PX + LINE_PX * number)
        draw.text(place, line, font=_fitting_font(draw, line), fill="black")
    return page


def _fitting_font(draw: ImageDraw.ImageDraw, line: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font, down to 8 px, in which a line fits across the picture."""
    size = LINE_PX - 6
    font = ImageFont.load_default(size=size)
    while size > 8 and draw.textlength(line, font=font) > PICTURE_PX - 2 * MARGIN_PX:
        size -= 1
        font = ImageFont.load_default(size=size)
    return font


def _as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot; rows of a group stand together."""

    group: str
    label: str
    estimate: Estimate
    regions: int


def confusion_figure(
    confusion: Sequence[Sequence[int]], missed: Sequence[int], *, title: str, measured_on: str
) -> go.Figure:
    """Counts with their share of the reference grade, which colours them.

    Args:
        confusion: [reference][predicted] of the regions found.
        missed: Regions without a grade by reference grade; they are a column of their own.
    """
    counts = np.column_stack([np.asarray(confusion, int), np.asarray(missed, int)])
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    cells = [[(row, column) for column in range(counts.shape[1])] for row in range(len(counts))]
    names = [f"{int(grade)} {grade.label}" for grade in Grade]
    figure = go.Figure(go.Heatmap(
        z=shares, x=[*names, "missed"], y=[f"{n} (n = {k})" for n, k in zip(names, rows[:, 0], strict=True)],
        text=[[f"{counts[cell]}<br>{shares[cell]:.0%}" for cell in row] for row in cells],
        texttemplate="%{text}", hovertemplate="reference %{y}, graded %{x}: %{text}<extra></extra>",
        colorscale=WHITE_TO_BLUE, textfont={"color": INK}, zmin=0, zmax=1, showscale=False, xgap=1, ygap=1,
    ))
    figure.update_xaxes(title="graded", side="bottom")
    figure.update_yaxes(title="reference", autorange="reversed")
    return titled(figure, f"{title}: {counts.sum()} regions", measured_on, height=430)


def reliability_figure(
    bins: Sequence[ReliabilityBin], *, expected_error: Estimate, title: str, measured_on: str
) -> go.Figure:
    """Accuracy against the probability of the grade that was given; on the diagonal, probabilities mean what they say.

    The bars are Wilson's intervals of each bin, which take its regions for independent.
    """
    used = [each for each in bins if each.n]
    intervals = [wilson_interval(round(each.accuracy * each.n), each.n) for each in used]
    figure = go.Figure(go.Scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot"}, name="as it should be", hoverinfo="skip",
    ))
    figure.add_scatter(
        x=[each.confidence for each in used], y=[each.accuracy for each in used], mode="lines+markers+text",
        text=[f"n = {each.n}" for each in used], textposition="bottom right", name="measured",
        marker={"color": BLUE, "size": 9}, line={"color": BLUE, "width": 1}, error_y=error_bars(intervals, BLUE),
        hovertemplate="probability %{x:.3f}, accuracy %{y:.3f}, %{text}<extra></extra>",
    )
    figure.update_xaxes(title="probability of the grade that was given", range=[0, 1.08])
    figure.update_yaxes(title="share of these grades that is right", range=[0, 1.05])
    title = f"{title}, {sum(each.n for each in used)} regions: expected calibration error {expected_error}"
    return titled(figure, title, measured_on, height=430)


def forest_figure(
    rows: Sequence[ForestRow], *, overall: Estimate, regions: int, title: str, measured_on: str, axis: str = "accuracy"
) -> go.Figure:
    """A figure with its interval in each part of the regions, in print beside it, and the one over all (dashed)."""
    groups = list(dict.fromkeys(row.group for row in rows))
    places = [number + FOREST_GAP * groups.index(row.group) for number, row in enumerate(rows)]
    estimates = [row.estimate for row in rows]
    figure = go.Figure(go.Scatter(
        x=[estimate.value for estimate in estimates], y=places, mode="markers", error_x=error_bars(estimates, BLUE),
        marker={"color": BLUE, "size": 8, "symbol": "square"}, showlegend=False,
        text=[f"{row.group} {row.label}: {row.estimate}, n = {row.regions}" for row in rows],
        hovertemplate="%{text}<extra></extra>",
    ))
    for place, row in zip(places, rows, strict=True):
        figure.add_annotation(
            x=1.01, xref="paper", xanchor="left", y=place, yref="y", showarrow=False, font={"size": 11},
            text=html.escape(f"{row.estimate}, n = {row.regions}"),
        )
    if not np.isnan(overall.value):
        figure.add_vline(x=overall.value, line={"color": VERMILION, "dash": "dash", "width": 1})
    lows = [e.low if not np.isnan(e.low) else e.value for e in (*estimates, overall) if not np.isnan(e.value)]
    figure.update_xaxes(title=axis, range=[min([*lows, 0.95]) - 0.05, 1.02])
    labels = [html.escape(f"{row.group}: {row.label}") for row in rows]
    figure.update_yaxes(
        tickvals=places, ticktext=labels, range=[max([*places, 0]) + 0.7, -0.7], showgrid=False, zeroline=False
    )
    height = 170 + round(FOREST_ROW_PX * (len(rows) + FOREST_GAP * len(groups)))
    title = f"{title}, {regions} regions: {axis} {overall}"
    return titled(figure, title, measured_on, height=height, left=190, right=220)


def bland_altman_figure(
    points: Sequence[tuple[float, float]], *, bias: Estimate, lower: Estimate, upper: Estimate, regions: int, unit: str,
    title: str, measured_on: str,
) -> go.Figure:
    """Measured minus known against known (Bland & Altman, Lancet 1986;327:307-310), with bias and limits of agreement.

    Args:
        points: (known, measured), all of them or an even choice; the lines are of all `regions`.
    """
    known, measured = np.array(points, float).reshape(-1, 2).T
    figure = go.Figure(go.Scatter(
        x=known, y=measured - known, mode="markers", showlegend=False,
        marker={"color": BLUE, "size": 5, "opacity": 0.5},
        hovertemplate=f"known %{{x:.1f}} {unit}, error %{{y:.1f}} {unit}<extra></extra>",
    ))
    lines = (("bias", bias, "solid"), ("lower limit", lower, "dash"), ("upper limit", upper, "dash"))
    for name, estimate, dash in lines:
        if not np.isnan(estimate.value):
            figure.add_hline(
                y=estimate.value, line={"color": VERMILION, "dash": dash, "width": 1.5},
                annotation={"text": f"{name} {_short(estimate)}", "font": {"color": VERMILION, "size": 11}},
                annotation_position="top right",
            )
    figure.update_xaxes(title=f"known ({unit})")
    spread = [*(measured - known), *(e.value for _, e, _ in lines if not np.isnan(e.value)), 0.0]
    margin = 0.08 * (max(spread) - min(spread)) or 1.0
    figure.update_yaxes(title=f"measured minus known ({unit})", range=[min(spread) - margin, max(spread) + margin])
    shown = f"{regions} regions" if len(points) == regions else f"{regions} regions, {len(points)} shown"
    return titled(figure, f"{title}: {shown}", measured_on, height=430)


def curve_figure(curve: Sequence[Mapping[str, float]], *, title: str, measured_on: str) -> go.Figure:
    """A training run: one panel per figure of the curve, validation in blue and training in orange.

    Args:
        curve: Points with "step", figures on validation data, and those on training data as "training_NAME".
    """
    names = list(dict.fromkeys(key.removeprefix("training_") for point in curve for key in point if key != "step"))
    figure = make_subplots(rows=1, cols=max(len(names), 1), subplot_titles=names)
    for column, name in enumerate(names, start=1):
        for key, label, colour in ((name, "validation", BLUE), (f"training_{name}", "training", ORANGE)):
            points = [(point["step"], point[key]) for point in curve if key in point]
            if points:
                steps, values = zip(*points, strict=True)
                figure.add_scatter(
                    x=steps, y=values, mode="lines+markers", name=label, legendgroup=label, row=1, col=column,
                    line={"color": colour}, marker={"size": 4},
                    showlegend=not any(trace.name == label for trace in figure.data),  # type: ignore[union-attr]
                )
    figure.update_xaxes(title="step")
    figure = titled(figure, f"{title}: {len(curve)} points", measured_on, height=364, top=86)
    return figure.update_layout(legend={"x": 1, "y": 1.12})     # above the names of the panels


def dose_figure(
    families: Mapping[str, Sequence[float | None]], doses: Sequence[float], *, title: str, measured_on: str
) -> go.Figure:
    """Mean expected grade against the dose of imposed narrowing, a line for each family."""
    figure = go.Figure()
    marks = ("circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down", "star")
    for number, (name, expected) in enumerate(families.items()):
        figure.add_scatter(
            x=list(doses), y=list(expected), name=name, mode="lines+markers",
            line={"color": FAMILY_COLOURS[number % len(FAMILY_COLOURS)]},
            marker={"symbol": marks[number % len(marks)], "size": 8},
            hovertemplate=f"{html.escape(name)}, dose %{{x}}: grade %{{y:.2f}}<extra></extra>",
        )
    figure.update_xaxes(title="dose: 0 the scan as it is, 1 severe narrowing", tickvals=list(doses))
    figure.update_yaxes(title="expected grade", range=[-0.1, 3.1])
    figure = titled(figure, title, measured_on, height=460, right=230)
    return figure.update_layout(legend={"orientation": "v", "x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top"})


def error_bars(estimates: Sequence[Estimate], colour: str) -> dict:
    """Error bars of plotly; none where there is no interval."""
    arms = np.nan_to_num([(e.value - e.low, e.high - e.value) for e in estimates], nan=0.0).reshape(-1, 2)
    return {"type": "data", "symmetric": False, "arrayminus": arms[:, 0], "array": arms[:, 1], "color": colour,
            "thickness": 1.5}


def _short(estimate: Estimate) -> str:
    """With three digits, for quantities of any unit."""
    if np.isnan(estimate.low):
        return f"{estimate.value:.3g}"
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def titled(
    figure: go.Figure, title: str, measured_on: str, *, height: int, left: int = 70, right: int = 30, top: int = 62
) -> go.Figure:
    """Title, and below it on what the figure was measured; both may hold any text."""
    lines = textwrap.wrap(measured_on, LINE_CHARACTERS)
    figure.update_layout(
        title={"text": html.escape(title), "font": {"size": 15}, "x": 0.01, "xanchor": "left", "yref": "container",
               "y": 1 - TITLE_PX / (height + 14 * len(lines)), "yanchor": "top",
               "subtitle": {"text": "<br>".join(html.escape(line) for line in lines), "font": {"size": 11}}},
        template="plotly_white", height=height + 14 * len(lines), font={"size": 12},
        margin={"l": left, "r": right, "t": top + 14 * len(lines), "b": 50},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
    )
    return figure
