import json
from dataclasses import replace

import numpy as np
import pytest

from lss_core.grading.pipeline import GradingResult
from lss_core.training.evaluate import (
    ON_SIMULATED,
    EvaluatedScan,
    KnownGrade,
    Outcome,
    ceiling,
    compare,
    evaluate,
    evaluation_as_json,
    evaluation_as_text,
    figures,
    grade_masses,
    simulated_scans,
)
from lss_core.vocabulary import Box, DiscLevel, Grade, LevelReport, Refusal, Region, RegionGrade
from tests.phantoms import DISC_HU, LUMBOSACRAL_HU, marked_volume, marker_grader

BOX = Box(60, 54, 80, 74)
FIVE = {12: LUMBOSACRAL_HU, 29: DISC_HU, 47: DISC_HU, 65: DISC_HU, 83: DISC_HU}


def outcome(grade, predicted, *, patient="A", region=Region.CENTRAL_CANAL, measure=None, pixel_mm=0.5):
    return Outcome(patient, DiscLevel.L4_5, region, Grade(grade), None if predicted is None else Grade(predicted),
                   measure, pixel_mm)


def graded(grade, box=BOX):
    probabilities = [0.1] * 4
    probabilities[grade] = 0.7
    return RegionGrade(box, 0.9, tuple(probabilities))  # type: ignore[arg-type]


def scan_and_result(level=DiscLevel.L4_5, slice_index=29, box=BOX, grade=2):
    known = (KnownGrade(DiscLevel.L4_5, Region.CENTRAL_CANAL, Grade(2), 90.0, 29, BOX),)
    report = LevelReport(level, slice_index, "1", {Region.CENTRAL_CANAL: graded(grade, box)})
    return EvaluatedScan("A", marked_volume(), known), GradingResult((report,), "1", "v", "0", {}, (), "")


def predicted(**changes):
    scan, result = scan_and_result(**changes)
    return compare(scan, result)[0].predicted


def test_a_region_is_matched_by_level_and_place():
    assert predicted() == Grade.MODERATE
    assert predicted(grade=0) == Grade.NORMAL
    assert predicted(slice_index=31) == Grade.MODERATE
    assert predicted(level=None) == Grade.MODERATE


@pytest.mark.parametrize("changes", [
    {"level": DiscLevel.L3_4}, {"slice_index": 60}, {"level": None, "slice_index": 60}, {"box": Box(60, 74, 80, 94)},
])
def test_misnamed_and_misplaced_regions_are_missed(changes):
    assert predicted(**changes) is None


def test_a_refused_scan_misses_all_its_regions():
    scan, _ = scan_and_result()
    assert compare(scan, None)[0].predicted is None


def test_figures_of_known_answers():
    part = figures([outcome(0, 0), outcome(1, 1, patient="B"), outcome(2, 0), outcome(3, None, patient="B")])
    assert part.regions == 4 and part.missed == 1 and part.missed_by_grade == (0, 0, 0, 1)
    assert part.accuracy.value == 0.5 and part.accuracy.low < 0.5 < part.accuracy.high
    assert part.off_by_two.value == pytest.approx(1 / 3)
    assert part.prevalence == (1, 1, 1, 1)
    assert part.confusion == ((1, 0, 0, 0), (0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))
    assert part.ceiling is None


def test_the_ceiling_is_one_far_from_the_thresholds_and_half_on_one():
    far = ceiling([outcome(0, 0, measure=250.0), outcome(3, 3, measure=30.0)])
    assert far is not None and far.accuracy == pytest.approx(1.0, abs=1e-6)
    on_bound = grade_masses(Region.CENTRAL_CANAL, 100.0, 0.5)
    assert on_bound[1] == pytest.approx(0.5, abs=1e-3) and on_bound.sum() == pytest.approx(1.0)


def test_the_ceiling_falls_with_the_pixel():
    outcomes = [outcome(g, g, region=Region.LEFT_LATERAL_RECESS, measure=m)
                for g, m in ((0, 5.6), (1, 4.2), (2, 2.4), (3, 1.5))]
    scores = [ceiling([replace(o, pixel_mm=pixel) for o in outcomes]) for pixel in (0.3, 0.6, 1.0)]
    accuracies = [score.accuracy for score in scores if score is not None]
    assert accuracies == sorted(accuracies, reverse=True) and accuracies[0] > 0.95 > accuracies[-1]


def test_half_a_pixel_errs_as_documented():
    rng = np.random.default_rng(0)
    heights = 3.6 + 0.2 + rng.normal(0, 0.5 * 0.8, 200_000)
    assert grade_masses(Region.LEFT_LATERAL_RECESS, 3.8, 0.8)[2] == pytest.approx(
        float(((heights < 3.6) & (heights >= 2)).mean()), abs=5e-3)


def test_evaluation_runs_from_scan_to_report():
    volume = marked_volume(discs=FIVE)
    known = tuple(
        KnownGrade(level, region, Grade.MILD, None, index, Box.around((70, 64 + 8 * side), (8, 8)))
        for level, index in zip(reversed(DiscLevel), FIVE, strict=True)
        for region, side in zip(Region, (0, 1, -1), strict=True)
    )
    empty = replace(volume, hu=np.full_like(volume.hu, 40))
    scans = [EvaluatedScan("A", volume, known), EvaluatedScan("B", empty, known[:3])]
    lines: list[str] = []
    evaluation = evaluate(marker_grader(), scans, statement=ON_SIMULATED, report=lines.append)
    assert evaluation.patients == 2 and len(lines) == 2 and len(evaluation.refused) == 1
    assert evaluation.central.regions == 6 and evaluation.central.missed == 1
    assert evaluation.recess.regions == 12 and evaluation.recess.missed == 2
    text = evaluation_as_text(evaluation)
    assert text.startswith("These figures are on SIMULATED CT") and "quadratic kappa" in text
    again = json.loads(json.dumps(evaluation_as_json(evaluation), allow_nan=False))
    assert again["central"]["missed"] == 1 and again["model_version"] == "tiny"


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(Refusal, match="nothing to evaluate"):
        evaluate(marker_grader(), [], statement="")


def test_training_seeds_are_not_evaluated_on():
    with pytest.raises(Refusal, match="not for evaluation"):
        next(simulated_scans(1, seed=1))


def test_simulated_scans_carry_the_truth_of_all_regions():
    scan = next(simulated_scans(1, seed=1_000_003))
    assert {k.level for k in scan.known} == set(DiscLevel) and len(scan.known) == 15
    for known in scan.known:
        assert known.box is not None and known.measure is not None
        assert 0 < known.box.centre[0] < scan.volume.shape[1] and 0 < known.box.centre[1] < scan.volume.shape[2]
