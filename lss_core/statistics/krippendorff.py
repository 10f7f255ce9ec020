"""Krippendorff's alpha for any number of raters, missing ratings, and nominal, ordinal, interval or ratio values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lss_core.statistics.agreement import coded, ratio
from lss_core.statistics.estimate import Estimate, bootstrap_sums, without_figure
from lss_core.statistics.influence import clusters_of, sums_in_clusters

METRICS = ("nominal", "ordinal", "interval", "ratio")


def krippendorff_alpha(
    ratings: ArrayLike, *, metric: str = "ordinal", categories: Sequence[int] | None = None,
    clusters: ArrayLike | None = None, resamples: int = 2000, seed: int = 0, confidence: float = 0.95,
) -> Estimate:
    """Alpha = 1 - Do / De with the percentile interval of the bootstrap over clusters, or else over cases.

    Do is the mean difference of the pairs of values within cases, each case of m ratings giving m (m - 1) pairs of
    weight 1 / (m - 1); De is that of all pairs of values (Krippendorff, Computing Krippendorff's Alpha-Reliability,
    2011). Cases with a single rating have no pair and do not count. A category that is declared but not used changes
    nothing. Bootstrap: Zapf et al., BMC Med. Res. Methodol. 2016;16:93.

    Example:
        Two raters of ten cases (Krippendorff 2011, section A), alpha .095:

        >>> a, b = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
        >>> round(krippendorff_alpha(np.transpose([a, b]), metric="nominal").value, 3)
        0.095

    Args:
        ratings: [case, rater], NaN or None where missing or not gradable.
        metric: "nominal", "ordinal" (by the ranks of the values among all ratings), "interval" or "ratio".
        categories: Declared values; None takes those that occur.

    Returns:
        Undefined where no case was rated twice or all such ratings are equal.

    Raises:
        ValueError: an unknown metric, an undeclared value, fewer than two raters, a ratio metric of negative values.
    """
    values = np.asarray(ratings, float)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"Ratings of shape {values.shape}: [case, rater] of at least two raters is needed.")
    declared = np.unique(values[~np.isnan(values)] if categories is None else np.asarray(list(categories), float))
    difference, method = _difference(declared, metric), f"Krippendorff's alpha, {metric}"
    cluster, paired = clusters_of(clusters, len(values)), (~np.isnan(values)).sum(axis=1) > 1
    if not paired.any():
        return without_figure("no case was rated twice", n=0, method=method)
    counts = (coded(values, declared.tolist())[..., None] == np.arange(len(declared))).sum(axis=1).astype(float)
    cells = coincidences(counts[paired]).reshape(int(paired.sum()), -1)
    sums = sums_in_clusters(cells, cluster[paired])
    if np.count_nonzero(counts[paired].sum(axis=0)) == 1:
        return without_figure("all ratings of cases rated twice are equal", n=len(sums), method=method)
    estimate = bootstrap_sums(
        sums, lambda total: _alpha(total.reshape(-1, len(declared), len(declared)), difference), resamples=resamples,
        seed=seed, confidence=confidence,
    )
    return replace(estimate, method=f"{method}, {estimate.method}")


def coincidences(counts: np.ndarray) -> np.ndarray:
    """Pairs of values within each case [case, K, K], from counts [case, K] of at least two ratings each."""
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, np.arange(counts.shape[1]), np.arange(counts.shape[1])] -= counts
    return pairs / (counts.sum(axis=1) - 1)[:, None, None]


def _alpha(coincidence: np.ndarray, difference: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """[total], from coincidences [total, K, K]; NaN where all values are equal."""
    uses = coincidence.sum(axis=-1)
    apart = difference(uses)
    expected = (uses[:, :, None] * uses[:, None, :] * apart).sum(axis=(1, 2))
    return 1 - ratio((uses.sum(axis=1) - 1) * (coincidence * apart).sum(axis=(1, 2)), expected)


def _difference(values: np.ndarray, metric: str) -> Callable[[np.ndarray], np.ndarray]:
    """Squared differences [total or 1, K, K] of sorted values, from their uses [total, K] for the ordinal ones."""
    if metric not in METRICS:
        raise ValueError(f'Metric "{metric}": {", ".join(METRICS)} are known.')
    if metric == "ordinal":
        return _difference_of_ranks
    if metric == "nominal":
        fixed = 1 - np.eye(len(values))
    elif metric == "interval":
        fixed = np.subtract.outer(values, values) ** 2
    elif (values < 0).any():
        raise ValueError(f"Values from {values.min():g}: the ratio metric needs values of 0 or more.")
    else:
        both = np.add.outer(values, values)
        fixed = (np.subtract.outer(values, values) / np.where(both > 0, both, 1)) ** 2
    return lambda uses: fixed[None]


def _difference_of_ranks(uses: np.ndarray) -> np.ndarray:
    """The sum of uses from one value to the other, less half of the two's own: the distance of their mid-ranks."""
    ranks = uses.cumsum(axis=1) - uses / 2
    return (ranks[:, :, None] - ranks[:, None, :]) ** 2
