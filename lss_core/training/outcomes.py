"""What became of each region of each scan, as values and as a file that grows scan by scan.

The file is JSON lines: the first says what was graded and by which weights, every other one holds all regions of one
scan, so that a scan is in it whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from lss_core.vocabulary import Box, DiscLevel, Grade, Refusal, Region, RegionGrade

Built = TypeVar("Built")


class Missed(StrEnum):
    """Why a region of the reference has no grade."""

    NOT_FOUND = "not found"
    MISPLACED = "misplaced"                     # the box reported lies elsewhere
    MISNAMED = "level misnamed"                 # the disc was found under another level's name
    REFUSED = "scan refused"
    NOT_GRADABLE = "refused as not gradable"


@dataclass(frozen=True)
class Outcome:
    """One region of the reference and what one model version made of it."""

    patient: str
    level: DiscLevel
    region: Region
    grade: Grade                        # of the reference
    graded: RegionGrade | None          # None where it was missed
    missed: Missed | None               # why; None where it was graded
    reason: str                         # one sentence where it was missed
    slice_index: int | None             # on which it was graded
    measures: Mapping[str, float]       # of the reference, mm2 or mm by name; empty where not known
    pixel_mm: float | None              # None where the scan could not be read
    subgroups: Mapping[str, str]        # attribute of the scan to its value ("kernel": "soft")

    @property
    def predicted(self) -> Grade | None:
        return None if self.graded is None else self.graded.grade

    @property
    def right(self) -> bool:
        """A missed region is not."""
        return self.predicted == self.grade


@dataclass(frozen=True)
class ScanOutcomes:
    """All regions of one scan, for one model version."""

    patient: str
    refused: str                        # the sentence with which the scan was refused; empty where it was graded
    set_coverage: float | None          # share of true grades that the sets of grades are made to hold
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class RunHeader:
    """What outcomes rest on; equal headers may be put together."""

    set_sha256: str                     # of what defines the scans and their reference
    model_version: str
    weights_sha256: str
    model_sha256: str                   # of all networks that took part, their configurations and calibration


def open_outcomes(path: Path, header: RunHeader) -> tuple[ScanOutcomes, ...]:
    """What the file holds already; a new file is begun with the header.

    A last line without its end, which a killed run leaves, is dropped from the file.

    Raises:
        Refusal: the file is of another set of scans or another model, or is damaged.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(header)) + "\n", encoding="utf-8")
        return ()
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        path.unlink()
        return open_outcomes(path, header)
    found, scans = _parsed(whole.decode("utf-8", errors="replace").splitlines(), path)
    _check_same(found, header, path)
    if whole != content:
        path.write_bytes(whole)
    return scans


def read_outcomes(path: Path) -> tuple[RunHeader, tuple[ScanOutcomes, ...]]:
    """Header and complete scans of a file.

    Raises:
        Refusal: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise Refusal(f"There is no file {path.name}; run `python -m lss_core evaluate --resume FOLDER` first.")
    content = path.read_text(encoding="utf-8", errors="replace")
    return _parsed(content[: content.rfind("\n") + 1].splitlines(), path)


def append_outcomes(path: Path, scan: ScanOutcomes) -> None:
    """Add one scan."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(scan_as_json(scan), allow_nan=False) + "\n")


def _parsed(lines: Sequence[str], path: Path) -> tuple[RunHeader, tuple[ScanOutcomes, ...]]:
    if not lines:
        raise Refusal(f"{path.name} is empty; begin again in an empty folder.")
    header = _readable(lambda value: RunHeader(**value), lines[0], path, line=1)
    return header, tuple(_readable(scan_from_json, each, path, line=n) for n, each in enumerate(lines[1:], start=2))


def _readable(build: Callable[[Any], Built], text: str, path: Path, *, line: int) -> Built:
    try:
        return build(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refusal(f"Line {line} of {path.name} is not readable; begin again in an empty folder.") from error


def _check_same(found: RunHeader, wanted: RunHeader, path: Path) -> None:
    if found.set_sha256 != wanted.set_sha256:
        raise Refusal(
            f"{path.name} holds outcomes of other scans (another seed, reference or version of the simulation); "
            "choose another folder."
        )
    if found != wanted:
        raise Refusal(
            f"{path.name} holds outcomes of other weights or another calibration than model {wanted.model_version} "
            "has now; choose another folder."
        )


def scan_as_json(scan: ScanOutcomes) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "patient": scan.patient, "refused": scan.refused, "set_coverage": scan.set_coverage,
        "outcomes": [_outcome_as_json(outcome) for outcome in scan.outcomes],
    }


def scan_from_json(value: Mapping[str, Any]) -> ScanOutcomes:
    """The inverse of `scan_as_json`."""
    outcomes = tuple(_outcome_from_json(value["patient"], each) for each in value["outcomes"])
    return ScanOutcomes(value["patient"], value["refused"], value["set_coverage"], outcomes)


def _outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    graded = outcome.graded
    return {
        "level": outcome.level.value, "region": outcome.region.value, "grade": int(outcome.grade),
        "graded": None if graded is None else _grade_as_json(graded),
        "missed": None if outcome.missed is None else outcome.missed.value, "reason": outcome.reason,
        "slice_index": outcome.slice_index, "measures": dict(outcome.measures), "pixel_mm": outcome.pixel_mm,
        "subgroups": dict(outcome.subgroups),
    }


def _outcome_from_json(patient: str, value: Mapping[str, Any]) -> Outcome:
    return Outcome(
        patient=patient, level=DiscLevel(value["level"]), region=Region(value["region"]), grade=Grade(value["grade"]),
        graded=None if value["graded"] is None else _grade_from_json(value["graded"]),
        missed=None if value["missed"] is None else Missed(value["missed"]), reason=value["reason"],
        slice_index=value["slice_index"], measures=value["measures"], pixel_mm=value["pixel_mm"],
        subgroups=value["subgroups"],
    )


def _grade_as_json(graded: RegionGrade) -> dict[str, Any]:
    return {
        "box": graded.box.as_list(), "detection_confidence": graded.detection_confidence,
        "probabilities": list(graded.probabilities), "measures": dict(graded.measures),
        "grade_set": [int(grade) for grade in graded.grade_set], "doubts": list(graded.doubts),
    }


def _grade_from_json(value: Mapping[str, Any]) -> RegionGrade:
    normal, mild, moderate, severe = value["probabilities"]
    return RegionGrade(
        Box(*value["box"]), value["detection_confidence"], (normal, mild, moderate, severe), value["measures"],
        tuple(Grade(grade) for grade in value["grade_set"]), tuple(value["doubts"]),
    )
