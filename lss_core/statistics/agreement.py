"""Agreement of two raters on ordered categories, from square matrices [..., reference, rating].

Leading axes are separate matrices (clusters, resamples). There what is not defined is NaN, so that a bootstrap can
count it; functions that return an `Agreement` say the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from lss_core.statistics.estimate import Estimate, without_figure
from lss_core.statistics.influence import LEAST_VARIANCE, clusters_of, from_influence, from_variance

# A float for a single matrix, an array [...] for several: numpy's types do not tell the two apart.
PerMatrix = Any
# A name of `agreement_weights`, or the weights themselves [K, K].
Weights = str | np.ndarray

POWERS = {"none": 0, "linear": 1, "quadratic": 2}
ONE_CATEGORY = "all ratings are of one category, so that chance alone agrees fully"


@dataclass(frozen=True)
class Agreement:
    """A coefficient of agreement beyond chance, (observed - chance) / (1 - chance).

    Attributes:
        observed: Weighted share of agreeing pairs of ratings.
        chance: What the coefficient expects of it by chance.
        standard_error: Of the coefficient; NaN, or 0 for a variance of zero, where the estimate says why it has no
            figure or no interval.
        null_error: Standard error if the raters agreed by chance alone; None where the literature gives none.
    """

    estimate: Estimate
    observed: float
    chance: float
    standard_error: float
    null_error: float | None = None

    @property
    def z(self) -> float | None:
        """The coefficient over its null standard error, the test of agreement beyond chance; None without one."""
        return self.estimate.value / self.null_error if self.null_error else None

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of `z`."""
        return None if self.z is None else float(2 * norm.sf(abs(self.z)))


def confusion_matrix(reference: Sequence[int], rating: Sequence[int], *, categories: Sequence[int]) -> np.ndarray:
    """Counts [reference, rating] over declared categories, in their order; a value outside them is an error."""
    return confusion_by_cluster(reference, rating, np.zeros(len(reference), int), categories=categories).sum(axis=0)


def confusion_by_cluster(
    reference: Sequence[int] | np.ndarray, rating: Sequence[int] | np.ndarray, clusters: Sequence[str] | np.ndarray,
    *, categories: Sequence[int],
) -> np.ndarray:
    """Counts [cluster, reference, rating], clusters in sorted order: flattened, the sums for `bootstrap_sums`.

    Raises:
        ValueError: a value outside the declared categories or missing, or lengths that differ.
    """
    if not len(reference) == len(rating) == len(clusters):
        raise ValueError(f"{len(reference)} references, {len(rating)} ratings, {len(clusters)} clusters: not as many.")
    rows, columns = coded(reference, categories), coded(rating, categories)
    if (rows < 0).any() or (columns < 0).any():
        raise ValueError("A rating is missing: leave the case out and report it.")
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    counts = np.zeros((len(names), len(categories), len(categories)))
    np.add.at(counts, (cluster, rows, columns), 1)
    return counts


def coded(ratings: ArrayLike, categories: Sequence[int]) -> np.ndarray:
    """Places of ratings among the declared categories, -1 where a rating is missing (NaN or None).

    Raises:
        ValueError: a category declared twice, or a rating that is not declared.
    """
    declared, values = np.asarray(list(categories), float), np.asarray(ratings, float)
    if not len(declared) or len(np.unique(declared)) < len(declared):
        raise ValueError(f"Categories {list(categories)}: at least one is needed, and each may be declared once.")
    order = np.argsort(declared)
    place = order[np.minimum(np.searchsorted(declared[order], values), len(order) - 1)]
    missing = np.isnan(values)
    unknown = ~missing & (declared[place] != values)
    if unknown.any():
        found = [int(each) if each == int(each) else float(each) for each in np.unique(values[unknown])]
        raise ValueError(f"Categories {found}: only {list(categories)} are declared.")
    return np.where(missing, -1, place)


def confusion(first: np.ndarray, second: np.ndarray, categories: int) -> np.ndarray:
    """Counts [K, K] of places of ratings as of `coded`, none of them missing."""
    return np.bincount(first * categories + second, minlength=categories**2).reshape(categories, categories)


def weighted_kappa(matrix: np.ndarray, *, power: int = 2) -> PerMatrix:
    """Cohen's weighted kappa (Cohen, Psychol. Bull. 1968;70:213-220) of counts or masses [..., K, K].

    1 - sum v p / sum v p_k. p_.l with v the distance of the categories to a power.

    Example:
        Nineteen subjects, the first category never used by the second rater; SAS prints .4842 and .4701:

        >>> sas = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
        >>> round(weighted_kappa(sas, power=0), 4), round(weighted_kappa(sas, power=1), 4)
        (0.4842, 0.4701)

    Args:
        power: of the distance between categories: 2 quadratic, 1 linear weights; 0 makes every disagreement equal
            (Cohen's unweighted kappa, 1960).

    Returns:
        1 for perfect agreement, 0 for what chance gives; NaN where chance alone already agrees fully (a single
        category in use) or the matrix is empty.
    """
    return _kappa(checked(matrix), _disagreement(np.shape(matrix)[-1], power))


