"""How far found boxes lie from the reference's, and what that costs the grades, on the reference's own slices.

    python -m benchmarks.boxes [--patients 20] [--seed 1900000] [--models DIR]
    python -m benchmarks.boxes --scans SCANS

A recess is measured beside the facet's tip, so that a box that lies too far forward or back reads another height.
Simulated: nothing is said of patients. With `--scans` the centres that an outliner gave (docs/training.md) are the
reference instead; what he graded is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.patients import grader, over_patients, patient_options
from lss_core.grading.detector import find_regions
from lss_core.grading.pipeline import MODELS, Grader
from lss_core.imaging.volume import Volume
from lss_core.simulation.series import LevelTruth, patient_seed, simulate_series
from lss_core.training.outlined import read_outlined_scans
from lss_core.vocabulary import Box, Grade, Region


@dataclass(frozen=True)
class Found:
    """One region of the reference."""

    region: Region
    off_mm: tuple[float, float] | None  # (back, to the patient's left) of the reference's centre; None: not found
    right: bool | None = None           # graded as the reference says, in the box that was found
    right_in_reference_box: bool | None = None


def of_patient(number: int, *, seed: int, models: Path) -> list[Found]:
    """The regions of one simulated patient."""
    series = simulate_series(patient_seed(seed, number))
    return [found for truth in series.truth for found in _of_level(series.volume, truth, grader(models))]


def _of_level(volume: Volume, truth: LevelTruth, grader: Grader) -> Iterator[Found]:
    reference = {region: each.box for region, each in truth.regions.items()}
    boxes = _found_boxes(volume, truth.slice_index, reference[Region.CENTRAL_CANAL].centre, grader)
    graded = [_grades(volume, truth, each, grader) for each in (boxes, reference)]
    for region, each in truth.regions.items():
        right = [grades.get(region) == each.grade for grades in graded]
        yield Found(region, _off_mm(volume, boxes.get(region), reference[region].centre), *right)


def _found_boxes(
    volume: Volume, slice_index: int, near: tuple[float, float], grader: Grader
) -> dict[Region, Box]:
    (finding,) = find_regions(grader.networks[0], volume, [slice_index], near={slice_index: near})
    return {region: each.box for region, each in finding.regions.items() if each is not None}


def _grades(
    volume: Volume, truth: LevelTruth, boxes: Mapping[Region, Box], grader: Grader
) -> dict[Region, Grade]:
    if not boxes:
        return {}
    report = grader.regrade(volume, truth.slice_index, boxes, level=truth.level)
    return {region: each.grade for region, each in report.regions.items() if each is not None}


def _off_mm(volume: Volume, box: Box | None, centre: tuple[float, float]) -> tuple[float, float] | None:
    return None if box is None else box.mm_from(centre, volume.pixel_spacing_mm)


def of_outlined(folder: Path, models: Path) -> Iterator[Found]:
    """The regions of every outlined slice."""
    for scan in read_outlined_scans(folder):
        for each in scan.outlined:
            boxes = _found_boxes(scan.volume, each.slice_index, each.centre, grader(models))
            for region, centre in ({Region.CENTRAL_CANAL: each.centre} | dict(each.recesses)).items():
                yield Found(region, _off_mm(scan.volume, boxes.get(region), centre))


def report(every: Iterable[Found]) -> str:
    """A line for each region."""
    regions = list(every)
    return "\n".join(line(region.label, [each for each in regions if each.region is region]) for region in Region)


def line(name: str, regions: list[Found]) -> str:
    """How far the boxes that were found lie away, and the share graded right in them and in the reference's."""
    off = np.array([each.off_mm for each in regions if each.off_mm is not None]).reshape(-1, 2)
    said = f"{name:22} {len(regions):4} regions, {len(regions) - len(off)} not found"
    if len(off):
        (back, left), (back_sd, left_sd) = off.mean(axis=0), off.std(axis=0)
        distance = np.hypot(*off.T)
        said += (
            f"; mm too far back {back:+.2f} (standard deviation {back_sd:.2f}), left {left:+.2f} ({left_sd:.2f}); "
            f"distance median {np.median(distance):.2f}, most {distance.max():.1f}"
        )
    if regions and regions[0].right is not None:
        found = np.mean([bool(each.right) for each in regions])
        known = np.mean([bool(each.right_in_reference_box) for each in regions])
        said += f"; graded right {found:.3f}, in the reference's box {known:.3f}"
    return said


def main() -> int:
    parser = patient_options(__doc__ or "", patients=20)
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help="default the shipped ones")
    options = parser.parse_args()
    if options.scans is not None:
        print(report(of_outlined(options.scans, options.models)))
    else:
        print(report(over_patients(partial(of_patient, seed=options.seed, models=options.models), options)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
