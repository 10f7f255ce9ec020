"""Whole simulated series: as volumes in memory, or as DICOM folders with their reference standard."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from lss_core.imaging.dicom_out import CtHeader, write_series
from lss_core.imaging.volume import Volume
from lss_core.simulation.anatomy import Patient, sample_patient
from lss_core.simulation.render import Acquisition, detect, expose, sample_acquisition
from lss_core.simulation.samples import as_hu, volume_of
from lss_core.simulation.truth import RegionTruth, measure_slice
from lss_core.vocabulary import CANAL_AP, DiscLevel, Region

MATRIX = 512
REFERENCE_COLUMNS = (
    "patient",
    "series_uid",
    "level",
    "region",
    "grade",
    "measure_name",
    "measure_value",
    "sop_instance_uid",
    "row0",
    "col0",
    "row1",
    "col1",
)
CANAL_AP_COLUMN = "canal_ap_mm"  # optional in a reference.csv; written for central canals
DEMO_SEED = 20_240_615


@dataclass(frozen=True)
class LevelTruth:
    """The reference of one disc level, on the slice nearest to the disc's posterior margin."""

    level: DiscLevel
    slice_index: int
    regions: dict[Region, RegionTruth]


@dataclass(frozen=True)
class SimulatedSeries:
    volume: Volume
    truth: tuple[LevelTruth, ...]
    patient: Patient
    acquisition: Acquisition


def simulate_series(seed: int, *, acquisition: Acquisition | None = None, matrix: int = MATRIX) -> SimulatedSeries:
    """Render one patient from about T12 to S2; the same seed gives the same scan."""
    rng = np.random.default_rng(seed)
    patient = sample_patient(rng)
    acquisition = acquisition or sample_acquisition(rng, patient)
    low = patient.point(patient.vertebrae[9, 0] + rng.uniform(-8, 8), 0, 5)[2]
    high = patient.point(patient.vertebrae[2, 0] + rng.uniform(-8, 8), 0, 5)[2]
    positions = np.arange(low, high, acquisition.slice_spacing_mm) + rng.uniform(0, 1)
    ys, xs = _grid(patient, acquisition, matrix, rng)
    noise = rng.spawn(len(positions))

    def one_slice(index: int) -> np.ndarray:
        clean = _expose_slice(patient, acquisition, positions[index], ys, xs)
        return as_hu(detect(clean, acquisition, acquisition.pixel_mm, noise[index]))

    with ThreadPoolExecutor(2) as pool:
        hu = np.stack(list(pool.map(one_slice, range(len(positions)))))
    series_uid = generate_uid(entropy_srcs=["lss-simulated", str(seed)])
    uids = tuple(generate_uid(entropy_srcs=["lss-simulated", str(seed), str(i)]) for i in range(len(positions)))
    volume = volume_of(
        hu,
        positions,
        acquisition.pixel_mm,
        acquisition.slice_thickness_mm,
        series_uid=series_uid,
        sop_instance_uids=uids,
    )
    truth = tuple(
        t
        for level in DiscLevel
        if (t := _level_truth(patient, acquisition, level, positions, ys[0], xs[0])) is not None
    )
    return SimulatedSeries(volume, truth, patient, acquisition)


def _expose_slice(
    patient: Patient, acquisition: Acquisition, z_mm: float, ys: np.ndarray, xs: np.ndarray
) -> np.ndarray:
    """A whole slice: the slice's thickness is sampled finely around the spine, where it is looked at, and coarsely in
    the trunk."""
    clean = expose(patient, acquisition, z_mm, ys, xs, most_planes=2)
    x, y = patient.curve[int(np.argmin(np.abs(patient.curve[:, 3] - z_mm))), 1:3]
    rows = slice(*np.searchsorted(ys, (y - 45.0, y + 60.0)))
    cols = slice(*np.searchsorted(xs, (x - 45.0, x + 45.0)))
    if acquisition.slice_thickness_mm > 2.2 and len(ys[rows]) > 1 and len(xs[cols]) > 1:
        clean[rows, cols] = expose(patient, acquisition, z_mm, ys[rows], xs[cols])
    return clean


def simulate_volume(seed: int = DEMO_SEED) -> Volume:
    """A simulated case to try the software on."""
    return simulate_series(seed).volume


def _grid(
    patient: Patient, acquisition: Acquisition, matrix: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres in mm; wide fields hold the trunk, narrow ones the spine."""
    field = acquisition.pixel_mm * matrix
    middle = np.median(patient.curve[:, 1:3], axis=0)
    wide = np.clip((field - 200) / 200, 0, 1)
    x = middle[0] + rng.normal(0, 5)
    y = middle[1] + 8 + rng.normal(0, 5) - wide * max(patient.body[1] - patient.body[2], 0)
    steps = (np.arange(matrix) - (matrix - 1) / 2) * acquisition.pixel_mm
    return y + steps, x + steps


def _level_truth(
    patient: Patient, acquisition: Acquisition, level: DiscLevel, positions: np.ndarray, y0: float, x0: float
) -> LevelTruth | None:
    index = int(np.argmin(np.abs(positions - patient.disc_position(level)[2])))
    measured = measure_slice(patient, positions[index], acquisition.slice_thickness_mm)
    if len(measured) < len(Region):
        return None
    regions = {r: m.in_pixels(r, y0_mm=y0, x0_mm=x0, pixel_mm=acquisition.pixel_mm) for r, m in measured.items()}
    return LevelTruth(level, index, regions)


def write_simulated(out: Path, *, patients: int, seed: int) -> Path:
    """Write DICOM series marked SIMULATED, one folder a patient, and `reference.csv`, whose path is returned."""
    out.mkdir(parents=True, exist_ok=True)
    reference = out / "reference.csv"
    with reference.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow((*REFERENCE_COLUMNS, CANAL_AP_COLUMN))
        for number in range(patients):
            name = f"SIM-{seed}-{number:04d}"
            series = simulate_series(patient_seed(seed, number))
            write_dicom(series, out / name, name)
            writer.writerows(_reference_rows(series, name))
            handle.flush()
    return reference


def patient_seed(seed: int, number: int) -> int:
    """Seed of the n-th patient of a set."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _reference_rows(series: SimulatedSeries, name: str) -> list[tuple]:
    return [
        (
            name,
            series.volume.series_uid,
            level.level,
            region,
            int(truth.grade),
            truth.measure_name,
            f"{truth.measure_value:.2f}",
            series.volume.sop_instance_uids[level.slice_index],
            *(f"{edge:.2f}" for edge in truth.box.as_list()),
            f"{truth.measures[CANAL_AP]:.2f}" if CANAL_AP in truth.measures else "",
        )
        for level in series.truth
        for region, truth in level.regions.items()
    ]


def write_dicom(series: SimulatedSeries, folder: Path, name: str) -> None:
    """Write one file a slice, each marked SIMULATED."""
    write_series(series.volume, folder, simulated_header(
        name, sex=series.patient.sex, age_years=series.patient.age, kernel=series.acquisition.kernel_name
    ))


def simulated_header(name: str, *, sex: str, age_years: float | None, kernel: str) -> CtHeader:
    """A header that cannot be taken for a patient's."""
    return CtHeader(
        patient=name, patient_name=f"SIMULATED^{name}", description="SIMULATED lumbar spine, not a patient",
        comment="SIMULATED: rendered by software, no patient was scanned.", deidentified_by="SIMULATED",
        manufacturer="SIMULATED", model_name="Lumbar Stenosis Studio simulation", kernel=kernel, sex=sex,
        age_years=age_years,
    )