def _kappa(matrix: np.ndarray, disagreement: np.ndarray) -> PerMatrix:
    rows, columns = matrix.sum(axis=-1), matrix.sum(axis=-2)
    chance = ((rows @ disagreement) * columns).sum(axis=-1)
    return per_matrix(1 - ratio(sum_of_cells(matrix, disagreement) * rows.sum(axis=-1), chance))


def cohen_kappa(matrix: np.ndarray, *, weights: Weights = "none", confidence: float = 0.95) -> Agreement:
    """Cohen's kappa of one matrix of counts [K, K] with its standard errors, over all declared categories.

    kappa = (Po - Pe) / (1 - Pe) with Po = sum w p and Pe = sum w p_k. p_.l. Variances by Fleiss, Cohen and Everitt
    (Psychol. Bull. 1969;72:323-327); the interval is the normal one, cut at -1 and 1. It takes the cases for
    independent: for regions of patients see `kappa_of_pairs`.

    Example:
        A published table of 200 cases (Fleiss, Cohen and Everitt 1969):

        >>> print(cohen_kappa(np.array([[106, 10, 4], [22, 28, 10], [2, 12, 6]])).estimate)
        0.429 (0.323-0.534)

    Args:
        weights: As in `agreement_weights`.

    Returns:
        Undefined where no case is counted or all ratings are of one category; without an interval where the estimated
        variance is zero, as for perfect agreement.
    """
    matrix = checked_counts(matrix)
    table, n = agreement_weights(len(matrix), weights), int(matrix.sum())
    method = f"Cohen's kappa, {weights_name(weights)}, Fleiss-Cohen-Everitt"
    parts = kappa_scores(matrix, table)
    if isinstance(parts, str):
        return undefined_agreement(parts, n=n, method=method)
    kappa, observed, chance, scores = parts
    share = matrix / matrix.sum()
    variance = float((share * scores**2).sum()) / n
    estimate, error = from_variance(kappa, variance, n=n, method=method, confidence=confidence)
    return Agreement(estimate, observed, chance, error, math.sqrt(_null_variance(share, table) / n))


def kappa_of_pairs(
    first: ArrayLike, second: ArrayLike, *, categories: Sequence[int], weights: Weights = "none",
    clusters: ArrayLike | None = None, confidence: float = 0.95,
) -> Agreement:
    """`cohen_kappa` of two raters' ratings of the same cases; cases that either left out do not count.

    Where clusters are given (the patients of regions), the standard error is the robust one that sums each case's
    influence on kappa within clusters, after Yang and Zhou (Stat. Med. 2014;33:2612-2633), and the interval is
    Student's; `n` then counts the clusters, and there is no null standard error.
    """
    a, b = coded(first, categories), coded(second, categories)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"{a.shape} first and {b.shape} second ratings: one of each per case is needed.")
    both = (a >= 0) & (b >= 0)
    matrix = confusion(a[both], b[both], len(categories))
    if clusters is None:
        return cohen_kappa(matrix, weights=weights, confidence=confidence)
    parts = kappa_scores(matrix, agreement_weights(len(matrix), weights))
    method = f"Cohen's kappa, {weights_name(weights)}, clustered"
    member = clusters_of(clusters, len(a))[both]
    if isinstance(parts, str):
        return undefined_agreement(parts, n=len(np.unique(member)), method=method)
    kappa, observed, chance, scores = parts
    influence = scores[a[both], b[both]] / both.sum()
    estimate, error = from_influence(kappa, influence, member, method=method, confidence=confidence)
    return Agreement(estimate, observed, chance, error)


def kappa_scores(matrix: np.ndarray, weights: np.ndarray) -> tuple[float, float, float, np.ndarray] | str:
    """(kappa, observed, chance, influence [K, K] of a case in each cell on kappa), or why they are undefined.

    The influences sum to 0 over the cases; their mean square over n is Fleiss, Cohen and Everitt's variance.
    """
    if not matrix.any():
        return "no case"
    share = matrix / matrix.sum()
    of_rows, of_columns = share.sum(axis=0) @ weights.T, share.sum(axis=1) @ weights
    observed, chance = float((weights * share).sum()), float(share.sum(axis=1) @ of_rows)
    beyond = float(share.sum(axis=1) @ (1 - weights) @ share.sum(axis=0))
    if beyond == 0:
        return ONE_CATEGORY
    kappa = 1 - float(((1 - weights) * share).sum()) / beyond
    spread = of_rows[:, None] + of_columns - 2 * chance
    return kappa, observed, chance, (weights - chance - (1 - kappa) * spread) / beyond - kappa


