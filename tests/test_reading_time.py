import math
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.stats import ttest_1samp

from benchmarks.mrmc_simulation import Spread, scores
from lss_core.statistics.mrmc_readings import readings_from_arrays
from lss_core.statistics.reading_time import compare_times, time_trend

SPREAD = Spread(reader=0.2, arm_reader=0.05, case=0.15, arm_case=0.08, reader_case=0.1, residual=0.1)
FIRST = {"r1": "aided", "r2": "unaided", "r3": "aided", "r4": "unaided", "r5": "aided", "r6": "unaided"}


def timed(*, ratio=1.0, cases=12, readers=6, seed=3):
    logs = 4 + scores(np.random.default_rng(seed), np.zeros(cases), SPREAD, arms=2, readers=readers)
    logs[0] += math.log(ratio)
    return readings_from_arrays(np.exp(logs), np.zeros(cases), arms=("aided", "unaided"),
                                readers=[f"r{i + 1}" for i in range(readers)])


def test_ratio_is_that_of_the_geometric_means():
    made = timed()
    found = compare_times(made)
    means = np.exp(np.log(made.score).mean(axis=(1, 2)))
    assert found.ratios[0].ratio.value == pytest.approx(means[0] / means[1])
    assert found.seconds["aided"].value == pytest.approx(means[0])
    assert found.ratios[0].ratio.low < found.ratios[0].ratio.value < found.ratios[0].ratio.high
    assert "geometric mean" in found.ratios[0].ratio.method


def test_slower_arm_moves_the_ratio_and_nothing_else():
    one, other = compare_times(timed()).ratios[0], compare_times(timed(ratio=1.3)).ratios[0]
    assert other.ratio.value == pytest.approx(1.3 * one.ratio.value)
    assert other.ratio.high / other.ratio.low == pytest.approx(one.ratio.high / one.ratio.low)


def test_unit_of_time_changes_no_ratio():
    made = timed()
    minutes = compare_times(replace(made, score=made.score / 60)).ratios[0]
    assert minutes.ratio.value == pytest.approx(compare_times(made).ratios[0].ratio.value)
    assert minutes.p_value == pytest.approx(compare_times(made).ratios[0].p_value)


def test_equal_times_have_ratio_1_and_p_1():
    made = timed()
    found = compare_times(replace(made, score=np.stack([made.score[0]] * 2))).ratios[0]
    assert (found.ratio.value, found.p_value) == (1, 1)


def test_it_is_the_crossed_mixed_model():
    made = timed()
    rows = [{"arm": made.arms[a], "reader": made.readers[r], "case": f"c{c}", "log_s": math.log(made.score[a, r, c])}
            for a, r, c in np.ndindex(made.score.shape)]
    terms = {"reader": "0 + C(reader)", "case": "0 + C(case)", "reader_case": "0 + C(reader):C(case)",
             "arm_reader": "0 + C(reader):C(arm)", "arm_case": "0 + C(case):C(arm)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm("log_s ~ C(arm, Treatment('unaided'))", pd.DataFrame(rows).assign(all=1), groups="all",
                            vc_formula=terms).fit(reml=True)
    found = compare_times(made)
    assert found.components is not None
    assert min(vars(found.components).values()) > 0         # where the two are the same
    assert model.params.iloc[1] == pytest.approx(math.log(found.ratios[0].ratio.value))
    assert model.bse.iloc[1] == pytest.approx(found.analysis.differences[0].se, rel=1e-3)
    fitted = dict(zip(model.model.exog_vc.names, model.vcomp, strict=True)) | {"residual": model.scale}
    for name, value in fitted.items():
        assert getattr(found.components, name) == pytest.approx(value, rel=0.01), name


