import math

import numpy as np
import pytest
from scipy.stats import ttest_ind

from benchmarks.mrmc_simulation import Spread, scores
from lss_core.statistics.mrmc import obuchowski_rockette
from lss_core.statistics.mrmc_covariance import reader_merits
from lss_core.statistics.mrmc_levels import by_level, compare_levels, mean_of_groups
from lss_core.statistics.mrmc_merit import area, exact_accuracy
from lss_core.statistics.mrmc_readings import readings_from_arrays

READERS = ("j1", "j2", "j3", "s1", "s2", "s3", "s4")
LEVEL = {reader: "junior" if reader[0] == "j" else "senior" for reader in READERS}


def study(*, gain=0.0, arms=2, seed=1):
    """Aided and unaided reading; juniors gain from the aid."""
    truth = (np.arange(60) % 2).astype(float)
    latent = scores(np.random.default_rng(seed), truth, Spread(), arms=arms, readers=7)
    latent[0, :3] += gain * truth
    return readings_from_arrays(latent, truth, readers=READERS, arms=("aided", "unaided")[:arms])


def test_each_level_is_the_analysis_of_its_own_readers():
    made = study()
    found = by_level(made, area(), LEVEL)
    assert list(found) == ["junior", "senior"]
    alone = readings_from_arrays(made.score[:, 3:], made.truth, readers=READERS[3:], arms=made.arms)
    assert found["senior"].test == obuchowski_rockette(reader_merits(alone, area())).test
    assert found["junior"].merits.readers == READERS[:3]


def test_level_of_one_reader_is_not_estimable_for_readers_like_him():
    found = by_level(study(), area(), {**LEVEL, "j1": "novice"})
    assert "a single reader" in found["novice"].test.undefined
    assert found["senior"].test.undefined == ""


def test_levels_are_compared_under_each_arm_and_in_what_the_arms_change():
    merits = reader_merits(study(gain=1.5), area())
    found = {each.of: each.difference for each in compare_levels(merits, LEVEL, "junior", "senior")}
    assert list(found) == ["aided", "unaided", "aided - unaided"]
    gain = merits.value[0] - merits.value[1]
    assert found["aided - unaided"].estimate.value == pytest.approx(gain[:3].mean() - gain[3:].mean())
    assert found["aided"].estimate.value - found["unaided"].estimate.value == pytest.approx(
        found["aided - unaided"].estimate.value)
    assert found["aided - unaided"].p_value < 0.05


def test_other_way_round_is_the_same_with_the_other_sign():
    merits = reader_merits(study(), area())
    one, other = (compare_levels(merits, LEVEL, *pair)[0].difference
                  for pair in (("junior", "senior"), ("senior", "junior")))
    assert (other.estimate.value, other.p_value, other.df) == pytest.approx(
        (-one.estimate.value, one.p_value, one.df))
    assert other.estimate.low == pytest.approx(-one.estimate.high)


def test_without_shared_variance_it_is_welchs_test():
    rng = np.random.default_rng(4)
    figure = rng.normal(size=9)
    groups = [np.arange(4), np.arange(4, 9)]
    mean = mean_of_groups(figure, np.eye(9), groups, (1.0, -1.0))
    expected = ttest_ind(figure[:4], figure[4:], equal_var=False)
    assert mean.value / math.sqrt(mean.variance) == pytest.approx(expected.statistic)
    assert mean.df == pytest.approx(expected.df)


def test_one_group_is_the_mean_of_an_arm():
    merits = reader_merits(study(arms=1), area())
    mean = mean_of_groups(merits.value[0], merits.covariance[0, :, 0], [np.arange(7)], (1.0,))
    expected = obuchowski_rockette(merits).means[0]
    assert (mean.value, math.sqrt(mean.variance), mean.df) == pytest.approx(
        (expected.estimate.value, expected.se, expected.df))


def test_fixed_readers_leave_the_variance_over_cases():
    merits = reader_merits(study(arms=1), area())
    covariance = merits.covariance[0, :, 0]
    mean = mean_of_groups(merits.value[0], covariance, [np.arange(3), np.arange(3, 7)], (1.0, -1.0), readers="fixed")
    weights = np.array([1 / 3] * 3 + [-1 / 4] * 4)
    assert (mean.variance, mean.df) == (pytest.approx(weights @ covariance @ weights), math.inf)


def test_level_of_one_reader_cannot_be_compared():
    merits = reader_merits(study(), area())
    found = compare_levels(merits, {**LEVEL, "j1": "novice"}, "novice", "senior")
    assert "a single reader" in found[0].difference.estimate.undefined
    assert math.isnan(found[0].difference.p_value)


@pytest.mark.parametrize(("level", "pair", "message"), [
    ({}, ("junior", "senior"), "Reader j1 has no level"),
    (LEVEL, ("junior", "expert"), 'Level "expert" has no reader: junior, senior have'),
])
def test_readers_without_levels_and_levels_without_readers_are_refused(level, pair, message):
    with pytest.raises(ValueError, match=message):
        compare_levels(reader_merits(study(), area()), level, *pair)


def test_levels_of_nested_readers_are_refused():
    made = study()
    apart = (np.arange(7) % 2 == 0) == (np.arange(2) == 0)[:, None]
    nested = readings_from_arrays(np.where(apart[:, :, None], made.score, np.nan), made.truth, readers=READERS)
    with pytest.raises(ValueError, match="nested in arms"):
        compare_levels(reader_merits(nested, exact_accuracy()), LEVEL, "junior", "senior")
