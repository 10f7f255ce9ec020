"""Calibrated probabilities, grade sets and reasons for doubt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lss_core.grading.classifier import CropGrade
from lss_core.grading.doubt import (
    CANAL_VIEWS,
    PLACED_VIEWS,
    RECESS_VIEWS,
    Calibration,
    View,
    calibration_of,
    grade_set,
    judge,
    region_views,
    tempered,
)
from lss_core.statistics.calibration import grade_sets
from lss_core.vocabulary import RECESS_HEIGHT, SAC_AREA, Grade, Region
from tests.phantoms import TINY_CLASSIFIER

CALIBRATION = Calibration({"central_canal": 2.0, "lateral_recess": 1.0}, {"central_canal": 0.9, "lateral_recess": 0.0},
                          0.9, "simulated validation patches")


def view(probabilities, ordinal=1.0, measured=1.0, measures=None, gradable=3.0):
    return CropGrade(np.log(probabilities), ordinal, measured, measures or {SAC_AREA: 110.0}, gradable)


MILD = (0.1, 0.7, 0.15, 0.05)


def test_views_that_agree_give_their_probabilities_and_no_doubt():
    judged = judge([view(MILD)] * 3, Region.CENTRAL_CANAL, None)
    np.testing.assert_allclose(judged.probabilities, MILD)
    assert judged.doubts == () and judged.grade_set == () and judged.measures[SAC_AREA] == pytest.approx(110.0)
    assert judged.gradable == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_a_temperature_above_one_softens_and_keeps_the_order():
    judged = judge([view(MILD)] * 3, Region.CENTRAL_CANAL, CALIBRATION)
    assert max(judged.probabilities) < 0.7 and np.argmax(judged.probabilities) == 1
    assert sum(judged.probabilities) == pytest.approx(1.0)
    recess = judge([view(MILD, measures={RECESS_HEIGHT: 4.0})] * 3, Region.LEFT_LATERAL_RECESS, CALIBRATION)
    np.testing.assert_allclose(recess.probabilities, MILD)
    assert recess.grade_set == (Grade.MILD,)                        # a threshold of 0 leaves the most probable grade


def test_views_that_differ_are_a_doubt():
    judged = judge([view(MILD), view((0.1, 0.3, 0.5, 0.1)), view(MILD)], Region.CENTRAL_CANAL, None)
    assert any("millimetre changes the grade (1, 2, 1)" in doubt for doubt in judged.doubts)


def test_a_grade_that_is_less_probable_than_the_others_together_is_a_doubt_that_names_the_next():
    judged = judge([view((0.1, 0.36, 0.46, 0.08))] * 3, Region.CENTRAL_CANAL, None)
    (doubt,) = judged.doubts
    assert "grade 2 has 0.46, grade 1 0.36" in doubt


def test_views_from_farther_off_count_for_the_grade_and_not_for_the_doubt():
    moderate = (0.01, 0.09, 0.8, 0.1)
    judged = judge([view(MILD)] * 3 + [view(moderate)] * 7, Region.CENTRAL_CANAL, None)
    assert int(np.argmax(judged.probabilities)) == 2 and judged.doubts == ()


def test_heads_that_differ_are_a_doubt_that_names_the_measure():
    judged = judge([view(MILD, ordinal=1.9, measured=0.6, measures={SAC_AREA: 128.0})] * 3, Region.CENTRAL_CANAL, None)
    (doubt,) = judged.doubts
    assert "grade 1.9" in doubt and "sac area (128.0 mm²) grade 0.6" in doubt


@given(st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4), st.floats(0.0, 1.0))
def test_a_set_is_neighbouring_grades_around_the_most_probable_one(weights, threshold):
    probabilities = np.array(weights) / sum(weights)
    grades = grade_set(probabilities, threshold)
    assert list(grades) == list(range(grades[0], grades[-1] + 1)) and int(np.argmax(probabilities)) in grades
    assert probabilities[list(grades)].sum() >= threshold - 1e-9 or len(grades) == 4
    assert len(grade_set(probabilities, min(threshold + 0.1, 1.0))) >= len(grades)
    # The same rule as the one that the thresholds were fitted and the coverage is measured with.
    assert tuple(int(g) for g in grades) == grade_sets(probabilities[None], threshold)[0]


def test_tempering_works_on_any_number_of_rows():
    logs = np.log(np.array([MILD, MILD[::-1]]))
    np.testing.assert_allclose(tempered(logs, 1.0), [MILD, MILD[::-1]])
    np.testing.assert_allclose(tempered(logs, 3.0)[0], tempered(logs[0], 3.0))


def test_a_card_without_calibration_gives_none_and_a_calibration_survives_the_card():
    assert calibration_of({}) is None
    assert calibration_of(CALIBRATION.as_card()) == CALIBRATION


def test_views_of_a_canal_hold_a_mirror_image_and_those_of_a_recess_do_not():
    planes = np.random.default_rng(0).normal(40, 200, (3, 90, 90)).astype(np.float32)
    symmetric = planes + planes[:, :, ::-1]
    centre = ((90 - 1) / 2, (90 - 1) / 2)

    def views(region):
        return region_views(
            symmetric, pixel_spacing_mm=(0.6, 0.6), region=region, centre=centre, config=TINY_CLASSIFIER
        )

    canal, recess = views(Region.CENTRAL_CANAL), views(Region.LEFT_LATERAL_RECESS)
    assert canal.shape == (len(CANAL_VIEWS), 5, 96, 96) and recess.shape == (len(RECESS_VIEWS), 5, 96, 96)
    assert [v.shift_mm for v in CANAL_VIEWS[:PLACED_VIEWS]] == [v.shift_mm for v in RECESS_VIEWS]
    assert len(set(CANAL_VIEWS)) == len(CANAL_VIEWS) and View((0.0, 0.0), mirrored=True) in CANAL_VIEWS
    # Of a symmetric picture, moved left and mirrored is moved right: these two views then differ in rows alone.
    opposite = region_views(symmetric, pixel_spacing_mm=(0.6, 0.6), region=Region.CENTRAL_CANAL, config=TINY_CLASSIFIER,
                            centre=(centre[0] + 2.0 / 0.6, centre[1]))[2]
    np.testing.assert_allclose(canal[1], opposite, atol=2e-3)
    assert np.abs(recess[1] - recess[0]).mean() > 1e-3
