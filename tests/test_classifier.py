import importlib
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from lss_core.grading.backbone import create_backbone
from lss_core.grading.classifier import (
    CROP_CHANNELS,
    GRADABLE,
    LOCATION,
    LOG_SCALE,
    ORDINAL,
    OUTPUTS,
    Classifier,
    ClassifierConfig,
    CropOutput,
    build_classifier,
    crop_stack,
    grade_crops,
    in_head_units,
    region_crop,
)
from lss_core.vocabulary import (
    CANAL_AP,
    GRADE_BOUNDS,
    RECESS_HEIGHT,
    SAC_AREA,
    Box,
    Refusal,
    Region,
    grade_of_measure,
    measure_of,
)
from tests.phantoms import TINY_CLASSIFIER, marked_volume, tiny_classifier

CANAL, RECESS = Region.CENTRAL_CANAL, Region.LEFT_LATERAL_RECESS


def output(region, measure, log_scale=-3.0, ordinal=(0.0, 1.0, 1.0), **options):
    """What a network would give that measures this much, with this log-scale and these ordinal numbers."""
    raw = torch.zeros(1, OUTPUTS)
    raw[0, ORDINAL] = torch.tensor(ordinal)
    raw[0, LOCATION] = torch.tensor(in_head_units(region, {measure_of(region): measure})).nan_to_num()
    raw[0, LOG_SCALE] = log_scale
    return CropOutput(raw, torch.tensor([region is not CANAL]), **options)


@pytest.mark.parametrize("region", [CANAL, RECESS])
def test_a_sure_measure_gives_the_grade_of_the_thresholds(region):
    for measure in np.linspace(0.5, 9.5, 40) * (20 if region is CANAL else 1):
        if min(abs(measure - bound) for bound in GRADE_BOUNDS[measure_of(region)]) < 0.02 * measure:
            continue
        grade = output(region, float(measure)).measured_log_probabilities().argmax(1)
        assert int(grade) == grade_of_measure(measure_of(region), float(measure))


@pytest.mark.parametrize("ordinal", [(9.0, 0.0, 0.0), (-9.0, 3.0, 3.0), (40.0, -20.0, 0.1), (0.0, 60.0, 60.0)])
def test_probabilities_sum_to_one_and_are_finite_far_from_the_thresholds(ordinal):
    for region, measure in ((CANAL, -1000.0), (CANAL, 1500.0), (RECESS, -40.0), (RECESS, 60.0)):
        for log_scale in (-9.0, 0.0, 2.0):
            given = output(region, measure, log_scale, ordinal)
            for logs in (given.ordinal_log_probabilities(), given.measured_log_probabilities(),
                         given.grade_log_probabilities()):
                torch.testing.assert_close(logs.exp().sum(1), torch.ones(1))
                assert not logs.isnan().any()


def test_the_ordinal_head_counts_the_odds_of_each_grade_or_worse():
    logs = output(CANAL, 100.0, ordinal=(1.2, 0.3, -0.7)).ordinal_log_probabilities().exp()[0].double()
    falls = torch.nn.functional.softplus(torch.tensor([0.3, -0.7]))
    odds = [1.2, 1.2 - float(falls[0]), 1.2 - float(falls.sum())]
    for grade, log_odds in zip((1, 2, 3), odds, strict=True):
        assert float(logs[grade:].sum()) == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-5)


def test_the_grade_is_the_geometric_mean_of_both_heads_or_the_ordinal_head_alone():
    for region, measure, weight, options in (
        (CANAL, 80.0, 0.75, {}), (CANAL, 80.0, 0.2, {"canal_measured_weight": 0.2}),
        (RECESS, 3.0, 0.5, {"canal_measured_weight": 0.2}),
    ):
        both = output(region, measure, -1.0, **options)
        heads = both.ordinal_log_probabilities(), both.measured_log_probabilities()
        mean = ((1 - weight) * heads[0] + weight * heads[1]).softmax(1)
        torch.testing.assert_close(both.grade_log_probabilities().exp(), mean)
    alone = output(CANAL, 80.0, -1.0, measures_count=False)
    torch.testing.assert_close(alone.grade_log_probabilities(), alone.ordinal_log_probabilities())
    assert alone.measures() == [{}]


def test_an_uncertain_measure_spreads_over_neighbouring_grades():
    sure, unsure = (output(CANAL, 100.0, s).measured_log_probabilities().exp()[0] for s in (-3, 1))
    assert unsure[0] > sure[0] and unsure[3] > sure[3]
    assert float(sure[1]) == pytest.approx(0.5, abs=0.01)           # on the bound between mild and moderate
    assert float(sure[2]) == pytest.approx(0.5, abs=0.01)


def test_density_integrates_to_one():
    x = torch.linspace(-20, 30, 20001)
    raw = torch.zeros(len(x), OUTPUTS)
    raw[:, LOCATION], raw[:, LOG_SCALE] = 4.0, 0.3
    density = CropOutput(raw, torch.ones(len(x)).bool()).negative_log_density(x[:, None].expand(-1, 2))
    assert float(torch.trapezoid((-density[:, 0]).exp(), x)) == pytest.approx(1.0, abs=1e-3)


