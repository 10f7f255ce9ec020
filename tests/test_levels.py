from dataclasses import replace

import numpy as np
import pytest
import torch

from lss_core.grading.detector import find_regions
from lss_core.grading.levels import (
    DiscFinding,
    DiscPeak,
    LevelNetwork,
    LevelsConfig,
    find_discs,
    find_levels,
    name_discs,
    numbering_doubted,
    one_spine,
    trace_canal,
)
from lss_core.grading.sacrum import sacrum_top, wing_share, wings_below
from lss_core.imaging.straighten import DEPTHS_MM, EXTENSION_MM, SLAB_OFFSETS_MM, CanalLine, extend_line, straighten
from lss_core.vocabulary import DiscLevel
from tests.phantoms import DISC_HU, LUMBOSACRAL_HU, THORACIC_HU, WING_HU, MarkerDetector, MarkerLevels, marked_volume

CONFIG = LevelsConfig()
FIVE = {12: LUMBOSACRAL_HU, 29: DISC_HU, 47: DISC_HU, 65: DISC_HU, 83: DISC_HU}


def straight_line(volume):
    n = len(volume.positions_mm)
    return CanalLine(volume.positions_mm, np.full(n, 70 * 1.5), np.full(n, 64 * 1.5))


def peaks(*positions, lumbosacral=None, thoracic=()):
    return [
        DiscPeak(p, 0.9, 0.9 if p == lumbosacral else 0.0, 0.9 if p in thoracic else 0.0, wings=0.4) for p in positions
    ]


def names(discs, window_mm=None):
    return [level for _, level in name_discs(discs, CONFIG, window_mm)]


def test_discs_are_counted_upward_from_the_sacrum():
    discs = peaks(20, 55, 92, 128, 162, 195, lumbosacral=20)
    assert names(discs) == [DiscLevel.L5_S1, DiscLevel.L4_5, DiscLevel.L3_4, DiscLevel.L2_3, DiscLevel.L1_2]


def test_without_the_sacrum_no_disc_is_named_and_thoracic_ones_are_left_out():
    assert names(peaks(20, 55, 92, 128, thoracic=(128,))) == [None, None, None]


def test_discs_below_the_lumbosacral_one_are_not_lumbar():
    assert names(peaks(5, 25, 60, lumbosacral=25)) == [DiscLevel.L5_S1, DiscLevel.L4_5]


def test_an_unseen_disc_still_counts():
    assert names(peaks(20, 55, 128, lumbosacral=20)) == [DiscLevel.L5_S1, DiscLevel.L4_5, DiscLevel.L2_3]


def test_a_weak_lumbosacral_disc_names_nothing():
    weak = [DiscPeak(20, 0.9, CONFIG.lumbosacral_threshold - 0.01, 0.0, wings=0.4), DiscPeak(55, 0.9, 0.0, 0.0)]
    assert names(weak) == [None, None]
    assert names([]) == []


def test_the_network_names_nothing_where_no_wing_is_seen():
    assert names([DiscPeak(20, 0.9, 0.9, 0.0, wings=0.0), DiscPeak(55, 0.9, 0.0, 0.0)]) == [None, None]


def test_the_disc_at_the_top_of_the_wings_is_lumbosacral_and_the_sacral_one_below_is_not():
    assert names(peaks(-10, 20, 55), window_mm=(14, 40)) == [DiscLevel.L5_S1, DiscLevel.L4_5]
    assert names(peaks(-10, 55), window_mm=(14, 40)) == [None, None]


def lumbosacral_mm(*, says, thoracic, window_mm=None, wings=0.4):
    """Position of the disc that is called L5/S1, of discs 0, 35, 70 ... mm of which the network says this."""
    discs = [
        DiscPeak(k * 35.0, 0.9, sacral, chest, wings)
        for k, (sacral, chest) in enumerate(zip(says, thoracic, strict=True))
    ]
    named = name_discs(discs, CONFIG, window_mm)
    return next((disc.position_mm for disc, level in named if level is DiscLevel.L5_S1), None)


