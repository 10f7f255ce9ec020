"""Agreement of two raters on ordered categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def confusion_matrix(reference: Sequence[int], rating: Sequence[int], *, categories: Sequence[int]) -> np.ndarray:
    """Counts [reference, rating] over declared categories, in their order; a value outside them is an error."""
    place = {category: k for k, category in enumerate(categories)}
    counts = np.zeros((len(place), len(place)))
    for a, b in zip(reference, rating, strict=True):
        if a not in place or b not in place:
            raise ValueError(f"Categories {a} and {b}: only {list(categories)} are declared.")
        counts[place[a], place[b]] += 1
    return counts


def weighted_kappa(matrix: np.ndarray, *, power: int = 2) -> float:
    """Cohen's weighted kappa (Cohen, Psychol. Bull. 1968;70:213-220) of a square matrix of counts or masses.

    Args:
        power: of the distance between categories: 2 quadratic, 1 linear weights; 0 makes every disagreement equal
            (Cohen's unweighted kappa, 1960).

    Returns:
        1 for perfect agreement, 0 for what chance gives; NaN where chance alone already agrees fully (a single
        category in use) or the matrix is empty.
    """
    total = matrix.sum()
    if total == 0:
        return float("nan")
    steps = np.abs(np.subtract.outer(np.arange(len(matrix)), np.arange(len(matrix)))).astype(float)
    weights = (steps > 0).astype(float) if power == 0 else steps**power
    chance = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / total
    expected = float((weights * chance).sum())
    return 1.0 - float((weights * matrix).sum()) / expected if expected > 0 else float("nan")
