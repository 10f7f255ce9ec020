"""Rules that say why a region must not be graded: metal, noise, a cut-off field of view, implausible boxes; and which
boxes lie so oddly that a reader should look at them.

They look at pixels and millimetres alone. The limits leave room for a box that is drawn by hand in haste.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from scipy.ndimage import median_filter

from lss_core.imaging.volume import Volume, crop
from lss_core.vocabulary import Box, Region

METAL_HU = 2200             # cortex stays below 1500, dense sclerosis and contrast below 1800; 12 bits end at 3071
METAL_MM2 = 4.0
METAL_REACH_MM = 32.0       # in front, behind and beside the region: holds the screws' heads and rods of its level
SLICES_MM = (-3.0, 0.0, 3.0)
STREAK_REACH_MM = 120.0     # metal farther away throws no strong shadow on the region
STREAK_HU = -200            # darker than fat
STREAK_SHARE = 0.04         # of the neighbourhood; gas in a disc is smaller
FIELD_MM = 48.0             # the neighbourhood, as the network sees a canal
NOISE_PITCH_MM = 1.0        # every scanner resolves it, and what is graded is not smaller
NOISE_SCALE = 3.32          # median absolute residual to standard deviation, on simulated soft-kernel scans
UNREADABLE_NOISE_HU = 140.0     # above every simulated scan; bone kernels of 50-75 HU read 40-90
GAS_HU = -900
GAS_SHARE = 1 / 3           # of a box
EDGE_MM = 1.0               # that a box may reach over the slice's edge
CANAL_MM = ((4.0, 40.0), (4.0, 45.0))           # least and most height, width; severe stenosis leaves 5 by 7 mm
RECESS_MM = ((4.0, 25.0), (4.0, 25.0))
RECESS_DISTANCE_MM = 28.0
RECESSES_APART_MM = 12.0    # in distance from the canal, and in height
RECESSES_WIDE_MM = 30.0     # from left to right; 21 at most on real and simulated discs, and 4 for each hasty box
CANAL_BESIDE_MM = 11.0      # from the middle between the recesses; 3 at most, and 4 for the canal and for both recesses
RECESSES_ODD_MM = 5.0       # one behind the other: 2.8 at most on 45 outlined real slices, more on 1 of 100 simulated
CANAL_ODD_MM = 5.0          # beside the middle between the recesses: 0.6 at most on those, 3.1 on 200 simulated
SAME_BOX_PX = 0.5
SIDES = {Region.LEFT_LATERAL_RECESS: 1, Region.RIGHT_LATERAL_RECESS: -1}       # columns rise to the patient's left


def region_refusal(volume: Volume, slice_index: int, region: Region, box: Box) -> str | None:
    """Why the image does not allow this region to be graded, in one sentence; None where it does."""
    name = region.label.lower()
    return (
        _cut_off(volume, slice_index, name, box)
        or _metal(volume, slice_index, name, box)
        or _streaks(volume, slice_index, name, box)
        or _noisy(volume, slice_index, name, box)
    )


def implausible(volume: Volume, boxes: Mapping[Region, Box]) -> dict[Region, str]:
    """Boxes of one slice that cannot be what they are called, each with the reason in one sentence."""
    reasons: dict[Region, str] = {}
    for region, box in boxes.items():
        reason = _wrong_size(volume, region, box) or _wrong_place(volume, region, boxes)
        if reason is not None:
            reasons[region] = reason
    return {**_unlike_pair(volume, boxes, reasons), **reasons, **_same_boxes(boxes)}


def oddly_placed(volume: Volume, boxes: Mapping[Region, Box]) -> dict[Region, tuple[str, ...]]:
    """Boxes of one slice that may be right but seldom lie so, each with a sentence for the reader."""
    left, right = (boxes.get(region) for region in SIDES)
    canal = boxes.get(Region.CENTRAL_CANAL)
    if left is None or right is None:
        return {}
    odd: dict[Region, tuple[str, ...]] = {}
    if (behind := abs(_apart_mm(volume, left, right)[0])) > RECESSES_ODD_MM:
        odd = dict.fromkeys(SIDES, (f"One lateral recess lies {behind:.0f} mm behind the other; look at the boxes.",))
    if canal is not None and (beside := _beside_mm(volume, left, right, canal)) > CANAL_ODD_MM:
        doubt = f"The canal lies {beside:.0f} mm beside the middle between the lateral recesses; look at the boxes."
        odd = {region: (*odd.get(region, ()), doubt) for region in boxes}
    return odd


def noise_hu(
    plane: np.ndarray, pixel_spacing_mm: tuple[float, float], centre: tuple[float, float]
) -> float:
    """Noise around (row, column) pixels as a standard deviation in HU, the same at any pixel size.

    The neighbourhood is resampled to 1 mm and its difference from a 3 x 3 median taken; the median absolute difference
    ignores edges. The scale makes it the noise's standard deviation at the scanner's pixel for a soft kernel; a bone
    kernel's fine noise, which averages out over a millimetre, reads lower than its standard deviation.
    """
    size = round(FIELD_MM / NOISE_PITCH_MM)
    around = crop(plane, pixel_spacing_mm=pixel_spacing_mm, centre=centre, size_mm=FIELD_MM, size_px=size)
    residual = (around - median_filter(around, 3))[around > GAS_HU]
    return NOISE_SCALE * float(np.median(np.abs(residual))) if residual.size else 0.0


def _cut_off(volume: Volume, slice_index: int, name: str, box: Box) -> str | None:
    """The field of view ends within the box, or air or padding fills much of it."""
    rows, cols = volume.shape[1:]
    (row_mm, col_mm), (row0, col0, row1, col1) = volume.pixel_spacing_mm, box.as_list()
    beyond_mm = max(
        (-0.5 - row0) * row_mm, (row1 - rows + 0.5) * row_mm, (-0.5 - col0) * col_mm, (col1 - cols + 0.5) * col_mm
    )
    if beyond_mm > EDGE_MM:
        return f"The box of the {name} reaches {beyond_mm:.0f} mm beyond the image, so the region is cut off."
    inside = volume.hu[slice_index, _pixels(row0, row1, rows), _pixels(col0, col1, cols)]
    share = float((inside <= GAS_HU).mean())
    if share > GAS_SHARE:
        return f"Air or the edge of the field of view fills {share:.0%} of the box of the {name}."
    return None


def _pixels(start: float, end: float, count: int) -> slice:
    """The pixels of an axis whose centres lie from start to end, at least one."""
    first = min(max(math.ceil(start), 0), count - 1)
    return slice(first, max(first, min(math.floor(end), count - 1)) + 1)


def _metal(volume: Volume, slice_index: int, name: str, box: Box) -> str | None:
    """Metal beside the region on its slice or on those that are graded with it."""
    if not volume.has_hounsfield:
        return None
    area = max(
        _metal_mm2(volume, volume.neighbour(slice_index, offset), box, METAL_REACH_MM) for offset in SLICES_MM
    )
    if area > METAL_MM2:
        return f"Metal or another very dense material lies beside the {name} ({area:.0f} mm² above {METAL_HU} HU)."
    return None


def _metal_mm2(volume: Volume, slice_index: int, box: Box, reach_mm: float) -> float:
    """Area of metal within a square around a box's centre on one slice."""
    rows, cols = (
        _pixels(at - reach_mm / mm, at + reach_mm / mm, count)
        for at, mm, count in zip(box.centre, volume.pixel_spacing_mm, volume.shape[1:], strict=True)
    )
    row_mm, col_mm = volume.pixel_spacing_mm
    return float((volume.hu[slice_index, rows, cols] >= METAL_HU).sum()) * row_mm * col_mm


