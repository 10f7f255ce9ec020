"""Slices of one series to stacks in the volume's axes: order, duplicates, gaps, tilt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lss_core.imaging.geometry import PlaneAxes, name_orientation, turn_axial
from lss_core.imaging.headers import SliceHeader

SAME_PLACE_MM = 0.05
SAME_DIRECTION = 0.9995        # cosine; about 2 degrees
GAP_FROM = 1.5                 # times the usual distance
WORTH_A_NOTE_DEG = 1.0


@dataclass(frozen=True)
class Stack:
    """Parallel slices of one size and spacing, in order along their normal."""

    slices: tuple[SliceHeader, ...]
    positions_mm: np.ndarray            # float64 [slice], strictly rising
    notes: tuple[str, ...]

    @property
    def first(self) -> SliceHeader:
        return self.slices[0]

    @property
    def orientation(self) -> str:
        return name_orientation(self.first.along_row, self.first.along_column)

    @property
    def spacing_mm(self) -> float | None:
        """Median distance between slices; None for a single one."""
        return float(np.median(np.diff(self.positions_mm))) if len(self.slices) > 1 else None

    @property
    def thickness_mm(self) -> float:
        """As the header says, else the distance between slices, else 1 mm (which `notes` then tells)."""
        return self.first.thickness_mm or self.spacing_mm or 1.0

    @property
    def coverage_mm(self) -> float:
        """From the outer face of the first slice to that of the last."""
        return float(self.positions_mm[-1] - self.positions_mm[0]) + self.thickness_mm


def group_parallel(slices: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Split one series into groups that can be stacked, the largest first."""
    groups: list[list[SliceHeader]] = []
    for header in slices:
        home = next((group for group in groups[:64] if _fits(header, group[0])), None)
        if home is None:
            groups.append([header])
        else:
            home.append(header)
    return sorted(groups, key=len, reverse=True)


def _fits(a: SliceHeader, b: SliceHeader) -> bool:
    same_grid = (a.rows, a.columns) == (b.rows, b.columns)
    return (
        same_grid
        and np.allclose(a.pixel_spacing_mm, b.pixel_spacing_mm, rtol=1e-3)
        and float(a.along_row @ b.along_row) > SAME_DIRECTION
        and float(a.along_column @ b.along_column) > SAME_DIRECTION
    )


def build_stack(group: Sequence[SliceHeader]) -> Stack:
    """Order parallel slices along their normal, keeping one slice at each place."""
    ordered = sorted(group, key=lambda header: header.order)
    normal = _normal(ordered[0])
    places = np.array([np.asarray(header.position_mm) @ normal for header in ordered])
    kept = _drop_duplicates(ordered, places)
    kept.sort(key=lambda index: places[index])
    positions = places[kept]
    notes = [*_note_duplicates(len(group) - len(kept)), *note_spacing(positions)]
    if ordered[0].thickness_mm is None and len(kept) == 1:
        notes.append("The slice thickness is not given; 1 mm is assumed.")
    return Stack(tuple(ordered[index] for index in kept), positions, tuple(notes))


def _normal(header: SliceHeader) -> np.ndarray:
    """Towards the head for axial planes, whatever way round the image is stored."""
    if name_orientation(header.along_row, header.along_column) == "axial":
        return turn_axial(header.along_row, header.along_column).normal
    return np.cross(header.along_row, header.along_column)


def _drop_duplicates(ordered: Sequence[SliceHeader], places: np.ndarray) -> list[int]:
    """Indices of the slices to keep: the most complete acquisition first, others only outside its range.

    Two contrast phases in one series must not alternate slice by slice, while a scan made in several steps must
    stay whole; so an acquisition that repeats places of a fuller one adds only what lies beyond that one's ends.
    """
    acquisitions: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, header in enumerate(ordered):
        acquisitions[header.order[:2]].append(index)
    kept: list[int] = []
    ranked = sorted(acquisitions.values(), key=lambda indices: -len(_distinct(places[indices])))
    for indices in ranked:
        taken = np.sort(places[kept])
        fresh = [index for index in indices if not _is_taken(places[index], taken)]
        if kept and len(fresh) < len(indices):
            fresh = [index for index in fresh if not taken[0] < places[index] < taken[-1]]
        kept.extend(_first_at_each_place(fresh, places))
    return kept


def _distinct(places: np.ndarray) -> np.ndarray:
    return np.unique(np.round(places / SAME_PLACE_MM))


def _is_taken(place: float, taken: np.ndarray) -> bool:
    near = np.searchsorted(taken, place)
    return any(abs(taken[i] - place) < SAME_PLACE_MM for i in (near - 1, near) if 0 <= i < len(taken))


def _first_at_each_place(indices: Sequence[int], places: np.ndarray) -> list[int]:
    in_order = sorted(indices, key=lambda index: places[index])     # stable: the first instance stays first
    kept: list[int] = []
    for index in in_order:
        if not kept or places[index] - places[kept[-1]] >= SAME_PLACE_MM:
            kept.append(index)
    return kept


def _note_duplicates(count: int) -> list[str]:
    if count == 0:
        return []
    return [f"{count} slice{'s' * (count > 1)} at places that were already covered (duplicates) left out."]


def note_spacing(positions_mm: np.ndarray) -> list[str]:
    """Name gaps and uneven spacing; slices are counted from the foot, starting at 1."""
    steps = np.diff(positions_mm)
    if len(steps) < 2:
        return []
    usual = float(np.median(steps))
    notes = [
        f"A gap of {steps[i]:.1f} mm between slices {i + 1} and {i + 2} (counted from the foot), where "
        f"{usual:.1f} mm is usual: about {max(round(float(steps[i]) / usual) - 1, 1)} missing."
        for i in np.flatnonzero(steps > GAP_FROM * usual)[:10]
    ]
    even = steps[steps <= GAP_FROM * usual]
    if np.ptp(even) > max(0.1 * usual, SAME_PLACE_MM):
        notes.append(f"The slices are unevenly spaced, {even.min():.1f} to {even.max():.1f} mm.")
    return notes


def shear(stack: Stack, axes: PlaneAxes) -> tuple[np.ndarray | None, list[str]]:
    """In-plane (row, column) shift in mm of each slice against the first, and a note about the tilt.

    A tilted gantry with the table moving along the patient stacks slices whose origins slide over one another.
    """
    origins = np.array([header.position_mm for header in stack.slices])
    offsets = (origins - origins[0]) @ np.stack([axes.rows, axes.columns], axis=1)
    notes = []
    if axes.tilt_deg > WORTH_A_NOTE_DEG:
        notes.append(f"The slices are tilted by {axes.tilt_deg:.1f}° against the axial plane.")
    if np.abs(offsets).max() <= max(0.1, 0.001 * float(np.ptp(stack.positions_mm))):
        return None, notes
    climb = float(np.ptp(stack.positions_mm))
    lean = float(np.degrees(np.arctan2(np.abs(offsets[-1]).max(), climb)))
    if lean > WORTH_A_NOTE_DEG:
        notes.append(f"The gantry was tilted by {lean:.1f}°: slices are shifted against each other, and not resampled.")
    return offsets, notes
