"""Vector drawings of the PDF report: forests, confusion matrices, operating curves, calibration, agreement.

The fonts (Bitstream Vera, which comes with reportlab) are embedded, so that they look alike everywhere; they hold
Western European letters, and any other letter is printed as "?".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reportlab.graphics.shapes import Circle, Drawing, Line, PolyLine, Rect, String
from reportlab.lib import colors
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from lss_core.figures import BLUE, FAMILY_COLOURS, GREY, WHITE_TO_BLUE
from lss_core.statistics.estimate import Estimate, wilson_interval
from lss_core.study.analysis_values import AgreementPanel, CalibrationPanel, RaterKind, RaterResult, RocPanel
from lss_core.study_figures import COLOUR_OF, printed
from lss_core.vocabulary import Grade

PLAIN, BOLD = "Vera", "VeraBd"
FONTS = {name: TTFont(name, f"{name}.ttf") for name in (PLAIN, BOLD)}
for _font in FONTS.values():
    pdfmetrics.registerFont(_font)
pdfmetrics.registerFontFamily(PLAIN, normal=PLAIN, bold=BOLD, italic=PLAIN, boldItalic=BOLD)
KNOWN_LETTERS = frozenset(FONTS[PLAIN].face.charToGlyph)
LABELS, PLOT, BESIDE, ROW = 200.0, 290.0, 190.0, 13.0       # points: label, plot, text beside it, height of a row
SQUARE, LEFT, BELOW = 150.0, 42.0, 34.0                     # points: side of a square plot, room at its left and below
WIDTH = 238.0                                               # of a square drawing; three stand side by side
CELL = (34.0, 24.0)                                         # of a confusion matrix
DEEPEST = WHITE_TO_BLUE[-1][1]                             # of a matrix; black can be read on it
LONGEST = 60                                                # letters beside a line
COLUMNS = (*(str(int(grade)) for grade in Grade), "none")
Anchor = Literal["start", "middle", "end"]
Place = Callable[[float], float]


@dataclass(frozen=True)
class ForestLine:
    """A line of a forest, with what stands beside it."""

    label: str
    estimate: Estimate
    note: str = ""
    colour: str = BLUE


def letters(value: str) -> str:
    """The text with every letter that the fonts lack as "?"."""
    return "".join(letter if ord(letter) in KNOWN_LETTERS else "?" for letter in value)


def forest_drawing(
    lines: Sequence[ForestLine], *, zero: float | None = None, marks: Sequence[tuple[str, float]] = ()
) -> Drawing:
    """Estimates with intervals on a common axis, printed beside them.

    Args:
        zero: Where a dotted line of "no difference" stands.
        marks: Names and places of dashed lines to compare with.
    """
    low, high = _ends([*(end for line in lines for end in _values(line.estimate)), *(at for _, at in marks),
                       *([] if zero is None else [zero])])
    drawing = Drawing(LABELS + PLOT + BESIDE, ROW * (len(lines) + 2 + bool(marks)))

    def x(value: float) -> float:
        return LABELS + PLOT * (value - low) / (high - low)

    top = ROW * (len(lines) + 1.5)
    for _, at in marks:
        drawing.add(Line(x(at), ROW, x(at), top, strokeDashArray=[3, 2], strokeWidth=0.5, strokeColor=_colour(GREY)))
    for number, (name, at) in enumerate(sorted(marks, key=lambda mark: mark[1])):
        _write(drawing, x(at), top + 2, f"{name} {at:g}", size=5.5, anchor="start" if number else "end")
    for number, line in enumerate(lines):
        _draw_line(drawing, line, x, ROW * (len(lines) + 1 - number))
    _draw_axis(drawing, x, (low, high), zero, top)
    return drawing


def confusion_drawing(result: RaterResult) -> Drawing:
    """Reference down, grades across, as counts; the blue is the share of the row."""
    rows = [[*row, missed] for row, missed in
            zip(result.rates.confusion, result.counts.missed_by_grade, strict=True)]
    height = CELL[1] * len(rows)
    drawing = Drawing(WIDTH, height + BELOW + 12)
    name = f"{result.rater.label}{f', {result.arm}' if result.arm else ''}"
    _write(drawing, 0, height + BELOW + 3, f"{name}, n = {result.counts.asked}", size=7, font=BOLD)
    for r, row in enumerate(rows):
        y = BELOW + height - CELL[1] * (r + 1)
        _write(drawing, LEFT - 4, y + 9, f"{r} (n = {sum(row)})", size=6, anchor="end")
        for c, count in enumerate(row):
            _draw_cell(drawing, (LEFT + CELL[0] * c, y), CELL, str(count), count / sum(row) if sum(row) else 0.0)
    for c, column in enumerate(COLUMNS):
        _write(drawing, LEFT + CELL[0] * (c + 0.5), BELOW - 9, column, size=6, anchor="middle")
    _write(drawing, LEFT + CELL[0] * len(COLUMNS) / 2, BELOW - 20, "graded (rows: reference)", size=6, anchor="middle")
    return drawing


def roc_drawing(panel: RocPanel) -> Drawing:
    """Curves of the models and of the average reader, and the operating points of models and readers."""
    curves = [each for each in panel.curves if each.kind is not RaterKind.READER]
    below = BELOW + 9 * len(curves)
    drawing, x, y = _square(f"{panel.region.label}, grade >= {panel.cut}: {panel.positives} of "
                            f"{panel.positives + panel.negatives} positive", below, "1 - specificity", "sensitivity")
    for number, each in enumerate(curves):
        style: dict[str, Any] = {"strokeColor": _colour(FAMILY_COLOURS[number % len(FAMILY_COLOURS)]), "strokeWidth": 1}
        if each.kind is not RaterKind.MODEL:
            style["strokeDashArray"] = [3, 2]
        points = [at for fpr, tpr in zip(each.false_positive_rate, each.sensitivity, strict=True)
                  for at in (x(fpr), y(tpr))]
        if points:
            drawing.add(PolyLine(points, **style))
        at = below - BELOW - 9 * number
        drawing.add(Line(4, at + 2, 20, at + 2, **style))
        name = f"model {each.name}" if each.kind is RaterKind.MODEL else f"{each.name}, {each.arm}"
        _write(drawing, 24, at, f"{name}: AUC {printed(each.area)}, n = {each.n}", size=5.5)
    for each in panel.points:
        shown = each.rater.kind in (RaterKind.READER, RaterKind.MODEL)
        if shown and not math.isnan(each.sensitivity.value + each.specificity.value):
            drawing.add(Circle(x(1 - each.specificity.value), y(each.sensitivity.value), 1.8, strokeWidth=0.4,
                               fillColor=_colour(COLOUR_OF[each.rater.kind])))
    return drawing


def calibration_drawing(panel: CalibrationPanel) -> Drawing:
    """Accuracy against probability in bins, with Wilson's interval and n of each."""
    drawing, x, y = _square(f"{panel.region.label}, model {panel.version}, n = {panel.regions}", BELOW + 9,
                            "probability of the grade given", "share right")
    _write(drawing, 4, 2, f"expected calibration error {printed(panel.expected_error)}", size=5.5)
    used = [each for each in panel.bins if each.n]
    points = [at for each in used for at in (x(each.confidence), y(each.accuracy))]
    if len(used) > 1:
        drawing.add(PolyLine(points, strokeColor=_colour(BLUE), strokeWidth=0.6))
    for each in used:
        interval = wilson_interval(round(each.accuracy * each.n), each.n)
        at = x(each.confidence)
        drawing.add(Line(at, y(interval.low), at, y(interval.high), strokeColor=_colour(BLUE), strokeWidth=0.8))
        drawing.add(Circle(at, y(each.accuracy), 2, fillColor=_colour(BLUE), strokeWidth=0))
        _write(drawing, at + 3, y(each.accuracy) - 6, str(each.n), size=5)
    return drawing