def test_without_wings_the_network_is_believed_only_if_the_first_thoracic_disc_agrees():
    says, t12_l1 = [0.95, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.9, 0.9]
    assert lumbosacral_mm(says=says, thoracic=t12_l1, wings=0.0) == 0
    assert lumbosacral_mm(says=[0.7, *says[1:]], thoracic=t12_l1, wings=0.0) is None
    assert lumbosacral_mm(says=says, thoracic=[0, 0, 0, 0, 0.9, 0.9, 0.9], wings=0.0) is None
    assert lumbosacral_mm(says=says, thoracic=[0] * 7, wings=0.0) is None


def test_thoracic_discs_tell_which_of_two_likely_discs_is_lumbosacral():
    at_second, at_first = (20, 50), (-10, 16)
    says = [0.7, 0.1, 0, 0, 0, 0]
    assert lumbosacral_mm(says=says, thoracic=[0, 0, 0, 0, 0, 0.6], window_mm=at_second) == 0
    assert lumbosacral_mm(says=says, thoracic=[0, 0, 0, 0, 0, 0], window_mm=at_second) == 35
    says = [0.2, 0.3, 0, 0, 0, 0, 0]
    assert lumbosacral_mm(says=says, thoracic=[0, 0, 0, 0, 0, 0, 0.9], window_mm=at_first) == 35
    assert lumbosacral_mm(says=says, thoracic=[0, 0, 0, 0, 0, 0.9, 0.9], window_mm=at_first) == 0


def test_a_fair_network_names_where_both_wings_and_the_first_thoracic_disc_agree():
    says, t12_l1 = [0.35, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.9, 0.9]
    assert lumbosacral_mm(says=says, thoracic=t12_l1) == 0
    assert lumbosacral_mm(says=says, thoracic=t12_l1, wings=0.0) is None
    assert lumbosacral_mm(says=says, thoracic=[0] * 7) is None
    assert lumbosacral_mm(says=[0.1, *says[1:]], thoracic=t12_l1) is None       # never from the top alone


@pytest.mark.parametrize(("first_thoracic", "doubted"), [(4, True), (5, False), (6, True), (None, False)])
def test_the_numbering_is_in_doubt_where_thoracic_discs_contradict_it(first_thoracic, doubted):
    thoracic = [first_thoracic is not None and k >= first_thoracic for k in range(8)]
    discs = [DiscPeak(k * 35.0, 0.9, 0.95 * (k == 0), 0.9 * thoracic[k], 0.4) for k in range(8)]
    assert numbering_doubted(discs, CONFIG) is doubted
    assert not numbering_doubted([replace(disc, lumbosacral=0.0) for disc in discs], CONFIG)    # nothing is counted


def test_the_wings_tell_where_the_network_does_not():
    assert lumbosacral_mm(says=[0.3, 0.3, 0, 0, 0], thoracic=[0] * 5, window_mm=(20, 50)) == 35
    assert lumbosacral_mm(says=[0.3, 0.3, 0, 0, 0], thoracic=[0] * 5, window_mm=(-10, 16)) == 0


def test_one_thoracic_disc_that_is_not_recognised_does_not_outvote_a_sure_lumbosacral_one():
    assert lumbosacral_mm(says=[0.95, 0.4, 0, 0, 0, 0], thoracic=[0] * 6) == 0


def test_a_faint_disc_is_seen_where_the_wings_say_that_it_must_be():
    heat = np.zeros((3, 50, len(DEPTHS_MM)), np.float32)
    heat[0, [10, 28], int(np.argmin(np.abs(DEPTHS_MM + 8)))] = CONFIG.faint_threshold + 0.05
    found = find_discs(heat, np.zeros(heat.shape[1:]), np.arange(50) * 2.0, CONFIG, (14.0, 40.0))
    assert [round(d.position_mm) for d in found] == [20]


def test_the_top_of_the_wings_is_that_of_the_lowest_stretch():
    positions = np.arange(0.0, 200.0, 4.0)
    sacrum = np.where(positions <= 60, 0.5, 0.0)
    kidneys = np.where((positions > 140) & (positions < 180), 0.5, 0.0)
    assert sacrum_top(sacrum + kidneys, positions) == 60.0
    assert sacrum_top(np.zeros(50), positions) is None
    assert sacrum_top(np.where(positions == 60, 0.9, 0.0), positions) is None


