"""The complete analysis of a study: what counts, what is left out and said, and that it can be computed again."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from lss_core.demo.readers import READERS
from lss_core.statistics.accuracy import auc
from lss_core.statistics.agreement import weighted_kappa
from lss_core.statistics.calibration import brier, expected_calibration_error
from lss_core.study.analysis_filter import StudyFilter
from lss_core.study.analysis_json import analysis_as_json, analysis_from_json
from lss_core.study.analysis_values import RaterKind, RegionKind, StudyAnalysis
from lss_core.study.protocol import AnalysisPlan
from lss_core.study.readings import StudyTables, check_tables
from lss_core.study.report import analyse, cases_of_cell
from lss_core.study.report_html import report_html
from lss_core.study.report_items import BY_AUTHORS, checklist
from lss_core.study.report_pdf import report_pdf
from lss_core.study.report_text import methods_text
from lss_core.vocabulary import RESEARCH_USE, Refusal
from tests.simulated_readings import simulated_frames, simulated_tables

PLAN = AnalysisPlan(bootstraps=200)
CANAL, RECESS = RegionKind.CENTRAL_CANAL, RegionKind.LATERAL_RECESS
SMALL = {"patients": 8, "readers": READERS[::2]}


@lru_cache(maxsize=1)
def tables() -> StudyTables:
    return simulated_tables()


@lru_cache(maxsize=1)
def whole() -> StudyAnalysis:
    return analyse(tables(), PLAN, simulated=True)


def without(frame: pd.DataFrame, kept: pd.Series) -> pd.DataFrame:
    return frame[kept].reset_index(drop=True)


def first_showings(kind: RegionKind, arm: str) -> pd.DataFrame:
    """Readings of the kind with the reference grade beside them, counted anew from the tables."""
    rows = tables().readings
    canal = rows["region"] == "central_canal"
    rows = rows[~rows["is_repeat"] & (rows["arm"] == arm) & (canal if kind is CANAL else ~canal)]
    return rows.merge(tables().reference[["case", "region", "grade"]], on=["case", "region"], suffixes=("", "_true"))


def test_the_same_tables_plan_and_seed_give_the_same_bytes():
    again = analyse(simulated_tables(), PLAN, simulated=True)
    assert analysis_as_json(again) == analysis_as_json(whole())


def test_the_order_of_rows_and_columns_changes_nothing():
    shuffled = StudyTables(*(
        each.sample(frac=1, random_state=3)[sorted(each.columns)]
        for each in (tables().readings, tables().reference, tables().model)
    ))
    assert analysis_as_json(analyse(shuffled, PLAN, simulated=True)) == analysis_as_json(whole())


def test_another_seed_moves_intervals_and_no_figure():
    other = analyse(tables(), replace(PLAN, seed=7))
    before, after = whole().results[0], other.results[0]
    assert before.accuracy.value == after.accuracy.value and before.accuracy.low != after.accuracy.low


def test_json_holds_the_whole_analysis_and_is_plain_json():
    text = analysis_as_json(whole())
    back = analysis_from_json(text)
    assert analysis_as_json(back) == text and "NaN" not in text
    assert back.results == whole().results and back.plan == PLAN


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other", "analysis": {}}',
                                  '{"format": "lumbar-stenosis-analysis 1", "analysis": {"plan": {}}}'])
def test_what_is_no_analysis_is_refused(text):
    with pytest.raises(Refusal, match="analysis"):
        analysis_from_json(text)


@pytest.mark.parametrize("kind", RegionKind)
def test_accuracy_of_a_level_is_the_share_of_right_first_showings_with_no_grade_counted_as_wrong(kind):
    rows = first_showings(kind, "aided")
    own = rows[rows["experience"] == "junior"]
    found = whole().result(kind, "junior", arm="aided")
    assert found is not None and found.counts.asked == len(own)
    assert found.counts.not_gradable == own["grade"].isna().sum()
    assert found.accuracy.value == pytest.approx((own["grade"] == own["grade_true"]).mean())
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high and found.accuracy.n == 12


def test_kappa_of_a_reader_is_of_the_regions_graded():
    rows = first_showings(RECESS, "unaided")
    own = rows[(rows["reader"] == "R03") & rows["grade"].notna()]
    matrix = np.zeros((4, 4))
    np.add.at(matrix, (own["grade_true"].to_numpy(int), own["grade"].to_numpy(int)), 1)
    found = whole().result(RECESS, "R03")
    assert found is not None and found.counts.not_gradable > 0
    assert found.rates.quadratic_kappa.value == pytest.approx(weighted_kappa(matrix))


def test_hidden_repeats_bear_on_nothing_but_the_intra_reader_analysis():
    rows = tables().readings
    spoilt = rows.assign(grade=np.where(rows["is_repeat"], (rows["grade"] + 1) % 4, rows["grade"]))
    changed = analyse(replace(tables(), readings=spoilt), PLAN, simulated=True)
    assert changed.repeats != whole().repeats
    assert analysis_as_json(replace(changed, repeats=whole().repeats)) == analysis_as_json(whole())


def test_a_repeat_whose_first_showing_was_not_read_is_no_reading():
    rows = tables().readings
    gone = (rows["reader"] == "R04") & (rows["arm"] == "aided") & ~rows["is_repeat"]
    gone &= rows["case"].isin(rows.loc[(rows["reader"] == "R04") & rows["is_repeat"], "case"])
    found = analyse(replace(tables(), readings=rows[~gone]), PLAN)
    own = next(each for each in found.scope.progress if each.reader == "R04" and each.arm == "aided")
    assert own.missing == gone.sum() > 0 and own.read == 72 - gone.sum()


def test_repeats_are_compared_with_the_first_showing_of_the_same_arm():
    rows = tables().readings
    rows = rows[rows["region"] == "central_canal"]
    keys = ["reader", "case", "arm"]
    pairs = rows[~rows["is_repeat"]].merge(rows[rows["is_repeat"]], on=keys, suffixes=("", "_again"))
    both = pairs[pairs["grade"].notna() & pairs["grade_again"].notna()]
    everybody = next(each for each in whole().repeats if each.region is CANAL).everybody
    assert everybody.repeats == len(both) and everybody.missing == len(pairs) - len(both)
    assert everybody.equal.value == pytest.approx((both["grade"] == both["grade_again"]).mean())


def test_the_mean_of_readers_in_the_mrmc_table_is_the_mean_of_their_accuracies():
    found = next(each for each in whole().against_readers
                 if each.region is CANAL and each.figure == "accuracy" and each.first == "v1" and not each.level)
    readers = [each.accuracy.value for each in whole().results
               if each.region is CANAL and each.arm == "unaided" and each.rater.kind is RaterKind.READER]
    model = whole().result(CANAL, "v1")
    assert model is not None
    assert found.second_mean.value == pytest.approx(np.mean(readers))
    assert found.difference.value == pytest.approx(model.accuracy.value - np.mean(readers))
    assert found.readers == 9 and found.readers_are == "random" and len(found.by_reader) == 9


def test_three_readers_of_a_level_are_taken_for_fixed():
    assert {each.readers_are for each in whole().aided if each.level} == {"fixed"}
    assert {each.readers_are for each in whole().aided if not each.level} == {"random"}


def test_the_margin_is_of_accuracy_alone():
    assert {each.figure for each in whole().against_readers if each.margin is not None} == {"accuracy"}
    without_margin = analyse(tables(), replace(PLAN, non_inferiority_margin=None))
    assert all(each.margin is None for each in without_margin.against_readers)


def test_auc_of_the_model_is_of_its_probability_of_the_cut():
    joined = tables().model.merge(tables().reference, on=["case", "region"], suffixes=("", "_true"))
    compared = 0
    for panel in whole().roc:
        canal = joined["region"] == "central_canal"
        rows = joined[canal if panel.region is CANAL else ~canal]
        for curve in (each for each in panel.curves if each.kind is RaterKind.MODEL):
            own = rows[rows["version"] == curve.name]
            stated = own[[f"p{grade}" for grade in range(panel.cut, 4)]].sum(axis=1)
            assert curve.area.value == pytest.approx(auc(stated, own["grade_true"] >= panel.cut))
            compared += 1
    assert compared == 12


def test_calibration_equals_the_plain_figures():
    panel = next(each for each in whole().calibration if each.region is RECESS and each.version == "v1")
    model = tables().model
    own = model[(model["version"] == "v1") & (model["region"] != "central_canal")].merge(
        tables().reference, on=["case", "region"], suffixes=("", "_true"))
    stated = own[["p0", "p1", "p2", "p3"]].to_numpy(float)
    stated, truth = stated / stated.sum(axis=1, keepdims=True), own["grade_true"].to_numpy(int)
    assert panel.expected_error.value == pytest.approx(expected_calibration_error(stated, truth))
    assert panel.brier.value == pytest.approx(brier(stated, truth))


def test_holm_is_within_its_family_and_never_makes_p_smaller():
    for family in ("primary", "secondary"):
        own = [each for each in whole().tests if each.family == family and not math.isnan(each.p_value)]
        smallest = min(own, key=lambda each: each.p_value)
        assert smallest.p_holm == pytest.approx(min(1.0, smallest.p_value * len(own)))
        assert all(each.p_holm >= each.p_value for each in own)
    assert sum(each.family == "primary" for each in whole().tests) == 6      # two versions and the aid, two kinds


def test_an_unfinished_reader_is_named_and_costs_the_others_no_case():
    gone = frozenset(("R01", str(case)) for case in range(5, 25))
    found = analyse(simulated_tables(missing=gone), PLAN)
    accuracy = next(each for each in found.against_readers if each.figure == "accuracy" and each.region is CANAL)
    assert accuracy.readers == 8 and accuracy.regions == 24 and "R01" in accuracy.left_out[0]
    progress = next(each for each in found.scope.progress if each.reader == "R01" and each.arm == "unaided")
    assert progress.missing == 60 and not progress.finished
    own = found.result(CANAL, "R01")
    assert own is not None and own.counts.asked == 4 and "R01" in methods_text(found)


def test_regions_without_a_reference_are_counted_and_left_out():
    readings, reference, model = simulated_frames(**SMALL)
    reference.loc[reference["case"] == "3", "grade"] = ""
    found = analyse(check_tables(readings, reference, model), PLAN)
    assert found.scope.without_reference == 3 and found.scope.regions == 8 * 2 * 3 - 3
    assert not [each for each in found.hardest if each.case == "3"]


def test_a_region_that_the_model_did_not_grade_counts_as_wrong():
    readings, reference, model = simulated_frames(**SMALL, versions=("v1",))
    assert model is not None
    right = model.merge(reference, on=["case", "region"], suffixes=("", "_true"))
    right = right[(right["region"] == "central_canal") & (right["grade"] == right["grade_true"])].iloc[0]
    lost = (model["case"] == right["case"]) & (model["region"] == "central_canal")
    before = analyse(check_tables(readings, reference, model), PLAN).result(CANAL, "v1")
    found = analyse(check_tables(readings, reference, without(model, ~lost)), PLAN)
    after = found.result(CANAL, "v1")
    assert before is not None and after is not None
    assert after.counts.not_gradable == 1
    assert after.accuracy.value == pytest.approx(before.accuracy.value - 1 / 16)
    mrmc = {each.figure: each for each in found.against_readers if each.region is CANAL and not each.level}
    assert mrmc["accuracy"].first_mean.value == pytest.approx(after.accuracy.value)
    assert mrmc["kappa"].regions < mrmc["accuracy"].regions == 16
    assert any("Model v1: 1 regions" in each for each in mrmc["accuracy"].left_out)


def test_one_reader_is_analysed_and_what_needs_more_says_so():
    found = analyse(simulated_tables(readers=READERS[:1], arms=("unaided",), repeats=0), PLAN)
    against = [each for each in found.against_readers if each.figure == "accuracy"]
    assert {each.readers_are for each in against} == {"fixed"} and all(each.readers == 1 for each in against)
    assert "no second arm" in found.why_not("aided") and "one experience level" in found.why_not("level_gaps")
    assert "shown twice" in found.why_not("repeats", CANAL)
    assert found.agreement[0].readers_differ.undefined == "a single reader" and not found.agreement[0].among
    assert found.times.trends[0].per_doubling.undefined
    assert report_pdf(found).startswith(b"%PDF") and "not estimable" in report_html(found)


def test_one_case_gives_figures_without_intervals_and_no_error():
    found = analyse(simulated_tables(patients=1, levels=1, repeats=0), PLAN)
    accuracy = next(each for each in found.against_readers if each.figure == "accuracy")
    assert not math.isnan(accuracy.difference.value) and "single patient" in accuracy.difference.undefined
    assert "one side" in found.why_not("roc", CANAL)
    assert analysis_as_json(analysis_from_json(analysis_as_json(found))) == analysis_as_json(found)


@pytest.mark.parametrize("seed", [2, 5, 17, 18, 23, 54])
@pytest.mark.filterwarnings("error")
def test_any_remains_of_a_study_are_analysed(seed):
    rng = np.random.default_rng(seed)
    readers = tuple(READERS[k] for k in rng.permutation(9)[: rng.integers(1, 7)])
    readings, reference, model = simulated_frames(
        patients=int(rng.integers(1, 5)), levels=int(rng.integers(1, 3)), readers=readers, seed=seed, repeats=2)
    assert model is not None
    kept = rng.random(len(readings)) < rng.choice([0.05, 0.5, 0.9])
    kept[0] = True
    readings.loc[rng.random(len(readings)) < 0.3, ["grade", "confidence", "duration_s"]] = ""
    model = without(model, pd.Series(rng.random(len(model)) < 0.5))
    left = check_tables(readings[kept], reference, model if len(model) else None)
    found = analyse(left, replace(PLAN, bootstraps=20))
    assert analysis_as_json(analysis_from_json(analysis_as_json(found))) == analysis_as_json(found)
    assert report_html(found) and report_pdf(found)


def test_a_study_without_a_model_says_so():
    readings, reference, _ = simulated_frames(**SMALL)
    found = analyse(check_tables(readings, reference), PLAN)
    assert "No model" in found.why_not("against_readers") and "No model" in found.why_not("calibration", RECESS)
    assert found.aided and "No model was compared" in methods_text(found)
    assert report_html(found)


def test_readings_without_confidence_have_no_auc_and_say_why():
    readings, reference, model = simulated_frames(**SMALL)
    found = analyse(check_tables(readings.assign(confidence=""), reference, model), PLAN)
    assert not [each for each in found.aided if each.figure == "auc"]
    assert "no confidence" in found.why_not("aided", CANAL)


def test_readings_without_time_have_no_times_and_say_why():
    readings, reference, model = simulated_frames(**SMALL)
    found = analyse(check_tables(readings.assign(duration_s=""), reference, model), PLAN)
    assert found.times.seconds == () and "time above 0" in found.why_not("times")


def test_idle_time_is_taken_off():
    readings, reference, model = simulated_frames(**SMALL)
    idle = readings.assign(idle_s=(readings["duration_s"].astype(float) / 2).astype(str))
    plain, half = (analyse(check_tables(each, reference, model), PLAN).times.seconds[0] for each in (readings, idle))
    assert half.seconds.value == pytest.approx(plain.seconds.value / 2)


def test_the_aid_of_the_simulated_readers_saves_the_time_that_was_built_in():
    ratio = next(each for each in whole().times.ratios if not each.level)
    assert ratio.adjusted and ratio.ratio.low < 0.88 < ratio.ratio.high


def test_a_second_session_of_the_same_arm_counts_as_repeat_and_not_as_reading():
    readings, reference, model = simulated_frames(**SMALL, arms=("unaided",), repeats=0)
    both = pd.concat([readings, readings.assign(session="2")], ignore_index=True)
    once, twice = (analyse(check_tables(each, reference, model), PLAN) for each in (readings, both))
    assert twice.results == once.results
    assert {each.kind for each in twice.repeats} == {"second session"}
    assert twice.repeats[0].everybody.equal.value == 1.0


def test_a_filter_recomputes_everything_and_is_printed():
    kept = StudyFilter(experience=("senior",), levels=("L1/2",), regions=("central_canal",))
    found = analyse(tables(), PLAN, kept=kept)
    assert found.scope.readers == 3 and found.scope.regions == 12 and found.why_not("results", RECESS)
    assert "experience senior; " in found.statement.replace("level", "level") and "L1/2" in found.statement
    everything = whole().result(CANAL, "senior")
    narrowed = found.result(CANAL, "senior")
    assert everything is not None and narrowed is not None and narrowed.counts.asked == everything.counts.asked / 2


def test_a_filter_by_grade_or_quality_keeps_the_rest_out():
    severe = analyse(tables(), PLAN, kept=StudyFilter(grades=(3,)))
    assert dict(severe.scope.prevalence)[CANAL][:3] == (0, 0, 0)
    remarked = tables().readings.loc[tables().readings["image_quality"] != "", "case"].nunique()
    flagged, rest = (analyse(tables(), PLAN, kept=StudyFilter(quality=each)) for each in ("flagged", "not flagged"))
    assert (flagged.scope.cases, rest.scope.cases) == (remarked, 24 - remarked) and 0 < remarked != 12


@pytest.mark.parametrize(("kept", "words"), [
    (StudyFilter(readers=("nobody",)), "No reader is 'nobody'"), (StudyFilter(quality="bad"), '"bad"'),
    (StudyFilter(experience=("senior",), readers=("R01",)), "No experience is 'senior'"),
])
def test_a_filter_that_leaves_nothing_is_refused(kept, words):
    with pytest.raises(Refusal, match=words):
        analyse(tables(), PLAN, kept=kept)


def test_a_reference_without_a_grade_is_refused():
    readings, reference, model = simulated_frames(**SMALL)
    with pytest.raises(Refusal, match="reference grade"):
        analyse(check_tables(readings, reference.assign(grade=""), model), PLAN)


@pytest.mark.parametrize("name", ["v1", "senior", "reference", "all readers"])
def test_a_reader_with_the_name_of_another_rater_is_refused(name):
    readings, reference, model = simulated_frames(**SMALL)
    same = readings.assign(reader=readings["reader"].replace("R01", name))
    with pytest.raises(Refusal, match=f"'{name}' is the name of two"):
        analyse(check_tables(same, reference, model), PLAN)


def test_a_cell_of_the_confusion_matrix_names_its_cases():
    found = whole().result(RECESS, "R02", arm="aided")
    assert found is not None
    for reference in range(4):
        for given in range(4):
            cases = cases_of_cell(tables(), RECESS, "R02", arm="aided", reference=reference, given=given)
            assert len(cases) == found.rates.confusion[reference][given]
    assert cases_of_cell(tables(), RECESS, "nobody", arm="aided", reference=0, given=0) == ()


def test_the_hardest_region_is_the_one_fewest_readers_got_right():
    rows = first_showings(CANAL, "unaided")
    right = (rows["grade"] == rows["grade_true"]).groupby(rows["case"]).sum()
    hardest = [each for each in whole().hardest if each.region == "central_canal"]
    assert hardest[0].right == right.min() and [each.right for each in hardest] == sorted(e.right for e in hardest)


def test_every_output_says_research_use_and_simulated():
    html, text = report_html(whole()), analysis_as_json(whole())
    assert RESEARCH_USE in html and RESEARCH_USE in text and "SIMULATED" in html and "SIMULATED" in text
    real = analyse(tables(), PLAN)
    assert "SIMULATED" not in analysis_as_json(real) and RESEARCH_USE in real.statement


def test_html_needs_nothing_else_and_escapes_names():
    readings, reference, model = simulated_frames(**SMALL)
    assert model is not None
    bad = '"><script>alert(1)</script>'
    named = readings.assign(reader=readings["reader"].replace("R01", f"1{bad}"),
                            experience=readings["experience"].replace("senior", f"2{bad}"))
    versions = model.assign(version=model["version"].replace("v1", f"3{bad}"))
    made = analyse(check_tables(named, reference, versions), PLAN)
    html = report_html(made).replace(get_plotlyjs(), "")
    assert "<script>alert(1)" not in html and "&lt;script&gt;alert(1)" in html
    assert 'src="http' not in html and 'href="http' not in html


def test_pdf_is_the_same_bytes_for_the_same_analysis():
    found = analyse(simulated_tables(**SMALL), PLAN, simulated=True)
    assert report_pdf(found) == report_pdf(found)


def test_pdf_holds_its_fonts_and_a_letter_that_they_lack_does_not_stop_it():
    readings, reference, model = simulated_frames(**SMALL)
    named = readings.assign(reader=readings["reader"].replace("R01", "読影者 <1> & Zoë"))
    made = report_pdf(analyse(check_tables(named, reference, model), PLAN))
    assert made.count(b"/FontFile2") >= 2 and b"Vera" in made


def test_methods_name_the_real_numbers():
    text = methods_text(whole())
    for words in ("9 readers (3 junior, 3 intermediate, 3 senior)", "24 cases", "72 regions of 12 patients",
                  "200 bootstrap", "seed 1", "margin of 0.05", "v1 and v2", "216 readings of repeats"):
        assert words in text, words


def test_the_checklist_never_fills_in_what_the_record_does_not_hold():
    items = checklist(whole())
    assert {each.guideline for each in items} == {"CLAIM 2024", "STARD-AI", "DECIDE-AI"}
    answered = [each for each in items if each.answer != BY_AUTHORS]
    assert answered and all(each.answer for each in answered)
    assert {each.item for each in items if each.guideline != "DECIDE-AI"} == {""}     # numbers that were not checked
    assert any("ethics" in each.topic for each in items if each.answer == BY_AUTHORS)
