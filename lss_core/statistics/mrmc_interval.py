"""Intervals and p-values of a mean whose variance has estimated degrees of freedom."""

from __future__ import annotations

import math
from functools import lru_cache

from scipy.stats import norm, t

from lss_core.statistics.estimate import Estimate, without_figure, without_interval
from lss_core.statistics.influence import LEAST_VARIANCE


def satterthwaite(mean_square: float, df: float, added: float) -> tuple[float, float]:
    """(sum, degrees of freedom) of a mean square and a term taken for known: Hillis' ddf; inf where only that is."""
    total = mean_square + added
    return total, total**2 / (mean_square**2 / df) if mean_square > LEAST_VARIANCE else math.inf


def with_t_interval(
    value: float, variance: float, df: float, *, n: int, method: str, undefined: str = "", confidence: float = 0.95,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[Estimate, float]:
    """The estimate with value +- t se, cut to `within`, and se; without an interval where the variance is 0 or NaN."""
    if math.isnan(value):
        return without_figure(undefined or "it is not defined on these cases", n=n, method=method), math.nan
    if undefined:
        return without_interval(value, undefined, n=n, method=method), math.nan
    if variance <= LEAST_VARIANCE:
        return without_interval(value, "its estimated variance is zero", n=n, method=method), 0.0
    se = math.sqrt(variance)
    half = _quantile(confidence, df) * se
    return Estimate(value, max(within[0], value - half), min(within[1], value + half), n, method), se


def p_of_zero(value: float, se: float, df: float) -> float:
    """Two-sided p-value of a mean of 0; 1 for a difference of 0 without variance, NaN for another without."""
    if math.isnan(value) or math.isnan(se):
        return math.nan
    if se == 0:
        return 1.0 if abs(value) < 1e-12 else math.nan
    return float(2 * (norm.sf(abs(value) / se) if math.isinf(df) else t.sf(abs(value) / se, df)))


@lru_cache(maxsize=256)
def _quantile(confidence: float, df: float) -> float:
    return float(t.ppf(0.5 + confidence / 2, df))
