"""Doubt is said in words that claim no more than was measured."""

from dataclasses import replace

import pytest

from lss_core.vocabulary import CANAL_AP, GRADE_BOUNDS, RECESS_HEIGHT, SAC_AREA, Grade, Region
from tests.cases import IN_DOUBT, LEVEL, REASON, SURE
from ui import wording

G = Grade


@pytest.mark.parametrize(
    ("grades", "words"),
    [((G(1),), "grade 1"), ((G(1), G(2)), "grade 1 or 2"), (tuple(G), "grade 0, 1, 2 or 3")],
)
def test_grades_are_named_one_by_one(grades, words):
    assert wording.grades_in_words(grades) == words


def test_a_set_says_how_often_it_is_made_to_hold_the_true_grade_and_on_what():
    assert wording.set_sentence(IN_DOUBT, coverage=0.9, measured_on="simulated CT, seed 7") == (
        "Grade 1 or 2, in a set made to hold the true grade in 90% of cases like those it was fitted on "
        "(simulated CT, seed 7)."
    )


def test_a_set_whose_origin_is_not_stated_says_so():
    assert "(its card does not say which)" in wording.set_sentence(SURE, coverage=0.9, measured_on="")


@pytest.mark.parametrize(("coverage", "grades"), [(None, (G(1),)), (0.9, ())])
def test_without_calibration_no_set_is_claimed(coverage, grades):
    graded = replace(SURE, grade_set=grades)
    assert wording.set_sentence(graded, coverage=coverage, measured_on="x") == wording.NOT_CALIBRATED


def test_only_a_set_of_more_than_one_grade_is_marked():
    assert (wording.set_mark(IN_DOUBT), wording.set_mark(SURE)) == ("1–2", "")


def test_the_published_bounds_stand_beside_a_measurement():
    assert wording.bounds_in_words(SAC_AREA).endswith(
        "in mm²: normal from 130, mild from 100, moderate from 75, severe below 75."
    )
    assert wording.bounds_in_words(RECESS_HEIGHT).endswith(
        "in mm: normal from 5.0, mild from 3.6, moderate above 2.0, severe at 2.0 or less."
    )
    assert CANAL_AP not in GRADE_BOUNDS and "no bound" in wording.bounds_in_words(CANAL_AP)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (SAC_AREA, 88.4, "88 mm²"), (RECESS_HEIGHT, 3.61, "3.6 mm"), (CANAL_AP, 11.26, "11.3 mm"),
        (SAC_AREA, 99.7, "99.7 mm²"), (RECESS_HEIGHT, 3.58, "3.58 mm"), (RECESS_HEIGHT, 2.004, "2.004 mm"),
    ],
)
def test_a_measurement_has_its_unit_and_is_not_rounded_over_a_bound(name, value, words):
    assert wording.measure_in_words(name, value) == words


def test_a_region_without_a_grade_says_why():
    assert wording.missing_reason(LEVEL, Region.LEFT_LATERAL_RECESS) == REASON
    assert wording.missing_reason(replace(LEVEL, not_gradable={}), Region.LEFT_LATERAL_RECESS) == wording.NOT_FOUND
