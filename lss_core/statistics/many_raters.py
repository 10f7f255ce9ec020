"""Chance-corrected agreement among any number of raters, with missing ratings: ratings are [case, rater].

All coefficients are (Po - Pe) / (1 - Pe) and share Po, the mean over cases rated at least twice of the weighted share
of agreeing pairs of ratings; they differ in Pe (Gwet, Handbook of Inter-Rater Reliability, 4th ed. 2014, ch. 2-6):

- "percent": Pe = 0, the agreement itself;
- "fleiss": pi' W pi with the mean use pi of the categories (Fleiss, Psychol. Bull. 1971;76:378-382; of two raters
  Scott's pi);
- "conger": the mean over pairs of raters of p_g' W p_h with each rater's own use (Conger, Psychol. Bull.
  1980;88:322-328; of two raters Cohen's kappa);
- "gwet": AC1, with weights AC2: sum(W) / (K (K - 1)) sum pi (1 - pi) (Br. J. Math. Stat. Psychol. 2008;61:29-48);
- "brennan_prediger": sum(W) / K^2 (Educ. Psychol. Meas. 1981;41:687-699);
- "krippendorff": alpha with fixed weights, of cases rated at least twice, each rating counting alike; for his own
  ordinal and ratio metrics see `krippendorff`.

A case with a single rating counts in the use of the categories of all but alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from lss_core.statistics.agreement import (
    ONE_CATEGORY,
    Agreement,
    Weights,
    agreement_weights,
    checked_counts,
    coded,
    ratio,
    undefined_agreement,
    weights_name,
)
from lss_core.statistics.estimate import Estimate, bootstrap_sums, without_figure
from lss_core.statistics.influence import clusters_of, from_influence, from_variance, student

Coefficient = Literal["percent", "fleiss", "conger", "gwet", "brennan_prediger", "krippendorff"]
LEAST_BEYOND = 1e-12        # of 1 - Pe; below it is rounding


@dataclass(frozen=True)
class _Units:
    """Cases with at least one rating.

    Attributes:
        given: [case, rater, category], 1 where the rater gave the category.
        cluster: [case].
    """

    given: np.ndarray
    cluster: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """[case, category]."""
        return self.given.sum(axis=1)


def agreement_among(
    ratings: ArrayLike, *, categories: Sequence[int], coefficient: Coefficient = "gwet", weights: Weights = "none",
    clusters: ArrayLike | None = None, confidence: float = 0.95,
) -> Agreement:
    """A coefficient with Gwet's linearised standard error and Student's interval, cut at -1 and 1.

    The variance of n cases is sum (u - mean)^2 / (n (n - 1)) over each case's linearised value u (Gwet 2014, ch. 5).
    With clusters the values are summed within them first and C - 1 clusters give the degrees of freedom. For an equal
    number of ratings per case and no weights, Fleiss' kappa has the null standard error of Fleiss, Nee and Landis
    (Psychol. Bull. 1979;86:974-977) as well.

    Example:
        Three raters, five cases, one rating missing; Po = (1 + 1 + 1/3 + 1 + 1/3) / 5:

        >>> ratings = [[0, 0, 0], [1, 1, 1], [0, 1, 1], [2, 2, None], [2, 2, 1]]
        >>> round(agreement_among(ratings, categories=range(3), coefficient="percent").observed, 4)
        0.7333

    Args:
        ratings: [case, rater], NaN or None where missing or not gradable.
        weights: As in `agreement_weights`.

    Returns:
        Undefined with the reason where no case was rated twice or chance alone agrees fully.

    Raises:
        ValueError: an undeclared category, an unknown coefficient, fewer than two raters, clusters that do not fit.
    """
    table, method = agreement_weights(len(categories), weights), _method(coefficient, weights)
    units = _units(ratings, categories, clusters, twice=coefficient == "krippendorff")
    n = len(np.unique(units.cluster))
    parts = _linearised(units, table, coefficient)
    if isinstance(parts, str):
        return undefined_agreement(parts, n=n, method=method)
    observed, chance, influence = parts
    value = _beyond(observed, chance)
    estimate, error = from_influence(
        value, influence / len(influence), units.cluster, method=method, confidence=confidence,
    )
    null = _null_error(units.counts) if coefficient == "fleiss" and (table == np.eye(len(table))).all() else None
    return Agreement(estimate, observed, chance, error, null if clusters is None else None)


def agreement_of_two(
    matrix: np.ndarray, *, coefficient: Coefficient = "gwet", weights: Weights = "none", confidence: float = 0.95,
) -> Agreement:
    """`agreement_among` of two raters from their matrix of counts [K, K].

    As Gwet has it for tables, the variance divides by n, not n - 1; "conger" then has the standard error of
    `cohen_kappa` and Student's interval in place of the normal one.

    Example:
        100 women, two abstractors (Gwet 2014):

        >>> print(agreement_of_two(np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])).estimate)
        0.849 (0.764-0.935)
    """
    matrix = checked_counts(matrix)
    cells = np.argwhere(np.ones_like(matrix))
    ratings = np.repeat(cells, matrix.ravel().astype(int), axis=0)
    result = agreement_among(ratings, categories=range(len(matrix)), coefficient=coefficient, weights=weights)
    n, value = len(ratings), result.estimate.value
    if n < 2 or math.isnan(value):
        return result
    estimate, error = from_variance(
        value, result.standard_error**2 * (n - 1) / n, n=n, method=result.estimate.method,
        quantile=student(n, confidence),
    )
    return Agreement(estimate, result.observed, result.chance, error, result.null_error)


def bootstrap_among(
    ratings: ArrayLike, *, categories: Sequence[int], coefficient: Coefficient = "gwet", weights: Weights = "none",
    clusters: ArrayLike | None = None, resamples: int = 2000, seed: int = 0, confidence: float = 0.95,
) -> Estimate:
    """The value of `agreement_among` with the percentile interval of the bootstrap over clusters (else over cases)."""
    table = agreement_weights(len(categories), weights)
    units = _units(ratings, categories, clusters, twice=coefficient == "krippendorff")
    if not len(units.cluster):
        return without_figure("no case", n=0, method=_method(coefficient, weights))
    per_unit = _sums(units, table, coefficient)
    _, cluster = np.unique(units.cluster, return_inverse=True)
    sums = np.zeros((cluster.max() + 1, per_unit.shape[1]))
    np.add.at(sums, cluster, per_unit)
    estimate = bootstrap_sums(
        sums, lambda total: _beyond(*_of_sums(total, table, coefficient, units.given.shape[1])), resamples=resamples,
        seed=seed, confidence=confidence,
    )
    return estimate


def _method(coefficient: str, weights: Weights) -> str:
    if coefficient not in get_args(Coefficient):
        raise ValueError(f'Coefficient "{coefficient}": {", ".join(get_args(Coefficient))} are known.')
    return f"{coefficient}, {weights_name(weights)}, linearised"


def _units(ratings: ArrayLike, categories: Sequence[int], clusters: ArrayLike | None, *, twice: bool) -> _Units:
    codes = coded(ratings, categories)
    if codes.ndim != 2 or codes.shape[1] < 2:
        raise ValueError(f"Ratings of shape {codes.shape}: [case, rater] of at least two raters is needed.")
    cluster = clusters_of(clusters, len(codes))
    used = (codes >= 0).sum(axis=1) >= (2 if twice else 1)
    given = codes[used, :, None] == np.arange(len(categories))
    return _Units(given.astype(float), cluster[used])


def _beyond(observed: np.ndarray | float, chance: np.ndarray | float) -> np.ndarray | float:
    """(observed - chance) / (1 - chance), NaN where chance alone agrees fully."""
    beyond = 1 - np.asarray(chance, float)
    value = 1 - ratio(1 - np.asarray(observed, float), np.where(beyond > LEAST_BEYOND, beyond, 0.0))
    return float(value) if value.ndim == 0 else value
