import threading

import numpy as np
import pytest
import torch

from lss_core.grading.explain import METHODS, heat_maps
from lss_core.grading.pipeline import Grader
from lss_core.vocabulary import Grade, Refusal, Region
from tests.phantoms import tiny_classifier


def crops(count=3, seed=0):
    return np.random.default_rng(seed).random((count, 5, 96, 96), np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_map_of_the_crop_in_zero_to_one(method):
    maps = heat_maps(tiny_classifier(), crops(), list(Region), [Grade.SEVERE] * 3, method=method)
    assert maps.shape == (3, 96, 96) and maps.dtype == np.float32
    assert np.isfinite(maps).all() and maps.min() >= 0 and maps.max() <= 1
    assert maps.std() > 0


def test_maps_made_together_are_those_made_alone():
    classifier, images = tiny_classifier(), crops()
    together = heat_maps(classifier, images, list(Region), list(Grade)[:3])
    for k, region in enumerate(Region):
        alone = heat_maps(classifier, images[k : k + 1], [region], [list(Grade)[k]])
        np.testing.assert_allclose(alone[0], together[k], atol=1e-3)


def test_the_map_depends_on_the_target_grade():
    classifier, images = tiny_classifier(), crops(1)
    normal, severe = (
        heat_maps(classifier, images, [Region.CENTRAL_CANAL], [grade]) for grade in (Grade.NORMAL, Grade.SEVERE)
    )
    assert np.abs(normal - severe).max() > 0.05


def test_the_right_side_is_explained_as_the_patient_lies():
    classifier, image = tiny_classifier(), crops(1)
    left = heat_maps(classifier, image, [Region.LEFT_LATERAL_RECESS], [Grade.MILD])
    right = heat_maps(classifier, image, [Region.RIGHT_LATERAL_RECESS], [Grade.MILD])
    np.testing.assert_allclose(right[0], left[0][:, ::-1], atol=1e-5)


def test_an_unknown_method_is_refused_by_name():
    with pytest.raises(Refusal, match="'magic'"):
        heat_maps(tiny_classifier(), crops(1), [Region.CENTRAL_CANAL], [Grade.MILD], method="magic")


def test_explaining_leaves_the_classifier_as_it_was():
    classifier = tiny_classifier()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    heat_maps(classifier, crops(1), [Region.CENTRAL_CANAL], [Grade.MILD])
    assert all(torch.equal(before[key], value) for key, value in classifier.state_dict().items())
    assert all(p.grad is None for p in classifier.parameters())
    assert not any(module._forward_hooks for module in classifier.modules())


def test_two_threads_share_a_classifier_and_get_the_maps_of_one():
    classifier, images = tiny_classifier(), crops()
    expected = {method: heat_maps(classifier, images, list(Region), [Grade.MILD] * 3, method=method)
                for method in METHODS}
    wrong: list[str] = []

    def explain(shift):
        for k in range(8):
            method = list(METHODS)[(k + shift) % len(METHODS)]
            maps = heat_maps(classifier, images, list(Region), [Grade.MILD] * 3, method=method)
            if np.abs(maps - expected[method]).max() > 1e-3:
                wrong.append(method)

    threads = [threading.Thread(target=explain, args=(shift,)) for shift in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_shipped_version_can_be_explained(version):
    classifier = Grader.load(version).networks[2]
    maps = heat_maps(classifier, crops(), list(Region), [Grade.SEVERE] * 3)
    assert maps.shape == (3, 96, 96) and np.isfinite(maps).all()
