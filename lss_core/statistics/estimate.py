"""A figure with its interval: proportions, and the bootstrap over clusters such as patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import beta, norm


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        n: Independent units behind it: trials of a proportion, clusters of a bootstrap.
        undefined: Why the figure, or only its interval, is NaN; empty where both are defined.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    undefined: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value + self.low + self.high) and not self.undefined:
            raise ValueError(f"{self.method}: an estimate without a figure or an interval needs the reason.")

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"undefined: {self.undefined}"
        if math.isnan(self.low + self.high):
            return f"{self.value:.3f} (no interval: {self.undefined})"
        return f"{self.value:.3f} ({self.low:.3f}{' to ' if self.low < 0 else '-'}{self.high:.3f})"


def without_figure(reason: str, *, n: int, method: str) -> Estimate:
    """An estimate that these data do not define."""
    return Estimate(math.nan, math.nan, math.nan, n, method, reason)


def without_interval(value: float, reason: str, *, n: int, method: str) -> Estimate:
    """A figure that is known while its interval is not."""
    return Estimate(value, math.nan, math.nan, n, method, reason)


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Score interval of a single proportion (Wilson, J. Am. Stat. Assoc. 1927;22:209-212).

    Brown, Cai and DasGupta (Statist. Sci. 2001;16:101-133) recommend it for small samples and near 0 and 1. It takes
    the trials for independent: for regions of the same patient it is too narrow.

    Raises:
        ValueError: not 0 <= successes <= n, or a confidence outside 0..1.
    """
    _check_proportion(successes, n, confidence)
    if n == 0:
        return without_figure("no case", n=0, method="Wilson")
    z = float(norm.ppf(0.5 + confidence / 2))
    p = successes / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low = 0.0 if successes == 0 else middle - half
    return Estimate(p, low, 1.0 if successes == n else middle + half, int(n), "Wilson")


def clopper_pearson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Exact interval of a single proportion (Clopper and Pearson, Biometrika 1934;26:404-413); never too narrow.

    Raises:
        ValueError: not 0 <= successes <= n, or a confidence outside 0..1.
    """
    _check_proportion(successes, n, confidence)
    if n == 0:
        return without_figure("no case", n=0, method="Clopper-Pearson")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return Estimate(successes / n, low, high, int(n), "Clopper-Pearson")


def _check_proportion(successes: int, n: int, confidence: float) -> None:
    _check_confidence(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: a proportion needs 0 <= successes <= n.")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"Confidence {confidence}: a number between 0 and 1 is needed, such as 0.95.")


def bootstrap_by_cluster(
    statistic: Callable[[np.ndarray], float], clusters: Sequence[str] | np.ndarray, *, resamples: int = 2000,
    seed: int = 0, confidence: float = 0.95, method: str = "percentile",
) -> Estimate:
    """Bootstrap that draws whole clusters, for observations that belong together (regions of a patient).

    For functions of sums over clusters `bootstrap_sums` gives the same result in milliseconds.

    Args:
        statistic: Takes the indices of the observations drawn, repeated as often as they were drawn; NaN where it is
            not defined on them.
        clusters: One name per observation.
        method: "percentile", or "bca" (Efron, J. Am. Stat. Assoc. 1987;82:171-185), whose acceleration comes from
            leaving out one cluster at a time.

    Returns:
        As `bootstrap_sums`.
    """
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    rows = np.arange(len(cluster))

    def figures(weights: np.ndarray) -> np.ndarray:
        return np.array([statistic(np.repeat(rows, each[cluster])) for each in weights], float)

    return bootstrap_interval(
        figures, len(names), resamples=resamples, seed=seed, confidence=confidence, method=method,
    )


def bootstrap_sums(
    sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], *, resamples: int = 2000, seed: int = 0,
    confidence: float = 0.95, method: str = "percentile",
) -> Estimate:
    """Bootstrap over clusters of a figure that depends on sums over the clusters alone.

    An accuracy needs (right, all) per patient; a kappa, a sensitivity or a macro-F1 needs the patient's confusion
    matrix, flattened: `lambda total: weighted_kappa(total.reshape(-1, 4, 4))`.

    Args:
        sums: [cluster, k], the sums within each cluster.
        statistic: From totals [resample, k] to figures [resample], NaN where it is not defined.
        method: "percentile" or "bca", as in `bootstrap_by_cluster`.

    Returns:
        `n` is the number of clusters. Resamples on which the figure is not defined are left out and counted in
        `method`; where they are more than half, the estimate is undefined. A single cluster, or resamples that all
        agree (every case right), have no interval.
    """
    sums = np.asarray(sums, float)
    return bootstrap_interval(
        lambda weights: statistic(weights.astype(float) @ sums), len(sums), resamples=resamples, seed=seed,
        confidence=confidence, method=method,
    )


def bootstrap_interval(
    figures: Callable[[np.ndarray], np.ndarray], clusters: int, *, resamples: int, seed: int, confidence: float,
    method: str,
) -> Estimate:
    """`figures` maps how often each cluster was drawn, [resample, cluster], to [resample]."""
    _check_confidence(confidence)
    if method not in ("percentile", "bca"):
        raise ValueError(f'Bootstrap method "{method}": "percentile" and "bca" are known.')
    text = f"bootstrap over clusters, {method}, {resamples} resamples"
    if clusters == 0:
        return without_figure("no case", n=0, method=text)
    value = float(figures(np.ones((1, clusters), int))[0])
    if math.isnan(value):
        return without_figure("not defined on these cases", n=clusters, method=text)
    if clusters == 1:
        return without_interval(value, "a single cluster", n=1, method=text)
    values = figures(draw_clusters(clusters, resamples, seed))
    usable = values[~np.isnan(values)]
    lost = resamples - len(usable)
    text += f", {lost} undefined" if lost else ""
    if 2 * lost > resamples:
        return without_figure(f"{lost} of {resamples} resamples do not define it", n=clusters, method=text)
    if np.ptp(usable) == 0:
        return without_interval(value, "every resample gives the same figure", n=clusters, method=text)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        tails = _accelerated(tails, value, usable, figures(1 - np.eye(clusters, dtype=int)))
        if np.isnan(tails).any():
            return without_interval(value, "all resamples lie on one side of the figure", n=clusters, method=text)
    low, high = np.quantile(usable, tails)
    return Estimate(value, float(low), float(high), clusters, text)


@lru_cache(maxsize=16)
def draw_clusters(clusters: int, resamples: int, seed: int) -> np.ndarray:
    """How often each cluster was drawn, [resample, cluster], read-only: figures of one set share their resamples."""
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    drawn.flags.writeable = False
    return drawn


def _accelerated(tails: np.ndarray, value: float, resampled: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """The quantiles that BCa takes in place of `tails`; NaN where its bias correction is infinite."""
    below = float(np.mean(resampled < value) + np.mean(resampled == value) / 2)
    if not 0 < below < 1:
        return np.full(2, math.nan)
    bias = float(norm.ppf(below))
    apart = np.nanmean(left_out) - left_out
    spread = float(np.nansum(apart**2))
    acceleration = float(np.nansum(apart**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    z = bias + norm.ppf(tails)
    return norm.cdf(bias + z / (1 - acceleration * z))
