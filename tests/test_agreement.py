import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from lss_core.statistics.agreement import (
    ONE_CATEGORY,
    agreement_weights,
    cohen_kappa,
    confusion_by_cluster,
    confusion_matrix,
    gwet_ac,
    kappa_of_pairs,
    weighted_kappa,
)
from lss_core.statistics.estimate import bootstrap_sums
from tests.graded import graded, width

# SAS PROC FREQ print-out of 19 subjects (statsmodels, test_inter_rater.py, table10); the second rater never used 1.
SAS = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
# 100 women, two abstractors (Gwet, Handbook of Inter-Rater Reliability, 2014; kgwet/irrCAC, README).
GWET = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
GWET_IN_FOUR = np.pad(GWET, ((0, 1), (0, 1)))
KAPPAS = (weighted_kappa, gwet_ac)

unhurried = settings(deadline=None)          # the machine may be busy
counts = arrays(int, (4, 4), elements=st.integers(0, 30))
names = st.sampled_from(["none", "linear", "quadratic", "ordinal"])
powers = st.sampled_from([0, 1, 2])


def test_published_kappas_with_an_unused_category():
    assert weighted_kappa(SAS, power=0) == pytest.approx(0.4842, abs=5e-5)
    assert weighted_kappa(SAS, power=1) == pytest.approx(0.4701, abs=5e-5)


def test_gwets_published_coefficients():
    assert gwet_ac(GWET) == pytest.approx(0.8493305, abs=1e-6)
    assert gwet_ac(GWET, power=1) == pytest.approx(0.900, abs=6e-4)
    assert gwet_ac(GWET, power=2) == pytest.approx(0.940, abs=6e-4)


@unhurried
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_kappa_equals_that_of_scikit_learn(pairs):
    reference, rating = map(list, zip(*pairs, strict=True))
    matrix = confusion_matrix(reference, rating, categories=range(4))
    assume(not np.isnan(weighted_kappa(matrix)))
    for power, weights in ((0, None), (1, "linear"), (2, "quadratic")):
        theirs = cohen_kappa_score(reference, rating, labels=[0, 1, 2, 3], weights=weights)
        assert weighted_kappa(matrix, power=power) == pytest.approx(theirs)


@unhurried
@given(grades=st.lists(st.integers(0, 3), min_size=1, max_size=30), power=powers)
def test_a_rater_agrees_with_himself(grades, power):
    matrix = confusion_matrix(grades, grades, categories=range(4))
    assert gwet_ac(matrix, power=power) == pytest.approx(1.0)
    if len(set(grades)) > 1:
        assert weighted_kappa(matrix, power=power) == 1.0


@unhurried
@given(matrix=counts, power=powers)
def test_agreement_does_not_depend_on_who_is_first_nor_on_the_direction_of_the_scale(matrix, power):
    for coefficient in KAPPAS:
        value = coefficient(matrix, power=power)
        assert coefficient(matrix.T, power=power) == pytest.approx(value, nan_ok=True)
        assert coefficient(matrix[::-1, ::-1], power=power) == pytest.approx(value, nan_ok=True)
        assert coefficient(matrix * 3.0, power=power) == pytest.approx(value, nan_ok=True)


@unhurried
@given(matrix=counts, order=st.permutations(range(4)))
def test_unweighted_agreement_does_not_depend_on_the_order_of_categories(matrix, order):
    for coefficient in KAPPAS:
        relabelled = coefficient(matrix[np.ix_(order, order)], power=0)
        assert relabelled == pytest.approx(coefficient(matrix, power=0), nan_ok=True)


@unhurried
@given(matrices=arrays(int, (5, 4, 4), elements=st.integers(0, 4)), power=powers)
def test_many_matrices_at_once_equal_one_by_one(matrices, power):
    matrices[0] = 0
    for coefficient in KAPPAS:
        together = coefficient(matrices, power=power)
        assert together == pytest.approx([coefficient(m, power=power) for m in matrices], nan_ok=True)
        assert coefficient(matrices[None], power=power).shape == (1, 5)


