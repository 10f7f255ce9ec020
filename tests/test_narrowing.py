"""Narrowing is imposed by moving walls: on a drawn scan, where every wall is known, and on real ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks import walls
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.simulation.narrowing import (
    Family,
    OutlinedSlice,
    graded_regions,
    measures_of_walls,
    move,
    narrowed_level,
    narrowed_walls,
    strength_for,
    trace_levels,
)
from lss_core.vocabulary import CANAL_AP, RECESS_HEIGHT, SAC_AREA, DiscLevel, Region, measure_of

REAL = Path(__file__).resolve().parents[2] / "shared" / "real_ct"
needs_real_ct = pytest.mark.skipif(not REAL.is_dir(), reason="the real CT series (../shared/real_ct) are not here")
PIXEL, CENTRE, RADIUS = 0.5, (60.0, 60.0), 6.5
LEFT, RIGHT, CANAL = Region.LEFT_LATERAL_RECESS, Region.RIGHT_LATERAL_RECESS, Region.CENTRAL_CANAL


def drawn_plane(noise_hu=0.0, seed=0):
    """A disc in front, a round sac in fat, facets 6 mm behind the disc's margin on both sides and a lamina behind."""
    v, u = np.meshgrid((np.arange(121) - CENTRE[0]) * PIXEL, (np.arange(121) - CENTRE[1]) * PIXEL, indexing="ij")
    hu = np.full(v.shape, -90.0)
    hu[v < -7.5] = 90.0
    hu[(np.abs(u) > 8.0) & (v > -1.5)] = 700.0
    hu[v > 9.5] = 600.0
    hu[np.hypot(u, v) < RADIUS] = 20.0
    hu = gaussian_filter(hu, 0.6 / PIXEL) + np.random.default_rng(seed).normal(0, noise_hu, v.shape)
    return np.rint(hu).astype(np.int16)


def drawn_scan(noise_hu=0.0):
    """Nine equal slices 3 mm apart with the outline of the middle one's neighbours."""
    volume = Volume(
        hu=np.stack([drawn_plane(noise_hu, seed) for seed in range(9)]), positions_mm=np.arange(9) * 3.0,
        pixel_spacing_mm=(PIXEL, PIXEL), slice_thickness_mm=3.0, sop_instance_uids=tuple("abcdefghi"),
        series_uid="1", stored=StoredPlane((121, 121)),
    )
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    sac = np.stack([CENTRE[0] + RADIUS / PIXEL * np.sin(turn), CENTRE[1] + RADIUS / PIXEL * np.cos(turn)], axis=1)
    area = np.pi * RADIUS**2
    recesses = {LEFT: (CENTRE[0] - 4.5 / PIXEL, CENTRE[1] + 9.0 / PIXEL),
                RIGHT: (CENTRE[0] - 4.5 / PIXEL, CENTRE[1] - 9.0 / PIXEL)}
    outlined = [
        OutlinedSlice(index, DiscLevel.L4_5, position, CENTRE, recesses, sac, (area, area), 17.0, True)
        for index, position in ((3, "below"), (4, "disc"), (5, "above"))
    ]
    return volume, outlined


@pytest.fixture(scope="module")
def level():
    volume, outlined = drawn_scan()
    (only,) = trace_levels(volume, outlined)
    return only


def test_the_walls_of_a_drawing_are_where_they_were_drawn(level):
    measures = measures_of_walls(level.walls[4])
    assert measures[CANAL] == {SAC_AREA: pytest.approx(np.pi * RADIUS**2, rel=1e-6), CANAL_AP: 17.0}
    assert measures[LEFT][RECESS_HEIGHT] == pytest.approx(6.0, abs=0.5)
    assert measures[RIGHT][RECESS_HEIGHT] == pytest.approx(6.0, abs=0.5)
    assert set(level.walls) == set(range(1, 8))                     # within the fading distance of the outlined slices