def test_crossover_frees_the_arm_from_what_readers_learned():
    made = timed()
    second = np.array([[FIRST[reader] != arm for reader in made.readers] for arm in made.arms])
    learned = replace(made, score=made.score * np.where(second, 0.7, 1.0)[:, :, None])
    before, after = (compare_times(each, first_arm=FIRST).ratios[0] for each in (made, learned))
    assert after.ratio.value == pytest.approx(before.ratio.value)
    assert after.adjusted
    assert before.second_session is not None and after.second_session is not None
    assert after.second_session.value == pytest.approx(0.7 * before.second_session.value)


def test_unbalanced_crossover_weighs_the_two_orders_alike():
    made = timed()
    first = {**FIRST, "r2": "aided"}
    found = compare_times(made, first_arm=first).ratios[0]
    apart = np.log(made.score).mean(axis=2)
    apart = apart[0] - apart[1]
    orders = [np.mean([apart[i] for i, reader in enumerate(made.readers) if first[reader] == arm]) for arm in made.arms]
    assert math.log(found.ratio.value) == pytest.approx(np.mean(orders))


def test_one_case_is_not_estimable():
    found = compare_times(timed(cases=1))
    assert found.ratios[0].ratio.undefined == "the cases are of a single patient or case"
    assert found.ratios[0].ratio.value > 0


def test_one_reader_is_not_estimable():
    found = compare_times(timed(readers=1))
    assert "a single reader" in found.ratios[0].ratio.undefined


@pytest.mark.parametrize(("first", "message"), [
    ({**FIRST, "r3": "assisted"}, 'Reader r3 began with "assisted": one of aided, unaided'),
    ({reader: FIRST[reader] for reader in FIRST if reader != "r3"}, 'Reader r3 began with ""'),
    (dict.fromkeys(FIRST, "aided"), "All readers began with aided"),
])
def test_orders_that_are_not_known_are_refused(first, message):
    with pytest.raises(ValueError, match=message):
        compare_times(timed(), first_arm=first)


def test_crossover_of_three_arms_is_refused():
    made = timed()
    three = readings_from_arrays(np.concatenate([made.score, made.score[:1]]), made.truth, readers=made.readers)
    with pytest.raises(ValueError, match="Order of 3 arms"):
        compare_times(three, first_arm=FIRST)


@pytest.mark.parametrize("wrong", [0.0, -3.0])
def test_time_that_is_not_above_0_is_refused_by_name(wrong):
    made = timed()
    score = made.score.copy()
    score[1, 2, 5] = wrong
    with pytest.raises(ValueError, match=f"Reader r3 read case 6 in {wrong:g} seconds"):
        compare_times(replace(made, score=score))


def learning(slopes, *, cases=30):
    position = np.tile(np.arange(1, cases + 1), len(slopes))
    readers = np.repeat([f"r{i}" for i in range(len(slopes))], cases)
    return readers, position, 60 * position ** np.repeat(slopes, cases)


def test_trend_is_the_mean_of_the_readers_slopes():
    slopes = [-0.1, -0.2, -0.05, 0.02]
    found = time_trend(*learning(slopes))
    expected = ttest_1samp(slopes, 0)
    assert found.estimate.value == pytest.approx(2 ** np.mean(slopes))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.estimate.low == pytest.approx(2 ** expected.confidence_interval().low)


def test_trend_of_one_reader_is_not_estimable():
    assert "a single reader" in time_trend(*learning([-0.1])).estimate.undefined


@pytest.mark.parametrize(("readers", "position", "seconds", "message"), [
    (["a"] * 3, [1, 2], [5, 5, 5], "not as many"),
    (["a"] * 3, [0, 1, 2], [5, 5, 5], "count from 1"),
    (["a"] * 3, [1, 2, 3], [5, 0, 5], "above 0 seconds"),
    (["a", "a", "a", "b", "b"], [1, 2, 3, 1, 2], [5] * 5, "Reader b has fewer than three positions"),
])
def test_bad_trends_are_refused(readers, position, seconds, message):
    with pytest.raises(ValueError, match=message):
        time_trend(readers, position, seconds)
