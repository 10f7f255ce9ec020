import numpy as np
import pytest
import torch

from lss_core.grading.classifier import (
    AREA_UNIT_MM2,
    CROP_CHANNELS,
    MeasureDistribution,
    crop_stack,
    grade_crops,
    in_head_units,
    region_crop,
)
from lss_core.vocabulary import GRADE_BOUNDS, Box, Region, grade_of_measure, measure_of
from tests.phantoms import TINY_CLASSIFIER, marked_volume, tiny_classifier


def distribution(region, measure, log_scale=-3.0):
    location = torch.tensor([in_head_units(region, measure)])
    return MeasureDistribution(location, torch.tensor([log_scale]), torch.tensor([region is not Region.CENTRAL_CANAL]))


@pytest.mark.parametrize("region", [Region.CENTRAL_CANAL, Region.LEFT_LATERAL_RECESS])
def test_a_sure_measure_gives_the_grade_of_the_thresholds(region):
    for measure in np.linspace(0.5, 9.5, 40) * (20 if region is Region.CENTRAL_CANAL else 1):
        if min(abs(measure - bound) for bound in GRADE_BOUNDS[measure_of(region)]) < 0.02 * measure:
            continue
        grade = distribution(region, float(measure)).grade_log_probabilities().argmax(1)
        assert int(grade) == grade_of_measure(measure_of(region), float(measure))


def test_probabilities_sum_to_one_and_are_finite_far_from_the_thresholds():
    location = torch.tensor([-40.0, 0.0, 3.0, 60.0])
    for log_scale in (-3.5, 0.0, 2.0):
        logs = MeasureDistribution(
            location, torch.full((4,), log_scale), torch.tensor([True, False, True, False])
        ).grade_log_probabilities()
        torch.testing.assert_close(logs.exp().sum(1), torch.ones(4))
        assert not logs.isnan().any()


def test_an_uncertain_measure_spreads_over_neighbouring_grades():
    sure, unsure = (distribution(Region.CENTRAL_CANAL, 100.0, s).grade_log_probabilities().exp()[0] for s in (-3, 1))
    assert unsure[0] > sure[0] and unsure[3] > sure[3]
    assert float(sure[1]) == pytest.approx(0.5, abs=0.01)           # on the bound between mild and moderate
    assert float(sure[2]) == pytest.approx(0.5, abs=0.01)


def test_density_integrates_to_one():
    x = torch.linspace(-20, 30, 20001)
    one = MeasureDistribution(torch.full_like(x, 4.0), torch.full_like(x, 0.3), torch.ones_like(x).bool())
    assert float(torch.trapezoid((-one.negative_log_density(x)).exp(), x)) == pytest.approx(1.0, abs=1e-3)


def test_measures_come_back_in_their_units():
    assert float(distribution(Region.CENTRAL_CANAL, 120.0).measures()) == pytest.approx(120.0)
    assert float(distribution(Region.RIGHT_LATERAL_RECESS, 4.5).measures()) == pytest.approx(4.5)
    assert in_head_units(Region.CENTRAL_CANAL, AREA_UNIT_MM2) == 1.0


def test_the_right_recess_looks_like_a_mirrored_left_one():
    rng = np.random.default_rng(0)
    planes = rng.normal(40, 200, (3, 81, 81)).astype(np.float32)
    left = crop_stack(planes, pixel_spacing_mm=(0.6, 0.6), region=Region.LEFT_LATERAL_RECESS, centre=(40, 52),
                      config=TINY_CLASSIFIER)
    right = crop_stack(planes[:, :, ::-1], pixel_spacing_mm=(0.6, 0.6), region=Region.RIGHT_LATERAL_RECESS,
                       centre=(40, 28), config=TINY_CLASSIFIER)
    np.testing.assert_allclose(left, right, atol=1e-4)


def test_a_crop_shows_the_same_anatomy_at_any_pixel_size():
    def disc_image(pixel_mm):
        grid = (np.arange(int(80 / pixel_mm)) + 0.5) * pixel_mm - 40
        return np.where(np.hypot(grid[:, None], grid[None, :]) < 8, 300.0, 0.0).astype(np.float32)

    crops = []
    for pixel_mm in (0.4, 0.8):
        plane = disc_image(pixel_mm)
        centre = ((plane.shape[0] - 1) / 2,) * 2
        crops.append(crop_stack(np.stack([plane] * 3), pixel_spacing_mm=(pixel_mm, pixel_mm),
                                region=Region.CENTRAL_CANAL, centre=centre, config=TINY_CLASSIFIER))
    assert crops[0].shape == (CROP_CHANNELS, 96, 96)
    assert np.abs(crops[0] - crops[1]).mean() < 0.01


def test_a_single_slice_is_its_own_neighbour():
    volume = marked_volume(slices=1)
    crop = region_crop(volume, 0, Region.CENTRAL_CANAL, Box(60, 54, 80, 74), TINY_CLASSIFIER)
    np.testing.assert_array_equal(crop[3], crop[0])
    np.testing.assert_array_equal(crop[4], crop[0])


def test_grading_crops_one_by_one_or_together_is_the_same():
    network = tiny_classifier()
    crops = np.random.default_rng(1).random((3, 5, 96, 96), np.float32)
    regions = list(Region)
    together = grade_crops(network, crops, regions)
    for k, region in enumerate(regions):
        alone = grade_crops(network, crops[k : k + 1], [region])[0]
        np.testing.assert_allclose(alone.probabilities, together[k].probabilities, atol=1e-5)
        assert sum(alone.probabilities) == pytest.approx(1.0, abs=1e-9)
    assert grade_crops(network, crops[:0], []) == []