def agreement_drawing(panel: AgreementPanel, *, width: float) -> Drawing:
    """Kappa of every two raters; the blue is the kappa."""
    side = min(26.0, (width - 60) / len(panel.raters))
    size, place = (side, 13.0), {name: k for k, name in enumerate(panel.raters)}
    height = size[1] * len(place)
    drawing = Drawing(width, height + 26)
    _write(drawing, 0, height + 18, f"{panel.region.label}, {panel.arm}", size=7, font=BOLD)
    for name, k in place.items():
        _write(drawing, 54, height - size[1] * (k + 1) + 16, name[:12], size=5.5, anchor="end")
        _write(drawing, 58 + side * (k + 0.5), 4, name[:7], size=4.8, anchor="middle")
    for pair in panel.pairs:
        value = pair.kappa.value
        text = "-" if math.isnan(value) else f"{value:.2f}"
        for a, b in ((place[pair.first], place[pair.second]), (place[pair.second], place[pair.first])):
            corner = (58 + side * b, 12 + height - size[1] * (a + 1))
            _draw_cell(drawing, corner, size, text, 0.0 if math.isnan(value) else max(0.0, value), print_size=5)
    return drawing


def _square(title: str, below: float, across: str, up: str) -> tuple[Drawing, Place, Place]:
    """A plot of two shares with its diagonal; also where a share lies across and up."""
    drawing = Drawing(WIDTH, SQUARE + below + 14)
    _write(drawing, 0, SQUARE + below + 5, title, size=7, font=BOLD)

    def x(share: float) -> float:
        return LEFT + SQUARE * share

    def y(share: float) -> float:
        return below + SQUARE * share

    drawing.add(_rectangle((LEFT, below), (SQUARE, SQUARE), fillColor=None, strokeWidth=0.4, strokeColor=colors.grey))
    drawing.add(Line(x(0), y(0), x(1), y(1), strokeDashArray=[1, 2], strokeWidth=0.5, strokeColor=_colour(GREY)))
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        _write(drawing, x(share), below - 8, f"{share:g}", size=5.5, anchor="middle")
        _write(drawing, LEFT - 4, y(share) - 2, f"{share:g}", size=5.5, anchor="end")
    _write(drawing, LEFT + SQUARE / 2, below - 17, across, size=6, anchor="middle")
    _write(drawing, 0, below + SQUARE - 2, up, size=5.5)
    return drawing, x, y


