"""The reference of a simulated level: boxes and measurements taken from the rendered labels, and their grade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lss_core.simulation import tissue
from lss_core.simulation.anatomy import Patient
from lss_core.simulation.render import trace
from lss_core.vocabulary import CANAL_AP, RECESS_HEIGHT, SAC_AREA, Box, Grade, Region, grade_of_measure, measure_of

PITCH_MM = 0.3
FIELD_MM = ((-21.0, 20.0), (-22.0, 22.0))  # around the canal centre: rows (front, back), columns
RECESS_BOX_MM = 11.0  # a square at the anterolateral corner of the canal, reaching past the facet's tip
_CANAL = np.array([tissue.SAC, tissue.EPIDURAL_FAT, tissue.ROOT, tissue.VEIN])
_FREE = np.array([*_CANAL, tissue.FORAMEN_FAT, tissue.FLAVUM])
_BONE = np.array([tissue.CORTEX, tissue.CANCELLOUS, tissue.ENDPLATE, tissue.CALCIFIED])
BESIDE_TIP_MM = 1.6  # how far from the facet's tip a recess is measured
NARROWEST = 5  # columns, 1.5 mm
OTHER_WALL_MM = 2.0  # from the distance of the drawn walls; what differs more is another wall
SIDES = {Region.LEFT_LATERAL_RECESS: 1.0, Region.RIGHT_LATERAL_RECESS: -1.0}


@dataclass(frozen=True)
class RegionTruth:
    """One region on one slice, in that slice's pixels."""

    region: Region
    box: Box
    measures: Mapping[str, float]  # name to mm2 or mm

    @property
    def measure_name(self) -> str:
        """Of the measure that grades the region."""
        return measure_of(self.region)

    @property
    def measure_value(self) -> float:
        return self.measures[self.measure_name]

    @property
    def grade(self) -> Grade:
        return grade_of_measure(self.measure_name, self.measure_value)


@dataclass(frozen=True)
class MeasuredRegion:
    """One region on one slice; `box_mm` is (y0, x0, y1, x1) in patient millimetres."""

    box_mm: tuple[float, float, float, float]
    measures: Mapping[str, float]

    def in_pixels(self, region: Region, *, y0_mm: float, x0_mm: float, pixel_mm: float) -> RegionTruth:
        """The same on a grid whose pixel (0, 0) is centred on (y0_mm, x0_mm)."""
        top, left, bottom, right = self.box_mm
        box = Box(
            (top - y0_mm) / pixel_mm, (left - x0_mm) / pixel_mm, (bottom - y0_mm) / pixel_mm, (right - x0_mm) / pixel_mm
        )
        return RegionTruth(region, box, self.measures)


def measure_slice(patient: Patient, z_mm: float, thickness_mm: float) -> dict[Region, MeasuredRegion]:
    """Measure the canal and both recesses on the labels of an axial slice.

    Sac area is counted; the canal's AP diameter is its extent in the midline, fat included; recess height is the
    distance, in the anteroposterior direction, of the disc or body in front from the bone of the superior facet
    behind, at the facet's tip; the ligament lies within it (Ciric 1980). All are averaged over two planes inside the
    slice. Returns only what exists on the slice.
    """
    planes = [_measure_plane(patient, z_mm + f * thickness_mm) for f in (-0.25, 0.25)]
    out: dict[Region, MeasuredRegion] = {}
    for region in Region:
        found = [plane[region] for plane in planes if region in plane]
        if len(found) == len(planes):
            box = tuple(float(np.mean([f.box_mm[i] for f in found])) for i in range(4))
            measures = {name: float(np.mean([f.measures[name] for f in found])) for name in found[0].measures}
            out[region] = MeasuredRegion(box, measures)  # type: ignore[arg-type]
    return out


def mask_slice(
    patient: Patient, z_mm: float, thickness_mm: float, ys_mm: np.ndarray, xs_mm: np.ndarray
) -> np.ndarray:
    """Share of each pixel, uint8 [2, row, column] in 0..255, that is sac, and that is free of bone and disc.

    Of the same two planes as `measure_slice`: the sac's share adds up to its area.
    """
    total = np.zeros((2, len(ys_mm), len(xs_mm)), np.float32)
    pixel = ys_mm[1] - ys_mm[0]
    for f in (-0.25, 0.25):
        labels, _ = trace(patient, z_mm + f * thickness_mm, ys_mm + f * pixel, xs_mm + f * pixel)
        total += np.stack([labels == tissue.SAC, np.isin(labels, _FREE)])
    return np.rint(total * (255 / 2)).astype(np.uint8)


