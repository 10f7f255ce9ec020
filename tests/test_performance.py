"""Figures of outcomes: known answers, laws, and what a missed region does to them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from lss_core.statistics.accuracy import macro_f1
from lss_core.statistics.agreement import weighted_kappa
from lss_core.statistics.calibration import brier, expected_calibration_error
from lss_core.training.ceiling import ceiling, grade_masses
from lss_core.training.evaluation import evaluation_as_json, evaluation_from_json
from lss_core.training.evaluation_text import comparisons_as_text, evaluation_as_text
from lss_core.training.failures import worst
from lss_core.training.outcomes import Missed, Outcome, RunHeader, ScanOutcomes
from lss_core.training.performance import compare_versions, evaluation_of, performance_of
from lss_core.training.rates import rates_of
from lss_core.vocabulary import (
    CANAL_AP,
    RECESS_HEIGHT,
    SAC_AREA,
    Box,
    DiscLevel,
    Grade,
    Refusal,
    Region,
    RegionGrade,
)

CANAL, LEFT = Region.CENTRAL_CANAL, Region.LEFT_LATERAL_RECESS
HEADER = RunHeader("5e7", "v1", "ab" * 32, "m0de1")
STATEMENT = "On outcomes made up for a test."


def outcome(
    grade, predicted, *, patient="A", region=CANAL, level=DiscLevel.L4_5, sure=0.7, known=None, measured=None,
    pixel_mm=0.5, sets=(), doubts=(), subgroups=None, missed=Missed.NOT_FOUND,
):
    """One region; `predicted` None is a missed one, `sure` the probability of the predicted grade."""
    graded = None
    if predicted is not None:
        probabilities = [(1 - sure) / 3] * 4
        probabilities[predicted] = sure
        graded = RegionGrade(
            Box(0, 0, 9, 9), 0.9, tuple(probabilities), measured or {}, tuple(map(Grade, sets)), tuple(doubts)
        )
    return Outcome(
        patient=patient, level=level, region=region, grade=Grade(grade), graded=graded,
        missed=None if graded else missed, reason="" if graded else "It was not seen.",
        slice_index=3 if graded else None, measures=known or {}, pixel_mm=pixel_mm,
        subgroups=subgroups or {},
    )


def random_outcomes(patients=60, *, seed=0, missed=0.05, region=CANAL):
    """Grades that are right in about 70 % and off by one otherwise."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(patients):
        for level in DiscLevel:
            grade = int(rng.integers(4))
            predicted = int(np.clip(grade + rng.choice([-1, 0, 0, 0, 0, 1]), 0, 3))
            out.append(outcome(
                grade, None if rng.random() < missed else predicted, patient=f"P{number:02d}", region=region,
                level=level, sure=float(rng.uniform(0.3, 0.99)),
            ))
    return out


def part_of(outcomes, **options):
    part = performance_of(outcomes, **options)
    assert part is not None
    return part


def graded_matrix(outcomes):
    matrix = np.zeros((4, 4))
    for each in outcomes:
        if each.predicted is not None:
            matrix[each.grade, each.predicted] += 1
    return matrix


def test_figures_of_known_answers():
    part = part_of([outcome(0, 0), outcome(1, 1, patient="B"), outcome(2, 0), outcome(3, None, patient="B")])
    assert part.regions == 4 and part.patients == 2
    assert part.missed == 1 and part.missed_by_grade == (0, 0, 0, 1) and part.missed_reasons == {"not found": 1}
    assert part.missed_share.value == 0.25 and part.accuracy.value == 0.5
    assert part.off_by_one.value == 0 and part.off_by_two.value == pytest.approx(1 / 3)
    assert part.prevalence == (1, 1, 1, 1)
    assert part.confusion == ((1, 0, 0, 0), (0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))
    assert part.ceiling is None and part.sets is None and not part.measures
    missed = part.missed_regions[0]
    assert (missed.patient, missed.level, missed.region, missed.grade, missed.why) == (
        "B", "L4/5", "central_canal", 3, "not found")


