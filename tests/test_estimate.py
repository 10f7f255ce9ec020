import numpy as np
import pytest

from lss_core.statistics.estimate import bootstrap_by_cluster, wilson_interval


@pytest.mark.parametrize(("successes", "n", "low", "high"), [
    (18, 20, 0.6989663547715128, 0.972133518786232),        # R binom.confint, in statsmodels results_proportion.py
    (132, 150, 0.82, 0.92),                                 # the interval at .88 of 150 that domain texts quote
])
def test_published_wilson_intervals(successes, n, low, high):
    estimate = wilson_interval(successes, n)
    digits = 1e-6 if n == 20 else 5e-3
    assert estimate.low == pytest.approx(low, abs=digits) and estimate.high == pytest.approx(high, abs=digits)


def test_wilson_stays_in_bounds_and_is_undefined_without_data():
    assert wilson_interval(0, 30).low == 0.0 and wilson_interval(30, 30).high == pytest.approx(1.0)
    assert wilson_interval(0, 30).high > 0.05
    assert np.isnan(wilson_interval(0, 0).value)
    with pytest.raises(ValueError):
        wilson_interval(3, 2)


def test_bootstrap_of_clusters_is_wider_than_of_independent_values():
    values = np.repeat(np.arange(20) % 2, 10).astype(float)         # each patient's ten values are equal
    clustered = bootstrap_by_cluster(lambda i: float(values[i].mean()), [str(k // 10) for k in range(200)])
    independent = bootstrap_by_cluster(lambda i: float(values[i].mean()), [str(k) for k in range(200)])
    assert clustered.value == independent.value == 0.5
    assert clustered.high - clustered.low > 2 * (independent.high - independent.low)


def test_bootstrap_is_reproducible_and_leaves_out_undefined_draws():
    values = np.array([1.0, 0.0, np.nan])

    def mean(indices):
        return float(np.nanmean(values[indices])) if not np.isnan(values[indices]).all() else float("nan")

    first, second = (bootstrap_by_cluster(mean, ["a", "b", "c"], draws=200) for _ in range(2))
    assert first == second and 0 <= first.low <= first.high <= 1
