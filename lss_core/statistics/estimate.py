"""Proportions and other figures with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


def wilson_interval(successes: float, n: float, *, confidence: float = 0.95) -> Estimate:
    """Score interval of a single proportion (Wilson 1927). An empty sample gives NaN.

    Brown, Cai and DasGupta (Statist. Sci. 2001;16:101-133) recommend it for small samples and near 0 and 1.
    """
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: a proportion needs 0 <= successes <= n.")
    z = float(norm.ppf(0.5 + confidence / 2))
    p = successes / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
    return Estimate(p, max(0.0, middle - half), min(1.0, middle + half))


def bootstrap_by_cluster(
    statistic: Callable[[np.ndarray], float], clusters: Sequence[str], *, draws: int = 2000, confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Percentile bootstrap that draws whole clusters, for observations that belong together (regions of a patient).

    Args:
        statistic: Takes the indices of the observations drawn; a draw in which it is NaN is left out.
        clusters: One name per observation.
    """
    names, membership = np.unique(np.asarray(clusters), return_inverse=True)
    members = [np.flatnonzero(membership == k) for k in range(len(names))]
    if not members:
        return Estimate(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    values = np.array([
        statistic(np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))]))
        for _ in range(draws)
    ])
    tail = (1 - confidence) / 2
    usable = values[~np.isnan(values)]
    low, high = np.quantile(usable, [tail, 1 - tail]) if usable.size else (float("nan"), float("nan"))
    return Estimate(statistic(np.arange(len(membership))), float(low), float(high))
