"""Model against the average reader, and aided against unaided reading, for readers and cases like these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lss_core.statistics.estimate import Estimate
from lss_core.statistics.mrmc import FIXED, RANDOM, MrmcAnalysis, obuchowski_rockette
from lss_core.statistics.mrmc_covariance import reader_merits
from lss_core.statistics.mrmc_levels import compare_levels
from lss_core.statistics.mrmc_merit import Merit, area, exact_accuracy, kappa, sensitivity, specificity
from lss_core.statistics.mrmc_readings import Readings
from lss_core.statistics.mrmc_standalone import MarginTest, compare_with_readers
from lss_core.statistics.roc import signed_confidence
from lss_core.study.analysis_grid import GRADES, NO_GRADE, Grid, without_gaps
from lss_core.study.analysis_values import LevelGap, MrmcResult, NotEstimable, ReaderDifference, RegionKind
from lss_core.study.database import Arm
from lss_core.study.protocol import AnalysisPlan

ACCURACY, SENSITIVITY, SPECIFICITY, KAPPA, AUC = "accuracy", "sensitivity", "specificity", "kappa", "auc"
FIGURES = (ACCURACY, SENSITIVITY, SPECIFICITY, KAPPA, AUC)
OF_GRADES = (KAPPA, AUC)                # which a region without a grade cannot bear on
FEW_READERS = 3                         # up to here nothing is said of other readers
AVERAGE_READER = "average reader"
AS_WRONG = "{} regions without a grade count as wrong."
AID = f"{Arm.AIDED.value} - {Arm.UNAIDED.value}"


@dataclass(frozen=True)
class _Asked:
    """What is compared on which regions."""

    grid: Grid
    kind: RegionKind
    plan: AnalysisPlan
    figure: str
    level: str = ""

    @property
    def merit(self) -> Merit:
        cut = self.plan.cut
        merits = {
            ACCURACY: exact_accuracy(), SENSITIVITY: sensitivity(cut=cut), SPECIFICITY: specificity(cut=cut),
            KAPPA: kappa(categories=GRADES), AUC: area(cut=cut),
        }
        return merits[self.figure]

    @property
    def method(self) -> str:
        return "delong" if self.figure == AUC else "jackknife"

    def scores(self, grade: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """Scores of readers, [arm, reader, unit], NaN where they are not read or bear nothing on the figure."""
        if self.figure == AUC:
            known = (grade >= 0) & ~np.isnan(confidence)
            score = np.full(grade.shape, np.nan)
            score[known] = signed_confidence(grade[known], confidence[known], cut=self.plan.cut)
            return score
        if self.figure == KAPPA:
            return np.where(grade >= 0, grade, np.nan)
        return np.where(grade == NO_GRADE, self.wrong(), grade)

    def wrong(self) -> np.ndarray:
        """[unit], a grade that is on the wrong side of the cut."""
        return np.where(self.grid.truth >= self.plan.cut, GRADES[0], GRADES[-1]).astype(float)

    def model_scores(self, version: int) -> np.ndarray:
        """[unit]; NaN where a missing grade cannot bear on the figure."""
        grade = self.grid.model_grade[version]
        if self.figure == AUC:
            return self.grid.probabilities[version][:, self.plan.cut:].sum(axis=1)
        return np.where(grade >= 0, grade, np.nan if self.figure == KAPPA else self.wrong())


def compare_models(grid: Grid, kind: RegionKind, plan: AnalysisPlan) -> Iterator[MrmcResult | NotEstimable]:
    """Each version minus the average reader in the main arm: all figures for all readers, accuracy for each level."""
    if not grid.versions:
        yield NotEstimable("against_readers", kind, "No model's grades are given.")
    for version in range(len(grid.versions)):
        for asked in _questions(grid, kind, plan):
            try:
                yield _model_minus_readers(asked, version)
            except ValueError as error:
                yield _unable("against_readers", asked, grid.versions[version], error)


def compare_arms(grid: Grid, kind: RegionKind, plan: AnalysisPlan) -> Iterator[MrmcResult | NotEstimable]:
    """Aided minus unaided reading: all figures for all readers, accuracy for each level."""
    if len(grid.arms) < 2:
        only = " and ".join(grid.arms)
        yield NotEstimable("aided", kind, f"All readings are {only}: there is no second arm to compare.")
        return
    for asked in _questions(grid, kind, plan):
        try:
            yield _aided_minus_unaided(asked)
        except ValueError as error:
            yield _unable("aided", asked, AID, error)


def _questions(grid: Grid, kind: RegionKind, plan: AnalysisPlan) -> Iterator[_Asked]:
    for figure in FIGURES:
        yield _Asked(grid, kind, plan, figure)
    if len(grid.levels) > 1:
        for level in grid.levels:
            yield _Asked(grid, kind, plan, ACCURACY, level)


def _unable(section: str, asked: _Asked, what: str, error: ValueError) -> NotEstimable:
    of = f" of {asked.level} readers" if asked.level else ""
    return NotEstimable(section, asked.kind, f"{what}, {asked.figure}{of}: {error}")


def _model_minus_readers(asked: _Asked, version: int) -> MrmcResult:
    grid, name = asked.grid, asked.grid.versions[version]
    model = asked.model_scores(version)
    readings, notes = _complete(asked, [grid.main_arm], without=np.isnan(model))
    scores = {case: model[u] for u, case in enumerate(_names(grid)) if not np.isnan(model[u])}
    found = compare_with_readers(
        readings, scores, asked.merit, margin=_margin(asked), method=asked.method, readers=_readers_are(readings),
        confidence=1 - asked.plan.alpha,
    )
    missed = int((grid.model_grade[version] == NO_GRADE).sum())
    if missed and asked.figure not in OF_GRADES:
        notes = (*notes, f"Model {name}: " + AS_WRONG.format(missed))
    return _result(asked, found.analysis, (name, AVERAGE_READER), (found.model, found.readers), found.noninferiority,
                   notes)


def _aided_minus_unaided(asked: _Asked) -> MrmcResult:
    grid = asked.grid
    readings, notes = _complete(asked, [grid.arms.index(Arm.AIDED), grid.arms.index(Arm.UNAIDED)])
    merits = reader_merits(readings, asked.merit, method=asked.method)
    analysis = obuchowski_rockette(merits, readers=_readers_are(readings), confidence=1 - asked.plan.alpha)
    means = (analysis.means[0].estimate, analysis.means[1].estimate)
    return _result(asked, analysis, (Arm.AIDED.value, Arm.UNAIDED.value), means, None, notes)


def _complete(asked: _Asked, arms: list[int], without: np.ndarray | None = None) -> tuple[Readings, tuple[str, ...]]:
    """Readings without gaps, of the asked level's readers, and what must be said of them."""
    grid = asked.grid
    readers = np.array([r for r in grid.readers_of(asked.level) if not np.isnan(grid.grade[arms][:, r]).all()], int)
    score = asked.scores(grid.grade, grid.confidence)
    if without is not None:
        score = np.where(without, np.nan, score)
    if not len(readers) or np.isnan(score[arms][:, readers]).all():
        raise ValueError("no confidence was given." if asked.figure == AUC else "nobody read.")
    readings = without_gaps(grid.readings(score, arms, readers))
    notes = readings.readers_left_out
    missed = int((grid.grade[arms][:, readers] == NO_GRADE).sum())
    if missed and asked.figure not in OF_GRADES:
        notes = (*notes, "Readers: " + AS_WRONG.format(missed))
    return readings, notes


