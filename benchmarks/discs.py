"""Whether the graded slice is the one nearest to the disc, on simulated patients, by the distance of their slices.

    python -m benchmarks.discs [--patients 60] [--seed 1900000] [--workers 2]
    python -m benchmarks.discs --scans SCANS

A slice beside the right one shows another narrowing. "Too far footward" is the mean distance of the chosen slices from
the discs, which rounding to slices does not bias. Simulated: nothing is said of patients. With `--scans` the slices
that an outliner called a disc's (docs/training.md) are the reference instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.patients import grader, over_patients, patient_options
from lss_core.grading.pipeline import Located
from lss_core.imaging.volume import Volume
from lss_core.simulation.series import SimulatedSeries, patient_seed, simulate_series
from lss_core.training.outlined import read_outlined_scans
from lss_core.vocabulary import DiscLevel

SPACINGS_MM = (0.0, 1.25, 2.5, 4.0, np.inf)
NEAR_MM = 12.0                      # a slice farther away shows another place


@dataclass(frozen=True)
class Choice:
    """The slice chosen for one disc; None where the disc was not found."""

    spacing_mm: float
    away_mm: float | None           # of the slice, headward of the disc
    slices_off: int | None
    named: bool = False


def choices(series: SimulatedSeries) -> list[Choice]:
    """One for each disc of the reference."""
    volume, found = series.volume, grader().locate(series.volume)
    return [
        _choice(volume, found, truth.level, float(series.patient.disc_position(truth.level)[2]), truth.slice_index)
        for truth in series.truth
    ]


def _choice(
    volume: Volume, found: Sequence[Located], level: DiscLevel | None, place_mm: float, slice_index: int
) -> Choice:
    away = [(float(volume.positions_mm[each.slice_index]) - place_mm, each) for each in found]
    nearest = min(away, key=lambda item: abs(item[0]), default=None)
    if nearest is None or abs(nearest[0]) > NEAR_MM:
        return Choice(volume.spacing_mm, None, None)
    away_mm, each = nearest
    return Choice(volume.spacing_mm, away_mm, each.slice_index - slice_index, each.level is level)


def outlined_choices(folder: Path) -> dict[str, list[Choice]]:
    """By scan, one for each slice that is outlined as a disc's."""
    chosen = {}
    for scan in read_outlined_scans(folder):
        found = grader().locate(scan.volume)
        chosen[scan.name] = [
            _choice(scan.volume, found, each.level, float(scan.volume.positions_mm[each.slice_index]), each.slice_index)
            for each in scan.outlined if each.position == "disc"
        ]
    return chosen


def _of_patient(number: int, *, seed: int) -> list[Choice]:
    return choices(simulate_series(patient_seed(seed, number)))


def report(chosen: Iterable[Choice]) -> str:
    """A line for all discs, and one for each class of slice distance."""
    every = list(chosen)
    lines = [line("all", every)]
    for low, high in pairwise(SPACINGS_MM):
        part = [each for each in every if low < each.spacing_mm <= high]
        if part:
            lines.append(line(f"slices {low:g}-{high:g} mm apart", part))
    return "\n".join(lines)


def line(name: str, chosen: Sequence[Choice]) -> str:
    """How many were found, and how far the chosen slices lie from the discs."""
    found = [each for each in chosen if each.slices_off is not None]
    counted = f"{name:26} {len(chosen):4} discs, {len(chosen) - len(found)} not found"
    if not found:
        return counted
    away = np.array([each.away_mm for each in found], float)
    right = np.mean([each.slices_off == 0 for each in found])
    unnamed = sum(not each.named for each in found)
    return (
        f"{counted}, {unnamed} misnamed or unnamed; the nearest slice chosen in {right:.3f}; "
        f"too far footward by {-away.mean():.2f} mm (standard deviation {away.std():.2f})"
    )


def main() -> int:
    options = patient_options(__doc__ or "", patients=60).parse_args()
    if options.scans is not None:
        by_scan = outlined_choices(options.scans)
        print("\n".join(line(name, chosen) for name, chosen in by_scan.items()))
        print(line("all", [each for chosen in by_scan.values() for each in chosen]))
    else:
        print(report(over_patients(partial(_of_patient, seed=options.seed), options)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
