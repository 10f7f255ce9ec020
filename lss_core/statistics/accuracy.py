"""How often a rating is right: rates of a confusion matrix, areas under ROC curves, and paired comparisons.

Confusion matrices are [..., reference, rating], with separate matrices along the leading axes; what is not defined on
them (a sensitivity without a case) is NaN. Comparisons are first minus second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, chi2, norm, rankdata

from lss_core.statistics.agreement import PerMatrix, checked, per_matrix, ratio
from lss_core.statistics.estimate import Estimate, bootstrap_sums, without_figure, without_interval

LEAST_VARIANCE = 1e-20      # of an area; below it is the rounding of components that are all equal


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


@dataclass(frozen=True)
class ChiSquare:
    """A chi-square test; with no degree of freedom there is no sign of a difference: statistic 0, p 1."""

    statistic: float
    df: int

    @property
    def p_value(self) -> float:
        return float(chi2.sf(self.statistic, self.df)) if self.df > 0 else 1.0


def accuracy(matrix: np.ndarray) -> PerMatrix:
    """Share of cases on the diagonal of [..., K, K]."""
    matrix = checked(matrix)
    return per_matrix(ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1))))


def balanced_accuracy(matrix: np.ndarray) -> PerMatrix:
    """Mean sensitivity over the declared grades; NaN where any of them has no case."""
    matrix = checked(matrix)
    return per_matrix(ratio(_diagonal(matrix), matrix.sum(axis=-1)).mean(axis=-1))


def macro_f1(matrix: np.ndarray) -> PerMatrix:
    """Mean over the declared grades of F1 = 2 TP / (2 TP + FP + FN); NaN where a grade has no case and no rating."""
    matrix = checked(matrix)
    return per_matrix(ratio(2 * _diagonal(matrix), matrix.sum(axis=-1) + matrix.sum(axis=-2)).mean(axis=-1))


def off_by(matrix: np.ndarray, steps: int) -> PerMatrix:
    """Share of cases whose rating is at least `steps` grades from the reference."""
    matrix = checked(matrix)
    grades = np.arange(matrix.shape[-1])
    far = np.abs(np.subtract.outer(grades, grades)) >= steps
    return per_matrix(ratio((matrix * far).sum(axis=(-2, -1)), matrix.sum(axis=(-2, -1))))


def class_rates(matrix: np.ndarray, k: int) -> tuple[PerMatrix, PerMatrix, PerMatrix, PerMatrix]:
    """(sensitivity, specificity, positive and negative predictive value) of category k against all others."""
    return _binary_rates(matrix, np.arange(np.shape(matrix)[-1]) == k)


def cut_rates(matrix: np.ndarray, cut: int) -> tuple[PerMatrix, PerMatrix]:
    """(sensitivity, specificity) where grade >= cut is positive."""
    return _binary_rates(matrix, np.arange(np.shape(matrix)[-1]) >= cut)[:2]


def _binary_rates(matrix: np.ndarray, positive: np.ndarray) -> tuple[PerMatrix, PerMatrix, PerMatrix, PerMatrix]:
    matrix = checked(matrix)

    def count(reference: np.ndarray, rating: np.ndarray) -> np.ndarray:
        return matrix[..., reference, :][..., rating].sum(axis=(-2, -1))

    true_positive, true_negative = count(positive, positive), count(~positive, ~positive)
    missed, false_alarm = count(positive, ~positive), count(~positive, positive)
    return (
        per_matrix(ratio(true_positive, true_positive + missed)),
        per_matrix(ratio(true_negative, true_negative + false_alarm)),
        per_matrix(ratio(true_positive, true_positive + false_alarm)),
        per_matrix(ratio(true_negative, true_negative + missed)),
    )


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the empirical ROC curve: the chance that a positive case scores higher, ties counting half.

    Bamber, J. Math. Psychol. 1975;12:387-415. NaN where a class has no case.
    """
    return float(delong(scores, positive)[0][0])


