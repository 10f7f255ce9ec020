import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from benchmarks.mrmc_simulation import Spread, scores
from lss_core.statistics.accuracy import auc_interval
from lss_core.statistics.mrmc_levels import mean_of_groups
from lss_core.statistics.mrmc_merit import area, exact_accuracy
from lss_core.statistics.mrmc_readings import Readings, readings_from_arrays, readings_from_frame
from lss_core.statistics.mrmc_standalone import check_margin, compare_with_readers

CASES = Path(__file__).parents[1] / ".." / "shared" / "statistics_cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/statistics_cases is not here")

# Hupse et al. (2013): areas of nine radiologists and of stand-alone CAD on 200 mammograms; variance and mean covariance
# of the differences over cases, as stored with RJafroc's stand-alone analysis.
RADIOLOGISTS = np.array([.8415625, .84119792, .89973958, .838125, .85635417, .87869792, .85838542, .79703125, .826875])
CAD, CAD_VAR, CAD_COV = 0.81692708, 0.00139954909, 0.000924168001


def study(*, better=0.0, cases=60, seed=1) -> tuple[Readings, dict[str, float]]:
    truth = (np.arange(cases) % 2).astype(float)
    rng = np.random.default_rng(seed)
    latent = scores(rng, truth, Spread(), arms=1, readers=5)
    made = readings_from_arrays(latent, truth)
    model = latent[0].mean(axis=0) + better * truth + rng.normal(0, 0.4, cases)
    return made, dict(zip(made.cases, model, strict=True))


@needs_cases
def test_published_stand_alone_analysis():
    frame = pd.read_csv(CASES / "model_vs_readers_hupse_random" / "data.csv")
    model = frame.query("reader == 'model'").set_index(frame.query("reader == 'model'")["case"].astype(str))["rating"]
    readings = readings_from_frame(frame.query("reader != 'model'"), score="rating")
    figures = json.loads((CASES / "model_vs_readers_hupse_random" / "expected.json").read_text())["expected"]
    expected = {each["id"].removeprefix("1T-RRRC."): pytest.approx(each["value"], abs=each["tol"]) for each in figures}
    found = compare_with_readers(readings, model.to_dict(), area())
    parts, test = found.analysis.components, found.analysis.test
    assert {
        "auc_model": found.model.value, "mean_auc_readers": found.readers.value,
        "diff_readers_minus_model": -found.difference.estimate.value, "t": math.sqrt(test.statistic),
        "df": found.difference.df, "p": found.difference.p_value, "diff_ci_low": -found.difference.estimate.high,
        "diff_ci_high": -found.difference.estimate.low, "varR": 2 * parts.ms_interaction,
        "varError": 2 * (parts.var_error - parts.cov1), "cov2": 2 * (parts.cov2 - parts.cov3),
        **{f"auc[{reader}]": value for reader, value in
           zip(readings.readers, found.analysis.merits.value[1], strict=True)},
    } == expected
    naive = compare_with_readers(readings, model.to_dict(), area(), cases="fixed")
    assert naive.difference.p_value == pytest.approx(0.012, abs=5e-4)


def test_nine_radiologists_and_cad_from_printed_figures():
    covariance = np.full((9, 9), CAD_COV) + np.eye(9) * (CAD_VAR - CAD_COV)
    mean = mean_of_groups(RADIOLOGISTS - CAD, covariance, [np.arange(9)], (1.0,))
    assert mean.value == pytest.approx(0.03173611, abs=1e-8)
    assert mean.value / math.sqrt(mean.variance) == pytest.approx(0.99287, abs=1e-5)
    assert mean.df == pytest.approx(877.886, abs=0.05)
    assert ttest_1samp(RADIOLOGISTS - CAD, 0).pvalue == pytest.approx(0.012, abs=5e-4)


def test_model_alone_has_its_own_interval_over_cases():
    made, model = study()
    found = compare_with_readers(made, model, area(), method="delong")
    expected = auc_interval(np.array(list(model.values())), made.truth == 1)
    assert (found.model.value, found.model.low, found.model.high) == pytest.approx(
        (expected.value, expected.low, expected.high))
    assert found.difference.estimate.value == pytest.approx(found.model.value - found.readers.value)


def test_every_reader_stands_against_the_model():
    made, model = study()
    found = compare_with_readers(made, model, area())
    assert [each.reader for each in found.analysis.by_reader] == list(made.readers)
    assert {(each.first, each.second) for each in found.analysis.by_reader} == {("model", "readers")}


def test_model_that_reads_as_all_readers_do_differs_by_nothing():
    made, _ = study()
    same = replace(made, score=np.repeat(made.score[:, :1], 5, axis=1))
    found = compare_with_readers(same, dict(zip(made.cases, made.score[0, 0], strict=True)), area(), margin=0.05)
    assert (found.difference.estimate.value, found.difference.p_value) == (0, 1)
    assert found.noninferiority is not None
    assert not found.noninferiority.shown


def test_better_model_is_superior_and_worse_one_is_not_noninferior():
    good, bad = (compare_with_readers(*study(better=better, cases=200), area(), margin=0.05) for better in (1.5, -1.5))
    assert good.difference.p_value < 0.05
    assert good.difference.estimate.low > 0
    assert good.noninferiority is not None and bad.noninferiority is not None
    assert (good.noninferiority.shown, bad.noninferiority.shown) == (True, False)
    assert good.noninferiority.p_value < 0.025 < bad.noninferiority.p_value


def test_margin_is_shown_exactly_where_its_p_value_is_below_half_of_alpha():
    difference = compare_with_readers(*study(cases=100), area()).difference
    edge = -difference.estimate.low
    assert check_margin(difference, edge + 1e-9).shown
    assert not check_margin(difference, edge - 1e-9).shown
    assert check_margin(difference, edge).p_value == pytest.approx(0.025)


def test_model_is_compared_on_each_readers_own_cases_in_a_split_plot():
    made, model = study(cases=80)
    apart = (np.arange(5) < 3)[:, None] == (np.arange(80) < 40)
    found = compare_with_readers(replace(made, score=np.where(apart, made.score, np.nan)), model, exact_accuracy())
    assert found.analysis.merits.design.startswith("split-plot, 2 blocks")
    whole = compare_with_readers(made, model, exact_accuracy())
    assert found.model == whole.model


def test_cases_are_matched_by_name_and_further_ones_ignored():
    made, model = study()
    shuffled = dict(sorted(model.items(), key=lambda item: item[1])) | {"elsewhere": 9.0}
    found, expected = (compare_with_readers(made, each, area()).difference for each in (shuffled, model))
    assert found == expected


@pytest.mark.parametrize(("change", "message"), [
    (lambda made, model: (made, {**model, "7": math.nan}), "no score of case 7 \\(1 such cases\\)"),
    (lambda made, model: (made, {}), "no score of case 1 \\(60 such cases\\)"),
    (lambda made, model: (replace(made, score=np.repeat(made.score, 2, axis=0), arms=("a", "b")), model), "of 2 arms"),
])
def test_model_without_scores_and_readings_of_two_arms_are_refused(change, message):
    made, model = change(*study())
    with pytest.raises(ValueError, match=message):
        compare_with_readers(made, model, area())


@pytest.mark.parametrize("margin", [0, -0.1, math.nan, math.inf])
def test_margin_that_is_no_positive_number_is_refused(margin):
    with pytest.raises(ValueError, match="Margin"):
        compare_with_readers(*study(), area(), margin=margin)
