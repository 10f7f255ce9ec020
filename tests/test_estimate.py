import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, bootstrap, norm

from lss_core.statistics.agreement import confusion_by_cluster, confusion_matrix, weighted_kappa
from lss_core.statistics.estimate import (
    Estimate,
    bootstrap_by_cluster,
    bootstrap_sums,
    clopper_pearson,
    wilson_interval,
)

CASE = Path(__file__).parents[1] / ".." / "shared" / "statistics_cases" / "proportion_ci"
unhurried = settings(deadline=None)          # the machine may be busy
INTERVALS = {"wilson": wilson_interval, "clopper_pearson": clopper_pearson}


def mean(total):
    return total[:, 0] / total[:, 1]


def clustered_values(clusters=40, seed=0):
    """Right or wrong for 1-12 regions of each patient, patients differing: values, patients, sums [patient, 2]."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 13, clusters)
    patients = np.repeat(np.arange(clusters), sizes)
    values = (rng.random(len(patients)) < rng.beta(4, 2, clusters)[patients]).astype(float)
    return values, patients, np.stack([np.bincount(patients, weights=values), sizes], axis=1)


@pytest.mark.parametrize(("interval", "successes", "n", "low", "high"), [
    (wilson_interval, 18, 20, 0.6989663547715128, 0.972133518786232),       # R binom.confint, in statsmodels
    (clopper_pearson, 18, 20, 0.6830172859809176, 0.9876514728297052),      # results_proportion.py
    (wilson_interval, 132, 150, 0.82, 0.92),            # the interval at .88 of 150 that domain texts quote
])
def test_published_intervals(interval, successes, n, low, high):
    estimate = interval(successes, n)
    digits = 1e-6 if n == 20 else 5e-3
    assert estimate.low == pytest.approx(low, abs=digits) and estimate.high == pytest.approx(high, abs=digits)
    assert estimate.n == n and estimate.value == successes / n


@pytest.mark.skipif(not CASE.is_dir(), reason="../shared/statistics_cases is not here")
def test_all_published_proportions():
    expected = {each["id"]: each for each in json.loads((CASE / "expected.json").read_text())["expected"]}
    for row in csv.DictReader((CASE / "data.csv").read_text().splitlines()):
        for name, interval in INTERVALS.items():
            estimate = interval(int(row["x"]), int(row["n"]))
            for end in ("low", "high"):
                published = expected[f"{row['x']}/{row['n']}.{name}.{end}"]
                assert getattr(estimate, end) == pytest.approx(published["value"], abs=published["tol"])


@unhurried
@given(n=st.integers(1, 300), share=st.floats(0, 1))
def test_intervals_hold_the_figure_and_mirror(n, share):
    successes = round(share * n)
    for interval in INTERVALS.values():
        estimate, mirrored = interval(successes, n), interval(n - successes, n)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1 and estimate.low < estimate.high
        assert mirrored.low == pytest.approx(1 - estimate.high) and mirrored.high == pytest.approx(1 - estimate.low)


@pytest.mark.parametrize("p", [0.03, 0.2, 0.5])
def test_the_exact_interval_holds_the_truth_at_least_as_often_as_stated(p):
    chances = binom.pmf(range(41), 40, p)
    held = [clopper_pearson(k, 40).low <= p <= clopper_pearson(k, 40).high for k in range(41)]
    assert chances[held].sum() >= 0.95


def test_proportions_without_data_are_undefined_and_impossible_ones_an_error():
    for interval in INTERVALS.values():
        assert str(interval(0, 0)) == "undefined: no case"
        assert interval(0, 30).low == 0.0 and interval(30, 30).high == 1.0 and interval(0, 30).high > 0.05
        with pytest.raises(ValueError, match="0 <= successes <= n"):
            interval(3, 2)
        with pytest.raises(ValueError, match="Confidence 95"):
            interval(1, 2, confidence=95)


def test_an_estimate_says_what_it_is():
    assert str(Estimate(0.879, 0.827, 0.918, 208, "Wilson")) == "0.879 (0.827-0.918)"
    assert str(Estimate(0.01, -0.02, 0.04, 9, "bootstrap")) == "0.010 (-0.020 to 0.040)"
    nan = float("nan")
    assert str(Estimate(nan, nan, nan, 0, "Wilson", "no case of grade 3")) == "undefined: no case of grade 3"
    assert str(Estimate(1.0, nan, nan, 1, "bootstrap", "a single cluster")) == "1.000 (no interval: a single cluster)"
    with pytest.raises(ValueError, match="needs the reason"):
        Estimate(nan, nan, nan, 0, "Wilson")


def test_bootstrap_of_clusters_is_wider_than_of_independent_values():
    values = np.repeat(np.arange(20) % 2, 10).astype(float)         # each patient's ten values are equal
    clustered = bootstrap_by_cluster(lambda i: float(values[i].mean()), [str(k // 10) for k in range(200)])
    independent = bootstrap_by_cluster(lambda i: float(values[i].mean()), [str(k) for k in range(200)])
    assert clustered.value == independent.value == 0.5 and clustered.n == 20 and independent.n == 200
    assert clustered.high - clustered.low > 2 * (independent.high - independent.low)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_both_bootstraps_are_the_same(method):
    values, patients, sums = clustered_values()
    names = [f"patient {k:02d}" for k in patients]
    looped = bootstrap_by_cluster(lambda i: float(values[i].mean()), names, resamples=300, method=method)
    vectorised = bootstrap_sums(sums, mean, resamples=300, method=method)
    for end in ("value", "low", "high"):
        assert getattr(looped, end) == pytest.approx(getattr(vectorised, end), abs=1e-12)
    assert looped.n == vectorised.n == 40 and looped.method == vectorised.method


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_agrees_with_the_ratio_estimator(method):
    _, _, sums = clustered_values(clusters=400)
    right, cases = sums.T
    share = right.sum() / cases.sum()
    error = np.sqrt(len(sums) / (len(sums) - 1) * ((right - share * cases) ** 2).sum()) / cases.sum()   # Cochran 1977
    estimate = bootstrap_sums(sums, mean, resamples=8000, method=method)
    assert (estimate.high - estimate.low) / (2 * norm.ppf(0.975) * error) == pytest.approx(1, abs=0.05)
    assert estimate.value == pytest.approx(share)


def test_bca_agrees_with_scipy():
    values = np.random.default_rng(3).exponential(size=30)          # skew, where BCa differs from percentiles
    ours = bootstrap_sums(np.stack([values, np.ones(30)], axis=1), mean, resamples=40_000, method="bca")
    theirs = bootstrap((values,), np.mean, n_resamples=40_000, method="BCa", rng=1).confidence_interval
    plain = bootstrap_sums(np.stack([values, np.ones(30)], axis=1), mean, resamples=40_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert ours.low - plain.low > 0.02 and ours.high - plain.high > 0.02


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_of_the_bootstrap_hold_the_truth_about_as_often_as_stated(method):
    held = 0
    for seed in range(400):
        values = np.random.default_rng(seed).random((60, 1)) < 0.8
        estimate = bootstrap_sums(np.hstack([values, np.ones((60, 1))]), mean, resamples=500, method=method, seed=seed)
        held += estimate.low <= 0.8 <= estimate.high
    assert 0.90 < held / 400 < 0.98


def test_a_kappa_from_clusters_confusions_takes_milliseconds_and_equals_the_loop():
    rng = np.random.default_rng(1)
    reference = rng.integers(0, 4, 600)
    rating = np.clip(reference + rng.integers(-1, 2, 600), 0, 3)
    patients = np.arange(600) // 6
    sums = confusion_by_cluster(reference, rating, patients, categories=range(4)).reshape(100, 16)
    began = time.perf_counter()
    fast = bootstrap_sums(sums, lambda total: weighted_kappa(total.reshape(-1, 4, 4)))
    assert time.perf_counter() - began < 1.0            # about 0.03 s; the loop takes 2000 confusion matrices

    def kappa(rows):
        return weighted_kappa(confusion_matrix(reference[rows].tolist(), rating[rows].tolist(), categories=range(4)))

    slow = bootstrap_by_cluster(kappa, patients, resamples=100)
    assert slow == bootstrap_sums(sums, lambda total: weighted_kappa(total.reshape(-1, 4, 4)), resamples=100)
    assert fast.low < slow.value == fast.value < fast.high


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(12)), seed=st.integers(0, 5))
def test_the_names_of_clusters_and_the_order_of_cases_do_not_matter(order, seed):
    values = np.array([0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1], float)
    patients = np.array(list("aaabbccccddd"))
    order = np.array(order)
    first = bootstrap_by_cluster(lambda i: float(values[i].mean()), patients, resamples=50, seed=seed)
    again = bootstrap_by_cluster(lambda i: float(values[order][i].mean()), patients[order], resamples=50, seed=seed)
    assert (again.value, again.low, again.high) == pytest.approx((first.value, first.low, first.high))


def test_bootstrap_is_reproducible_and_counts_undefined_resamples():
    values = np.array([1.0, 0.0, np.nan])

    def mean_of_known(indices):
        return float(np.nanmean(values[indices])) if not np.isnan(values[indices]).all() else float("nan")

    first, second = (bootstrap_by_cluster(mean_of_known, ["a", "b", "c"], resamples=200) for _ in range(2))
    assert first == second and 0 <= first.low <= first.high <= 1
    lost = int(first.method.split(", ")[-1].removesuffix(" undefined"))
    assert 0 < lost < 30                                # 1 of 27 draws holds the unknown case alone


def test_mostly_undefined_resamples_leave_no_estimate():
    sums = np.zeros((30, 2))
    sums[:2] = 1                # two of thirty patients have a grade 3; both are needed

    def of_both(total):
        return np.where(total[:, 1] > 1, total[:, 0] / np.maximum(total[:, 1], 1), np.nan)

    some = bootstrap_sums(sums, lambda total: np.where(total[:, 1] > 0, total[:, 1] / 2, np.nan))
    assert some.value == 1 and 0.05 < int(some.method.split(", ")[-1].split()[0]) / 2000 < 0.25     # (28/30)^30 = .13
    exactly_both = bootstrap_sums(sums, lambda total: np.where(total[:, 1] == 2, total[:, 0] / 2, np.nan))
    assert np.isnan(exactly_both.value) and exactly_both.n == 30
    assert str(exactly_both).endswith("of 2000 resamples do not define it")
    assert str(bootstrap_sums(sums[1:], of_both)) == "undefined: not defined on these cases"


def test_a_single_cluster_and_figures_that_never_vary_have_no_interval():
    assert str(bootstrap_sums(np.array([[3.0, 4.0]]), mean)) == "0.750 (no interval: a single cluster)"
    perfect = bootstrap_sums(np.array([[3.0, 3.0], [5.0, 5.0]]), mean)
    assert perfect.value == 1.0 and "every resample gives the same figure" in str(perfect)
    assert str(bootstrap_sums(np.zeros((0, 2)), mean)) == "undefined: no case"
    assert str(bootstrap_by_cluster(lambda i: 0.0, [])) == "undefined: no case"


def test_unknown_bootstraps_are_an_error():
    with pytest.raises(ValueError, match="percentile"):
        bootstrap_sums(np.ones((2, 2)), mean, method="basic")
    with pytest.raises(ValueError, match="Confidence"):
        bootstrap_sums(np.ones((2, 2)), mean, confidence=1.0)