def test_a_recess_without_a_facet_behind_it_has_no_height():
    volume, outlined = drawn_scan()
    columns = (np.arange(121) - CENTRE[1]) * PIXEL
    hu = volume.hu.copy()
    bare = (columns > 8.0) & (columns < 11.0)                       # of the left recess, whose centre is at 9 mm
    hu[:, 50:, bare] = -90                                          # up to the end of the picture
    (level,) = trace_levels(replace(volume, hu=hu), outlined)
    assert LEFT not in level.walls[4].clear and set(measures_of_walls(level.walls[4])) == {CANAL, RIGHT}


@pytest.mark.parametrize("family", Family)
def test_the_wanted_measure_is_reached_and_the_scan_shows_it(level, family):
    region = graded_regions(family)[0]
    name = measure_of(region)
    wanted = 70.0 if region is CANAL else 2.5
    strength = strength_for(level, family, region, wanted, slice_index=4)
    after = narrowed_level(level, family, strength)
    assert measures_of_walls(after[4])[region][name] == pytest.approx(wanted, rel=0.02)
    if region is not CANAL:
        return
    hu = move(drawn_plane()[None], {0: level.walls[4]}, {0: after[4]}, pixel_spacing_mm=(PIXEL, PIXEL), shift_px=0.0)[0]
    window = hu[30:85, 42:79]                                       # between disc and lamina, beside the facets
    if family is Family.BULGE:
        sac = ((window > -15) & (window < 52)).sum() * PIXEL**2     # counted on the picture, edges included
        assert sac == pytest.approx(wanted, rel=0.3) and sac < 0.75 * np.pi * RADIUS**2


def test_narrowing_rises_with_strength_and_never_crosses_the_walls(level):
    walls = level.walls[4]
    before = measures_of_walls(walls)[CANAL][SAC_AREA]
    for strength in np.linspace(0.5, 20, 14):
        moved = narrowed_walls(walls, np.full(len(walls.front), strength), np.full(len(walls.front), strength / 2))
        area = measures_of_walls(moved)[CANAL][SAC_AREA]
        assert area <= before + 1e-9
        assert (moved.back >= moved.front).all()
        inside = ~np.isnan(moved.sac_front)
        assert (moved.sac_front >= moved.front - 1e-6)[inside].all()
        assert (moved.sac_back <= moved.back + 1e-6)[inside].all()
        before = area
    assert before < 5.0


def test_one_side_narrows_and_the_other_stays(level):
    strength = strength_for(level, Family.FACET_LEFT, LEFT, 1.5, slice_index=4)
    after = measures_of_walls(narrowed_level(level, Family.FACET_LEFT, strength)[4])
    before = measures_of_walls(level.walls[4])
    assert after[LEFT][RECESS_HEIGHT] == pytest.approx(1.5, abs=0.05)
    assert after[RIGHT][RECESS_HEIGHT] == pytest.approx(before[RIGHT][RECESS_HEIGHT], abs=0.05)
    assert after[CANAL][SAC_AREA] > 0.9 * before[CANAL][SAC_AREA]


def test_narrowing_fades_along_the_spine(level):
    after = narrowed_level(level, Family.BULGE, 6.0)
    areas = {index: measures_of_walls(walls)[CANAL][SAC_AREA] for index, walls in after.items()}
    assert areas[4] < areas[3] < areas[2] and areas[1] == pytest.approx(np.pi * RADIUS**2, rel=0.02)


def test_a_measure_that_cannot_be_reached_gives_none(level):
    assert strength_for(level, Family.BULGE, CANAL, 500.0, slice_index=4) is None
    assert strength_for(level, Family.FACET_LEFT, CANAL, 20.0, slice_index=4) is None


