"""Nine simulated readers: how each of them would read a case. Invented behaviour, fitted to nobody.

A reader sees a case's severity (the reference measure on the scale of grades) with an error of the case that all
readers share, an own error and an own bias, and rounds it. With the model's grades in view, the reader moves towards
them by an own trust. Confidence falls towards the bounds between grades; time falls with practice and rises with
fatigue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lss_core.vocabulary import GRADE_BOUNDS, Grade, Region, measure_of

SHARED_ERROR = 0.22             # grades; standard deviation over cases, the same for all readers
NOT_GRADABLE_SHARE = 0.006
NOT_GRADABLE = "The region cannot be made out in the noise."
QUALITY = "noisy"
UNSURE_WITHIN = 0.5             # grades from a bound, where confidence is lowest


@dataclass(frozen=True)
class DemoReader:
    """One simulated reader."""

    number: int
    level: str                  # of experience, as the demo's protocol names it
    specialty: str
    years_of_experience: float
    lumbar_cts_a_year: int
    error: float                # standard deviation in grades
    bias: float                 # in grades; positive overcalls
    trust: float                # 0..1, how far the model's grade pulls
    seconds: float              # median time of a case

    @property
    def name(self) -> str:
        return f"Demo reader {self.number} ({self.level})"

    @property
    def email(self) -> str:
        return f"demo-reader-{self.number}@example.org"


READERS = (
    DemoReader(1, "junior", "Orthopaedic surgery", 2, 80, 0.50, 0.15, 0.55, 58),
    DemoReader(2, "junior", "Radiology", 3, 150, 0.44, -0.10, 0.50, 64),
    DemoReader(3, "junior", "Neurosurgery", 4, 120, 0.48, 0.25, 0.65, 49),
    DemoReader(4, "intermediate", "Orthopaedic surgery", 6, 200, 0.36, 0.05, 0.40, 46),
    DemoReader(5, "intermediate", "Radiology", 8, 400, 0.31, -0.08, 0.35, 41),
    DemoReader(6, "intermediate", "Neurosurgery", 9, 220, 0.37, 0.12, 0.45, 43),
    DemoReader(7, "senior", "Orthopaedic spine surgery", 15, 350, 0.27, 0.04, 0.25, 33),
    DemoReader(8, "senior", "Musculoskeletal radiology", 19, 900, 0.22, -0.03, 0.20, 29),
    DemoReader(9, "senior", "Neurosurgery", 24, 300, 0.30, 0.08, 0.30, 36),
)


@dataclass(frozen=True)
class SeenRegion:
    """What a simulated reader knows of a region: its true measure, and the model's expected grade where it is shown."""

    region: Region
    measure: float              # mm2 or mm
    model_grade: float | None = None    # 0..3; None in an unaided reading, or where the model gave none


@dataclass(frozen=True)
class GivenGrade:
    grade: Grade | None         # None: not gradable
    confidence: int             # 0..100
    not_gradable: str = ""


@dataclass(frozen=True)
class GivenReading:
    """What a simulated reader answers to one case."""

    regions: Mapping[Region, GivenGrade]
    duration_s: float
    image_quality: str = ""


def severity(region: Region, measure: float) -> float:
    """A measure on the scale of grades: at a bound between two grades it lies half-way, e.g. 0.5 at 130 mm2."""
    normal, mild, moderate = GRADE_BOUNDS[measure_of(region)]
    at = [0.0, moderate, mild, normal, normal + (normal - mild)]
    return float(np.interp(measure, at, [3.4, 2.5, 1.5, 0.5, -0.4]))


def read_case(
    reader: DemoReader, regions: tuple[SeenRegion, ...], *, case_seed: int, showing: int, position: int, total: int
) -> GivenReading:
    """One reading, the same for the same arguments.

    Args:
        case_seed: Of the case, which gives the error that all readers share.
        showing: How often the reader has seen this case before; each showing has an error of its own.
        position: Place in the session, from 1, of `total`.
    """
    shared = np.random.default_rng([case_seed, 0])
    own = np.random.default_rng([case_seed, reader.number, showing, 1])
    given = {seen.region: _grade(reader, seen, shared.normal(0.0, SHARED_ERROR), own) for seen in regions}
    aided = any(seen.model_grade is not None for seen in regions)
    practice, fatigue = 0.35 * np.exp(-position / 8), 0.15 * position / max(total, 1)
    seconds = reader.seconds * (1 + practice + fatigue) * (0.88 if aided else 1.0) * own.lognormal(0.0, 0.25)
    quality = QUALITY if np.random.default_rng([case_seed, 2]).random() < 0.1 and own.random() < 0.6 else ""
    return GivenReading(given, float(max(seconds, 6.0)), quality)


def _grade(reader: DemoReader, seen: SeenRegion, shared: float, own: np.random.Generator) -> GivenGrade:
    felt = severity(seen.region, seen.measure) + shared + reader.bias + own.normal(0.0, reader.error)
    if seen.model_grade is not None:
        felt += reader.trust * (seen.model_grade - felt)
    grade = int(np.clip(np.round(felt), 0, 3))
    from_bound = min(abs(felt - bound) for bound in (0.5, 1.5, 2.5))
    sure = 45 + 50 * min(from_bound / UNSURE_WITHIN, 1.0) + own.normal(0.0, 6.0)
    if own.random() < NOT_GRADABLE_SHARE:
        return GivenGrade(None, int(np.clip(sure, 0, 100)), NOT_GRADABLE)
    return GivenGrade(Grade(grade), int(np.clip(np.round(sure), 0, 100)))
