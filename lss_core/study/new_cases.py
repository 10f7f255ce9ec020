"""Cases as they are handed to a study: what readers will see, and what must stay apart from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lss_core.study.database import CaseKind
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region


@dataclass(frozen=True)
class NewOutput:
    """What one model version found in one region of a case. Without a grade, `not_gradable` says why."""

    version: str
    weights_sha256: str
    region: Region
    grade: int | None = None
    probabilities: tuple[float, float, float, float] | None = None
    slice_index: int | None = None              # of the stored volume, on which it was graded
    box: Box | None = None                      # pixels of that slice
    measure: float | None = None                # mm2 for the canal, mm for a recess
    not_gradable: str = ""
    heat_map_key: str = ""                      # of the image store
    heat_map_box: Box | None = None             # pixels that the heat map covers

    def __post_init__(self) -> None:
        _check_grade(self.grade, f"The grade of model {self.version}")
        if (self.grade is None) != bool(self.not_gradable):
            raise Refusal(f"Model {self.version}, {self.region.label}: give a grade, or the reason why there is none.")
        if self.probabilities is not None and abs(sum(self.probabilities) - 1) > 0.01:
            raise Refusal(f"Model {self.version}, {self.region.label}: the probabilities {self.probabilities} "
                          "do not add up to 1.")


@dataclass(frozen=True)
class NewReference:
    """The reference standard of one region. A grade of None is "not gradable"."""

    grade: int | None
    measure: float | None = None                # mm2 for the canal, mm for a recess, where it was measured

    def __post_init__(self) -> None:
        _check_grade(self.grade, "The reference grade")


@dataclass(frozen=True)
class NewCase:
    """A case to be added: one level of one scan that lies in the image store."""

    scan_key: str
    scan_sha256: str
    simulated: bool
    level: DiscLevel
    slice_index: int                            # of the stored volume
    patient: str                                # pseudonym
    kind: CaseKind = CaseKind.TEST
    name: str = ""                              # the study's own name of the case
    site: str = ""
    scanner: str = ""
    slice_thickness_mm: float | None = None
    reference: Mapping[Region, NewReference] = field(default_factory=dict)
    source: str = ""                            # of the reference: "simulated", "two surgeons, adjudicated"
    outputs: Sequence[NewOutput] = ()

    def __post_init__(self) -> None:
        if not self.patient.strip():
            raise Refusal(f"Case {self.name or self.level.value} names no patient; cases of a patient are one cluster.")
        if self.slice_index < 0:
            raise Refusal(f"Slice {self.slice_index} of case {self.name or self.level.value} cannot be; count from 0.")
        if self.reference and not self.source.strip():
            raise Refusal(f"The reference of case {self.name or self.level.value} needs its source, such as "
                          "'two surgeons, adjudicated'.")


def _check_grade(grade: int | None, what: str) -> None:
    if grade is not None and not (isinstance(grade, int) and 0 <= grade <= 3):
        raise Refusal(f"{what} is {grade!r}; grades are 0 to 3, or none where not gradable.")
