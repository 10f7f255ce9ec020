"""Power and precision of a future study, from the components that a past one estimated.

Hillis, Obuchowski and Berbaum, Acad. Radiol. 2011;18:129-142 (updated in Hillis and Schartz, J. Med. Imaging
2018;5:045503), for fully crossed studies of two arms. With J readers and K cases, s2 = max(Var(A*R), 0) of the past
study, its covariances times q = past cases / K, and C = max(Cov2 - Cov3, 0):

    random readers and cases   E = s2 + q (Var - Cov1 + (J - 1) C),
                               ddf = (J - 1) E^2 / (s2 + q (Var - Cov1 - C))^2
    fixed readers              E = q (Var - Cov1 + (J - 1) C),  chi-square
    fixed cases                E = s2 + q (Var - Cov1 - C),     ddf = J - 1

the difference d of two arms has the standard error sqrt(2 E / J), and F(1, ddf) the noncentrality J d^2 / (2 E). A
model against readers is such a study too: the model is one arm (`mrmc_standalone`). K counts what the past study
counted: patients where it was clustered by patient, positive cases alone for a sensitivity. The mix of grades is taken
to be the past study's. Components from a small pilot are themselves uncertain, and the power with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.stats import nct, norm, t

from lss_core.statistics.mrmc import FIXED, RANDOM
from lss_core.statistics.mrmc_components import Components

MOST_CASES = 100_000


@dataclass(frozen=True)
class PlannedStudy:
    """What a study of this size can show.

    Attributes:
        power: Chance of p < alpha if the difference is as assumed; with a margin, of showing that it is above -margin
            with a one-sided alpha / 2.
        half_width: Of the two-sided 1 - alpha interval of the difference.
    """

    readers: int
    cases: int
    difference: float
    margin: float | None
    power: float
    half_width: float
    se: float
    df: float


@dataclass(frozen=True)
class NeededCases:
    """The fewest cases that reach a goal; None, with the reason, where no number does."""

    cases: int | None
    study: PlannedStudy
    undefined: str = ""


def plan_study(
    past: Components, *, readers: int, cases: int, difference: float, margin: float | None = None,
    alpha: float = 0.05, readers_are: str = RANDOM, cases_are: str = RANDOM,
) -> PlannedStudy:
    """Power and precision of a fully crossed study of two arms.

    Args:
        past: From a fully crossed study of two or more arms.
        difference: First minus second arm, as assumed.
        margin: For a study of non-inferiority of the first arm.

    Raises:
        ValueError: components that are not estimated, fewer than 2 random readers or cases, or numbers out of range.
    """
    _check(past, readers, cases, alpha, margin, readers_are, cases_are)
    scale = past.cases / cases
    between, shared = max(past.var_interaction, 0.0), max(past.cov2 - past.cov3, 0.0)
    if readers_are == FIXED:
        between = 0.0
    others = 0.0 if cases_are == FIXED else shared * readers
    own = between + scale * (past.var_error - past.cov1 - shared)
    error = own + scale * others
    if error <= 0:
        raise ValueError("The past study's components leave no variance: there is nothing to plan with.")
    df = math.inf if readers_are == FIXED else (readers - 1) * (error / own) ** 2 if own > 0 else math.inf
    se = math.sqrt(2 * error / readers)
    return PlannedStudy(readers, cases, difference, margin, _power(difference, margin, se, df, alpha),
                        float(t.ppf(1 - alpha / 2, df)) * se, se, df)


def _power(difference: float, margin: float | None, se: float, df: float, alpha: float) -> float:
    """By the noncentral t, two-sided without a margin: noncentral F(1, df) is its square."""
    critical, off = float(t.ppf(1 - alpha / 2, df)), (difference + (margin or 0.0)) / se
    law = norm(loc=off) if math.isinf(df) else nct(df, off)
    return float(law.sf(critical) if margin is not None else law.sf(critical) + law.cdf(-critical))


def _check(
    past: Components, readers: int, cases: int, alpha: float, margin: float | None, readers_are: str, cases_are: str,
) -> None:
    if any(map(math.isnan, (past.var_error, past.cov1, past.cov2, past.cov3))):
        raise ValueError("Components with Cov1, Cov2 and Cov3 are needed: those of a fully crossed study of arms.")
    if readers_are == RANDOM and math.isnan(past.var_interaction):
        raise ValueError("Var(A*R) was not estimated: random readers need a past study of two readers or more.")
    if {readers_are, cases_are} - {RANDOM, FIXED} or readers_are == cases_are == FIXED:
        raise ValueError(f'Readers "{readers_are}" and cases "{cases_are}": each is "random" or "fixed", one random.')
    if readers < (1 if readers_are == FIXED else 2) or cases < 2:
        raise ValueError(f"{readers} readers and {cases} cases: at least 2 cases, and 2 readers who are random, are "
                         "needed.")
    if not 0 < alpha < 1 or (margin is not None and not margin > 0):
        raise ValueError(f"Alpha {alpha} and margin {margin}: alpha lies between 0 and 1, and a margin is above 0.")


def cases_for_power(
    past: Components, *, readers: int, difference: float, power: float = 0.8, margin: float | None = None,
    alpha: float = 0.05, readers_are: str = RANDOM, cases_are: str = RANDOM,
) -> NeededCases:
    """The fewest cases that give this many readers the power asked for."""
    if not 0 < power < 1:
        raise ValueError(f"Power {power}: a number between 0 and 1 is needed, such as 0.8.")

    def study(cases: int) -> PlannedStudy:
        return plan_study(past, readers=readers, cases=cases, difference=difference, margin=margin, alpha=alpha,
                          readers_are=readers_are, cases_are=cases_are)

    return _fewest(study, lambda planned: planned.power >= power)


def cases_for_half_width(
    past: Components, *, readers: int, half_width: float, alpha: float = 0.05, readers_are: str = RANDOM,
    cases_are: str = RANDOM,
) -> NeededCases:
    """The fewest cases whose 1 - alpha interval of the difference reaches at most this far to each side."""
    if not half_width > 0:
        raise ValueError(f"Half-width {half_width}: a number above 0, in the unit of the figure, is needed.")

    def study(cases: int) -> PlannedStudy:
        return plan_study(past, readers=readers, cases=cases, difference=0.0, alpha=alpha, readers_are=readers_are,
                          cases_are=cases_are)

    return _fewest(study, lambda planned: planned.half_width <= half_width)


def _fewest(study: Callable[[int], PlannedStudy], reached: Callable[[PlannedStudy], bool]) -> NeededCases:
    """By bisection: more cases never make E larger."""
    most = study(MOST_CASES)
    if not reached(most):
        return NeededCases(None, most, f"{most.readers} readers do not reach it with {MOST_CASES} cases: take more")
    low, high = 1, MOST_CASES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(study(middle)) else (middle, high)
    return NeededCases(high, study(high))
