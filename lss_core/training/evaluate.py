"""End-to-end evaluation: scans in, grades out, against a reference; with the ceiling that measuring errors set.

A region is missed where its level was not found or was misnamed, where the detector did not report it, or where the
box reported lies elsewhere. A missed region counts as wrong in the accuracy and is not in the kappa.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from lss_core.grading.pipeline import Grader, GradingResult
from lss_core.imaging.volume import Volume
from lss_core.simulation.series import SimulatedSeries, patient_seed, simulate_series
from lss_core.statistics.agreement import confusion_matrix, weighted_kappa
from lss_core.statistics.estimate import Estimate, bootstrap_by_cluster, wilson_interval
from lss_core.training.data import check_evaluation_seed
from lss_core.training.reference import ReferenceCase, read_cases
from lss_core.vocabulary import (
    GRADE_BOUNDS,
    SAC_AREA,
    Box,
    DiscLevel,
    Grade,
    LevelReport,
    Refusal,
    Region,
    measure_of,
)

MISPLACED_MM = 10.0             # a box farther than this from the reference's is somewhere else
GRADES = tuple(int(grade) for grade in Grade)
ON_SIMULATED = "These figures are on SIMULATED CT; they say nothing about patients."
ON_REFERENCE = "Figures against the reference standard in {}."


@dataclass(frozen=True)
class KnownGrade:
    """The reference of one region of one scan; box in volume pixels and measure where known."""

    level: DiscLevel
    region: Region
    grade: Grade
    measure: float | None
    slice_index: int | None
    box: Box | None


@dataclass(frozen=True)
class EvaluatedScan:
    """A scan to evaluate on."""

    patient: str
    volume: Volume
    known: tuple[KnownGrade, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one region; `predicted` is None where it was missed."""

    patient: str
    level: DiscLevel
    region: Region
    grade: Grade
    predicted: Grade | None
    measure: float | None
    pixel_mm: float


@dataclass(frozen=True)
class Ceiling:
    """What an observer scores who measures with an error of half a pixel and grades by the thresholds."""

    accuracy: float
    quadratic_kappa: float


@dataclass(frozen=True)
class Figures:
    """Performance on one kind of region. `confusion` is [reference, predicted]; missed regions are apart."""

    regions: int
    missed: int
    missed_share: Estimate
    accuracy: Estimate                  # Wilson
    accuracy_by_patient: Estimate       # bootstrap over patients
    quadratic_kappa: Estimate           # bootstrap over patients
    off_by_two: Estimate                # Wilson, of the regions found
    prevalence: tuple[int, int, int, int]
    confusion: tuple[tuple[int, ...], ...]
    missed_by_grade: tuple[int, int, int, int]
    ceiling: Ceiling | None             # None where measures are not known


@dataclass(frozen=True)
class Evaluation:
    """Figures by kind of region, with what they were measured on."""

    statement: str
    model_version: str
    weights_sha256: str
    patients: int
    refused: tuple[str, ...]
    central: Figures
    recess: Figures


def simulated_scans(patients: int, seed: int) -> Iterator[EvaluatedScan]:
    """Render patients of an evaluation seed, one after the other; the same ones that `simulate` writes."""
    check_evaluation_seed(seed)
    for number in range(patients):
        yield _as_scan(f"SIM-{seed}-{number:04d}", simulate_series(patient_seed(seed, number)))


def _as_scan(patient: str, series: SimulatedSeries) -> EvaluatedScan:
    known = tuple(
        KnownGrade(truth.level, region, r.grade, r.measure_value, truth.slice_index, r.box)
        for truth in series.truth for region, r in truth.regions.items()
    )
    return EvaluatedScan(patient, series.volume, known)


def reference_scans(folder: Path) -> Iterator[EvaluatedScan]:
    """Scans of a folder with `reference.csv`; boxes and measures may be missing there."""
    for case in read_cases(folder):
        yield EvaluatedScan(case.patient, case.volume, tuple(_known_grades(case)))