def _streaks(volume: Volume, slice_index: int, name: str, box: Box) -> str | None:
    """Shadows of metal that lies farther away on the slice."""
    if not volume.has_hounsfield or _metal_mm2(volume, slice_index, box, STREAK_REACH_MM) <= METAL_MM2:
        return None
    around = crop(
        volume.hu[slice_index], pixel_spacing_mm=volume.pixel_spacing_mm, centre=box.centre, size_mm=FIELD_MM,
        size_px=round(FIELD_MM),
    )
    share = float(((around > GAS_HU) & (around < STREAK_HU)).mean())
    return f"Streaks from metal darken the surroundings of the {name}." if share > STREAK_SHARE else None


def _noisy(volume: Volume, slice_index: int, name: str, box: Box) -> str | None:
    noise = noise_hu(volume.hu[slice_index], volume.pixel_spacing_mm, box.centre)
    if noise > UNREADABLE_NOISE_HU:
        return (f"The image is too noisy around the {name}: about {noise:.0f} HU, and {UNREADABLE_NOISE_HU:.0f} HU is "
                "the limit.")
    return None


def _wrong_size(volume: Volume, region: Region, box: Box) -> str | None:
    limits = CANAL_MM if region is Region.CENTRAL_CANAL else RECESS_MM
    size = [px * mm for px, mm in zip(box.size, volume.pixel_spacing_mm, strict=True)]
    if all(least <= mm <= most for mm, (least, most) in zip(size, limits, strict=True)):
        return None
    (low, high), (narrow, wide) = limits
    return (f"The box of the {region.label.lower()} is {size[1]:.0f} mm wide and {size[0]:.0f} mm high; "
            f"{narrow:.0f}-{wide:.0f} by {low:.0f}-{high:.0f} mm is plausible.")


