"""How often a rating is right: rates of a confusion matrix and areas under ROC curves; paired tests are in `paired`.

Confusion matrices are [..., reference, rating], with separate matrices along the leading axes; what is not defined on
them (a sensitivity without a case) is NaN. Comparisons are first minus second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, rankdata, t

from lss_core.statistics.agreement import PerMatrix, checked, per_matrix, ratio, sum_of_cells
from lss_core.statistics.estimate import Estimate, without_figure, without_interval
from lss_core.statistics.influence import LEAST_VARIANCE, from_variance
from lss_core.statistics.paired import (
    ChiSquare,
    Comparison,
    bowker,
    clustered_mcnemar,
    cochran_q,
    compare_paired_accuracy,
    holm,
    mcnemar,
    stuart_maxwell,
)

__all__ = [
    "LEAST_VARIANCE", "ChiSquare", "Comparison", "accuracy", "agresti_coull", "auc", "auc_interval",
    "auc_interval_clustered", "balanced_accuracy", "bowker", "class_rates", "clustered_mcnemar", "cochran_q",
    "compare_auc", "compare_auc_unpaired", "compare_paired_accuracy", "cut_rates", "cut_values", "delong", "holm",
    "macro_f1", "mcnemar", "off_by", "stuart_maxwell",
]


def accuracy(matrix: np.ndarray) -> PerMatrix:
    """Share of cases on the diagonal of [..., K, K].

    Example:
        100 women, two abstractors (Gwet 2014), of whom 89 are on the diagonal:

        >>> accuracy(np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]]))
        0.89
    """
    matrix = checked(matrix)
    return _share(matrix, np.eye(matrix.shape[-1]))


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
    return _share(matrix, np.abs(np.subtract.outer(grades, grades)) >= steps)


def class_rates(matrix: np.ndarray, k: int) -> tuple[PerMatrix, PerMatrix, PerMatrix, PerMatrix]:
    """(sensitivity, specificity, positive and negative predictive value) of category k against all others."""
    return _binary_rates(matrix, np.arange(np.shape(matrix)[-1]) == k)


def cut_rates(matrix: np.ndarray, cut: int) -> tuple[PerMatrix, PerMatrix]:
    """(sensitivity, specificity) where grade >= cut is positive."""
    return _binary_rates(matrix, np.arange(np.shape(matrix)[-1]) >= cut)[:2]


def cut_values(matrix: np.ndarray, cut: int) -> tuple[PerMatrix, PerMatrix]:
    """(positive, negative predictive value) where grade >= cut is positive: of these cases, with their prevalence."""
    return _binary_rates(matrix, np.arange(np.shape(matrix)[-1]) >= cut)[2:]


def _binary_rates(matrix: np.ndarray, positive: np.ndarray) -> tuple[PerMatrix, PerMatrix, PerMatrix, PerMatrix]:
    matrix = checked(matrix)
    quarters = np.stack([
        np.outer(reference, rating).ravel()
        for reference in (positive, ~positive) for rating in (positive, ~positive)
    ], axis=1).astype(float)
    counts = matrix.reshape(*matrix.shape[:-2], -1) @ quarters
    true_positive, missed, false_alarm, true_negative = np.moveaxis(counts, -1, 0)
    return (
        per_matrix(ratio(true_positive, true_positive + missed)),
        per_matrix(ratio(true_negative, true_negative + false_alarm)),
        per_matrix(ratio(true_positive, true_positive + false_alarm)),
        per_matrix(ratio(true_negative, true_negative + missed)),
    )


def _share(matrix: np.ndarray, cells: np.ndarray) -> PerMatrix:
    return per_matrix(ratio(sum_of_cells(matrix, cells.astype(float)), sum_of_cells(matrix, np.ones(cells.shape))))


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the empirical ROC curve: the chance that a positive case scores higher, ties counting half.

    Bamber, J. Math. Psychol. 1975;12:387-415. NaN where a class has no case.

    Example:
        109 CT images of the head rated 1-5, 51 of them abnormal (Hanley and McNeil, Radiology 1982;143:29-36, table 1),
        who print .893:

        >>> ratings = np.repeat([1, 2, 3, 4, 5] * 2, [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
        >>> round(auc(ratings, np.arange(109) >= 58), 3)
        0.893
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
    of_positive, of_negative = placements(scores, positive)
    covariance = np.full((len(of_positive), len(of_positive)), np.nan)
    if min(of_positive.shape[1], of_negative.shape[1]) > 1:
        covariance = (np.atleast_2d(np.cov(of_positive)) / of_positive.shape[1]
                      + np.atleast_2d(np.cov(of_negative)) / of_negative.shape[1])
    return _areas(of_positive, of_negative), covariance


def placements(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    area, variance, n = _area_and_variance(scores, positive, clusters)
    return _with_interval(area, variance, n=n, method=method, confidence=confidence, within=(0.0, 1.0))


def compare_auc(
    a: np.ndarray, b: np.ndarray, positive: np.ndarray, *, clusters: Sequence[str] | np.ndarray | None = None,
    confidence: float = 0.95,
) -> Comparison:
    """Paired test of two scores of the same cases by DeLong, or by Obuchowski 1997 where clusters are given.

    Returns:
        p = 1 where the two areas are equal for every case, as for identical scores; NaN where a class has no case.
    """
    method = "DeLong, paired" if clusters is None else "Obuchowski 1997, paired and clustered"
    of_positive, of_negative = placements(np.stack([np.ravel(a), np.ravel(b)]), positive)
    areas = _areas(of_positive, of_negative)
    difference = float(areas[0] - areas[1])
    apart = of_positive[0] - of_positive[1], of_negative[0] - of_negative[1]
    singly = np.arange(np.size(positive))
    variance, n = _clustered_variance(*apart, positive, singly if clusters is None else clusters)
    estimate = _with_interval(
        difference, variance, n=n, method=method, confidence=confidence, within=(-1.0, 1.0),
    )
    plain = None if clusters is None else _p_of_zero(difference, _clustered_variance(*apart, positive, singly)[0])
    return Comparison(estimate, _p_of_zero(difference, variance), method, plain)


def compare_auc_unpaired(
    a: np.ndarray, positive_a: np.ndarray, b: np.ndarray, positive_b: np.ndarray, *,
    clusters_a: Sequence[str] | np.ndarray | None = None, clusters_b: Sequence[str] | np.ndarray | None = None,
    confidence: float = 0.95,
) -> Comparison:
    """Test of two areas on different cases, such as the patients of two sites, that have no patient in common.

    Student's with Welch and Satterthwaite's degrees of freedom from the two variances of DeLong, or of Obuchowski 1997
    with clusters (as in pROC: Robin et al., BMC Bioinformatics 2011;12:77).

    Example:
        Two scores of 113 patients (Turck et al. 2010), compared as if they were of different ones: WFNS against S100B
        has D = 1.4349 and p = .1528 (pROC, test-roc.test.R).
    """
    area_a, variance_a, n_a = _area_and_variance(a, positive_a, clusters_a)
    area_b, variance_b, n_b = _area_and_variance(b, positive_b, clusters_b)
    clustered = clusters_a is not None or clusters_b is not None
    method = f"{'Obuchowski 1997' if clustered else 'DeLong'}, unpaired, Welch"
    difference, variance, n = area_a - area_b, variance_a + variance_b, n_a + n_b
    df = None
    if variance > 0:
        df = variance**2 / (variance_a**2 / (n_a - 1) + variance_b**2 / (n_b - 1))
    estimate = _with_interval(
        difference, variance, n=n, method=method, confidence=confidence, within=(-1.0, 1.0), df=df,
    )
    return Comparison(estimate, _p_of_zero(difference, variance, df=df), method)


def _area_and_variance(
    scores: np.ndarray, positive: np.ndarray, clusters: Sequence[str] | np.ndarray | None,
) -> tuple[float, float, int]:
    of_positive, of_negative = placements(np.ravel(scores), positive)
    singly = np.arange(np.size(positive))
    variance, n = _clustered_variance(
        of_positive[0], of_negative[0], positive, singly if clusters is None else clusters,
    )
    return float(_areas(of_positive, of_negative)[0]), variance, n


def _p_of_zero(difference: float, variance: float, *, df: float | None = None) -> float:
    if variance == 0:
        return 1.0 if abs(difference) < 1e-12 else math.nan
    statistic = abs(difference) / math.sqrt(variance)
    return float(2 * (norm.sf(statistic) if df is None else t.sf(statistic, df)))


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


def _with_interval(
    value: float, variance: float, *, n: int, method: str, confidence: float, within: tuple[float, float],
    df: float | None = None,
) -> Estimate:
    if math.isnan(value):
        return without_figure("one of the two classes has no case", n=n, method=method)
    if math.isnan(variance):
        return without_interval(value, "a class is in fewer than two cases or clusters", n=n, method=method)
    return from_variance(value, variance, n=n, method=method, df=df, confidence=confidence, within=within)[0]


def agresti_coull(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Adjusted Wald interval of a proportion (Agresti and Coull, Am. Stat. 1998;52:119-126), cut to 0..1.

    Wilson's middle with the plain variance there; wider than Wilson's. It takes the trials for independent.

    Example:
        18 of 20 (R binom.confint):

        >>> print(agresti_coull(18, 20))
        0.900 (0.687-0.984)

    Raises:
        ValueError: not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: a proportion needs 0 <= successes <= n.")
    if n == 0:
        return without_figure("no case", n=0, method="Agresti-Coull")
    z = float(norm.ppf(0.5 + confidence / 2))
    trials = n + z**2
    middle = (successes + z**2 / 2) / trials
    half = z * math.sqrt(middle * (1 - middle) / trials)
    return Estimate(successes / n, max(0.0, middle - half), min(1.0, middle + half), n, "Agresti-Coull")
