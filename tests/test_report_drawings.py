"""The drawings of the PDF report hold the numbers of the analysis; what cannot be drawn is said or left out."""

from __future__ import annotations

import math
from functools import lru_cache

from reportlab.graphics.shapes import Circle, Drawing, Line, PolyLine, Rect, String

from lss_core.demo.readers import READERS
from lss_core.statistics.estimate import Estimate
from lss_core.study.analysis_values import RaterKind, StudyAnalysis
from lss_core.study.protocol import AnalysisPlan
from lss_core.study.report import analyse
from lss_core.study.report_drawings import (
    ForestLine,
    agreement_drawing,
    calibration_drawing,
    confusion_drawing,
    forest_drawing,
    letters,
    roc_drawing,
)
from tests.simulated_readings import simulated_tables

PLAN = AnalysisPlan(bootstraps=50)


@lru_cache(maxsize=1)
def whole() -> StudyAnalysis:
    return analyse(simulated_tables(patients=8, readers=READERS[::2]), PLAN, simulated=True)


def texts(drawing: Drawing) -> list[str]:
    return [each.text for each in drawing.contents if isinstance(each, String)]


def of(drawing: Drawing, kind: type) -> list:
    return [each for each in drawing.contents if isinstance(each, kind)]


def test_a_forest_prints_estimate_and_note_and_marks_the_published_figures():
    drawing = forest_drawing([ForestLine("model v1", Estimate(0.8, 0.7, 0.9, 5, "m"), ", n = 40")],
                             marks=[("Li 2024 v1:", 0.88), ("Li 2024 v2:", 0.83)])
    assert {"model v1", "0.800 (0.700-0.900), n = 40", "Li 2024 v1: 0.88", "Li 2024 v2: 0.83"} <= set(texts(drawing))
    assert len([line for line in of(drawing, Line) if line.strokeDashArray]) == 2


def test_a_line_without_figure_has_no_mark_and_says_not_estimable():
    drawing = forest_drawing([ForestLine("x", Estimate(math.nan, math.nan, math.nan, 0, "m", "no case"))])
    assert not of(drawing, Circle) and "not estimable: no case" in texts(drawing)


def test_a_confusion_matrix_holds_every_count():
    result = whole().results[0]
    drawing = confusion_drawing(result)
    counts = [count for row, missed in zip(result.rates.confusion, result.counts.missed_by_grade, strict=True)
              for count in (*row, missed)]
    assert len(of(drawing, Rect)) == len(counts) == 20 and sum(counts) == result.counts.asked
    for count in counts:
        assert str(count) in texts(drawing)
    assert any(f"n = {result.counts.asked}" in text for text in texts(drawing))


def test_operating_curves_hold_models_and_average_reader_and_a_point_for_each_reader():
    panel = whole().roc[0]
    several = [each for each in panel.curves if each.kind is not RaterKind.READER]
    points = [each for each in panel.points if each.rater.kind in (RaterKind.READER, RaterKind.MODEL)]
    drawing = roc_drawing(panel)
    assert len(of(drawing, PolyLine)) == len(several) and len(of(drawing, Circle)) == len(points)
    assert any(f"model v1: AUC {several[0].area}" in text for text in texts(drawing))


def test_calibration_and_agreement_hold_their_figures():
    panel = whole().calibration[0]
    assert f"expected calibration error {panel.expected_error}" in texts(calibration_drawing(panel))
    pairs = whole().agreement[0]
    shown = texts(agreement_drawing(pairs, width=372))
    assert all(shown.count(f"{each.kappa.value:.2f}") >= 2 for each in pairs.pairs)


def test_letters_that_the_fonts_lack_become_question_marks():
    assert letters("Zo\u00eb \u8aad") == "Zo\u00eb ?"
