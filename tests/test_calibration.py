import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as log_loss_of_sklearn

from lss_core.statistics.calibration import (
    ALL_GRADES,
    brier,
    expected_calibration_error,
    fit_temperature,
    grade_sets,
    log_loss,
    mean_set_size,
    reliability,
    set_coverage,
    set_scores,
    set_threshold,
)

# Four cases of three classes; calibration error .2000 in three bins (torchmetrics, documentation of
# MulticlassCalibrationError).
TORCHMETRICS = np.array([[0.25, 0.20, 0.55], [0.55, 0.05, 0.40], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]])
# Ten forecasts of rain and whether it rained; by hand 2 (.49 + .01 + .04 + .36 + .04 + .01) / 10 = .19.
RAIN = np.array([0.7, 0.9, 0.8, 0.4, 0.2, 0.0, 0.0, 0.0, 0.0, 0.1])
RAINED = np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0])

unhurried = settings(deadline=None)          # the machine may be busy
weights = st.lists(st.tuples(*[st.integers(0, 9)] * 4).filter(any), min_size=1, max_size=12)


def drawn(cases, *, seed=0, sharpness=1.5, told=1.0):
    """Probabilities [n, 4] and truths that follow them where `told` is 1; they are too sure where it is above."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (cases, 4))
    truth = (rng.random((cases, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return softmax(told * logits, axis=1), np.minimum(truth, 3)


def shares(rows):
    return np.array(rows, float) / np.sum(rows, axis=1, keepdims=True)


def test_known_scores():
    assert expected_calibration_error(TORCHMETRICS, np.array([0, 1, 2, 0]), bins=3) == pytest.approx(0.2, abs=5e-5)
    assert brier(np.stack([1 - RAIN, RAIN], axis=1), RAINED) == pytest.approx(0.19)


def test_scores_equal_those_of_scikit_learn():
    probabilities, truth = drawn(200)
    assert log_loss(probabilities, truth) == pytest.approx(log_loss_of_sklearn(truth, probabilities))
    theirs = brier_score_loss(truth, probabilities, labels=range(4), scale_by_half=False)
    assert brier(probabilities, truth) == pytest.approx(theirs)


def test_scores_at_their_ends():
    sure, right, wrong = np.eye(4), np.arange(4), np.array([1, 2, 3, 0])
    assert brier(sure, right) == log_loss(sure, right) == expected_calibration_error(sure, right) == 0.0
    assert brier(sure, wrong) == 2.0 and expected_calibration_error(sure, wrong) == 1.0
    assert log_loss(sure, wrong) == pytest.approx(36.04, abs=0.01)
    even = np.full((4, 4), 0.25)
    assert brier(even, np.arange(4)) == 0.75 and log_loss(even, np.arange(4)) == pytest.approx(math.log(4))


def test_probabilities_that_mean_what_they_say_have_little_calibration_error():
    honest, truth = drawn(20_000)
    boastful, _ = drawn(20_000, told=2.5)
    assert expected_calibration_error(honest, truth) < 0.02
    assert expected_calibration_error(boastful, truth) > 0.15
    assert brier(boastful, truth) > brier(honest, truth) and log_loss(boastful, truth) > log_loss(honest, truth)


@unhurried
@given(order=st.permutations(range(30)), grades=st.permutations(range(4)), bins=st.integers(1, 15))
def test_scores_do_not_depend_on_the_order_of_cases_or_the_names_of_grades(order, grades, bins):
    probabilities, truth = drawn(30)
    renamed = np.argsort(grades)[truth]
    for score in (brier, log_loss, lambda p, t: expected_calibration_error(p, t, bins=bins)):
        value = score(probabilities, truth)
        assert score(probabilities[order], truth[order]) == pytest.approx(value)
        assert score(probabilities[:, grades], renamed) == pytest.approx(value)


def test_the_reliability_bins_hold_every_case_once_and_give_the_calibration_error():
    probabilities, truth = drawn(500)
    table = reliability(probabilities, truth)
    assert [(each.low, each.high) for each in table][:2] == [(0.0, 0.1), (0.1, 0.2)] and len(table) == 10
    assert sum(each.n for each in table) == 500
    assert table[0].n == table[1].n == 0 and math.isnan(table[0].accuracy)       # the top of four is at least 1/4
    used = [each for each in table if each.n]
    assert all(each.low < each.confidence <= each.high for each in used)
    right = sum(each.n * each.accuracy for each in used)
    assert right == pytest.approx((probabilities.argmax(axis=1) == truth).sum())
    gap = sum(each.n * abs(each.accuracy - each.confidence) for each in used) / 500
    assert expected_calibration_error(probabilities, truth) == pytest.approx(gap)


def test_a_case_on_an_edge_belongs_below_it():
    table = reliability(np.array([[0.5, 0.5, 0, 0], [1.0, 0, 0, 0]]), np.array([0, 0]), bins=2)
    assert [each.n for each in table] == [1, 1]


@pytest.mark.parametrize("t", [0.5, 1.0, 1.7, 3.0])
def test_the_temperature_of_the_draw_is_found(t):
    honest, truth = drawn(20_000)
    log_p = t * np.log(honest)
    fitted = fit_temperature(log_p, truth)
    assert fitted == pytest.approx(t, rel=0.05)
    losses = [log_loss(softmax(log_p / each, axis=1), truth) for each in (fitted, 0.98 * fitted, 1.02 * fitted)]
    assert min(losses) == losses[0]
    assert fit_temperature(log_p + 7.0, truth) == pytest.approx(fitted, rel=1e-4)     # logits, up to a constant


def test_the_temperature_stays_in_its_bounds():
    probabilities, _ = drawn(200)
    log_p = np.log(probabilities)
    assert fit_temperature(log_p, probabilities.argmax(axis=1)) == pytest.approx(0.2, abs=1e-3)
    assert fit_temperature(log_p, probabilities.argmin(axis=1)) == pytest.approx(5.0, abs=1e-3)


def test_a_temperature_lessens_the_calibration_error_of_other_cases():
    boastful, truth = drawn(4000, told=2.5)
    t = fit_temperature(np.log(boastful[:2000]), truth[:2000])
    cooled = np.exp(log_softmax(np.log(boastful[2000:]) / t, axis=1))
    before, after = (expected_calibration_error(p, truth[2000:]) for p in (boastful[2000:], cooled))
    assert after < before / 3


def test_known_sets():
    probabilities = np.array([[0.1, 0.5, 0.3, 0.1], [0.05, 0.05, 0.2, 0.7], [0.4, 0.1, 0.1, 0.4]])
    assert grade_sets(probabilities, 0.0) == [(1,), (3,), (0,)]
    assert grade_sets(probabilities, 0.5) == [(1,), (3,), (0, 1)]
    assert grade_sets(probabilities, 0.75) == [(1, 2), (2, 3), (0, 1, 2, 3)]
    assert grade_sets(probabilities, 0.85) == [(1, 2, 3), (2, 3), (0, 1, 2, 3)]        # of two equals the more severe
    assert grade_sets(probabilities, ALL_GRADES) == [(0, 1, 2, 3)] * 3
    assert mean_set_size(probabilities, 0.75) == pytest.approx(8 / 3)


@unhurried
@given(rows=weights, threshold=st.floats(0, 1.2))
def test_sets_are_neighbours_around_the_top_grade_with_the_mass_asked_and_no_more(rows, threshold):
    probabilities = shares(rows)
    for p, held in zip(probabilities, grade_sets(probabilities, threshold), strict=True):
        assert list(held) == list(range(held[0], held[-1] + 1)) and int(p.argmax()) in held
        assert sum(p[list(held)]) >= threshold - 1e-12 or len(held) == 4
        if len(held) > 1:
            ends = [held[0], held[-1]]                   # the one taken in last was needed
            dropped = max(p[end] for end in ends if end != p.argmax())
            assert sum(p[list(held)]) - dropped < threshold + 1e-12


@unhurried
@given(rows=weights, thresholds=st.tuples(st.floats(0, 1.2), st.floats(0, 1.2)))
def test_a_higher_threshold_gives_a_set_that_holds_the_lower_ones(rows, thresholds):
    low, high = (grade_sets(shares(rows), each) for each in sorted(thresholds))
    assert all(set(small) <= set(large) for small, large in zip(low, high, strict=True))


@unhurried
@given(rows=weights, threshold=st.floats(0, 1.2), truth=st.integers(0, 3))
def test_a_set_holds_the_truth_exactly_where_the_score_is_at_most_the_threshold(rows, threshold, truth):
    probabilities, truths = shares(rows), np.full(len(rows), truth)
    scores = set_scores(probabilities, truths)
    just_below = np.nextafter(scores[scores > 0], 0)
    for each in (threshold, *scores, *just_below):
        held = [truth in grades for grades in grade_sets(probabilities, each)]
        assert held == (scores <= each).tolist()
        assert set_coverage(probabilities, truths, each) == np.mean(held)
    assert ((scores == 0) == (probabilities.argmax(axis=1) == truth)).all()


def test_sets_of_many_cases_equal_those_of_one_by_one():
    probabilities, truth = drawn(300)
    together, scores = grade_sets(probabilities, 0.8), set_scores(probabilities, truth)
    for k in range(300):
        grades = grown(probabilities[k], 0.8)
        assert grade_sets(probabilities[k : k + 1], 0.8) == [together[k]] == [grades]
        assert set_scores(probabilities[k : k + 1], truth[k : k + 1])[0] == scores[k]


def grown(p, threshold):
    """The set of one case, written as it is described."""
    low = high = int(np.argmax(p))
    while sum(p[low : high + 1]) < threshold and high - low < 3:
        below, above = (p[low - 1] if low > 0 else -1), (p[high + 1] if high < 3 else -1)
        low, high = (low, high + 1) if above >= below else (low - 1, high)
    return tuple(range(low, high + 1))


@pytest.mark.parametrize(("cases", "told", "coverage"), [
    (50, 1.0, 0.9), (200, 2.5, 0.9), (200, 0.4, 0.8), (99, 2.5, 0.95),
])
def test_sets_of_exchangeable_cases_cover_as_stated_however_wrong_the_probabilities(cases, told, coverage):
    covered, tops = [], []
    for seed in range(300):
        probabilities, truth = drawn(cases + 200, seed=seed, told=told)
        threshold = set_threshold(probabilities[:cases], truth[:cases], coverage=coverage)
        covered.append(set_coverage(probabilities[cases:], truth[cases:], threshold))
        tops.append((probabilities.argmax(axis=1) == truth).mean())
    expected = math.ceil((cases + 1) * coverage - 1e-9) / (cases + 1)       # the exact mean where scores are distinct
    error = np.std(covered) / 300**0.5
    assert np.mean(tops) < coverage <= expected < coverage + 1 / cases
    assert abs(np.mean(covered) - expected) < 3.5 * error and error < 0.005


def test_where_the_top_grade_is_right_often_enough_it_stands_alone():
    probabilities, _ = drawn(400)
    truth = probabilities.argmax(axis=1)
    truth[:20] = (truth[:20] + 1) % 4
    threshold = set_threshold(probabilities, truth, coverage=0.9)
    assert threshold == 0.0 and mean_set_size(probabilities, threshold) == 1.0
    assert set_coverage(probabilities, truth, threshold) == 0.95


def test_the_threshold_is_the_corrected_quantile():
    probabilities, truth = drawn(19, seed=4, told=0.3)
    scores = np.sort(set_scores(probabilities, truth))
    assert set_threshold(probabilities, truth, coverage=0.9) == scores[17]             # the 18th: 20 x .9
    assert set_threshold(probabilities, truth, coverage=0.91) == scores[18]
    assert set_threshold(probabilities, truth, coverage=0.96) == ALL_GRADES            # 19 cases cannot promise it
    assert set_threshold(probabilities[:0], truth[:0]) == ALL_GRADES
    assert set_coverage(probabilities, truth, ALL_GRADES) == 1.0 and mean_set_size(probabilities, ALL_GRADES) == 4.0


def test_more_coverage_needs_larger_sets():
    probabilities, truth = drawn(500)
    thresholds = [set_threshold(probabilities, truth, coverage=each) for each in (0.7, 0.8, 0.9, 0.95)]
    sizes = [mean_set_size(probabilities, each) for each in thresholds]
    assert all(a < b for a, b in itertools.pairwise(thresholds)) and all(a < b for a, b in itertools.pairwise(sizes))


def test_no_case_leaves_every_figure_undefined():
    none, truth = np.zeros((0, 4)), np.zeros(0, int)
    figures = [brier(none, truth), log_loss(none, truth), expected_calibration_error(none, truth),
               set_coverage(none, truth, 0.5), mean_set_size(none, 0.5)]
    assert np.isnan(figures).all() and grade_sets(none, 0.5) == [] and set_scores(none, truth).size == 0
    with pytest.raises(ValueError, match="Temperature of 0 cases"):
        fit_temperature(none, truth)


@pytest.mark.parametrize(("probabilities", "truth", "message"), [
    (np.full((2, 4), 0.3), [0, 1], "sum to 1"),
    (np.array([[1.2, -0.2, 0, 0]]), [0], "sum to 1"),
    (np.array([[np.nan, 0.5, 0.25, 0.25]]), [0], "sum to 1"),
    (np.full(4, 0.25), [0], r"\[cases, grades\]"),
    (np.full((2, 4), 0.25), [0], "one per case"),
    (np.full((1, 4), 0.25), [4], "grades 0 to 3"),
    (np.full((1, 4), 0.25), [-1], "grades 0 to 3"),
])
def test_bad_input_is_an_error(probabilities, truth, message):
    for score in (brier, log_loss, expected_calibration_error, set_scores, set_threshold):
        with pytest.raises(ValueError, match=message):
            score(probabilities, np.array(truth))


def test_bad_settings_are_an_error():
    probabilities, truth = drawn(20)
    with pytest.raises(ValueError, match="bins"):
        reliability(probabilities, truth, bins=0)
    with pytest.raises(ValueError, match="Coverage 90"):
        set_threshold(probabilities, truth, coverage=90)
    impossible = np.log(np.array([[1.0, 1e-300, 1e-300, 1e-300]]))
    impossible[0, 3] = -np.inf
    with pytest.raises(ValueError, match="finite log p"):
        fit_temperature(impossible, np.array([3]))