def _null_variance(share: np.ndarray, weights: np.ndarray) -> float:
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    by_chance = np.outer(rows, columns)
    chance = float((weights * by_chance).sum())
    apart = weights - (weights @ columns)[:, None] - rows @ weights      # -chance on average
    variance = float((by_chance * (apart + chance) ** 2).sum())
    if variance <= LEAST_VARIANCE:                                       # 0 for a constant rater, but for rounding
        return 0.0
    return variance / float(((1 - weights) * by_chance).sum()) ** 2


def gwet_ac(matrix: np.ndarray, *, power: int = 0) -> PerMatrix:
    """Gwet's agreement coefficient of two raters (Br. J. Math. Stat. Psychol. 2008;61:29-48) from counts [..., K, K].

    Unlike kappa it stays high where nearly all cases are of one category, and is 1, not undefined, where all are.

    Example:
        100 women, two abstractors (Gwet 2014):

        >>> round(gwet_ac(np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])), 7)
        0.8493305

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
    share = ratio(matrix, sum_of_cells(matrix, np.ones((categories, categories)))[..., None, None])
    used = (share.sum(axis=-1) + share.sum(axis=-2)) / 2
    chance = weights.sum() / (categories * (categories - 1)) * (used * (1 - used)).sum(axis=-1)
    return per_matrix((sum_of_cells(share, weights) - chance) / (1 - chance))


def agreement_weights(categories: int, weights: Weights = "none") -> np.ndarray:
    """Agreement [K, K] that a pair of categories counts for: 1 on the diagonal, 0 for the farthest apart.

    Args:
        weights: "none" (only equal categories agree), "linear", "quadratic", "ordinal" (Gwet 2014, ch. 3: from the
            number of pairs of categories between the two), or the weights themselves, symmetric with 1 on the
            diagonal and at most 1.

    Raises:
        ValueError: fewer than two categories, or weights that are not of this kind.
    """
    if categories < 2:
        raise ValueError(f"{categories} declared categories: agreement needs at least two.")
    if isinstance(weights, str):
        return _named_weights(categories, weights)
    table = np.asarray(weights, float)
    if table.shape != (categories, categories):
        raise ValueError(f"Weights of shape {table.shape}: [{categories}, {categories}] is needed.")
    if not ((table == table.T).all() and (np.diagonal(table) == 1).all() and (table <= 1).all()):
        raise ValueError(f"Weights {table.tolist()}: symmetric, 1 on the diagonal and at most 1 is needed.")
    if (table == 1).all():
        raise ValueError("Weights of 1 everywhere: no disagreement would count.")
    return table


def _named_weights(categories: int, name: str) -> np.ndarray:
    if name == "ordinal":
        steps = _disagreement(categories, 1)
        return 1 - steps * (steps + 1) / (categories * (categories - 1))
    if name not in POWERS:
        raise ValueError(f'Weights "{name}": "none", "linear", "quadratic", "ordinal" or a table are known.')
    return 1 - _disagreement(categories, POWERS[name]) / (categories - 1) ** POWERS[name]


def weights_name(weights: Weights) -> str:
    """As a method names them."""
    if not isinstance(weights, str):
        return "own weights"
    return "unweighted" if weights == "none" else f"{weights} weights"


def _disagreement(categories: int, power: int) -> np.ndarray:
    steps = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories))).astype(float)
    return (steps > 0).astype(float) if power == 0 else steps**power


def undefined_agreement(reason: str, *, n: int, method: str) -> Agreement:
    """A coefficient that these ratings do not define."""
    return Agreement(without_figure(reason, n=n, method=method), math.nan, math.nan, math.nan)


def checked_counts(matrix: np.ndarray) -> np.ndarray:
    """A single matrix of whole counts as floats [K, K]; anything else is an error."""
    matrix = checked(matrix)
    if matrix.ndim != 2:
        raise ValueError(f"Matrix of shape {matrix.shape}: a single one [K, K] is needed.")
    if (matrix != np.round(matrix)).any():
        raise ValueError("The matrix holds fractions: standard errors need counts of cases.")
    return matrix


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


def sum_of_cells(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of weights [K, K] times cells of each matrix [..., K, K], by a matrix product, faster than sums."""
    return matrix.reshape(*matrix.shape[:-2], -1) @ weights.ravel()


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def per_matrix(figures: np.ndarray) -> PerMatrix:
    """A float where there is a single matrix."""
    return float(figures) if np.ndim(figures) == 0 else figures
