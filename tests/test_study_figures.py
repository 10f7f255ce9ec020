"""Every figure of a reader study says on what it rests and has its numbers as a table."""

from __future__ import annotations

import csv
import io
import math
from functools import lru_cache

import pytest

from lss_core.demo.readers import READERS
from lss_core.statistics.estimate import Estimate
from lss_core.study.analysis_filter import StudyFilter
from lss_core.study.analysis_json import analysis_as_json, analysis_from_json
from lss_core.study.analysis_values import RegionKind, StudyAnalysis
from lss_core.study.protocol import AnalysisPlan
from lss_core.study.readings import check_tables
from lss_core.study.report import analyse
from lss_core.study.report_html import FIGURES_OF, figures_by_section, section_figures
from lss_core.study.report_tables import FIGURES
from lss_core.study_figures import (
    StudyFigure,
    differences_figure,
    headline_figure,
    printed,
    rater_confusion_figure,
)
from lss_core.study_figures_agreement import agreement_figures
from lss_core.study_figures_cases import hardest_figure
from lss_core.study_figures_curves import roc_figure
from lss_core.study_figures_merits import merits_figure
from tests.simulated_readings import simulated_frames, simulated_tables

PLAN = AnalysisPlan(bootstraps=100)
CANAL = RegionKind.CENTRAL_CANAL
SMALL = {"patients": 8, "readers": READERS[::2]}


@lru_cache(maxsize=1)
def whole() -> StudyAnalysis:
    return analyse(simulated_tables(**SMALL), PLAN, kept=StudyFilter(levels=("L1/2", "L2/3")), simulated=True)


def every_figure(analysis: StudyAnalysis) -> list[StudyFigure]:
    return [each for figures in figures_by_section(analysis).values() for each in figures]


def words_of(figure: StudyFigure) -> str:
    return figure.figure.to_json()


def test_every_figure_names_the_filter_and_that_it_is_simulated():
    for each in every_figure(whole()):
        subtitle = each.figure.layout.title.subtitle.text.replace("<br>", " ")
        assert "SIMULATED" in subtitle and "Filter: levels L1/2, L2/3." in subtitle, each.name
        assert each.as_csv().splitlines()[0].count("SIMULATED") == 1


def test_every_figure_has_a_name_of_its_own_and_its_numbers_as_a_table():
    figures = every_figure(whole())
    assert len({each.key for each in figures}) == len(figures) > 30
    for each in figures:
        rows = list(csv.reader(io.StringIO(each.as_csv())))[1:]
        assert rows[0] == list(each.head) and len(rows) == len(each.rows) + 1 > 1, each.name
        assert all(len(row) == len(each.head) for row in rows), each.name


def test_figures_of_the_stored_analysis_are_those_of_the_computed_one():
    stored = analysis_from_json(analysis_as_json(whole()))
    for before, after in zip(every_figure(whole()), every_figure(stored), strict=True):
        assert before.as_csv() == after.as_csv() and words_of(before) == words_of(after)


def test_the_headline_shows_the_published_accuracies_as_another_study():
    figure = headline_figure(whole(), CANAL).figure
    lines = {shape.x0 for shape in figure.layout.shapes}
    assert lines == {0.88, 0.83} and "another study" in figure.layout.xaxis.title.text


def test_every_interval_stands_in_print_with_its_n():
    figure = headline_figure(whole(), CANAL).figure
    printed = [each.text for each in figure.layout.annotations]
    for each in whole().results:
        if each.region is CANAL and each.rater.kind.value != "reader":
            assert f"{each.accuracy}, n = {each.counts.asked}" in printed


def test_confusion_counts_what_was_not_graded():
    result = next(each for each in whole().results if each.counts.not_gradable)
    figure = rater_confusion_figure(whole(), result)
    assert sum(int(str(row[-1])) for row in figure.rows) == result.counts.asked
    assert figure.figure.data[0].x[-1] == "not graded"


def test_what_is_not_estimable_has_no_figure():
    alone = analyse(check_tables(*simulated_frames(**SMALL)[:2]), PLAN)
    assert differences_figure(alone, CANAL, version="v1") is None
    severe = analyse(simulated_tables(**SMALL), PLAN, kept=StudyFilter(grades=(3,)))
    assert roc_figure(severe, CANAL, cut=2) is None


def test_the_table_of_comparisons_is_a_figure_with_its_components():
    for section, first in (("against_readers", "v1"), ("aided", "aided")):
        found = merits_figure(whole(), CANAL, section)
        assert found is not None and {row[1] for row in found.rows} == set(FIGURES)
        row = dict(zip(found.head, found.rows[0], strict=True))
        own = next(each for each in getattr(whole(), section) if each.region is CANAL and each.first == first)
        assert (row["cov2"], row["df"], row["p"]) == (own.components.cov2, own.df, own.p_value)


def test_the_hardest_regions_show_every_reader_once_and_frame_the_reference():
    found = hardest_figure(whole())
    assert found is not None
    for row, shape in zip(found.rows, found.figure.layout.shapes, strict=True):
        values = dict(zip(found.head, row, strict=True))
        assert sum(values[f"gave {grade}"] for grade in range(4)) + values["not graded"] == values["readers"]
        assert (shape.x0 + shape.x1) / 2 == values["reference"]


def test_an_estimate_without_interval_is_printed_short_and_an_undefined_one_as_not_estimable():
    assert printed(Estimate(0.5, math.nan, math.nan, 1, "m", "one patient")) == "0.500 (no interval)"
    assert printed(Estimate(math.nan, math.nan, math.nan, 0, "m", "no case")) == "not estimable: no case"
    assert printed(Estimate(0.5, 0.25, 0.75, 9, "m")) == "0.500 (0.250-0.750)"


def test_sections_together_are_all_figures():
    assert [each.key for key in FIGURES_OF for each in section_figures(whole(), key)] == [
        each.key for each in every_figure(whole())]
    assert section_figures(whole(), "methods") == []


def test_the_margin_stands_in_the_figure_of_differences():
    found = differences_figure(whole(), CANAL, version="v1")
    assert found is not None and -PLAN.non_inferiority_margin in {shape.x0 for shape in found.figure.layout.shapes}


def test_the_heat_map_of_agreement_is_symmetric_and_empty_on_the_diagonal():
    heat = next(iter(agreement_figures(whole(), CANAL))).figure.data[0]
    size = len(heat.x)
    assert all(heat.z[a][b] == heat.z[b][a] for a in range(size) for b in range(size))
    assert all(heat.z[k][k] is None for k in range(size)) and heat.x[-1] == "reference"


@pytest.mark.parametrize("text", ["=1+1", "@cmd", "+1", "-1"])
def test_no_spreadsheet_runs_a_cell_as_formula(text):
    figure = StudyFigure("name", headline_figure(whole(), CANAL).figure, ("a", "b"), ((text, -0.5),), "statement")
    assert figure.as_csv().splitlines()[2] == f"'{text},-0.5"


def test_a_key_is_a_safe_name():
    figure = headline_figure(whole(), CANAL).figure
    assert StudyFigure('a/"><b> v1.2', figure, (), (), "").key == "a-b-v1.2"
