import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lss_core.statistics.agreement import ONE_CATEGORY, kappa_of_pairs
from lss_core.statistics.pairwise import bootstrap_pairwise_kappa, kappa_by_group, pairwise_kappa, repeat_agreement
from tests.graded import graded, width

FOUR = ("A", "B", "C", "D")


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic", "ordinal"])
def test_every_pair_is_as_computed_alone(weights):
    ratings, patient = graded(120, 4, missing=0.1, per_patient=3)
    kappas = pairwise_kappa(ratings, raters=FOUR, categories=range(4), weights=weights, clusters=patient)
    assert list(kappas) == [("A", "B"), ("A", "C"), ("A", "D"), ("B", "C"), ("B", "D"), ("C", "D")]
    for (first, second), kappa in kappas.items():
        a, b = ratings[:, FOUR.index(first)], ratings[:, FOUR.index(second)]
        alone = kappa_of_pairs(a, b, categories=range(4), weights=weights, clusters=patient).estimate
        assert (kappa.value, kappa.low, kappa.high) == pytest.approx((alone.value, alone.low, alone.high))
        assert kappa.n == alone.n


@settings(deadline=None, max_examples=30)
@given(cases=st.permutations(range(40)), raters=st.permutations(range(4)), seed=st.integers(0, 20))
def test_the_order_of_cases_and_raters_changes_no_kappa(cases, raters, seed):
    ratings, patient = graded(40, 4, seed=seed, missing=0.2, per_patient=2)
    one = pairwise_kappa(ratings, raters=FOUR, categories=range(4), clusters=patient)
    other = pairwise_kappa(
        ratings[cases][:, raters], raters=[FOUR[k] for k in raters], categories=range(4), clusters=patient[cases])
    for (first, second), kappa in one.items():
        again = other[first, second] if (first, second) in other else other[second, first]
        assert (again.value, again.low) == pytest.approx((kappa.value, kappa.low), nan_ok=True)


def test_linearised_and_bootstrap_intervals_of_pairs_agree_within_five_percent():
    ratings, patient = graded(1200, 4, missing=0.05, per_patient=3)
    options = {"raters": FOUR, "categories": range(4), "clusters": patient, "weights": "quadratic"}
    analytic, resampled = pairwise_kappa(ratings, **options), bootstrap_pairwise_kappa(
        ratings, **options, resamples=8000)
    for pair, kappa in analytic.items():
        assert kappa.value == pytest.approx(resampled[pair].value) and kappa.n == resampled[pair].n
        assert width(kappa) / width(resampled[pair]) == pytest.approx(1, abs=0.05)


def test_pairs_without_a_kappa_say_why():
    ratings = np.array([[0, 0, 1, np.nan], [0, 1, 1, np.nan], [0, 2, 1, 3], [0, np.nan, 1, np.nan]])
    for compute in (pairwise_kappa, bootstrap_pairwise_kappa):
        kappas = compute(ratings, raters=FOUR, categories=range(4))
        assert kappas["A", "C"].value == 0.0                              # two constant raters of different grades
        assert np.isnan(kappas["A", "D"].low) and kappas["A", "D"].undefined
        same = compute(ratings[:, [0, 0]], raters=("A", "B"), categories=range(4))["A", "B"]
        assert np.isnan(same.value) and same.undefined
    same = pairwise_kappa(ratings[:, [0, 0]], raters=("A", "B"), categories=range(4))["A", "B"]
    assert str(same) == f"undefined: {ONE_CATEGORY}" and same.n == 4
    apart = np.array([[0, np.nan], [np.nan, 1]])
    assert str(pairwise_kappa(apart, raters=("A", "B"), categories=range(4))["A", "B"]) == "undefined: no case"


def test_a_group_has_the_mean_of_its_pairs():
    ratings, patient = graded(90, 4, per_patient=3)
    pairs = pairwise_kappa(ratings, raters=FOUR, categories=range(4), clusters=patient)
    groups = kappa_by_group(
        ratings, groups=["fellow", "expert", "fellow", "expert"], categories=range(4), clusters=patient)
    assert list(groups) == [("fellow", "fellow"), ("fellow", "expert"), ("expert", "expert")]
    assert groups["fellow", "fellow"].value == pytest.approx(pairs["A", "C"].value)
    assert width(groups["fellow", "fellow"]) == pytest.approx(width(pairs["A", "C"]))
    between = [pairs[pair].value for pair in (("A", "B"), ("A", "D"), ("B", "C"), ("C", "D"))]
    assert groups["fellow", "expert"].value == pytest.approx(np.mean(between))
    assert groups["fellow", "expert"].method.endswith("4 of 4")