def test_soft_tissue_as_dense_as_marrow_is_no_wing():
    volume = marked_volume(discs={50: LUMBOSACRAL_HU})
    line = straight_line(volume)
    assert wings_below(wing_share(volume, line), volume.positions_mm, 100.0) > 0.5
    enhanced = replace(volume, hu=np.where(volume.hu == WING_HU, 210, volume.hu).astype(np.int16))
    assert wing_share(enhanced, line).max() == 0.0


def test_wings_on_one_side_alone_do_not_count():
    volume = marked_volume(discs={50: LUMBOSACRAL_HU})
    hu = volume.hu.copy()
    hu[:, :, 80:] = 40
    assert wing_share(replace(volume, hu=hu), straight_line(volume)).max() == 0.0


def test_of_two_peaks_closer_than_discs_the_better_chain_stays():
    positions = np.arange(100) * 2.0
    heat = np.zeros((3, 100, len(DEPTHS_MM)), np.float32)
    column = int(np.argmin(np.abs(DEPTHS_MM + 8)))
    for row, value in ((10, 0.9), (15, 0.5), (28, 0.8), (46, 0.9), (70, 0.2)):
        heat[0, row, column] = value
    found = find_discs(heat, np.zeros(heat.shape[1:]), positions, CONFIG)
    assert [round(d.position_mm) for d in found] == [20, 56, 92]


def test_heat_in_front_of_or_behind_the_canal_is_no_disc():
    heat = np.zeros((3, 50, len(DEPTHS_MM)), np.float32)
    heat[0, 20, DEPTHS_MM < -40] = 1.0
    heat[0, 30, DEPTHS_MM > 15] = 1.0
    assert find_discs(heat, np.zeros(heat.shape[1:]), np.arange(50) * 2.0, CONFIG) == []


def test_marked_discs_are_found_on_their_slices():
    volume = marked_volume(discs=FIVE)
    found = find_levels(MarkerLevels(), volume, straight_line(volume))
    assert [(d.slice_index, d.level) for d in found] == list(zip(FIVE, reversed(DiscLevel), strict=True))


def test_without_the_lumbosacral_marker_levels_stay_unknown():
    volume = marked_volume(discs={20: DISC_HU, 40: DISC_HU, 60: THORACIC_HU})
    found = find_levels(MarkerLevels(), volume, straight_line(volume))
    assert [(d.slice_index, d.level) for d in found] == [(20, None), (40, None)]


def test_network_takes_images_of_any_length():
    network = LevelNetwork(CONFIG).eval()
    with torch.inference_mode():
        for rows in (1, 33, 160):
            assert network(torch.rand(1, 5, rows, 56)).shape == (1, 4, rows, 56)


def test_straightening_follows_the_canal():
    volume = marked_volume(slices=40)
    hu = np.full_like(volume.hu, 0)
    rows, cols = 60 + np.arange(40) // 2, 50 + np.arange(40) // 3
    for k in range(40):
        hu[k, rows[k] - 1 : rows[k] + 2, cols[k] - 3 : cols[k] + 4] = 1000
    bent = volume.__class__(**{**vars(volume), "hu": hu})
    image = straighten(bent, CanalLine(bent.positions_mm, rows * 1.5, cols * 1.5))
    assert image.hu.shape == (len(SLAB_OFFSETS_MM), 40, len(DEPTHS_MM))
    at_canal = image.hu[2][:, np.abs(DEPTHS_MM) < 1]
    assert at_canal.min() > 900
    assert image.hu[2][:, np.abs(DEPTHS_MM) > 8].max() == 0 and image.hu[0].max() == 0


