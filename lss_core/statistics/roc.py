"""Operating points: ROC curves of scores, of readers' confidence, and their average over readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lss_core.statistics.accuracy import auc

MOST_CONFIDENT = 100.0


@dataclass(frozen=True)
class RocCurve:
    """Operating points from (0, 0) to (1, 1), joined by straight lines.

    Attributes:
        false_positive_rate: 1 - specificity, rising.
        sensitivity: Rising.
        thresholds: A score at or above it is called positive; infinite at (0, 0). Empty for an average curve.
        area: Below the lines; for a single set of scores that of `auc`.
        undefined: Why there is no curve; the arrays are then empty.
    """

    false_positive_rate: np.ndarray
    sensitivity: np.ndarray
    thresholds: np.ndarray
    area: float
    undefined: str = ""


def roc_curve(scores: ArrayLike, positive: ArrayLike) -> RocCurve:
    """Empirical curve with a point for every distinct score (Fawcett, Pattern Recognit. Lett. 2006;27:861-874).

    Example:
        Four cases, the two positive ones scored .35 and .8:

        >>> roc_curve([0.1, 0.4, 0.35, 0.8], [False, False, True, True]).sensitivity.tolist()
        [0.0, 0.5, 0.5, 1.0, 1.0]

    Args:
        scores: [case]; a higher one speaks for the positive class.
        positive: bool [case].

    Returns:
        Undefined where a class has no case.

    Raises:
        ValueError: a missing score, or not one class per case.
    """
    values, is_positive = np.asarray(scores, float).ravel(), np.asarray(positive, bool)
    area = auc(values, is_positive)
    if np.isnan(area):
        return _no_curve("one of the two classes has no case")
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)       # of each group of equal scores
    true, false = np.cumsum(is_positive[order])[last], np.cumsum(~is_positive[order])[last]
    return RocCurve(
        np.append(0.0, false / (~is_positive).sum()), np.append(0.0, true / is_positive.sum()),
        np.append(np.inf, values[order][last]), area,
    )


def signed_confidence(grades: ArrayLike, confidence: ArrayLike, *, cut: int) -> np.ndarray:
    """Score of "grade >= cut" from a grade and the confidence in it, 0-100: + above the cut, - below it.

    100 is a sure positive, -100 a sure negative, 0 says nothing either way. The confidence is taken as that of being on
    this side of the cut, although readers are asked how sure they are of the grade; a sure "mild" and a sure "normal"
    speak alike against "severe".

    Args:
        grades: [case] or more axes.
        confidence: 0-100, of the same shape.

    Raises:
        ValueError: shapes that differ, a missing grade or confidence, or one outside 0..100.
    """
    graded, sure = np.asarray(grades, float), np.asarray(confidence, float)
    if graded.shape != sure.shape:
        raise ValueError(f"{graded.shape} grades and {sure.shape} confidences: one of each per reading is needed.")
    if np.isnan(graded).any() or np.isnan(sure).any():
        raise ValueError("A grade or a confidence is missing (NaN): leave the reading out and report it.")
    wrong = (sure < 0) | (sure > MOST_CONFIDENT)
    if wrong.any():
        raise ValueError(f"Confidence {sure[wrong][0]:g}: a number from 0 to 100 is needed.")
    return np.where(graded >= cut, sure, -sure)


def average_curve(curves: Sequence[RocCurve]) -> RocCurve:
    """Mean sensitivity of several readers' curves at each false positive rate.

    Its area is the mean of their areas (Chen and Samuelson, Br. J. Radiol. 2014;87:20140016). The curve of all readers'
    scores taken together, `roc_curve` of the concatenated readings, lies lower where readers use the scale differently.

    Args:
        curves: One per reader; those without a curve are left out.
    """
    defined = [curve for curve in curves if not curve.undefined]
    if not defined:
        return _no_curve("no reader has a curve")
    rates = np.unique(np.concatenate([curve.false_positive_rate for curve in defined]))
    before, after = (
        np.mean([_at(curve, rates, side) for curve in defined], axis=0) for side in ("left", "right")
    )
    area = float(np.mean([curve.area for curve in defined]))
    return RocCurve(np.repeat(rates, 2), np.column_stack([before, after]).ravel(), np.empty(0), area)


def _at(curve: RocCurve, rates: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """Sensitivity at the lower ("left") or upper end of a vertical step, and on the line between two points."""
    x, y = curve.false_positive_rate, curve.sensitivity
    found = np.searchsorted(x, rates, side) - (side == "right")
    start, end = np.searchsorted(x, rates, "right") - 1, np.minimum(np.searchsorted(x, rates, "right"), len(x) - 1)
    run = np.where(x[end] > x[start], x[end] - x[start], 1.0)
    on_line = y[start] + (y[end] - y[start]) * (rates - x[start]) / run
    return np.where(x[np.minimum(found, len(x) - 1)] == rates, y[np.minimum(found, len(x) - 1)], on_line)


def _no_curve(reason: str) -> RocCurve:
    return RocCurve(np.empty(0), np.empty(0), np.empty(0), float("nan"), reason)
