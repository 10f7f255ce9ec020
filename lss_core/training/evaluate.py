"""End-to-end evaluation: scans in, one outcome per region of the reference out.

A region is missed where its level was not found or was misnamed, where the detector did not report it, where the box
reported lies elsewhere, where the software declined to grade it, or where the whole scan was refused. What follows
from the outcomes is in `performance`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from lss_core.grading.checkpoint import Card, read_card
from lss_core.grading.pipeline import (
    MODELS,
    NOT_FOUND,
    Grader,
    GradingResult,
    Located,
    detector_of,
    located_by,
)
from lss_core.imaging.volume import Volume
from lss_core.training.outcomes import Missed, Outcome, RunHeader, ScanOutcomes, append_outcomes, open_outcomes
from lss_core.training.scan_sets import EvaluatedScan, KnownGrade, ScanSet
from lss_core.vocabulary import Box, DiscLevel, LevelReport, Refusal, RegionGrade

MISPLACED_MM = 10.0             # a box farther than this from the reference's is somewhere else


class Models(Protocol):
    """Versions to evaluate, which any process can load."""

    @property
    def versions(self) -> tuple[str, ...]: ...

    def header(self, version: str, set_sha256: str) -> RunHeader:
        """What outcomes of this version on these scans rest on."""
        ...

    def load(self) -> dict[str, Grader]:
        """A grader per version."""
        ...


@dataclass(frozen=True)
class ModelFolder:
    """Versions of the classifier in a folder of models, with its detector and level network."""

    versions: tuple[str, ...]
    folder: Path = MODELS

    def card(self, version: str) -> Card:
        return read_card(self.folder, version)

    def header(self, version: str, set_sha256: str) -> RunHeader:
        """By the cards; whether weights are those on their card is checked when they are loaded."""
        card = self.card(version)
        cards = [card, self.card(detector_of(card)), self.card("levels")]
        facts = [[each.weights_sha256, each.configuration, each.calibration] for each in cards]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return RunHeader(set_sha256, version, card.weights_sha256, digest)

    def load(self) -> dict[str, Grader]:
        return {version: Grader.load(version, models=self.folder) for version in self.versions}


def evaluate(
    scans: ScanSet, models: Models, *, folder: Path, workers: int = 1, report: Callable[[str], None] = lambda line: None
) -> dict[str, list[ScanOutcomes]]:
    """Grade every scan with every version and keep what became of its regions in `folder`.

    Outcomes are appended to `folder/outcomes-VERSION.jsonl` scan by scan, in the order of the set; scans that are there
    already are not graded again. They do not depend on the number of workers.

    Returns:
        By version, the outcomes of each scan in the order of the set.

    Raises:
        Refusal: there is no scan, a model cannot be loaded, the reference does not fit its scans, or the folder holds
            outcomes of other scans or weights.
    """
    patients, digest = scans.patients(), scans.sha256()
    if not patients or not models.versions:
        raise Refusal("There is nothing to evaluate: no scan with graded regions, or no model, was given.")
    paths = {version: outcomes_path(folder, version) for version in models.versions}
    done = {
        version: {scan.patient: scan for scan in open_outcomes(path, models.header(version, digest))}
        for version, path in paths.items()
    }
    wanted = {patient: tuple(v for v in models.versions if patient not in done[v]) for patient in patients}
    left = {patient: versions for patient, versions in wanted.items() if versions}
    if len(left) < len(patients):
        report(f"{len(patients) - len(left)} of {len(patients)} scans are complete already.")
    for new in _graded(scans, models, left, workers):
        for version, scan in new.items():
            append_outcomes(paths[version], scan)
            done[version][scan.patient] = scan
        report(_progress_line(new))
    return {version: [done[version][patient] for patient in patients] for version in models.versions}


def outcomes_path(folder: Path, version: str) -> Path:
    """Where the outcomes of a version are kept."""
    return folder / f"outcomes-{version}.jsonl"


def _progress_line(new: Mapping[str, ScanOutcomes]) -> str:
    parts = []
    for version, scan in new.items():
        right = sum(outcome.right for outcome in scan.outcomes)
        missed = sum(outcome.graded is None for outcome in scan.outcomes)
        parts.append(f"{version}: {right} of {len(scan.outcomes)} regions right, {missed} missed")
    return f"{next(iter(new.values())).patient}  {'; '.join(parts)}"


def _graded(
    scans: ScanSet, models: Models, left: Mapping[str, tuple[str, ...]], workers: int
) -> Iterator[dict[str, ScanOutcomes]]:
    """Grade the patients that are left, in their order, here or in other processes, each on a single thread."""
    if not left:
        return
    if workers == 1 or len(left) == 1:
        with _single_thread():
            graders = models.load()
            for patient, versions in left.items():
                yield grade_scan(scans.read(patient), {version: graders[version] for version in versions})
        return
    with ProcessPoolExecutor(min(workers, len(left)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(_grade_elsewhere, scans, models), left.keys(), left.values())


@contextmanager
def _single_thread() -> Iterator[None]:
    """Torch on one thread, as in a worker, so that rounding is the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _grade_elsewhere(
    scans: ScanSet, models: Models, patient: str, versions: tuple[str, ...]
) -> dict[str, ScanOutcomes]:
    torch.set_num_threads(1)
    graders = _graders_of_this_process(models)
    return grade_scan(scans.read(patient), {version: graders[version] for version in versions})


