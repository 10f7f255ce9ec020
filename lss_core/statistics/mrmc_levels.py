"""Groups of readers, such as experience levels: each alone, and one against another on the same cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lss_core.statistics.influence import LEAST_VARIANCE
from lss_core.statistics.mrmc import FIXED, ONE_READER, RANDOM, Difference, MrmcAnalysis, obuchowski_rockette
from lss_core.statistics.mrmc_covariance import ReaderMerits, reader_merits
from lss_core.statistics.mrmc_interval import p_of_zero, with_t_interval
from lss_core.statistics.mrmc_merit import Merit
from lss_core.statistics.mrmc_readings import Readings


@dataclass(frozen=True)
class GroupMean:
    """A weighted sum of the means of groups of readers; `undefined` says why the variance is NaN."""

    value: float
    variance: float
    df: float
    undefined: str = ""


@dataclass(frozen=True)
class LevelComparison:
    """First minus second level, in what `of` names: an arm, or the difference of two arms."""

    of: str
    difference: Difference


def by_level(
    readings: Readings, merit: Merit, level: Mapping[str, str], *, method: str = "jackknife", readers: str = RANDOM,
    cases: str = RANDOM, confidence: float = 0.95, seed: int = 0,
) -> dict[str, MrmcAnalysis]:
    """The analysis of each level's readers alone, levels in sorted order.

    Args:
        level: By the reader's name.

    Raises:
        ValueError: a reader has no level.
    """
    found = {}
    for name, members in _members(readings.readers, level).items():
        own = replace(readings, score=readings.score[:, members],
                      readers=tuple(readings.readers[r] for r in members))
        own = _without_unread_cases(own)
        merits = reader_merits(own, merit, method=method, seed=seed)
        found[name] = obuchowski_rockette(merits, readers=readers, cases=cases, confidence=confidence)
    return found


def _without_unread_cases(readings: Readings) -> Readings:
    kept = np.any(readings.read, axis=(0, 1))
    return replace(readings, score=readings.score[:, :, kept], truth=readings.truth[kept],
                   clusters=readings.clusters[kept], cases=tuple(np.array(readings.cases)[kept].tolist()))


def compare_levels(
    merits: ReaderMerits, level: Mapping[str, str], first: str, second: str, *, readers: str = RANDOM,
    confidence: float = 0.95,
) -> tuple[LevelComparison, ...]:
    """First minus second level under each arm, and in each difference of two arms: does one gain more from an aid?

    Readers are nested in levels and read the same cases (Hillis, Stat. Med. 2014;33:330-360), each level with a mean
    square of its own, as for means of unequal variance; the degrees of freedom are Satterthwaite's (`mean_of_groups`).
    A level is a property of the reader, not assigned: a difference of levels is a description, not an effect.

    Args:
        merits: Of readers who read under all arms.

    Raises:
        ValueError: a reader has no level, a level has no reader, or readers are nested in arms.
    """
    members = _members(merits.readers, level)
    absent = [name for name in (first, second) if name not in members]
    if absent:
        raise ValueError(f'Level "{absent[0]}" has no reader: {", ".join(members)} have.')
    if merits.readings.readers_nested:
        raise ValueError("Readers are nested in arms, so that levels cannot be compared within readers.")
    groups = [np.array(members[first]), np.array(members[second])]
    arms = len(merits.arms)
    contrasts = [(merits.arms[a], np.eye(arms)[a]) for a in range(arms)]
    contrasts += [(f"{merits.arms[a]} - {merits.arms[b]}", np.eye(arms)[a] - np.eye(arms)[b])
                  for a in range(arms) for b in range(a + 1, arms)]
    return tuple(
        LevelComparison(of, _compared(merits, weights, groups, (first, second), readers, confidence))
        for of, weights in contrasts
    )


def _compared(
    merits: ReaderMerits, weights: np.ndarray, groups: Sequence[np.ndarray], names: tuple[str, str], readers: str,
    confidence: float,
) -> Difference:
    figure = weights @ merits.value
    covariance = np.einsum("a,arbs,b->rs", weights, merits.covariance, weights)
    mean = mean_of_groups(figure, covariance, groups, (1.0, -1.0), readers=readers)
    estimate, se = with_t_interval(
        mean.value, mean.variance, mean.df, n=merits.n, undefined=merits.undefined or mean.undefined,
        confidence=confidence, method=f"{merits.merit.name}, readers nested in levels, {merits.method}",
    )
    return Difference(*names, estimate, se, mean.df, p_of_zero(mean.value, se, mean.df))


def _members(readers: Sequence[str], level: Mapping[str, str]) -> dict[str, list[int]]:
    missing = [reader for reader in readers if reader not in level]
    if missing:
        raise ValueError(f"Reader {missing[0]} has no level: give each reader one.")
    return {name: [r for r, reader in enumerate(readers) if level[reader] == name]
            for name in sorted({level[reader] for reader in readers})}


def mean_of_groups(
    figure: np.ndarray, covariance: np.ndarray, groups: Sequence[np.ndarray], weights: Sequence[float], *,
    readers: str = RANDOM,
) -> GroupMean:
    """sum w_g mean_g of readers' figures, with its variance over readers and cases.

    sum w_g^2 MS_g / r_g + max(sum w_g w_h C_gh, 0), where MS_g is the mean square of the group's r_g readers and C_gh
    the mean covariance of two different readers of the groups g and h; degrees of freedom by Satterthwaite (Biometrics
    Bull. 1946;2:110-114) from the mean squares. For one group it is the mean of Obuchowski, Rockette and Hillis. With
    fixed readers it is w' S w with the covariance S itself.

    Args:
        figure: [reader].
        covariance: [reader, reader], over cases.
        groups: Places of the readers of each group; a reader is in one at most.
    """
    means = np.array([figure[members].mean() for members in groups])
    w = np.asarray(weights, float)
    value = float(w @ means)
    if readers == FIXED:
        each = np.zeros(len(figure))
        for weight, members in zip(w, groups, strict=True):
            each[members] = weight / len(members)
        return GroupMean(value, float(each @ covariance @ each), math.inf)
    if min(len(members) for members in groups) < 2:
        return GroupMean(value, math.nan, math.nan, ONE_READER)
    parts = w**2 * np.array([figure[members].var(ddof=1) / len(members) for members in groups])
    shared = np.array([[_shared(covariance, g, h) for h in groups] for g in groups])
    variance = float(parts.sum() + max(w @ shared @ w, 0.0))
    spread = float((parts**2 / [len(members) - 1 for members in groups]).sum())
    return GroupMean(value, variance, variance**2 / spread if parts.sum() > LEAST_VARIANCE else math.inf)


def _shared(covariance: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Mean covariance of two different readers, one of each group."""
    pairs = covariance[np.ix_(first, second)]
    return float(pairs[first[:, None] != second[None]].mean())
