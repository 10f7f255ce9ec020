"""A volume in any orientation, resampled to axial slices where it covers enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform

from lss_core.imaging.pixels import PADDING_HU

NEEDED_MM = 60.0               # both recesses with a margin across, body to spinous process from front to back
NEEDED_HEIGHT_MM = 60.0        # at least one disc level with its neighbours
WIDEST_SPACING_MM = 3.0        # a recess is 2 to 5 mm high
SLICE_MM = 2.0


@dataclass(frozen=True)
class Grid:
    """A regular grid in the patient: voxel index [i, j, k] to LPS mm is origin + directions @ index."""

    shape: tuple[int, int, int]
    origin_mm: np.ndarray           # [3]
    directions_mm: np.ndarray       # [3, 3], column n is one step along index n

    @property
    def spacing_mm(self) -> np.ndarray:
        return np.linalg.norm(self.directions_mm, axis=0)

    def corners_mm(self) -> np.ndarray:
        """The eight outer voxel centres, [8, 3]."""
        index = np.stack(np.meshgrid(*[(0, size - 1) for size in self.shape]), axis=-1).reshape(-1, 3)
        return self.origin_mm + index @ self.directions_mm.T


def why_not_reformatted(*, orientation: str, slices: int, spacing_mm: float | None, height_mm: float) -> str | None:
    """Say why a non-axial stack cannot be read as axial; None where it can."""
    needed = int(np.ceil(NEEDED_MM / min(spacing_mm or WIDEST_SPACING_MM, WIDEST_SPACING_MM))) + 1
    remedy = "export the axial series"
    if slices < needed:
        return (
            f"{slices} {orientation} slice{'s' * (slices != 1)} cannot be turned into axial slices: at least {needed}, "
            f"at most {WIDEST_SPACING_MM:g} mm apart, are needed; {remedy}."
        )
    if spacing_mm is None or spacing_mm > WIDEST_SPACING_MM + 0.01:
        return (
            f"The {orientation} slices are {spacing_mm:.1f} mm apart, too far to be turned into axial slices "
            f"({WIDEST_SPACING_MM:g} mm at most); {remedy}."
        )
    if height_mm < NEEDED_HEIGHT_MM:
        return f"The {orientation} slices cover {height_mm:.0f} mm from foot to head, less than the {NEEDED_HEIGHT_MM:g} mm needed; {remedy}."  # noqa: E501
    return None


def axial_grid(source: Grid) -> Grid:
    """The grid [slice, row, column] of axial slices that holds the source: 2 mm apart, pixels as fine as its finest."""
    corners = source.corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    pixel = float(source.spacing_mm.min())
    step = max(SLICE_MM, pixel)
    shape = tuple(int((high[axis] - low[axis]) / size + 1e-6) + 1 for axis, size in ((2, step), (1, pixel), (0, pixel)))
    directions = np.array([[0, 0, pixel], [0, pixel, 0], [step, 0, 0]], float)
    return Grid((shape[0], shape[1], shape[2]), low, directions)


def resample(hu: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Interpolate linearly to int16 HU on the target grid; -1024 outside the source."""
    to_index = np.linalg.inv(source.directions_mm)
    matrix = to_index @ target.directions_mm
    start = to_index @ (target.origin_mm - source.origin_mm)
    at_edges = {"mode": "grid-constant", "cval": PADDING_HU}    # "constant" would drop the outermost plane
    return affine_transform(
        hu, matrix, offset=start, output_shape=target.shape, output=np.int16, order=1, **at_edges  # type: ignore[arg-type]
    )