def test_a_missed_region_is_right_nowhere():
    outcomes = [outcome(g, g, patient=p) for g in range(4) for p in "ABCDE"]
    all_right = rates_of(outcomes)
    assert all_right.accuracy.value == all_right.balanced_accuracy.value == all_right.macro_f1.value == 1
    # One of the five regions of each grade is missed.
    some = rates_of([replace(o, graded=None, missed=Missed.REFUSED) if o.patient == "A" else o for o in outcomes])
    assert some.accuracy.value == some.balanced_accuracy.value == pytest.approx(0.8)
    assert some.macro_f1.value == pytest.approx(2 * 4 / (2 * 4 + 1))
    for grade in some.grades:
        assert (grade.sensitivity.value, grade.specificity.value) == pytest.approx((0.8, 0.8))
    for cut in some.cuts:
        assert (cut.sensitivity.value, cut.specificity.value) == pytest.approx((0.8, 0.8))
    assert some.quadratic_kappa.value == 1 and some.off_by_one.value == 0       # of the regions found


def test_sensitivities_by_hand():
    # Grade >= 2: references 2, 2, 3 positive, of which one is called 1; 0, 1, 1 negative, of which one is called 2.
    rates = rates_of([outcome(r, p) for r, p in ((2, 2), (2, 1), (3, 2), (0, 0), (1, 2), (1, 1))])
    cut = rates.cuts[1]
    assert cut.cut == 2 and cut.positives == 3
    assert (cut.sensitivity.value, cut.specificity.value) == pytest.approx((2 / 3, 2 / 3))
    grade = rates.grades[2]
    assert (grade.sensitivity.value, grade.specificity.value) == pytest.approx((1 / 2, 2 / 4))


def test_figures_of_the_regions_found_are_those_of_the_statistics():
    outcomes = random_outcomes()
    part, matrix = part_of(outcomes), graded_matrix(outcomes)
    assert part.quadratic_kappa.value == pytest.approx(weighted_kappa(matrix))
    assert part.unweighted_kappa.value == pytest.approx(weighted_kappa(matrix, power=0))
    assert part.off_by_one.value == pytest.approx(1 - np.trace(matrix) / matrix.sum())      # none is off by two
    found = [o for o in outcomes if o.graded is not None]
    probabilities = np.array([o.graded.probabilities for o in found])
    truth = np.array([int(o.grade) for o in found])
    assert part.calibration.expected_error.value == pytest.approx(expected_calibration_error(probabilities, truth))
    assert part.calibration.brier.value == pytest.approx(brier(probabilities, truth))
    assert sum(each.n for each in part.calibration.bins) == len(found)
    assert rates_of(found).macro_f1.value == pytest.approx(macro_f1(graded_matrix(found)))


def test_figures_do_not_depend_on_the_order_of_outcomes():
    outcomes = random_outcomes()
    shuffled = [outcomes[k] for k in np.random.default_rng(1).permutation(len(outcomes))]
    one, other = part_of(outcomes), part_of(shuffled)
    assert one.accuracy == other.accuracy and one.quadratic_kappa == other.quadratic_kappa
    assert one.calibration.expected_error.high == pytest.approx(other.calibration.expected_error.high)
    assert one.doubts == other.doubts and one.missed_reasons == other.missed_reasons


def test_copies_of_a_patients_regions_narrow_no_interval():
    outcomes = random_outcomes(missed=0.0)
    copies = [o for o in outcomes for _ in range(7)]
    one, other = rates_of(outcomes), rates_of(copies)
    assert (other.accuracy.low, other.accuracy.high) == pytest.approx((one.accuracy.low, one.accuracy.high))
    assert other.quadratic_kappa.low == pytest.approx(one.quadratic_kappa.low)
    assert other.accuracy.n == one.accuracy.n == 60


def test_a_share_of_nothing_is_bounded_by_the_number_of_patients():
    # Wilson's upper limit of 0 of 10 is z^2 / (n + z^2), whatever the regions of each patient.
    rates = rates_of([outcome(g, g, patient=f"P{p}") for p in range(10) for g in range(4)])
    z = 1.959964
    assert rates.missed_share.low == 0 and rates.missed_share.high == pytest.approx(z**2 / (10 + z**2), abs=1e-6)
    assert rates.off_by_two.n == 10 and "each patient one trial" in rates.off_by_two.method
    assert rates.accuracy.high == 1 and rates.accuracy.low == pytest.approx(1 - z**2 / (10 + z**2), abs=1e-6)
    assert math.isnan(rates.quadratic_kappa.low) and "every resample" in rates.quadratic_kappa.undefined


