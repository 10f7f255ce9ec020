"""How many cases and readers a study needs, from figures that its planner assumes. Every assumption is an argument.

A pilot's own components are better than assumed ones: give those to `lss_core.statistics.mrmc_power` directly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import norm

from lss_core.statistics.mrmc_components import Components
from lss_core.statistics.mrmc_power import NeededCases, PlannedStudy, cases_for_power, plan_study
from lss_core.vocabulary import Refusal

MOST_CASES = 100_000
UNIT = 1000                                     # cases for which the assumed components are written down


@dataclass(frozen=True)
class NeededForPrecision:
    """The cases that make an accuracy as precise as wanted.

    Attributes:
        independent: How many it would be if no two cases were of one patient.
        design_effect: By how much cases of one patient raise that, 1 + (cases of a patient - 1) x correlation.
    """

    cases: int
    patients: int
    independent: int
    design_effect: float


@dataclass(frozen=True)
class Assumptions:
    """What is assumed of readers and cases before anything is read. The defaults are round figures, not findings.

    Attributes:
        accuracy: Of the average reader.
        interaction_sd: How much the effect of the arm differs from reader to reader (standard deviation, in accuracy).
        same_reader: Correlation of the errors of one reader's accuracies in two arms, over the sampling of cases.
        same_arm: Of two readers in one arm.
        neither: Of two readers in two arms.
    """

    accuracy: float = 0.8
    interaction_sd: float = 0.02
    same_reader: float = 0.5
    same_arm: float = 0.35
    neither: float = 0.3

    def __post_init__(self) -> None:
        _check_share("accuracy", self.accuracy)
        if not (0 <= self.neither <= self.same_arm <= 1 and self.neither <= self.same_reader < 1):
            raise Refusal("The correlations must lie between 0 and 1, and that of two readers in two arms must be the "
                          "smallest.")
        if not 0 <= self.interaction_sd < 0.5:
            raise Refusal(f"A standard deviation of {self.interaction_sd:g} between readers cannot be; give 0 to 0.5.")


def cases_for_precision(
    *, accuracy: float, half_width: float, confidence: float = 0.95, cases_a_patient: float = 1.0,
    correlation: float = 0.0,
) -> NeededForPrecision:
    """The fewest cases whose Wilson interval reaches at most `half_width` to each side, at the accuracy assumed.

    Args:
        cases_a_patient: Levels of one patient that are in the study, on average.
        correlation: Of two levels of a patient being graded right (intra-cluster); Kish's design effect.

    Raises:
        Refusal: a value out of range, or more than 100,000 cases would be needed.
    """
    _check_share("accuracy", accuracy)
    _check_share("confidence", confidence)
    if not 0 < half_width < 0.5:
        raise Refusal(f"A half width of {half_width:g} cannot be; give a share between 0 and 0.5, such as 0.05.")
    if cases_a_patient < 1 or not 0 <= correlation <= 1:
        raise Refusal("Give at least 1 case a patient, and a correlation from 0 to 1.")
    independent = _fewest(accuracy, half_width, confidence)
    effect = 1 + (cases_a_patient - 1) * correlation
    cases = math.ceil(independent * effect)
    return NeededForPrecision(cases, math.ceil(cases / cases_a_patient), independent, effect)


def power_of(
    assumed: Assumptions, *, readers: int, cases: int, difference: float, margin: float | None = None,
    alpha: float = 0.05,
) -> PlannedStudy:
    """Power of a fully crossed study of two arms, readers and cases random (Obuchowski-Rockette, Hillis).

    Args:
        cases: Independent ones: patients, where several levels of a patient are read.
        difference: Of the accuracies of the arms, as assumed.
        margin: Where non-inferiority is to be shown.

    Raises:
        Refusal: numbers out of range, named.
    """
    try:
        return plan_study(_components(assumed), readers=readers, cases=cases, difference=difference, margin=margin,
                          alpha=alpha)
    except ValueError as error:
        raise Refusal(str(error)) from error


def cases_needed(
    assumed: Assumptions, *, readers: int, difference: float, power: float = 0.8, margin: float | None = None,
    alpha: float = 0.05,
) -> NeededCases:
    """The fewest cases that give so many readers this power; see `power_of`.

    Raises:
        Refusal: numbers out of range, named.
    """
    try:
        return cases_for_power(_components(assumed), readers=readers, difference=difference, power=power,
                               margin=margin, alpha=alpha)
    except ValueError as error:
        raise Refusal(str(error)) from error


def _components(assumed: Assumptions) -> Components:
    """Error variance of an accuracy over `UNIT` cases, p (1 - p) / n, shared out by the correlations."""
    variance = assumed.accuracy * (1 - assumed.accuracy) / UNIT
    unknown = math.nan
    return Components(
        ms_arm=unknown, ms_reader=unknown, ms_interaction=unknown, var_reader=unknown,
        var_interaction=assumed.interaction_sd**2, var_error=variance, cov1=assumed.same_reader * variance,
        cov2=assumed.same_arm * variance, cov3=assumed.neither * variance, cases=UNIT,
    )


def _fewest(accuracy: float, half_width: float, confidence: float) -> int:
    """By bisection: more cases make the interval narrower."""
    low, high = 0, MOST_CASES
    if _half_width(accuracy, high, confidence) > half_width:
        raise Refusal(f"A half width of {half_width:g} needs more than {MOST_CASES} cases; ask for less precision.")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _half_width(accuracy, middle, confidence) <= half_width else (middle, high)
    return high


def _half_width(accuracy: float, cases: int, confidence: float) -> float:
    """Of Wilson's interval (`estimate.wilson_interval`), for a share that need not be a whole number of cases."""
    z = float(norm.ppf(0.5 + confidence / 2))
    return z / (1 + z**2 / cases) * math.sqrt(accuracy * (1 - accuracy) / cases + z**2 / (4 * cases**2))


def _check_share(what: str, value: float) -> None:
    if not 0 < value < 1:
        raise Refusal(f"The {what} {value:g} is not between 0 and 1.")
