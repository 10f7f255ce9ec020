import json

import pytest
import torch

from lss_core.grading.checkpoint import load_checkpoint, read_card, record_metrics, save_checkpoint
from lss_core.grading.classifier import build_classifier
from lss_core.vocabulary import Refusal
from tests.phantoms import TINY_CLASSIFIER, tiny_classifier


@pytest.fixture
def saved(tmp_path):
    network = tiny_classifier(seed=3)
    save_checkpoint(
        tmp_path, network, name="v9", kind="classifier", configuration=TINY_CLASSIFIER, training={"seed": 3},
        data="none", metrics={}, created="2026-01-01",
    )
    return tmp_path, network


def load(folder, name="v9", kind="classifier"):
    return load_checkpoint(folder, name, kind=kind, build=build_classifier)


def test_weights_come_back_within_half_precision(saved):
    folder, network = saved
    loaded, card = load(folder)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    assert card.training == {"seed": 3}
    assert not any(p.requires_grad for p in loaded.parameters()) and not loaded.training
    assert all(v.dtype == torch.float32 for v in loaded.state_dict().values() if v.is_floating_point())


def test_saving_again_gives_the_same_hash(saved, tmp_path):
    folder, network = saved
    again = save_checkpoint(
        tmp_path / "again", network, name="v9", kind="classifier", configuration=TINY_CLASSIFIER, training={},
        data="none", metrics={}, created="2026-01-02",
    )
    assert again.weights_sha256 == read_card(folder, "v9").weights_sha256


def test_changed_weights_are_refused(saved):
    folder, _ = saved
    path = folder / "v9.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Refusal, match="SHA-256"):
        load(folder)


def test_a_card_of_another_network_shape_is_refused(saved):
    folder, _ = saved
    path = folder / "v9.json"
    card = json.loads(path.read_text())
    card["configuration"]["hidden"] = 17
    path.write_text(json.dumps(card))
    with pytest.raises(Refusal, match="do not fit"):
        load(folder)


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_a_card_with_other_fields_is_refused(saved, change):
    folder, _ = saved
    path = folder / "v9.json"
    card = json.loads(path.read_text())
    if change == "missing":
        del card["configuration"]["hidden"]
    else:
        card["surprise"] = 1
    path.write_text(json.dumps(card))
    with pytest.raises(Refusal, match="does not fit this version"):
        load(folder)


@pytest.mark.parametrize("content", ["not json", "[]", "{"])
def test_an_unreadable_card_is_refused(saved, content):
    folder, _ = saved
    (folder / "v9.json").write_text(content)
    with pytest.raises(Refusal):
        load(folder)


def test_missing_files_and_other_kinds_are_refused(saved):
    folder, _ = saved
    with pytest.raises(Refusal, match="no model named"):
        load(folder, "v8")
    with pytest.raises(Refusal, match="not a detector"):
        load(folder, kind="detector")
    (folder / "v9.safetensors").unlink()
    with pytest.raises(Refusal, match="missing"):
        load(folder)


def test_an_unknown_backbone_is_refused(saved):
    folder, _ = saved
    path = folder / "v9.json"
    card = json.loads(path.read_text())
    card["configuration"]["backbone"] = "no_such_network"
    path.write_text(json.dumps(card))
    with pytest.raises(Refusal, match="not known to timm"):
        load(folder)


def test_diverged_weights_are_not_saved(tmp_path):
    network = tiny_classifier()
    next(network.parameters()).data.fill_(1e6)
    with pytest.raises(ValueError, match="half precision"):
        save_checkpoint(tmp_path, network, name="x", kind="classifier", configuration=TINY_CLASSIFIER, training={},
                        data="", metrics={}, created="")
    assert not list(tmp_path.iterdir())


def test_figures_are_added_to_a_card_without_touching_the_weights(saved):
    folder, _ = saved
    before = (folder / "v9.safetensors").read_bytes()
    record_metrics(folder, "v9", "evaluation", {"accuracy": 0.9})
    assert read_card(folder, "v9").metrics == {"evaluation": {"accuracy": 0.9}}
    assert (folder / "v9.safetensors").read_bytes() == before
    load(folder)
