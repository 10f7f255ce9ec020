"""Whether probabilities of grades mean what they say, and sets of grades that hold the truth at a stated rate.

Probabilities are [n, K] over K ordered grades, rows summing to 1; the truth is the index [n].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import fminbound
from scipy.special import logsumexp

LEAST_PROBABILITY = float(np.finfo(float).eps)      # a truth held for impossible costs 36 nats, not infinitely many
ALL_GRADES = 2.0                                    # a threshold that no mass reaches: every set holds all grades
TEMPERATURES = (0.2, 5.0)


@dataclass(frozen=True)
class ReliabilityBin:
    """Cases whose top probability lies in (low, high]; confidence and accuracy are NaN where there is none."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(probabilities: np.ndarray, truth: np.ndarray, *, bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Mean top probability against accuracy in bins of equal width (Guo et al., ICML 2017)."""
    probabilities, truth = _checked(probabilities, truth)
    if bins < 1:
        raise ValueError(f"{bins} bins: at least one is needed.")
    top = probabilities.max(axis=1, initial=0.0)
    right = _top_grade(probabilities) == truth
    place = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    return tuple(_bin(k, bins, top[place == k], right[place == k]) for k in range(bins))


def _bin(k: int, bins: int, top: np.ndarray, right: np.ndarray) -> ReliabilityBin:
    edges = k / bins, (k + 1) / bins
    if not len(top):
        return ReliabilityBin(*edges, 0, math.nan, math.nan)
    return ReliabilityBin(*edges, len(top), float(top.mean()), float(right.mean()))


def expected_calibration_error(probabilities: np.ndarray, truth: np.ndarray, *, bins: int = 10) -> float:
    """Mean gap between top probability and accuracy, weighted by the cases in each bin (Guo et al., ICML 2017).

    It is biased upwards where cases are few. NaN without a case.
    """
    used = [each for each in reliability(probabilities, truth, bins=bins) if each.n]
    cases = sum(each.n for each in used)
    return sum(each.n * abs(each.accuracy - each.confidence) for each in used) / cases if cases else math.nan


def brier(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean over cases of the squared error summed over grades (Brier, Mon. Weather Rev. 1950;78:1-3): 0 to 2.

    NaN without a case.
    """
    probabilities, truth = _checked(probabilities, truth)
    happened = np.eye(probabilities.shape[1])[truth]
    return float(((probabilities - happened) ** 2).sum(axis=1).mean()) if len(truth) else math.nan


def log_loss(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean negative log probability of the truth in nats, floored at `LEAST_PROBABILITY`. NaN without a case."""
    probabilities, truth = _checked(probabilities, truth)
    held = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(held, LEAST_PROBABILITY)).mean()) if len(truth) else math.nan


