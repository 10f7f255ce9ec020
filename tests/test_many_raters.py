import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from lss_core.statistics.agreement import ONE_CATEGORY, gwet_ac, weighted_kappa
from lss_core.statistics.krippendorff import krippendorff_alpha
from lss_core.statistics.many_raters import agreement_among, agreement_of_two, bootstrap_among
from tests.graded import graded, width

# 4 raters, 12 units, categories 1-5, 0 where missing (Gwet, Handbook of Inter-Rater Reliability, 2014, table 2.10).
GWET = np.array([[1, 1, 0, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4],
                 [1, 1, 2, 1], [2, 2, 2, 2], [0, 5, 5, 5], [0, 0, 1, 1], [0, 0, 3, 0]], float)
GWET[GWET == 0] = np.nan
# 30 patients by category, 6 raters each (Fleiss, Psychol. Bull. 1971;76:378-382, table 1).
FLEISS_ROWS = (
    "00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031 "
    "00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"
)
FLEISS = [[int(n) for n in patient] for patient in FLEISS_ROWS.split()]
TWO = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])            # two abstractors of 100 women (Gwet 2014)
COEFFICIENTS = ("percent", "fleiss", "conger", "gwet", "brennan_prediger", "krippendorff")

unhurried = settings(deadline=None)          # the machine may be busy
coefficients = st.sampled_from(COEFFICIENTS)
rated = arrays(float, (7, 3), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]))
weights = st.sampled_from(["none", "linear", "quadratic", "ordinal"])


def same(one, other):
    assert other.estimate.value == pytest.approx(one.estimate.value, nan_ok=True)
    assert other.standard_error == pytest.approx(one.standard_error, nan_ok=True, abs=1e-9)


@pytest.mark.parametrize(("coefficient", "value", "error"), [
    ("gwet", 0.77544, 0.14295), ("fleiss", 0.76117, 0.15302), ("conger", 0.76282, None),
    ("brennan_prediger", 0.77273, None), ("krippendorff", 0.74342, 0.14548)])
def test_published_coefficients_with_missing_ratings(coefficient, value, error):
    result = agreement_among(GWET, categories=range(1, 6), coefficient=coefficient)
    assert result.estimate.value == pytest.approx(value, abs=1e-5)
    assert error is None or result.standard_error == pytest.approx(error, abs=1e-5)
    assert result.estimate.high == 1.0


@pytest.mark.parametrize(("coefficient", "value", "error"), [
    ("conger", 0.7964094, 0.05891072), ("fleiss", 0.7962397, 0.05905473), ("gwet", 0.8493305, 0.04321747),
    ("brennan_prediger", 0.835, 0.04693346), ("krippendorff", 0.7972585, 0.05905473), ("percent", 0.89, 0.03128898)])
def test_published_coefficients_of_a_table(coefficient, value, error):
    result = agreement_of_two(TWO, coefficient=coefficient)
    assert (result.estimate.value, result.standard_error) == pytest.approx((value, error), abs=1e-6)


def test_published_kappa_of_fleiss():
    ratings = np.array([np.repeat(np.arange(5), row) for row in FLEISS])
    kappa = agreement_among(ratings, categories=range(5), coefficient="fleiss")
    assert kappa.estimate.value == pytest.approx(0.4302445, abs=1e-7)
    assert kappa.z == pytest.approx(17.65183, abs=1e-4) and kappa.p_value < 1e-60


@unhurried
@given(ratings=arrays(int, (9, 4), elements=st.integers(0, 3)))
def test_fleiss_kappa_equals_that_of_statsmodels(ratings):
    assume(len(np.unique(ratings)) > 1)
    theirs = fleiss_kappa(aggregate_raters(ratings, n_cat=4)[0])
    ours = agreement_among(ratings, categories=range(4), coefficient="fleiss")
    assert ours.estimate.value == pytest.approx(theirs)


@unhurried
@given(ratings=rated, coefficient=coefficients, weights=weights, cases=st.permutations(range(7)),
       raters=st.permutations(range(3)))
