"""A seeded part of `benchmarks.mrmc_simulation`; the figures of all its scenarios are in the documents."""

import math

import numpy as np
import pytest

from benchmarks.mrmc_simulation import SCENARIOS, Spread, run, scores


def test_null_p_values_are_uniform_and_intervals_cover_over_1000_studies():
    found = run("crossed", studies=1000, seed=1)
    assert found.not_estimable == 0
    assert found.distance_p > 0.05
    assert 0.93 <= found.coverage <= 0.97
    assert 0.93 <= found.mean_coverage <= 0.97


def test_intervals_cover_a_difference_that_is_there_and_the_test_finds_it():
    found = run("crossed_arms_differ", studies=300, seed=1)
    assert 0.93 <= found.coverage <= 0.98
    assert found.rejected > 0.3
    assert found.distance_p < 1e-6


def test_t_test_of_readers_against_a_model_errs_where_the_analysis_does_not():
    right, wrong = (run(name, studies=300, seed=1) for name in ("model_and_readers", "model_and_readers_t_test"))
    assert right.rejected < 0.08
    assert wrong.rejected > 0.3


@pytest.mark.parametrize("scenario", ["split_plot", "readers_nested_in_arms", "clustered_by_patient"])
def test_other_designs_keep_their_level(scenario):
    found = run(scenario, studies=200, seed=1)
    assert found.rejected < 0.1
    assert found.distance_p > 0.01


def test_scores_have_the_area_that_their_variances_say():
    spread, truth = Spread(), (np.arange(4000) % 2).astype(float)
    made = scores(np.random.default_rng(1), truth, spread, arms=1, readers=200)[0]
    above, below = made[:, truth == 1], made[:, truth == 0]
    found = np.mean([(a[:, None] > b[None, :200]).mean() for a, b in zip(above, below, strict=True)])
    assert found == pytest.approx(spread.area(1.5), abs=0.02)
    assert spread.area(0) == 0.5
    assert spread.total == pytest.approx(1.011)


def test_every_scenario_gives_an_outcome():
    for name in SCENARIOS:
        found = SCENARIOS[name](np.random.default_rng(5))
        assert 0 <= found.p_value <= 1, name
        assert found.low < found.high, name
        assert not math.isnan(found.true_difference)
