import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lss_core.grading.refusal import UNREADABLE_NOISE_HU, implausible, noise_hu, oddly_placed, region_refusal
from lss_core.imaging.dicom import read_scan
from lss_core.simulation.anatomy import sample_patient
from lss_core.simulation.render import sample_acquisition
from lss_core.simulation.samples import as_hu, render_level, volume_of
from lss_core.vocabulary import Box, DiscLevel, Region

REAL = Path(__file__).resolve().parents[2] / "shared" / "real_ct"
ANNOTATED = sorted((REAL / "annotations").glob("*.json"))
CANAL, LEFT, RIGHT = Region
SOFT = {"blur_mm": 0.55, "sharpen": 0.1, "noise_blur_mm": 0.55}
BONE = {"blur_mm": 0.35, "sharpen": 0.7, "noise_blur_mm": 0.3}


@cache
def level(*, seed=5, noise=12.0, pixel_mm=0.6, kernel="soft", scanner_of_its_own=False):
    """A simulated L4/5 as a volume of three slices with its true boxes."""
    rng = np.random.default_rng(seed)
    patient = sample_patient(rng)
    scanner = sample_acquisition(rng, patient)
    if not scanner_of_its_own:
        scanner = replace(scanner, noise_hu=noise, pixel_mm=pixel_mm, slice_thickness_mm=3.0, slice_spacing_mm=3.0,
                          **(SOFT if kernel == "soft" else BONE))
    sample = render_level(patient, DiscLevel.L4_5, scanner, rng)
    assert sample is not None
    volume = volume_of(as_hu(sample.hu), np.arange(3) * 3.0, sample.pixel_mm, 3.0, series_uid="2.25.1")
    return volume, {region: truth.box for region, truth in sample.regions.items()}


def repainted(volume, paint):
    """The same volume after `paint(hu, down_mm, left_mm)` on a copy; distances are from the slice's middle."""
    hu = volume.hu.copy()
    (rows, cols), (row_mm, col_mm) = volume.shape[1:], volume.pixel_spacing_mm
    down, left = np.mgrid[:rows, :cols].astype(float)
    paint(hu, (down - (rows - 1) / 2) * row_mm, (left - (cols - 1) / 2) * col_mm)
    return replace(volume, hu=hu)


def widened(volume, boxes, margin_mm=60.0):
    """The patch in the middle of a wider slice of muscle."""
    px = round(margin_mm / volume.pixel_spacing_mm[0])
    hu = np.pad(volume.hu, [(0, 0), (px, px), (px, px)], constant_values=55)
    moved = {r: Box(*(edge + px for edge in box.as_list())) for r, box in boxes.items()}
    return replace(volume, hu=hu), moved


def screws(distance_mm, *, radius_mm=3.0, hu=2800, streaks=True, slices=slice(None)):
    """Two pedicle screws end on, with the dark band between them and streaks that fall off around them."""

    def paint(values, down, left):
        for side in (-1, 1):
            away = np.hypot(down - 8.0, left - side * distance_mm)
            if streaks:
                angle = np.arctan2(down - 8.0, left - side * distance_mm)
                rays = 1500 * np.cos(9 * angle) * np.exp(-away / 12) / np.maximum(away, 1)
                band = -500 * np.exp(-((down - 8.0) / 4) ** 2) * (np.abs(left) < distance_mm)
                values[slices] = np.clip(values[slices] + rays + band / 2, -1024, 3071)
        for side in (-1, 1):
            values[slices, np.hypot(down - 8.0, left - side * distance_mm) < radius_mm] = hu

    return paint


def refusals(volume, boxes, index=1):
    return {region: region_refusal(volume, index, region, box) for region, box in boxes.items()}


def test_a_clean_level_is_refused_nothing():
    volume, boxes = level()
    assert set(refusals(volume, boxes).values()) == {None}
    assert implausible(volume, boxes) == {}


@pytest.mark.parametrize("hu", [2500, 3000])
@pytest.mark.parametrize("pixel_mm", [0.45, 1.0])
def test_pedicle_screws_refuse_every_region_of_their_level(hu, pixel_mm):
    volume, boxes = level(pixel_mm=pixel_mm)
    for reason in refusals(repainted(volume, screws(20.0, hu=hu)), boxes).values():
        assert reason is not None and reason.startswith("Metal") and reason.count(".") == 1


def test_a_screw_on_the_slice_above_refuses_too():
    volume, boxes = level()
    above = repainted(volume, screws(20.0, slices=slice(2, 3)))
    assert all(reason is not None for reason in refusals(above, boxes).values())


