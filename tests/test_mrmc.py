import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind, ttest_rel

from benchmarks.mrmc_simulation import Spread, scores
from lss_core.statistics.accuracy import compare_auc
from lss_core.statistics.mrmc import obuchowski_rockette
from lss_core.statistics.mrmc_covariance import reader_merits
from lss_core.statistics.mrmc_merit import area, exact_accuracy, sensitivity, specificity
from lss_core.statistics.mrmc_readings import complete, readings_from_arrays, readings_from_frame

CASES = Path(__file__).parents[1] / ".." / "shared" / "statistics_cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/statistics_cases is not here")

# Van Dyke et al. (1993), 114 patients: areas of five readers under two sequences, and what OR-DBM MRMC 2.51 prints.
VAN_DYKE = np.array([[0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066],
                     [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169]])
VAN_DYKE_ERROR = {"var": 0.00080229, "cov1": 0.00034661, "cov2": 0.00034407, "cov3": 0.00023903}

unhurried = settings(deadline=None, max_examples=30)         # the machine may be busy


def published(case):
    """{figure: value within its tolerance} of a case."""
    figures = json.loads((CASES / case / "expected.json").read_text())["expected"]
    return {each["id"]: pytest.approx(each["value"], abs=each["tol"]) for each in figures}


def read(case):
    return readings_from_frame(pd.read_csv(CASES / case / "data.csv"), arm="treatment", score="rating")


def figures(analysis):
    """The analysis under the names of the published figures."""
    parts, test = analysis.components, analysis.test
    chi = test.name == "chi-square"
    found = {
        "OR.reader": parts.var_reader, "OR.treatment:reader": parts.var_interaction, "OR.Error": parts.var_error,
        "OR.Cov1": parts.cov1, "OR.Cov2": parts.cov2, "OR.Cov3": parts.cov3, "p": test.p_value,
        "error_term": test.error_term, "MS(T)": parts.ms_arm, "MS(R)": parts.ms_reader, "MS(T*R)": parts.ms_interaction,
        "X2" if chi else "F": test.statistic, "df" if chi else "ddf": test.df1 if chi else test.df2,
    }
    for each in analysis.differences:
        key = f"[{each.first}-{each.second}]"
        found |= {"diff" + key: each.estimate.value, "se" + key: each.se, "p" + key: each.p_value,
                  "ci_low" + key: each.estimate.low, "ci_high" + key: each.estimate.high}
    for each in analysis.by_reader:
        key = f"[r{each.reader},{each.first}-{each.second}]"
        found |= {"reader.diff" + key: each.estimate.value, "reader.se" + key: each.se, "reader.p" + key: each.p_value,
                  "reader.z" + key: each.estimate.value / each.se}
    for each in analysis.means:
        key = f"[t{each.arm}]"
        found |= {"mean" + key: each.estimate.value, "mean_se" + key: each.se, "MS(R)" + key: each.ms_reader,
                  "mean_ci_low" + key: each.estimate.low, "mean_ci_high" + key: each.estimate.high,
                  "auc_se" + key: each.se, "auc_ci_low" + key: each.estimate.low,
                  "auc_ci_high" + key: each.estimate.high}
    return found


PUBLISHED = [
    ("mrmc_vandyke", "jackknife.RRRC.", area(), "jackknife", "random", "random"),
    ("mrmc_vandyke", "jackknife.FRRC.", area(), "jackknife", "fixed", "random"),
    ("mrmc_vandyke", "jackknife.RRFC.", area(), "jackknife", "random", "fixed"),
    ("mrmc_vandyke", "RRRC.", area(), "jackknife", "random", "random"),
    ("mrmc_vandyke", "FRRC.", area(), "jackknife", "fixed", "random"),
    ("mrmc_vandyke", "RRFC.", area(), "jackknife", "random", "fixed"),
    ("mrmc_vandyke", "MS(", area(), "jackknife", "random", "random"),
    ("mrmc_vandyke", "reader.", area(), "jackknife", "random", "random"),
    ("mrmc_vandyke", "delong.RRRC.", area(), "delong", "random", "random"),
    ("mrmc_vandyke", "unbiased.RRRC.", area(), "unbiased", "random", "random"),
    ("mrmc_ruschin_3x8", "jackknife.RRRC.", area(), "jackknife", "random", "random"),
    ("mrmc_kundel_partial", "jackknife.RRRC.", area(), "jackknife", "random", "random"),
    ("mrmc_kundel_partial", "unbiased.RRRC.", area(), "unbiased", "random", "random"),
    ("mrmc_vandyke_binary", "sens.jackknife.RRRC.", sensitivity(called_from=3), "jackknife", "random", "random"),
    ("mrmc_vandyke_binary", "spec.jackknife.RRRC.", specificity(called_from=3), "jackknife", "random", "random"),
]