def _known_grades(case: ReferenceCase) -> Iterable[KnownGrade]:
    for index, rows in case.by_slice().items():
        for row in rows:
            box = None if row.box is None else case.volume.stored.box_to_volume(row.box)
            yield KnownGrade(row.level, row.region, row.grade, row.measure_value, index, box)


def evaluate(
    grader: Grader, scans: Iterable[EvaluatedScan], *, statement: str, report: Callable[[str], None] = lambda line: None
) -> Evaluation:
    """Grade every scan from end to end and compare. A refused scan's regions are missed.

    Raises:
        Refusal: there is no scan.
    """
    outcomes: list[Outcome] = []
    refused: list[str] = []
    patients = 0
    for scan in scans:
        patients += 1
        try:
            result = grader.grade(scan.volume)
        except Refusal as refusal:
            refused.append(f"{scan.patient}: {refusal}")
            result = None
        new = compare(scan, result)
        outcomes += new
        right = sum(o.predicted == o.grade for o in new)
        missed = sum(o.predicted is None for o in new)
        report(f"{scan.patient}: {right} of {len(new)} regions right, {missed} missed")
    if not outcomes:
        raise Refusal("There is nothing to evaluate: no scan with graded regions was given.")
    central = [o for o in outcomes if o.region is Region.CENTRAL_CANAL]
    return Evaluation(
        statement=statement, model_version=grader.version, weights_sha256=grader.weights_sha256, patients=patients,
        refused=tuple(refused), central=figures(central),
        recess=figures([o for o in outcomes if o.region is not Region.CENTRAL_CANAL]),
    )


def compare(scan: EvaluatedScan, result: GradingResult | None) -> list[Outcome]:
    """Pair each reference region with what was reported for its level."""
    return [
        Outcome(
            scan.patient, known.level, known.region, known.grade, _predicted(scan, known, result), known.measure,
            float(np.mean(scan.volume.pixel_spacing_mm)),
        )
        for known in scan.known
    ]


def _predicted(scan: EvaluatedScan, known: KnownGrade, result: GradingResult | None) -> Grade | None:
    report = None if result is None else _report_of(scan.volume, known, result.levels)
    graded = None if report is None else report.regions.get(known.region)
    if graded is None or (known.box is not None and _distance_mm(scan.volume, graded.box, known.box) > MISPLACED_MM):
        return None
    return graded.grade


def _report_of(volume: Volume, known: KnownGrade, levels: Sequence[LevelReport]) -> LevelReport | None:
    """The report of this level by name, or by place where levels could not be named; never one that lies elsewhere."""

    def apart_mm(report: LevelReport) -> float:
        if known.slice_index is None:
            return 0.0
        return abs(float(volume.positions_mm[report.slice_index] - volume.positions_mm[known.slice_index]))

    candidates = [report for report in levels if report.level in (known.level, None)]
    near = [report for report in candidates if apart_mm(report) <= MISPLACED_MM]
    return min(near, key=apart_mm, default=None)


def _distance_mm(volume: Volume, a: Box, b: Box) -> float:
    apart = [(p - q) * mm for p, q, mm in zip(a.centre, b.centre, volume.pixel_spacing_mm, strict=True)]
    return math.hypot(*apart)


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """Performance over regions of one kind."""
    truth = np.array([int(o.grade) for o in outcomes])
    predicted = np.array([-1 if o.predicted is None else int(o.predicted) for o in outcomes])
    patients = [o.patient for o in outcomes]
    found = predicted >= 0

    def kappa(indices: np.ndarray) -> float:
        kept = indices[found[indices]]
        return weighted_kappa(confusion_matrix(truth[kept].tolist(), predicted[kept].tolist(), categories=GRADES))

    right, missed = truth == predicted, int((~found).sum())
    far = int((np.abs(truth - predicted)[found] >= 2).sum())
    confusion = confusion_matrix(truth[found].tolist(), predicted[found].tolist(), categories=GRADES)
    return Figures(
        regions=len(outcomes), missed=missed, missed_share=wilson_interval(missed, len(outcomes)),
        accuracy=wilson_interval(int(right.sum()), len(outcomes)),
        accuracy_by_patient=bootstrap_by_cluster(lambda i: float(right[i].mean()), patients),
        quadratic_kappa=bootstrap_by_cluster(kappa, patients),
        off_by_two=wilson_interval(far, int(found.sum())), prevalence=_counts(truth),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion), missed_by_grade=_counts(truth[~found]),
        ceiling=ceiling(outcomes),
    )