def test_independent_raters_agree_by_chance():
    assert weighted_kappa(np.outer([10, 20, 30, 40], [1, 2, 3, 4])) == pytest.approx(0.0, abs=1e-12)


def test_far_disagreement_costs_more_than_near():
    near, far = np.diag([10, 10, 10, 10]), np.diag([10, 10, 10, 10])
    near[0, 1], far[0, 3] = 5, 5
    for coefficient in KAPPAS:
        assert coefficient(far, power=2) < coefficient(near, power=2) < 1


def test_where_all_cases_are_of_one_grade_kappa_is_undefined_and_ac1_is_not():
    one = np.diag([9, 0, 0, 0])
    assert np.isnan(weighted_kappa(one)) and gwet_ac(one) == 1.0
    assert np.isnan(weighted_kappa(np.zeros((4, 4)))) and np.isnan(gwet_ac(np.zeros((4, 4))))
    nearly = np.array([[95, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert weighted_kappa(nearly) < 0 < 0.9 < gwet_ac(nearly)        # kappa's paradox


def test_categories_are_the_declared_ones_not_the_observed():
    matrix = confusion_matrix([0, 0, 3, 3], [0, 3, 3, 3], categories=range(4))
    assert matrix.shape == (4, 4) and matrix[0, 3] == 1 and matrix.sum() == 4
    declared = confusion_matrix([0, 2, 3], [0, 3, 3], categories=range(4))
    observed = confusion_matrix([0, 2, 3], [0, 3, 3], categories=[0, 2, 3])
    assert weighted_kappa(declared, power=1) != pytest.approx(weighted_kappa(observed, power=1))


def test_confusions_of_clusters_sum_to_the_whole():
    reference, rating, patients = [0, 1, 2, 3, 3], [0, 1, 1, 3, 2], ["b", "a", "a", "b", "c"]
    parts = confusion_by_cluster(reference, rating, patients, categories=range(4))
    assert parts.shape == (3, 4, 4) and parts.sum(axis=(1, 2)).tolist() == [2, 2, 1]       # a, b, c
    assert (parts.sum(axis=0) == confusion_matrix(reference, rating, categories=range(4))).all()
    assert confusion_matrix([], [], categories=range(4)).tolist() == np.zeros((4, 4)).tolist()


def test_published_standard_errors_of_kappa():
    """SAS PROC FREQ; Fleiss, Cohen and Everitt 1969."""
    simple, linear = cohen_kappa(SAS), cohen_kappa(SAS, weights="linear")
    for kappa, error, null, z, low, high in (
        (simple, 0.1380, 0.1484, 3.2626, 0.2137, 0.7547), (linear, 0.1457, 0.1426, 3.2971, 0.1845, 0.7558),
    ):
        assert (kappa.standard_error, kappa.null_error, kappa.z) == pytest.approx((error, null, z), abs=5e-5)
        assert (kappa.estimate.low, kappa.estimate.high) == pytest.approx((low, high), abs=5e-5)
    assert simple.p_value == pytest.approx(0.0011, abs=5e-5) and simple.estimate.n == 19
    everitt = cohen_kappa(np.array([[106, 10, 4], [22, 28, 10], [2, 12, 6]]), weights="quadratic")
    assert everitt.standard_error == pytest.approx(0.0556663402, abs=1e-9)


def test_kappa_takes_published_weights_of_disagreement():
    cohen = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])                              # Cohen 1968, 200 cases
    weights = 1 - np.array([[0, 1, 3], [1, 0, 6], [3, 6, 0]]) / 6
    assert cohen_kappa(cohen, weights=weights).estimate.value == pytest.approx(0.348, abs=5e-4)


@unhurried
@given(matrix=counts, order=st.permutations(range(4)), weights=names)
def test_kappa_and_its_errors_do_not_depend_on_who_is_first_nor_on_labels(matrix, order, weights):
    kappa = cohen_kappa(matrix, weights=weights)
    others = [cohen_kappa(matrix.T, weights=weights), cohen_kappa(matrix[::-1, ::-1], weights=weights)]
    if weights == "none":
        others.append(cohen_kappa(matrix[np.ix_(order, order)]))
    for other in others:
        assert other.estimate.value == pytest.approx(kappa.estimate.value, nan_ok=True)
        assert other.standard_error == pytest.approx(kappa.standard_error, nan_ok=True, abs=1e-9)
        assert (other.null_error is None) == (kappa.null_error is None)
        assert other.null_error is None or other.null_error == pytest.approx(kappa.null_error, abs=1e-9)


@unhurried
@given(matrix=counts, power=powers)
def test_kappa_of_one_matrix_is_that_of_many(matrix, power):
    kappa = cohen_kappa(matrix, weights=("none", "linear", "quadratic")[power])
    assert kappa.estimate.value == pytest.approx(weighted_kappa(matrix, power=power), nan_ok=True)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic", "ordinal"])
def test_analytic_and_bootstrap_intervals_of_kappa_agree_within_five_percent(weights):
    grades, patient = graded(1500, 2, per_patient=3)
    table = agreement_weights(4, weights)
    singly = kappa_of_pairs(*grades.T, categories=range(4), weights=weights)
    clustered = kappa_of_pairs(*grades.T, categories=range(4), weights=weights, clusters=patient)
    for analytic, clusters in ((singly, np.arange(1500)), (clustered, patient)):
        parts = confusion_by_cluster(*grades.T, clusters, categories=range(4))
        resampled = bootstrap_sums(
            parts.reshape(len(parts), -1), lambda total: weighted(total.reshape(-1, 4, 4), table), resamples=8000)
        assert analytic.estimate.value == pytest.approx(resampled.value)
        assert width(analytic.estimate) / width(resampled) == pytest.approx(1, abs=0.05)
        assert analytic.estimate.n == resampled.n


def weighted(matrices, table):
    """Kappa with agreement weights, written anew."""
    share = matrices / matrices.sum(axis=(1, 2), keepdims=True)
    observed = (table * share).sum(axis=(1, 2))
    chance = np.einsum("kl,ik,il->i", table, share.sum(axis=2), share.sum(axis=1))
    return (observed - chance) / (1 - chance)


def test_clusters_of_one_case_give_the_plain_standard_error_and_copied_cases_do_not_narrow_it():
    grades, _ = graded(200, 2)
    plain = kappa_of_pairs(*grades.T, categories=range(4)).standard_error
    singly = kappa_of_pairs(*grades.T, categories=range(4), clusters=np.arange(200)).standard_error
    assert singly == pytest.approx(plain * (200 / 199) ** 0.5)
    twice = kappa_of_pairs(*np.repeat(grades, 2, axis=0).T, categories=range(4), clusters=np.repeat(np.arange(200), 2))
    assert twice.standard_error == pytest.approx(singly) and twice.estimate.n == 200 and twice.p_value is None


def test_missing_ratings_leave_the_pair_out():
    first, second = [0, 1, None, 2, 3, np.nan], [0, 1, 2, np.nan, 2, 1]
    kept = kappa_of_pairs([0, 1, 3], [0, 1, 2], categories=range(4))
    assert kappa_of_pairs(first, second, categories=range(4)) == kept
    clustered = kappa_of_pairs(first, second, categories=range(4), clusters=list("aabbcc"))
    assert clustered.estimate.value == kept.estimate.value and clustered.estimate.n == 2        # a, c


def test_kappas_that_are_not_defined_say_why():
    one, none = np.diag([9, 0, 0, 0]), np.zeros((4, 4))
    assert str(cohen_kappa(one).estimate) == f"undefined: {ONE_CATEGORY}"
    assert str(cohen_kappa(none).estimate) == "undefined: no case"
    perfect = cohen_kappa(np.diag([3, 4, 5, 6]))
    assert str(perfect.estimate) == "1.000 (no interval: its estimated variance is zero)"
    assert perfect.p_value is not None and perfect.p_value < 1e-6
    constant = kappa_of_pairs([1, 1, 1], [1, 1, 1], categories=range(4), clusters=list("abc"))
    assert "one category" in constant.estimate.undefined and constant.z is None and constant.p_value is None
    single = kappa_of_pairs([1, 2], [1, 1], categories=range(4), clusters=list("aa"))
    assert "a single case or cluster" in str(single.estimate)


def test_a_constant_rater_agrees_with_others_by_chance_alone():
    grades, _ = graded(60, 1)
    for constant in range(4):
        for weights in ("none", "linear", "quadratic"):
            kappa = kappa_of_pairs(grades[:, 0], np.full(60, constant), categories=range(4), weights=weights)
            assert kappa.estimate.value == pytest.approx(0, abs=1e-12)
            assert "variance is zero" in kappa.estimate.undefined and kappa.null_error == pytest.approx(0, abs=1e-7)


def test_weights_are_one_on_the_diagonal_and_zero_for_the_farthest():
    for name in ("none", "linear", "quadratic", "ordinal"):
        table = agreement_weights(4, name)
        assert (np.diagonal(table) == 1).all() and table[0, 3] == 0 and (table == table.T).all()
    assert agreement_weights(4, "linear")[0, 1] == pytest.approx(2 / 3)
    assert agreement_weights(4, "quadratic")[0, 1] == pytest.approx(8 / 9)
    assert agreement_weights(4, "ordinal")[0].tolist() == pytest.approx([1, 5 / 6, 3 / 6, 0])      # pairs 0, 1, 3, 6


def test_bad_input_of_kappa_is_an_error():
    for weights, message in (("cubic", '"cubic"'), (np.eye(3), r"\(3, 3\): \[4, 4\]"), (np.ones((4, 4)), "no disagree"),
                             (np.triu(np.ones((4, 4))), "symmetric"), (2 * np.eye(4), "at most 1")):
        with pytest.raises(ValueError, match=message):
            cohen_kappa(GWET_IN_FOUR, weights=weights)
    with pytest.raises(ValueError, match="at least two"):
        cohen_kappa(np.array([[5]]))
    with pytest.raises(ValueError, match="a single one"):
        cohen_kappa(np.ones((2, 4, 4)))
    with pytest.raises(ValueError, match="fractions"):
        cohen_kappa(np.full((4, 4), 0.5))
    with pytest.raises(ValueError, match="one of each per case"):
        kappa_of_pairs([0, 1], [0], categories=range(4))
    with pytest.raises(ValueError, match="one cluster per case"):
        kappa_of_pairs([0, 1], [0, 1], categories=range(4), clusters=["a"])
    with pytest.raises(ValueError, match="each may be declared once"):
        kappa_of_pairs([0, 1], [0, 1], categories=[0, 1, 1])
    with pytest.raises(ValueError, match=r"Categories \[1.5\]"):
        kappa_of_pairs([0, 1.5], [0, 1], categories=range(4))
    with pytest.raises(ValueError, match="rating is missing"):
        confusion_matrix([0, np.nan], [0, 1], categories=range(4))


def test_bad_input_is_an_error():
    with pytest.raises(ValueError, match=r"\[5\]: only \[0, 1, 2, 3\] are declared"):
        confusion_matrix([0, 5], [0, 1], categories=range(4))
    with pytest.raises(ValueError, match="not as many"):
        confusion_matrix([0, 1], [0], categories=range(4))
    with pytest.raises(ValueError, match="square"):
        weighted_kappa(np.ones((4, 3)))
    with pytest.raises(ValueError, match="negative or missing"):
        gwet_ac(np.full((4, 4), np.nan))
