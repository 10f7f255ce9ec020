"""A stack of slice headers to a Volume: decode slice by slice into one array in the patient's axes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pydicom.uid import generate_uid

from lss_core.imaging.geometry import turn_axial, turn_plane
from lss_core.imaging.limits import Limits
from lss_core.imaging.pixels import read_hu
from lss_core.imaging.reformat import Grid, axial_grid, resample, why_not_reformatted
from lss_core.imaging.sources import Source, Unusable
from lss_core.imaging.stack import GAP_FROM, Stack, shear
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.vocabulary import Refusal

Progress = Callable[[float], None]
FAILURES_AT_MOST = 5
NAMED_AT_MOST = 3


def read_axial(stack: Stack, limits: Limits, progress: Progress | None) -> Volume:
    """Axial slices, each turned as a whole; no value is interpolated."""
    first = stack.first
    axes = turn_axial(first.along_row, first.along_column)
    shape = (first.columns, first.rows) if axes.transposed else (first.rows, first.columns)
    hu = np.empty((len(stack.slices), *shape), np.int16)
    for index, plane in _decode(stack, limits, progress):
        hu[index] = turn_plane(plane, axes)
    offsets_mm, tilt_notes = shear(stack, axes)
    row_mm, column_mm = first.pixel_spacing_mm
    return Volume(
        hu=hu,
        positions_mm=stack.positions_mm,
        pixel_spacing_mm=(column_mm, row_mm) if axes.transposed else (row_mm, column_mm),
        slice_thickness_mm=stack.thickness_mm,
        sop_instance_uids=tuple(header.sop_instance_uid for header in stack.slices),
        series_uid=first.series_uid,
        stored=StoredPlane(
            (first.rows, first.columns), axes.transposed, axes.flipped_rows, axes.flipped_columns
        ),
        offsets_mm=offsets_mm,
        notes=(*stack.notes, *tilt_notes),
    )


def read_reformatted(stack: Stack, limits: Limits, progress: Progress | None) -> Volume:
    """Slices of another orientation, resampled to axial ones."""
    first = stack.first
    source = grid_of(stack)
    target = axial_grid(source)
    if int(np.prod(target.shape, dtype=np.int64)) > limits.voxels:
        raise Refusal("The volume turned into axial slices is over the limit; add the axial series.")
    stored = np.empty(source.shape, np.int16)
    for index, plane in _decode(stack, limits, progress):
        stored[index] = plane
    hu = resample(stored, source, target)
    step, row, column = target.spacing_mm
    return Volume(
        hu=hu,
        positions_mm=float(target.origin_mm[2]) + step * np.arange(target.shape[0]),
        pixel_spacing_mm=(float(row), float(column)),
        slice_thickness_mm=float(step),
        sop_instance_uids=tuple(
            str(generate_uid(entropy_srcs=[first.sop_instance_uid, str(index)])) for index in range(len(hu))
        ),
        series_uid=first.series_uid,
        stored=StoredPlane((hu.shape[1], hu.shape[2])),
        is_dicom=False,
        notes=(
            *stack.notes,
            f"Reformatted to axial slices from {len(stack.slices)} {stack.orientation} ones, "
            f"{stack.spacing_mm:.1f} mm apart: small structures are less sharp, and the slices exist in no file.",
        ),
    )


def _decode(stack: Stack, limits: Limits, progress: Progress | None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index in the stack, HU as stored) file by file; names every file that fails, at most five."""
    by_source: dict[Source, list[int]] = defaultdict(list)
    for index, header in enumerate(stack.slices):
        by_source[header.source].append(index)
    failures: list[tuple[str, str]] = []
    done = 0
    for source, indices in by_source.items():
        try:
            planes = read_hu(source, [stack.slices[index] for index in indices], limits=limits)
            for index, plane in zip(indices, planes, strict=True):
                yield index, plane
                done += 1
                if progress is not None:
                    progress(done / len(stack.slices))
        except Unusable as reason:
            failures.append((source.name, str(reason)))
        if len(failures) == FAILURES_AT_MOST:
            break
    if failures:
        names = list_names([name for name, _ in failures])
        raise Refusal(f"{names} cannot be read: {failures[0][1]}.")


def list_names(names: Sequence[str]) -> str:
    """Up to three names, and how many more."""
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - NAMED_AT_MOST} more" if len(unique) > NAMED_AT_MOST else ""
    return ", ".join(unique[:NAMED_AT_MOST]) + more


def why_not_axial(stack: Stack) -> str | None:
    """Say why a stack that is not axial cannot be reformatted; None where it can."""
    steps = np.diff(stack.positions_mm)
    uneven = len(steps) > 1 and float(steps.max()) > GAP_FROM * float(np.median(steps))
    reason = why_not_reformatted(
        orientation=stack.orientation,
        slices=len(stack.slices),
        spacing_mm=stack.spacing_mm,
        height_mm=height_mm(grid_of(stack)),
    )
    if reason is None and uneven:
        return f"{stack.notes[-1]} So the {stack.orientation} slices cannot be turned into axial ones."
    return reason


def grid_of(stack: Stack) -> Grid:
    """The grid [slice, row, column] as stored."""
    first, last, count = stack.first, stack.slices[-1], len(stack.slices)
    origin = np.asarray(first.position_mm)
    across = np.cross(first.along_row, first.along_column) * stack.thickness_mm
    step = (np.asarray(last.position_mm) - origin) / (count - 1) if count > 1 else across
    row_mm, column_mm = first.pixel_spacing_mm
    directions = np.stack([step, first.along_column * row_mm, first.along_row * column_mm], axis=1)
    return Grid((count, first.rows, first.columns), origin, directions)


def height_mm(grid: Grid) -> float:
    """From the lowest to the highest voxel centre."""
    return float(np.ptp(grid.corners_mm()[:, 2]))
