"""Where the sacrum begins: its wings are the only bone beside the front of the canal, from which levels are counted."""

from __future__ import annotations

import numpy as np

from lss_core.imaging.straighten import CanalLine, in_plane_pixels
from lss_core.imaging.volume import Volume

LATERAL_MM = (28.0, 45.0)           # of the canal's centre, on either side: psoas above, wing of the sacrum below
FRONT_MM = (10.0, 32.0)             # in front of the canal's centre: transverse processes lie farther back
BONE_HU, CORTEX_HU = 120, 300       # an enhanced kidney has the density of cancellous bone, but no cortex
LEAST_CORTEX = 0.01
BELOW_MM = (2.0, 24.0)              # the stretch under a disc that speaks for it
STRONG_SHARE, SUSTAINED_SHARE = 0.25, 0.2       # of bone at the top of the wings, and on average beneath
ABOVE_SACRUM_MM = (6.0, 20.0)       # how far below and above the top of the wings the L5/S1 disc meets the canal


def wing_share(volume: Volume, line: CanalLine) -> np.ndarray:
    """Share of bone where the sacral wings lie, float64 [slice] 0..1: the lesser of both sides, 0 without cortex."""
    return np.array([_slice_share(volume, line, index) for index in range(volume.shape[0])])


def _slice_share(volume: Volume, line: CanalLine, index: int) -> float:
    row_mm, col_mm = line.at(float(volume.positions_mm[index]))
    row, col = in_plane_pixels(volume, index, float(row_mm), float(col_mm))
    down, right = volume.pixel_spacing_mm
    rows = slice(max(round(row - FRONT_MM[1] / down), 0), max(round(row - FRONT_MM[0] / down), 0))
    shares = []
    for side in (-1.0, 1.0):
        first, last = sorted(max(round(col + side * mm / right), 0) for mm in LATERAL_MM)
        patch = volume.hu[index, rows, first:last]
        bony = patch.size > 0 and float((patch > CORTEX_HU).mean()) >= LEAST_CORTEX
        shares.append(float((patch > BONE_HU).mean()) if bony else 0.0)
    return min(shares)


def wings_below(shares: np.ndarray, positions_mm: np.ndarray, disc_mm: float) -> float:
    """Mean wing share over the stretch under a disc; 0 where no slice lies there."""
    under = (positions_mm > disc_mm - BELOW_MM[1]) & (positions_mm < disc_mm - BELOW_MM[0])
    return float(shares[under].mean()) if under.any() else 0.0


def sacrum_top(shares: np.ndarray, positions_mm: np.ndarray) -> float | None:
    """Position in mm of the top of the lowest stretch of sacral wings; None where no clear wings are in view."""
    top = None
    for share, position in zip(shares, positions_mm, strict=True):
        sustained = wings_below(shares, positions_mm, float(position) + BELOW_MM[0] + 2.0) >= SUSTAINED_SHARE
        if share >= STRONG_SHARE and sustained:
            top = float(position)
        elif top is not None and position - top > BELOW_MM[1]:
            break
    return top
