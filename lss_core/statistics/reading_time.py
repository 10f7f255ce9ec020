"""Reading times: the ratio of two arms for readers and cases like these, and how times change along a session.

Times are compared as logarithms of seconds, so that a mean is a geometric mean and a difference a ratio. Reader and
case are crossed and random, the arm is fixed: log s = arm + reader + case + their interactions + residual, solved by
the analysis of variance of a complete table. On mean log seconds this is the analysis of Obuchowski, Rockette and
Hillis (`mrmc`), whose error covariances over cases then hold the components of the cases (`TimeComponents`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lss_core.statistics.estimate import Estimate
from lss_core.statistics.mrmc import RANDOM, Difference, MrmcAnalysis, obuchowski_rockette
from lss_core.statistics.mrmc_covariance import reader_merits
from lss_core.statistics.mrmc_interval import p_of_zero, with_t_interval
from lss_core.statistics.mrmc_levels import mean_of_groups
from lss_core.statistics.mrmc_merit import mean_score
from lss_core.statistics.mrmc_readings import Readings


@dataclass(frozen=True)
class TimeComponents:
    """Variances of log seconds in a fully crossed study with a case to a cluster; estimates can be negative.

    With K cases and the covariances of the mean log seconds: reader and arm x reader as in `mrmc.Components`, case
    K Cov3, arm x case K (Cov2 - Cov3), reader x case K (Cov1 - Cov3), residual K (Var - Cov1 - Cov2 + Cov3).
    """

    reader: float
    case: float
    reader_case: float
    arm_reader: float
    arm_case: float
    residual: float


@dataclass(frozen=True)
class TimeRatio:
    """Time under the first arm as a multiple of that under the second, and the p-value of 1.

    Attributes:
        adjusted: Whether the order in which readers met the two arms is allowed for.
        second_session: Time in the second session as a multiple of that in the first, where adjusted.
    """

    first: str
    second: str
    ratio: Estimate
    df: float
    p_value: float
    adjusted: bool = False
    second_session: Estimate | None = None


@dataclass(frozen=True)
class ReadingTimes:
    """Geometric mean seconds per arm, ratios of arms, and what they rest on."""

    seconds: dict[str, Estimate]
    ratios: tuple[TimeRatio, ...]
    components: TimeComponents | None
    analysis: MrmcAnalysis


def compare_times(
    seconds: Readings, *, first_arm: Mapping[str, str] | None = None, readers: str = RANDOM, cases: str = RANDOM,
    confidence: float = 0.95,
) -> ReadingTimes:
    """Compare the reading times of arms.

    Args:
        seconds: Complete readings whose scores are seconds.
        first_arm: By reader, which of two arms came first (a crossover). The ratio is then the mean of the two orders'
            ratios, weighing them alike, so that what readers learned until the second session falls out.

    Raises:
        ValueError: a time is not above 0; or the order of a reader is not known or not of one of two arms.
    """
    logs = _logs(seconds)
    merits = reader_merits(logs, mean_score())
    analysis = obuchowski_rockette(merits, readers=readers, cases=cases, confidence=confidence)
    if first_arm is None:
        ratios = tuple(TimeRatio(each.first, each.second, _exponential(each.estimate), each.df, each.p_value)
                       for each in analysis.differences)
    else:
        ratios = (_in_crossover(analysis, first_arm, readers, confidence),)
    return ReadingTimes({each.arm: _exponential(each.estimate) for each in analysis.means}, ratios,
                        _components(analysis), analysis)


def _logs(seconds: Readings) -> Readings:
    wrong = np.argwhere(seconds.score <= 0)
    if len(wrong):
        arm, reader, case = wrong[0]
        raise ValueError(f"Reader {seconds.readers[reader]} read case {seconds.cases[case]} in "
                         f"{seconds.score[arm, reader, case]:g} seconds: a time above 0 is needed.")
    return replace(seconds, score=np.log(seconds.score))


def _exponential(estimate: Estimate) -> Estimate:
    """From log seconds to seconds, or to a ratio."""
    return replace(estimate, value=math.exp(estimate.value), low=math.exp(estimate.low), high=math.exp(estimate.high),
                   method=estimate.method.replace("mean,", "geometric mean,", 1))


def _in_crossover(
    analysis: MrmcAnalysis, first_arm: Mapping[str, str], readers: str, confidence: float,
) -> TimeRatio:
    """Readers in two groups by order: half the sum of their mean differences is the arm, half the difference the order.
    """
    merits = analysis.merits
    if len(merits.arms) != 2 or merits.readings.readers_nested:
        raise ValueError(f"Order of {len(merits.arms)} arms: a crossover has two, and each reader reads under both.")
    order = [first_arm.get(reader, "") for reader in merits.readers]
    unknown = [(reader, arm) for reader, arm in zip(merits.readers, order, strict=True) if arm not in merits.arms]
    if unknown:
        raise ValueError(f'Reader {unknown[0][0]} began with "{unknown[0][1]}": one of {", ".join(merits.arms)} is '
                         "needed.")
    groups = [np.array([r for r, arm in enumerate(order) if arm == name], int) for name in merits.arms]
    if not all(map(len, groups)):
        raise ValueError(f"All readers began with {order[0]}: arm and order cannot be told apart.")
    figure = merits.value[0] - merits.value[1]
    covariance = np.einsum("a,arbs,b->rs", [1.0, -1.0], merits.covariance, [1.0, -1.0])
    found = []
    for weights in ((0.5, 0.5), (-0.5, 0.5)):
        mean = mean_of_groups(figure, covariance, groups, weights, readers=readers)
        found.append((mean, *with_t_interval(
            mean.value, mean.variance, mean.df, n=merits.n, method="geometric mean ratio, adjusted for order",
            undefined=merits.undefined or mean.undefined, confidence=confidence)))
    (arm, ratio, se), (_, session, _) = found
    return TimeRatio(*merits.arms, _exponential(ratio), arm.df, p_of_zero(arm.value, se, arm.df), True,
                     _exponential(session))


def _components(analysis: MrmcAnalysis) -> TimeComponents | None:
    """None where the design is not fully crossed, or cases come in clusters."""
    merits, parts = analysis.merits, analysis.components
    cases = len(merits.readings.cases)
    if merits.design != "fully crossed" or merits.n < cases or len(merits.arms) < 2:
        return None
    return TimeComponents(
        parts.var_reader, cases * parts.cov3, cases * (parts.cov1 - parts.cov3), parts.var_interaction,
        cases * (parts.cov2 - parts.cov3), cases * (parts.var_error - parts.cov1 - parts.cov2 + parts.cov3),
    )


def time_trend(
    readers: Sequence[str], position: Sequence[float], seconds: Sequence[float], *, per: float = 2.0,
    confidence: float = 0.95,
) -> Difference:
    """Time as a multiple when the position in a session grows `per`-fold: below 1 is learning, above 1 fatigue.

    A regression of log seconds on the logarithm of the position within each reader, and a t interval over the readers'
    slopes. It rests on an order of cases that is random for each reader, or slow cases could lie late for all.

    Args:
        position: From 1, in the order in which the reader read.

    Returns:
        A Difference whose estimate is the multiple; not estimable with one reader.
    """
    names, places, times = np.asarray(readers), np.asarray(position, float), np.asarray(seconds, float)
    if not names.shape == places.shape == times.shape:
        raise ValueError(f"{names.shape} readers, {places.shape} positions and {times.shape} times: not as many.")
    if (places < 1).any() or (times <= 0).any():
        raise ValueError("Positions count from 1 and times are above 0 seconds.")
    slopes = []
    for name in np.unique(names):
        own = names == name
        if len(np.unique(places[own])) < 3:
            raise ValueError(f"Reader {name} has fewer than three positions: leave the reader out and report it.")
        slopes.append(float(np.polyfit(np.log(places[own]), np.log(times[own]), 1)[0]) * math.log(per))
    several = len(slopes) > 1
    estimate, se = with_t_interval(
        float(np.mean(slopes)), float(np.var(slopes, ddof=1)) / len(slopes) if several else math.nan, len(slopes) - 1,
        n=len(slopes), method=f"log seconds on log position, {len(slopes)} readers",
        undefined="" if several else "a single reader says nothing of other readers", confidence=confidence,
    )
    return Difference("later", "earlier", _exponential(estimate), se, len(slopes) - 1,
                      p_of_zero(float(np.mean(slopes)), se, len(slopes) - 1))
