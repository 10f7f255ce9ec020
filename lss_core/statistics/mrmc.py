"""Multi-reader multi-case inference: do arms differ, for readers and cases like these?

The analysis of variance of Obuchowski and Rockette (Commun. Stat. Simul. Comput. 1995;24:285-308) on the readers'
figures of merit, with the degrees of freedom of Hillis (Stat. Med. 2007;26:596-619), and for designs that are not
fully crossed by marginal means (Hillis, Stat. Med. 2014;33:330-360). With t arms, r readers in b blocks of r_g, the
mean squares within blocks, and Var, Cov1 (same reader, other arm), Cov2 (other reader of the block, same arm) and Cov3
(both other) averaged over cells, the test of equal arms is F(t - 1, ddf) = MS(A) / E:

    random readers and cases   E = MS(A*R) + c max(Cov2 - Cov3, 0),  c = sum r_g^2 / r, which is r without blocks,
                               ddf = E^2 / (MS(A*R)^2 / ((t - 1) (r - b)))
    fixed readers              E = Var - Cov1 + (c - 1) max(Cov2 - Cov3, 0), chi-square: these readers, other cases
    fixed cases                E = MS(A*R), ddf = (t - 1) (r - 1): other readers, these cases

and a difference of two arms has the variance 2 E / r. Only the sum is clipped: components are reported as they come
out, negative ones too. Where each reader has cases of his own, Cov2 = Cov3 = 0 and the mean squares are over all.
Where readers are nested in arms MS(R(A)) and its degrees of freedom r - t take the place of MS(A*R), and the harmonic
mean of the arms' numbers of readers that of r.

With three readers or fewer nothing can be said of other readers: take them for fixed, and say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import chi2, f

from lss_core.statistics.estimate import Estimate, without_figure
from lss_core.statistics.influence import LEAST_VARIANCE
from lss_core.statistics.mrmc_components import (
    Components,
    centred_in_blocks,
    components_of,
    counting_readers,
    degrees_between,
    shared_weight,
)
from lss_core.statistics.mrmc_covariance import ReaderMerits
from lss_core.statistics.mrmc_interval import p_of_zero, satterthwaite, with_t_interval

RANDOM, FIXED = "random", "fixed"
NO_READER = "no reader reads under this arm"
ONE_READER = "a single reader says nothing of other readers: take readers for fixed"


@dataclass(frozen=True)
class ArmTest:
    """The test that all arms are equal; `undefined` says why it is NaN."""

    name: str               # "F" or "chi-square"
    statistic: float
    df1: float
    df2: float              # inf for chi-square
    error_term: float
    p_value: float
    undefined: str = ""


@dataclass(frozen=True)
class ArmMean:
    """An arm's mean over its readers, from this arm's readings alone."""

    arm: str
    estimate: Estimate
    se: float
    df: float
    ms_reader: float
    var_error: float
    cov2: float


@dataclass(frozen=True)
class Difference:
    """First minus second arm, of all readers or of one, and the two-sided p-value of no difference."""

    first: str
    second: str
    estimate: Estimate
    se: float
    df: float
    p_value: float
    reader: str = ""


@dataclass(frozen=True)
class MrmcAnalysis:
    """The whole analysis of a figure of merit."""

    merits: ReaderMerits
    readers_are: str
    cases_are: str
    components: Components
    test: ArmTest
    means: tuple[ArmMean, ...]
    differences: tuple[Difference, ...]
    by_reader: tuple[Difference, ...]


def obuchowski_rockette(
    merits: ReaderMerits, *, readers: str = RANDOM, cases: str = RANDOM, confidence: float = 0.95,
) -> MrmcAnalysis:
    """Analyse figures of merit; see the module for the formulas.

    Args:
        readers: "random" speaks of readers like these, "fixed" of these alone.
        cases: Likewise.

    Returns:
        What the data do not define (one arm, one reader taken for random, no variance) is NaN with the reason, while
        the rest stands. Two arms that are equal in every reading differ by 0 with p = 1 and no interval.
    """
    if readers not in (RANDOM, FIXED) or cases not in (RANDOM, FIXED):
        raise ValueError(f'Readers "{readers}" and cases "{cases}": each is "random" or "fixed".')
    if readers == cases == FIXED:
        raise ValueError("With readers and cases both fixed there is nothing to infer: take one for random.")
    if not 0 < confidence < 1:
        raise ValueError(f"Confidence {confidence}: a number between 0 and 1 is needed, such as 0.95.")
    components = components_of(merits)
    every = range(len(merits.arms))
    error = _error(merits, components, readers, cases, every)
    return MrmcAnalysis(
        merits, readers, cases, components, _test(merits, components, error, readers),
        tuple(_mean(merits, a, readers, cases, confidence) for a in every),
        tuple(_difference(merits, a, b, _error(merits, components, readers, cases, (a, b)), confidence)
              for a, b in combinations(every, 2)),
        _by_reader(merits, confidence) if cases == RANDOM and not merits.readings.readers_nested else (),
    )


@dataclass(frozen=True)
class _Error:
    """The denominator E, its degrees of freedom, and for how many readers a mean counts; or why there is none."""

    term: float
    df: float
    readers: float
    undefined: str = ""


def _error(
    merits: ReaderMerits, components: Components, readers: str, cases: str, compared: Sequence[int],
) -> _Error:
    """The denominator for the arms compared: it is the same for all, but where nested readers differ in number."""
    arms, nested, r = len(merits.arms), merits.readings.readers_nested, counting_readers(merits, compared)
    if merits.undefined or arms < 2:
        return _Error(math.nan, math.nan, r, merits.undefined or "a single arm has nothing to compare")
    together = r if nested else shared_weight(merits.blocks)
    shared = max(components.cov2 - components.cov3, 0.0)
    if readers == FIXED:
        cov1 = 0.0 if nested else components.cov1
        return _Error(components.var_error - cov1 + (together - 1) * shared, math.inf, r)
    df = len(merits.readers) - arms if nested else (arms - 1) * degrees_between(merits.blocks)
    if not df:
        return _Error(math.nan, math.nan, r, ONE_READER)
    if cases == FIXED:
        df = df if nested else (arms - 1) * (len(merits.readers) - 1)
        return _Error(_interaction_over_all(merits, components), df, r)
    return _Error(*satterthwaite(components.ms_interaction, df, together * shared), r)


def _interaction_over_all(merits: ReaderMerits, components: Components) -> float:
    """MS(A*R) over all readers: with fixed cases the blocks are of no consequence."""
    if merits.readings.readers_nested:
        return components.ms_interaction
    apart = merits.value - merits.value.mean(axis=0)
    apart = apart - apart.mean(axis=1, keepdims=True)
    return float((apart**2).sum() / ((len(merits.arms) - 1) * (len(merits.readers) - 1)))


def _test(merits: ReaderMerits, components: Components, error: _Error, readers: str) -> ArmTest:
    arms = len(merits.arms)
    name = "chi-square" if readers == FIXED else "F"
    if error.undefined:
        return ArmTest(name, math.nan, math.nan, math.nan, math.nan, math.nan, error.undefined)
    df1 = arms - 1
    if error.term <= LEAST_VARIANCE:
        if components.ms_arm <= LEAST_VARIANCE:
            return ArmTest(name, 0.0, df1, error.df, 0.0, 1.0)
        return ArmTest(name, math.nan, df1, error.df, error.term, math.nan, "its estimated variance is zero")
    ratio = components.ms_arm / error.term
    p = chi2.sf(ratio * df1, df1) if math.isinf(error.df) else f.sf(ratio, df1, error.df)
    return ArmTest(name, ratio * df1 if readers == FIXED else ratio, df1, error.df, error.term, float(p))


def _mean(merits: ReaderMerits, a: int, readers: str, cases: str, confidence: float) -> ArmMean:
    """The mean of an arm: variance (MS(R) + c max(Cov2, 0)) / r, from this arm alone."""
    held = merits.readings.reads_in[a]
    if not held.any():
        return _no_mean(merits, a)
    value, blocks = merits.value[a][held], merits.blocks[held]
    covariance = merits.covariance[a][held][:, a][:, held]
    r, together = len(value), shared_weight(blocks)
    near = (blocks[:, None] == blocks) & ~np.eye(r, dtype=bool)
    var, cov2 = float(np.diag(covariance).mean()), float(covariance[near].mean()) if near.any() else 0.0
    ms = float((centred_in_blocks(value[None], blocks) ** 2).sum() / degrees_between(blocks)) if r > 1 else math.nan
    term, df, undefined = math.nan, math.nan, merits.undefined
    if readers == FIXED:
        term, df = var + (together - 1) * max(cov2, 0.0), math.inf
    elif r < 2:
        undefined = undefined or ONE_READER
    elif cases == FIXED:
        term, df = float(value.var(ddof=1)), r - 1.0
    else:
        term, df = satterthwaite(ms, degrees_between(blocks), together * max(cov2, 0.0))
    method = f"{merits.merit.name}, mean of {r} readers, Obuchowski-Rockette, {merits.method}"
    estimate, se = with_t_interval(float(value.mean()), term / r, df, n=merits.n, method=method, undefined=undefined,
                                   confidence=confidence, within=merits.merit.bounds)
    return ArmMean(merits.arms[a], estimate, se, df, ms, var, cov2)


def _no_mean(merits: ReaderMerits, a: int) -> ArmMean:
    method = f"{merits.merit.name}, mean of 0 readers"
    estimate = without_figure(merits.undefined or NO_READER, n=merits.n, method=method)
    return ArmMean(merits.arms[a], estimate, *[math.nan] * 5)


def _difference(merits: ReaderMerits, a: int, b: int, error: _Error, confidence: float) -> Difference:
    reads_in = merits.readings.reads_in
    value = math.nan
    if reads_in[a].any() and reads_in[b].any():
        value = float(merits.value[a][reads_in[a]].mean() - merits.value[b][reads_in[b]].mean())
    estimate, se = with_t_interval(
        value, 2 * error.term / error.readers, error.df, n=merits.n, undefined=error.undefined, confidence=confidence,
        method=f"{merits.merit.name}, Obuchowski-Rockette, {merits.method}",
    )
    return Difference(merits.arms[a], merits.arms[b], estimate, se, error.df, p_of_zero(value, se, error.df))


def _by_reader(merits: ReaderMerits, confidence: float) -> tuple[Difference, ...]:
    """Each reader alone, with his variance 2 (Var - Cov1) averaged over the arms."""
    arms, found = len(merits.arms), []
    for r, reader in enumerate(merits.readers):
        covariance = merits.covariance[:, r, :, r]
        others = (covariance.sum() - np.trace(covariance)) / (arms * (arms - 1)) if arms > 1 else math.nan
        variance = 2 * (float(np.trace(covariance)) / arms - float(others))
        for a, b in combinations(range(arms), 2):
            value = float(merits.value[a, r] - merits.value[b, r])
            estimate, se = with_t_interval(
                value, variance, math.inf, n=merits.n, method=f"{merits.merit.name}, one reader, {merits.method}",
                undefined=merits.undefined, confidence=confidence,
            )
            found.append(Difference(merits.arms[a], merits.arms[b], estimate, se, math.inf,
                                    p_of_zero(value, se, math.inf), reader))
    return tuple(found)
