"""How often readers and models are right: each reader, each experience level, each version; by subgroup and case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lss_core.statistics.agreement import ratio
from lss_core.statistics.bootstrap import bootstrap_figures
from lss_core.statistics.estimate import Estimate, wilson_interval
from lss_core.statistics.influence import ONE_TRIAL
from lss_core.statistics.paired import compare_paired_accuracy
from lss_core.statistics.reader_rates import ReaderRates, rates_of_readers
from lss_core.study.analysis_grid import ALL_READERS, GRADES, NO_GRADE, Grid
from lss_core.study.analysis_values import (
    Counts,
    HardCase,
    Rater,
    RaterKind,
    RaterResult,
    RegionKind,
    Subgroup,
    VersionPair,
)
from lss_core.study.protocol import AnalysisPlan

HARDEST = 30
UNFLAGGED, SOME_FLAG, MOSTLY_FLAGGED = "no remark", "remarked on by some readers", "remarked on by half or more"


@dataclass(frozen=True)
class Graded:
    """A rater and the grades [row, unit] that count as his: a row per reader; NaN not asked, NO_GRADE not gradable."""

    rater: Rater
    arm: str
    grade: np.ndarray


def raters_of(grid: Grid, arm: int | None = None) -> list[Graded]:
    """Readers, experience levels and all readers in an arm (in each, where None), then the models."""
    found = []
    for a in range(len(grid.arms)) if arm is None else [arm]:
        read = ~np.isnan(grid.grade[a]).all(axis=1)
        for r in np.flatnonzero(read):
            rater = Rater(RaterKind.READER, grid.readers[r], grid.experience[r])
            found.append(Graded(rater, grid.arms[a], grid.grade[a, [r]]))
        for level in (*grid.levels, ""):
            own = [r for r in grid.readers_of(level) if read[r]]
            kind = RaterKind.LEVEL if level else RaterKind.READERS
            if own:
                rater = Rater(kind, level or ALL_READERS, "", len(own))
                found.append(Graded(rater, grid.arms[a], grid.grade[a, own]))
    return found + [
        Graded(Rater(RaterKind.MODEL, version, "", 0), "", grid.model_grade[[v]])
        for v, version in enumerate(grid.versions)
    ]


def rate_raters(grid: Grid, kind: RegionKind, plan: AnalysisPlan) -> Iterator[RaterResult]:
    """Every rater's rates on the regions of one kind."""
    raters = raters_of(grid)
    matrices = np.stack([_matrices(each.grade, grid) for each in raters], axis=1)       # [cluster, rater, 4, 4]
    rates = rates_of_readers(matrices, resamples=plan.bootstraps, seed=plan.seed, confidence=1 - plan.alpha)
    accuracies = shares([_right_and_asked(each.grade, grid) for each in raters], plan)
    for rater, own_rates, accuracy in zip(raters, rates, accuracies, strict=True):
        yield _result(kind, rater, grid, own_rates, accuracy)


def _result(kind: RegionKind, rater: Graded, grid: Grid, rates: ReaderRates, accuracy: Estimate) -> RaterResult:
    asked, missed = ~np.isnan(rater.grade), rater.grade == NO_GRADE
    truth = np.broadcast_to(grid.truth, rater.grade.shape)
    counts = Counts(
        int(asked.sum()), int((asked & ~missed).sum()), int(missed.sum()), _by_grade(truth[asked]),
        _by_grade(truth[missed]), len(np.unique(grid.patient[asked.any(axis=0)])),
    )
    return RaterResult(kind, rater.arm, rater.rater, counts, accuracy, rates)


def _by_grade(truth: np.ndarray) -> tuple[int, ...]:
    return tuple(int((truth == grade).sum()) for grade in GRADES)


def _matrices(grade: np.ndarray, grid: Grid) -> np.ndarray:
    """Counts [cluster, reference, rating] of the regions graded."""
    row, unit = np.nonzero(grade >= 0)
    k, patients = len(GRADES), grid.patients
    cell = (grid.cluster[unit] * k + grid.truth[unit].astype(int)) * k + grade[row, unit].astype(int)
    return np.bincount(cell, minlength=patients * k * k).reshape(patients, k, k)


def _right_and_asked(grade: np.ndarray, grid: Grid, of: np.ndarray | None = None) -> np.ndarray:
    """Sums [cluster, 2] of right grades and of regions asked, of the units `of` (bool [unit])."""
    asked = ~np.isnan(grade) if of is None else ~np.isnan(grade) & of
    right = asked & (grade == grid.truth)
    return np.stack([
        np.bincount(grid.cluster, weights=each.sum(axis=0), minlength=grid.patients) for each in (right, asked)
    ], axis=1)


