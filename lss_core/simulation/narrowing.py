"""Narrowing imposed on a real scan: its own tissue is moved, nothing is painted.

A slice whose regions are outlined is described by walls along its columns, in the anteroposterior direction: the front
wall (posterior margin of disc or body), the dural sac, the back wall (ligament, lamina, superior facet). Narrowing
moves the walls into the canal: disc bulge and herniation from the front, ligament and facet growth from behind, on one
side or both, fading out along the spine. Between the walls the epidural fat gives way first and the sac takes what is
left; the tissue behind each wall is stretched to follow. The scan is resampled along this displacement, so texture,
noise and contrast stay the scanner's own, and the measures of the result follow from the moved walls.

Dose 0 takes the same path: every slice is resampled at a common shift of a fraction of a pixel, narrowed or not, so
that interpolation leaves no mark where something was moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from lss_core.imaging.volume import Volume
from lss_core.simulation.truth import SIDES
from lss_core.vocabulary import CANAL_AP, RECESS_HEIGHT, SAC_AREA, DiscLevel, Region

U_MM = np.arange(-20.0, 20.01, 0.4)         # columns, to the patient's left of the canal's centre
V_MM = np.arange(-18.0, 16.01, 0.4)         # rows, behind the canal's centre
STEP_MM = 0.4
BESIDE_SAC_HU, BONE_HU = 55.0, 180.0        # sac against ligament; certainly bone
FULL_RECESS_HU = 50.0                       # denser content is disc or ligament, and no height can be measured
RECESS_BEHIND_MM = 3.0                      # how far a recess's centre lies behind the front wall
DEEP_FRONT_MM, DEEP_BACK_MM = 11.0, 7.0     # how deep behind a wall tissue is stretched
WHOLE_MM = (-1.5, 3.8)                      # of a recess, lateral of its centre
AT_TIP_MM, NARROWEST = (0.4, 3.8), 4        # its height's place, about the facet's tip, and columns
FAR_MM = 12.0                               # behind the front wall: farther back no facet is looked for
FADE_MM = 8.0                               # along the spine
LEAST_GAP_MM = 0.15                         # between the walls of a closed column


class Family(StrEnum):
    """Ways in which a canal narrows."""

    BULGE = "disc bulge"
    LIGAMENT = "ligament growth"
    CONCENTRIC = "bulge, ligaments and facets"
    FACET_LEFT = "left facet growth"
    FACET_RIGHT = "right facet growth"
    FACETS = "facet growth on both sides"
    HERNIATION_LEFT = "left herniation"
    HERNIATION_RIGHT = "right herniation"


@dataclass(frozen=True)
class OutlinedSlice:
    """The regions of one slice of a scan, in pixels of the volume."""

    slice_index: int
    level: DiscLevel | None
    position: str                           # "disc", "below" or "above" it
    centre: tuple[float, float]             # (row, column) of the canal
    recesses: Mapping[Region, tuple[float, float]]      # (row, column) of their centres
    sac: np.ndarray                         # float64 [n, 2] (row, column), the outline
    area_range_mm2: tuple[float, float]     # of the sac, as the outliner states it; twice the same where it is sure
    canal_ap_mm: float | None
    trusted: bool                           # whether sac and outline are more than a guess

    @property
    def area_mm2(self) -> float:
        """The middle of the range."""
        return (self.area_range_mm2[0] + self.area_range_mm2[1]) / 2


@dataclass(frozen=True)
class Walls:
    """A slice along U_MM, in mm behind `centre`; sac edges are NaN beside the sac, recess sides may be unknown."""

    centre: tuple[float, float]             # (row, column) pixels
    front: np.ndarray
    back: np.ndarray
    sac_front: np.ndarray
    sac_back: np.ndarray
    recesses: Mapping[Region, float]        # lateral mm of each recess's centre
    clear: frozenset[Region]                # recesses whose height can be measured, see `trace_walls`
    area_scale: float                       # stated area over the area between the sac's edges
    canal_ap_mm: float | None


def trace_walls(plane: np.ndarray, outlined: OutlinedSlice, pixel_spacing_mm: tuple[float, float]) -> Walls:
    """Find the walls of an outlined slice, HU [row, column].

    A recess is clear where its content differs from the disc, bone lies behind the whole of it, and the walls beside it
    do not meet: whether it is closed there or ends at a pedicle cannot be told. `benchmarks/walls.py` measures how
    well the heights of clear recesses agree with those of simulated slices.
    """
    hu = _local(plane, outlined.centre, pixel_spacing_mm)
    sac_front, sac_back = _sac_edges(outlined, pixel_spacing_mm)
    recesses = {
        region: ((row - outlined.centre[0]) * pixel_spacing_mm[0], (col - outlined.centre[1]) * pixel_spacing_mm[1])
        for region, (row, col) in outlined.recesses.items()
    }
    front = _front_wall(hu, sac_front, list(recesses.values()))
    back = _back_wall(hu, front, sac_back)
    clear = frozenset(
        r for r, (_, u) in recesses.items()
        if _is_clear(hu, front, back, u) and _has_facet(back - front, u, r) and not _closes(back - front, u, r)
    )
    inside = ~np.isnan(sac_front)
    area = float((sac_back - sac_front)[inside].sum()) * STEP_MM
    return Walls(
        outlined.centre, front, back, sac_front, sac_back, {region: u for region, (_, u) in recesses.items()},
        clear, outlined.area_mm2 / area, outlined.canal_ap_mm,
    )


def _is_clear(hu: np.ndarray, front: np.ndarray, back: np.ndarray, u: float) -> bool:
    """Whether what lies between the walls beside a recess's centre is less dense than disc and ligament."""
    columns = np.flatnonzero(np.abs(U_MM - u) < 2.0)
    behind_front, before_back = V_MM[:, None] - front[columns], back[columns] - V_MM[:, None]
    content = hu[:, columns][(behind_front > 0.6) & (before_back > 0.6)]
    disc = hu[:, columns][(behind_front < -1.0) & (behind_front > -3.0)]
    if not content.size:
        return False
    return float(np.median(content)) < max(FULL_RECESS_HU, min(float(np.median(disc)), 130.0) - 45.0)