def _counts(grades: np.ndarray) -> tuple[int, int, int, int]:
    zero, one, two, three = (int((grades == grade).sum()) for grade in GRADES)
    return zero, one, two, three


def ceiling(outcomes: Sequence[Outcome]) -> Ceiling | None:
    """Expected score of a perfect observer whose measurement errs by half a pixel.

    A recess height errs with standard deviation 0.5 pixel. A sac's outline lies 0.5 pixel (one standard deviation) too
    far in or out all around, so its area errs by perimeter x 0.5 pixel; the perimeter is that of a circle of this area.
    """
    known = [o for o in outcomes if o.measure is not None]
    if not known:
        return None
    masses = np.zeros((len(GRADES), len(GRADES)))
    for outcome in known:
        masses[int(outcome.grade)] += grade_masses(outcome.region, float(outcome.measure or 0.0), outcome.pixel_mm)
    return Ceiling(float(np.trace(masses) / masses.sum()), weighted_kappa(masses))


def grade_masses(region: Region, measure: float, pixel_mm: float) -> np.ndarray:
    """Probabilities of grades 0-3 for a measure that is read with half a pixel's error."""
    name = measure_of(region)
    error = 0.5 * pixel_mm * (2 * float(np.sqrt(np.pi * max(measure, 1.0))) if name == SAC_AREA else 1.0)
    below = norm.cdf((np.array(GRADE_BOUNDS[name]) - measure) / error)          # of the bounds 0/1, 1/2, 2/3
    return np.array([1 - below[0], below[0] - below[1], below[1] - below[2], below[2]])


def evaluation_as_text(evaluation: Evaluation) -> str:
    """A report for the terminal."""
    lines = [
        evaluation.statement,
        f"Model {evaluation.model_version} (weights {evaluation.weights_sha256[:12]}), {evaluation.patients} patients, "
        f"{len(evaluation.refused)} refused.",
        *(f"  refused: {reason}" for reason in evaluation.refused),
    ]
    for name, part in (("Central canal", evaluation.central), ("Lateral recess", evaluation.recess)):
        lines += ["", *_figures_as_lines(name, part)]
    return "\n".join(lines)


def _figures_as_lines(name: str, part: Figures) -> Iterator[str]:
    yield f"{name}: {part.regions} regions"
    yield f"  missed                  {part.missed}  {part.missed_share}"
    yield f"  accuracy, Wilson        {part.accuracy}  (a missed region counts as wrong)"
    yield f"  accuracy, by patient    {part.accuracy_by_patient}  (bootstrap over patients)"
    yield f"  quadratic kappa         {part.quadratic_kappa}  (bootstrap over patients, regions found)"
    yield f"  off by two or more      {part.off_by_two}"
    if part.ceiling is not None:
        scores = f"accuracy {part.ceiling.accuracy:.3f}, kappa {part.ceiling.quadratic_kappa:.3f}"
        yield f"  ceiling                 {scores}  (perfect observer, half a pixel of measuring error)"
    shares = (f"{n} ({n / max(part.regions, 1):.0%})" for n in part.prevalence)
    yield "  prevalence of grades 0-3: " + ", ".join(shares)
    yield "  reference \\ predicted        0     1     2     3  missed"
    for grade, (row, missed) in enumerate(zip(part.confusion, part.missed_by_grade, strict=True)):
        yield f"  {grade}                      " + "".join(f"{n:6d}" for n in row) + f"{missed:8d}"


def evaluation_as_json(evaluation: Evaluation) -> Mapping[str, Any]:
    """Plain JSON values, NaN as null."""
    return _without_nan(asdict(evaluation))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value