def test_measures_come_back_in_their_units():
    assert output(CANAL, 120.0).measures()[0][SAC_AREA] == pytest.approx(120.0)
    assert set(output(CANAL, 120.0).measures()[0]) == {SAC_AREA, CANAL_AP}
    assert output(Region.RIGHT_LATERAL_RECESS, 4.5).measures() == [{RECESS_HEIGHT: pytest.approx(4.5)}]
    assert in_head_units(CANAL, {SAC_AREA: 50.0, CANAL_AP: 15.0}) == [2.0, 5.0]
    np.testing.assert_array_equal(in_head_units(RECESS, {RECESS_HEIGHT: 3.0}), [3.0, np.nan])


def test_whether_a_crop_is_gradable_is_an_output_of_its_own():
    crops = np.random.default_rng(1).random((2, 5, 96, 96), np.float32)
    assert all(grade.gradable_logit > 3 for grade in grade_crops(tiny_classifier(), crops, [CANAL, RECESS]))
    torch.manual_seed(0)
    untrained = Classifier(TINY_CLASSIFIER).eval()
    assert abs(float(untrained(torch.from_numpy(crops), torch.tensor([False, True])).raw[0, GRADABLE])) < 1


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


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "mobilenetv4_conv_small", "resnet18"])
def test_every_weight_takes_part_in_the_grade(backbone):
    torch.manual_seed(0)
    network = Classifier(replace(TINY_CLASSIFIER, backbone=backbone)).train()
    network.outputs(torch.rand(4, CROP_CHANNELS, 96, 96), torch.tensor([False, True, False, True])).sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@torch.no_grad()
def test_masks_are_drawn_over_the_crop_and_carry_the_first_measure():
    torch.manual_seed(0)
    network = Classifier(TINY_CLASSIFIER).eval()
    crops, recess = torch.rand(2, CROP_CHANNELS, 96, 96), torch.tensor([False, True])
    output = network(crops, recess)
    assert output.mask_logits is not None and network.masks is not None
    assert output.mask_logits.shape[:2] == (2, 2) and output.mask_logits.shape[2] >= 24
    network.masks.draw.bias[0] += 3.0                               # more of every crop is sac
    network.canal_head[-1].weight.zero_()                           # of the masks, only the area itself is left
    network.recess_head[-1].weight.zero_()
    more = network(crops, recess)
    share = more.mask_logits[0, 0].sigmoid().mean() * TINY_CLASSIFIER.canal_mm**2
    bias = network.canal_head[-1].bias[LOCATION][0]
    assert float((more.location[0, 0] - bias) * 25) == pytest.approx(float(share), rel=1e-4)
    assert float(more.location[0, 0] - output.location[0, 0]) > 1.0
    assert float(more.location[1, 0]) == pytest.approx(float(output.location[1, 0]), abs=0.3)   # a recess has no area


def test_a_card_from_before_there_was_a_mask_head_still_loads_and_grades_as_it_did():
    later = {"mask_head", "canal_measured_weight"}
    network = build_classifier({name: value for name, value in asdict(TINY_CLASSIFIER).items() if name not in later})
    assert network.masks is None and not network.config.mask_head
    assert network.config.canal_measured_weight == 0.5
    output = network.eval()(torch.rand(1, CROP_CHANNELS, 96, 96), torch.tensor([False]))
    assert output.mask_logits is None and output.raw.shape == (1, OUTPUTS)


@pytest.mark.parametrize("weight", [-0.1, 1.2, float("nan")])
def test_a_measurement_heads_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(Refusal, match="share from 0 to 1"):
        ClassifierConfig(canal_measured_weight=weight)


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "mobilenetv4_conv_small"])
def test_leaving_out_what_lies_behind_the_last_feature_map_changes_no_feature(backbone):
    torch.manual_seed(0)
    ours = create_backbone(backbone, in_channels=CROP_CHANNELS, levels=(2, 3)).eval()
    timm = importlib.import_module("timm")          # importable once a backbone has been made
    whole = timm.create_model(
        backbone, features_only=True, in_chans=CROP_CHANNELS, out_indices=(2, 3), pretrained=False
    ).eval()
    missing, unknown = whole.load_state_dict(ours.state_dict(), strict=False)
    assert missing and not unknown
    crops = torch.rand(2, CROP_CHANNELS, 96, 96)
    for mine, theirs in zip(ours(crops), whole(crops), strict=True):
        assert torch.equal(mine, theirs)


def test_grading_crops_one_by_one_or_together_is_the_same():
    network = tiny_classifier()
    crops = np.random.default_rng(1).random((3, 5, 96, 96), np.float32)
    regions = list(Region)
    together = grade_crops(network, crops, regions)
    for k, region in enumerate(regions):
        alone = grade_crops(network, crops[k : k + 1], [region])[0]
        np.testing.assert_allclose(alone.log_probabilities, together[k].log_probabilities, atol=1e-5)
        assert np.exp(alone.log_probabilities).sum() == pytest.approx(1.0, abs=1e-6)
        assert 0 <= alone.ordinal_expected <= 3 and 0 <= alone.measured_expected <= 3
    assert grade_crops(network, crops[:0], []) == []
