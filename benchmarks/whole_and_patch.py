"""Whether a slice of a whole series is read as the same slice rendered alone, which is what training sees.

    python -m benchmarks.whole_and_patch [--patients 20] [--seed 1900000] [--models DIR]

The sac's area on the reference's slices and in its boxes, read by v1 from the whole series and from a patch of the same
patient, place and scanner with other noise. A patient's levels err together, so that standard errors are of patients.
Simulated: nothing is said of patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.patients import grader, over_patients, patient_options
from lss_core.grading.pipeline import MODELS, Grader
from lss_core.imaging.volume import Volume
from lss_core.simulation.samples import as_hu, render_slices, volume_of
from lss_core.simulation.series import LevelTruth, SimulatedSeries, patient_seed, simulate_series
from lss_core.vocabulary import SAC_AREA, Box, Region

CANAL = Region.CENTRAL_CANAL


@dataclass(frozen=True)
class Read:
    """Areas of one sac in mm2."""

    patient: int
    true: float
    whole: float                # from the whole series
    alone: float                # from the slice and its neighbours rendered alone


def of_patient(number: int, *, seed: int, models: Path) -> list[Read]:
    """The discs of one simulated patient."""
    series = simulate_series(patient_seed(seed, number))
    rng = np.random.default_rng([seed, number])
    return [
        read for truth in series.truth for read in _of_level(number, series, truth, grader(models), rng)
    ]


def _of_level(
    number: int, series: SimulatedSeries, truth: LevelTruth, grader: Grader, rng: np.random.Generator
) -> Iterator[Read]:
    volume, scanner = series.volume, series.acquisition
    x, y, _ = series.patient.disc_position(truth.level)
    place = (x, y, float(volume.positions_mm[truth.slice_index]))
    sample = render_slices(series.patient, truth.level, scanner, rng, point=place)
    if sample is None:
        return
    apart = grader.networks[2].config.neighbour_mm
    patch = volume_of(
        as_hu(sample.hu), np.arange(3) * apart, sample.pixel_mm, scanner.slice_thickness_mm,
        series_uid="2.25.0",
    )
    canal = truth.regions[CANAL]
    yield Read(
        number, canal.measure_value, _area(grader, volume, truth.slice_index, canal.box),
        _area(grader, patch, 1, sample.regions[CANAL].box),
    )


def _area(grader: Grader, volume: Volume, index: int, box: Box) -> float:
    return grader.measure(volume, index, {CANAL: box})[CANAL][SAC_AREA]


def line(name: str, errors: Sequence[tuple[int, float]]) -> str:
    """Mean and standard error of (patient, mm2) over patients."""
    by_patient: dict[int, list[float]] = defaultdict(list)
    for patient, error in errors:
        by_patient[patient].append(error)
    means = np.array([np.mean(each) for each in by_patient.values()])
    return (
        f"{name:28} {means.mean():+.2f} mm2, standard error {means.std(ddof=1) / np.sqrt(len(means)):.2f}; between "
        f"patients {means.std(ddof=1):.1f} mm2"
    )


def main() -> int:
    parser = patient_options(__doc__ or "", patients=20)
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help="default the shipped ones")
    options = parser.parse_args()
    read = over_patients(partial(of_patient, seed=options.seed, models=options.models), options)
    print(f"{len(read)} sacs")
    print(line("whole series minus true", [(each.patient, each.whole - each.true) for each in read]))
    print(line("rendered alone minus true", [(each.patient, each.alone - each.true) for each in read]))
    print(line("whole series minus alone", [(each.patient, each.whole - each.alone) for each in read]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
