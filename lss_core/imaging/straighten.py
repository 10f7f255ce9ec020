"""Sagittal slabs along the spinal canal, straightened, from axial slices; only the points asked for are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from lss_core.imaging.volume import Volume

PITCH_MM = 2.0
FRONT_MM, BACK_MM = 80.0, 32.0                              # reach in front of and behind the canal's centre
SLAB_OFFSETS_MM = (-24.0, -12.0, 0.0, 12.0, 24.0)           # lateral, to the patient's left
SLAB_SAMPLES_MM = (-3.0, -1.0, 1.0, 3.0)                    # averaged across each slab
END_MM = 24.0                                               # from which an end's direction is read
EXTENSION_MM = 50.0                                         # farthest that a direction is followed
STEEPEST = 1.3                                              # in-plane mm per mm along the slice normal
DEPTHS_MM = np.arange(-FRONT_MM, BACK_MM, PITCH_MM)     # of the image's columns, from the canal's centre


@dataclass(frozen=True)
class CanalLine:
    """The canal's centre on each slice of a volume, in patient millimetres of that volume."""

    positions_mm: np.ndarray            # float64 [slice], rising
    rows_mm: np.ndarray                 # float64 [slice]
    cols_mm: np.ndarray                 # float64 [slice]

    def at(self, position_mm: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """(row, column) in mm at these positions."""
        return (
            np.asarray(np.interp(position_mm, self.positions_mm, self.rows_mm)),
            np.asarray(np.interp(position_mm, self.positions_mm, self.cols_mm)),
        )


def extend_line(positions_mm: np.ndarray, traced: CanalLine) -> CanalLine:
    """A line over all these positions: the traced one, continued straight ahead beyond its ends.

    Below the first sacral segment nothing is traced, but the sacral canal goes on about as it begins.
    """
    inside = np.clip(positions_mm, traced.positions_mm[0], traced.positions_mm[-1])
    beyond = np.clip(positions_mm - inside, -EXTENSION_MM, EXTENSION_MM)
    rows, cols = traced.at(inside)
    for end, outside in ((0, beyond < 0), (-1, beyond > 0)):
        row_slope, col_slope = _end_slopes(traced, float(traced.positions_mm[end]))
        rows, cols = rows + outside * beyond * row_slope, cols + outside * beyond * col_slope
    return CanalLine(positions_mm, rows, cols)


def _end_slopes(traced: CanalLine, end_mm: float) -> tuple[float, float]:
    """(row, column) mm per mm over the last part of a line; level where the line is too short to tell."""
    near = np.abs(traced.positions_mm - end_mm) <= END_MM
    if near.sum() < 3 or np.ptp(traced.positions_mm[near]) < END_MM / 2:
        return 0.0, 0.0
    slopes = np.polyfit(traced.positions_mm[near], np.stack([traced.rows_mm[near], traced.cols_mm[near]], 1), 1)[0]
    row_slope, col_slope = np.clip(slopes, -STEEPEST, STEEPEST)
    return float(row_slope), float(col_slope)


@dataclass(frozen=True)
class Straightened:
    """Sagittal slabs, float32 HU [slab, z, depth]; `positions_mm` are the rows' places along the slice normal."""

    hu: np.ndarray
    positions_mm: np.ndarray


def in_plane_mm(volume: Volume, slice_index: int, row: float, col: float) -> tuple[float, float]:
    """Patient millimetres (row, column) of a pixel, with the slice's own shift."""
    shift = (0.0, 0.0) if volume.offsets_mm is None else volume.offsets_mm[slice_index]
    return row * volume.pixel_spacing_mm[0] + float(shift[0]), col * volume.pixel_spacing_mm[1] + float(shift[1])


def in_plane_pixels(volume: Volume, slice_index: int, row_mm: float, col_mm: float) -> tuple[float, float]:
    """The inverse of `in_plane_mm`."""
    shift = (0.0, 0.0) if volume.offsets_mm is None else volume.offsets_mm[slice_index]
    return (
        (row_mm - float(shift[0])) / volume.pixel_spacing_mm[0],
        (col_mm - float(shift[1])) / volume.pixel_spacing_mm[1],
    )


def straighten(volume: Volume, line: CanalLine) -> Straightened:
    """Sample five sagittal slabs that follow the canal, at 2 mm pitch.

    Each image row is one axial level, its columns run from 80 mm in front of the canal's centre to 32 mm behind it.
    Values are linear between voxels; points outside the volume take the nearest voxel.
    """
    positions = np.arange(volume.positions_mm[0], volume.positions_mm[-1] + 1e-6, PITCH_MM)
    rows_mm, cols_mm = line.at(positions)
    slices = np.interp(positions, volume.positions_mm, np.arange(len(volume.positions_mm)))
    if volume.offsets_mm is not None:
        rows_mm = rows_mm - np.interp(positions, volume.positions_mm, volume.offsets_mm[:, 0])
        cols_mm = cols_mm - np.interp(positions, volume.positions_mm, volume.offsets_mm[:, 1])
    rows = (rows_mm[:, None] + DEPTHS_MM[None, :]) / volume.pixel_spacing_mm[0]            # [z, depth]
    slabs = np.zeros((len(SLAB_OFFSETS_MM), *rows.shape), np.float32)
    for slab, offset in enumerate(SLAB_OFFSETS_MM):
        for sample in SLAB_SAMPLES_MM:
            cols = np.broadcast_to((cols_mm + offset + sample)[:, None] / volume.pixel_spacing_mm[1], rows.shape)
            points = np.stack([np.broadcast_to(slices[:, None], rows.shape), rows, cols])
            slabs[slab] += map_coordinates(volume.hu, points, output=np.float32, order=1, mode="nearest")
    return Straightened(slabs / len(SLAB_SAMPLES_MM), positions)
