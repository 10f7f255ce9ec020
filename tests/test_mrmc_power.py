import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.mrmc_simulation import Spread, scores
from lss_core.statistics.mrmc import obuchowski_rockette
from lss_core.statistics.mrmc_components import Components
from lss_core.statistics.mrmc_covariance import reader_merits
from lss_core.statistics.mrmc_merit import area
from lss_core.statistics.mrmc_power import cases_for_half_width, cases_for_power, plan_study
from lss_core.statistics.mrmc_readings import readings_from_arrays

# Van Dyke et al. (1993), jackknife, and the difference found.
VAN_DYKE = Components(0.00479617, 0.0038362, 0.00055103, 0.00153499934513392, 0.000200402523581461,
                      0.000802288265572061, 0.000346613709440729, 0.000344074828860886, 0.000239028370892152, 114)
FOUND = -0.043800322


@pytest.mark.parametrize(("readers", "cases", "kinds", "power"), [
    (6, 111, {}, 0.5526116),                                # the values of RJafroc's own tests, to its digits
    (6, 112, {}, 0.5555789),
    (10, 165, {}, 0.80541995),
    (10, 131, {"readers_are": "fixed"}, 0.80091813),
    (10, 53, {"cases_are": "fixed"}, 0.80496663),
])
def test_published_power(readers, cases, kinds, power):
    planned = plan_study(VAN_DYKE, readers=readers, cases=cases, difference=FOUND, **kinds)
    assert planned.power == pytest.approx(power, abs=2e-7)


def test_published_number_of_cases():
    needed = cases_for_power(VAN_DYKE, readers=6, difference=FOUND)
    assert needed.cases == 251
    assert needed.study.power >= 0.8 > plan_study(VAN_DYKE, readers=6, cases=250, difference=FOUND).power


def test_study_of_the_same_size_has_the_standard_error_of_the_past_one():
    truth = (np.arange(80) % 2).astype(float)
    latent = scores(np.random.default_rng(5), truth, Spread(arm_reader=0.1), arms=2, readers=6)
    past = obuchowski_rockette(reader_merits(readings_from_arrays(latent, truth), area()))
    assert past.components.var_interaction > 0
    planned = plan_study(past.components, readers=6, cases=80, difference=0.1)
    assert (planned.se, planned.df) == pytest.approx((past.differences[0].se, past.differences[0].df))
    interval = past.differences[0].estimate
    assert planned.half_width == pytest.approx((interval.high - interval.low) / 2)


def test_power_without_a_difference_is_alpha():
    for kinds in ({}, {"readers_are": "fixed"}, {"cases_are": "fixed"}):
        planned = plan_study(VAN_DYKE, readers=5, cases=80, difference=0, alpha=0.1, **kinds)
        assert planned.power == pytest.approx(0.1)


def test_noninferiority_has_the_power_of_half_alpha_at_its_margin():
    planned = plan_study(VAN_DYKE, readers=6, cases=200, difference=-0.05, margin=0.05)
    assert planned.power == pytest.approx(0.025)
    assert plan_study(VAN_DYKE, readers=6, cases=200, difference=0, margin=0.05).power > 0.8


def test_more_readers_and_more_cases_tell_more():
    power = [[plan_study(VAN_DYKE, readers=r, cases=c, difference=0.04).power for c in (50, 100, 400)]
             for r in (4, 8, 16)]
    assert (np.diff(power, axis=0) > 0).all()
    assert (np.diff(power, axis=1) > 0).all()


def test_half_width_is_reached_with_the_fewest_cases():
    needed = cases_for_half_width(VAN_DYKE, readers=6, half_width=0.03)
    assert needed.cases is not None
    assert needed.study.half_width <= 0.03
    assert plan_study(VAN_DYKE, readers=6, cases=needed.cases - 1, difference=0).half_width > 0.03


def test_goal_that_no_number_of_cases_reaches_is_said():
    needed = cases_for_power(VAN_DYKE, readers=3, difference=0.01)
    assert needed.cases is None
    assert needed.undefined == "3 readers do not reach it with 100000 cases: take more"
    assert needed.study.power < 0.8


@pytest.mark.parametrize(("past", "wanted", "message"), [
    (replace(VAN_DYKE, cov1=math.nan), {}, "Cov1, Cov2 and Cov3"),
    (replace(VAN_DYKE, var_interaction=math.nan), {}, "two readers or more"),
    (VAN_DYKE, {"readers": 1}, "1 readers and 100 cases"),
    (VAN_DYKE, {"cases": 1}, "5 readers and 1 cases"),
    (VAN_DYKE, {"alpha": 5}, "Alpha 5"),
    (VAN_DYKE, {"margin": 0}, "margin 0"),
    (VAN_DYKE, {"readers_are": "some"}, 'Readers "some"'),
    (VAN_DYKE, {"readers_are": "fixed", "cases_are": "fixed"}, "one random"),
    (replace(VAN_DYKE, var_interaction=0, var_error=0, cov1=0, cov2=0, cov3=0), {}, "no variance"),
])
def test_studies_that_cannot_be_planned_are_refused(past, wanted, message):
    with pytest.raises(ValueError, match=message):
        plan_study(past, **{"readers": 5, "cases": 100, "difference": 0.05} | wanted)


def test_goals_out_of_range_are_refused():
    with pytest.raises(ValueError, match="Power 80"):
        cases_for_power(VAN_DYKE, readers=5, difference=0.05, power=80)
    with pytest.raises(ValueError, match="Half-width 0"):
        cases_for_half_width(VAN_DYKE, readers=5, half_width=0)