def test_dose_zero_moves_nothing_but_takes_the_same_path(level):
    plane = drawn_plane(noise_hu=15.0)
    walls = {0: level.walls[4]}
    still = move(plane[None], walls, walls, pixel_spacing_mm=(PIXEL, PIXEL), shift_px=0.0)[0]
    np.testing.assert_allclose(still, plane, atol=0.01)
    shifted = move(plane[None], walls, walls, pixel_spacing_mm=(PIXEL, PIXEL), shift_px=1.0)[0]
    np.testing.assert_allclose(shifted[5:-5], plane[4:-6], atol=0.01)


def test_noise_is_the_same_where_tissue_was_moved():
    """A cue of the moved places would let a network cheat: texture inside and outside them must not differ."""
    volume, outlined = drawn_scan(noise_hu=20.0)
    (level,) = trace_levels(volume, outlined)
    strength = strength_for(level, Family.BULGE, CANAL, 80.0, slice_index=4)
    after = narrowed_level(level, Family.BULGE, strength)
    pair = [{0: level.walls[4]}, {0: after[4]}]

    def moved(plane, shift):
        return move(plane[None], *pair, pixel_spacing_mm=(PIXEL, PIXEL), shift_px=shift)[0]

    noise = moved(volume.hu[4], 0.4) - moved(drawn_plane(), 0.4)
    inside, outside = noise[52:64, 52:68], noise[100:118, 10:110]
    assert 0.75 < inside.std() / outside.std() < 1.25


@needs_real_ct
def test_every_outlined_real_level_can_be_narrowed():
    from lss_core.training.outlined import read_outlined_scan

    path = REAL / "annotations" / "philips_full_lumbar_3mm.json"
    scan = read_outlined_scan(REAL / "philips_full_lumbar_3mm", path)
    assert [level.level for level in scan.levels] == list(reversed(DiscLevel))
    slices = json.loads(path.read_text())["slices"]
    stated = {each["sop_instance_uid"]: each["sac"]["area_range_mm2"] for each in slices}
    for level in scan.levels:
        for index in level.outlined:
            low, high = stated[scan.volume.sop_instance_uids[index]]
            measures = measures_of_walls(level.walls[index])
            assert low <= measures[CANAL][SAC_AREA] <= high
            for side in (LEFT, RIGHT):
                assert 0.5 < measures.get(side, {RECESS_HEIGHT: 5.0})[RECESS_HEIGHT] < 13.0
            if level.outlined[index].position == "disc":
                assert strength_for(level, Family.CONCENTRIC, CANAL, 60.0, slice_index=index) is not None


def test_an_outline_without_fat_beside_it_measures_no_recess():
    volume, outlined = drawn_scan()
    hu = np.where(volume.hu < 0, 85, volume.hu)                     # the fat replaced by tissue as dense as the disc
    (level,) = trace_levels(replace(volume, hu=hu.astype(np.int16)), outlined)
    assert set(measures_of_walls(level.walls[4])) == {CANAL}


def test_a_recess_beside_which_the_walls_meet_has_no_height():
    volume, outlined = drawn_scan()
    hu = volume.hu.copy()
    row, col = (int(CENTRE[0] - 7.5 / PIXEL), int(CENTRE[1] + 11.0 / PIXEL))
    hu[:, row:, col : col + 5] = 700                                # a pedicle, or a closed recess: not told apart
    (level,) = trace_levels(replace(volume, hu=hu), outlined)
    assert set(measures_of_walls(level.walls[4])) == {CANAL, RIGHT}


def test_traced_recess_heights_agree_with_those_of_simulated_slices():
    every = [each for number in range(12) for each in walls.of_patient(number, seed=1_900_000)]
    heights = [each for each in every if not each.imposed]
    off = np.array([each.traced - each.true for each in heights if each.traced is not None])
    assert len(off) > 0.6 * len(heights)
    assert abs(np.median(off)) < 0.25
    assert np.median(np.abs(off)) < 0.5
    assert np.mean(np.abs(off) > 1.0) < 0.2
    claimed = np.array([each.traced - each.true for each in every if each.imposed])
    assert len(claimed) > 50
    assert abs(np.median(claimed)) < 0.5                            # of recesses narrowed to 1.2 mm
