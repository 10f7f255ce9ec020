"""Rendered patches on disk: complete, resumable, the same whatever the number of workers."""

import numpy as np
import pytest

from lss_core.training import bank as bank_module
from lss_core.training.bank import fill_bank
from lss_core.training.data import SimulatedSource
from lss_core.vocabulary import Refusal


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(bank_module, "SHARD", 2)


def test_a_bank_holds_what_the_simulation_gives(tmp_path):
    said: list[str] = []
    bank = fill_bank(tmp_path, seed=7, stream=2, count=3, workers=1, report=said.append)
    assert len(bank) == 3 and any("rendered 2 of 2" in line for line in said)
    source = SimulatedSource()
    for number in range(3):
        fresh, kept = source.patch(np.random.default_rng([2, 7, number])), bank[number]
        np.testing.assert_allclose(kept.planes, np.clip(fresh.planes, -1024, 3071), atol=0.51)
        assert (kept.masks is None) == (fresh.masks is None) != fresh.gradable
        if fresh.masks is not None:
            np.testing.assert_array_equal(kept.masks, fresh.masks)
        assert kept.gradable == fresh.gradable and kept.pixel_spacing_mm == fresh.pixel_spacing_mm
        for region, known in fresh.regions.items():
            assert kept.regions[region].grade == known.grade and dict(kept.regions[region].measures) == known.measures
            assert kept.regions[region].centre == pytest.approx(known.centre)


def test_only_missing_shards_are_rendered(tmp_path):
    fill_bank(tmp_path, seed=7, stream=2, count=2, workers=1, report=lambda line: None)
    first = (tmp_path / "2-7-0000.npz").stat().st_mtime_ns
    said: list[str] = []
    fill_bank(tmp_path, seed=7, stream=2, count=4, workers=1, report=said.append)
    assert "rendering 1 of 2" in said[0] and (tmp_path / "2-7-0000.npz").stat().st_mtime_ns == first


def test_a_bank_of_another_simulation_is_refused(tmp_path):
    (tmp_path / "simulation.sha256").write_text("0" * 64)
    with pytest.raises(Refusal, match="another version of the simulation"):
        fill_bank(tmp_path, seed=7, stream=2, count=2, workers=1)


def test_a_seed_kept_for_evaluation_is_refused(tmp_path):
    with pytest.raises(Refusal, match="not for training"):
        fill_bank(tmp_path, seed=1_000_001, stream=1, count=2, workers=1)
