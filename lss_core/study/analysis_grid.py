"""The tables of a study as arrays: what every reader and model gave for every region; repeats are apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lss_core.statistics.mrmc_readings import Readings, complete
from lss_core.study.analysis_filter import Frame, quality_flags
from lss_core.study.analysis_values import RegionKind
from lss_core.study.database import Arm
from lss_core.study.protocol import Experience
from lss_core.study.readings import PROBABILITIES, StudyTables
from lss_core.vocabulary import Grade, Refusal, Region

NO_GRADE = -1.0                         # asked, and not gradable or not found; NaN is not asked
GRADES = tuple(int(grade) for grade in Grade)
NOT_STATED = "not stated"
ALL_READERS, REFERENCE = "all readers", "reference"
LEVELS_IN_ORDER = tuple(level.value for level in Experience)


@dataclass(frozen=True)
class Grid:
    """Regions that have a reference grade and were read by somebody.

    Attributes:
        experience: [reader].
        case, region, patient, level: [unit], texts.
        truth: [unit], 0..3.
        flagged: [unit], share of the case's readers who remarked on the image quality.
        grade: [arm, reader, unit]; NO_GRADE where not gradable, NaN where not read.
        confidence: [arm, reader, unit], 0..100; NaN where not given.
        model_grade: [version, unit], NO_GRADE where the model gave none.
        probabilities: [version, unit, 4]; NaN where it gave none.
        first: Rows of first showings with the places `arm_at`, `reader_at`, `unit_at`.
        again: Rows of hidden repeats and of second readings in the same arm.
    """

    readers: tuple[str, ...]
    experience: tuple[str, ...]
    arms: tuple[str, ...]
    versions: tuple[str, ...]
    case: np.ndarray
    region: np.ndarray
    patient: np.ndarray
    level: np.ndarray
    truth: np.ndarray
    flagged: np.ndarray
    grade: np.ndarray
    confidence: np.ndarray
    model_grade: np.ndarray
    probabilities: np.ndarray
    first: Frame
    again: Frame
    without_reference: int
    never_read: int

    @cached_property
    def cluster(self) -> np.ndarray:
        """[unit], number of the patient."""
        return np.unique(self.patient, return_inverse=True)[1]

    @property
    def patients(self) -> int:
        return len(np.unique(self.patient))

    @property
    def main_arm(self) -> int:
        """Place of the arm in which readers are compared with the model: unaided where it was read."""
        return self.arms.index(Arm.UNAIDED) if Arm.UNAIDED in self.arms else 0

    @property
    def levels(self) -> tuple[str, ...]:
        """Experience levels that occur, junior first."""
        found = set(self.experience)
        return (*(each for each in LEVELS_IN_ORDER if each in found), *sorted(found - set(LEVELS_IN_ORDER)))

    def readers_of(self, level: str) -> np.ndarray:
        """Places of the readers of an experience level; of all where it is ""."""
        return np.flatnonzero([level in ("", each) for each in self.experience])

    def of(self, kind: RegionKind) -> Grid:
        """The regions of one kind."""
        canal = self.region == Region.CENTRAL_CANAL.value
        return self.units(canal if kind is RegionKind.CENTRAL_CANAL else ~canal)

    def units(self, kept: np.ndarray) -> Grid:
        """The units where `kept` [unit] holds."""
        place = np.where(kept, np.cumsum(kept) - 1, -1)
        first = self.first.assign(unit_at=place[self.first["unit_at"].to_numpy()])
        again = self.again.assign(unit_at=place[self.again["unit_at"].to_numpy()])
        return replace(
            self, case=self.case[kept], region=self.region[kept], patient=self.patient[kept], level=self.level[kept],
            truth=self.truth[kept], flagged=self.flagged[kept], grade=self.grade[:, :, kept],
            confidence=self.confidence[:, :, kept], model_grade=self.model_grade[:, kept],
            probabilities=self.probabilities[:, kept], first=first[first["unit_at"] >= 0],
            again=again[again["unit_at"] >= 0],
        )

    def readings(self, score: np.ndarray, arms: list[int], readers: np.ndarray) -> Readings:
        """Scores [arm, reader, unit] of some arms and readers, for an analysis of variance."""
        names = tuple(f"{case} {region}" for case, region in zip(self.case, self.region, strict=True))
        return Readings(
            score[arms][:, readers], self.truth, tuple(self.arms[a] for a in arms),
            tuple(self.readers[r] for r in readers), names, self.patient,
        )


def without_gaps(readings: Readings) -> Readings:
    """The readings that an analysis of variance can take (`mrmc_readings.complete`).

    Raises:
        ValueError: a reader or an arm is left with nothing; the message says which.
    """
    left = complete(readings)
    empty = np.argwhere(~left.reads_in)
    if left.reads_in.any(axis=1).all() and (left.readers_nested or not len(empty)):
        return left
    arm, reader = empty[0]
    raise ValueError(f"Reader {left.readers[reader]} has no case under {left.arms[arm]} that the others read as well.")


def make_grid(tables: StudyTables) -> Grid:
    """Arrays of checked tables.

    Raises:
        Refusal: no region that was read has a reference grade, or two raters have one name.
    """
    rows: Frame = tables.readings.assign(experience=tables.readings["experience"].replace("", NOT_STATED))
    units, without_reference, never_read = _units(rows[~rows["is_repeat"]], tables.reference)
    place = pd.Series(np.arange(len(units)), index=pd.MultiIndex.from_frame(units[["case", "region"]]))
    experience: Any = rows.drop_duplicates("reader").set_index("reader")["experience"].sort_index()
    arms = tuple(arm.value for arm in Arm if arm.value in set(rows["arm"]))
    versions, model_grade, probabilities = _model(tables.model, place)
    _refuse_shared_names([*experience.index, *experience.unique(), *versions, ALL_READERS, REFERENCE])
    rows = rows.assign(
        unit_at=_places(place, rows[["case", "region"]]), arm_at=rows["arm"].map(arms.index).astype(int),
        reader_at=experience.index.get_indexer(pd.Index(rows["reader"])),
    )
    first, again = _first_and_again(rows[rows["unit_at"] >= 0])
    shape = (len(arms), len(experience), len(units))
    return Grid(
        readers=tuple(experience.index), experience=tuple(experience), arms=arms, versions=versions,
        case=units["case"].to_numpy(str), region=units["region"].to_numpy(str),
        patient=units["patient"].to_numpy(str), level=units["level"].to_numpy(str),
        truth=units["grade"].to_numpy(float), flagged=units["flagged"].to_numpy(float),
        grade=_spread(first, first["grade"].fillna(NO_GRADE), shape),
        confidence=_spread(first, first["confidence"], shape), model_grade=model_grade, probabilities=probabilities,
        first=first, again=again, without_reference=without_reference, never_read=never_read,
    )


def _spread(first: Frame, values: Any, shape: tuple[int, int, int]) -> np.ndarray:
    """Values of rows as [arm, reader, unit]; NaN where there is no row."""
    table = np.full(shape, np.nan)
    table[first["arm_at"], first["reader_at"], first["unit_at"]] = values
    return table


def _refuse_shared_names(names: list[Any]) -> None:
    """Every rater is known by his name in the analysis."""
    shared = [name for name in names if names.count(name) > 1]
    if shared:
        raise Refusal(f"{shared[0]!r} is the name of two of these: a reader, an experience level, a model version, "
                      f"{ALL_READERS!r}, {REFERENCE!r}; rename one.")


def _units(rows: Frame, reference: Frame) -> tuple[Frame, int, int]:
    """Regions to analyse in the order of case and region; how many lack a reference grade, and a reading."""
    read = pd.MultiIndex.from_frame(rows[["case", "region"]]).unique()
    was_read = np.asarray(pd.MultiIndex.from_frame(reference[["case", "region"]]).isin(read))
    graded = np.asarray(reference["grade"].notna())
    units = reference[was_read & graded].sort_values(["case", "region"], kind="stable")
    if units.empty:
        raise Refusal("No region that was read has a reference grade; add grades to the reference.")
    levels: Any = rows.drop_duplicates("case").set_index("case")["level"]
    flags: Any = pd.Series(quality_flags(rows).astype(float), index=rows["case"]).groupby(level=0).mean()
    units = units.assign(level=units["case"].map(levels).fillna(""), flagged=units["case"].map(flags).fillna(0.0))
    return units, int((was_read & ~graded).sum()), int((graded & ~was_read).sum())


def _places(place: Any, keys: Frame) -> np.ndarray:
    return place.index.get_indexer(pd.MultiIndex.from_frame(keys))


def _first_and_again(rows: Frame) -> tuple[Frame, Frame]:
    """The first showing of each region to each reader in each arm, and all others."""
    ordered = rows.sort_values(["is_repeat", "session"], kind="stable")
    later: Any = ordered.duplicated(["reader", "case", "region", "arm"]) | ordered["is_repeat"]
    return ordered[~later].sort_index(), ordered[later].sort_index()


def _model(table: Frame, place: Any) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    versions = tuple(sorted(set(table["version"])))
    grade = np.full((len(versions), len(place)), NO_GRADE)
    probabilities = np.full((len(versions), len(place), len(PROBABILITIES)), np.nan)
    if versions:
        unit = _places(place, table[["case", "region"]])
        known = unit >= 0
        at = (table["version"].map(versions.index).to_numpy(int)[known], unit[known])
        grade[at] = table["grade"].fillna(NO_GRADE).to_numpy(float)[known]
        probabilities[at] = table[list(PROBABILITIES)].to_numpy(float)[known]
    return versions, grade, probabilities
