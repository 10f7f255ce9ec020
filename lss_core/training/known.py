"""Images with their reference, before they become a network's samples, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lss_core.vocabulary import Box, Grade, Region


@dataclass(frozen=True)
class KnownRegion:
    """A region's reference on a patch: centre in pixels, grade, and its measure (mm2 or mm) where known."""

    centre: tuple[float, float]
    grade: Grade
    measure: float | None


@dataclass(frozen=True)
class KnownPatch:
    """The three slices around a disc, HU [3, row, column], with the reference of the middle one."""

    planes: np.ndarray
    pixel_spacing_mm: tuple[float, float]
    regions: dict[Region, KnownRegion]


@dataclass(frozen=True)
class KnownSlice:
    """One axial slice, HU [row, column], with its boxes; none where nothing lumbar is to be graded."""

    hu: np.ndarray
    pixel_spacing_mm: tuple[float, float]
    boxes: dict[Region, Box]
