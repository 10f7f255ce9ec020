from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.heat_maps import (
    ANOTHER,
    FIGURES,
    Case,
    as_lines,
    as_seen,
    box_mask,
    deletion_and_insertion,
    measure,
    points_into,
    rank_correlation,
    removal_ranks,
    share_within,
    shuffled_from_the_heads,
    simulated_cases,
    structural_similarity,
    summary,
    weight_check,
)
from lss_core.imaging.volume import crop
from lss_core.vocabulary import Box, Grade, Refusal, Region
from tests.phantoms import tiny_classifier

PX = 32
INSIDE = box_mask(Box(20, 24, 30, 38), centre=(25.0, 31.0), pixel_spacing_mm=(1.0, 1.0), size_mm=32.0, size_px=PX)


def generator():
    return np.random.default_rng(0)


def test_the_mask_is_where_the_crop_shows_the_box():
    plane, box = np.zeros((64, 80), np.float32), Box(19.5, 23.5, 30.5, 38.5)
    plane[20:31, 24:39] = 1.0
    for centre in ((25.0, 31.0), (22.0, 35.0)):
        shown = crop(plane, pixel_spacing_mm=(1.0, 0.8), centre=centre, size_mm=32.0, size_px=96)
        mask = box_mask(box, centre=centre, pixel_spacing_mm=(1.0, 0.8), size_mm=32.0, size_px=96)
        assert np.mean((shown > 0.5) != mask) < 0.01 and mask.any()


def test_a_perfect_map_scores_one_and_an_empty_one_nothing():
    assert points_into(INSIDE.astype(float), INSIDE) == share_within(INSIDE.astype(float), INSIDE) == 1.0
    assert points_into(np.zeros((PX, PX)), INSIDE) == share_within(np.zeros((PX, PX)), INSIDE) == 0.0


def test_a_uniform_map_scores_the_area_of_the_box():
    assert share_within(np.full((PX, PX), 0.3), INSIDE) == pytest.approx(INSIDE.mean())
    noise = [np.random.default_rng(k).random((PX, PX)) for k in range(2000)]
    assert np.mean([points_into(heat, INSIDE) for heat in noise]) == pytest.approx(INSIDE.mean(), abs=0.03)


def test_the_hottest_pixels_go_first_and_each_once():
    heat = generator().random((PX, PX))
    ranks = removal_ranks(heat, generator())
    assert rank_correlation(ranks, -heat) == pytest.approx(1.0)
    assert len(np.unique(ranks)) == heat.size and ranks.min() > 0 and ranks.max() < 1


def sees_one_pixel(crops):
    return crops[:, 0, 7, 9]


@pytest.mark.parametrize(("heat_there", "deletion", "insertion"), [(1.0, 0.05, 0.95), (-1.0, 0.95, 0.05)])
def test_a_network_that_looks_at_one_pixel_is_blind_as_soon_as_that_is_gone(heat_there, deletion, insertion):
    heat = np.zeros((PX, PX))
    heat[7, 9] = heat_there
    ranks = removal_ranks(heat, generator())
    image, nothing = np.ones((5, PX, PX)), np.zeros((5, PX, PX))
    assert deletion_and_insertion(sees_one_pixel, image, nothing, ranks) == pytest.approx((deletion, insertion))


def test_a_random_order_deletes_and_inserts_by_half():
    image, nothing = np.ones((5, PX, PX)), np.zeros((5, PX, PX))
    areas = [
        deletion_and_insertion(sees_one_pixel, image, nothing, removal_ranks(np.zeros((PX, PX)), rng))
        for rng in map(np.random.default_rng, range(400))
    ]
    assert np.mean(areas, axis=0) == pytest.approx([0.5, 0.5], abs=0.05)


def test_likeness_is_one_with_itself_and_low_with_noise():
    a, b = generator().random((2, PX, PX))
    assert rank_correlation(a, a) == pytest.approx(1.0) and structural_similarity(a, a) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    assert abs(rank_correlation(a, b)) < 0.1 and structural_similarity(a, b) < 0.1
    assert rank_correlation(a, np.ones_like(a)) == 0.0
    assert structural_similarity(a, b) == pytest.approx(structural_similarity(b, a))


