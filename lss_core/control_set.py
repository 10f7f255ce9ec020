"""Scans with a reference standard become the cases of a study: stored without identity, graded by each version.

The folder is the one that `python -m lss_core simulate` writes and `evaluate --data` reads: `reference.csv` and a
folder of DICOM files for each patient.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from lss_core.grading.explain import HeatMap
from lss_core.grading.pipeline import Grader, GradingResult, located_by
from lss_core.imaging.store import ScanStore, StoredScan
from lss_core.imaging.volume import Volume
from lss_core.study.actors import Actor
from lss_core.study.cases import add_cases, names_of_cases
from lss_core.study.database import CaseKind
from lss_core.study.new_cases import NewCase, NewOutput, NewReference
from lss_core.training.evaluate import report_of, why_no_report
from lss_core.training.scan_sets import EvaluatedScan, KnownGrade, ReferenceSet, ScanSet, SetKind
from lss_core.vocabulary import DiscLevel, Refusal, Region, RegionGrade, measure_of

Progress = Callable[[str, float], None]
SOURCES = {
    SetKind.SIMULATED: "simulated: measured on the drawn anatomy",
    SetKind.IMPOSED: "imposed: measured on narrowing made by software",
    SetKind.REAL: "reference standard of the imported set",
    SetKind.UNSTATED: "reference standard of the imported set",
}


@dataclass(frozen=True)
class ImportReport:
    """What an import did, for the PI."""

    added: int                              # cases
    known: int                              # cases that the study had already
    refused: tuple[str, ...]                # a sentence for each scan that could not be read


def import_control_set(
    engine: Engine, store: ScanStore, actor: Actor, study_id: int, folder: Path, *, graders: Sequence[Grader],
    kind: CaseKind = CaseKind.TEST, progress: Progress | None = None,
) -> ImportReport:
    """Add every level of a folder's `reference.csv` as a case; see `import_scans`.

    Raises:
        Refusal: the reference is not usable, with its line; nothing is added then.
    """
    return import_scans(
        engine, store, actor, study_id, ReferenceSet.open(folder), graders=graders, kind=kind, progress=progress
    )


def import_scans(
    engine: Engine, store: ScanStore, actor: Actor, study_id: int, scans: ScanSet, *, graders: Sequence[Grader],
    kind: CaseKind = CaseKind.TEST, levels: Mapping[str, Collection[DiscLevel]] | None = None,
    site: str = "", progress: Progress | None = None,
) -> ImportReport:
    """Add the levels of each scan as cases, one scan after the other, so that a stopped import goes on where it was.

    Args:
        graders: The model versions whose grades and heat maps are kept beside each case.
        levels: For each patient the levels to take; None takes all of the reference.
        progress: Called with what is being done and the share of the scans that are done.

    Raises:
        Refusal: not permitted, or the protocol is locked.
    """
    tell = progress or (lambda what, share: None)
    known = names_of_cases(engine, actor, study_id)
    added, refused, skipped = 0, [], 0
    patients = scans.patients()
    for number, patient in enumerate(patients):
        tell(f"Scan {number + 1} of {len(patients)}", number / len(patients))
        try:
            scan = scans.read(patient)
        except Refusal as refusal:
            refused.append(f"{patient}: {refusal}")
            continue
        if scan.volume is None:
            refused.append(f"{patient}: {scan.refused}")
            continue
        wanted = _wanted(scan, levels)
        new = {level: rows for level, rows in wanted.items() if case_name(patient, level) not in known}
        skipped += len(wanted) - len(new)
        if new:
            cases = _cases(store, scan, scan.volume, new, graders=graders, of=scans.kind, kind=kind, site=site)
            added += len(add_cases(engine, actor, study_id, cases))
    tell("Imported", 1.0)
    return ImportReport(added, skipped, tuple(refused))


def case_name(patient: str, level: DiscLevel) -> str:
    """The study's own name of a case; no reader sees it."""
    return f"{patient} {level.value}"


def _wanted(
    scan: EvaluatedScan, levels: Mapping[str, Collection[DiscLevel]] | None
) -> dict[DiscLevel, list[KnownGrade]]:
    rows: dict[DiscLevel, list[KnownGrade]] = defaultdict(list)
    for known in scan.known:
        if levels is None or known.level in levels.get(scan.patient, ()):
            rows[known.level].append(known)
    return dict(rows)


def _cases(
    store: ScanStore, scan: EvaluatedScan, volume: Volume, wanted: Mapping[DiscLevel, Sequence[KnownGrade]], *,
    graders: Sequence[Grader], of: SetKind, kind: CaseKind, site: str,
) -> list[NewCase]:
    """The cases of one scan, whose pixels are stored once."""
    stored = store.put(volume)
    slices = {level: _slice_of(scan.patient, level, rows) for level, rows in wanted.items()}
    outputs = outputs_of_levels(store, volume, slices, graders=graders)
    return [
        _case(stored, scan, volume, level, slices[level], rows, outputs=outputs[level], of=of, kind=kind, site=site)
        for level, rows in wanted.items()
    ]


