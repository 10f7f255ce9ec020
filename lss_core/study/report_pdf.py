"""The report as a PDF supplement: the words, the tables, and the main figures drawn as vectors."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Drawing
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle
from reportlab.platypus import Table as PlacedTable

from lss_core.figures import BLUE
from lss_core.study.analysis_json import SIMULATED
from lss_core.study.analysis_values import RaterKind, RegionKind, StudyAnalysis
from lss_core.study.report_drawings import (
    BOLD,
    PLAIN,
    ForestLine,
    agreement_drawing,
    calibration_drawing,
    confusion_drawing,
    forest_drawing,
    letters,
    roc_drawing,
)
from lss_core.study.report_html import TITLE
from lss_core.study.report_tables import Section, Table, sections
from lss_core.study_figures import COLOUR_OF, PUBLISHED, p_text
from lss_core.vocabulary import RESEARCH_USE

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
LONGEST_FILTER = 110                        # letters of it in the head of a page; the first page has the whole
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
    canvas.setFont(PLAIN, 7)
    canvas.drawRightString(width - MARGIN, height - MARGIN, letters(f"Filter: {analysis.filter}"[:LONGEST_FILTER]))
    canvas.drawRightString(width - MARGIN, MARGIN / 2, f"page {document.page}")
    canvas.restoreState()


def _flowables(analysis: StudyAnalysis, width: float) -> Iterator[Flowable]:
    yield Paragraph(TITLE, TITLE_STYLE)
    yield Paragraph(_text(analysis.statement), NORMAL)
    for section in sections(analysis):
        yield Paragraph(_text(section.title), HEADING)
        yield from _words(section)
        if section.key in DRAWN:
            yield from DRAWN[section.key](analysis)
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


def _captioned(caption: str, drawing: Drawing) -> Iterator[Flowable]:
    """The caption's style keeps it with the drawing."""
    yield Paragraph(_text(caption), CAPTION)
    yield drawing


def _side_by_side(drawings: Sequence[Drawing], across: int) -> Iterator[Flowable]:
    """Rows of drawings; a row is not broken over pages."""
    for first in range(0, len(drawings), across):
        row = list(drawings[first : first + across])
        yield PlacedTable([row], hAlign="LEFT", style=[("VALIGN", (0, 0), (-1, -1), "TOP")])


def _accuracy(analysis: StudyAnalysis) -> Iterator[Flowable]:
    """The headline with the published figures, the readers, then the matrices of models and experience levels."""
    arm = analysis.scope.main_arm
    for region in RegionKind:
        own = sorted((each for each in analysis.results if each.region is region),
                     key=lambda each: each.rater.kind is not RaterKind.MODEL)
        several = [each for each in own if each.rater.kind is not RaterKind.READER]
        alone = [each for each in own if each.rater.kind is RaterKind.READER and each.arm == arm]
        marks = [(f"Li 2024 v{number}:", value) for number, value in enumerate(PUBLISHED[region], 1)]
        for caption, found, lines in (("accuracy (dashed: Li 2024 on clinical CT, another study)", several, marks),
                                      (f"accuracy of each reader, {arm}", alone, [])):
            if found:
                yield from _captioned(f"{region.label}: {caption}", forest_drawing([
                    ForestLine(f"{each.rater.label}, {each.arm}" if each.arm else each.rater.label, each.accuracy,
                               f", n = {each.counts.asked}", COLOUR_OF[each.rater.kind]) for each in found
                ], marks=lines))
        if several:
            yield Paragraph(_text(f"{region.label}: reference against grade"), CAPTION)
            yield from _side_by_side([confusion_drawing(each) for each in several], 3)


def _differences(section: str) -> Callable[[StudyAnalysis], Iterator[Flowable]]:
    def drawn(analysis: StudyAnalysis) -> Iterator[Flowable]:
        for region in RegionKind:
            lines = [
                ForestLine(f"{each.first} minus {each.second}, {each.level or 'all readers'}", each.difference,
                           f", n = {each.regions}, p {p_text(each.p_value)}", BLUE if each.level else "#000000")
                for each in getattr(analysis, section) if each.region is region and each.figure == "accuracy"
            ]
            if lines:
                yield from _captioned(f"{region.label}: difference of accuracy", forest_drawing(lines, zero=0.0))
    return drawn


def _roc(analysis: StudyAnalysis) -> Iterator[Flowable]:
    yield from _side_by_side([roc_drawing(each) for each in analysis.roc], 3)


def _agreement(analysis: StudyAnalysis) -> Iterator[Flowable]:
    yield Paragraph("Kappa (quadratic weights) of every two raters", CAPTION)
    yield from _side_by_side([agreement_drawing(each, width=372) for each in analysis.agreement], 2)


def _calibration(analysis: StudyAnalysis) -> Iterator[Flowable]:
    yield from _side_by_side([calibration_drawing(each) for each in analysis.calibration], 3)


DRAWN: dict[str, Callable[[StudyAnalysis], Iterator[Flowable]]] = {
    "accuracy": _accuracy, "against_readers": _differences("against_readers"), "aided": _differences("aided"),
    "roc": _roc, "agreement": _agreement, "calibration": _calibration,
}


def _text(value: str) -> str:
    return escape(letters(value))
