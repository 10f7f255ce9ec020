"""The complete analysis of a reader study: the same for the dashboard, the command line and an exported study."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np

from lss_core.statistics.paired import holm
from lss_core.study.analysis_accuracy import compare_versions, hardest_cases, rate_raters, raters_of, subgroups_of
from lss_core.study.analysis_agreement import agreement_panels, repeat_panels
from lss_core.study.analysis_calibration import calibration_panels
from lss_core.study.analysis_filter import StudyFilter, apply_filter
from lss_core.study.analysis_grid import NO_GRADE, Grid, make_grid
from lss_core.study.analysis_json import note_of
from lss_core.study.analysis_mrmc import ACCURACY, compare_arms, compare_models, gaps_of_levels
from lss_core.study.analysis_roc import roc_panels
from lss_core.study.analysis_scope import scope_of
from lss_core.study.analysis_times import times_of
from lss_core.study.analysis_values import NotEstimable, RegionKind, StudyAnalysis, TestRow
from lss_core.study.protocol import AnalysisPlan
from lss_core.study.readings import StudyTables
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.vocabulary import counted

PRIMARY, SECONDARY = "primary", "secondary"
LIBRARIES = ("numpy", "scipy", "pandas")
Value = TypeVar("Value")


def analyse(
    tables: StudyTables, plan: AnalysisPlan, *, kept: StudyFilter | None = None, simulated: bool = False,
) -> StudyAnalysis:
    """Everything that is reported of a study, or of the part of it that a filter keeps.

    Equal tables, plan and filter give the same analysis bit by bit with the same libraries.

    Args:
        tables: Checked ones, in any order of rows.
        simulated: The readers or cases are simulated, which is then said everywhere.

    Raises:
        Refusal: nothing is left to analyse.
    """
    kept = kept or StudyFilter()
    grid = make_grid(apply_filter(tables, kept))
    parts = _Parts()
    for kind, own in _kinds(grid, parts):
        results = parts.keep("results", rate_raters(own, kind, plan))
        parts.keep("against_readers", compare_models(own, kind, plan))
        parts.keep("aided", compare_arms(own, kind, plan))
        parts.keep("level_gaps", gaps_of_levels(own, kind, plan))
        parts.keep("versions", compare_versions(own, kind, plan))
        parts.keep("roc", roc_panels(own, kind, plan, results))
        parts.keep("agreement", agreement_panels(own, kind, plan))
        parts.keep("subgroups", subgroups_of(own, kind, plan))
        parts.keep("repeats", repeat_panels(own, kind, plan))
        parts.keep("calibration", calibration_panels(own, kind, plan))
    times, lacking = times_of(grid, plan)
    parts.keep("times", lacking)
    made = StudyAnalysis(
        plan=plan, filter=kept, simulated=simulated, statement="", scope=scope_of(grid), hardest=hardest_cases(grid),
        times=times, tests=(), not_estimable=tuple(parts.lacking), environment=_environment(), **parts.found(),
    )
    return replace(made, statement=statement_of(made), tests=tests_of(made))


class _Parts:
    """What has been found by section, and what was not estimable."""

    SECTIONS = ("results", "against_readers", "aided", "level_gaps", "versions", "roc", "agreement", "subgroups",
                "repeats", "calibration")

    def __init__(self) -> None:
        self._found: dict[str, list[Any]] = {name: [] for name in self.SECTIONS}
        self.lacking: list[NotEstimable] = []

    def keep(self, section: str, values: Iterable[Value | NotEstimable]) -> list[Value]:
        everything = list(values)
        own = [each for each in everything if not isinstance(each, NotEstimable)]
        self.lacking += [each for each in everything if isinstance(each, NotEstimable)]
        if own:
            self._found[section] += own
        return own

    def found(self) -> dict[str, tuple[Any, ...]]:
        return {name: tuple(values) for name, values in self._found.items()}


def _kinds(grid: Grid, parts: _Parts) -> Iterator[tuple[RegionKind, Grid]]:
    for kind in RegionKind:
        own = grid.of(kind)
        if len(own.truth):
            yield kind, own
        else:
            parts.keep("results", [NotEstimable("results", kind, f"No {kind.label.lower()} was read.")])


def statement_of(analysis: StudyAnalysis) -> str:
    """On what the figures rest, as every figure prints it."""
    scope = analysis.scope
    readers, cases = counted(scope.readers, "reader"), counted(scope.cases, "case")
    return (
        f"{note_of(analysis)} {readers}, {cases} ({scope.regions} regions) of {counted(scope.patients, 'patient')}. "
        f"Filter: {analysis.filter}."
    )


def tests_of(analysis: StudyAnalysis) -> tuple[TestRow, ...]:
    """Every test with its p-value, adjusted by Holm within its family.

    Primary are accuracy of a model against all readers and, in a study of two arms, accuracy aided against unaided, for
    the two kinds of region apart; all others are secondary.
    """
    rows = [*_tests(analysis)]
    adjusted = np.full(len(rows), math.nan)
    for family in (PRIMARY, SECONDARY):
        own = np.array([row.family == family for row in rows], bool)
        if own.any():
            adjusted[own] = holm([row.p_value for row, member in zip(rows, own, strict=True) if member])
    return tuple(replace(row, p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True))


def _tests(analysis: StudyAnalysis) -> Iterator[TestRow]:
    for each in (*analysis.against_readers, *analysis.aided):
        family = PRIMARY if each.figure == ACCURACY and not each.level else SECONDARY
        who = f" ({each.level})" if each.level else ""
        name = f"{each.figure}: {each.first} minus {each.second}{who}"
        yield TestRow(family, name, each.region, each.difference, each.p_value, math.nan)
    for gap in analysis.level_gaps:
        name = f"accuracy, {gap.of}: {gap.first} minus {gap.second}"
        yield TestRow(SECONDARY, name, gap.region, gap.difference, gap.p_value, math.nan)
    for pair in analysis.versions:
        name = f"accuracy: {pair.first} minus {pair.second}"
        yield TestRow(SECONDARY, name, pair.region, pair.difference, pair.p_value, math.nan)
    for ratio in analysis.times.ratios:
        name = f"time aided / unaided{f' ({ratio.level})' if ratio.level else ''}"
        yield TestRow(SECONDARY, name, "", ratio.ratio, ratio.p_value, math.nan)


def cases_of_cell(
    tables: StudyTables, region: RegionKind, rater: str, *, arm: str, reference: int, given: int | None,
    kept: StudyFilter | None = None,
) -> tuple[tuple[str, str], ...]:
    """(case, region) of the regions in a cell of a rater's confusion matrix, in their order.

    Args:
        rater: Name of a reader, level or version, or "all readers".
        arm: "" for a model.
        given: None for not gradable.
    """
    grid = make_grid(apply_filter(tables, kept or StudyFilter())).of(region)
    wanted = NO_GRADE if given is None else float(given)
    for each in raters_of(grid):
        if each.rater.name == rater and each.arm == arm:
            held = (each.grade == wanted).any(axis=0) & (grid.truth == reference)
            return tuple((str(grid.case[u]), str(grid.region[u])) for u in np.flatnonzero(held))
    return ()


def _environment() -> tuple[tuple[str, str], ...]:
    return (("software", SOFTWARE_VERSION), ("Python", platform.python_version()),
            *((name, version(name)) for name in LIBRARIES))