@needs_cases
@pytest.mark.parametrize(("case", "prefix", "merit", "method", "readers", "cases"), PUBLISHED)
def test_published_analyses(case, prefix, merit, method, readers, cases):
    readings = complete(read(case), common_cases=case != "mrmc_kundel_partial")
    analysis = obuchowski_rockette(reader_merits(readings, merit, method=method), readers=readers, cases=cases)
    found = figures(analysis)
    cut = 0 if prefix in ("MS(", "reader.") else len(prefix)
    expected = {name[cut:]: value for name, value in published(case).items() if name.startswith(prefix)}
    assert len(expected) > 2
    assert {name: found[name] for name in expected} == expected


def compound(values, *, var, cov1, cov2, cov3):
    """Figures of merit with the covariances of Obuchowski and Rockette's model."""
    arms, readers = values.shape
    made = reader_merits(simulated(arms=arms, readers=readers, cases=114), area())
    same_arm, same_reader = np.eye(arms)[:, None, :, None], np.eye(readers)[None, :, None, :]
    covariance = (same_arm * same_reader * var + (1 - same_arm) * same_reader * cov1
                  + same_arm * (1 - same_reader) * cov2 + (1 - same_arm) * (1 - same_reader) * cov3)
    return replace(made, value=values, covariance=covariance)


def simulated(*, arms=2, readers=5, cases=40, seed=0, separation=1.5):
    truth = (np.arange(cases) % 2).astype(float)
    rng = np.random.default_rng(seed)
    made = scores(rng, truth, Spread(reader=0.05, arm_reader=0.05), arms=arms, readers=readers, separation=separation)
    return readings_from_arrays(np.round(made, 1), truth)


def keep(readings, kept):
    """Only the readings [arm, reader, case] that are kept."""
    return complete(replace(readings, score=np.where(kept, readings.score, np.nan)), common_cases=False)


def test_van_dyke_from_its_printed_areas_and_covariances():
    analysis = obuchowski_rockette(compound(VAN_DYKE, **VAN_DYKE_ERROR))
    parts, test, difference = analysis.components, analysis.test, analysis.differences[0]
    assert (parts.ms_arm, parts.ms_reader, parts.ms_interaction) == pytest.approx((.00479617, .0038362, .00055103),
                                                                                 abs=2e-8)
    assert (parts.var_reader, parts.var_interaction) == pytest.approx((0.001535, 0.0002004), abs=2e-8)
    assert (test.statistic, test.df2, test.p_value) == pytest.approx((4.456, 15.26, 0.0517), abs=5e-3)
    assert (difference.estimate.low, difference.estimate.high) == pytest.approx((-0.08796, 0.00036), abs=1e-5)
    fixed_readers = obuchowski_rockette(compound(VAN_DYKE, **VAN_DYKE_ERROR), readers="fixed").test
    assert (fixed_readers.statistic, fixed_readers.p_value) == pytest.approx((5.476, 0.0193), abs=1e-4)
    fixed_cases = obuchowski_rockette(compound(VAN_DYKE, **VAN_DYKE_ERROR), cases="fixed").test
    assert (fixed_cases.statistic, fixed_cases.df2, fixed_cases.p_value) == pytest.approx((8.704, 4, 0.0420), abs=1e-4)


def test_covariances_are_clipped_in_the_sum_and_not_in_the_components():
    error = VAN_DYKE_ERROR | {"cov3": 0.0004}
    analysis = obuchowski_rockette(compound(VAN_DYKE, **error))
    assert analysis.components.cov2 - analysis.components.cov3 == pytest.approx(-0.00005593)
    assert analysis.test.error_term == pytest.approx(analysis.components.ms_interaction)
    assert analysis.test.df2 == pytest.approx(4)


@unhurried
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_of_readers_cases_and_arms_changes_nothing(seed, random):
    made = simulated(arms=3, readers=4, cases=24, seed=seed)
    a, r, c = (random.sample(range(n), n) for n in made.score.shape)
    shuffled = replace(
        made, score=made.score[np.ix_(a, r, c)], truth=made.truth[c], clusters=made.clusters[c],
        arms=tuple(made.arms[i] for i in a), readers=tuple(made.readers[i] for i in r),
        cases=tuple(made.cases[i] for i in c),
    )
    one, other = (obuchowski_rockette(reader_merits(each, area())) for each in (made, shuffled))
    assert other.test.p_value == pytest.approx(one.test.p_value)
    assert other.test.df2 == pytest.approx(one.test.df2)
    assert {each.arm: each.estimate.low for each in other.means} == pytest.approx(
        {each.arm: each.estimate.low for each in one.means})
    signed = {(each.first, each.second): each.estimate.value for each in one.differences}
    for each in other.differences:
        straight = signed.get((each.first, each.second))
        assert each.estimate.value == pytest.approx(
            straight if straight is not None else -signed[each.second, each.first])


