"""The report as a PDF supplement: the words, the tables, and forest plots drawn as vectors.

Its fonts (Bitstream Vera, which comes with reportlab) are embedded, so that it looks alike everywhere; they hold
Western European letters, and any other letter is printed as "?".
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Circle, Drawing, Line, String
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from lss_core.statistics.estimate import Estimate
from lss_core.study.analysis_json import SIMULATED
from lss_core.study.analysis_values import RaterKind, RegionKind, StudyAnalysis
from lss_core.study.report_html import TITLE
from lss_core.study.report_tables import Section, Table, sections
from lss_core.vocabulary import RESEARCH_USE

PLAIN, BOLD = "Vera", "VeraBd"
FONTS = {name: TTFont(name, f"{name}.ttf") for name in (PLAIN, BOLD)}
for _font in FONTS.values():
    pdfmetrics.registerFont(_font)
pdfmetrics.registerFontFamily(PLAIN, normal=PLAIN, bold=BOLD, italic=PLAIN, boldItalic=BOLD)
KNOWN_LETTERS = frozenset(FONTS[PLAIN].face.charToGlyph)
TITLE_STYLE = ParagraphStyle("title", fontName=BOLD, fontSize=15, leading=20, spaceAfter=6)
HEADING = ParagraphStyle(
    "heading", fontName=BOLD, fontSize=11, leading=14, spaceBefore=10, spaceAfter=4, keepWithNext=1,
)
NORMAL = ParagraphStyle("normal", fontName=PLAIN, fontSize=8.5, leading=11.5, spaceAfter=4)
SMALL = ParagraphStyle("small", fontName=PLAIN, fontSize=5.8, leading=7.2)
CAPTION = ParagraphStyle("caption", fontName=BOLD, fontSize=7.5, leading=10, spaceBefore=6, keepWithNext=1)
GRID = TableStyle([
    ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey), ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 1), ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
])
MARGIN = 14 * mm
LABELS, PLOT, ROW = 200.0, 290.0, 13.0      # points: width of labels and plot, height of a row
LONGEST_CELL = 40                           # letters; longer ones make a column no wider


def report_pdf(analysis: StudyAnalysis) -> bytes:
    """The whole supplement; the same bytes for the same analysis."""
    file = io.BytesIO()
    document = SimpleDocTemplate(
        file, pagesize=landscape(A4), leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN + 6 * mm,
        bottomMargin=MARGIN, title=TITLE, invariant=1,
    )

    def on_page(canvas: Canvas, page: SimpleDocTemplate) -> None:
        _on_page(canvas, page, analysis)

    document.build([*_flowables(analysis, document.width)], onFirstPage=on_page, onLaterPages=on_page)
    return file.getvalue()


def _on_page(canvas: Canvas, document: SimpleDocTemplate, analysis: StudyAnalysis) -> None:
    """What must stand on every page."""
    width, height = landscape(A4)
    canvas.saveState()
    canvas.setFont(BOLD, 7)
    canvas.drawString(MARGIN, height - MARGIN, RESEARCH_USE)
    if analysis.simulated:
        canvas.setFillColor(colors.HexColor("#B34700"))
        canvas.drawString(MARGIN, height - MARGIN - 10, SIMULATED)
    canvas.setFillColor(colors.black)
    canvas.drawRightString(width - MARGIN, MARGIN / 2, f"page {document.page}")
    canvas.restoreState()


def _flowables(analysis: StudyAnalysis, width: float) -> Iterator[Flowable]:
    yield Paragraph(TITLE, TITLE_STYLE)
    yield Paragraph(_text(analysis.statement), NORMAL)
    for section in sections(analysis):
        yield Paragraph(_text(section.title), HEADING)
        yield from _words(section)
        if section.key == "accuracy":
            yield from _accuracy_plots(analysis)
        if section.key in ("against_readers", "aided"):
            yield from _difference_plots(analysis, section.key)
        for table in section.tables:
            yield Paragraph(_text(table.caption), CAPTION)
            yield _table(table, width)
            yield Spacer(1, 6)


def _words(section: Section) -> Iterator[Flowable]:
    for paragraph in section.paragraphs:
        if paragraph:
            yield Paragraph(_text(paragraph), NORMAL)


def _table(table: Table, width: float) -> LongTable:
    lines = [[Paragraph(f"<b>{_text(cell)}</b>", SMALL) for cell in table.head],
             *([Paragraph(_text(cell), SMALL) for cell in row] for row in table.rows)]
    widest = [min(LONGEST_CELL, max(len(cell) for cell in column)) + 2
              for column in zip(table.head, *table.rows, strict=True)]
    return LongTable(lines, colWidths=[width * each / sum(widest) for each in widest], repeatRows=1, style=GRID)


def _accuracy_plots(analysis: StudyAnalysis) -> Iterator[Flowable]:
    for region in RegionKind:
        lines = [
            (f"{each.rater.label}, {each.arm}" if each.arm else each.rater.label, each.accuracy)
            for each in analysis.results if each.region is region and each.rater.kind is not RaterKind.READER
        ]
        if lines:
            yield Paragraph(f"{region.label}: accuracy", CAPTION)
            yield forest_drawing(lines)


def _difference_plots(analysis: StudyAnalysis, section: str) -> Iterator[Flowable]:
    for region in RegionKind:
        lines = [
            (f"{each.first} minus {each.second}, {each.level or 'all readers'}", each.difference)
            for each in getattr(analysis, section) if each.region is region and each.figure == "accuracy"
        ]
        if lines:
            yield Paragraph(f"{region.label}: difference of accuracy", CAPTION)
            yield forest_drawing(lines, zero=0.0)


def forest_drawing(lines: Sequence[tuple[str, Estimate]], *, zero: float | None = None) -> Drawing:
    """Estimates with intervals on a common axis, printed beside them."""
    known = [end for _, each in lines for end in (each.value, each.low, each.high, zero)
             if end is not None and not math.isnan(end)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05
    low, high = low - margin, high + margin
    drawing = Drawing(LABELS + PLOT + 190, ROW * (len(lines) + 2))

    def x(value: float) -> float:
        return LABELS + PLOT * (value - low) / (high - low)

    for number, (label, estimate) in enumerate(lines):
        y = ROW * (len(lines) + 1 - number)
        drawing.add(String(0, y - 2.5, _letters(label), fontName=PLAIN, fontSize=7))
        drawing.add(String(LABELS + PLOT + 8, y - 2.5, _letters(str(estimate))[:60], fontName=PLAIN, fontSize=7))
        if not math.isnan(estimate.low):
            drawing.add(Line(x(estimate.low), y, x(estimate.high), y, strokeColor=colors.HexColor("#0072B2")))
        if not math.isnan(estimate.value):
            drawing.add(Circle(x(estimate.value), y, 2.2, fillColor=colors.HexColor("#0072B2"), strokeWidth=0))
    _draw_axis(drawing, x, (low, high), zero, ROW * (len(lines) + 1.5))
    return drawing


def _draw_axis(drawing: Drawing, x, ends: tuple[float, float], zero: float | None, top: float) -> None:
    drawing.add(Line(x(ends[0]), ROW, x(ends[1]), ROW, strokeWidth=0.5))
    step = next(each for each in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (ends[1] - ends[0]) / each <= 8)
    for number in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1):
        value = number * step
        drawing.add(Line(x(value), ROW, x(value), ROW - 3, strokeWidth=0.5))
        drawing.add(String(x(value), 2, f"{value:.2f}", fontName=PLAIN, fontSize=6, textAnchor="middle"))
    if zero is not None:
        drawing.add(Line(x(zero), ROW, x(zero), top, strokeDashArray=[2, 2], strokeWidth=0.5))


def _text(value: str) -> str:
    return escape(_letters(value))


def _letters(value: str) -> str:
    return "".join(letter if ord(letter) in KNOWN_LETTERS else "?" for letter in value)