def shares(sums: Sequence[np.ndarray], plan: AnalysisPlan) -> list[Estimate]:
    """Shares of sums [cluster, (hits, all)] with the bootstrap over clusters; one of 0 or 1 has Wilson's interval."""
    if not sums:
        return []
    found = bootstrap_figures(
        np.stack(sums, axis=1), lambda total: ratio(total[..., 0], total[..., 1])[..., None],
        resamples=plan.bootstraps, seed=plan.seed, confidence=1 - plan.alpha,
    )
    return [_bounded(one, int((each[:, 1] > 0).sum()), plan) for (one,), each in zip(found, sums, strict=True)]


def _bounded(share: Estimate, clusters: int, plan: AnalysisPlan) -> Estimate:
    """A share of 0 or 1 varies in no resample; each cluster that was asked is then one trial."""
    if share.value not in (0.0, 1.0) or not np.isnan(share.low):
        return share
    bound = wilson_interval(clusters if share.value else 0, clusters, confidence=1 - plan.alpha)
    return Estimate(bound.value, bound.low, bound.high, clusters, ONE_TRIAL)


def subgroups_of(grid: Grid, kind: RegionKind, plan: AnalysisPlan) -> list[Subgroup]:
    """Levels of experience, all readers and models by disc level, reference grade and image quality, main arm."""
    raters = [each for each in raters_of(grid, grid.main_arm) if each.rater.kind is not RaterKind.READER]
    keys = [
        (attribute, value, of, each)
        for attribute, value, of in _parts(grid) for each in raters
        if (~np.isnan(each.grade) & of).any()
    ]
    sums = [_right_and_asked(each.grade, grid, of) for _, _, of, each in keys]
    return [
        Subgroup(kind, attribute, value, each.rater, accuracy, int(own[:, 1].sum()))
        for (attribute, value, _, each), own, accuracy in zip(keys, sums, shares(sums, plan), strict=True)
    ]


def _parts(grid: Grid) -> Iterator[tuple[str, str, np.ndarray]]:
    for level in sorted(set(grid.level.tolist())):
        yield "level", level or "not stated", grid.level == level
    for grade in GRADES:
        yield "reference grade", str(grade), grid.truth == grade
    if grid.flagged.any():
        yield "image quality", UNFLAGGED, grid.flagged == 0
        yield "image quality", SOME_FLAG, (grid.flagged > 0) & (grid.flagged < 0.5)
        yield "image quality", MOSTLY_FLAGGED, grid.flagged >= 0.5


def hardest_cases(grid: Grid, *, most: int = HARDEST) -> tuple[HardCase, ...]:
    """The regions that the smallest share of readers got right in the main arm, the widest misses first."""
    grade = grid.grade[grid.main_arm]
    asked, graded = ~np.isnan(grade), grade >= 0
    right = (graded & (grade == grid.truth)).sum(axis=0)
    n, given = asked.sum(axis=0), graded.sum(axis=0)
    distance = ratio(np.where(graded, np.abs(grade - grid.truth), 0.0).sum(axis=0), given)
    share = ratio(right, n)
    order = np.lexsort((grid.region, grid.case, -np.nan_to_num(distance), share))
    return tuple(
        HardCase(
            str(grid.case[u]), str(grid.region[u]), str(grid.level[u]), int(grid.truth[u]), int(n[u]), int(right[u]),
            int(n[u] - given[u]), float(distance[u]), tuple(int((grade[:, u] == g).sum()) for g in GRADES),
            tuple((name, int(grid.model_grade[v, u])) for v, name in enumerate(grid.versions)),
        )
        for u in order if n[u] and right[u] < n[u]
    )[:most]


def compare_versions(grid: Grid, kind: RegionKind, plan: AnalysisPlan) -> list[VersionPair]:
    """Every two model versions on the same regions."""
    right = grid.model_grade == grid.truth
    pairs = [(a, b) for a in range(len(grid.versions)) for b in range(a + 1, len(grid.versions))]
    found = []
    for a, b in pairs:
        test = compare_paired_accuracy(right[a], right[b], grid.patient, resamples=plan.bootstraps, seed=plan.seed)
        found.append(VersionPair(
            kind, grid.versions[a], grid.versions[b], len(grid.truth), test.difference, test.p_value,
            float("nan") if test.p_unclustered is None else test.p_unclustered, test.method,
        ))
    return found
