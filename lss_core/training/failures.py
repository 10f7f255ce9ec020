"""The worst errors of an evaluation, as pictures to learn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lss_core.figures import region_picture
from lss_core.grading.pipeline import Grader
from lss_core.imaging.volume import Volume, window
from lss_core.training.evaluate import Models
from lss_core.training.outcomes import Outcome
from lss_core.training.scan_sets import ScanSet
from lss_core.vocabulary import Grade, RegionGrade

MOST = 12
WINDOW_HU = {"width": 400, "level": 40}


@dataclass(frozen=True)
class Failure:
    """A wrong grade; `picture` is a file beside `failures.json`."""

    picture: str
    model_version: str
    patient: str
    level: str
    region: str
    reference: int
    predicted: int
    expected_grade: float
    probabilities: tuple[float, ...]
    measures: Mapping[str, float]           # measured, mm2 or mm
    known_measures: Mapping[str, float]
    doubts: tuple[str, ...]
    scan: Mapping[str, str]                 # thickness, noise, kernel, scanner ...


def worst(outcomes: Sequence[Outcome], most: int) -> list[Outcome]:
    """Wrong grades: those off by two or three first, then by the distance of the expected grade; ties by name."""

    def rank(outcome: Outcome) -> tuple:
        graded = _graded(outcome)
        apart = abs(graded.expected_grade - outcome.grade)
        near = abs(graded.grade - outcome.grade) < 2
        return near, -apart, outcome.patient, outcome.level, outcome.region

    return sorted((o for o in outcomes if o.graded is not None and not o.right), key=rank)[:most]


def write_failures(
    scans: ScanSet, models: Models, outcomes: Mapping[str, Sequence[Outcome]], *, folder: Path, statement: str,
    report: Callable[[str], None] = lambda line: None,
) -> list[Failure]:
    """Draw the worst errors of each version into `folder`, MOST in all, with `failures.json`; older ones go.

    The scans are read again, because only outcomes are kept of them.
    """
    share = max(1, MOST // len(outcomes))
    chosen = [(version, o) for version, each in outcomes.items() for o in worst(each, share)]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    failures: dict[int, Failure] = {}
    graders = models.load() if chosen else {}
    for patient in dict.fromkeys(outcome.patient for _, outcome in chosen):
        report(f"{patient}  drawing")
        volume = scans.read(patient).volume
        for number, (version, outcome) in enumerate(chosen, start=1):
            if volume is not None and outcome.patient == patient:
                failures[number] = _failure(number, version, outcome)
                picture = _picture(graders[version], volume, version, outcome, statement)
                (folder / failures[number].picture).write_bytes(picture)
    listed = [failures[number] for number in sorted(failures)]
    content = {"statement": statement, "failures": [asdict(failure) for failure in listed]}
    (folder / "failures.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return listed


def _graded(outcome: Outcome) -> RegionGrade:
    if outcome.graded is None:
        raise ValueError(f"{outcome.patient} {outcome.level} {outcome.region} was missed: it has no grade to show.")
    return outcome.graded


def _failure(number: int, version: str, outcome: Outcome) -> Failure:
    graded = _graded(outcome)
    name = f"{number:02d}-{version}-{outcome.level.value.replace('/', '-')}-{outcome.region.value}.png"
    return Failure(
        picture=name, model_version=version, patient=outcome.patient, level=outcome.level.value,
        region=outcome.region.value, reference=int(outcome.grade), predicted=int(graded.grade),
        expected_grade=graded.expected_grade, probabilities=graded.probabilities, measures=dict(graded.measures),
        known_measures=dict(outcome.measures), doubts=graded.doubts, scan=dict(outcome.subgroups),
    )


def _picture(grader: Grader, volume: Volume, version: str, outcome: Outcome, statement: str) -> bytes:
    graded, index = _graded(outcome), outcome.slice_index or 0
    heat = grader.heat_map(volume, index, outcome.region, graded.box, target=graded.grade)
    return region_picture(
        window(volume.hu[index], **WINDOW_HU), pixel_spacing_mm=volume.pixel_spacing_mm, box=graded.box,
        heat=heat.values, heat_box=heat.box, caption=_caption(version, outcome, graded, statement),
    )


def _caption(version: str, outcome: Outcome, graded: RegionGrade, statement: str) -> list[str]:
    measured = ", ".join(
        f"{name} {value:.1f}" + (f" (known {outcome.measures[name]:.1f})" if name in outcome.measures else "")
        for name, value in graded.measures.items()
    )
    lines = [
        f"{outcome.level} {outcome.region.label.lower()}: reference {_named(outcome.grade)}, {version} says "
        f"{_named(graded.grade)}, expected grade {graded.expected_grade:.2f}",
        measured, "; ".join(f"{name} {value}" for name, value in outcome.subgroups.items()), statement,
    ]
    return [line for line in lines if line]


def _named(grade: Grade) -> str:
    return f"{int(grade)} ({grade.label})"
