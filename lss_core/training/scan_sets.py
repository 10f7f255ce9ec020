"""Sets of scans with a reference to evaluate on: patients rendered in memory, or a folder with `reference.csv`."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np

from lss_core.imaging.dicom import SeriesInfo, find_series, read_series
from lss_core.imaging.kernels import kernel_class
from lss_core.imaging.volume import Volume
from lss_core.simulation import anatomy, render, samples, series, tissue, truth
from lss_core.simulation.render import Acquisition
from lss_core.simulation.series import SimulatedSeries, patient_seed, simulate_series
from lss_core.training.data import check_evaluation_seed
from lss_core.training.reference import ReferenceCase, ReferenceRow, named_series, read_rows
from lss_core.vocabulary import Box, DiscLevel, Grade, Refusal, Region, counted

THICKNESS_BOUNDS_MM = (1.25, 2.5, 4.0)
NOISE_BOUNDS_HU = (10.0, 20.0, 40.0)
PIXEL_BOUNDS_MM = (0.35, 0.5, 0.75)
UNKNOWN = "unknown"
SIMULATED_PATIENT = re.compile(r"SIM-\d+-\d+")
NOISE_SLICES, NOISE_PATCH_MM = 9, 6.0
SOFT_TISSUE_HU = (10.0, 100.0)      # mean of a patch of muscle, liver or vessel, whatever the scanner's offset


class SetKind(StrEnum):
    """What the scans of a set are; the figures of a card are kept apart by it."""

    SIMULATED = "simulated"
    IMPOSED = "imposed"
    REAL = "real"
    UNSTATED = "unstated"


STATEMENTS = {
    SetKind.SIMULATED: "These figures are on SIMULATED CT; they say nothing about patients.",
    SetKind.IMPOSED: "These figures are on real CT with narrowing IMPOSED by software, which no patient has; they are "
                     "not clinical.",
    SetKind.REAL: "These figures are on real CT against its reference standard.",
    SetKind.UNSTATED: "It was not stated what these scans are (real, simulated or imposed).",
}


@dataclass(frozen=True)
class KnownGrade:
    """The reference of one region of one scan; box in volume pixels. What is not known is None, or missing."""

    level: DiscLevel
    region: Region
    grade: Grade
    measures: Mapping[str, float]
    slice_index: int | None
    box: Box | None


@dataclass(frozen=True)
class EvaluatedScan:
    """A scan to evaluate on; the volume is None where the scan could not be read, and `refused` says why."""

    patient: str
    volume: Volume | None
    known: tuple[KnownGrade, ...]
    subgroups: Mapping[str, str]
    refused: str = ""


class ScanSet(Protocol):
    """Scans that are read one at a time, in any process."""

    @property
    def kind(self) -> SetKind: ...

    def statement(self) -> str:
        """On what figures from this set were measured."""
        ...

    def sha256(self) -> str:
        """Of what defines the scans and their reference; the number of patients is not part of it."""
        ...

    def patients(self) -> tuple[str, ...]: ...

    def read(self, patient: str) -> EvaluatedScan:
        """One patient's scan.

        Raises:
            Refusal: the reference does not fit the scan.
        """
        ...


@dataclass(frozen=True)
class SimulatedSet:
    """The first `count` patients of an evaluation seed; the same ones that `simulate` writes."""

    count: int
    seed: int

    def __post_init__(self) -> None:
        check_evaluation_seed(self.seed)

    @property
    def kind(self) -> SetKind:
        return SetKind.SIMULATED

    def statement(self) -> str:
        return f"{STATEMENTS[self.kind]} {self.count} patients of evaluation seed {self.seed}."

    def sha256(self) -> str:
        """Of the seed and the source of the simulation, which decide what is rendered."""
        digest = hashlib.sha256(f"seed {self.seed}".encode())
        for module in (anatomy, render, samples, series, tissue, truth):
            digest.update(Path(str(module.__file__)).read_bytes())
        return digest.hexdigest()

    def patients(self) -> tuple[str, ...]:
        return tuple(f"SIM-{self.seed}-{number:04d}" for number in range(self.count))

    def read(self, patient: str) -> EvaluatedScan:
        number = int(patient.rsplit("-", 1)[1])
        return as_scan(patient, simulate_series(patient_seed(self.seed, number)))


def as_scan(patient: str, simulated: SimulatedSeries) -> EvaluatedScan:
    """A simulated series with its truth."""
    known = tuple(
        KnownGrade(level.level, region, r.grade, r.measures, level.slice_index, r.box)
        for level in simulated.truth for region, r in level.regions.items()
    )
    return EvaluatedScan(patient, simulated.volume, known, acquisition_subgroups(simulated.acquisition))


@dataclass(frozen=True)
class ReferenceSet:
    """A folder of scans with `reference.csv`; see `lss_core.training.reference`."""

    folder: Path
    kind: SetKind

    @classmethod
    def open(cls, folder: Path, kind: SetKind | None = None) -> ReferenceSet:
        """Check the reference and that every patient has a folder, before anything is graded.

        Args:
            kind: What the scans are. Patients named as `simulate` names them are simulated, whatever is stated.

        Raises:
            Refusal: the reference is not usable or grades a region twice, a folder is missing, or simulated scans are
                stated to be others.
        """
        rows = read_rows(folder)
        _refuse_repeated(rows)
        patients = {row.patient for row in rows}
        for patient in sorted(patients):
            if Path(patient).name != patient or not (folder / patient).is_dir():
                raise Refusal(f"There is no folder {patient!r} beside reference.csv; put each patient's files in one.")
        simulated = any(SIMULATED_PATIENT.fullmatch(patient) for patient in patients)
        if simulated and kind not in (None, SetKind.SIMULATED):
            raise Refusal(f"{folder.name} holds simulated patients; they cannot be evaluated on as {kind} ones.")
        return cls(folder, SetKind.SIMULATED if simulated else kind or SetKind.UNSTATED)

    def statement(self) -> str:
        patients = counted(len(self.patients()), "patient")
        return f"{STATEMENTS[self.kind]} {patients} of the reference in {self.folder.name}."

    def sha256(self) -> str:
        """Of `reference.csv`, which names every slice by its UID."""
        return hashlib.sha256((self.folder / "reference.csv").read_bytes()).hexdigest()

    def patients(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.patient for row in read_rows(self.folder)))

    def read(self, patient: str) -> EvaluatedScan:
        rows = tuple(row for row in read_rows(self.folder) if row.patient == patient)
        try:
            listed = find_series([self.folder / patient]).series
        except Refusal as refusal:
            return _unread(patient, rows, str(refusal))
        info = named_series(listed, patient, rows)
        try:
            volume = read_series(info)
        except Refusal as refusal:
            return _unread(patient, rows, str(refusal))
        case = ReferenceCase(patient, volume, rows)
        return EvaluatedScan(patient, volume, tuple(_known_grades(case)), scan_subgroups(volume, info))


def _refuse_repeated(rows: Sequence[ReferenceRow]) -> None:
    (row, count), *_ = Counter((row.patient, row.level, row.region) for row in rows).most_common(1)
    if count > 1:
        patient, level, region = row
        what = f"{level} {region.label.lower()} of patient {patient}"
        raise Refusal(f"reference.csv grades {what} {count} times; keep one.")


def _unread(patient: str, rows: Sequence[ReferenceRow], reason: str) -> EvaluatedScan:
    known = tuple(KnownGrade(row.level, row.region, row.grade, row.measures, None, None) for row in rows)
    return EvaluatedScan(patient, None, known, {}, reason)


def _known_grades(case: ReferenceCase) -> Iterator[KnownGrade]:
    for index, rows in case.by_slice().items():
        for row in rows:
            box = None if row.box is None else case.volume.stored.box_to_volume(row.box)
            yield KnownGrade(row.level, row.region, row.grade, row.measures, index, box)


def acquisition_subgroups(acquisition: Acquisition) -> dict[str, str]:
    """How a simulated scan was made, in bands."""
    return {
        "slice thickness": band(acquisition.slice_thickness_mm, THICKNESS_BOUNDS_MM, "mm"),
        "noise": band(acquisition.noise_hu, NOISE_BOUNDS_HU, "HU"),
        "pixel size": band(acquisition.pixel_mm, PIXEL_BOUNDS_MM, "mm"),
        "kernel": acquisition.kernel_name,
        "scanner": "simulated",
    }


def scan_subgroups(volume: Volume, info: SeriesInfo) -> dict[str, str]:
    """How a scan was made, from its geometry, its pixels and what the header says of scanner and kernel."""
    noise = noise_hu(volume)
    return {
        "slice thickness": band(volume.slice_thickness_mm, THICKNESS_BOUNDS_MM, "mm"),
        "noise": UNKNOWN if noise is None else band(noise, NOISE_BOUNDS_HU, "HU"),
        "pixel size": band(float(np.mean(volume.pixel_spacing_mm)), PIXEL_BOUNDS_MM, "mm"),
        "kernel": kernel_class(info.kernel, info.manufacturer),
        "scanner": info.manufacturer or UNKNOWN,
    }


def band(value: float, bounds: Sequence[float], unit: str) -> str:
    """The band of rising bounds that a value lies in; a value at a bound belongs to the lower one."""
    place = int(np.searchsorted(bounds, value))
    if place == 0:
        return f"up to {bounds[0]:g} {unit}"
    if place == len(bounds):
        return f"over {bounds[-1]:g} {unit}"
    return f"{bounds[place - 1]:g}-{bounds[place]:g} {unit}"


def noise_hu(volume: Volume) -> float | None:
    """Standard deviation in even soft tissue: the quarter of patches of `NOISE_PATCH_MM` that vary least, at its bound.

    None where no patch of soft tissue is in view, or the values are not in Hounsfield units.
    """
    if not volume.has_hounsfield:
        return None
    down, right = (max(3, round(NOISE_PATCH_MM / mm)) for mm in volume.pixel_spacing_mm)
    rows, cols = volume.shape[1] // down, volume.shape[2] // right
    indices = np.unique(np.linspace(0, volume.shape[0] - 1, NOISE_SLICES).round().astype(int))
    planes = volume.hu[indices, : rows * down, : cols * right].astype(np.float32)
    patches = planes.reshape(len(indices), rows, down, cols, right)
    mean, deviation = patches.mean(axis=(2, 4)), patches.std(axis=(2, 4))
    soft = deviation[(mean > SOFT_TISSUE_HU[0]) & (mean < SOFT_TISSUE_HU[1])]
    return float(np.quantile(soft, 0.25)) if soft.size else None
