"""Real scans with outlined regions: a source of training samples on which narrowing is imposed.

A folder holds one sub-folder of DICOM a scan and, for each, `annotations/NAME.json` (or `NAME.json` beside it) with
`slices`: a list of objects with `sop_instance_uid`, `level` ("L4/5", or "unknown"), `position` ("disc", "below",
"above"), `canal` {`centre`: [row, col]}, `left_recess`, `right_recess` {`centre`}, `sac` {`polygon`: [[row, col], ...],
`area_mm2`, optional `area_range_mm2`, `confidence`}, optional `canal_ap_mm`. Rows and columns are stored pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lss_core.imaging.dicom import read_scan
from lss_core.imaging.volume import Volume
from lss_core.simulation.narrowing import (
    Family,
    Level,
    OutlinedSlice,
    graded_regions,
    measures_of_walls,
    move,
    narrowed_level,
    strength_for,
    trace_levels,
)
from lss_core.training.known import KnownPatch, KnownRegion
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region, grade_of_measure, measure_of

PATCH_MM = 66.0
NEIGHBOUR_MM = 3.0
SIDES = {Region.LEFT_LATERAL_RECESS: "left_recess", Region.RIGHT_LATERAL_RECESS: "right_recess"}
UNTOUCHED_SHARE, FAR_SHARE = 0.2, 0.1       # of samples: dose 0, and slices where there is no disc
SEVERE = {True: (35.0, 190.0), False: (0.4, 7.5)}       # range of wanted measures: sac mm2, recess mm


@dataclass(frozen=True)
class OutlinedScan:
    """A scan with the walls of its outlined levels, and slices that are far from every disc."""

    name: str
    volume: Volume
    outlined: tuple[OutlinedSlice, ...]
    levels: tuple[Level, ...]
    far: tuple[OutlinedSlice, ...]


def read_outlined_scans(folder: Path, *, without: str = "") -> list[OutlinedScan]:
    """Read every scan of a folder that has outlines.

    Args:
        without: Name of a scan to leave out.

    Raises:
        Refusal: there is none, the left-out scan is not there, or an outline cannot be used.
    """
    found = {path.stem: path for place in (folder / "annotations", folder) for path in sorted(place.glob("*.json"))}
    names = [name for name in sorted(found) if (folder / name).is_dir()]
    if without and without not in names:
        raise Refusal(f"There is no outlined scan {without!r} to leave out; {folder.name} holds {', '.join(names)}.")
    scans = [read_outlined_scan(folder / name, found[name]) for name in names if name != without]
    if not scans:
        raise Refusal(f"{folder.name} holds no scan with outlines; see docs/training.md for their format.")
    return scans


def read_outlined_scan(folder: Path, outlines: Path) -> OutlinedScan:
    """Read one scan and its outlines."""
    volume = read_scan(folder)
    places = {uid: index for index, uid in enumerate(volume.sop_instance_uids)}
    try:
        described = json.loads(outlines.read_text(encoding="utf-8"))["slices"]
        slices = [_outlined(each, places, volume) for each in described if each.get("sac")]
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(f"The outlines {outlines.name} are not usable ({error!r}); see docs/training.md.") from error
    slices.sort(key=lambda each: each.slice_index)
    levels = trace_levels(volume, [each for each in slices if each.trusted])
    return OutlinedScan(folder.name, volume, tuple(slices), tuple(levels), tuple(_between_levels(volume, slices)))


def _outlined(values: Mapping[str, Any], places: Mapping[str, int], volume: Volume) -> OutlinedSlice:
    sac = values["sac"]
    span = sac.get("area_range_mm2")
    name = values["level"] if values["level"] != "unknown" else None
    return OutlinedSlice(
        slice_index=places[values["sop_instance_uid"]], level=DiscLevel(name) if name else None,
        position=values["position"], centre=_point(values["canal"]["centre"], volume),
        recesses={region: _point(values[key]["centre"], volume) for region, key in SIDES.items() if values.get(key)},
        sac=np.array([_point(point, volume) for point in sac["polygon"]]),
        area_range_mm2=tuple(span or [sac["area_mm2"]] * 2), canal_ap_mm=values.get("canal_ap_mm"),
        trusted=values.get("confidence", "fair") != "poor" and sac.get("confidence", "fair") != "poor",
    )


def _point(stored: Sequence[float], volume: Volume) -> tuple[float, float]:
    """A stored (row, column) in pixels of the volume."""
    row, col = stored
    return volume.stored.box_to_volume(Box(row - 1, col - 1, row + 1, col + 1)).centre


def _between_levels(volume: Volume, slices: Sequence[OutlinedSlice]) -> list[OutlinedSlice]:
    """Slices halfway between two discs, where nothing is graded, with the regions' places of the nearest disc."""
    discs = [each for each in slices if each.position == "disc"]
    out = []
    for lower, upper in pairwise(discs):
        low, high = (float(volume.positions_mm[each.slice_index]) for each in (lower, upper))
        if 24.0 < high - low < 55.0:
            index = int(np.argmin(np.abs(volume.positions_mm - (low + high) / 2)))
            centre = tuple((a + b) / 2 for a, b in zip(lower.centre, upper.centre, strict=True))
            recesses = {
                region: (centre[0] + place[0] - lower.centre[0], centre[1] + place[1] - lower.centre[1])
                for region, place in lower.recesses.items()
            }
            out.append(OutlinedSlice(index, None, "between", centre, recesses, lower.sac, (0.0, 0.0), None, False))  # type: ignore[arg-type]
    return out