def _readers_are(readings: Readings) -> str:
    return FIXED if len(readings.readers) <= FEW_READERS else RANDOM


def _margin(asked: _Asked) -> float | None:
    """The plan's margin is of accuracy."""
    return asked.plan.non_inferiority_margin if asked.figure == ACCURACY else None


def _names(grid: Grid) -> list[str]:
    return [f"{case} {region}" for case, region in zip(grid.case, grid.region, strict=True)]


def _result(
    asked: _Asked, analysis: MrmcAnalysis, names: tuple[str, str], means: tuple[Estimate, Estimate],
    margin: MarginTest | None,
    notes: tuple[str, ...],
) -> MrmcResult:
    merits, difference = analysis.merits, analysis.differences[0]
    experience = dict(zip(asked.grid.readers, asked.grid.experience, strict=True))
    return MrmcResult(
        region=asked.kind, figure=asked.figure, level=asked.level, first=names[0], second=names[1],
        readers=len(merits.readers), regions=len(merits.readings.cases), patients=merits.n,
        readers_are=analysis.readers_are, design=merits.design, covariance=merits.method, first_mean=means[0],
        second_mean=means[1], difference=difference.estimate, se=difference.se, df=difference.df,
        p_value=difference.p_value, margin=margin, test=analysis.test, components=analysis.components,
        by_reader=tuple(ReaderDifference(each.reader, experience[each.reader], each.estimate, each.p_value)
                        for each in analysis.by_reader),
        left_out=notes, cases_left_out=len(merits.readings.cases_left_out),
    )


def gaps_of_levels(grid: Grid, kind: RegionKind, plan: AnalysisPlan) -> Iterator[LevelGap | NotEstimable]:
    """Accuracy of each experience level minus each later one: in every arm, and in what the aid adds."""
    if len(grid.levels) < 2:
        yield NotEstimable("level_gaps", kind, "All readers are of one experience level.")
        return
    asked = _Asked(grid, kind, plan, ACCURACY)
    arms = sorted(range(len(grid.arms)), key=lambda a: grid.arms[a])        # aided first, as in AID
    try:
        readings, _ = _complete(asked, arms)
        merits = reader_merits(readings, asked.merit)
        level = dict(zip(grid.readers, grid.experience, strict=True))
        left = [each for each in grid.levels if each in {level[reader] for reader in readings.readers}]
        for k, first in enumerate(left):
            for second in left[k + 1:]:
                for each in compare_levels(merits, level, first, second, confidence=1 - plan.alpha):
                    gap = each.difference
                    yield LevelGap(kind, each.of, gap.first, gap.second, gap.estimate, gap.p_value)
    except ValueError as error:
        yield NotEstimable("level_gaps", kind, str(error))