def test_likeness_of_flat_maps_is_the_published_brightness_term():
    # Wang 2004, equation 6 with K1 = 0.01 and L = 1; equal variances of zero make the contrast term 1.
    flat = structural_similarity(np.full((PX, PX), 0.2), np.full((PX, PX), 0.8))
    assert flat == pytest.approx((2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4))


def test_mirroring_a_right_recess_twice_is_the_patient_again():
    heat = generator().random((PX, PX))
    for region in Region:
        np.testing.assert_array_equal(as_seen(as_seen(heat, region), region), heat)
    assert not np.array_equal(as_seen(heat, Region.RIGHT_LATERAL_RECESS), heat)


def test_shuffling_keeps_each_tensor_s_values_and_goes_down_from_the_heads():
    classifier = tiny_classifier()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    stages = []
    for stage, shuffled in shuffled_from_the_heads(classifier, seed=1):
        after = shuffled.state_dict()
        stages.append((stage, {key for key in before if not torch.equal(before[key], after[key])}))
        assert all(torch.equal(before[key].flatten().sort()[0], after[key].flatten().sort()[0]) for key in before)
    assert stages[0][0] == "heads" and all("head" in key for key in stages[0][1])
    assert stages[-1][0] == "all" and any(key.startswith("backbone") for key in stages[-1][1])
    assert all(earlier[1] <= later[1] for earlier, later in pairwise(stages)) and stages[0][1] < stages[-1][1]
    assert all(torch.equal(before[key], value) for key, value in classifier.state_dict().items())


def random_cases(count, classifier):
    px = classifier.config.crop_px
    mask = box_mask(Box(0, 0, 20, 20), centre=(10.0, 10.0), pixel_spacing_mm=(1.0, 1.0), size_mm=40.0, size_px=px)
    rng = generator()
    return [
        Case(f"p{k // 6}", list(Region)[k % 3], rng.random((5, px, px), np.float32), mask, Grade(k % 4))
        for k in range(count)
    ]


def test_a_method_that_ignores_the_heads_is_unmoved_by_shuffling_them_and_is_caught():
    classifier = tiny_classifier()
    stages = {s.stage: s.values for s in weight_check(classifier, random_cases(6, classifier), "eigencam", seed=3)}
    np.testing.assert_allclose(stages["heads"], 1.0, atol=1e-5)
    assert stages["all"][:, 0].mean() < 0.9 and stages[ANOTHER].shape == (6, 2)


def test_the_report_names_what_it_was_measured_on_and_the_most_faithful_method():
    classifier = tiny_classifier()
    cases = random_cases(12, classifier)
    figures = measure(classifier, cases, methods=["gradcam", "layercam"], report=lambda line: None)
    assert all(values.shape == (12, len(FIGURES)) and np.isfinite(values).all() for values in figures.values())
    checks = {"gradcam": weight_check(classifier, cases[:6], "gradcam", seed=0)}
    results = summary(cases, figures, checks)
    assert results["central_canal"]["crops"] == 4 and results["lateral_recess"]["crops"] == 8
    assert results["central_canal"]["box_share_of_area"] == pytest.approx(0.25, abs=0.02)
    text = "\n".join(as_lines("Measured on twelve random crops.", results))
    assert text.startswith("Measured on twelve random crops.") and text.count("Most faithful: ") == 2
    assert "layercam - gradcam" in text and "another crop" in text


def test_patients_of_training_seeds_are_refused():
    with pytest.raises(Refusal, match="not for evaluation"):
        next(simulated_cases(tiny_classifier(), patients=1, seed=5))


def test_cases_of_a_simulated_patient_show_their_boxes():
    cases = list(simulated_cases(tiny_classifier(), patients=1, seed=1_000_500))
    assert {case.region for case in cases} == set(Region) and len(cases) % 3 == 0
    for case in cases:
        assert case.crop.shape == (5, 96, 96) and 0.02 < case.inside.mean() < 0.6
        assert case.inside[38:58, 38:58].any()