def test_where_everything_is_missed_nothing_is_made_up():
    part = part_of([outcome(g, None, patient=p) for g in range(4) for p in "AB"], stated_coverage=0.9)
    assert part.accuracy.value == 0 and part.missed == 8
    for each in (part.quadratic_kappa, part.off_by_two, part.calibration.brier, part.cuts[0].auc, part.doubts.share):
        assert math.isnan(each.value) and each.undefined
    assert part.sets is None and not part.measures


def test_coverage_and_size_of_sets_by_hand():
    outcomes = [
        outcome(0, 0, patient="A", sets=(0,)), outcome(1, 0, patient="A", sets=(0, 1)),
        outcome(2, 1, patient="B", sets=(0, 1)), outcome(3, None, patient="B"),
    ]
    sets = part_of(outcomes, stated_coverage=0.9).sets
    assert sets is not None and sets.stated == 0.9
    assert sets.coverage.value == pytest.approx(2 / 3) and sets.mean_size.value == pytest.approx(5 / 3)


def test_measurement_error_by_hand():
    # Errors -1, 1 and 3 mm2: bias 1, standard deviation 2 (n - 1), limits 1 -+ 3.92.
    outcomes = [
        outcome(0, 0, patient=p, known={SAC_AREA: 140.0}, measured={SAC_AREA: 140.0 + e, CANAL_AP: 15.0})
        for p, e in (("A", -1.0), ("B", 1.0), ("C", 3.0))
    ]
    errors = part_of(outcomes).measures
    assert list(errors) == [SAC_AREA]                    # the diameter is not known
    error = errors[SAC_AREA]
    assert error.regions == 3 and error.bias.value == pytest.approx(1)
    assert error.lower_limit.value == pytest.approx(1 - 3.92) and error.upper_limit.value == pytest.approx(1 + 3.92)
    assert error.median_absolute.value == 1 and error.p90_absolute.value == 3
    assert error.points == ((140.0, 139.0), (140.0, 141.0), (140.0, 143.0))


def test_quantiles_of_many_errors_are_those_of_numpy():
    rng = np.random.default_rng(3)
    errors = rng.normal(0, 2, 3000)
    outcomes = [
        outcome(0, 0, patient=f"P{k % 100:03d}", known={SAC_AREA: 150.0}, measured={SAC_AREA: 150.0 + e})
        for k, e in enumerate(errors)
    ]
    error = part_of(outcomes).measures[SAC_AREA]
    assert error.p90_absolute.value == pytest.approx(float(np.quantile(np.abs(errors), 0.9)), abs=0.01)
    assert error.p90_absolute.low < error.p90_absolute.value < error.p90_absolute.high
    assert len(error.points) <= 200


def test_doubts_are_set_against_the_errors():
    outcomes = [
        *(outcome(1, 2, patient=p, doubts=("The views disagree.",)) for p in "ABC"),
        outcome(1, 1, patient="A", doubts=("The views disagree.",)),
        *(outcome(1, 1, patient=p) for p in "ABCA"), outcome(1, None, patient="D"),
    ]
    doubts = part_of(outcomes).doubts
    assert doubts.regions == 4 and doubts.share.value == pytest.approx(0.5)
    assert doubts.accuracy_with.value == pytest.approx(0.25) and doubts.accuracy_without.value == 1