def test_the_interval_of_a_mean_kappa_agrees_with_the_bootstrap_within_five_percent():
    ratings, patient = graded(600, 3, per_patient=3)
    analytic = kappa_by_group(ratings, groups=["all"] * 3, categories=range(4), clusters=patient)["all", "all"]
    rng, means = np.random.default_rng(0), []
    onehot = (ratings[:, :, None] == np.arange(4)).astype(float)
    tables = np.stack([np.einsum("nk,nl->nkl", onehot[:, a], onehot[:, b]) for a, b in ((0, 1), (0, 2), (1, 2))], 1)
    sums = tables.reshape(200, 3, 3, 4, 4).sum(axis=1)
    for _ in range(4000):
        share = sums[rng.integers(0, 200, 200)].sum(axis=0) / 600
        chance = (share.sum(axis=2) * share.sum(axis=1)).sum(axis=1)
        means.append(np.mean((np.trace(share, axis1=1, axis2=2) - chance) / (1 - chance)))
    low, high = np.quantile(means, [0.025, 0.975])
    assert width(analytic) / (high - low) == pytest.approx(1, abs=0.05)


def test_groups_without_a_pair_or_a_kappa_say_why_and_partial_means_count_their_pairs():
    ratings, _ = graded(30, 3)
    groups = kappa_by_group(ratings, groups=["a", "a", "b"], categories=range(4))
    assert str(groups["b", "b"]) == "undefined: no pair of raters"
    constant = np.column_stack([ratings, np.ones(30), np.ones(30)])
    groups = kappa_by_group(constant, groups=["a", "a", "a", "b", "b"], categories=range(4))
    assert str(groups["b", "b"]) == f"undefined: {ONE_CATEGORY}"
    everybody = kappa_by_group(constant, groups=["all"] * 5, categories=range(4))["all", "all"]
    assert everybody.method.endswith("9 of 10")


def test_readers_against_themselves():
    first = [0, 1, 2, 3, 0, 1, 2, 3, 1, None]
    second = [0, 1, 2, 3, 0, 2, 2, np.nan, 1, 1]
    readers = ["Ann"] * 4 + ["Bob"] * 6
    of_readers, everybody = repeat_agreement(
        first, second, readers=readers, categories=range(4), clusters=list("abcdabcdef"))
    ann, bob = of_readers
    assert (ann.reader, ann.repeats, ann.missing) == ("Ann", 4, 0) and ann.kappa.value == 1.0
    assert ann.equal.value == 1.0 and ann.equal.low == pytest.approx(0.5101, abs=1e-4)      # Wilson, 4 of 4
    assert (bob.reader, bob.repeats, bob.missing) == ("Bob", 4, 2) and bob.equal.value == 0.75
    expected = kappa_of_pairs([0, 1, 2, 1], [0, 2, 2, 1], categories=range(4)).estimate.value
    assert bob.kappa.value == pytest.approx(expected)
    assert (everybody.repeats, everybody.missing, everybody.equal.value) == (8, 2, 7 / 8)
    assert everybody.kappa.value == pytest.approx((1 + expected) / 2) and "2 of 2" in everybody.kappa.method
    assert everybody.equal.n == 5                                          # patients a, b, c, d, e, across readers


def test_a_reader_who_repeats_one_grade_has_a_share_and_no_kappa():
    of_readers, everybody = repeat_agreement([1, 1, 0], [1, 1, 0], readers=["A", "A", "B"], categories=range(4))
    assert all(str(each.kappa) == f"undefined: {ONE_CATEGORY}" for each in (*of_readers, everybody))
    assert [each.equal.value for each in of_readers] == [1.0, 1.0]
    none, _ = repeat_agreement([None], [1], readers=["A"], categories=range(4))
    assert str(none[0].equal) == str(none[0].kappa) == "undefined: no case" and none[0].missing == 1


def test_bad_input_is_an_error():
    for call, message in (
        (lambda: pairwise_kappa([[0, 1]], raters=["A"], categories=range(4)), "one name per column"),
        (lambda: pairwise_kappa([[0, 1]], raters=["A", "A"], categories=range(4)), r"\['A'\]: named more than once"),
        (lambda: pairwise_kappa([[0, 8]], raters=["A", "B"], categories=range(4)), r"Categories \[8\]"),
        (lambda: pairwise_kappa([[0, 1]], raters=["A", "B"], categories=range(4), clusters=[]), "one cluster per case"),
        (lambda: bootstrap_pairwise_kappa([[0, 1]], raters=["A", "B"], categories=range(4), weights="ordinal"),
         '"ordinal"'),
        (lambda: bootstrap_pairwise_kappa([[0]], raters=["A"], categories=range(4)), "at least two raters"),
        (lambda: repeat_agreement([0, 1], [0, 1], readers=["A"], categories=range(4)), "one reader per repeat"),
        (lambda: repeat_agreement([0, 1], [0], readers=["A", "A"], categories=range(4)), "one of each per repeat"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