def _wrong_place(volume: Volume, region: Region, boxes: Mapping[Region, Box]) -> str | None:
    """A recess that is far from the canal or on its other side."""
    canal = boxes.get(Region.CENTRAL_CANAL)
    if region is Region.CENTRAL_CANAL or canal is None:
        return None
    down_mm, left_mm = _apart_mm(volume, boxes[region], canal)
    name, distance = region.label.lower(), math.hypot(down_mm, left_mm)
    if left_mm * SIDES[region] <= 0:
        return f"The box of the {name} lies on the other side of the canal."
    if distance > RECESS_DISTANCE_MM:
        return f"The box of the {name} lies {distance:.0f} mm from the middle of the canal, which is too far."
    return None


def _unlike_pair(volume: Volume, boxes: Mapping[Region, Box], known: Mapping[Region, str]) -> dict[Region, str]:
    """Two recesses that do not belong to one level; nothing where one of them is already known to be wrong."""
    left, right = (boxes.get(region) for region in SIDES)
    if left is None or right is None or any(region in known for region in SIDES):
        return {}
    down_mm, left_mm = _apart_mm(volume, left, right)
    canal = boxes.get(Region.CENTRAL_CANAL)
    if left_mm <= 0:
        reason = "The boxes of the left and right lateral recess have changed sides."
    elif abs(down_mm) > RECESSES_APART_MM:
        reason = f"One lateral recess lies {abs(down_mm):.0f} mm behind the other; move the boxes to one height."
    elif canal is None:
        return {}
    elif left_mm > RECESSES_WIDE_MM and (uneven := _uneven_mm(volume, left, right, canal)) > RECESSES_APART_MM:
        reason = f"One lateral recess lies {uneven:.0f} mm farther from the canal than the other; move the boxes."
    elif (beside := _beside_mm(volume, left, right, canal)) > CANAL_BESIDE_MM:
        reason = f"The canal lies {beside:.0f} mm beside the middle between the lateral recesses; move the boxes."
        return {region: reason for region in boxes}
    else:
        return {}
    return {region: reason for region in SIDES}


def _beside_mm(volume: Volume, left: Box, right: Box, canal: Box) -> float:
    """How far to one side of the middle between the recesses the canal lies."""
    return abs(_apart_mm(volume, left, canal)[1] + _apart_mm(volume, right, canal)[1]) / 2


def _uneven_mm(volume: Volume, left: Box, right: Box, canal: Box) -> float:
    """How much farther one recess lies from the canal than the other."""
    return abs(math.hypot(*_apart_mm(volume, left, canal)) - math.hypot(*_apart_mm(volume, right, canal)))


def _apart_mm(volume: Volume, box: Box, other: Box) -> tuple[float, float]:
    """(rows, columns) in mm from the centre of `other` to that of `box`."""
    return box.mm_from(other.centre, volume.pixel_spacing_mm)


def _same_boxes(boxes: Mapping[Region, Box]) -> dict[Region, str]:
    """One box under two names."""
    reasons: dict[Region, str] = {}
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        if all(abs(p - q) <= SAME_BOX_PX for p, q in zip(a.as_list(), b.as_list(), strict=True)):
            reason = f"The {one.label.lower()} and the {other.label.lower()} have the same box; move one of them."
            reasons |= {one: reason, other: reason}
    return reasons