def outputs_of_levels(
    store: ScanStore, volume: Volume, slices: Mapping[DiscLevel, int], *, graders: Sequence[Grader]
) -> dict[DiscLevel, list[NewOutput]]:
    """What each version makes of the levels of a scan, with heat maps, which are stored; a row for each region, graded
    or with the reason why it is not.

    As in an evaluation, a version's report counts for a level that it names so, or leaves unnamed, and that it found
    where the reference has it.

    Args:
        slices: Level to the slice on which the reference grades it.
    """
    by_version = [_outputs(store, volume, grader, result, slices) for grader, result in _graded_by(graders, volume)]
    return {level: [row for outputs in by_version for row in outputs[level]] for level in slices}


def _graded_by(graders: Sequence[Grader], volume: Volume) -> Iterator[tuple[Grader, GradingResult | Refusal]]:
    """What each version makes of a scan; those that share a detector share one search for the discs."""
    for grader, located in located_by(graders, volume):
        yield grader, located if isinstance(located, Refusal) else grader.grade(volume, located=located)


def _outputs(
    store: ScanStore, volume: Volume, grader: Grader, result: GradingResult | Refusal, slices: Mapping[DiscLevel, int]
) -> dict[DiscLevel, list[NewOutput]]:
    """For each level a row for each region, graded or with the reason why it is not."""
    if isinstance(result, Refusal):
        return {level: [_ungraded(grader, region, str(result)) for region in Region] for level in slices}
    reports = {level: report_of(volume, level, index, result.levels) for level, index in slices.items()}
    graded = [
        (level, region, report.slice_index, found)
        for level, report in reports.items() if report for region, found in report.regions.items() if found
    ]
    heats = grader.explain(volume, [(index, region, found.box, found.grade) for _, region, index, found in graded])
    rows = {
        (level, region): _output(store, grader, region, index, found, heat)
        for (level, region, index, found), heat in zip(graded, heats, strict=True)
    }

    def why_not(level: DiscLevel, region: Region) -> str:
        report = reports[level]
        return report.not_gradable[region] if report else why_no_report(volume, level, slices[level], result.levels)[1]

    return {
        level: [rows.get((level, region)) or _ungraded(grader, region, why_not(level, region)) for region in Region]
        for level in slices
    }


def _output(
    store: ScanStore, grader: Grader, region: Region, slice_index: int, graded: RegionGrade, heat: HeatMap
) -> NewOutput:
    return NewOutput(
        version=grader.version, weights_sha256=grader.weights_sha256, region=region, grade=int(graded.grade),
        probabilities=graded.probabilities, slice_index=slice_index, box=graded.box,
        measure=graded.measures.get(measure_of(region)),
        heat_map_key=store.put_heat_map(np.round(heat.values * 255).astype(np.uint8)), heat_map_box=heat.box,
    )


def _ungraded(grader: Grader, region: Region, reason: str) -> NewOutput:
    return NewOutput(
        version=grader.version, weights_sha256=grader.weights_sha256, region=region, grade=None, not_gradable=reason
    )


def _case(
    stored: StoredScan, scan: EvaluatedScan, volume: Volume, level: DiscLevel, slice_index: int,
    rows: Sequence[KnownGrade], *, outputs: Sequence[NewOutput], of: SetKind, kind: CaseKind, site: str,
) -> NewCase:
    return NewCase(
        scan_key=stored.key, scan_sha256=stored.sha256, simulated=of is SetKind.SIMULATED, level=level,
        slice_index=slice_index, kind=kind, patient=scan.patient,
        name=case_name(scan.patient, level), site=site, scanner=scan.subgroups.get("scanner", ""),
        slice_thickness_mm=volume.slice_thickness_mm,
        reference={
            row.region: NewReference(int(row.grade), row.measures.get(measure_of(row.region))) for row in rows
        },
        source=SOURCES[of], outputs=tuple(outputs),
    )


def _slice_of(patient: str, level: DiscLevel, rows: Sequence[KnownGrade]) -> int:
    """The one slice on which the reference grades a level."""
    slices = {row.slice_index for row in rows if row.slice_index is not None}
    if len(slices) != 1:
        raise Refusal(
            f"The regions of {case_name(patient, level)} lie on {len(slices)} slices; a case is one slice: name the "
            "same sop_instance_uid for all regions of a level in reference.csv."
        )
    return slices.pop()
