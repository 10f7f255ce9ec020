"""What follows from each reader's confusion matrices by patient: every rate with its bootstrap interval.

For tens of readers at once: all figures share the resamples and a few matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lss_core.statistics.accuracy import (
    accuracy,
    balanced_accuracy,
    class_rates,
    cut_rates,
    cut_values,
    macro_f1,
    off_by,
)
from lss_core.statistics.agreement import PerMatrix, checked, gwet_ac, weighted_kappa
from lss_core.statistics.bootstrap import bootstrap_figures
from lss_core.statistics.estimate import Estimate, wilson_interval
from lss_core.statistics.influence import ONE_TRIAL


@dataclass(frozen=True)
class BinaryRates:
    """Of one class against all others, or of grade >= cut.

    Attributes:
        positives: Cases whose reference is positive.
        negatives: All others.
    """

    positives: int
    negatives: int
    sensitivity: Estimate
    specificity: Estimate
    positive_value: Estimate
    negative_value: Estimate


@dataclass(frozen=True)
class ReaderRates:
    """Of one reader.

    Attributes:
        confusion: Counts [reference][rating].
        off_by_one: Share rated exactly one grade away; `off_by_two` two or more.
        classes: One for each category.
        cuts: At category 1 and up, by place.
    """

    confusion: tuple[tuple[int, ...], ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    off_by_one: Estimate
    off_by_two: Estimate
    kappa: Estimate
    linear_kappa: Estimate
    quadratic_kappa: Estimate
    gwet_ac2: Estimate
    classes: tuple[BinaryRates, ...]
    cuts: tuple[BinaryRates, ...]


SINGLE = ("accuracy", "balanced_accuracy", "macro_f1", "off_by_one", "off_by_two", "kappa", "linear_kappa",
          "quadratic_kappa", "gwet_ac2")


def rates_of_readers(
    matrices: np.ndarray, *, resamples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> tuple[ReaderRates, ...]:
    """All rates of every reader, with percentile intervals of the bootstrap over clusters.

    A share of cases that is 0 or 1 has no variation in the resamples; it has Wilson's interval with each cluster that
    it is asked of as one trial.

    Args:
        matrices: Counts [cluster, reader, reference, rating], as `confusion_by_cluster` gives them for each reader over
            the same clusters; a reader who left a cluster out has zeros there.

    Returns:
        One per reader. A rate that is not defined says why, such as a sensitivity without a case.
    """
    matrices = checked(matrices)
    if matrices.ndim != 4:
        raise ValueError(f"Matrices of shape {matrices.shape}: [cluster, reader, K, K] is needed.")
    k = matrices.shape[-1]
    flat = matrices.reshape(*matrices.shape[:2], k * k)
    figures = bootstrap_figures(
        flat, lambda total: _figures(total.reshape(*total.shape[:2], k, k)), resamples=resamples, seed=seed,
        confidence=confidence,
    )
    return tuple(_rates(matrices[:, reader], each, confidence) for reader, each in enumerate(figures))


def _figures(matrix: np.ndarray) -> np.ndarray:
    """[..., figure]: those of SINGLE, then four rates for each class, then for each cut."""
    k = matrix.shape[-1]
    two = off_by(matrix, 2)
    figures: list[PerMatrix] = [
        accuracy(matrix), balanced_accuracy(matrix), macro_f1(matrix), off_by(matrix, 1) - two, two,
        *(weighted_kappa(matrix, power=power) for power in (0, 1, 2)), gwet_ac(matrix, power=2),
    ]
    for each in range(k):
        figures += class_rates(matrix, each)
    for cut in range(1, k):
        figures += cut_rates(matrix, cut) + cut_values(matrix, cut)
    return np.stack(figures, axis=-1)


def _rates(by_cluster: np.ndarray, figures: Sequence[Estimate], confidence: float) -> ReaderRates:
    total, k = by_cluster.sum(axis=0).astype(int), by_cluster.shape[-1]
    named = dict(zip(SINGLE, figures, strict=False))
    asked = by_cluster.sum(axis=(1, 2))
    for name in ("accuracy", "off_by_one", "off_by_two"):
        named[name] = _bounded(named[name], asked, confidence)
    fours = [figures[first : first + 4] for first in range(len(SINGLE), len(figures), 4)]
    places = np.arange(k)
    positive = [places == each for each in range(k)] + [places >= cut for cut in range(1, k)]
    binary = [
        _binary(by_cluster, each, four, confidence) for each, four in zip(positive, fours, strict=True)
    ]
    confusion = tuple(tuple(int(n) for n in row) for row in total)
    return ReaderRates(confusion=confusion, **named, classes=tuple(binary[:k]), cuts=tuple(binary[k:]))


def _binary(
    by_cluster: np.ndarray, positive: np.ndarray, figures: Sequence[Estimate], confidence: float
) -> BinaryRates:
    of_reference, of_rating = by_cluster.sum(axis=2), by_cluster.sum(axis=1)
    asked = [of_reference[:, positive], of_reference[:, ~positive], of_rating[:, positive], of_rating[:, ~positive]]
    bounded = [_bounded(one, each.sum(axis=1), confidence) for one, each in zip(figures, asked, strict=True)]
    return BinaryRates(int(asked[0].sum()), int(asked[1].sum()), *bounded)


def _bounded(estimate: Estimate, asked: np.ndarray, confidence: float) -> Estimate:
    """A share of 0 or 1, which no resample varies, of `asked` [cluster] cases."""
    clusters = int((asked > 0).sum())
    if not np.isnan(estimate.low) or estimate.value not in (0.0, 1.0) or not clusters:
        return estimate
    bound = wilson_interval(clusters if estimate.value else 0, clusters, confidence=confidence)
    return replace(bound, method=ONE_TRIAL)
