"""How well the recess heights that are read off a real scan's outlines agree with a known reference.

    python -m benchmarks.walls [--patients 100] [--seed 1900000]

Narrowing is imposed on a real scan between the walls that `lss_core/simulation/narrowing.py` traces beside its
outlines. Here the same walls are traced on simulated slices of 3 and 5 mm, whose sac is outlined by the reference and
whose regions' centres are up to a millimetre or two off, as an outliner's are; the recess heights between them stand
against the reference's. Then a facet's growth and a herniation narrow each open recess to 1.2 mm, and the mask of what
is free of bone and disc moves with the picture: its height stands against the one that the walls claim.
Simulated: how well walls are traced on people is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.stats import spearmanr

from benchmarks.patients import over_patients, patient_options
from lss_core.simulation.anatomy import Patient, sample_patient
from lss_core.simulation.narrowing import (
    AT_TIP_MM,
    NARROWEST,
    U_MM,
    Family,
    Level,
    OutlinedSlice,
    Walls,
    measures_of_walls,
    move,
    narrowed_level,
    strength_for,
    trace_walls,
    within,
)
from lss_core.simulation.render import Acquisition, sample_acquisition
from lss_core.simulation.samples import LevelSample, render_level
from lss_core.simulation.series import patient_seed
from lss_core.training.imposed import LEAST_ROOM, SEVEREST, SHIFT_PX
from lss_core.vocabulary import RECESS_HEIGHT, DiscLevel, Region

THICKNESSES_MM = (3.0, 5.0)
OUTLINER_MM = 0.8                       # standard deviation each way of a recess's centre
LEAST_SAC_PX, POINTS = 30, 48           # of a sac that is outlined
REACH_MM = 1.2                          # from the middle between the walls to what is free
IMPOSED = {
    Region.LEFT_LATERAL_RECESS: (Family.FACET_LEFT, Family.HERNIATION_LEFT),
    Region.RIGHT_LATERAL_RECESS: (Family.FACET_RIGHT, Family.HERNIATION_RIGHT),
}
BANDS_MM = (0.0, 2.0, 3.0, 3.6, 4.5, 6.0, np.inf)


@dataclass(frozen=True)
class Height:
    """One recess in mm: the reference's, and between the traced walls; None where they give none.

    Of an imposed narrowing: what the moved mask shows, and what the walls claim.
    """

    level: DiscLevel
    true: float
    traced: float | None
    imposed: str = ""                   # "facet growth" or "herniation"


def of_patient(number: int, *, seed: int) -> list[Height]:
    """The recesses of one simulated patient."""
    rng = np.random.default_rng(patient_seed(seed, number))
    patient = sample_patient(rng)
    thickness = float(rng.choice(THICKNESSES_MM))
    scanner = replace(sample_acquisition(rng, patient), slice_thickness_mm=thickness, slice_spacing_mm=thickness)
    return [each for level in DiscLevel for each in _of_level(patient, level, scanner, rng)]


def _of_level(
    patient: Patient, level: DiscLevel, scanner: Acquisition, rng: np.random.Generator
) -> Iterator[Height]:
    sample = render_level(patient, level, scanner, rng)
    if sample is None or (sample.masks[0] > 127).sum() < LEAST_SAC_PX:
        return
    outlined = _outlined(sample, rng)
    walls = trace_walls(sample.hu[1], outlined, (sample.pixel_mm, sample.pixel_mm))
    measures = measures_of_walls(walls)
    for region in walls.recesses:
        traced = measures.get(region, {}).get(RECESS_HEIGHT)
        yield Height(level, sample.regions[region].measure_value, traced)
        if traced is not None and traced >= LEAST_ROOM[False]:
            placed = Level(level, {1: walls}, {1: 0.0}, {1: outlined})
            for family in IMPOSED[region]:
                strength = strength_for(placed, family, region, SEVEREST[False], slice_index=1)
                if strength is not None:
                    yield _imposed(sample, placed, family, region, strength)


def _imposed(sample: LevelSample, placed: Level, family: Family, region: Region, strength_mm: float) -> Height:
    """What the walls claim of a narrowed recess, and what the mask shows that is moved with them."""
    after = narrowed_level(placed, family, strength_mm)[1]
    spacing = (sample.pixel_mm, sample.pixel_mm)
    free = move(
        sample.masks[1:2].astype(np.float32) / 255, {0: placed.walls[1]}, {0: after}, pixel_spacing_mm=spacing,
        shift_px=SHIFT_PX,
    )[0]
    claimed = measures_of_walls(after)[region][RECESS_HEIGHT]
    moved = _free_height(free, after, region, sample.pixel_mm)
    return Height(sample.level, moved, claimed, family.value.partition(" ")[2])


def _free_height(free: np.ndarray, walls: Walls, region: Region, pixel_mm: float) -> float:
    """Height in mm of a mask (0..1) where it is lowest about the facet's tip, as `measures_of_walls` looks for it."""
    at_tip = within(walls.recesses[region], region, AT_TIP_MM)
    middles = ((walls.front + walls.back) / 2)[at_tip]
    heights = []
    for u, middle in zip(U_MM[at_tip], middles, strict=True):
        column, share = divmod(walls.centre[1] + u / pixel_mm, 1.0)
        line = (1 - share) * free[:, int(column)] + share * free[:, int(column) + 1]
        open_rows = np.flatnonzero(line >= 0.5)
        start = walls.centre[0] + SHIFT_PX + middle / pixel_mm
        if not open_rows.size or np.abs(open_rows - start).min() * pixel_mm > REACH_MM:
            heights.append(0.0)
            continue
        first = last = int(open_rows[np.abs(open_rows - start).argmin()])
        while first > 0 and line[first - 1] >= 0.5:
            first -= 1
        while last < len(line) - 1 and line[last + 1] >= 0.5:
            last += 1
        heights.append(float(line[max(first - 1, 0) : last + 2].clip(0, 1).sum()) * pixel_mm)
    return float(np.sort(heights)[:NARROWEST].mean())


