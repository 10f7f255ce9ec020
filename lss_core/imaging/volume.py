"""A CT series as one array in the patient's axes, with its geometry in millimetres."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from lss_core.vocabulary import Box

AIR_HU = -1000.0


@dataclass(frozen=True)
class StoredPlane:
    """How a slice lies in its file, to carry boxes from volume axes to the stored pixel array.

    The stored array becomes the volume's slice by transposing first, then flipping rows, then columns.
    """

    shape: tuple[int, int]          # rows, columns as stored
    transposed: bool = False
    flipped_rows: bool = False
    flipped_columns: bool = False

    def box_to_stored(self, box: Box) -> Box:
        """Carry a box from volume pixels to stored pixels."""
        rows, cols = self.shape[::-1] if self.transposed else self.shape
        row0, col0, row1, col1 = box.as_list()
        if self.flipped_columns:
            col0, col1 = cols - 1 - col1, cols - 1 - col0
        if self.flipped_rows:
            row0, row1 = rows - 1 - row1, rows - 1 - row0
        return Box(col0, row0, col1, row1) if self.transposed else Box(row0, col0, row1, col1)

    def box_to_volume(self, box: Box) -> Box:
        """The inverse of `box_to_stored`."""
        rows, cols = self.shape[::-1] if self.transposed else self.shape
        row0, col0, row1, col1 = box.as_list()
        if self.transposed:
            row0, col0, row1, col1 = col0, row0, col1, row1
        if self.flipped_rows:
            row0, row1 = rows - 1 - row1, rows - 1 - row0
        if self.flipped_columns:
            col0, col1 = cols - 1 - col1, cols - 1 - col0
        return Box(row0, col0, row1, col1)


@dataclass(frozen=True)
class Volume:
    """Axial slices [slice, row, column]: slices rise to the head, rows to the back, columns to the patient's left."""

    hu: np.ndarray                              # int16 [slice, row, column], padding already set to -1024
    positions_mm: np.ndarray                    # float64 [slice], along the slice normal, strictly rising
    pixel_spacing_mm: tuple[float, float]       # (row, column)
    slice_thickness_mm: float
    sop_instance_uids: tuple[str, ...]
    series_uid: str
    stored: StoredPlane
    offsets_mm: np.ndarray | None = None        # float64 [slice, 2]: in-plane (row, column) shift of each slice's
    #                                             origin against the first one; None means none (gantry tilt shears)
    is_dicom: bool = True                       # False where the slices exist in no DICOM object (NIfTI, reformatted)
    has_hounsfield: bool = True                 # False for an 8-bit picture: `hu` is then a guess from grey values
    notes: tuple[str, ...] = field(default=())  # sentences for the user: gaps, tilt, reformatting, duplicates

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.hu.shape  # type: ignore[return-value]

    @property
    def spacing_mm(self) -> float:
        """Median distance between slices; the thickness where there is only one."""
        if len(self.positions_mm) < 2:
            return self.slice_thickness_mm
        return float(np.median(np.diff(self.positions_mm)))

    def neighbour(self, index: int, offset_mm: float) -> int:
        """Index of the slice nearest to `offset_mm` headward of slice `index` (clamped to the volume)."""
        return int(np.argmin(np.abs(self.positions_mm - (self.positions_mm[index] + offset_mm))))


def window(hu: np.ndarray, *, width: float, level: float) -> np.ndarray:
    """Map HU to 0..1 float32 with a linear display window, clipped."""
    low = level - width / 2
    return np.clip((hu.astype(np.float32) - low) / width, 0.0, 1.0)


def crop(
    plane: np.ndarray,
    *,
    pixel_spacing_mm: tuple[float, float],
    centre: tuple[float, float],
    size_mm: float,
    size_px: int,
    outside: float = AIR_HU,
) -> np.ndarray:
    """Resample a square of `size_mm` around `centre` (row, column pixels) to float32 [size_px, size_px].

    Antialiased when it shrinks; beyond the slice is `outside`, air by default. The crop's pixel pitch is
    size_mm / size_px and its geometric centre lies on `centre`.
    """
    half_rows, half_cols = size_mm / pixel_spacing_mm[0] / 2, size_mm / pixel_spacing_mm[1] / 2
    row0, row1 = centre[0] + 0.5 - half_rows, centre[0] + 0.5 + half_rows   # pixel edges, as Pillow counts
    col0, col1 = centre[1] + 0.5 - half_cols, centre[1] + 0.5 + half_cols
    top, left = int(np.floor(row0)) - 2, int(np.floor(col0)) - 2
    bottom, right = int(np.ceil(row1)) + 2, int(np.ceil(col1)) + 2
    rows, cols = plane.shape
    inside = plane[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)].astype(np.float32)
    padding = (
        (min(max(-top, 0), bottom - top), max(bottom - max(rows, top), 0)),
        (min(max(-left, 0), right - left), max(right - max(cols, left), 0)),
    )
    padded = np.pad(inside, padding, constant_values=outside)
    box = (col0 - left, row0 - top, col1 - left, row1 - top)
    picture = Image.fromarray(padded, mode="F")
    return np.asarray(picture.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box), dtype=np.float32)
