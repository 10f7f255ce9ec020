import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve as of_scikit_learn

from lss_core.statistics.accuracy import auc, cut_rates
from lss_core.statistics.agreement import confusion_matrix
from lss_core.statistics.roc import average_curve, roc_curve, signed_confidence

unhurried = settings(deadline=None)          # the machine may be busy
scored = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30).filter(
    lambda cases: len({positive for _, positive in cases}) == 2)


def columns(cases):
    scores, positive = zip(*cases, strict=True)
    return np.array(scores, float), np.array(positive)


def trapezoids(curve):
    return float(np.trapezoid(curve.sensitivity, curve.false_positive_rate))


@unhurried
@given(cases=scored)
def test_the_points_are_those_of_scikit_learn_and_the_area_is_the_auc(cases):
    scores, positive = columns(cases)
    curve = roc_curve(scores, positive)
    false, true, thresholds = of_scikit_learn(positive, scores, drop_intermediate=False)
    assert curve.false_positive_rate == pytest.approx(false) and curve.sensitivity == pytest.approx(true)
    assert curve.thresholds == pytest.approx(thresholds)
    assert trapezoids(curve) == pytest.approx(curve.area) == pytest.approx(auc(scores, positive))


@unhurried
@given(cases=scored, data=st.data())
def test_order_and_a_rising_change_of_scale_leave_the_curve_alone(cases, data):
    order = data.draw(st.permutations(range(len(cases))))
    scores, positive = columns(cases)
    one = roc_curve(scores, positive)
    for other in (roc_curve(scores[order], positive[order]), roc_curve(np.exp(scores), positive)):
        assert other.false_positive_rate == pytest.approx(one.false_positive_rate)
        assert other.sensitivity == pytest.approx(one.sensitivity)


def test_a_grades_curve_passes_through_the_rates_of_its_cuts():
    rng = np.random.default_rng(0)
    reference, rating = rng.integers(0, 4, 80), rng.integers(0, 4, 80)
    matrix, curve = confusion_matrix(reference, rating, categories=range(4)), roc_curve(rating, reference >= 2)
    points = {(round(1 - x, 9), round(y, 9)) for x, y in zip(curve.false_positive_rate, curve.sensitivity, strict=True)}
    sensitivity, specificity = cut_rates(matrix, 2)
    assert (round(specificity, 9), round(sensitivity, 9)) in points


def test_perfect_and_constant_scores():
    positive = np.array([False, False, True, True])
    perfect = roc_curve([0, 1, 2, 3], positive)
    assert perfect.area == 1.0 and (0.0, 1.0) in zip(perfect.false_positive_rate, perfect.sensitivity, strict=True)
    constant = roc_curve([7, 7, 7, 7], positive)
    assert constant.area == 0.5 and constant.sensitivity.tolist() == [0, 1] == constant.false_positive_rate.tolist()


def test_without_both_classes_there_is_no_curve():
    curve = roc_curve([1, 2], [True, True])
    assert curve.undefined == "one of the two classes has no case" and curve.sensitivity.size == 0
    assert average_curve([curve, curve]).undefined == average_curve([]).undefined == "no reader has a curve"


def test_confidence_is_signed_by_the_side_of_the_cut():
    score = signed_confidence([0, 1, 2, 3, 2], [100, 20, 30, 90, 0], cut=2)
    assert score.tolist() == [-100, -20, 30, 90, 0]
    assert signed_confidence([1, 1], [40, 60], cut=1).tolist() == [40, 60]


@unhurried
@given(readings=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), min_size=1, max_size=20))
def test_a_grade_above_the_cut_never_scores_below_one_under_it(readings):
    grades, confidence = (np.array(each) for each in zip(*readings, strict=True))
    score = signed_confidence(grades, confidence, cut=2)
    if (grades >= 2).any() and (grades < 2).any():
        assert score[grades >= 2].min() >= score[grades < 2].max()


@settings(max_examples=60, deadline=None)
@given(readers=st.lists(scored, min_size=1, max_size=4))
def test_the_average_curve_rises_and_its_area_is_the_mean_area(readers):
    curves = [roc_curve(*columns(cases)) for cases in readers]
    mean = average_curve(curves)
    assert trapezoids(mean) == pytest.approx(mean.area) == pytest.approx(np.mean([curve.area for curve in curves]))
    assert (np.diff(mean.sensitivity) >= -1e-12).all() and (np.diff(mean.false_positive_rate) >= 0).all()
    assert mean.sensitivity[0] == pytest.approx(0) and mean.sensitivity[-1] == pytest.approx(1)


def test_the_average_of_a_curve_with_itself_is_the_curve():
    rng = np.random.default_rng(1)
    curve = roc_curve(rng.integers(0, 6, 40), rng.random(40) < 0.5)
    mean = average_curve([curve, curve, roc_curve([1, 2], [True, True])])
    for rate, sensitivity in zip(curve.false_positive_rate, curve.sensitivity, strict=True):
        at = mean.sensitivity[np.isclose(mean.false_positive_rate, rate)]
        assert at.min() - 1e-12 <= sensitivity <= at.max() + 1e-12
    assert mean.area == pytest.approx(curve.area)


def test_readings_pooled_over_readers_of_different_scales_lie_below_their_average():
    rng = np.random.default_rng(2)
    positive = rng.random(300) < 0.5
    first = positive + rng.normal(size=300)
    second = 10 + positive + rng.normal(size=300)
    pooled = roc_curve(np.concatenate([first, second]), np.concatenate([positive, positive]))
    assert pooled.area < average_curve([roc_curve(each, positive) for each in (first, second)]).area - 0.05


def test_bad_input_is_an_error():
    for call, message in (
        (lambda: roc_curve([0.1, np.nan], [True, False]), "score is missing"),
        (lambda: roc_curve([0.1, 0.2], [True]), "one class per case"),
        (lambda: signed_confidence([1, 2], [50], cut=2), "one of each per reading"),
        (lambda: signed_confidence([1, np.nan], [50, 50], cut=2), "missing"),
        (lambda: signed_confidence([1, 2], [50, 101], cut=2), "Confidence 101: a number from 0 to 100"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