@pytest.mark.parametrize(("readers", "cases"), [("random", "random"), ("fixed", "random"), ("random", "fixed")])
def test_equal_arms_differ_by_nothing_with_p_1(readers, cases):
    made = simulated()
    twice = replace(made, score=np.stack([made.score[0]] * 2))
    found = obuchowski_rockette(reader_merits(twice, area()), readers=readers, cases=cases)
    assert (found.differences[0].estimate.value, found.differences[0].p_value, found.test.p_value) == (0, 1, 1)
    assert found.differences[0].estimate.undefined == "its estimated variance is zero"


def test_perfect_readers_have_an_area_of_1_and_no_interval():
    truth = np.arange(20) % 2
    found = obuchowski_rockette(reader_merits(readings_from_arrays(np.tile(truth, (2, 3, 1)), truth), area()))
    assert [each.estimate.value for each in found.means] == [1, 1]
    assert "variance is zero" in found.means[0].estimate.undefined
    assert found.test.p_value == 1


def test_arms_apart_without_variance_are_not_estimable():
    truth = np.arange(20) % 2
    scored = np.stack([np.tile(truth, (3, 1)), np.tile(1 - truth, (3, 1))])
    found = obuchowski_rockette(reader_merits(readings_from_arrays(scored, truth), area()))
    assert math.isnan(found.test.p_value)
    assert found.test.undefined == "its estimated variance is zero"
    assert math.isnan(found.differences[0].p_value)
    assert found.differences[0].estimate.value == 1


def test_fixed_cases_are_the_paired_t_test():
    merits = reader_merits(simulated(), area())
    found = obuchowski_rockette(merits, cases="fixed")
    expected = ttest_rel(*merits.value)
    assert found.test.p_value == pytest.approx(expected.pvalue)
    assert (found.differences[0].estimate.low, found.differences[0].estimate.high) == pytest.approx(
        tuple(expected.confidence_interval()))


def test_one_fixed_reader_is_delongs_paired_test():
    made = simulated(readers=1)
    found = obuchowski_rockette(reader_merits(made, area(), method="delong"), readers="fixed")
    expected = compare_auc(made.score[0, 0], made.score[1, 0], made.truth == 1)
    assert found.test.p_value == pytest.approx(expected.p_value)
    assert found.differences[0].estimate.low == pytest.approx(expected.difference.low)
    assert found.by_reader[0].p_value == pytest.approx(expected.p_value)


def test_one_random_reader_is_not_estimable():
    found = obuchowski_rockette(reader_merits(simulated(readers=1), area()))
    assert "a single reader" in found.test.undefined
    assert "a single reader" in found.means[0].estimate.undefined
    assert math.isnan(found.differences[0].p_value)
    assert not math.isnan(found.by_reader[0].p_value)


def test_one_arm_has_a_mean_and_nothing_to_compare():
    found = obuchowski_rockette(reader_merits(simulated(arms=1), area()))
    assert "a single arm" in found.test.undefined
    assert found.differences == found.by_reader == ()
    assert found.means[0].estimate.low < found.means[0].estimate.value < found.means[0].estimate.high


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("readers", ["random", "fixed"])
def test_an_arm_without_readers_has_no_mean_and_says_so(readers):
    made = simulated(readers=3, cases=20)
    empty = readings_from_arrays(np.where(np.arange(2)[:, None, None] == 1, np.nan, made.score), made.truth)
    first, second = obuchowski_rockette(reader_merits(empty, area()), readers=readers).means
    assert not math.isnan(first.estimate.value)
    assert str(second.estimate) == "undefined: no reader reads under this arm" and math.isnan(second.se)


def test_one_case_is_not_estimable():
    made = readings_from_arrays(np.zeros((2, 3, 1)), np.zeros(1))
    found = obuchowski_rockette(reader_merits(made, exact_accuracy()))
    assert found.test.undefined == "the cases are of a single patient or case"
    assert found.means[0].estimate.value == 1
    without = obuchowski_rockette(reader_merits(made, area()))
    assert without.test.undefined.startswith("AUC is not defined for reader 1 under 1")
    assert str(without.means[0].estimate).startswith("undefined")