class NarrowedSource:
    """Classifier samples: an outlined slice with narrowing of a random family and strength, or none."""

    def __init__(self, folder: Path, *, without: str = "") -> None:
        scans = read_outlined_scans(folder, without=without)
        self._places = [(scan, level, index) for scan in scans for level in scan.levels for index in level.outlined]
        self._far = [(scan, far) for scan in scans for far in scan.far]

    def patch(self, rng: np.random.Generator) -> KnownPatch:
        if self._far and rng.random() < FAR_SHARE:
            scan, far = self._far[int(rng.integers(len(self._far)))]
            return far_patch(scan, far)
        scan, level, index = self._places[int(rng.integers(len(self._places)))]
        family = list(Family)[int(rng.integers(len(Family)))]
        region = graded_regions(family)[0]
        wanted = float(rng.uniform(*SEVERE[region is Region.CENTRAL_CANAL]))
        strength = strength_for(level, family, region, wanted, slice_index=index)
        if strength is None or rng.random() < UNTOUCHED_SHARE:
            strength = 0.0
        return narrowed_patch(scan.volume, level, index, family, strength, shift_px=float(rng.uniform(0.2, 0.8)))


def narrowed_patch(
    volume: Volume, level: Level, slice_index: int, family: Family, strength_mm: float, *, shift_px: float
) -> KnownPatch:
    """Three slices of a narrowed level around the canal, with the measures and grades of the middle one.

    A region whose measure is not known (a recess full of soft tissue; recesses above the disc, where the foramen
    begins) has neither grade nor measure.
    """
    after = narrowed_level(level, family, strength_mm)
    indices = [volume.neighbour(slice_index, offset) for offset in (-NEIGHBOUR_MM, 0.0, NEIGHBOUR_MM)]
    walls = after[slice_index]
    top, left, patch = _cut(volume, indices, walls.centre)
    known = {k: index for k, index in enumerate(indices) if index in level.walls}
    hu = move(
        patch, {k: level.walls[i] for k, i in known.items()}, {k: after[i] for k, i in known.items()},
        pixel_spacing_mm=volume.pixel_spacing_mm, shift_px=shift_px, origin=(top, left),
    )
    outlined = level.outlined.get(slice_index)
    measures = measures_of_walls(walls)
    places = {Region.CENTRAL_CANAL: walls.centre} | dict(outlined.recesses if outlined else {})
    regions = {}
    for region, (row, col) in places.items():
        counted = region is Region.CENTRAL_CANAL or (outlined is not None and outlined.position != "above")
        found = measures.get(region, {}) if counted else {}
        name = measure_of(region)
        grade = grade_of_measure(name, found[name]) if name in found else None
        regions[region] = KnownRegion((row - top + shift_px, col - left), grade, found)
    return KnownPatch(hu, volume.pixel_spacing_mm, regions)


def far_patch(scan: OutlinedScan, far: OutlinedSlice) -> KnownPatch:
    """A patch between two discs, where nothing is graded."""
    volume = scan.volume
    indices = [volume.neighbour(far.slice_index, offset) for offset in (-NEIGHBOUR_MM, 0.0, NEIGHBOUR_MM)]
    top, left, patch = _cut(volume, indices, far.centre)
    places = {Region.CENTRAL_CANAL: far.centre} | dict(far.recesses)
    regions = {region: KnownRegion((row - top, col - left), None) for region, (row, col) in places.items()}
    return KnownPatch(patch.astype(np.float32), volume.pixel_spacing_mm, regions, gradable=False)


def _cut(volume: Volume, indices: Sequence[int], centre: tuple[float, float]) -> tuple[int, int, np.ndarray]:
    """Top row, left column and HU [3, row, column] of a square of PATCH_MM around a point."""
    reach = [int(np.ceil(PATCH_MM / 2 / mm)) for mm in volume.pixel_spacing_mm]
    top, left = (max(int(c) - r, 0) for c, r in zip(centre, reach, strict=True))
    return top, left, volume.hu[list(indices), top : int(centre[0]) + reach[0], left : int(centre[1]) + reach[1]]
