"""Intervals from influences: how far each cluster of cases moves a figure (delta method, infinitesimal jackknife)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from lss_core.statistics.estimate import Estimate, wilson_interval, without_figure, without_interval

LEAST_VARIANCE = 1e-20      # of a figure of order 1; below it is rounding
ONE_TRIAL = "Wilson, each cluster one trial"
NO_VARIANCE = "its estimated variance is zero"


def clusters_of(clusters: ArrayLike | None, cases: int) -> np.ndarray:
    """Number of each case's cluster, [case] from 0; without clusters each case is its own.

    Raises:
        ValueError: not one cluster per case.
    """
    if clusters is None:
        return np.arange(cases)
    names = np.asarray(clusters)
    if names.shape != (cases,):
        raise ValueError(f"{names.size} clusters for {cases} cases: one cluster per case is needed.")
    return np.unique(names, return_inverse=True)[1]


def sums_in_clusters(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sums [cluster, k] of values [case, k] over the clusters that occur, in sorted order."""
    names, cluster = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, cluster, values)
    return sums


def from_influence(
    value: float, influence: np.ndarray, clusters: np.ndarray, *, method: str, confidence: float = 0.95,
    within: tuple[float, float] = (-1.0, 1.0),
) -> tuple[Estimate, float]:
    """The figure with Student's interval on C - 1 degrees of freedom, and its standard error.

    The variance is C / (C - 1) times the sum of squares of the clusters' summed influences; with one case per cluster
    and influences (u - mean) / n it is that of a mean.

    Args:
        influence: [case], what each case adds to the figure's deviation; sums to 0.
        clusters: [case], numbers as of `clusters_of`.

    Returns:
        `n` is the number C of clusters. A single cluster, or a variance of zero, has no interval.
    """
    sums = sums_in_clusters(influence[:, None], clusters)[:, 0]
    n = len(sums)
    if n < 2:
        return without_interval(value, "a single case or cluster", n=n, method=method), math.nan
    variance = n / (n - 1) * float((sums**2).sum())
    return from_variance(value, variance, n=n, method=method, df=n - 1, confidence=confidence, within=within)


def from_variance(
    value: float, variance: float, *, n: int, method: str, df: float | None = None, confidence: float = 0.95,
    within: tuple[float, float] = (-1.0, 1.0),
) -> tuple[Estimate, float]:
    """The figure with value +- quantile x standard error, cut to what is possible, and its standard error.

    Args:
        df: Degrees of freedom of Student's quantile; the normal one where None.
    """
    if variance <= LEAST_VARIANCE:
        return without_interval(value, NO_VARIANCE, n=n, method=method), 0.0
    error = math.sqrt(variance)
    upper = 0.5 + confidence / 2
    half = float(norm.ppf(upper) if df is None else t.ppf(upper, df)) * error
    return Estimate(value, max(within[0], value - half), min(within[1], value + half), n, method), error


def share_in_clusters(hits: np.ndarray, clusters: np.ndarray, *, confidence: float = 0.95) -> Estimate:
    """Share of cases that are hits, as a ratio of sums over clusters (Rao and Scott, Biometrics 1992;48:577-585).

    A share of 0 or 1 varies in no cluster; it has Wilson's interval with each cluster as one trial.

    Args:
        hits: bool [case].
        clusters: [case], numbers as of `clusters_of`.
    """
    hits, n = np.asarray(hits, bool), len(np.unique(clusters))
    if not n:
        return without_figure("no case", n=0, method="ratio estimator, clustered")
    value = float(hits.mean())
    if value in (0.0, 1.0):
        return replace(wilson_interval(n if value else 0, n, confidence=confidence), method=ONE_TRIAL)
    return from_influence(
        value, (hits - value) / len(hits), clusters, method="ratio estimator, clustered", confidence=confidence,
        within=(0.0, 1.0),
    )[0]
