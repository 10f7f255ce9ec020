"""Sample sizes for a planned study."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lss_core.statistics.estimate import wilson_interval
from lss_core.study.design_help import Assumptions, cases_for_precision, cases_needed, power_of
from lss_core.vocabulary import Refusal

ASSUMED = Assumptions(accuracy=0.8, interaction_sd=0.03, same_reader=0.5, same_arm=0.35, neither=0.3)


@pytest.mark.parametrize("accuracy", [0.7, 0.83, 0.88])
@pytest.mark.parametrize("half_width", [0.03, 0.06, 0.1])
def test_the_interval_is_as_narrow_as_wanted_and_one_case_fewer_is_not_enough(accuracy, half_width):
    cases = cases_for_precision(accuracy=accuracy, half_width=half_width).cases
    got = wilson_interval(round(accuracy * cases), cases)
    assert (got.high - got.low) / 2 == pytest.approx(half_width, abs=0.6 / cases)
    p, n, z = accuracy, cases - 1, 1.959964
    before = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert before > half_width


def test_the_published_control_set_would_be_precise_to_about_five_points():
    # Wilson for 88 % of 150 cases is 0.82 to 0.92: half a width of 0.052.
    assert 145 <= cases_for_precision(accuracy=0.88, half_width=0.052).cases <= 155


def test_levels_of_one_patient_count_for_less():
    alone = cases_for_precision(accuracy=0.85, half_width=0.05)
    clustered = cases_for_precision(accuracy=0.85, half_width=0.05, cases_a_patient=3, correlation=0.25)
    assert alone.design_effect == 1 and alone.cases == alone.independent == alone.patients
    assert clustered.design_effect == 1.5 and clustered.cases == math.ceil(1.5 * alone.cases)
    assert clustered.patients == math.ceil(clustered.cases / 3)


@pytest.mark.parametrize(("what", "sentence"), [
    ({"accuracy": 1.0}, "accuracy 1"), ({"half_width": 0.5}, "half width of 0.5"), ({"half_width": 0.001}, "more than"),
    ({"confidence": 1.0}, "confidence 1"), ({"cases_a_patient": 0.5}, "at least 1"), ({"correlation": 2.0}, "0 to 1"),
])
def test_precision_that_cannot_be_planned_is_refused(what, sentence):
    with pytest.raises(Refusal, match=sentence):
        cases_for_precision(**{"accuracy": 0.8, "half_width": 0.05, **what})


def test_the_power_is_that_of_simulated_studies():
    """Accuracies drawn with the assumed covariances: the spread of their difference is what the plan says."""
    readers, cases, rng = 6, 150, np.random.default_rng(1)
    planned = power_of(ASSUMED, readers=readers, cases=cases, difference=0.06)
    variance = ASSUMED.accuracy * (1 - ASSUMED.accuracy) / cases
    same_reader, same_arm = np.eye(readers, dtype=bool), np.eye(2, dtype=bool)
    correlation = np.where(
        np.kron(same_arm, same_reader), 1.0,
        np.where(np.kron(np.ones((2, 2), bool), same_reader), ASSUMED.same_reader,
                 np.where(np.kron(same_arm, np.ones((readers, readers), bool)), ASSUMED.same_arm, ASSUMED.neither)))
    errors = rng.multivariate_normal(np.zeros(2 * readers), variance * correlation, size=20_000).reshape(-1, 2, readers)
    errors += rng.normal(0, ASSUMED.interaction_sd, errors.shape)
    spread = float((errors.mean(axis=2)[:, 0] - errors.mean(axis=2)[:, 1]).std())
    assert planned.se == pytest.approx(spread, rel=0.03)


def test_no_difference_is_found_at_the_rate_of_alpha():
    assert power_of(ASSUMED, readers=8, cases=100, difference=0.0).power == pytest.approx(0.05, abs=1e-3)


def test_the_cases_needed_reach_the_power_and_one_fewer_does_not():
    needed = cases_needed(ASSUMED, readers=9, difference=0.06)
    assert needed.cases is not None and needed.study.power >= 0.8
    assert power_of(ASSUMED, readers=9, cases=needed.cases - 1, difference=0.06).power < 0.8


def test_too_few_readers_are_said_not_to_reach_the_power():
    assert cases_needed(replace(ASSUMED, interaction_sd=0.2), readers=3, difference=0.01).cases is None


def test_assumptions_that_cannot_be_are_refused():
    for what, sentence in (({"accuracy": 0.0}, "accuracy 0"), ({"neither": 0.6}, "correlations"),
                           ({"interaction_sd": -0.1}, "standard deviation"), ({"same_reader": 1.0}, "correlations")):
        with pytest.raises(Refusal, match=sentence):
            Assumptions(**what)
    for what in ({"readers": 1}, {"cases": 1}, {"margin": -0.1}, {"alpha": 1.0}):
        with pytest.raises(Refusal):
            power_of(ASSUMED, **{"readers": 9, "cases": 100, "difference": 0.05, **what})
