"""Whether two or more ratings of the same cases differ: exact and chi-square tests, clustered cases, many tests.

Comparisons are first minus second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, chi2

from lss_core.statistics.agreement import checked
from lss_core.statistics.estimate import Estimate, bootstrap_sums

MCNEMAR = ("exact", "midp", "chi2", "corrected")


@dataclass(frozen=True)
class Comparison:
    """First minus second, and the two-sided p-value of no difference; NaN where the test is not defined.

    Attributes:
        p_unclustered: The test that takes all cases for independent, where `p_value` allows for clusters; else None.
    """

    difference: Estimate
    p_value: float
    method: str
    p_unclustered: float | None = None

    @property
    def undefined(self) -> str:
        """Why there is no p-value; empty where there is one."""
        return self.difference.undefined if math.isnan(self.p_value) else ""


@dataclass(frozen=True)
class ChiSquare:
    """A chi-square test; with no degree of freedom there is no sign of a difference: statistic 0, p 1."""

    statistic: float
    df: int
    undefined: str = ""     # why statistic and p-value are NaN

    def __post_init__(self) -> None:
        if math.isnan(self.statistic) and not self.undefined:
            raise ValueError("A test without a statistic needs the reason.")

    def __str__(self) -> str:
        if self.undefined:
            return f"undefined: {self.undefined}"
        return f"chi-square {self.statistic:.3f}, df {self.df}, p {self.p_value:.4f}"

    @property
    def p_value(self) -> float:
        return float(chi2.sf(self.statistic, self.df)) if self.df > 0 else 1.0


def mcnemar(b: int, c: int, *, method: str = "exact") -> float:
    """Two-sided p-value of McNemar's test (Psychometrika 1947;12:153-157) from the counts of discordant pairs.

    Example:
        One and seven discordant pairs (Fagerland et al. 2013, table 1):

        >>> round(mcnemar(1, 7), 4), round(mcnemar(1, 7, method="midp"), 4)
        (0.0703, 0.0391)

    Args:
        method: "exact" is the binomial test; "midp" (Fagerland et al., BMC Med. Res. Methodol. 2013;13:91) is less
            conservative and seldom above the level; "chi2" is (b - c)^2 / (b + c), and "corrected" takes 1 from
            |b - c| first (Edwards, Psychometrika 1948;13:185-187).

    Returns:
        1 where no pair is discordant.
    """
    if method not in MCNEMAR:
        raise ValueError(f'McNemar method "{method}": {", ".join(MCNEMAR)} are known.')
    if min(b, c) < 0:
        raise ValueError(f"Discordant pairs {b} and {c}: counts cannot be negative.")
    if b + c == 0:
        return 1.0
    if method in ("chi2", "corrected"):
        apart = max(0, abs(b - c) - (method == "corrected"))
        return float(chi2.sf(apart**2 / (b + c), 1))
    exact = min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5)))
    if method == "exact":
        return exact
    observed = float(binom.pmf(b, b + c, 0.5))
    return 1 - observed / 2 if b == c else exact - observed


def clustered_mcnemar(b: ArrayLike, c: ArrayLike) -> ChiSquare:
    """McNemar's test for pairs in clusters (Obuchowski, Stat. Med. 1998;17:1495-1507).

    (K - 1) / K (sum d)^2 / sum d^2 with d = b - c in each of K clusters, in the form of Yang et al. (Biom. J.
    2010;52:638-652). It tests the difference of the pooled proportions; that of Durkalski et al. (Stat. Med.
    2003;22:2417-2428) weighs every cluster alike, however many cases it has.

    Example:
        Glands of 21 patients by PET and SPECT (Obuchowski 1998), seven of them discordant; Durkalski et al. print 2.86:

        >>> pet, spect = [1] + [0] * 6 + [0] * 14, [0, 2, 1, 1, 2, 1] + [0] * 15
        >>> print(clustered_mcnemar(pet, spect))
        chi-square 2.857, df 1, p 0.0910

    Args:
        b: [cluster], pairs that only the first got right; also clusters without a discordant pair belong here.
        c: [cluster], pairs that only the second got right.

    Returns:
        Undefined with fewer than two clusters.
    """
    apart = np.asarray(b, float) - np.asarray(c, float)
    if len(apart) < 2:
        return ChiSquare(math.nan, 1, "fewer than two clusters")
    if not apart.any():
        return ChiSquare(0.0, 0)
    return ChiSquare(float((len(apart) - 1) / len(apart) * apart.sum() ** 2 / (apart**2).sum()), 1)


def compare_paired_accuracy(
    right_a: np.ndarray, right_b: np.ndarray, clusters: Sequence[str] | np.ndarray, *, resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Difference of two accuracies on the same cases in clusters (regions of patients).

    The interval is the bootstrap over clusters, the p-value Obuchowski's clustered McNemar test, and `p_unclustered`
    the exact McNemar test that takes the cases for independent. With fewer than two clusters there is no p-value.
    """
    right_a, right_b, clusters = np.asarray(right_a, bool), np.asarray(right_b, bool), np.asarray(clusters)
    if not right_a.shape == right_b.shape == clusters.shape or right_a.ndim != 1:
        raise ValueError(f"{right_a.shape}, {right_b.shape} and {clusters.shape}: not the same cases.")
    names, cluster = np.unique(clusters, return_inverse=True)
    only_a, only_b, cases = (
        np.bincount(cluster, weights=each, minlength=len(names))
        for each in (right_a & ~right_b, right_b & ~right_a, np.ones(len(cluster)))
    )
    difference = bootstrap_sums(
        np.stack([only_a - only_b, cases], axis=1), lambda total: total[:, 0] / total[:, 1], resamples=resamples,
        seed=seed,
    )
    plain = mcnemar(int(only_a.sum()), int(only_b.sum()))
    p_value = clustered_mcnemar(only_a, only_b).p_value
    return Comparison(difference, p_value, "McNemar, clustered (Obuchowski 1998)", plain)


