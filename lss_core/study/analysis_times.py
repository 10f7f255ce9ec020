"""Reading times by experience and arm, along a session, and with accuracy; idle time is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lss_core.statistics.mrmc import FIXED, RANDOM
from lss_core.statistics.mrmc_readings import Readings
from lss_core.statistics.reading_time import ReadingTimes, compare_times, time_trend
from lss_core.study.analysis_accuracy import shares
from lss_core.study.analysis_filter import Frame
from lss_core.study.analysis_grid import Grid, without_gaps
from lss_core.study.analysis_mrmc import FEW_READERS
from lss_core.study.analysis_values import (
    Bin,
    NotEstimable,
    SessionTrend,
    TimeOfLevel,
    TimeRatioOfLevel,
    Times,
)
from lss_core.study.protocol import AnalysisPlan

PARTS = 4
LEAST_PLACES = 3
BY_PLACE, BY_TIME = "place in session", "time of the reader"
SAME_ORDER = "All readers read the arms in the same order, so that the ratio holds what they learned as well."


@dataclass(frozen=True)
class _Seconds:
    """Active seconds [arm, reader, case] with the cases' patients."""

    table: np.ndarray
    case: np.ndarray
    patient: np.ndarray


def times_of(grid: Grid, plan: AnalysisPlan) -> tuple[Times, list[NotEstimable]]:
    """All that times say, and what they do not say."""
    rows = case_rows(grid)
    if rows.empty:
        return Times(), [NotEstimable("times", "", "No reading has a time above 0 seconds.")]
    seconds, lacking = _table(grid, rows), []
    levels = ["", *(grid.levels if len(grid.levels) > 1 else ())]
    of_levels, ratios = [], []
    for level in levels:
        try:
            found, readings = _compared(grid, seconds, level, plan)
        except ValueError as error:
            lacking.append(NotEstimable("times", "", f"Times of {level or 'all'} readers: {error}"))
            continue
        of_levels += [TimeOfLevel(level, arm, each, len(readings.readers) * len(readings.cases))
                      for arm, each in found.seconds.items()]
        ratios += [
            TimeRatioOfLevel(level, each.ratio, each.p_value, each.adjusted, each.second_session, _notes(found, grid))
            for each in found.ratios
        ]
    trends, problems = _trends(rows, plan)
    bins = [*_bins(grid, rows, plan)]
    return Times(tuple(of_levels), tuple(ratios), tuple(trends), tuple(bins)), lacking + problems


def case_rows(grid: Grid) -> Frame:
    """One row a reader, arm and case of first showings: `seconds` without idle time, all of them above 0."""
    rows = grid.first.drop_duplicates(["arm_at", "reader_at", "case"])
    idle = np.nan_to_num(np.asarray(pd.to_numeric(rows["idle_s"], errors="coerce"), float)) if "idle_s" in rows else 0.0
    rows = rows.assign(seconds=rows["duration_s"] - idle)
    return rows[rows["seconds"] > 0]


def _table(grid: Grid, rows: Frame) -> _Seconds:
    case, first = np.unique(grid.case, return_index=True)
    table = np.full((len(grid.arms), len(grid.readers), len(case)), np.nan)
    table[rows["arm_at"], rows["reader_at"], np.searchsorted(case, rows["case"].to_numpy(str))] = rows["seconds"]
    return _Seconds(table, case, grid.patient[first])


def _compared(grid: Grid, seconds: _Seconds, level: str, plan: AnalysisPlan) -> tuple[ReadingTimes, Readings]:
    arms = sorted(range(len(grid.arms)), key=lambda a: grid.arms[a])            # aided first: a ratio of unaided
    readers = np.array([r for r in grid.readers_of(level) if not np.isnan(seconds.table[:, r]).all()], int)
    if not len(readers):
        raise ValueError("none has a time.")
    readings = without_gaps(Readings(
        seconds.table[arms][:, readers], np.zeros(len(seconds.case)), tuple(grid.arms[a] for a in arms),
        tuple(grid.readers[r] for r in readers), tuple(seconds.case.tolist()), seconds.patient,
    ))
    order = first_arms(grid)
    began = {order.get(reader) for reader in readings.readers}
    crossed = len(arms) == 2 and began == set(grid.arms)
    found = compare_times(
        readings, first_arm=order if crossed else None, confidence=1 - plan.alpha,
        readers=FIXED if len(readings.readers) <= FEW_READERS else RANDOM,
    )
    return found, readings


