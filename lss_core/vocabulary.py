"""The words that every layer shares: levels, regions, grades, boxes, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment decisions."


class DiscLevel(StrEnum):
    """The five lumbar disc levels, from the head down."""

    L1_2 = "L1/2"
    L2_3 = "L2/3"
    L3_4 = "L3/4"
    L4_5 = "L4/5"
    L5_S1 = "L5/S1"


class Region(StrEnum):
    """What is graded at a level. Left and right are the patient's."""

    CENTRAL_CANAL = "central_canal"
    LEFT_LATERAL_RECESS = "left_lateral_recess"
    RIGHT_LATERAL_RECESS = "right_lateral_recess"

    @property
    def label(self) -> str:
        return self.value.replace("_", " ").capitalize()


class Grade(IntEnum):
    """Ordered severity (Lee 2011 for the canal, Bartynski & Lin 2003 for the recess)."""

    NORMAL = 0
    MILD = 1
    MODERATE = 2
    SEVERE = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class Refusal(Exception):
    """Input that cannot be read or graded; the message is one clear sentence for the user."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixel coordinates: an integer is a pixel centre, fractions are allowed."""

    row0: float
    col0: float
    row1: float
    col1: float

    def __post_init__(self) -> None:
        if not (self.row1 > self.row0 and self.col1 > self.col0):
            raise ValueError(f"Box {self.as_list()} is empty: row1 > row0 and col1 > col0 are needed.")

    @property
    def centre(self) -> tuple[float, float]:
        """(row, column)."""
        return (self.row0 + self.row1) / 2, (self.col0 + self.col1) / 2

    @property
    def size(self) -> tuple[float, float]:
        """(height, width) in pixels."""
        return self.row1 - self.row0, self.col1 - self.col0

    def mm_from(self, point: tuple[float, float], pixel_spacing_mm: tuple[float, float]) -> tuple[float, float]:
        """(rows, columns) in mm from a point in pixels to the centre."""
        (row, col), (at_row, at_col), (row_mm, col_mm) = self.centre, point, pixel_spacing_mm
        return (row - at_row) * row_mm, (col - at_col) * col_mm

    def as_list(self) -> list[float]:
        return [self.row0, self.col0, self.row1, self.col1]

    @classmethod
    def around(cls, centre: tuple[float, float], size: tuple[float, float]) -> Box:
        (row, col), (height, width) = centre, size
        return cls(row - height / 2, col - width / 2, row + height / 2, col + width / 2)


@dataclass(frozen=True)
class RegionGrade:
    """One graded region: where, how sure the detector is, the calibrated probabilities of the four grades, the measures
    beside them, and what speaks against trusting it."""

    box: Box
    detection_confidence: float
    probabilities: tuple[float, float, float, float]
    measures: Mapping[str, float] = field(default_factory=dict)     # name (SAC_AREA, ...) to mm2 or mm
    grade_set: tuple[Grade, ...] = ()           # neighbouring grades that hold the true one with the stated coverage
    doubts: tuple[str, ...] = ()                # one sentence each, for the reader

    @property
    def grade(self) -> Grade:
        return Grade(max(range(4), key=lambda g: self.probabilities[g]))

    @property
    def expected_grade(self) -> float:
        return sum(grade * p for grade, p in enumerate(self.probabilities))


@dataclass(frozen=True)
class LevelReport:
    """The grades of one disc level. `level` is None where it cannot be counted, and doubted where thoracic discs
    contradict it; a region is None where it is not gradable, and `not_gradable` then says why in one sentence."""

    level: DiscLevel | None
    slice_index: int
    sop_instance_uid: str
    regions: dict[Region, RegionGrade | None]
    not_gradable: Mapping[Region, str] = field(default_factory=dict)
    level_doubted: bool = False


SAC_AREA = "dural_sac_area_mm2"
CANAL_AP = "canal_ap_mm"
RECESS_HEIGHT = "lateral_recess_height_mm"
# Lower bounds of grades 0, 1 and 2. Sac area: Schonstrom, Hamanishi, NORDSTEN (mm2). Recess height: Ciric 1980 (mm).
GRADE_BOUNDS = {SAC_AREA: (130.0, 100.0, 75.0), RECESS_HEIGHT: (5.0, 3.6, 2.0)}


def measure_of(region: Region) -> str:
    """Name of the measurement that grades a region of a simulated case."""
    return SAC_AREA if region is Region.CENTRAL_CANAL else RECESS_HEIGHT


def measures_of(region: Region) -> tuple[str, ...]:
    """Names of all measurements of a region, the grading one first."""
    return (SAC_AREA, CANAL_AP) if region is Region.CENTRAL_CANAL else (RECESS_HEIGHT,)


def unit_of(measure_name: str) -> str:
    """Unit of a measure, as it is printed."""
    return "mm²" if measure_name == SAC_AREA else "mm"


def grade_of_measure(measure_name: str, value: float) -> Grade:
    """Grade of a measurement: a value at a bound belongs to the milder side, except 2 mm of recess, which is severe."""
    normal, mild, moderate = GRADE_BOUNDS[measure_name]
    if value >= normal:
        return Grade.NORMAL
    if value >= mild:
        return Grade.MILD
    if value > moderate or (measure_name == SAC_AREA and value == moderate):
        return Grade.MODERATE
    return Grade.SEVERE


def counted(number: int, thing: str, plural: str = "") -> str:
    """'1 reader', '3 readers'."""
    return f"{number} {thing if number == 1 else plural or thing + 's'}"
