"""The figures of a reader study: accuracy, forests, confusion; each with its numbers as a table.

Operating curves and calibration are in `study_figures_curves`, agreement in `study_figures_agreement`, times and order
in `study_figures_times`.
"""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from lss_core.figures import (
    BLUE,
    FOREST_ROW_PX,
    GREY,
    ORANGE,
    VERMILION,
    confusion_figure,
    error_bars,
    titled,
)
from lss_core.statistics.estimate import Estimate
from lss_core.study.analysis_values import MrmcResult, RaterKind, RaterResult, RegionKind, StudyAnalysis

# Accuracy of their versions 1 and 2 on clinical CT (Li et al., Spine 2024;49:884-891): lines to compare with.
PUBLISHED = {RegionKind.CENTRAL_CANAL: (0.88, 0.83), RegionKind.LATERAL_RECESS: (0.75, 0.71)}
PUBLISHED_AS = "accuracy (dashed: versions 1 and 2 of Li 2024 on clinical CT, another study)"
COLOUR_OF = {RaterKind.MODEL: VERMILION, RaterKind.LEVEL: BLUE, RaterKind.READERS: "#000000", RaterKind.READER: ORANGE}
SYMBOL_OF = {"unaided": "circle", "aided": "diamond", "": "square"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
LABEL_PX, NOTE_PX = 6.2, 5.8        # mean width of a letter in 12 and 11 px
LONGEST_NOTE = 46
ESTIMATE_HEAD = ("estimate", "low", "high", "n", "method", "not estimable")
PART_NAMES = {"level": "", "reference grade": "grade ", "image quality": "image: "}
Cell = str | int | float


@dataclass(frozen=True)
class StudyFigure:
    """A figure and its numbers. `rows` have the columns of `head`; `name` may hold any text."""

    name: str
    figure: go.Figure
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    statement: str

    @property
    def key(self) -> str:
        """The name with letters, digits, dots and hyphens alone, for a file or an element of a page."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", self.name).strip("-.")

    def as_csv(self) -> str:
        """CSV text, the statement first; what is not defined is empty."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([f"# {self.statement}"])
        writer.writerow(self.head)
        writer.writerows([[_cell(each) for each in row] for row in self.rows])
        return file.getvalue()


def _cell(value: Cell) -> Cell:
    """No spreadsheet runs it as a formula."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return "" if isinstance(value, float) and math.isnan(value) else value


def estimate_cells(estimate: Estimate) -> tuple[Cell, ...]:
    """The columns of ESTIMATE_HEAD."""
    return (estimate.value, estimate.low, estimate.high, estimate.n, estimate.method, estimate.undefined)


@dataclass(frozen=True)
class Line:
    """A line of a forest."""

    label: str
    estimate: Estimate
    note: str                   # beside the estimate: n, p
    colour: str = BLUE
    symbol: str = "square"


def forest(
    lines: Sequence[Line], *, title: str, statement: str, axis: str, zero: float | None = None,
    logarithmic: bool = False,
) -> go.Figure:
    """Estimates with intervals, printed beside them; what is not estimable is said in its line.

    Args:
        zero: Where a dotted line of "no difference" stands.
    """
    figure, places = go.Figure(), list(range(len(lines)))
    for colour, symbol in dict.fromkeys((line.colour, line.symbol) for line in lines):
        own = [(place, line) for place, line in zip(places, lines, strict=True)
               if (line.colour, line.symbol) == (colour, symbol)]
        estimates = [line.estimate for _, line in own]
        figure.add_scatter(
            x=[None if math.isnan(each.value) else each.value for each in estimates], y=[p for p, _ in own],
            mode="markers", error_x=error_bars(estimates, colour), showlegend=False,
            marker={"color": colour, "size": 8, "symbol": symbol}, hovertemplate="%{text}<extra></extra>",
            text=[html.escape(f"{line.label}: {line.estimate}{line.note}") for _, line in own],
        )
    for place, line in zip(places, lines, strict=True):
        figure.add_annotation(
            x=1.01, xref="paper", xanchor="left", y=place, yref="y", showarrow=False, font={"size": 11},
            text=html.escape(_beside(line)),
        )
    if zero is not None:
        figure.add_vline(x=zero, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title=axis, type="log" if logarithmic else "linear", automargin=False)
    figure.update_yaxes(tickvals=places, ticktext=[html.escape(line.label) for line in lines],
                        range=[len(lines) - 0.3, -0.7], showgrid=False, zeroline=False)
    left = _width([line.label for line in lines], LABEL_PX)
    right = _width([_beside(line) for line in lines], NOTE_PX)
    return titled(figure, title, statement, height=170 + FOREST_ROW_PX * len(lines), left=left, right=right)


def _width(texts: Sequence[str], letter_px: float) -> int:
    """Pixels of a margin that holds the longest of some texts."""
    return 24 + round(letter_px * max(map(len, texts), default=0))


def _beside(line: Line) -> str:
    text = f"{printed(line.estimate)}{line.note}"
    return text if len(text) <= LONGEST_NOTE else text[: LONGEST_NOTE - 1] + "…"


def printed(estimate: Estimate) -> str:
    """As it is printed in a figure; the whole reason of what is missing stands in its table."""
    if math.isnan(estimate.value):
        return f"not estimable: {estimate.undefined}"
    return f"{estimate.value:.3f} (no interval)" if math.isnan(estimate.low + estimate.high) else str(estimate)


def headline_figure(analysis: StudyAnalysis, region: RegionKind) -> StudyFigure:
    """Accuracy of each model version and experience level, in each arm, with the published figures as lines."""
    results = [each for each in analysis.results if each.region is region and each.rater.kind is not RaterKind.READER]
    results.sort(key=lambda each: each.rater.kind is not RaterKind.MODEL)
    figure = _accuracy_forest(results, analysis, f"{region.label}: accuracy of the four grades")
    for version, accuracy in enumerate(PUBLISHED[region], 1):
        figure.add_vline(x=accuracy, line={"color": GREY, "dash": "dash", "width": 1})
        figure.add_annotation(x=accuracy, y=1, yref="paper", yanchor="bottom", showarrow=False,
                              xanchor="left" if version == 1 else "right", text=f"Li 2024 v{version}: {accuracy:g}",
                              font={"size": 9, "color": "#555555"})
    figure.update_xaxes(title=PUBLISHED_AS)
    return _accuracy_table(f"headline-{region}", figure, results, analysis)


def readers_figure(analysis: StudyAnalysis, region: RegionKind) -> StudyFigure:
    """Accuracy of each reader in the main arm, and of the models."""
    arm = analysis.scope.main_arm
    results = [
        each for each in analysis.results
        if each.region is region and each.rater.kind in (RaterKind.READER, RaterKind.MODEL) and each.arm in ("", arm)
    ]
    results.sort(key=lambda each: each.rater.kind is not RaterKind.MODEL)
    figure = _accuracy_forest(results, analysis, f"{region.label}: accuracy of each reader, {arm}, and of the model")
    return _accuracy_table(f"readers-{region}", figure, results, analysis)


def _accuracy_forest(results: Sequence[RaterResult], analysis: StudyAnalysis, title: str) -> go.Figure:
    lines = [
        Line(_name(each), each.accuracy, f", n = {each.counts.asked}", COLOUR_OF[each.rater.kind], SYMBOL_OF[each.arm])
        for each in results
    ]
    figure = forest(lines, title=title, statement=analysis.statement, axis="accuracy")
    lowest = min([each.accuracy.low for each in results if not math.isnan(each.accuracy.low)] + [0.6])
    return figure.update_xaxes(range=[max(0.0, lowest - 0.05), 1.02])


def _name(result: RaterResult) -> str:
    return f"{result.rater.label}, {result.arm}" if result.arm else result.rater.label


def _accuracy_table(
    name: str, figure: go.Figure, results: Sequence[RaterResult], analysis: StudyAnalysis
) -> StudyFigure:
    rows = tuple(
        (each.region, each.rater.kind, each.rater.name, each.arm, each.counts.asked, each.counts.not_gradable,
         *estimate_cells(each.accuracy)) for each in results
    )
    head = ("region", "kind", "rater", "arm", "regions", "not gradable", *ESTIMATE_HEAD)
    return StudyFigure(name, figure, head, rows, analysis.statement)


def differences_figure(analysis: StudyAnalysis, region: RegionKind, *, version: str) -> StudyFigure | None:
    """Accuracy of a model minus each reader and minus the average reader, with the margin; None where not estimable."""
    found = [each for each in analysis.against_readers
             if each.region is region and each.first == version and each.figure == "accuracy"]
    if not found:
        return None
    lines = [line for each in found for line in _difference_lines(each)]
    title = f"{region.label}: accuracy of model {version} minus readers, {analysis.scope.main_arm}"
    figure = forest(lines, title=title, statement=analysis.statement,
                    axis="difference of accuracy (above 0: model better)", zero=0.0)
    if (margin := analysis.plan.non_inferiority_margin) is not None:
        figure.add_vline(x=-margin, line={"color": VERMILION, "dash": "dash", "width": 1},
                         annotation={"text": f"margin {margin:g}", "font": {"size": 10, "color": VERMILION}},
                         annotation_position="top")
    return _mrmc_table(f"model-minus-readers-{version}-{region}", figure, found, analysis)


def aided_figure(analysis: StudyAnalysis, region: RegionKind) -> StudyFigure | None:
    """Accuracy aided minus unaided of each reader, each level and all; None where not estimable."""
    found = [each for each in analysis.aided if each.region is region and each.figure == "accuracy"]
    if not found:
        return None
    lines = [line for each in found for line in _difference_lines(each)]
    figure = forest(lines, title=f"{region.label}: accuracy aided minus unaided", statement=analysis.statement,
                    axis="difference of accuracy (above 0: aided better)", zero=0.0)
    return _mrmc_table(f"aided-minus-unaided-{region}", figure, found, analysis)


def _difference_lines(result: MrmcResult) -> Iterator[Line]:
    if not result.level:
        for each in result.by_reader:
            yield Line(f"{each.reader} ({each.experience})", each.estimate, f", n = {result.regions}", ORANGE, "circle")
    name = f"{result.level or 'average'}, {result.readers} readers"
    colour = BLUE if result.level else "#000000"
    yield Line(name, result.difference, f", n = {result.regions}, p {p_text(result.p_value)}", colour, "diamond")


def p_text(p: float) -> str:
    """As it is printed."""
    return "not estimable" if math.isnan(p) else "< .001" if p < 0.001 else f"{p:.3f}"


def _mrmc_table(name: str, figure: go.Figure, found: Sequence[MrmcResult], analysis: StudyAnalysis) -> StudyFigure:
    rows: list[tuple[Cell, ...]] = []
    for each in found:
        rows.append((each.region, each.figure, each.first, each.second, each.level or "all", "", each.readers,
                     each.regions, *estimate_cells(each.difference), each.p_value))
        rows += [(each.region, each.figure, each.first, each.second, each.level or "all", own.reader, 1, each.regions,
                  *estimate_cells(own.estimate), own.p_value) for own in each.by_reader]
    head = ("region", "figure", "first", "second", "level", "reader", "readers", "regions", *ESTIMATE_HEAD, "p")
    return StudyFigure(name, figure, head, tuple(rows), analysis.statement)


def rater_confusion_figure(analysis: StudyAnalysis, result: RaterResult) -> StudyFigure:
    """Reference against grade of one rater; a click gives (reference, graded) by the cell's place in customdata."""
    figure = confusion_figure(result.rates.confusion, result.counts.missed_by_grade,
                              title=f"{result.region.label}, {_name(result)}", measured_on=analysis.statement)
    figure.update_layout(title={"text": html.escape(f"{result.region.label}, {_name(result)}: "
                                                    f"{result.counts.asked} regions, accuracy {result.accuracy}")})
    figure.update_traces(x=[*figure.data[0].x[:-1], "not graded"])      # type: ignore[index,union-attr]
    rows = tuple(
        (result.region, result.rater.name, result.arm, reference, graded, n)
        for reference, row in enumerate(result.rates.confusion) for graded, n in enumerate(row)
    ) + tuple((result.region, result.rater.name, result.arm, reference, "not graded", n)
              for reference, n in enumerate(result.counts.missed_by_grade))
    head = ("region", "rater", "arm", "reference", "graded", "regions")
    return StudyFigure(f"confusion-{result.region}-{result.rater.name}-{result.arm or 'model'}", figure, head, rows,
                       analysis.statement)


def subgroups_figure(analysis: StudyAnalysis, region: RegionKind) -> StudyFigure:
    """Accuracy by disc level, reference grade and image quality, of experience levels and models in the main arm."""
    found = [each for each in analysis.subgroups
             if each.region is region and each.rater.kind is not RaterKind.READERS]
    lines = [Line(f"{PART_NAMES[each.attribute]}{each.value}: {each.rater.name}", each.accuracy, f", n = {each.n}",
                  COLOUR_OF[each.rater.kind]) for each in found]
    figure = forest(lines, title=f"{region.label}: accuracy in parts of the study, {analysis.scope.main_arm}",
                    statement=analysis.statement, axis="accuracy")
    figure.update_xaxes(range=[-0.02, 1.02])
    rows = tuple((each.region, each.attribute, each.value, each.rater.name, each.n, *estimate_cells(each.accuracy))
                 for each in found)
    head = ("region", "attribute", "value", "rater", "regions", *ESTIMATE_HEAD)
    return StudyFigure(f"subgroups-{region}", figure, head, rows, analysis.statement)