def _has_facet(gaps: np.ndarray, u: float, region: Region) -> bool:
    """Whether bone lies behind the whole of a recess; otherwise the facet is beside it, or on another slice."""
    return bool(gaps[within(u, region, WHOLE_MM)].max() < FAR_MM - 0.5)


def _closes(gaps: np.ndarray, u: float, region: Region) -> bool:
    """Whether the walls meet beside a recess that is open at its centre."""
    return bool(gaps[within(u, region, WHOLE_MM)].min() < 1.5 < 0.5 * gaps[np.abs(U_MM - u) < 1.2].mean())


def within(u: float, region: Region, reach_mm: tuple[float, float]) -> np.ndarray:
    """Which of U_MM lie so far lateral of a recess's centre at u mm."""
    lateral = SIDES[region] * (U_MM - u)
    return (lateral > reach_mm[0]) & (lateral < reach_mm[1])


def _local(plane: np.ndarray, centre: tuple[float, float], spacing: tuple[float, float]) -> np.ndarray:
    """HU on the grid V_MM x U_MM, lightly smoothed."""
    rows, cols = centre[0] + V_MM / spacing[0], centre[1] + U_MM / spacing[1]
    at = np.meshgrid(rows, cols, indexing="ij")
    return gaussian_filter(map_coordinates(plane.astype(np.float32), at, order=1, mode="nearest"), 0.6 / STEP_MM)