def test_the_order_of_cases_and_raters_and_the_direction_of_the_scale_change_nothing(
    ratings, coefficient, weights, cases, raters
):
    def among(ratings, categories=range(4)):
        return agreement_among(ratings, categories=categories, coefficient=coefficient, weights=weights)

    one = among(ratings)
    for other in (among(ratings[cases]), among(ratings[:, raters]), among(3 - ratings),
                  among(10 * ratings, [0, 10, 20, 30]), among(np.vstack([ratings, np.full((2, 3), np.nan)]))):
        same(one, other)


@unhurried
@given(ratings=rated, coefficient=coefficients, names=st.permutations(range(4)))
def test_without_weights_the_names_of_categories_change_nothing(ratings, coefficient, names):
    renamed = np.where(np.isnan(ratings), np.nan, np.array(names)[np.nan_to_num(ratings).astype(int)])
    same(*(agreement_among(each, categories=range(4), coefficient=coefficient) for each in (ratings, renamed)))


@unhurried
@given(matrix=arrays(int, (4, 4), elements=st.integers(0, 9)), power=st.sampled_from([0, 1, 2]))
def test_of_two_raters_they_are_cohens_kappa_and_gwets_coefficient(matrix, power):
    name = ("none", "linear", "quadratic")[power]
    for coefficient, theirs in (("conger", weighted_kappa), ("gwet", gwet_ac)):
        ours = agreement_of_two(matrix, coefficient=coefficient, weights=name)
        assert ours.estimate.value == pytest.approx(theirs(matrix, power=power), nan_ok=True)


@unhurried
@given(ratings=rated)
def test_alpha_with_fixed_weights_is_krippendorffs(ratings):
    ours = agreement_among(ratings, categories=range(4), coefficient="krippendorff", weights="quadratic")
    alpha = krippendorff_alpha(ratings, categories=range(4), metric="interval", resamples=10)
    assert ours.estimate.value == pytest.approx(alpha.value, nan_ok=True)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_perfect_raters_agree_fully_and_have_no_interval(coefficient):
    ratings = np.repeat(np.arange(4)[:, None], 3, axis=1)
    result = agreement_among(np.tile(ratings, (5, 1)), categories=range(4), coefficient=coefficient)
    assert result.estimate.value == pytest.approx(1.0) and "variance is zero" in result.estimate.undefined
    assert result.observed == pytest.approx(1.0)


@pytest.mark.parametrize("coefficient", ["fleiss", "conger", "krippendorff"])
def test_raters_who_use_one_category_have_no_kappa_but_have_gwets_coefficient(coefficient):
    constant = np.ones((9, 3))
    result = agreement_among(constant, categories=range(4), coefficient=coefficient)
    assert str(result.estimate) == f"undefined: {ONE_CATEGORY}" and result.estimate.n == 9
    assert agreement_among(constant, categories=range(4)).estimate.value == pytest.approx(1.0)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_without_two_ratings_of_a_case_it_is_undefined(coefficient):
    alone = np.array([[1, np.nan, np.nan], [np.nan, 2, np.nan], [np.nan, np.nan, 2]])
    for ratings in (alone, np.full((3, 3), np.nan), np.empty((0, 3))):
        result = agreement_among(ratings, categories=range(4), coefficient=coefficient)
        assert str(result.estimate) == "undefined: no case was rated twice"
        assert np.isnan(bootstrap_among(ratings, categories=range(4), coefficient=coefficient).value)


def test_a_rater_without_ratings_has_no_use_of_categories_for_conger():
    ratings = np.array([[0, 1, np.nan], [1, 1, np.nan], [2, 3, np.nan]])
    result = agreement_among(ratings, categories=range(4), coefficient="conger")
    assert str(result.estimate) == "undefined: rater 3 rated no case"
    assert agreement_among(ratings, categories=range(4), coefficient="fleiss").estimate.value == pytest.approx(
        agreement_among(ratings[:, :2], categories=range(4), coefficient="fleiss").estimate.value)


