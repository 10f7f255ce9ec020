"""Agreement: reader with reader, within and between experience levels, with the reference, and with oneself."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lss_core.statistics.krippendorff import krippendorff_alpha
from lss_core.statistics.many_raters import Coefficient, agreement_among
from lss_core.statistics.paired import ChiSquare, cochran_q
from lss_core.statistics.pairwise import kappa_by_group, pairwise_kappa, repeat_agreement
from lss_core.study.analysis_filter import Frame
from lss_core.study.analysis_grid import GRADES, NO_GRADE, REFERENCE, Grid
from lss_core.study.analysis_values import (
    AgreementPanel,
    NamedEstimate,
    NotEstimable,
    PairAgreement,
    RegionKind,
    RepeatPanel,
)
from lss_core.study.protocol import AnalysisPlan

WEIGHTS = "quadratic"
COEFFICIENTS: tuple[tuple[str, Coefficient, str], ...] = (
    ("Gwet AC2, quadratic weights", "gwet", WEIGHTS), ("Fleiss' kappa, unweighted", "fleiss", "none"),
    ("percent agreement", "percent", "none"),
)
SAME_SESSION, OTHER_SESSION = "hidden repeat", "second session"


def agreement_panels(
    grid: Grid, kind: RegionKind, plan: AnalysisPlan
) -> Iterator[AgreementPanel | NotEstimable]:
    """One panel an arm: its readers, all models and the reference."""
    for a, arm in enumerate(grid.arms):
        read = np.flatnonzero(~np.isnan(grid.grade[a]).all(axis=1))
        if not len(read):
            yield NotEstimable("agreement", kind, f"Nobody read a {kind.label.lower()} {arm}.")
            continue
        of_readers = _graded(grid.grade[a, read]).T
        ratings = np.column_stack([of_readers, _graded(grid.model_grade).T, grid.truth])
        names = (*(grid.readers[r] for r in read), *grid.versions, REFERENCE)
        confidence = 1 - plan.alpha
        pairs = pairwise_kappa(ratings, raters=names, categories=GRADES, weights=WEIGHTS, clusters=grid.patient,
                               confidence=confidence)
        yield AgreementPanel(
            kind, arm, names, tuple(PairAgreement(*pair, each) for pair, each in pairs.items()),
            tuple(_groups(of_readers, [grid.experience[r] for r in read], grid, confidence)),
            tuple(_among(of_readers, grid, plan)), _readers_differ(of_readers, grid),
        )


def _graded(grade: np.ndarray) -> np.ndarray:
    return np.where(grade >= 0, grade, np.nan)


def _groups(ratings: np.ndarray, levels: list[str], grid: Grid, confidence: float) -> Iterator[PairAgreement]:
    if len(levels) > 1:
        order = np.argsort([grid.levels.index(level) for level in levels], kind="stable")
        groups = kappa_by_group(ratings[:, order], groups=[levels[k] for k in order], categories=GRADES,
                                weights=WEIGHTS, clusters=grid.patient, confidence=confidence)
        for pair, each in groups.items():
            yield PairAgreement(*pair, each)


def _among(ratings: np.ndarray, grid: Grid, plan: AnalysisPlan) -> Iterator[NamedEstimate]:
    if ratings.shape[1] < 2:
        return
    confidence = 1 - plan.alpha
    for name, coefficient, weights in COEFFICIENTS:
        found = agreement_among(ratings, categories=GRADES, coefficient=coefficient, weights=weights,
                                clusters=grid.patient, confidence=confidence)
        yield NamedEstimate(name, found.estimate)
    alpha = krippendorff_alpha(ratings, categories=GRADES, clusters=grid.patient, resamples=plan.bootstraps,
                               seed=plan.seed, confidence=confidence)
    yield NamedEstimate("Krippendorff's alpha, ordinal", alpha)


def _readers_differ(ratings: np.ndarray, grid: Grid) -> ChiSquare:
    """Cochran's Q on the regions that all readers graded; it takes regions for independent."""
    full = ~np.isnan(ratings).any(axis=1)
    if ratings.shape[1] < 2 or not full.any():
        reason = "a single reader" if ratings.shape[1] < 2 else "no region was graded by all readers"
        return ChiSquare(math.nan, 0, reason)
    return cochran_q(ratings[full] == grid.truth[full, None])


def repeat_panels(grid: Grid, kind: RegionKind, plan: AnalysisPlan) -> Iterator[RepeatPanel | NotEstimable]:
    """Hidden repeats of the same session, and second readings in another session of the same arm."""
    if grid.again.empty:
        yield NotEstimable("repeats", kind, "No region was shown twice to the same reader in the same arm.")
    hidden = grid.again["is_repeat"].to_numpy(bool)
    for name, again in ((SAME_SESSION, grid.again[hidden]), (OTHER_SESSION, grid.again[~hidden])):
        pairs = _paired(grid, again)
        if len(pairs):
            of_readers, everybody = repeat_agreement(
                pairs["grade"].to_numpy(), pairs["grade_again"].to_numpy(), readers=pairs["reader"].tolist(),
                categories=GRADES, weights=WEIGHTS, clusters=pairs["patient"].to_numpy(str), confidence=1 - plan.alpha,
            )
            yield RepeatPanel(kind, name, of_readers, everybody)


def _paired(grid: Grid, again: Frame) -> Frame:
    """Each second grade beside the one given at the first showing; the first repeat where there are several."""
    key = ["reader_at", "arm_at", "unit_at"]
    again = again.sort_values("session", kind="stable").drop_duplicates(key)
    once = grid.grade[again["arm_at"], again["reader_at"], again["unit_at"]]
    pairs = again.assign(grade_again=again["grade"], grade=np.where(once == NO_GRADE, np.nan, once))
    return pairs[~np.isnan(once)].sort_values(key)