def fit_temperature(log_probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature t in 0.2..5 with the least log loss of softmax(log p / t) (Guo et al., ICML 2017).

    t > 1 softens probabilities that are too sure. Logits may be given for log probabilities.

    Raises:
        ValueError: there is no case, a value is NaN, or the truth of a case has probability zero.
    """
    logits, truth = np.asarray(log_probabilities, float), np.asarray(truth)
    _check_shapes(logits, truth)
    held = logits[np.arange(len(truth)), truth]
    if not len(truth) or np.isnan(logits).any() or not np.isfinite(held).all():
        raise ValueError(f"Temperature of {len(truth)} cases: a case, and a finite log p of each truth, is needed.")

    def loss(t: float) -> float:
        return float((np.asarray(logsumexp(logits / t, axis=1)) - held / t).mean())

    return float(np.asarray(fminbound(loss, *TEMPERATURES, xtol=1e-6)))


def grade_sets(probabilities: np.ndarray, threshold: float) -> list[tuple[int, ...]]:
    """For each case the neighbouring grades that hold at least `threshold` of the mass.

    The set starts at the most probable grade (the lower of two equals) and grows by the more probable neighbour (the
    higher of two equals), as for ordered severities in Lu et al., MICCAI 2022.
    """
    order, mass = _growth(probabilities)
    sizes = _sizes(mass, threshold)
    return [tuple(sorted(row[:size].tolist())) for row, size in zip(order, sizes, strict=True)]


def set_scores(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The least threshold whose set holds the truth, [n]; 0 where the truth is the most probable grade.

    A case's set holds its truth exactly where this score is at most the threshold.
    """
    probabilities, truth = _checked(probabilities, truth)
    order, mass = _growth(probabilities)
    step = (order == truth[:, None]).argmax(axis=1)
    before = mass[np.arange(len(truth)), np.maximum(step - 1, 0)]
    return np.where(step == 0, 0.0, np.nextafter(before, np.inf))


def set_threshold(probabilities: np.ndarray, truth: np.ndarray, *, coverage: float = 0.9) -> float:
    """The threshold at which sets of new, exchangeable cases hold the truth with at least this chance.

    Split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005) on the masses of Romano et
    al. (NeurIPS 2020): the ceil((n + 1) coverage)-th smallest score. The chance is over all cases together, not within
    a grade, and regions of a patient are not exchangeable with those of others, so that coverage is to be measured on
    other patients (`set_coverage`). Where the top grade alone is right more often than asked, the threshold is 0.

    Returns:
        `ALL_GRADES` where the cases are too few for the coverage asked, (n + 1) (1 - coverage) < 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"Coverage {coverage}: a number between 0 and 1 is needed, such as 0.9.")
    scores = np.sort(set_scores(probabilities, truth))
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)       # 1e-9: the product's rounding
    return float(scores[rank - 1]) if rank <= len(scores) else ALL_GRADES


def set_coverage(probabilities: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """Share of cases whose set holds the truth; NaN without a case."""
    scores = set_scores(probabilities, truth)
    return float((scores <= threshold).mean()) if len(scores) else math.nan


def mean_set_size(probabilities: np.ndarray, threshold: float) -> float:
    """Grades in a set, on average; NaN without a case."""
    sizes = _sizes(_growth(probabilities)[1], threshold)
    return float(sizes.mean()) if len(sizes) else math.nan


def _growth(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which order a set takes in the grades, [n, K], and its mass after each, [n, K]."""
    probabilities = _checked_probabilities(probabilities)
    rows, last = np.arange(len(probabilities)), probabilities.shape[1] - 1
    low = high = _top_grade(probabilities)
    order = [low]
    for _ in range(last):
        below = np.where(low > 0, probabilities[rows, np.maximum(low - 1, 0)], -1)
        above = np.where(high < last, probabilities[rows, np.minimum(high + 1, last)], -1)
        up = above >= below
        low, high = np.where(up, low, low - 1), np.where(up, high + 1, high)
        order.append(np.where(up, high, low))
    grades = np.stack(order, axis=1)
    return grades, np.cumsum(np.take_along_axis(probabilities, grades, axis=1), axis=1)


def _sizes(mass: np.ndarray, threshold: float) -> np.ndarray:
    return 1 + (mass[:, :-1] < threshold).sum(axis=1)


def _top_grade(probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(axis=1) if len(probabilities) else np.zeros(0, int)


def _checked(probabilities: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, truth = _checked_probabilities(probabilities), np.asarray(truth, int)
    _check_shapes(probabilities, truth)
    return probabilities, truth


def _checked_probabilities(probabilities: np.ndarray) -> np.ndarray:
    probabilities = np.asarray(probabilities, float)
    if probabilities.ndim != 2 or probabilities.shape[1] < 1:
        raise ValueError(f"Probabilities of shape {probabilities.shape}: [cases, grades] is needed.")
    sums = probabilities.sum(axis=1)
    if not ((probabilities >= 0).all() and (np.abs(sums - 1) < 1e-3).all()):
        raise ValueError("Probabilities must be 0 or more and sum to 1 for each case.")
    return probabilities


def _check_shapes(probabilities: np.ndarray, truth: np.ndarray) -> None:
    if truth.shape != probabilities.shape[:1]:
        raise ValueError(f"{truth.shape} truths for {probabilities.shape} probabilities: one per case is needed.")
    grades = probabilities.shape[1]
    if len(truth) and (truth.min() < 0 or truth.max() >= grades):
        raise ValueError(f"Truth from {truth.min()} to {truth.max()}: grades 0 to {grades - 1} are known.")