def test_subgroups_hold_every_region_once_and_stand_in_order():
    bands = ("over 4 mm", "up to 1.25 mm", "2.5-4 mm", "1.25-2.5 mm")
    outcomes = [
        outcome(k % 4, k % 4, patient=f"P{k}", region=LEFT, level=list(DiscLevel)[k % 5],
                subgroups={} if k == 19 else {"slice thickness": bands[k % 4]})
        for k in range(20)
    ]
    part = part_of(outcomes)
    by_attribute: dict[str, list] = {}
    for group in part.subgroups:
        by_attribute.setdefault(group.attribute, []).append(group)
    assert list(by_attribute) == ["level", "side", "slice thickness"]
    assert all(sum(group.regions for group in groups) == 20 for groups in by_attribute.values())
    assert [group.value for group in by_attribute["slice thickness"]] == [
        "unknown", "up to 1.25 mm", "1.25-2.5 mm", "2.5-4 mm", "over 4 mm"]
    assert list(part.levels) == [level.value for level in DiscLevel]
    assert sum(rates.regions for rates in part.levels.values()) == 20


def test_identical_versions_do_not_differ():
    outcomes = random_outcomes() + random_outcomes(region=LEFT)
    for test in compare_versions({"v1": outcomes, "v2": outcomes}):
        assert test.difference.value == 0 and test.p_value == test.p_holm == 1
        assert test.only_first_right == test.only_second_right == 0


def test_versions_are_compared_on_the_regions_that_both_were_asked():
    first = [outcome(1, 1, patient=f"P{k}", level=DiscLevel.L4_5) for k in range(6)]
    second = [replace(o, graded=None, missed=Missed.NOT_FOUND) for o in first[:4]]
    second.append(outcome(1, 1, patient="elsewhere"))
    (test,) = compare_versions({"v1": first, "v2": second})
    assert test.kind == "central" and test.regions == 4
    assert (test.only_first_right, test.only_second_right) == (4, 0) and test.difference.value == 1
    assert test.p_unclustered == pytest.approx(2 * 0.5**4)         # exact McNemar, 4 of 4


def test_several_comparisons_are_corrected():
    versions = {f"v{k}": random_outcomes(seed=k) for k in range(1, 4)}
    versions = {v: [replace(o, grade=Grade(1)) for o in each] for v, each in versions.items()}
    tests = compare_versions(versions)
    assert [(t.first, t.second) for t in tests] == [("v1", "v2"), ("v1", "v3"), ("v2", "v3")]
    smallest = min(tests, key=lambda t: t.p_value)
    assert smallest.p_holm == pytest.approx(min(1, 3 * smallest.p_value))
    assert all(t.p_holm >= t.p_value for t in tests)


def scans_of(outcomes, *, refused="", coverage=0.9):
    by_patient: dict[str, list[Outcome]] = {}
    for each in outcomes:
        by_patient.setdefault(each.patient, []).append(each)
    return [ScanOutcomes(patient, refused, coverage, tuple(each)) for patient, each in by_patient.items()]


def evaluated(outcomes, **options):
    settings = {"statement": STATEMENT, "set_name": "simulated", "header": HEADER, "named": True} | options
    return evaluation_of(scans_of(outcomes), **settings)


def test_an_evaluation_survives_json():
    known = {SAC_AREA: 120.0, RECESS_HEIGHT: 3.0}
    outcomes = [
        outcome(g, p, patient=name, region=region, sets=(1, 2), known=known, measured=known, doubts=("Doubtful.",))
        for name in "ABC" for region in (CANAL, LEFT) for g, p in ((0, 0), (1, 2), (2, None))
    ]
    evaluation = evaluated(outcomes)
    evaluation = replace(evaluation, comparisons=compare_versions({"v1": outcomes, "v2": outcomes}))
    text = json.dumps(evaluation_as_json(evaluation), allow_nan=False)
    again = evaluation_from_json(json.loads(text))
    assert evaluation_as_json(again) == json.loads(text)
    assert again.recess is not None and again.recess.sets is not None and again.recess.sets.stated == 0.9
    assert math.isnan(again.comparisons[0].difference.low) and again.comparisons[0].difference.undefined


def test_what_is_no_evaluation_is_refused():
    with pytest.raises(ValueError, match="not an evaluation"):
        evaluation_from_json({"statement": "x"})


def test_a_reference_of_canals_alone_has_no_recesses():
    evaluation = evaluated([outcome(0, 0), outcome(1, 1, patient="B")])
    assert evaluation.recess is None and list(evaluation.parts()) == ["Central canal"]
    assert evaluation_as_json(evaluation)["recess"] is None


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(Refusal, match="nothing to evaluate"):
        evaluation_of([], statement="", set_name="real", header=HEADER, named=True)


