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
from dataclasses import dataclass, replace
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
from lss_core.statistics.estimate import Estimate, bootstrap_sums
from lss_core.statistics.influence import clusters_of, from_influence, from_variance, sums_in_clusters

Coefficient = Literal["percent", "fleiss", "conger", "gwet", "brennan_prediger", "krippendorff"]
LEAST_BEYOND = 1e-12        # of 1 - Pe; below it is rounding


@dataclass(frozen=True)
class _Cases:
    """What each case adds to the sums that a coefficient is made of: Po = sum agreeing / sum asked.

    Attributes:
        agreeing, asked: [case].
        use: [case, 1 or rater, category], whose sums give the use of the categories, by all or by each rater.
        cluster: [case], numbers.
    """

    agreeing: np.ndarray
    asked: np.ndarray
    use: np.ndarray
    cluster: np.ndarray

    def by_cluster(self) -> np.ndarray:
        """[cluster, 2 + ...]: agreeing, asked, and the use flattened."""
        flat = self.use.reshape(len(self.use), self.use.shape[1] * self.use.shape[2])
        return sums_in_clusters(np.column_stack([self.agreeing, self.asked, flat]), self.cluster)


def agreement_among(
    ratings: ArrayLike, *, categories: Sequence[int], coefficient: Coefficient = "gwet", weights: Weights = "none",
    clusters: ArrayLike | None = None, confidence: float = 0.95,
) -> Agreement:
    """A coefficient with Gwet's linearised standard error and Student's interval, cut at -1 and 1.

    The variance of n cases is sum (u - mean)^2 / (n (n - 1)) over each case's linearised value u (Gwet 2014, ch. 5).
    With clusters the deviations are summed within them first, and C clusters take the place of n cases. Fleiss' kappa
    without weights, with equally many ratings of each case, has a null standard error as well (Fleiss, Nee and Landis,
    Psychol. Bull. 1979;86:974-977).

    Example:
        Five cases, three raters, one rating missing; Po = (1 + 1 + 1/3 + 1 + 1/3) / 5:

        >>> ratings = [[0, 0, 0], [1, 1, 1], [0, 1, 1], [2, 2, None], [2, 2, 1]]
        >>> round(agreement_among(ratings, categories=range(3), coefficient="percent").observed, 4)
        0.7333

    Args:
        ratings: [case, rater], NaN or None where missing or not gradable.
        weights: As in `agreement_weights`.

    Returns:
        Undefined with the reason where no case was rated twice, a rater has no rating ("conger"), or chance alone
        agrees fully.

    Raises:
        ValueError: an undeclared category, an unknown coefficient, fewer than two raters, clusters that do not fit.
    """
    table, method = agreement_weights(len(categories), weights), _method(coefficient, weights)
    cases = _cases(ratings, table, categories, coefficient, clusters)
    figures = _figures(cases.by_cluster().sum(axis=0, keepdims=True), table, coefficient)
    value, observed, chance = (float(each[0]) for each in figures[:3])
    n = len(np.unique(cases.cluster))
    if math.isnan(value):
        return undefined_agreement(_reason(cases, chance), n=n, method=f"{method}, linearised")
    influence = _influence(cases, chance, figures[3][0], coefficient)
    estimate, error = from_influence(
        value, influence, cases.cluster, method=f"{method}, linearised", confidence=confidence,
    )
    plain = coefficient == "fleiss" and weights_name(weights) == "unweighted" and clusters is None
    return Agreement(estimate, observed, chance, error, _null_error(ratings, categories) if plain else None)


def agreement_of_two(
    matrix: np.ndarray, *, coefficient: Coefficient = "gwet", weights: Weights = "none", confidence: float = 0.95,
) -> Agreement:
    """`agreement_among` of two raters from their matrix of counts [K, K].

    As Gwet has it for tables, the variance divides by n, not n - 1; "conger" then has the standard error of
    `cohen_kappa`, with Student's interval in place of the normal one.

    Example:
        100 women, two abstractors (Gwet 2014):

        >>> print(agreement_of_two(np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])).estimate)
        0.849 (0.764-0.935)
    """
    matrix = checked_counts(matrix)
    ratings = np.repeat(np.argwhere(np.ones_like(matrix)), matrix.ravel().astype(int), axis=0)
    result = agreement_among(ratings, categories=range(len(matrix)), coefficient=coefficient, weights=weights)
    if len(ratings) < 2 or math.isnan(result.estimate.value):
        return result
    variance = result.standard_error**2 * (len(ratings) - 1) / len(ratings)
    estimate, error = from_variance(
        result.estimate.value, variance, n=len(ratings), method=result.estimate.method, df=len(ratings) - 1,
        confidence=confidence,
    )
    return Agreement(estimate, result.observed, result.chance, error, result.null_error)


def bootstrap_among(
    ratings: ArrayLike, *, categories: Sequence[int], coefficient: Coefficient = "gwet", weights: Weights = "none",
    clusters: ArrayLike | None = None, resamples: int = 2000, seed: int = 0, confidence: float = 0.95,
) -> Estimate:
    """The value of `agreement_among` with the percentile interval of the bootstrap over clusters, or else over cases.

    Zapf et al. (BMC Med. Res. Methodol. 2016;16:93) find it to hold its level for Fleiss' kappa and alpha alike.
    """
    table, method = agreement_weights(len(categories), weights), _method(coefficient, weights)
    sums = _cases(ratings, table, categories, coefficient, clusters).by_cluster()
    estimate = bootstrap_sums(
        sums, lambda total: _figures(total, table, coefficient)[0], resamples=resamples, seed=seed,
        confidence=confidence,
    )
    return replace(estimate, method=f"{method}, {estimate.method}")