def first_arms(grid: Grid) -> dict[str, str]:
    """Reader to the arm read first, of those whose arms lie in sessions of their own."""
    sessions = grid.first.groupby(["reader", "arm"])["session"].agg(["min", "max"])
    found = {}
    for reader in sessions.index.unique("reader"):
        own = sessions.loc[reader]
        if len(own) == 2 and own["min"].iloc[0] == own["max"].iloc[0] != own["min"].iloc[1] == own["max"].iloc[1]:
            found[reader] = str(own["min"].idxmin())
    return found


def _notes(found: ReadingTimes, grid: Grid) -> tuple[str, ...]:
    order = first_arms(grid)
    same = len({order.get(reader) for reader in found.analysis.merits.readers}) == 1 and bool(order)
    return (*found.analysis.merits.readings.readers_left_out, *([SAME_ORDER] if same else []))


def _trends(rows: Frame, plan: AnalysisPlan) -> tuple[list[SessionTrend], list[NotEstimable]]:
    placed = rows[rows["position"].notna()]
    if placed.empty:
        return [], [NotEstimable("times", "", "The place of a case in its session is not given: no trend in time.")]
    found, lacking = [], []
    for (session, arm), part in placed.groupby(["session", "arm"]):
        places = part.groupby("reader")["position"].nunique()
        enough = part[part["reader"].isin(places[places >= LEAST_PLACES].index)]
        if left := sorted(places[places < LEAST_PLACES].index):
            reason = f"Trend of session {session}, {arm}: fewer than {LEAST_PLACES} cases of {', '.join(left)}."
            lacking.append(NotEstimable("times", "", reason))
        if len(enough):
            trend = time_trend(enough["reader"].tolist(), enough["position"].to_numpy(float),
                               enough["seconds"].to_numpy(float), confidence=1 - plan.alpha)
            found.append(SessionTrend(int(session), str(arm), trend.estimate, trend.p_value))
    return found, lacking


def _bins(grid: Grid, rows: Frame, plan: AnalysisPlan) -> Iterator[Bin]:
    """Quarters of each reader's sessions by place, and quarters of each reader's readings by time."""
    placed = rows[rows["position"].notna()]
    quarter = _quarters(placed, ["reader", "session"], "position")
    keyed = [placed.assign(by=BY_PLACE, part=quarter, bin_session=placed["session"])]
    keyed.append(rows.assign(by=BY_TIME, part=_quarters(rows, ["reader", "arm"], "seconds"), bin_session=0))
    groups = [
        (key, part) for table in keyed for key, part in table.groupby(["by", "arm", "bin_session", "part"])
    ]
    sums = [_right_and_asked(grid, part) for _, part in groups]
    for ((by, arm, session, part), own), each, accuracy in zip(groups, sums, shares(sums, plan), strict=True):
        yield Bin(str(by), str(arm), int(session), int(part), PARTS, accuracy, float(own["seconds"].median()),
                  int(each[:, 1].sum()))


def _quarters(rows: Frame, within: list[str], by: str) -> np.ndarray:
    """1..PARTS, by rank within readers."""
    groups = rows.groupby(within)[by]
    rank, size = groups.rank(method="first"), groups.transform("size")
    return (np.ceil(PARTS * rank / size)).to_numpy(int)


def _right_and_asked(grid: Grid, rows: Frame) -> np.ndarray:
    """Sums [cluster, 2] over the regions of these cases."""
    cases, unit_case = np.unique(grid.case, return_inverse=True)
    of_case = np.zeros((len(grid.arms), len(grid.readers), len(cases)), bool)
    of_case[rows["arm_at"], rows["reader_at"], np.searchsorted(cases, rows["case"].to_numpy(str))] = True
    shown = of_case[:, :, unit_case] & ~np.isnan(grid.grade)
    right = shown & (grid.grade == grid.truth)
    return np.stack([
        np.bincount(grid.cluster, weights=each.sum(axis=(0, 1)), minlength=grid.patients) for each in (right, shown)
    ], axis=1)


