"""NIfTI (.nii, .nii.gz) to a Volume, plane by plane, without unpacking more than the volume."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from pydicom.uid import generate_uid

from lss_core.imaging.geometry import AXES, AXIAL_WITHIN_DEG, NAMES, angle_deg
from lss_core.imaging.limits import MIB, Limits
from lss_core.imaging.parsing import CORRUPT, third_party
from lss_core.imaging.pixels import PADDING_HU
from lss_core.imaging.reformat import Grid, axial_grid, resample, why_not_reformatted
from lss_core.imaging.sources import Source, Unusable
from lss_core.imaging.volume import StoredPlane, Volume

GZIP_MAGIC = b"\x1f\x8b"
MAGICS = {348: (344, (b"n+1\0",)), 540: (4, (b"n+2\0",))}      # header size: (offset, magic) of single-file NIfTI-1, -2
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
SLICE_AXIS_FROM = 1.5           # an index this much coarser than the others is the one the scanner stepped along
OBLIQUE_FROM_DEG = 10.0
AIR_AND_FAT_BELOW_HU = -150     # 0.5 % of any CT of a trunk is fat or air; MR, label maps and 0..4095 CT have none
TISSUE_ABOVE_HU = 100
HIGHEST_HU = 32767


@dataclass(frozen=True)
class NiftiHeader:
    """Where the voxels lie in the file and in the patient."""

    source: Source
    grid: Grid                      # index order as stored: [i, j, k], i fastest
    dtype: np.dtype
    data_offset: int
    slope: float
    intercept: float
    uid: str
    limits: Limits = field(repr=False)

    @property
    def stepped_axis(self) -> int:
        """The index along which slices were made: the much coarser one, else the one nearest foot to head."""
        spacing = self.grid.spacing_mm
        coarsest = int(np.argmax(spacing))
        others = np.delete(spacing, coarsest)
        return coarsest if spacing[coarsest] > SLICE_AXIS_FROM * others.max() else self.axis_towards(2)

    def axis_towards(self, patient_axis: int) -> int:
        """The index that runs most along a patient axis (0 left, 1 back, 2 head)."""
        return _nearest_axes(self.grid)[patient_axis]

    @property
    def orientation(self) -> str:
        direction = np.abs(self.grid.directions_mm[:, self.stepped_axis])
        axis = int(np.argmax(direction))
        return NAMES[axis] if angle_deg(direction, AXES[axis]) <= AXIAL_WITHIN_DEG else "oblique"

    @property
    def obliquity_deg(self) -> float:
        """The largest angle between an index and the patient axis it is nearest to."""
        axes = _nearest_axes(self.grid)
        return max(angle_deg(np.abs(self.grid.directions_mm[:, axes[axis]]), AXES[axis]) for axis in range(3))

    @property
    def coverage_mm(self) -> float:
        """From foot to head."""
        return float(np.ptp(self.grid.corners_mm()[:, 2]) + self.grid.spacing_mm[self.axis_towards(2)])

    @property
    def why_not(self) -> str | None:
        """Why it cannot be read as axial slices; None where it can."""
        if self.orientation == "axial" and self.obliquity_deg <= AXIAL_WITHIN_DEG:
            return None
        return why_not_reformatted(
            orientation=self.orientation,
            slices=self.grid.shape[self.stepped_axis],
            spacing_mm=float(self.grid.spacing_mm[self.stepped_axis]),
            height_mm=self.coverage_mm,
        )


def looks_like_nifti(name: str, first: bytes) -> bool:
    """Recognise a NIfTI file by its first bytes, or a packed one by its name."""
    return _byte_order(first) is not None or (first[:2] == GZIP_MAGIC and name.lower().endswith((".nii.gz", ".nii")))


def read_nifti_header(source: Source, *, limits: Limits) -> NiftiHeader:
    """Read size, type and place; the voxels are not touched.

    Raises:
        Unusable: corrupt, not a 3-D volume of numbers, without a place in the patient, or over the limits.
    """
    with _unpacked(source) as stream, third_party():
        first = stream.read(540)
        if len(first) < 348 or _byte_order(first) is None:
            raise Unusable("it is not a single-file NIfTI volume; save it as .nii or .nii.gz")
        kind = Nifti1Header if _header_size(first) == 348 else Nifti2Header
        header = kind(first[: _header_size(first)], endianness=_byte_order(first), check=False)
        return _describe(header, first, source, limits)


def _describe(header: Nifti1Header, first: bytes, source: Source, limits: Limits) -> NiftiHeader:
    dimensions = [int(value) for value in header["dim"]]
    shape = tuple(dimensions[1:4])
    if not 3 <= dimensions[0] <= 7 or any(size > 1 for size in dimensions[4 : dimensions[0] + 1]):
        raise Unusable("it is not one 3-D volume")
    if min(shape) < 1 or max(shape) > limits.side_px or int(np.prod(shape, dtype=np.int64)) > limits.voxels:
        raise Unusable("its size of " + " x ".join(map(str, shape)) + " voxels is impossible or over the limit")
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise Unusable("its voxels are colours or complex numbers, not CT values")
    if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        raise Unusable("it does not say where it lies in the patient (no qform or sform)")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    unscaled = not np.isfinite(slope) or slope == 0
    offset = float(header["vox_offset"])
    smallest = 352 if _header_size(first) == 348 else 544
    if not np.isfinite(offset) or offset > MIB:
        raise Unusable(CORRUPT)
    return NiftiHeader(
        source=source,
        grid=_grid(np.asarray(header.get_best_affine()), (shape[0], shape[1], shape[2])),
        dtype=dtype,
        data_offset=max(int(offset), smallest),
        slope=1.0 if unscaled else slope,
        intercept=0.0 if unscaled or not np.isfinite(intercept) else intercept,
        uid=str(generate_uid(entropy_srcs=[first.hex(), str(source.size)])),
        limits=limits,
    )


def _grid(affine: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    directions = RAS_TO_LPS @ affine[:3, :3]
    spacing = np.linalg.norm(directions, axis=0)
    if not np.isfinite(affine).all() or spacing.min() < 0.05 or spacing.max() > 50:
        raise Unusable("its voxel size or place in the patient is impossible")
    unit = directions / spacing
    if np.abs(unit.T @ unit - np.eye(3)).max() > 0.02:
        raise Unusable("its axes are not at right angles")
    return Grid(shape, RAS_TO_LPS @ affine[:3, 3], directions)


def read_nifti(header: NiftiHeader) -> Volume:
    """Read the voxels into a Volume in the patient's axes.

    Raises:
        Unusable: truncated or corrupt, or values that are not Hounsfield units.
    """
    hu = _read_voxels(header)
    _refuse_other_values(hu)
    axes = _nearest_axes(header.grid)
    reformatted = header.orientation != "axial" or header.obliquity_deg > OBLIQUE_FROM_DEG
    hu, grid = _permute(hu, header.grid, axes)
    notes = ["NIfTI holds no slice identifiers; those given here are made up, and boxes count in turned axes."]
    if reformatted:
        target = axial_grid(grid)
        if int(np.prod(target.shape, dtype=np.int64)) > header.limits.voxels:
            raise Unusable("turned into axial slices it is over the limit; give an axial volume")
        hu, grid = resample(hu, grid, target), target
        notes.append(f"Reformatted to axial slices from {header.orientation} ones; small structures are less sharp.")
    step, row, column = grid.spacing_mm
    return Volume(
        hu=np.ascontiguousarray(hu),
        positions_mm=float(grid.origin_mm[2]) + step * np.arange(grid.shape[0]),
        pixel_spacing_mm=(float(row), float(column)),
        slice_thickness_mm=float(step),
        sop_instance_uids=tuple(str(generate_uid(entropy_srcs=[header.uid, str(i)])) for i in range(len(hu))),
        series_uid=header.uid,
        stored=StoredPlane((hu.shape[1], hu.shape[2])),
        is_dicom=False,
        notes=tuple(notes),
    )


def _read_voxels(header: NiftiHeader) -> np.ndarray:
    """Read int16 HU [k, j, i], one plane at a time."""
    columns, rows, slices = header.grid.shape
    hu = np.empty((slices, rows, columns), np.int16)
    plane_bytes = rows * columns * header.dtype.itemsize
    with _unpacked(header.source) as stream, third_party():
        stream.read(header.data_offset)
        for plane in hu:
            data = stream.read(plane_bytes)
            if len(data) < plane_bytes:
                raise Unusable(CORRUPT)
            values = np.frombuffer(data, header.dtype).reshape(rows, columns).astype(np.float32)
            scaled = np.nan_to_num(values * header.slope + header.intercept, nan=PADDING_HU)
            plane[:] = np.rint(np.clip(scaled, PADDING_HU, HIGHEST_HU))
    return hu


def _refuse_other_values(hu: np.ndarray) -> None:
    sample = hu.ravel()[:: max(hu.size // 1_000_000, 1)]
    low, high = np.percentile(sample, [0.5, 99.9])
    if low > AIR_AND_FAT_BELOW_HU or high < TISSUE_ABOVE_HU:
        raise Unusable("its values are not Hounsfield units (an MR image, a label map or a shifted CT); give the CT")


def _nearest_axes(grid: Grid) -> tuple[int, int, int]:
    """Which index runs along left, back and head: the permutation that fits best."""
    fit = np.abs(grid.directions_mm / grid.spacing_mm)
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    return max(orders, key=lambda order: sum(fit[axis, index] for axis, index in enumerate(order)))


def _permute(hu_kji: np.ndarray, grid: Grid, axes: tuple[int, int, int]) -> tuple[np.ndarray, Grid]:
    """Turn [k, j, i] into [slice, row, column] rising to head, back, left; a view, with its grid."""
    left, back, head = axes
    hu = hu_kji.transpose(2, 1, 0).transpose(head, back, left)
    directions, origin = grid.directions_mm[:, [head, back, left]].copy(), grid.origin_mm.copy()
    for index, patient_axis in enumerate((2, 1, 0)):
        if directions[patient_axis, index] < 0:
            origin = origin + (hu.shape[index] - 1) * directions[:, index]
            directions[:, index] *= -1
            hu = np.flip(hu, index)
    return hu, Grid((hu.shape[0], hu.shape[1], hu.shape[2]), origin, directions)


@contextmanager
def _unpacked(source: Source) -> Iterator[BinaryIO]:
    """Open the file, through gzip where it is packed; readers ask for bounded amounts only."""
    with source.open() as stream:
        packed = stream.read(2) == GZIP_MAGIC
        stream.seek(0)
        yield gzip.GzipFile(fileobj=stream) if packed else stream  # type: ignore[misc]


def _header_size(first: bytes) -> int:
    order = _byte_order(first)
    return int.from_bytes(first[:4], "little" if order == "<" else "big")


def _byte_order(first: bytes) -> str | None:
    for order, name in (("<", "little"), (">", "big")):
        size = int.from_bytes(first[:4], name)  # type: ignore[arg-type]
        if size in MAGICS:
            offset, magics = MAGICS[size]
            if first[offset : offset + 4] in magics:
                return order
    return None