def _outlined(sample: LevelSample, rng: np.random.Generator) -> OutlinedSlice:
    """A simulated disc slice as an outliner would give it."""
    canal = sample.regions[Region.CENTRAL_CANAL]
    off = OUTLINER_MM / sample.pixel_mm
    recesses = {}
    for region, truth in sample.regions.items():
        if region is not Region.CENTRAL_CANAL:
            row, col = truth.box.centre
            recesses[region] = (row + float(rng.normal(0, off)), col + float(rng.normal(0, off)))
    return OutlinedSlice(
        slice_index=1, level=sample.level, position="disc", centre=canal.box.centre, recesses=recesses,
        sac=_outline(sample.masks[0]), area_range_mm2=(canal.measure_value, canal.measure_value), canal_ap_mm=None,
        trusted=True,
    )


def _outline(mask: np.ndarray) -> np.ndarray:
    """The farthest points of a mask (0..255) from its centre, float64 [POINTS, 2] (row, column)."""
    rows, cols = np.nonzero(mask > 127)
    centre = np.array([rows.mean(), cols.mean()])
    angles = np.arctan2(rows - centre[0], cols - centre[1])
    distances = np.hypot(rows - centre[0], cols - centre[1])
    points = []
    for angle in np.linspace(-np.pi, np.pi, POINTS, endpoint=False):
        across = np.abs(np.sin(angles - angle)) * distances
        ahead = (np.cos(angles - angle) > 0) & (across < 0.75)
        reach = float((distances[ahead] * np.cos(angles[ahead] - angle)).max(initial=0.0))
        points.append(centre + reach * np.array([np.sin(angle), np.cos(angle)]))
    return np.array(points)


def line(name: str, heights: list[Height]) -> str:
    """Errors of the traced heights."""
    known = [(each.true, each.traced) for each in heights if each.traced is not None]
    if len(known) < 3:
        return f"{name:16} {len(heights):4} recesses, {len(known)} with a height"
    true, traced = np.array(known).T
    off = traced - true
    return (
        f"{name:16} {len(heights):4} recesses, {len(known):4} with a height; traced minus true: median "
        f"{np.median(off):+.2f} mm, mean {off.mean():+.2f}, standard deviation {off.std():.2f}; median error "
        f"{np.median(np.abs(off)):.2f} mm, above 1 mm {np.mean(np.abs(off) > 1):.3f}; Spearman "
        f"{spearmanr(true, traced)[0]:.3f}"
    )


def main() -> int:
    options = patient_options(__doc__ or "", patients=100).parse_args()
    heights = over_patients(partial(of_patient, seed=options.seed), options)
    imposed = [each for each in heights if each.imposed]
    heights = [each for each in heights if not each.imposed]
    print(line("all", heights))
    for low, high in pairwise(BANDS_MM):
        print(line(f"{low:.1f} to {high:.1f} mm", [each for each in heights if low <= each.true < high]))
    for level in DiscLevel:
        print(line(level.value, [each for each in heights if each.level is level]))
    for family in sorted({each.imposed for each in imposed}):
        print(line(family, [each for each in imposed if each.imposed == family]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