def _sac_edges(outlined: OutlinedSlice, spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Front and back of the sac's outline along U_MM, NaN beside it."""
    v = (outlined.sac[:, 0] - outlined.centre[0]) * spacing[0]
    u = (outlined.sac[:, 1] - outlined.centre[1]) * spacing[1]
    front, back = np.full(len(U_MM), np.nan), np.full(len(U_MM), np.nan)
    for u0, v0, u1, v1 in zip(u, v, np.roll(u, -1), np.roll(v, -1), strict=True):
        crossed = (min(u0, u1) <= U_MM) & (max(u0, u1) >= U_MM)
        if abs(u1 - u0) < 1e-6 or not crossed.any():
            continue
        at = v0 + (v1 - v0) * (U_MM[crossed] - u0) / (u1 - u0)
        front[crossed] = np.fmin(front[crossed], at)
        back[crossed] = np.fmax(back[crossed], at)
    return front, back


def _front_wall(hu: np.ndarray, sac_front: np.ndarray, recesses: Sequence[tuple[float, float]]) -> np.ndarray:
    """Where disc or bone ends, going back: the steepest fall of density near the line that sac and recesses suggest.

    Args:
        recesses: (v, u) mm of the recesses' centres, which lie `RECESS_BEHIND_MM` behind the wall.
    """
    inside = ~np.isnan(sac_front)
    middle = np.flatnonzero(inside)[len(np.flatnonzero(inside)) // 2]
    anchors = sorted([(U_MM[middle], sac_front[middle] - 0.5), *((u, v - RECESS_BEHIND_MM) for v, u in recesses)])
    known_u, known_v = np.array(anchors).T
    fall = -np.gradient(hu, STEP_MM, axis=0)
    wall = np.interp(U_MM, known_u, known_v)
    for width_mm in (1.5, 1.0):                                     # near the suggestion, then near what was found
        near = np.exp(-0.5 * ((V_MM[:, None] - wall[None, :]) / width_mm) ** 2)
        score = np.clip(fall, 5.0, 120.0) * near
        found = V_MM[score.argmax(axis=0)]
        strong = np.take_along_axis(fall, score.argmax(axis=0)[None], 0)[0] > 12.0
        found = np.where(strong, found, wall)
        found = np.where(inside, np.fmin(found, np.nan_to_num(sac_front, nan=np.inf)), found)
        wall = gaussian_filter1d(found, 1.4 / STEP_MM)
    return np.where(inside, np.fmin(wall, np.nan_to_num(sac_front, nan=np.inf)), wall)


def _back_wall(hu: np.ndarray, front: np.ndarray, sac_back: np.ndarray) -> np.ndarray:
    """Where ligament, lamina or facet begins, going back from the sac or, beside it, from the front wall.

    Beside the sac bone is met first and the wall is then set where density rises most steeply before it.
    """
    inside = ~np.isnan(sac_back)
    rise = np.gradient(hu, STEP_MM, axis=0)
    wall = np.empty(len(U_MM))
    for column in range(len(U_MM)):
        start = sac_back[column] if inside[column] else front[column] + 0.8
        rows = np.flatnonzero((start < V_MM) & (hu[:, column] > (BESIDE_SAC_HU if inside[column] else BONE_HU)))
        if not rows.size:
            wall[column] = np.inf
        elif inside[column]:
            wall[column] = V_MM[rows[0]] - STEP_MM / 2
        else:
            before = np.arange(max(rows[0] - 5, 0), rows[0] + 2)
            before = before[before < len(V_MM)]
            wall[column] = V_MM[before[rise[before, column].argmax()]]
    wall = np.minimum(wall, np.where(inside, np.nan_to_num(sac_back) + 8.0, front + FAR_MM))
    wall = gaussian_filter1d(wall, 0.5 / STEP_MM)
    return np.where(inside, np.fmax(wall, np.nan_to_num(sac_back, nan=-np.inf)), np.maximum(wall, front))


def measures_of_walls(walls: Walls) -> dict[Region, dict[str, float]]:
    """Sac area and canal AP, and the height of each clear recess: the narrowest 1.6 mm about the facet's tip."""
    inside = ~np.isnan(walls.sac_front)
    area = float((walls.sac_back - walls.sac_front)[inside].sum()) * STEP_MM * walls.area_scale
    canal = {SAC_AREA: area} | ({} if walls.canal_ap_mm is None else {CANAL_AP: walls.canal_ap_mm})
    out = {Region.CENTRAL_CANAL: canal}
    for region in walls.clear:
        gaps = (walls.back - walls.front)[within(walls.recesses[region], region, AT_TIP_MM)]
        out[region] = {RECESS_HEIGHT: float(np.sort(gaps)[:NARROWEST].mean())}
    return out


@dataclass(frozen=True)
class Level:
    """One disc level of a scan: walls of its slices by slice index, and where the disc lies."""

    level: DiscLevel | None
    walls: Mapping[int, Walls]
    distances_mm: Mapping[int, float]       # headward of the disc
    outlined: Mapping[int, OutlinedSlice]


def trace_levels(volume: Volume, outlined: Sequence[OutlinedSlice]) -> list[Level]:
    """Group outlined slices by disc and trace the walls of every slice up to FADE_MM beside them.

    Slices between outlined ones get the outline that lies between theirs. A disc slice and its neighbours are one
    level; slices that have no disc slice within 12 mm are left out.
    """
    positions = volume.positions_mm
    levels = []
    for disc in (each for each in outlined if each.position == "disc"):
        here = float(positions[disc.slice_index])
        near = sorted(
            (each for each in outlined if abs(positions[each.slice_index] - here) <= 12.0),
            key=lambda each: each.slice_index,
        )
        reached = np.flatnonzero((positions >= positions[near[0].slice_index] - FADE_MM)
                                 & (positions <= positions[near[-1].slice_index] + FADE_MM))
        between = {int(index): _outline_at(near, int(index), positions) for index in reached}
        walls = {i: trace_walls(volume.hu[i], o, volume.pixel_spacing_mm) for i, o in between.items()}
        away = {index: float(positions[index]) - here for index in walls}
        levels.append(Level(disc.level, walls, away, {each.slice_index: each for each in near}))
    return levels


def _outline_at(outlined: Sequence[OutlinedSlice], index: int, positions: np.ndarray) -> OutlinedSlice:
    """The outline of a slice between outlined ones, point by point at equal angles; beyond them the nearest one."""
    below = max((o for o in outlined if o.slice_index <= index), key=lambda o: o.slice_index, default=outlined[0])
    above = min((o for o in outlined if o.slice_index >= index), key=lambda o: o.slice_index, default=outlined[-1])
    if below.slice_index == above.slice_index:
        return replace(below, slice_index=index)
    low, high = positions[below.slice_index], positions[above.slice_index]
    w = float((positions[index] - low) / (high - low))

    def mixed(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
        return (1 - w) * a[0] + w * b[0], (1 - w) * a[1] + w * b[1]

    shared = below.recesses.keys() & above.recesses.keys()
    aps = (below.canal_ap_mm, above.canal_ap_mm)
    return replace(
        below, slice_index=index, position="between", centre=mixed(below.centre, above.centre),
        recesses={region: mixed(below.recesses[region], above.recesses[region]) for region in shared},
        sac=(1 - w) * _by_angle(below.sac) + w * _by_angle(above.sac),
        area_range_mm2=mixed(below.area_range_mm2, above.area_range_mm2),
        canal_ap_mm=None if None in aps else (1 - w) * aps[0] + w * aps[1],  # type: ignore[operator]
        trusted=below.trusted and above.trusted,
    )


def _by_angle(outline: np.ndarray, count: int = 48) -> np.ndarray:
    """An outline that is star-shaped about its mean as `count` points at equal angles."""
    centre = outline.mean(axis=0)
    away = outline - centre
    angles, radii = np.arctan2(away[:, 0], away[:, 1]), np.hypot(away[:, 0], away[:, 1])
    wanted = np.linspace(-np.pi, np.pi, count, endpoint=False)
    order = np.argsort(angles)
    radius = np.interp(wanted, angles[order], radii[order], period=2 * np.pi)
    return centre + radius[:, None] * np.stack([np.sin(wanted), np.cos(wanted)], axis=1)


def encroachment(family: Family, walls: Walls) -> tuple[np.ndarray, np.ndarray]:
    """Shape of a family along U_MM: how far the front and the back wall move at strength 1 mm, both into the canal."""

    def hump(centre: float, width: float) -> np.ndarray:
        return np.exp(-(np.abs(U_MM - centre) / width) ** 4)

    none = np.zeros(len(U_MM))
    left = walls.recesses.get(Region.LEFT_LATERAL_RECESS, 9.0)
    right = walls.recesses.get(Region.RIGHT_LATERAL_RECESS, -9.0)
    middle = (left + right) / 2
    bulge = hump(middle, 13.0)
    ligament = hump(middle - 4.5, 4.0) + hump(middle + 4.5, 4.0)
    facet_left, facet_right = hump(left + 2.5, 4.5), hump(right - 2.5, 4.5)
    return {
        Family.BULGE: (bulge, none),
        Family.LIGAMENT: (none, ligament),
        Family.CONCENTRIC: (0.6 * bulge, 0.6 * ligament + 0.5 * (facet_left + facet_right)),
        Family.FACET_LEFT: (0.15 * facet_left, facet_left),
        Family.FACET_RIGHT: (0.15 * facet_right, facet_right),
        Family.FACETS: (0.15 * (facet_left + facet_right), facet_left + facet_right),
        Family.HERNIATION_LEFT: (hump(left + 1.0, 4.5), none),
        Family.HERNIATION_RIGHT: (hump(right - 1.0, 4.5), none),
    }[family]


def graded_regions(family: Family) -> tuple[Region, ...]:
    """The regions that a family is meant to narrow."""
    central = (Region.CENTRAL_CANAL,)
    left, right = (Region.LEFT_LATERAL_RECESS,), (Region.RIGHT_LATERAL_RECESS,)
    return {
        Family.BULGE: central, Family.LIGAMENT: central, Family.CONCENTRIC: central, Family.FACET_LEFT: left,
        Family.FACET_RIGHT: right, Family.FACETS: left + right, Family.HERNIATION_LEFT: left,
        Family.HERNIATION_RIGHT: right,
    }[family]


def narrowed_walls(walls: Walls, front_mm: np.ndarray, back_mm: np.ndarray) -> Walls:
    """Walls moved into the canal by these distances; fat gives way before the sac does."""
    gap = np.maximum(walls.back - walls.front, LEAST_GAP_MM)
    share = np.minimum(1.0, (gap - LEAST_GAP_MM) / np.maximum(front_mm + back_mm, 1e-9))
    front_mm, back_mm = share * front_mm, share * back_mm
    moved = front_mm + back_mm
    front, back = walls.front + front_mm, walls.back - back_mm
    before = np.nan_to_num(walls.sac_front - walls.front), np.nan_to_num(walls.back - walls.sac_back)
    fat = before[0] + before[1]
    sac = np.nan_to_num(walls.sac_back - walls.sac_front)
    left_fat = fat * np.exp(-1.2 * moved / (fat + 1.0))
    sac = np.clip(gap - moved - left_fat, 0.0, sac)
    left_fat = np.maximum(gap - moved - sac, 0.0)
    sac_front = front + left_fat * before[0] / np.maximum(fat, 1e-9)
    beside = np.isnan(walls.sac_front)
    ap = walls.canal_ap_mm
    if ap is not None:
        ap = max(ap - float(np.interp(0.0, U_MM, moved)), LEAST_GAP_MM)
    return replace(
        walls, front=front, back=back, sac_front=np.where(beside, np.nan, sac_front),
        sac_back=np.where(beside, np.nan, sac_front + sac), canal_ap_mm=ap,
    )


def narrowed_level(level: Level, family: Family, strength_mm: float) -> dict[int, Walls]:
    """The walls of a level's slices after narrowing of this strength, which fades along the spine."""
    out = {}
    for index, (walls, position) in _placed(level).items():
        front, back = encroachment(family, walls)
        here = strength_mm * _fading(position)
        out[index] = narrowed_walls(walls, here * front, here * back)
    return out


def _fading(distance_mm: float) -> float:
    """Share of the strength that is left at this distance from the disc."""
    return float(np.exp(-((distance_mm / FADE_MM) ** 4)))


def _placed(level: Level) -> dict[int, tuple[Walls, float]]:
    return {index: (walls, level.distances_mm[index]) for index, walls in level.walls.items()}


def strength_for(level: Level, family: Family, region: Region, wanted: float, *, slice_index: int) -> float | None:
    """Strength in mm at which the region's grading measure on a slice becomes `wanted`; None where it cannot.

    The measure falls with the strength, so it is found by halving.
    """
    name = SAC_AREA if region is Region.CENTRAL_CANAL else RECESS_HEIGHT
    walls, position = _placed(level)[slice_index]
    front, back = encroachment(family, walls)
    fading = _fading(position)

    def measure(strength: float) -> float:
        moved = narrowed_walls(walls, strength * fading * front, strength * fading * back)
        return measures_of_walls(moved).get(region, {}).get(name, float("nan"))

    low, high = 0.0, 14.0
    if not measure(low) >= wanted >= measure(high):
        return None
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if measure(middle) > wanted else (low, middle)
    return (low + high) / 2


def move(
    hu: np.ndarray, before: Mapping[int, Walls], after: Mapping[int, Walls], *, pixel_spacing_mm: tuple[float, float],
    shift_px: float, origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Resample slices so that the walls `before` come to lie at the walls `after`; float32 like `hu`.

    Args:
        hu: HU [slice, row, column]; the mappings' keys count along axis 0.
        shift_px: Fraction of a pixel by which everything is moved back, dose 0 included; 0.5 blurs most.
        origin: Row and column of `hu`'s first pixel in the pixels that the walls' centres count in.
    """
    out = np.empty(hu.shape, np.float32)
    rows = np.arange(hu.shape[1], dtype=np.float64)
    for index, plane in enumerate(hu):
        at = np.repeat((rows - shift_px)[:, None], hu.shape[2], axis=1)
        if index in before:
            at = at - _displacement_px(before[index], after[index], at, pixel_spacing_mm, origin)
        columns = np.broadcast_to(np.arange(hu.shape[2], dtype=np.float64), at.shape)
        out[index] = map_coordinates(plane.astype(np.float32), (at, columns), order=3, mode="nearest")
    return out


def _displacement_px(
    before: Walls, after: Walls, at: np.ndarray, spacing: tuple[float, float], origin: tuple[int, int]
) -> np.ndarray:
    """How far (rows) tissue was moved backward that now lies at fractional rows `at` [row, column]."""
    centre = before.centre[0] - origin[0], before.centre[1] - origin[1]
    u = (np.arange(at.shape[1]) - centre[1]) * spacing[1]
    deep = before.front - DEEP_FRONT_MM, before.back + DEEP_BACK_MM
    old, new = ([deep[0], *_knots(walls), deep[1]] for walls in (before, after))
    out = np.zeros_like(at)
    for column in np.flatnonzero((u > U_MM[0]) & (u < U_MM[-1])):
        v_old, v_new = ([float(np.interp(u[column], U_MM, knot)) for knot in knots] for knots in (old, new))
        v = (at[:, column] - centre[0]) * spacing[0]
        source = np.interp(v, np.maximum.accumulate(v_new), v_old, left=np.nan, right=np.nan)
        out[:, column] = np.nan_to_num(v - source) / spacing[0]
    return gaussian_filter1d(out, 0.7, axis=1)


def _knots(walls: Walls) -> list[np.ndarray]:
    """Along a column: front wall, front and back of the sac (the middle of the gap beside it), back wall."""
    beside = np.isnan(walls.sac_front)
    middle = (walls.front + walls.back) / 2
    sac_front, sac_back = (np.where(beside, middle, edge) for edge in (walls.sac_front, walls.sac_back))
    return [walls.front, sac_front, sac_back, walls.back]