@lru_cache(maxsize=1)
def _graders_of_this_process(models: Models) -> dict[str, Grader]:
    return models.load()


def grade_scan(scan: EvaluatedScan, graders: Mapping[str, Grader]) -> dict[str, ScanOutcomes]:
    """Locate the regions, once for all versions of one detector, grade them, and compare with the reference."""
    if scan.volume is None:
        return {version: _outcomes(scan, Refusal(scan.refused)) for version in graders}
    found = zip(graders, located_by(graders.values(), scan.volume), strict=True)
    return {
        version: _outcomes(scan, _graded_scan(grader, scan.volume, located))
        for version, (grader, located) in found
    }


def _graded_scan(grader: Grader, volume: Volume, located: Sequence[Located] | Refusal) -> GradingResult | Refusal:
    if isinstance(located, Refusal):
        return located
    try:
        return grader.grade(volume, located=located)
    except Refusal as refusal:
        return refusal


def _outcomes(scan: EvaluatedScan, graded: GradingResult | Refusal) -> ScanOutcomes:
    result, reason = (None, str(graded)) if isinstance(graded, Refusal) else (graded, "")
    coverage = None if result is None else result.set_coverage
    return ScanOutcomes(scan.patient, reason, coverage, tuple(compare(scan, result, refused=reason)))


def compare(scan: EvaluatedScan, result: GradingResult | None, *, refused: str = "") -> list[Outcome]:
    """Pair each region of the reference with what was reported for its level.

    Args:
        result: None where the scan was refused, for the reason in `refused`.
    """
    return [_outcome(scan, known, _find(scan, known, result, refused)) for known in scan.known]


@dataclass(frozen=True)
class _Found:
    """The grade of a region with its slice, or why there is none."""

    graded: RegionGrade | None = None
    slice_index: int | None = None
    missed: Missed | None = None
    reason: str = ""


def _outcome(scan: EvaluatedScan, known: KnownGrade, found: _Found) -> Outcome:
    return Outcome(
        patient=scan.patient, level=known.level, region=known.region, grade=known.grade, graded=found.graded,
        missed=found.missed, reason=found.reason, slice_index=found.slice_index, measures=known.measures,
        pixel_mm=None if scan.volume is None else float(np.mean(scan.volume.pixel_spacing_mm)),
        subgroups=scan.subgroups,
    )


def _find(scan: EvaluatedScan, known: KnownGrade, result: GradingResult | None, refused: str) -> _Found:
    if scan.volume is None or result is None:
        return _Found(missed=Missed.REFUSED, reason=refused)
    report = report_of(scan.volume, known.level, known.slice_index, result.levels)
    if report is None:
        missed, reason = why_no_report(scan.volume, known.level, known.slice_index, result.levels)
        return _Found(missed=missed, reason=reason)
    graded = report.regions.get(known.region)
    if graded is None:
        not_found = NOT_FOUND.format(known.region.label.lower())
        reason = report.not_gradable.get(known.region, not_found)
        return _Found(missed=Missed.NOT_FOUND if reason == not_found else Missed.NOT_GRADABLE, reason=reason)
    apart_mm = 0.0 if known.box is None else _distance_mm(scan.volume, graded.box, known.box)
    if apart_mm > MISPLACED_MM:
        return _Found(missed=Missed.MISPLACED, reason=f"It was reported {apart_mm:.0f} mm from where it lies.")
    return _Found(graded, report.slice_index)


def report_of(
    volume: Volume, level: DiscLevel, slice_index: int | None, levels: Sequence[LevelReport]
) -> LevelReport | None:
    """The report of this level by name, or by place where levels could not be named; never one that lies elsewhere.

    Args:
        slice_index: Where the reference has the level; None where it does not say.
    """
    near = [
        report for report in levels
        if report.level in (level, None) and _apart_mm(volume, slice_index, report) <= MISPLACED_MM
    ]
    return min(near, key=lambda report: _apart_mm(volume, slice_index, report), default=None)


def why_no_report(
    volume: Volume, level: DiscLevel, slice_index: int | None, levels: Sequence[LevelReport]
) -> tuple[Missed, str]:
    """How a level was missed for which `report_of` finds nothing, and a sentence that says so."""
    here = [r for r in levels if slice_index is not None and _apart_mm(volume, slice_index, r) <= MISPLACED_MM]
    if here:
        return Missed.MISNAMED, f"The disc was reported as {_name(here[0].level)}."
    elsewhere = [_apart_mm(volume, slice_index, report) for report in levels if report.level == level]
    if elsewhere:
        return Missed.MISPLACED, f"The level was reported {min(elsewhere):.0f} mm away."
    return Missed.NOT_FOUND, "The disc was not found."


def _name(level: DiscLevel | None) -> str:
    return "a disc of unknown level" if level is None else level.value


def _apart_mm(volume: Volume, slice_index: int | None, report: LevelReport) -> float:
    """Along the scan; 0 where the place of the reference is not known."""
    if slice_index is None:
        return 0.0
    return abs(float(volume.positions_mm[report.slice_index] - volume.positions_mm[slice_index]))


def _distance_mm(volume: Volume, a: Box, b: Box) -> float:
    return math.hypot(*a.mm_from(b.centre, volume.pixel_spacing_mm))