def delong(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas under correlated ROC curves with their covariance (DeLong et al., Biometrics 1988;44:837-845).

    Args:
        scores: [S, n] or [n], S scores of the same n cases; a higher one speaks for the positive class.
        positive: bool [n].

    Returns:
        areas [S] and covariance [S, S]; the areas are NaN where a class has no case, the covariance where one has
        fewer than two.
    """
    of_positive, of_negative = _placements(scores, positive)
    covariance = np.full((len(of_positive), len(of_positive)), np.nan)
    if min(of_positive.shape[1], of_negative.shape[1]) > 1:
        covariance = (np.atleast_2d(np.cov(of_positive)) / of_positive.shape[1]
                      + np.atleast_2d(np.cov(of_negative)) / of_negative.shape[1])
    return _areas(of_positive, of_negative), covariance


def _placements(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The structural components: the share of the other class that each case is on the right side of.

    By midranks (Sun and Xu, IEEE Signal Process. Lett. 2014;21:1389-1393): [S, positive cases], [S, negative cases].
    """
    scores, positive = np.atleast_2d(np.asarray(scores, float)), np.asarray(positive, bool)
    if positive.ndim != 1 or scores.shape[1:] != positive.shape:
        raise ValueError(f"Scores {scores.shape} and classes {positive.shape}: one class per case is needed.")
    if np.isnan(scores).any():
        raise ValueError("A score is missing (NaN): leave the case out of all curves and report it.")
    above, below = scores[:, positive], scores[:, ~positive]
    ranks = rankdata(scores, axis=1)
    of_positive = ranks[:, positive] - rankdata(above, axis=1)
    of_negative = above.shape[1] - (ranks[:, ~positive] - rankdata(below, axis=1))
    return ratio(of_positive, np.array(below.shape[1])), ratio(of_negative, np.array(above.shape[1]))


def _areas(of_positive: np.ndarray, of_negative: np.ndarray) -> np.ndarray:
    if not of_positive.shape[1] or not of_negative.shape[1]:
        return np.full(len(of_positive), np.nan)
    return of_positive.mean(axis=1)


def auc_interval(scores: np.ndarray, positive: np.ndarray, *, confidence: float = 0.95) -> Estimate:
    """Area under the ROC curve with DeLong's normal interval, clipped to 0..1.

    Undefined with one class; a variance of zero (classes fully apart, or all scores equal) has no interval.
    """
    cases = np.arange(np.size(positive))
    return _area_with_interval(scores, positive, cases, "DeLong", confidence)


def auc_interval_clustered(
    scores: np.ndarray, positive: np.ndarray, clusters: Sequence[str] | np.ndarray, *, confidence: float = 0.95,
) -> Estimate:
    """`auc_interval` for cases that belong together, such as regions of a patient; `n` counts the clusters.

    Obuchowski, Biometrics 1997;53:567-578. With one case per cluster it is DeLong's.
    """
    return _area_with_interval(scores, positive, clusters, "Obuchowski 1997, clustered", confidence)


def _area_with_interval(
    scores: np.ndarray, positive: np.ndarray, clusters: Sequence[str] | np.ndarray, method: str, confidence: float,
) -> Estimate:
    of_positive, of_negative = _placements(np.ravel(scores), positive)
    area = float(_areas(of_positive, of_negative)[0])
    variance, n = _clustered_variance(of_positive[0], of_negative[0], positive, clusters)
    return _with_normal_interval(area, variance, n=n, method=method, confidence=confidence, within=(0.0, 1.0))


def compare_auc(
    a: np.ndarray, b: np.ndarray, positive: np.ndarray, *, clusters: Sequence[str] | np.ndarray | None = None,
    confidence: float = 0.95,
) -> Comparison:
    """Paired test of two scores of the same cases by DeLong, or by Obuchowski 1997 where clusters are given.

    Returns:
        p = 1 where the two areas are equal for every case, as for identical scores; NaN where a class has no case.
    """
    method = "DeLong, paired" if clusters is None else "Obuchowski 1997, paired and clustered"
    of_positive, of_negative = _placements(np.stack([np.ravel(a), np.ravel(b)]), positive)
    areas = _areas(of_positive, of_negative)
    difference = float(areas[0] - areas[1])
    apart = of_positive[0] - of_positive[1], of_negative[0] - of_negative[1]
    singly = np.arange(np.size(positive))
    variance, n = _clustered_variance(*apart, positive, singly if clusters is None else clusters)
    estimate = _with_normal_interval(
        difference, variance, n=n, method=method, confidence=confidence, within=(-1.0, 1.0),
    )
    plain = None if clusters is None else _p_of_zero(difference, _clustered_variance(*apart, positive, singly)[0])
    return Comparison(estimate, _p_of_zero(difference, variance), method, plain)


def _p_of_zero(difference: float, variance: float) -> float:
    if variance == 0:
        return 1.0 if abs(difference) < 1e-12 else math.nan
    return float(2 * norm.sf(abs(difference) / math.sqrt(variance)))


def _clustered_variance(
    of_positive: np.ndarray, of_negative: np.ndarray, positive: np.ndarray, clusters: Sequence[str] | np.ndarray,
) -> tuple[float, int]:
    """Variance of a mean of structural components by their sums within clusters, and the number of clusters.

    Obuchowski 1997: S10 / M + S01 / N + 2 S11 / (M N). The form is bilinear, so that differences of components give
    the variance of a difference. NaN with fewer than two clusters in a class.
    """
    positive = np.asarray(positive, bool)
    if len(clusters) != len(positive):
        raise ValueError(f"{len(clusters)} clusters for {len(positive)} cases: one cluster per case is needed.")
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    sums, scales = [], []
    for components, member in ((of_positive, cluster[positive]), (of_negative, cluster[~positive])):
        in_class = len(np.unique(member))
        if in_class < 2:
            return math.nan, len(names)
        apart = components - components.mean()
        sums.append(np.bincount(member, weights=apart, minlength=len(names)) / len(components))
        scales.append(in_class / (in_class - 1))
    own = scales[0] * (sums[0] ** 2).sum() + scales[1] * (sums[1] ** 2).sum()
    variance = float(own + 2 * len(names) / (len(names) - 1) * (sums[0] * sums[1]).sum())
    return (variance if variance > LEAST_VARIANCE else 0.0), len(names)


def _with_normal_interval(
    value: float, variance: float, *, n: int, method: str, confidence: float, within: tuple[float, float],
) -> Estimate:
    if math.isnan(value):
        return without_figure("one of the two classes has no case", n=n, method=method)
    if math.isnan(variance):
        return without_interval(value, "a class is in fewer than two cases or clusters", n=n, method=method)
    if variance == 0:
        return without_interval(value, "its estimated variance is zero", n=n, method=method)
    half = float(norm.ppf(0.5 + confidence / 2)) * math.sqrt(variance)
    return Estimate(value, max(within[0], value - half), min(within[1], value + half), n, method)


def mcnemar(b: int, c: int, *, method: str = "exact") -> float:
    """Two-sided p-value of McNemar's test from the two counts of discordant pairs; 1 where there is none.

    Args:
        method: "exact" is the binomial test; "midp" (Fagerland et al., BMC Med. Res. Methodol. 2013;13:91) is less
            conservative and seldom above the level.
    """
    if method not in ("exact", "midp"):
        raise ValueError(f'McNemar method "{method}": "exact" and "midp" are known.')
    if min(b, c) < 0:
        raise ValueError(f"Discordant pairs {b} and {c}: counts cannot be negative.")
    if b + c == 0:
        return 1.0
    exact = min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5)))
    if method == "exact":
        return exact
    observed = float(binom.pmf(b, b + c, 0.5))
    return 1 - observed / 2 if b == c else exact - observed