def test_figures_of_patients_name_neither_them_nor_their_files():
    outcomes = [
        outcome(0, None, patient="DOE^JANE", missed=Missed.REFUSED), outcome(1, None, patient="DOE^JANE"),
        *(outcome(k % 4, 0, patient=f"Q{k}") for k in range(11)),
    ]
    outcomes = [replace(o, reason="doe_jane.dcm is corrupt") if o.missed is Missed.REFUSED else o for o in outcomes]
    scans = scans_of(outcomes)
    scans[0] = replace(scans[0], refused="doe_jane.dcm is corrupt")
    evaluation = evaluation_of(scans, statement=STATEMENT, set_name="real", header=HEADER, named=False)
    text = json.dumps(evaluation_as_json(evaluation))
    assert "doe" not in text.lower() and "Q3" not in text
    assert evaluation.refused[0].startswith("case 01: ") and evaluation.patients == 12
    named = evaluation_of(scans, statement=STATEMENT, set_name="simulated", header=HEADER, named=True)
    assert evaluation.central is not None and named.central is not None
    assert evaluation.central.accuracy == named.central.accuracy


def test_the_report_says_on_what_and_how_many():
    outcomes = random_outcomes(12) + random_outcomes(12, region=LEFT)
    text = evaluation_as_text(evaluated(outcomes))
    assert text.startswith(STATEMENT) and "Central canal: 60 regions of 12 patients" in text
    for words in ("quadratic kappa", "balanced accuracy", "Gwet AC2", "calibration error", "grade >= 2", "side: left"):
        assert words in text
    assert comparisons_as_text(()) == ""
    compared = comparisons_as_text(compare_versions({"v1": outcomes, "v2": outcomes}))
    assert "v1 minus v2, central canal, 60 regions" in compared and "after Holm" in compared


def test_the_worst_errors_come_first():
    near = outcome(1, 2, patient="A", sure=0.99)
    far_unsure, far_sure = outcome(0, 2, patient="B", sure=0.3), outcome(0, 2, patient="C", sure=0.9)
    right, missed = outcome(2, 2, patient="D"), outcome(3, None, patient="E")
    assert worst([near, right, far_unsure, missed, far_sure], 9) == [far_sure, far_unsure, near]
    assert worst([near, far_sure], 1) == [far_sure]


def test_the_ceiling_is_one_far_from_the_thresholds_and_half_on_one():
    far = ceiling([outcome(0, 0, known={SAC_AREA: 250.0}), outcome(3, 3, known={SAC_AREA: 30.0})])
    assert far is not None and far.accuracy == pytest.approx(1.0, abs=1e-6)
    on_bound = grade_masses(CANAL, 100.0, 0.5)
    assert on_bound[1] == pytest.approx(0.5, abs=1e-3) and on_bound.sum() == pytest.approx(1.0)
    assert ceiling([outcome(0, 0)]) is None and ceiling([outcome(0, 0, known={CANAL_AP: 15.0})]) is None


def test_the_ceiling_falls_with_the_pixel():
    outcomes = [outcome(g, g, region=LEFT, known={RECESS_HEIGHT: m})
                for g, m in ((0, 5.6), (1, 4.2), (2, 2.4), (3, 1.5))]
    scores = [ceiling([replace(o, pixel_mm=pixel) for o in outcomes]) for pixel in (0.3, 0.6, 1.0)]
    accuracies = [score.accuracy for score in scores if score is not None]
    assert accuracies == sorted(accuracies, reverse=True) and accuracies[0] > 0.95 > accuracies[-1]


def test_half_a_pixel_errs_as_documented():
    rng = np.random.default_rng(0)
    heights = 3.6 + 0.2 + rng.normal(0, 0.5 * 0.8, 200_000)
    assert grade_masses(LEFT, 3.8, 0.8)[2] == pytest.approx(float(((heights < 3.6) & (heights >= 2)).mean()), abs=5e-3)
