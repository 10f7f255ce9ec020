"""Intervals from influences: how far each cluster of cases moves a figure (delta method, infinitesimal jackknife)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from lss_core.statistics.estimate import Estimate, without_interval

LEAST_VARIANCE = 1e-20      # of a figure of order 1; below it is rounding
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
    sums = np.bincount(np.unique(clusters, return_inverse=True)[1], weights=influence)
    n = len(sums)
    if n < 2:
        return without_interval(value, "a single case or cluster", n=n, method=method), math.nan
    variance = n / (n - 1) * float((sums**2).sum())
    quantile = float(t.ppf(0.5 + confidence / 2, n - 1))
    return from_variance(value, variance, quantile=quantile, n=n, method=method, within=within)


def from_variance(
    value: float, variance: float, *, n: int, method: str, quantile: float | None = None, confidence: float = 0.95,
    within: tuple[float, float] = (-1.0, 1.0),
) -> tuple[Estimate, float]:
    """The figure with value +- quantile x standard error, cut to what is possible, and its standard error.

    Args:
        quantile: The normal one where it is not given.
    """
    if variance <= LEAST_VARIANCE:
        return without_interval(value, NO_VARIANCE, n=n, method=method), 0.0
    error = math.sqrt(variance)
    half = (float(norm.ppf(0.5 + confidence / 2)) if quantile is None else quantile) * error
    return Estimate(value, max(within[0], value - half), min(within[1], value + half), n, method), error