def clustered_mcnemar(b: np.ndarray, c: np.ndarray) -> ChiSquare:
    """McNemar's test for pairs in clusters (Obuchowski, Stat. Med. 1998;17:1495-1507).

    (K - 1) / K (sum d)^2 / sum d^2 with d = b - c in each of K clusters, in the form of Yang et al. (Biom. J.
    2010;52:638-652). It tests the difference of the pooled proportions; that of Durkalski et al. (Stat. Med.
    2003;22:2417-2428) weighs every cluster alike, however many cases it has.

    Args:
        b: [cluster], pairs that only the first got right; also clusters without a discordant pair belong here.
        c: [cluster], pairs that only the second got right.

    Returns:
        Statistic and p are NaN with fewer than two clusters.
    """
    apart = np.asarray(b, float) - np.asarray(c, float)
    if len(apart) < 2:
        return ChiSquare(math.nan, 1)
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
    """
    matrix = checked(matrix)
    upper = np.triu_indices(len(matrix), 1)
    apart, both = (matrix - matrix.T)[upper], (matrix + matrix.T)[upper]
    used = both > 0
    return ChiSquare(float((apart[used] ** 2 / both[used]).sum()), int(used.sum()))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """P-values adjusted for how many there are (Holm, Scand. J. Stat. 1979;6:65-70), in the order given.

    A NaN, a test that was not defined, stays NaN and does not count.
    """
    p = np.asarray(p_values, float)
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"P-values {p.tolist()}: numbers from 0 to 1 are needed.")
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
