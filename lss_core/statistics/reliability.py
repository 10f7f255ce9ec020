"""Intraclass correlations of numeric ratings, such as measured areas: all six forms with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f as f_distribution

from lss_core.statistics.estimate import Estimate, without_figure, without_interval

LEAST_SHARE = 1e-12         # of one mean square in another; below it is rounding
Form = Literal["1", "A,1", "C,1", "1,k", "A,k", "C,k"]


@dataclass(frozen=True)
class IntraclassCorrelation:
    """An ICC, and the F test that it is zero; statistic, df and p are None where the estimate is undefined."""

    estimate: Estimate
    f_statistic: float | None = None
    df: tuple[int, int] | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class _MeanSquares:
    """Of n cases by k raters: between cases, between raters, residual, and within cases (one-way)."""

    n: int
    k: int
    cases: float
    raters: float
    residual: float
    within: float


def intraclass_correlation(
    ratings: ArrayLike, *, form: Form = "A,1", confidence: float = 0.95
) -> IntraclassCorrelation:
    """ICC of complete ratings [case, rater] (Shrout and Fleiss, Psychol. Bull. 1979;86:420-428; names and intervals of
    McGraw and Wong, Psychol. Methods 1996;1:30-46).

    One way, each case with its own raters: "1" = (MSR - MSW) / (MSR + (k-1) MSW). Two ways, consistency: "C,1" with
    the residual MSE in place of MSW. Two ways, absolute agreement: "A,1" = (MSR - MSE) / (MSR + (k-1) MSE +
    k (MSC - MSE) / n). With ",k" it is the reliability of the mean of the k raters.

    Example:
        Six cases, four judges (Shrout and Fleiss 1979, table 2), who print .29 for their ICC(2,1):

        >>> judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
        >>> print(intraclass_correlation(judges, form="A,1").estimate)
        0.290 (0.019-0.761)

    Returns:
        Undefined for a single case or ratings that are all equal; without an interval where no rating departs from
        the others of its case. It may be negative: raters agree less than chance.

    Raises:
        ValueError: a missing rating, fewer than two raters, an unknown form.
    """
    if form not in get_args(Form):
        raise ValueError(f'Form "{form}": {", ".join(get_args(Form))} are known.')
    values, method = _complete(ratings), f"ICC({form})"
    if len(values) < 2 or np.ptp(values) == 0:
        reason = "all ratings are equal" if len(values) > 1 else "fewer than two cases"
        return IntraclassCorrelation(without_figure(reason, n=len(values), method=method))
    squares = _mean_squares(values)
    error = squares.within if form[0] == "1" else squares.residual
    if min(error, squares.cases) <= LEAST_SHARE * max(error, squares.cases):
        return _without_variance(squares, form, method)
    df = (squares.n - 1, squares.n * (squares.k - 1) if form[0] == "1" else (squares.n - 1) * (squares.k - 1))
    ratio = squares.cases / error
    limits = _limits_of_absolute if form[0] == "A" else _limits_of_ratio
    single = (_single(squares, form), *limits(squares, ratio, df, confidence))
    value, low, high = (_of_mean(each, squares.k) if form[-1] == "k" else each for each in single)
    if math.isinf(value):
        reason = "the cases differ so little that the mean of the raters has no reliability"
        return IntraclassCorrelation(without_figure(reason, n=squares.n, method=method))
    estimate = Estimate(value, low, high, squares.n, method)
    return IntraclassCorrelation(estimate, ratio, df, float(f_distribution.sf(ratio, *df)))


def _complete(ratings: ArrayLike) -> np.ndarray:
    values = np.asarray(ratings, float)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"Ratings of shape {values.shape}: [case, rater] of at least two raters is needed.")
    if not np.isfinite(values).all():
        case, rater = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"Case {case + 1} has no rating by rater {rater + 1}: leave such cases out for all raters and report them."
        )
    return values


def _mean_squares(values: np.ndarray) -> _MeanSquares:
    n, k = values.shape
    grand, of_cases, of_raters = values.mean(), values.mean(axis=1), values.mean(axis=0)
    apart = values - of_cases[:, None]
    residual = apart - (of_raters - grand)
    return _MeanSquares(
        n, k, cases=float(k * ((of_cases - grand) ** 2).sum() / (n - 1)),
        raters=float(n * ((of_raters - grand) ** 2).sum() / (k - 1)),
        residual=float((residual**2).sum() / ((n - 1) * (k - 1))), within=float((apart**2).sum() / (n * (k - 1))),
    )


def _single(squares: _MeanSquares, form: str) -> float:
    """The ICC of one rating."""
    n, k = squares.n, squares.k
    error = squares.within if form[0] == "1" else squares.residual
    of_raters = k * (squares.raters - error) / n if form[0] == "A" else 0.0
    return (squares.cases - error) / (squares.cases + (k - 1) * error + of_raters)


def _limits_of_ratio(
    squares: _MeanSquares, ratio: float, df: tuple[int, int], confidence: float
) -> tuple[float, float]:
    upper, k = 0.5 + confidence / 2, squares.k
    low = ratio / float(f_distribution.ppf(upper, *df))
    high = ratio * float(f_distribution.ppf(upper, df[1], df[0]))
    return (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)


def _limits_of_absolute(
    squares: _MeanSquares, ratio: float, df: tuple[int, int], confidence: float
) -> tuple[float, float]:
    """With Satterthwaite's degrees of freedom v (McGraw and Wong 1996, table 7), those of an ICC of 0 below it."""
    n, k, value = squares.n, squares.k, max(0.0, _single(squares, "A,1"))
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    of_raters, of_residual = a * squares.raters, b * squares.residual
    v = (of_raters + of_residual) ** 2 / (of_raters**2 / (k - 1) + of_residual**2 / df[1])
    upper, error = 0.5 + confidence / 2, k * squares.raters + (k * n - k - n) * squares.residual
    down, up = float(f_distribution.ppf(upper, n - 1, v)), float(f_distribution.ppf(upper, v, n - 1))
    low = n * (squares.cases - down * squares.residual) / (down * error + n * squares.cases)
    return low, n * (up * squares.cases - squares.residual) / (error + n * up * squares.cases)


def _of_mean(single: float, k: int) -> float:
    """Spearman and Brown's step from one rating to the mean of k; -inf below -1 / (k - 1), where it has no meaning."""
    return k * single / (1 + (k - 1) * single) if 1 + (k - 1) * single > 0 else -math.inf


def _without_variance(squares: _MeanSquares, form: str, method: str) -> IntraclassCorrelation:
    """Cases that do not differ, or raters who differ by constants at most."""
    if squares.cases <= squares.residual:
        return IntraclassCorrelation(without_figure("the cases' means are equal", n=squares.n, method=method))
    value = _single(squares, form)
    value = _of_mean(value, squares.k) if form[-1] == "k" else value
    return IntraclassCorrelation(without_interval(value, "no residual variance", n=squares.n, method=method))