def test_a_constant_rater_lowers_the_agreement_of_the_others():
    ratings, _ = graded(300, 4)
    with_constant = np.column_stack([ratings[:, :3], np.ones(300)])
    for coefficient in COEFFICIENTS:
        both = [agreement_among(r, categories=range(4), coefficient=coefficient) for r in (ratings, with_constant)]
        assert both[1].estimate.value < both[0].estimate.value


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@pytest.mark.parametrize("weights", ["none", "quadratic"])
def test_analytic_and_bootstrap_intervals_agree_within_five_percent(coefficient, weights):
    ratings, patient = graded(900, 5, missing=0.1, per_patient=2)
    for clusters in (None, patient):
        options = {"categories": range(4), "coefficient": coefficient, "weights": weights, "clusters": clusters}
        analytic = agreement_among(ratings, **options).estimate
        resampled = bootstrap_among(ratings, **options, resamples=8000)
        assert analytic.value == pytest.approx(resampled.value) and analytic.n == resampled.n
        assert width(analytic) / width(resampled) == pytest.approx(1, abs=0.05)


def test_copied_cases_do_not_narrow_a_clustered_interval():
    ratings, _ = graded(150, 3)
    once = agreement_among(ratings, categories=range(4))
    twice = agreement_among(np.repeat(ratings, 2, axis=0), categories=range(4), clusters=np.repeat(np.arange(150), 2))
    assert width(twice.estimate) == pytest.approx(width(once.estimate)) and twice.estimate.n == 150
    plain = agreement_among(np.repeat(ratings, 2, axis=0), categories=range(4))
    assert width(plain.estimate) < 0.8 * width(once.estimate)


def test_a_single_case_or_cluster_has_a_figure_without_an_interval():
    result = agreement_among([[0, 0, 1]], categories=range(4))
    assert result.observed == pytest.approx(1 / 3) and "single case or cluster" in result.estimate.undefined
    clustered = agreement_among(GWET, categories=range(1, 6), clusters=["A"] * 12)
    assert clustered.estimate.value == pytest.approx(0.77544, abs=1e-5) and np.isnan(clustered.estimate.low)


def test_the_null_error_of_fleiss_kappa_needs_equally_many_ratings_and_no_weights():
    ratings, patient = graded(30, 4)
    options = {"categories": range(4), "coefficient": "fleiss"}
    assert agreement_among(ratings, **options).z is not None
    for result in (agreement_among(ratings, **options, weights="linear"), agreement_among(GWET, categories=range(1, 6),
                   coefficient="fleiss"), agreement_among(ratings, **options, clusters=patient)):
        assert result.null_error is None and result.z is None and result.p_value is None


def test_fleiss_z_is_standard_normal_where_raters_agree_by_chance():
    z = []
    for seed in range(400):
        ratings = np.random.default_rng(seed).choice(4, (60, 4), p=[0.4, 0.3, 0.2, 0.1])
        z.append(agreement_among(ratings, categories=range(4), coefficient="fleiss").z)
    assert np.mean(z) == pytest.approx(0, abs=0.15) and np.std(z) == pytest.approx(1, abs=0.1)


def test_a_declared_but_unused_category_counts_for_gwet_and_not_for_fleiss():
    ratings, _ = graded(50, 3)
    for coefficient, changes in (("gwet", True), ("brennan_prediger", True), ("fleiss", False), ("conger", False)):
        four, five = (agreement_among(ratings, categories=range(k), coefficient=coefficient) for k in (4, 5))
        assert (four.estimate.value != pytest.approx(five.estimate.value)) == changes


def test_bad_input_is_an_error():
    with pytest.raises(ValueError, match=r"Categories \[7\]"):
        agreement_among([[0, 7]], categories=range(4))
    with pytest.raises(ValueError, match='"scott": percent, fleiss'):
        agreement_among([[0, 1]], categories=range(4), coefficient="scott")
    with pytest.raises(ValueError, match="at least two raters"):
        agreement_among([[0], [1]], categories=range(4))
    with pytest.raises(ValueError, match="one cluster per case"):
        agreement_among([[0, 1]], categories=range(4), clusters=["a", "b"])
    with pytest.raises(ValueError, match="at least two"):
        agreement_among([[0, 0]], categories=[0])
    with pytest.raises(ValueError, match="symmetric"):
        agreement_among([[0, 1]], categories=[0, 1], weights=np.array([[1, 0.5], [0, 1]]))