@pytest.mark.parametrize("hu", [1500, 1800, 2100])
def test_dense_bone_and_contrast_are_no_metal(hu):
    volume, boxes = level()
    dense = repainted(volume, screws(20.0, radius_mm=6.0, hu=hu, streaks=False))
    assert set(refusals(dense, boxes).values()) == {None}


def test_a_single_bright_pixel_is_no_metal():
    volume, boxes = level()
    volume = replace(volume, hu=volume.hu.copy())
    volume.hu[1, 5, 5] = 3071
    assert set(refusals(volume, boxes).values()) == {None}


def test_shadows_of_metal_beyond_the_neighbourhood_refuse_and_the_metal_alone_does_not():
    volume, boxes = widened(*level())
    shaded = refusals(repainted(volume, screws(48.0)), boxes)
    assert all(reason is not None and reason.startswith("Streaks") for reason in shaded.values())
    assert set(refusals(repainted(volume, screws(48.0, streaks=False)), boxes).values()) == {None}


def test_gas_in_a_disc_is_no_streak():
    volume, boxes = level()

    def vacuum(values, down, left):
        values[:, (np.abs(down + 14) < 2) & (np.abs(left) < 12)] = -700

    assert set(refusals(repainted(volume, vacuum), boxes).values()) == {None}


def test_a_picture_without_hounsfield_units_cannot_show_metal():
    volume, boxes = level()
    guessed = replace(repainted(volume, screws(20.0, streaks=False)), has_hounsfield=False)
    assert set(refusals(guessed, boxes).values()) == {None}


@pytest.mark.parametrize("pixel_mm", [0.45, 0.7, 1.07])
@pytest.mark.parametrize("noise", [10, 25, 60, 150, 300])
def test_noise_of_a_soft_kernel_is_read_within_a_fifth_at_any_pixel_size(noise, pixel_mm):
    volume, boxes = level(noise=noise, pixel_mm=pixel_mm)
    read = noise_hu(volume.hu[1], volume.pixel_spacing_mm, boxes[CANAL].centre)
    assert read == pytest.approx(noise, rel=0.2, abs=2.0)


@pytest.mark.parametrize(("noise", "kernel", "readable"), [
    (25, "soft", True), (60, "soft", True), (150, "soft", False), (300, "soft", False),
    (50, "bone", True), (75, "bone", True), (300, "bone", False),
])
def test_only_unreadable_noise_is_refused(noise, kernel, readable):
    volume, boxes = level(noise=noise, kernel=kernel)
    for reason in refusals(volume, boxes).values():
        assert reason is None if readable else reason is not None and "too noisy" in reason
        assert readable or f"{UNREADABLE_NOISE_HU:.0f} HU is the limit" in reason


@pytest.mark.parametrize("seed", range(12))
def test_simulated_patients_on_their_own_scanners_pass_whole(seed):
    volume, boxes = level(seed=seed, scanner_of_its_own=True)
    assert set(refusals(volume, boxes).values()) == {None}
    assert implausible(volume, boxes) == {}


def test_a_region_beyond_the_edge_of_the_image_is_refused():
    volume, boxes = level()
    over = Box.around((boxes[CANAL].centre[0], 3.0), boxes[CANAL].size)
    reason = region_refusal(volume, 1, CANAL, over)
    assert reason is not None and "cut off" in reason
    assert region_refusal(volume, 1, CANAL, Box.around((9000.0, 9000.0), (20.0, 20.0))) is not None


@pytest.mark.parametrize("fill", [-1024, -1000])
def test_a_region_in_padding_is_refused_and_one_beside_it_is_not(fill):
    volume, boxes = level()
    column = boxes[LEFT].centre[1]

    def cut(values, down, left):
        values[:, :, round(column):] = fill

    reasons = refusals(repainted(volume, cut), boxes)
    assert reasons[LEFT] is not None and "field of view" in reasons[LEFT]
    assert reasons[RIGHT] is None


@settings(max_examples=60, deadline=None)
@given(
    shifts=st.lists(st.floats(-4.0, 4.0), min_size=6, max_size=6),
    scales=st.lists(st.floats(0.6, 1.6), min_size=6, max_size=6),
)
def test_a_sloppy_but_right_box_passes(shifts, scales):
    volume, boxes = level()
    mm = volume.pixel_spacing_mm[0]
    drawn = {
        region: Box.around(
            (box.centre[0] + shifts[2 * k] / mm, box.centre[1] + shifts[2 * k + 1] / mm),
            (box.size[0] * scales[2 * k], box.size[1] * scales[2 * k + 1]),
        )
        for k, (region, box) in enumerate(boxes.items())
    }
    assert implausible(volume, drawn) == {}
    assert set(refusals(volume, drawn).values()) == {None}