def test_straightening_honours_sheared_slices():
    volume = marked_volume(slices=30)
    shift_px = np.arange(30) // 3
    hu = np.stack([np.roll(plane, s, axis=0) for plane, s in zip(volume.hu, shift_px, strict=True)])
    offsets = np.stack([-1.5 * shift_px, np.zeros(30)], axis=1)
    sheared = volume.__class__(**{**vars(volume), "hu": hu, "offsets_mm": offsets})
    np.testing.assert_allclose(
        straighten(sheared, straight_line(sheared)).hu[:, ::3], straighten(volume, straight_line(volume)).hu[:, ::3],
        atol=1.0,
    )


def test_the_canal_line_passes_over_slices_without_and_with_false_peaks():
    volume = marked_volume(slices=40)
    hu = volume.hu.copy()
    hu[10:13] = 40                                                  # nothing to see
    hu[20] = 40
    hu[20, 18:23, 18:23] = 1200                                     # a false canal 90 mm away
    volume = volume.__class__(**{**vars(volume), "hu": hu})
    line = trace_canal(find_regions(MarkerDetector(), volume, range(40)), volume)
    assert line is not None
    np.testing.assert_allclose(line.rows_mm, 70 * 1.5, atol=2.5)
    np.testing.assert_allclose(line.cols_mm, 64 * 1.5, atol=2.5)


def test_no_peaks_make_no_line():
    volume = marked_volume(slices=5)
    empty = volume.__class__(**{**vars(volume), "hu": np.full_like(volume.hu, 40)})
    assert trace_canal(find_regions(MarkerDetector(), empty, range(5)), empty) is None


def test_a_line_goes_straight_on_beyond_its_ends():
    known = np.arange(40.0, 100.0, 2.0)
    positions = np.arange(0.0, 140.0, 2.0)
    line = extend_line(positions, CanalLine(known, 100 - 0.5 * known, np.full(len(known), 80.0)))
    inside = np.abs(positions - 69) < 90
    np.testing.assert_allclose(line.rows_mm[inside], (100 - 0.5 * positions)[inside], atol=1e-6)
    np.testing.assert_allclose(line.cols_mm, 80.0)
    far = extend_line(np.array([-500.0, 50.0]), CanalLine(known, 100 - 0.5 * known, known))
    assert far.rows_mm[0] == pytest.approx(100 - 0.5 * (40 - EXTENSION_MM))
    short = extend_line(positions, CanalLine(known[:2], np.array([10.0, 30.0]), known[:2]))
    assert short.rows_mm[0] == 10.0 and short.rows_mm[-1] == 30.0


def test_a_disc_lies_where_the_rows_about_its_peak_say_each_as_far_as_it_is_hot():
    positions = 10.0 + np.arange(60) * 2.0
    column = int(np.argmin(np.abs(DEPTHS_MM + 8)))
    heat = np.zeros((3, 60, len(DEPTHS_MM)), np.float32)
    heat[0, :, column] = 0.9 * np.exp(-0.5 * ((positions - 51.0) / 4) ** 2)
    toward = np.full(heat.shape[1:], 100.0)                         # where nothing is hot nothing is believed
    toward[:, column] = 50.7 - positions
    (found,) = find_discs(heat, toward, positions, CONFIG)
    assert found.position_mm == pytest.approx(50.7, abs=1e-6)
    heat[0, 19, column], heat[0, 20, column] = 0.3, 0.9             # two rows of different minds
    heat[0, [k for k in range(60) if k not in (19, 20)], column] = 0
    toward[19, column], toward[20, column] = 1.0, 3.0
    (found,) = find_discs(heat, toward, positions, CONFIG)
    assert found.position_mm == pytest.approx((0.3 * 49.0 + 0.9 * 53.0) / 1.2)


def test_what_lies_beyond_a_gap_that_no_spine_has_is_left_out():
    def discs(*places: float) -> list[DiscFinding]:
        return [DiscFinding(place, 0, 0.9, None) for place in places]

    spine = discs(240.0, 270.0, 345.0)                              # one disc unseen
    assert one_spine([*discs(110.0, 137.0), *spine]) == spine
    assert one_spine([*spine, *discs(500.0)]) == spine
    assert one_spine([*discs(0.0), *discs(100.0)]) == discs(100.0)
    assert one_spine([]) == []
