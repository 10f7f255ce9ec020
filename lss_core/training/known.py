"""Images with their reference, before they become a network's samples, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lss_core.vocabulary import Box, Grade, Region


@dataclass(frozen=True)
class KnownRegion:
    """A region's reference on a patch: centre in pixels, grade and measures (mm2 or mm by name), each where known."""

    centre: tuple[float, float]
    grade: Grade | None
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class KnownPatch:
    """Three slices 3 mm apart, HU [3, row, column], with the reference of the middle one.

    Where `gradable` is False the patch shows no lumbar disc level and its regions are only places to look at. `masks`
    are known of simulated patches: uint8 [2, row, column], see `lss_core.simulation.truth.mask_slice`.
    """

    planes: np.ndarray
    pixel_spacing_mm: tuple[float, float]
    regions: dict[Region, KnownRegion]
    gradable: bool = True
    masks: np.ndarray | None = None


@dataclass(frozen=True)
class KnownSlice:
    """One axial slice, HU [row, column], with its boxes; none where nothing lumbar is to be graded."""

    hu: np.ndarray
    pixel_spacing_mm: tuple[float, float]
    boxes: dict[Region, Box]