def _draw_line(drawing: Drawing, line: ForestLine, x: Place, y: float) -> None:
    estimate, colour = line.estimate, _colour(line.colour)
    _write(drawing, 0, y - 2.5, line.label, size=7)
    _write(drawing, LABELS + PLOT + 8, y - 2.5, f"{printed(estimate)}{line.note}"[:LONGEST], size=6.5)
    if not math.isnan(estimate.low):
        drawing.add(Line(x(estimate.low), y, x(estimate.high), y, strokeColor=colour))
    if not math.isnan(estimate.value):
        drawing.add(Circle(x(estimate.value), y, 2.2, fillColor=colour, strokeWidth=0))


def _draw_axis(drawing: Drawing, x: Place, ends: tuple[float, float], zero: float | None, top: float) -> None:
    drawing.add(Line(x(ends[0]), ROW, x(ends[1]), ROW, strokeWidth=0.5))
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
    step = next((each for each in steps if (ends[1] - ends[0]) / each <= 8), ends[1] - ends[0])
    for number in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1):
        value = number * step
        drawing.add(Line(x(value), ROW, x(value), ROW - 3, strokeWidth=0.5))
        _write(drawing, x(value), 2, f"{value:.2f}", size=6, anchor="middle")
    if zero is not None:
        drawing.add(Line(x(zero), ROW, x(zero), top, strokeDashArray=[2, 2], strokeWidth=0.5))


def _draw_cell(
    drawing: Drawing, corner: tuple[float, float], size: tuple[float, float], text: str, share: float, *,
    print_size: float = 7,
) -> None:
    """A cell between white and blue."""
    blue = colors.linearlyInterpolatedColor(colors.white, _colour(DEEPEST), 0, 1, min(share, 1.0))
    drawing.add(_rectangle(corner, size, fillColor=blue, strokeColor=colors.lightgrey, strokeWidth=0.3))
    drawing.add(String(corner[0] + size[0] / 2, corner[1] + size[1] / 2 - print_size * 0.35, text, fontName=PLAIN,
                       fontSize=print_size, textAnchor="middle",
                       fillColor=colors.black))


def _rectangle(corner: tuple[float, float], size: tuple[float, float], **style: Any) -> Rect:
    return Rect(*corner, *size, **style)


def _write(
    drawing: Drawing, x: float, y: float, text: str, *, size: float, anchor: Anchor = "start", font: str = PLAIN
) -> None:
    drawing.add(String(x, y, letters(text), fontName=font, fontSize=size, textAnchor=anchor))


def _values(estimate: Estimate) -> tuple[float, ...]:
    return tuple(each for each in (estimate.value, estimate.low, estimate.high) if not math.isnan(each))


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _colour(name: str) -> colors.Color:
    return colors.HexColor(name)
