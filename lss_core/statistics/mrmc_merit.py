"""Figures of merit of one reader under one arm, and how they change when cases are left out or drawn again.

A figure of merit takes scores [case] and the reference [case]. For the covariances it also gives its values with each
cluster of cases left out, and with cases weighted by how often a bootstrap drew them; both in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lss_core.statistics.accuracy import placements
from lss_core.statistics.agreement import ratio, weighted_kappa

Linear = Callable[[np.ndarray, np.ndarray], list[tuple[np.ndarray, np.ndarray]]]
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Merit:
    """A figure of merit.

    Attributes:
        used: From the truth, [case], to the cases that bear on it: a sensitivity uses the diseased ones.
        figures: (score [n], truth [n], weights [draw, n]) to [draw]: its values with cases counted `weights` times,
            NaN where it is not defined.
        left_out: (score, truth, cluster [n] numbered from 0, clusters) to [clusters]: its values without each cluster.
        linear: (score, truth) to the parts of a figure that is a mean over cases, or over pairs of cases of two
            classes: a list of (bool [n] of the part's cases, their structural components). None where it is neither.
        kernel: (score, truth) to the value of each pair of a positive and a negative case, for a mean over pairs.
        bounds: Between which its intervals are cut.
    """

    name: str
    used: Callable[[np.ndarray], np.ndarray]
    figures: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    left_out: Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
    linear: Linear | None = None
    kernel: Kernel | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)

    def value(self, score: np.ndarray, truth: np.ndarray) -> float:
        return float(self.figures(score, truth, np.ones((1, len(truth))))[0])


def area(*, cut: float = 1) -> Merit:
    """Area under the empirical ROC curve, ties counting half (Bamber, J. Math. Psychol. 1975;12:387-415).

    Args:
        cut: Truths from here on are positive.
    """
    def positive(truth: np.ndarray) -> np.ndarray:
        return truth >= cut

    def kernel(score: np.ndarray, truth: np.ndarray) -> np.ndarray:
        above, below = score[positive(truth)][:, None], score[~positive(truth)][None]
        return (above > below) + (above == below) / 2

    def figures(score: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        of_positive, of_negative = weights[:, positive(truth)], weights[:, ~positive(truth)]
        right = ((of_positive @ kernel(score, truth)) * of_negative).sum(axis=1)
        return ratio(right, of_positive.sum(axis=1) * of_negative.sum(axis=1))

    def left_out(score: np.ndarray, truth: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
        return _area_left_out(score, positive(truth), cluster, clusters)

    def linear(score: np.ndarray, truth: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        up = positive(truth)
        of_positive, of_negative = _of_one(score, up)
        return [(up, of_positive), (~up, of_negative)]

    return Merit("AUC", _all, figures, left_out, linear, kernel, (0.0, 1.0))


def _of_one(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The placements of one score: [positive cases], [negative cases]."""
    of_positive, of_negative = placements(score, positive)
    return of_positive[0], of_negative[0]


def _area_left_out(score: np.ndarray, positive: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    """(all - pairs with the cluster's positives - pairs with its negatives + pairs within it) / pairs left."""
    of_positive, of_negative = _of_one(score, positive)
    up, down = cluster[positive], cluster[~positive]
    n_up, n_down = len(up), len(down)
    p, q = np.nonzero(up[:, None] == down[None])
    above, below = score[positive][p], score[~positive][q]
    within = np.bincount(up[p], weights=(above > below) + (above == below) / 2, minlength=clusters)
    right = (of_positive.sum() * n_down - np.bincount(up, weights=of_positive, minlength=clusters) * n_down
             - np.bincount(down, weights=of_negative, minlength=clusters) * n_up + within)
    pairs = (n_up - np.bincount(up, minlength=clusters)) * (n_down - np.bincount(down, minlength=clusters))
    return ratio(right, pairs)


def sensitivity(*, cut: float = 1, called_from: float | None = None) -> Merit:
    """Share of the cases with truth >= cut whose score is >= `called_from` (the cut itself, as for grades)."""
    called = cut if called_from is None else called_from
    return _mean_of("sensitivity", lambda score, truth: score >= called, lambda truth: truth >= cut)


def specificity(*, cut: float = 1, called_from: float | None = None) -> Merit:
    """Share of the cases with truth < cut whose score is < `called_from` (the cut itself, as for grades)."""
    called = cut if called_from is None else called_from
    return _mean_of("specificity", lambda score, truth: score < called, lambda truth: truth < cut)


def exact_accuracy() -> Merit:
    """Share of cases whose grade is that of the reference."""
    return _mean_of("accuracy", lambda score, truth: score == truth, _all)


def binary_accuracy(*, cut: float = 1, called_from: float | None = None) -> Merit:
    """Share of cases on the right side of a cut."""
    called = cut if called_from is None else called_from
    return _mean_of("accuracy at the cut", lambda score, truth: (score >= called) == (truth >= cut), _all)


def mean_score() -> Merit:
    """Mean of the scores, whatever the truth: of log seconds, for a comparison of reading times."""
    return _mean_of("mean", lambda score, truth: score, _all, bounds=(-math.inf, math.inf))


def kappa(*, categories: Sequence[int], power: int = 2) -> Merit:
    """Cohen's kappa of the grades with the reference (`agreement.weighted_kappa`).

    Args:
        power: 2 quadratic, 1 linear weights, 0 unweighted.
    """
    grades, size = np.asarray(categories, float), len(categories)

    def cells(score: np.ndarray, truth: np.ndarray) -> np.ndarray:
        undeclared = sorted(set(np.concatenate([score, truth]).tolist()) - set(grades.tolist()))
        if undeclared:
            raise ValueError(f"Grade {undeclared[0]:g}: only {list(categories)} are declared.")
        return _one_hot((truth[:, None] == grades).argmax(axis=1) * size + (score[:, None] == grades).argmax(axis=1),
                        size * size)

    weights = {0: "unweighted", 1: "linear", 2: "quadratic"}[power]
    return _of_sums(f"kappa, {weights}", cells,
                    lambda total: weighted_kappa(total.reshape(-1, size, size), power=power), _all, (-1.0, 1.0))


def custom(
    name: str, function: Callable[[np.ndarray, np.ndarray], float], *, bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Merit:
    """Any function of (scores [n], truths [n]); NaN where it is not defined. It is called once for each cluster."""
    def figures(score: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        drawn = (np.repeat(np.arange(len(truth)), each.astype(int)) for each in weights)
        return np.array([function(score[rows], truth[rows]) if len(rows) else math.nan for rows in drawn], float)

    def left_out(score: np.ndarray, truth: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
        return figures(score, truth, 1.0 - _one_hot(cluster, clusters).T)

    return Merit(name, _all, figures, left_out, bounds=bounds)


def _all(truth: np.ndarray) -> np.ndarray:
    return np.ones(len(truth), bool)


def _one_hot(place: np.ndarray, size: int) -> np.ndarray:
    return (place[:, None] == np.arange(size)).astype(float)


def _mean_of(
    name: str, of_case: Callable[[np.ndarray, np.ndarray], np.ndarray], used: Callable[[np.ndarray], np.ndarray],
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Merit:
    """The mean of a value of each case over the cases used."""
    def linear(score: np.ndarray, truth: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        cases = used(truth)
        return [(cases, of_case(score, truth)[cases].astype(float))]

    def terms(score: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return np.where(used(truth)[:, None], np.stack([of_case(score, truth), np.ones(len(truth))], axis=1), 0.0)

    return _of_sums(name, terms, lambda total: ratio(total[:, 0], total[:, 1]), used, bounds, linear)


def _of_sums(
    name: str, terms: Callable[[np.ndarray, np.ndarray], np.ndarray], figure: Callable[[np.ndarray], np.ndarray],
    used: Callable[[np.ndarray], np.ndarray], bounds: tuple[float, float],
    linear: Linear | None = None,
) -> Merit:
    """A figure of sums over cases: `terms` [case, k], `figure` from totals [draw, k] to [draw]."""
    def figures(score: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.asarray(figure(weights @ terms(score, truth)))

    def left_out(score: np.ndarray, truth: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
        each = terms(score, truth)
        sums = np.stack([np.bincount(cluster, weights=column, minlength=clusters) for column in each.T], axis=1)
        return np.asarray(figure(each.sum(axis=0) - sums))

    return Merit(name, used, figures, left_out, linear, bounds=bounds)
