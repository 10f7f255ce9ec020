from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lss_core.statistics.krippendorff import krippendorff_alpha
from tests.graded import graded, width

# Four coders, twelve units, 0 where missing (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, p. 8).
CODERS = np.array([[1, 1, 0, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4],
                   [1, 1, 2, 1], [2, 2, 2, 2], [0, 5, 5, 5], [0, 0, 1, 1], [0, 3, 0, 0]], float)
CODERS[CODERS == 0] = np.nan
METRICS = ("nominal", "ordinal", "interval", "ratio")

unhurried = settings(deadline=None)          # the machine may be busy
rated = arrays(float, (7, 3), elements=st.sampled_from([0.0, 1.0, 2.0, 5.0, np.nan]))
metrics = st.sampled_from(METRICS)


def by_definition(ratings, metric):
    """Alpha from a loop over pairs of values; None where it is not defined."""
    units = [[v for v in row if not np.isnan(v)] for row in ratings]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]

    def difference(a, b):
        if metric == "nominal":
            return float(a != b)
        if metric == "interval":
            return (a - b) ** 2
        if metric == "ratio":
            return ((a - b) / (a + b)) ** 2 if a + b else 0.0
        low, high = min(a, b), max(a, b)
        return (sum(low <= v <= high for v in values) - (values.count(a) + values.count(b)) / 2) ** 2

    expected = sum(difference(a, b) for a, b in permutations(values, 2))
    if not expected:
        return None
    observed = sum(sum(difference(a, b) for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    return 1 - (len(values) - 1) * observed / expected


@pytest.mark.parametrize(("metric", "published"), [
    ("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)])
def test_krippendorffs_own_example(metric, published):
    alpha = krippendorff_alpha(CODERS, metric=metric, categories=range(1, 6))
    assert alpha.value == pytest.approx(published, abs=5e-4) and alpha.n == 11         # the last unit has no pair
    assert alpha.low < alpha.value < alpha.high <= 1


@unhurried
@given(ratings=rated, metric=metrics)
def test_alpha_is_that_of_the_loop_over_its_definition(ratings, metric):
    alpha, expected = krippendorff_alpha(ratings, metric=metric, resamples=100), by_definition(ratings, metric)
    if expected is None:
        assert np.isnan(alpha.value) and alpha.undefined
    elif "resamples do not define it" not in alpha.undefined:
        assert alpha.value == pytest.approx(expected)


@unhurried
@given(ratings=rated, metric=metrics, cases=st.permutations(range(7)), raters=st.permutations(range(3)))
def test_order_and_a_declared_but_unused_category_change_nothing(ratings, metric, cases, raters):
    one = krippendorff_alpha(ratings, metric=metric, resamples=100)
    for other in (krippendorff_alpha(ratings[cases][:, raters], metric=metric, resamples=100),
                  krippendorff_alpha(ratings, metric=metric, resamples=100, categories=[9, 5, 2, 1, 0])):
        assert other.value == pytest.approx(one.value, nan_ok=True)


@unhurried
@given(ratings=rated)
def test_ordinal_alpha_knows_the_order_alone_and_nominal_alpha_not_even_that(ratings):
    stretched, reversed_ = np.where(ratings == 5, 90.0, ratings), -ratings
    for other in (stretched, reversed_):
        for metric in ("ordinal", "nominal"):
            values = [krippendorff_alpha(each, metric=metric, resamples=100).value for each in (ratings, other)]
            assert values[0] == pytest.approx(values[1], nan_ok=True)
    swapped = np.select([ratings == 0, ratings == 1], [1.0, 0.0], ratings)
    values = [krippendorff_alpha(each, metric="nominal", resamples=100).value for each in (ratings, swapped)]
    assert values[0] == pytest.approx(values[1], nan_ok=True)


def test_perfect_raters_have_alpha_one_without_an_interval_and_chance_gives_about_zero():
    perfect = krippendorff_alpha(np.repeat(np.arange(4)[:, None], 3, axis=1))
    assert perfect.value == 1.0 and "every resample gives the same" in perfect.undefined
    by_chance = np.random.default_rng(0).integers(0, 4, (400, 3))
    for metric in METRICS:
        chance = krippendorff_alpha(by_chance, metric=metric)
        assert chance.low < 0 < chance.high


def test_alpha_without_variation_or_pairs_says_why():
    assert str(krippendorff_alpha(np.ones((5, 3)))) == "undefined: all ratings of cases rated twice are equal"
    for alone in ([[1, np.nan], [np.nan, 2]], np.empty((0, 2))):
        assert str(krippendorff_alpha(alone)) == "undefined: no case was rated twice"


def test_copied_cases_do_not_narrow_a_clustered_interval():
    ratings, _ = graded(150, 3)
    once = krippendorff_alpha(ratings)
    twice = krippendorff_alpha(np.repeat(ratings, 2, axis=0), clusters=np.repeat(np.arange(150), 2))
    assert width(twice) == pytest.approx(width(once), rel=0.01) and twice.n == 150
    assert width(krippendorff_alpha(np.repeat(ratings, 2, axis=0))) < 0.8 * width(once)


def test_bad_input_is_an_error():
    for ratings, options, message in (
        ([[0, 1]], {"metric": "cubic"}, '"cubic": nominal, ordinal'), ([0, 1], {}, "at least two raters"),
        ([[0, 9]], {"categories": range(4)}, r"Categories \[9\]"), ([[-1, 2]], {"metric": "ratio"}, "0 or more"),
        ([[0, 1]], {"clusters": ["a", "b"]}, "one cluster per case"),
    ):
        with pytest.raises(ValueError, match=message):
            krippendorff_alpha(ratings, **options)
