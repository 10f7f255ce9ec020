"""How many readers, cases and readings there are, and what is missing of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lss_core.study.analysis_grid import GRADES, NO_GRADE, Grid
from lss_core.study.analysis_times import case_rows
from lss_core.study.analysis_values import ReaderProgress, RegionKind, Scope


def scope_of(grid: Grid) -> Scope:
    """The counts of a study."""
    levels = tuple((level, len(grid.readers_of(level))) for level in grid.levels)
    first = grid.first
    cases = len(first.drop_duplicates(["arm_at", "reader_at", "case"]))
    return Scope(
        readers=len(grid.readers), by_level=levels, patients=grid.patients, cases=len(np.unique(grid.case)),
        regions=len(grid.truth), arms=grid.arms, main_arm=grid.arms[grid.main_arm],
        sessions=tuple(sorted({int(each) for each in first["session"]})), readings=len(first),
        repeats=len(grid.again), not_gradable=int((grid.grade == NO_GRADE).sum()),
        without_reference=grid.without_reference, never_read=grid.never_read,
        confidence_missing=int(first["confidence"].isna().sum()), durations_missing=cases - len(case_rows(grid)),
        versions=grid.versions,
        model_without_grade=tuple(
            (name, int((grid.model_grade[v] == NO_GRADE).sum())) for v, name in enumerate(grid.versions)
        ),
        prevalence=tuple((kind, _by_grade(grid.of(kind).truth)) for kind in RegionKind),
        progress=tuple(_progress(grid)),
    )


def _by_grade(truth: np.ndarray) -> tuple[int, ...]:
    return tuple(int((truth == grade).sum()) for grade in GRADES)


def _progress(grid: Grid) -> Iterator[ReaderProgress]:
    for a, arm in enumerate(grid.arms):
        offered = int((~np.isnan(grid.grade[a])).any(axis=0).sum())
        for r, reader in enumerate(grid.readers):
            own = grid.grade[a, r]
            read = int((~np.isnan(own)).sum())
            again = grid.again[(grid.again["arm_at"] == a) & (grid.again["reader_at"] == r)]
            yield ReaderProgress(reader, grid.experience[r], arm, offered, read, int((own == NO_GRADE).sum()),
                                 offered - read, len(again))
