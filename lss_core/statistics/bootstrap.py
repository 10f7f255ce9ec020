"""The bootstrap over clusters for many figures of many raters at once, in a few matrix products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lss_core.statistics.estimate import Estimate, bootstrap_interval, draw_clusters

MOST_TOTALS = 4_000_000     # numbers held at once, 32 MB


def bootstrap_figures(
    sums: np.ndarray, statistics: Callable[[np.ndarray], np.ndarray], *, resamples: int = 2000, seed: int = 0,
    confidence: float = 0.95,
) -> list[list[Estimate]]:
    """`bootstrap_sums` for every set of sums and every figure, with the same resamples and the same results.

    Args:
        sums: [cluster, set, k], such as the confusion matrices of each reader by patient, flattened.
        statistics: From totals [resample, set, k] to figures [resample, set, figure], NaN where not defined.

    Returns:
        [set][figure], with the percentile interval.
    """
    sums = np.asarray(sums, float)
    clusters, sets, k = sums.shape
    drawn = draw_clusters(clusters, resamples, seed) if clusters else np.zeros((0, 0))
    weights = np.vstack([np.ones((1, clusters)), drawn])
    step = max(1, MOST_TOTALS // (len(weights) * k))
    estimates: list[list[Estimate]] = []
    for first in range(0, sets, step):
        block = sums[:, first : first + step]
        totals = (weights @ block.reshape(clusters, block.shape[1] * k)).reshape(len(weights), block.shape[1], k)
        figures = np.ascontiguousarray(np.moveaxis(statistics(totals), 0, -1))      # [set, figure, 1 + resample]
        estimates += [
            [_summarised(each, clusters, resamples, seed, confidence) for each in of_set] for of_set in figures
        ]
    return estimates


def _summarised(figures: np.ndarray, clusters: int, resamples: int, seed: int, confidence: float) -> Estimate:
    """Of one figure [1 + resample], that of the data first."""
    in_turn = iter((figures[:1], figures[1:]))
    return bootstrap_interval(
        lambda _: next(in_turn), clusters, resamples=resamples, seed=seed, confidence=confidence, method="percentile",
    )
