"""Operating curves: of the model's probabilities, of readers' confidence, and readers' grades as points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lss_core.statistics.accuracy import auc_interval_clustered
from lss_core.statistics.estimate import Estimate
from lss_core.statistics.mrmc import FIXED, RANDOM, obuchowski_rockette
from lss_core.statistics.mrmc_covariance import reader_merits
from lss_core.statistics.mrmc_merit import area
from lss_core.statistics.roc import RocCurve, average_curve, roc_curve, signed_confidence
from lss_core.study.analysis_grid import GRADES, Grid, without_gaps
from lss_core.study.analysis_mrmc import AVERAGE_READER, FEW_READERS
from lss_core.study.analysis_values import (
    Curve,
    NotEstimable,
    OperatingPoint,
    RaterKind,
    RaterResult,
    RegionKind,
    RocPanel,
)
from lss_core.study.protocol import AnalysisPlan

CUTS = GRADES[1:]


def roc_panels(
    grid: Grid, kind: RegionKind, plan: AnalysisPlan, results: Sequence[RaterResult],
) -> Iterator[RocPanel | NotEstimable]:
    """A panel for each cut: models, the average reader of each arm, and at the plan's cut each reader."""
    for cut in CUTS:
        positive = grid.truth >= cut
        if positive.all() or not positive.any():
            yield NotEstimable("roc", kind, f"All reference grades are on one side of grade >= {cut}.")
            continue
        curves = [*_of_models(grid, cut, plan), *_of_readers(grid, cut, plan)]
        yield RocPanel(kind, cut, int(positive.sum()), int((~positive).sum()), tuple(curves),
                       tuple(_points(results, kind, cut)))


def _of_models(grid: Grid, cut: int, plan: AnalysisPlan) -> Iterator[Curve]:
    for v, version in enumerate(grid.versions):
        score = grid.probabilities[v][:, cut:].sum(axis=1)
        if (known := ~np.isnan(score)).any():
            yield _single(grid, RaterKind.MODEL, version, "", score[known], known, cut, plan)


def _of_readers(grid: Grid, cut: int, plan: AnalysisPlan) -> Iterator[Curve]:
    known = (grid.grade >= 0) & ~np.isnan(grid.confidence)
    score = np.full(grid.grade.shape, np.nan)
    score[known] = signed_confidence(grid.grade[known], grid.confidence[known], cut=cut)
    for a in range(len(grid.arms)):
        if known[a].any():
            yield from _average(grid, score, a, cut, plan)
            if cut == plan.cut:
                for r in np.flatnonzero(known[a].any(axis=1)):
                    own = known[a, r]
                    yield _single(grid, RaterKind.READER, grid.readers[r], grid.arms[a], score[a, r, own], own, cut,
                                  plan)


def _single(
    grid: Grid, kind: RaterKind, name: str, arm: str, score: np.ndarray, known: np.ndarray, cut: int,
    plan: AnalysisPlan,
) -> Curve:
    positive = grid.truth[known] >= cut
    estimate = auc_interval_clustered(score, positive, grid.patient[known], confidence=1 - plan.alpha)
    return _curve(roc_curve(score, positive), kind, name, arm, estimate, int(known.sum()))


def _average(grid: Grid, score: np.ndarray, arm: int, cut: int, plan: AnalysisPlan) -> Iterator[Curve]:
    """The average reader, on the regions for which every reader gave a grade and a confidence; none without such."""
    readers = np.flatnonzero(~np.isnan(score[arm]).all(axis=1))
    try:
        readings = without_gaps(grid.readings(score, [arm], readers))
    except ValueError:
        return
    merits = reader_merits(readings, area(cut=cut), method="delong")
    are = FIXED if len(readings.readers) <= FEW_READERS else RANDOM
    estimate = obuchowski_rockette(merits, readers=are, confidence=1 - plan.alpha).means[0].estimate
    average = average_curve([
        roc_curve(own[known], readings.truth[known] >= cut) for own in readings.score[0] for known in [~np.isnan(own)]
    ])
    yield _curve(average, RaterKind.READERS, AVERAGE_READER, grid.arms[arm], estimate, len(readings.cases))


def _curve(curve: RocCurve, kind: RaterKind, name: str, arm: str, estimate: Estimate, n: int) -> Curve:
    return Curve(kind, name, arm, tuple(curve.false_positive_rate.tolist()), tuple(curve.sensitivity.tolist()),
                 estimate, n)


def _points(results: Sequence[RaterResult], kind: RegionKind, cut: int) -> Iterator[OperatingPoint]:
    for each in results:
        if each.region is kind and each.rater.kind is not RaterKind.READERS:
            rates = each.rates.cuts[cut - 1]
            yield OperatingPoint(each.rater, each.arm, rates.sensitivity, rates.specificity, each.counts.graded)