def stuart_maxwell(matrix: np.ndarray) -> ChiSquare:
    """Test that two raters use the categories equally often, from counts [K, K].

    Stuart, Biometrika 1955;42:412-416; Maxwell, Br. J. Psychiatry 1970;116:651-655. The covariance is that of a graph
    of discordant pairs; its rank gives the degrees of freedom, so that an unused category costs none.

    Example:
        R coin, in statsmodels: 13.7647.

        >>> print(stuart_maxwell(np.array([[20, 10, 5], [3, 30, 15], [0, 5, 40]])))
        chi-square 13.765, df 2, p 0.0010
    """
    matrix = checked(matrix)
    apart = matrix.sum(axis=1) - matrix.sum(axis=0)
    both = matrix + matrix.T
    covariance = np.diag(both.sum(axis=1)) - both
    inverse = np.linalg.pinv(covariance, hermitian=True)
    return ChiSquare(float(apart @ inverse @ apart), int(np.linalg.matrix_rank(covariance, hermitian=True)))


def bowker(matrix: np.ndarray) -> ChiSquare:
    """Test that counts [K, K] are symmetric (Bowker, J. Am. Stat. Assoc. 1948;43:572-574).

    A pair of cells that are both empty says nothing and has no degree of freedom.

    Example:
        R mcnemar.test, in statsmodels: 13.7692, p .003237.

        >>> print(bowker(np.array([[20, 10, 5], [3, 30, 15], [0, 5, 40]])))
        chi-square 13.769, df 3, p 0.0032
    """
    matrix = checked(matrix)
    upper = np.triu_indices(len(matrix), 1)
    apart, both = (matrix - matrix.T)[upper], (matrix + matrix.T)[upper]
    used = both > 0
    return ChiSquare(float((apart[used] ** 2 / both[used]).sum()), int(used.sum()))


def cochran_q(hits: ArrayLike) -> ChiSquare:
    """Test that several raters have equal shares of hits on the same cases (Cochran, Biometrika 1950;37:256-266).

    Q = (R - 1) (R sum G^2 - T^2) / (R T - sum L^2), with the totals G of R raters, L of cases, T of all; for two raters
    McNemar's uncorrected chi-square. Cases on which all raters agree say nothing. It takes the cases for independent.

    Example:
        Nine cases, four raters (R CVST, in statsmodels): Q = 4.2.

        >>> print(cochran_q([[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0],
        ...                  [1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]]))
        chi-square 4.200, df 3, p 0.2407

    Args:
        hits: [case, rater], 0 or 1 (right or wrong).

    Returns:
        Statistic 0, p 1 where the raters agree on all cases.

    Raises:
        ValueError: a missing value or one other than 0 and 1, or fewer than two raters.
    """
    values = np.asarray(hits, float)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"Hits of shape {values.shape}: [case, rater] of at least two raters is needed.")
    if not np.isin(values, (0, 1)).all():
        case, rater = np.argwhere(~np.isin(values, (0, 1)))[0]
        raise ValueError(
            f"Case {case + 1}, rater {rater + 1}: {values[case, rater]:g} is not 0 or 1. Leave cases that a rater did "
            "not finish out for all raters and report them."
        )
    raters, total, of_raters, of_cases = values.shape[1], values.sum(), values.sum(axis=0), values.sum(axis=1)
    spread = raters * total - (of_cases**2).sum()
    if spread == 0:
        return ChiSquare(0.0, 0)
    return ChiSquare(float((raters - 1) * (raters * (of_raters**2).sum() - total**2) / spread), raters - 1)


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """P-values adjusted for how many there are (Holm, Scand. J. Stat. 1979;6:65-70), in the order given.

    A NaN, a test that was not defined, stays NaN and does not count.

    Example:
        Four tests: .005 x 4, .01 x 3, .03 x 2, and .04 not below its predecessor:

        >>> holm([0.01, 0.04, 0.03, 0.005]).round(2).tolist()
        [0.03, 0.06, 0.06, 0.02]
    """
    p = np.asarray(p_values, float)
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"P-values {p.tolist()}: numbers from 0 to 1 are needed.")
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