def moved(box, *, down=0.0, left=0.0, times=1.0, mm=0.6):
    (row, col), (height, width) = box.centre, box.size
    return Box.around((row + down / mm, col + left / mm), (height * times, width * times))


@pytest.mark.parametrize(("change", "refused", "words"), [
    (lambda b: {CANAL: moved(b[CANAL], times=4.0)}, {CANAL}, "mm wide"),
    (lambda b: {CANAL: moved(b[CANAL], times=0.1)}, {CANAL}, "mm wide"),
    (lambda b: {LEFT: moved(b[LEFT], times=3.0)}, {LEFT}, "mm wide"),
    (lambda b: {LEFT: moved(b[LEFT], left=-25.0)}, {LEFT}, "other side"),
    (lambda b: {LEFT: b[RIGHT], RIGHT: b[LEFT]}, {LEFT, RIGHT}, "other side"),
    (lambda b: {RIGHT: moved(b[RIGHT], left=-30.0)}, {RIGHT}, "too far"),
    (lambda b: {RIGHT: moved(b[RIGHT], down=14.0)}, {LEFT, RIGHT}, "behind the other"),
    (lambda b: {RIGHT: moved(b[RIGHT], left=-16.0)}, {LEFT, RIGHT}, "farther from the canal"),
    (lambda b: {LEFT: moved(b[LEFT], left=12.0), RIGHT: moved(b[RIGHT], left=6.0), CANAL: moved(b[CANAL], left=-3.0)},
     {CANAL, LEFT, RIGHT}, "beside the middle"),
    (lambda b: {CANAL: b[LEFT]}, {CANAL, LEFT}, "same box"),
])
def test_boxes_that_cannot_be_what_they_are_called_are_refused(change, refused, words):
    volume, boxes = level()
    reasons = implausible(volume, {**boxes, **change(boxes)})
    assert set(reasons) == refused
    assert all(words in reason and reason.endswith(".") for reason in reasons.values())


@pytest.mark.parametrize(("change", "doubted", "words"), [
    (lambda b: {RIGHT: moved(b[RIGHT], down=7.0)}, {LEFT, RIGHT}, "mm behind the other"),
    (lambda b: {CANAL: moved(b[CANAL], left=7.0)}, {CANAL, LEFT, RIGHT}, "mm beside the middle"),
    (lambda b: {RIGHT: moved(b[RIGHT], down=3.0), CANAL: moved(b[CANAL], left=3.0)}, set(), ""),
])
def test_boxes_that_lie_oddly_are_graded_with_a_doubt(change, doubted, words):
    volume, boxes = level()
    drawn = {**boxes, **change(boxes)}
    assert implausible(volume, drawn) == {}
    odd = oddly_placed(volume, drawn)
    assert set(odd) == doubted
    assert all(words in doubt and doubt.endswith(".") for doubts in odd.values() for doubt in doubts)


def test_recesses_that_changed_sides_are_refused_without_a_canal():
    volume, boxes = level()
    reasons = implausible(volume, {LEFT: boxes[RIGHT], RIGHT: boxes[LEFT]})
    assert set(reasons) == {LEFT, RIGHT} and "changed sides" in reasons[LEFT]
    assert implausible(volume, {LEFT: boxes[LEFT]}) == {}


@pytest.mark.skipif(not ANNOTATED, reason="../shared/real_ct is absent")
@pytest.mark.parametrize("path", ANNOTATED, ids=lambda path: path.stem)
def test_every_annotated_box_of_a_real_scan_passes(path):
    volume, slices = read_scan(REAL / path.stem), json.loads(path.read_text())["slices"]
    assert slices
    for note in slices:
        index = volume.sop_instance_uids.index(note["sop_instance_uid"])
        boxes = {
            region: volume.stored.box_to_volume(Box(*note[name]["box"]))
            for region, name in ((CANAL, "canal"), (LEFT, "left_recess"), (RIGHT, "right_recess"))
        }
        assert implausible(volume, boxes) == {}
        assert set(refusals(volume, boxes, index).values()) == {None}


@pytest.mark.skipif(not ANNOTATED, reason="../shared/real_ct is absent")
def test_real_soft_kernels_read_between_5_and_35_hu():
    for path in ANNOTATED:
        volume, note = read_scan(REAL / path.stem), json.loads(path.read_text())["slices"][0]
        index = volume.sop_instance_uids.index(note["sop_instance_uid"])
        assert 5 < noise_hu(volume.hu[index], volume.pixel_spacing_mm, tuple(note["canal"]["centre"])) < 35