def _measure_plane(patient: Patient, z_mm: float) -> dict[Region, MeasuredRegion]:
    sections = SpinePlane(patient, z_mm)
    centre_x, centre_y = sections.xy(0.0, 8.0)
    ys = centre_y + np.arange(*FIELD_MM[0], PITCH_MM)
    xs = centre_x + np.arange(*FIELD_MM[1], PITCH_MM)
    labels, _ = trace(patient, z_mm, ys, xs)
    out: dict[Region, MeasuredRegion] = {}
    canal = _canal_mask(labels)
    if canal is None:
        return out
    rows, cols = np.flatnonzero(canal.any(axis=1)), np.flatnonzero(canal.any(axis=0))
    half = PITCH_MM / 2
    area = float((labels == tissue.SAC).sum()) * PITCH_MM**2
    midline = int(np.argmin(np.abs(xs - float(xs[np.nonzero(labels == tissue.SAC)[1]].mean()))))
    ap = float(canal[:, midline - 1 : midline + 2].sum()) / 3 * PITCH_MM
    out[Region.CENTRAL_CANAL] = MeasuredRegion(
        (
            float(ys[rows[0]]) - half,
            float(xs[cols[0]]) - half,
            float(ys[rows[-1]]) + half,
            float(xs[cols[-1]]) + half,
        ),
        {SAC_AREA: area, CANAL_AP: ap},
    )
    for region, sign in SIDES.items():
        tip, front, back = sections.recess(sign)
        tip_x, front_y = sections.xy(sign * tip, front)
        _, back_y = sections.xy(sign * tip, back)
        height = _recess_height(labels, xs, tip_x=tip_x, apart=back_y - front_y)
        x, y = sections.xy(sign * min(0.8 * tip, 10.5), front + 3.0)
        r = RECESS_BOX_MM / 2
        out[region] = MeasuredRegion((y - r, x - r, y + r, x + r), {RECESS_HEIGHT: height})
    return out


def _canal_mask(labels: np.ndarray) -> np.ndarray | None:
    """The connected canal content that holds the sac, or None where there is none."""
    parts: np.ndarray = ndimage.label(np.isin(labels, _CANAL))[0]  # type: ignore[index, assignment]
    inside = parts[labels == tissue.SAC]
    if inside.size < 20:
        return None
    return parts == np.bincount(inside).argmax()


def _recess_height(labels: np.ndarray, xs: np.ndarray, *, tip_x: float, apart: float) -> float:
    """Mean distance in mm of disc or body from the facet's bone over the narrowest 1.5 mm beside its tip; 0 where
    they meet.

    Args:
        apart: Distance in mm of the walls drawn at the tip. Columns whose bones lie otherwise are its lateral wall:
            where a slice cuts the spine obliquely, a pedicle or the sacral wing stands beside the tip.
    """
    if apart <= 0:
        return 0.0
    columns = np.flatnonzero(np.abs(xs - tip_x) < BESIDE_TIP_MM)
    heights = [height for column in columns for height in _free_runs(labels[:, column]) or [0.0]]
    own = [height for height in heights if abs(height - apart) < OTHER_WALL_MM]
    return float(np.sort(own)[:NARROWEST].mean()) if own else apart


def _free_runs(column: np.ndarray) -> list[float]:
    """Lengths in mm of the runs of labels [row] that are neither bone nor disc and have bone behind."""
    free = np.concatenate([[False], np.isin(column, _FREE), [False]])
    starts, ends = np.flatnonzero(~free[:-1] & free[1:]), np.flatnonzero(free[:-1] & ~free[1:])
    return [
        float(end - start) * PITCH_MM
        for start, end in zip(starts, ends, strict=True)
        if end < len(column) and column[end] in _BONE
    ]


class SpinePlane:
    """Spine coordinates met by one axial plane."""

    def __init__(self, patient: Patient, z_mm: float) -> None:
        self._patient, self.z_mm = patient, z_mm

    def depth(self, u: float, v: float) -> float:
        """Spine coordinate s where the plane meets the line (u, v)."""
        curve = self._patient.curve
        a = curve[:, 9] * u - curve[:, 8] * v
        b = curve[:, 8] * u + curve[:, 9] * v
        return float(np.interp(self.z_mm, curve[:, 3] + b * curve[:, 4] - a * curve[:, 6], curve[:, 0]))

    def xy(self, u: float, v: float) -> tuple[float, float]:
        """Patient (x, y) mm of the point of this plane at lateral u and depth v."""
        point = self._patient.point(self.depth(u, v), u, v)
        return float(point[0]), float(point[1])

    def recess(self, sign: float) -> tuple[float, float, float]:
        """Lateral position of the facet's tip, and v of the walls in front of and behind it, on one side."""
        patient = self._patient
        side = 0 if sign > 0 else 1
        s = self.depth(sign * 11.0, 4.0)
        index = int(np.clip(round((s - patient.curve[0, 0]) * 2), 0, len(patient.section) - 1))
        section = patient.section[index]
        base = 1 + 8 * side
        tip = float(section[base + 2])
        disc = patient.discs[int(np.argmin(np.abs(patient.discs[:, 0] - s)))]
        front = float(tissue._front_wall(s, sign * tip, tip, section, base, disc))
        return tip, front, float(section[base + 3])