def test_split_plot_takes_mean_squares_within_blocks():
    made = simulated(readers=7, cases=80)
    block = np.array([0, 0, 0, 0, 1, 1, 1])
    merits = reader_merits(keep(made, (block[:, None] == (np.arange(80) >= 40))[None]), area())
    assert merits.design == "split-plot, 2 blocks of readers and cases"
    apart = merits.value[0] - merits.value[1]
    s = merits.covariance
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j and block[i] == block[j]]
    shared = sum(s[0, i, 0, j] + s[1, i, 1, j] - s[0, i, 1, j] - s[1, i, 0, j] for i, j in pairs) / len(pairs)
    inner = sum(((apart[block == b] - apart[block == b].mean()) ** 2).sum() for b in (0, 1)) / 5
    variance = (inner + (16 + 9) / 7 * max(shared, 0)) / 7
    found = obuchowski_rockette(merits).differences[0]
    assert (found.se, found.df) == pytest.approx((math.sqrt(variance), (7 * variance) ** 2 / (inner**2 / 5)))
    assert found.estimate.value == pytest.approx(apart.mean())
    assert all(s[0, i, 0, j] == 0 for i in range(4) for j in range(4, 7))


def test_cases_nested_in_readers_give_the_paired_t_test():
    made = simulated(readers=4, cases=80)
    merits = reader_merits(keep(made, (np.arange(4)[:, None] == np.arange(80) // 20)[None]), area())
    found = obuchowski_rockette(merits)
    assert merits.design == "cases nested in readers"
    assert (found.components.cov2, found.components.cov3) == (0, 0)
    assert found.test.p_value == pytest.approx(ttest_rel(*merits.value).pvalue)
    assert found.test.df2 == pytest.approx(3)


def test_readers_nested_in_arms_with_cases_of_their_own_give_the_t_test():
    made = simulated(readers=6, cases=120)
    own = np.arange(6)[:, None] == np.arange(120) // 20
    merits = reader_merits(keep(made, own & ((np.arange(6) < 3)[None, :, None] == [[[True]], [[False]]])), area())
    found = obuchowski_rockette(merits)
    assert merits.design.startswith("readers nested in arms")
    assert found.test.p_value == pytest.approx(ttest_ind(merits.value[0, :3], merits.value[1, 3:]).pvalue)
    assert (found.test.df2, found.by_reader) == (pytest.approx(4), ())


def test_nested_readers_of_the_same_cases_add_cov2_less_cov3():
    made = simulated(readers=7, seed=2)
    first = np.arange(7) < 3
    merits = reader_merits(keep(made, np.stack([first, ~first])[:, :, None]), area())
    found = obuchowski_rockette(merits)
    a, b = merits.value[0, :3], merits.value[1, 3:]
    inner = (a.var() * 3 + b.var() * 4) / 5
    parts = found.components
    assert parts.ms_interaction == pytest.approx(inner)
    assert math.isnan(parts.cov1)
    variance = inner * (1 / 3 + 1 / 4) + 2 * max(parts.cov2 - parts.cov3, 0)
    assert found.differences[0].se == pytest.approx(math.sqrt(variance))
    assert found.differences[0].df == pytest.approx(variance**2 / ((inner * (1 / 3 + 1 / 4)) ** 2 / 5))
    assert found.differences[0].p_value == pytest.approx(found.test.p_value)


def test_cases_nested_in_arms_are_independent_between_arms():
    made = simulated(cases=80)
    merits = reader_merits(keep(made, (np.arange(80) < 40) == np.array([True, False])[:, None, None]), area())
    found = obuchowski_rockette(merits)
    assert merits.design == "cases nested in arms"
    assert (found.components.cov1, found.components.cov3) == (0, 0)
    assert found.components.cov2 > 0


def test_wider_confidence_gives_wider_intervals():
    merits = reader_merits(simulated(), area())
    found = [obuchowski_rockette(merits, confidence=c).differences[0].estimate for c in (0.8, 0.95, 0.99)]
    assert all(b.low < a.low and a.high < b.high for a, b in pairwise(found))


@pytest.mark.parametrize(("wrong", "message"), [
    ({"readers": "some"}, 'Readers "some"'), ({"cases": "all"}, 'cases "all"'),
    ({"readers": "fixed", "cases": "fixed"}, "both fixed"), ({"confidence": 95}, "Confidence 95"),
])
def test_unknown_kinds_of_inference_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        obuchowski_rockette(reader_merits(simulated(), area()), **wrong)
