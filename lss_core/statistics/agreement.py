"""Agreement of two raters on ordered categories, from square matrices [..., reference, rating].

Leading axes are separate matrices (clusters, resamples). What is not defined is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# A float for a single matrix, an array [...] for several: numpy's types do not tell the two apart.
PerMatrix = Any


def confusion_matrix(reference: Sequence[int], rating: Sequence[int], *, categories: Sequence[int]) -> np.ndarray:
    """Counts [reference, rating] over declared categories, in their order; a value outside them is an error."""
    return confusion_by_cluster(reference, rating, np.zeros(len(reference), int), categories=categories).sum(axis=0)


def confusion_by_cluster(
    reference: Sequence[int] | np.ndarray, rating: Sequence[int] | np.ndarray, clusters: Sequence[str] | np.ndarray,
    *, categories: Sequence[int],
) -> np.ndarray:
    """Counts [cluster, reference, rating], clusters in sorted order: flattened, the sums for `bootstrap_sums`.

    Raises:
        ValueError: a value outside the declared categories, or lengths that differ.
    """
    if not len(reference) == len(rating) == len(clusters):
        raise ValueError(f"{len(reference)} references, {len(rating)} ratings, {len(clusters)} clusters: not as many.")
    place = {category: k for k, category in enumerate(categories)}
    undeclared = {int(each) for each in (*reference, *rating) if each not in place}
    if undeclared:
        raise ValueError(f"Categories {sorted(undeclared)}: only {list(categories)} are declared.")
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    counts = np.zeros((len(names), len(place), len(place)))
    for cell in zip(cluster, (place[each] for each in reference), (place[each] for each in rating), strict=True):
        counts[cell] += 1
    return counts


def weighted_kappa(matrix: np.ndarray, *, power: int = 2) -> PerMatrix:
    """Cohen's weighted kappa (Cohen, Psychol. Bull. 1968;70:213-220) of counts or masses [..., K, K].

    Args:
        power: of the distance between categories: 2 quadratic, 1 linear weights; 0 makes every disagreement equal
            (Cohen's unweighted kappa, 1960).

    Returns:
        1 for perfect agreement, 0 for what chance gives; NaN where chance alone already agrees fully (a single
        category in use) or the matrix is empty.
    """
    matrix = checked(matrix)
    weights = _disagreement(matrix.shape[-1], power)
    chance = matrix.sum(axis=-1)[..., :, None] * matrix.sum(axis=-2)[..., None, :]
    total = matrix.sum(axis=(-2, -1))
    return per_matrix(1 - ratio((weights * matrix).sum(axis=(-2, -1)) * total, (weights * chance).sum(axis=(-2, -1))))


def gwet_ac(matrix: np.ndarray, *, power: int = 0) -> PerMatrix:
    """Gwet's agreement coefficient of two raters (Br. J. Math. Stat. Psychol. 2008;61:29-48) from counts [..., K, K].

    Unlike kappa it stays high where nearly all cases are of one category, and is 1, not undefined, where all are.

    Args:
        power: 0 is AC1; 1 and 2 are AC2 with linear and quadratic weights (Gwet, Handbook of Inter-Rater Reliability,
            2014, ch. 4).

    Returns:
        NaN where the matrix is empty or has a single category.
    """
    matrix = checked(matrix)
    categories = matrix.shape[-1]
    if categories < 2:
        return per_matrix(np.full(matrix.shape[:-2], np.nan))
    weights = 1 - _disagreement(categories, power) / (categories - 1) ** power
    share = ratio(matrix, matrix.sum(axis=(-2, -1), keepdims=True))
    used = (share.sum(axis=-1) + share.sum(axis=-2)) / 2
    chance = weights.sum() / (categories * (categories - 1)) * (used * (1 - used)).sum(axis=-1)
    return per_matrix(((weights * share).sum(axis=(-2, -1)) - chance) / (1 - chance))


def _disagreement(categories: int, power: int) -> np.ndarray:
    steps = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories))).astype(float)
    return (steps > 0).astype(float) if power == 0 else steps**power


def checked(matrix: np.ndarray) -> np.ndarray:
    """The matrices as floats [..., K, K].

    Raises:
        ValueError: they are not square, or hold negative or missing entries.
    """
    matrix = np.asarray(matrix, float)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"Matrix of shape {matrix.shape}: square matrices [..., K, K] are needed.")
    if not (matrix >= 0).all():
        raise ValueError("A matrix of counts or masses holds a negative or missing entry.")
    return matrix


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def per_matrix(figures: np.ndarray) -> PerMatrix:
    """A float where there is a single matrix."""
    return float(figures) if np.ndim(figures) == 0 else figures