def _method(coefficient: str, weights: Weights) -> str:
    if coefficient not in get_args(Coefficient):
        raise ValueError(f'Coefficient "{coefficient}": {", ".join(get_args(Coefficient))} are known.')
    return f"{coefficient}, {weights_name(weights)}"


def _cases(
    ratings: ArrayLike, table: np.ndarray, categories: Sequence[int], coefficient: str, clusters: ArrayLike | None,
) -> _Cases:
    codes = coded(ratings, categories)
    if codes.ndim != 2 or codes.shape[1] < 2:
        raise ValueError(f"Ratings of shape {codes.shape}: [case, rater] of at least two raters is needed.")
    cluster, alpha = clusters_of(clusters, len(codes)), coefficient == "krippendorff"
    used = (codes >= 0).sum(axis=1) >= (2 if alpha else 1)
    given = (codes[used, :, None] == np.arange(len(table))).astype(float)
    counts = given.sum(axis=1)
    ratings_of = counts.sum(axis=1)
    agreeing = (counts * (counts @ table - 1)).sum(axis=1) / np.maximum(1, ratings_of * (ratings_of - 1))
    if alpha:
        return _Cases(agreeing * ratings_of, ratings_of, counts[:, None], cluster[used])
    use = given if coefficient == "conger" else (counts / ratings_of[:, None])[:, None]
    return _Cases(agreeing, (ratings_of > 1).astype(float), use, cluster[used])


def _figures(
    totals: np.ndarray, table: np.ndarray, coefficient: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(value, Po, Pe [total], derivative of Pe by the use of the categories) of sums [total, 2 + ...]."""
    observed, use = ratio(totals[:, 0], totals[:, 1]), totals[:, 2:].reshape(len(totals), -1, len(table))
    chance, slope = _chance(ratio(use, use.sum(axis=-1, keepdims=True)), table, coefficient)
    if coefficient == "krippendorff":
        observed = 1 - (1 - observed) * (1 - ratio(np.ones(len(totals)), totals[:, 1]))
    beyond = np.where(1 - chance > LEAST_BEYOND, 1 - chance, np.nan)
    return 1 - (1 - observed) / beyond, observed, chance, slope


def _chance(use: np.ndarray, table: np.ndarray, coefficient: str) -> tuple[np.ndarray, np.ndarray]:
    """Pe [total] and its derivative, from the use [total, 1 or rater, category]."""
    raters, categories = use.shape[-2:]
    if coefficient == "conger":
        others = (use.sum(axis=-2, keepdims=True) - use) @ table / (raters * (raters - 1))
        return (use * others).sum(axis=(-2, -1)), 2 * others
    if coefficient == "gwet":
        scale = table.sum() / (categories * (categories - 1))
        return scale * (use * (1 - use)).sum(axis=(-2, -1)), scale * (1 - 2 * use)
    if coefficient in ("fleiss", "krippendorff"):
        return (use @ table * use).sum(axis=(-2, -1)), 2 * use @ table
    constant = table.mean() if coefficient == "brennan_prediger" else 0.0
    return np.full(len(use), constant), np.zeros_like(use)


def _influence(cases: _Cases, chance: float, slope: np.ndarray, coefficient: str) -> np.ndarray:
    """Deviation [case] that each case adds to the value; they sum to 0.

    As Gwet has it: of alpha without its correction for small samples, and of the others with the number of cases
    rated twice taken for given.
    """
    asked, total, by_rater = cases.asked / cases.asked.sum(), cases.use.sum(axis=0), cases.use.sum(axis=(0, 2))
    observed = float(cases.agreeing.sum() / cases.asked.sum())
    value = (observed - chance) / (1 - chance)
    of_use = (cases.use - cases.use.sum(axis=2, keepdims=True) * total / by_rater[:, None]) / by_rater[:, None]
    of_chance = (of_use * slope).sum(axis=(1, 2))
    influence = (cases.agreeing / cases.asked.sum() - observed * asked - (1 - value) * of_chance) / (1 - chance)
    return influence if coefficient == "krippendorff" else influence + value * (asked - 1 / len(asked))


def _reason(cases: _Cases, chance: float) -> str:
    if not cases.asked.any():
        return "no case was rated twice"
    if math.isnan(chance):
        rater = int(np.flatnonzero(cases.use.sum(axis=(0, 2)) == 0)[0])
        return f"rater {rater + 1} rated no case"
    return ONE_CATEGORY


def _null_error(ratings: ArrayLike, categories: Sequence[int]) -> float | None:
    """Fleiss, Nee and Landis 1979, for equally many ratings of each case; else None."""
    codes = coded(ratings, categories)
    ratings_of = (codes >= 0).sum(axis=1)
    if len(set(ratings_of.tolist())) != 1:
        return None
    n, m = len(codes), int(ratings_of[0])
    share = np.array([(codes == k).mean() for k in range(len(categories))]) * codes.shape[1] / m
    spread = share * (1 - share)
    variance = 2 / (n * m * (m - 1)) * (spread.sum() ** 2 - (spread * (1 - 2 * share)).sum()) / spread.sum() ** 2
    return math.sqrt(variance)
