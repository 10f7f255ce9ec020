import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lss_core.statistics.reliability import intraclass_correlation

# Six cases, four judges (Shrout and Fleiss, Psychol. Bull. 1979;86:420-428, table 2); values there to two digits,
# intervals as R psych prints them for the same table.
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
PUBLISHED = {"1": (0.17, -0.133, 0.723), "A,1": (0.29, 0.019, 0.761), "C,1": (0.71, 0.342, 0.946),
             "1,k": (0.44, -0.884, 0.912), "A,k": (0.62, 0.071, 0.927), "C,k": (0.91, 0.676, 0.986)}

unhurried = settings(deadline=None)          # the machine may be busy
forms = st.sampled_from(list(PUBLISHED))
rated = arrays(float, (6, 3), elements=st.integers(0, 9).map(float))


@pytest.mark.parametrize("form", PUBLISHED)
def test_published_correlations_of_shrout_and_fleiss(form):
    result = intraclass_correlation(JUDGES, form=form)
    value, low, high = PUBLISHED[form]
    assert result.estimate.value == pytest.approx(value, abs=5e-3)
    assert (result.estimate.low, result.estimate.high) == pytest.approx((low, high), abs=1e-3)
    assert result.estimate.n == 6


def test_published_f_tests_of_shrout_and_fleiss():
    one, two = (intraclass_correlation(JUDGES, form=form) for form in ("1", "C,1"))
    assert one.df == (5, 18) and one.f_statistic == pytest.approx(1.79, abs=5e-3) and one.p_value == pytest.approx(
        0.16477, abs=1e-5)
    assert two.df == (5, 15) and two.f_statistic == pytest.approx(11.03, abs=5e-3) and two.p_value == pytest.approx(
        0.00013, abs=1e-5)


@unhurried
@given(ratings=rated, form=forms, cases=st.permutations(range(6)), raters=st.permutations(range(3)))
def test_order_and_a_linear_scale_change_nothing(ratings, form, cases, raters):
    one = intraclass_correlation(ratings, form=form).estimate
    for other in (ratings[cases], ratings[:, raters], 2.5 * ratings + 7, -ratings):
        again = intraclass_correlation(other, form=form).estimate
        assert (again.value, again.low, again.high) == pytest.approx((one.value, one.low, one.high), nan_ok=True)


@unhurried
@given(ratings=rated, form=forms)
def test_the_interval_holds_the_figure_and_a_mean_is_more_reliable(ratings, form):
    result = intraclass_correlation(ratings, form=form).estimate
    assume(not result.undefined)
    assert result.low <= result.value + 1e-9 and result.value <= result.high + 1e-9 <= 1 + 2e-9
    if form[-1] == "1" and result.value > 0:
        of_mean = {"1": "1,k", "A,1": "A,k", "C,1": "C,k"}[form]
        assert intraclass_correlation(ratings, form=of_mean).estimate.value >= result.value


@unhurried
@given(ratings=rated, shift=st.integers(1, 20))
def test_a_rater_who_always_adds_a_constant_is_consistent_but_does_not_agree(ratings, shift):
    assume(np.ptp(ratings.mean(axis=1)) > 0)
    shifted = ratings + np.array([0, 0, shift])
    before, after = (intraclass_correlation(each, form="C,1").estimate for each in (ratings, shifted))
    assert after.value == pytest.approx(before.value)
    constants = ratings[:, [0, 0, 0]] + np.array([0, 0, shift])
    assume(np.ptp(ratings[:, 0]) > 0)
    assert intraclass_correlation(constants, form="C,1").estimate.value == 1.0
    assert intraclass_correlation(constants, form="A,1").estimate.value < 1.0


@pytest.mark.parametrize("form", PUBLISHED)
def test_intervals_hold_the_true_correlation_in_ninety_five_percent(form):
    """Variances: cases 4, raters 1, residual 2."""
    true = 4 / 6 if form[0] == "C" else 4 / 7
    true = true if form[-1] == "1" else 4 * true / (1 + 3 * true)
    held = 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        cases, residual = 2 * rng.normal(size=(25, 1)), 2**0.5 * rng.normal(size=(25, 4))
        # One way, each case has raters of its own.
        raters = rng.normal(size=(25, 4)) if form[0] == "1" else rng.normal(size=4)
        estimate = intraclass_correlation(cases + raters + residual, form=form).estimate
        held += estimate.low <= true <= estimate.high
    assert 0.92 < held / 600 < 0.98


def test_perfect_raters_have_one_without_an_interval():
    for form in PUBLISHED:
        result = intraclass_correlation(np.repeat(np.arange(5.0)[:, None], 3, axis=1), form=form)
        assert result.estimate.value == 1.0 and "no residual variance" in str(result.estimate)
        assert result.p_value is None


def test_a_constant_rater_adds_nothing():
    ratings = np.column_stack([np.array(JUDGES, float), np.full(6, 5.0)])
    assert intraclass_correlation(ratings, form="C,1").estimate.value < intraclass_correlation(
        JUDGES, form="C,1").estimate.value


def test_what_is_not_defined_says_why():
    assert str(intraclass_correlation(np.ones((4, 3))).estimate) == "undefined: all ratings are equal"
    assert str(intraclass_correlation([[1, 2, 3]]).estimate) == "undefined: fewer than two cases"
    assert str(intraclass_correlation([[1, 2], [2, 1]]).estimate) == "undefined: the cases' means are equal"
    hardly = intraclass_correlation([[0, 9], [9, 0.5], [5, 4]], form="A,k").estimate
    assert hardly.undefined == "the cases differ so little that the mean of the raters has no reliability"


def test_bad_input_is_an_error():
    with pytest.raises(ValueError, match="Case 2 has no rating by rater 1: leave such cases out"):
        intraclass_correlation([[1, 2], [np.nan, 3], [2, 2]])
    with pytest.raises(ValueError, match="at least two raters"):
        intraclass_correlation([[1], [2]])
    with pytest.raises(ValueError, match='"2,1": 1, A,1'):
        intraclass_correlation(JUDGES, form="2,1")
