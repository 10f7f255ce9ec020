"""From scans to outcomes: what counts as found, what is kept, and what a killed run goes on from."""

import csv
import json
import re
import shutil
import sys
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from lss_core.grading.checkpoint import read_card, save_checkpoint
from lss_core.grading.pipeline import MODELS, NOT_AT_A_DISC, NOT_FOUND, Grader, GradingResult, located_by
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.training.evaluate import ModelFolder, compare, evaluate, grade_scan, outcomes_path
from lss_core.training.evaluation_run import Outputs, run_evaluation
from lss_core.training.outcomes import Missed, read_outcomes, scan_as_json, scan_from_json
from lss_core.training.scan_sets import (
    STATEMENTS,
    EvaluatedScan,
    KnownGrade,
    ReferenceSet,
    SetKind,
    SimulatedSet,
    band,
    noise_hu,
)
from lss_core.vocabulary import (
    CANAL_AP,
    RESEARCH_USE,
    SAC_AREA,
    Box,
    DiscLevel,
    Grade,
    LevelReport,
    Refusal,
    Region,
    RegionGrade,
    measures_of,
)
from tests import scans as dicom
from tests.phantoms import DISC_HU, LUMBOSACRAL_HU, TINY_CLASSIFIER, marked_volume, marker_grader, tiny_classifier

BOX = Box(60, 54, 80, 74)
CANAL = Region.CENTRAL_CANAL
FIVE = {12: LUMBOSACRAL_HU, 29: DISC_HU, 47: DISC_HU, 65: DISC_HU, 83: DISC_HU}
ACQUISITION = {"slice thickness": "1.25-2.5 mm", "kernel": "SIM-SOFT", "scanner": "simulated"}


@dataclass(frozen=True)
class MarkedSet:
    """Volumes with markers; the last patient shows no spine. `unreadable` ones must not be asked for."""

    count: int = 4
    identity: str = "markers"
    unreadable: tuple[str, ...] = ()
    kind: SetKind = SetKind.SIMULATED

    def statement(self) -> str:
        return f"{STATEMENTS[self.kind]} {self.count} volumes with markers."

    def sha256(self) -> str:
        return self.identity

    def patients(self) -> tuple[str, ...]:
        return tuple(f"M{number}" for number in range(self.count))

    def read(self, patient: str) -> EvaluatedScan:
        assert patient not in self.unreadable
        volume = marked_volume(discs=FIVE, offset=(int(patient[1:]), 0))
        if patient == f"M{self.count - 1}":
            volume = replace(volume, hu=np.full_like(volume.hu, 40))
        row = 70 + int(patient[1:])
        known = tuple(
            KnownGrade(level, region, Grade.MILD, {}, index, Box.around((row, 64 + 8 * side), (8, 8)))
            for level, index in zip(reversed(DiscLevel), FIVE, strict=True)
            for region, side in zip(Region, (0, 1, -1), strict=True)
        )
        return EvaluatedScan(patient, volume, known, ACQUISITION)


@dataclass(frozen=True)
class MarkerModels(ModelFolder):
    """Versions that all read markers; their cards lie in a folder."""

    def load(self) -> dict[str, Grader]:
        return {version: marker_grader() for version in self.versions}


@pytest.fixture
def models(tmp_path):
    """Cards of two versions with different weights beside the shared networks."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("detector.json", "levels.json"):
        shutil.copy(MODELS / name, folder)
    for seed, version in enumerate(("v1", "v2")):
        save_version(folder, version, seed=seed)
    return MarkerModels(("v1", "v2"), folder)


def save_version(folder, version, *, seed):
    curve = [{"step": step, "loss": 1.0 / step, "training_loss": 0.9 / step} for step in (1, 2, 3)]
    save_checkpoint(folder, tiny_classifier(seed), name=version, kind="classifier", configuration=TINY_CLASSIFIER,
                    training={"seed": seed}, data="trained on nothing", metrics={"curve": curve}, created="2026-01-01")


def graded(grade, box=BOX):
    probabilities = [0.1] * 4
    probabilities[grade] = 0.7
    return RegionGrade(box, 0.9, tuple(probabilities), {SAC_AREA: 90.5}, (Grade(grade),), ("A doubt.",))  # type: ignore[arg-type]


def scan_and_result(level=DiscLevel.L4_5, slice_index=29, box=BOX, grade=2):
    known = (KnownGrade(DiscLevel.L4_5, CANAL, Grade(2), {SAC_AREA: 90.0}, 29, BOX),)
    report = LevelReport(level, slice_index, "1", {CANAL: graded(grade, box)})
    return EvaluatedScan("A", marked_volume(), known, ACQUISITION), GradingResult((report,), "1", "v", "0", {}, (), "")


def compared(**changes):
    scan, result = scan_and_result(**changes)
    return compare(scan, result)[0]


def test_a_region_is_matched_by_level_and_place():
    assert compared().predicted == Grade.MODERATE and compared().right and compared().slice_index == 29
    assert compared(grade=0).predicted == Grade.NORMAL and not compared(grade=0).right
    assert compared(slice_index=31).predicted == Grade.MODERATE
    assert compared(level=None).predicted == Grade.MODERATE


@pytest.mark.parametrize(("changes", "why", "words"), [
    ({"level": DiscLevel.L3_4}, Missed.MISNAMED, "L3/4"),
    ({"slice_index": 60}, Missed.MISPLACED, "62 mm"),
    ({"level": None, "slice_index": 60}, Missed.NOT_FOUND, "disc"),
    ({"level": DiscLevel.L3_4, "slice_index": 60}, Missed.NOT_FOUND, "disc"),
    ({"box": Box(60, 74, 80, 94)}, Missed.MISPLACED, "30 mm"),
])
def test_a_region_is_missed_for_a_reason(changes, why, words):
    outcome = compared(**changes)
    assert outcome.predicted is None and not outcome.right
    assert outcome.missed == why and words in outcome.reason


@pytest.mark.parametrize(("not_gradable", "why"), [
    ({CANAL: NOT_FOUND.format("central canal")}, Missed.NOT_FOUND),
    ({CANAL: NOT_AT_A_DISC.format("central canal")}, Missed.NOT_GRADABLE),
    ({CANAL: "Metal hides it."}, Missed.NOT_GRADABLE), ({}, Missed.NOT_FOUND),
])
def test_a_region_that_was_declined_is_told_from_one_that_was_not_found(not_gradable, why):
    scan, result = scan_and_result()
    report = LevelReport(DiscLevel.L4_5, 29, "1", {CANAL: None}, not_gradable)
    outcome = compare(scan, replace(result, levels=(report,)))[0]
    assert outcome.missed == why and outcome.reason == not_gradable.get(CANAL, NOT_FOUND.format("central canal"))


def test_a_refused_scan_misses_all_its_regions():
    scan, _ = scan_and_result()
    outcome = compare(scan, None, refused="It shows a knee.")[0]
    assert outcome.missed == Missed.REFUSED and outcome.reason == "It shows a knee."


def test_outcomes_survive_json():
    scan, result = scan_and_result()
    for each in (result, None):
        outcomes = tuple(compare(scan, each, refused="A knee."))
        whole = grade_scan(replace(scan, volume=None, refused="A knee."), {"v1": marker_grader()})["v1"]
        whole = replace(whole, outcomes=outcomes)
        assert scan_from_json(json.loads(json.dumps(scan_as_json(whole), allow_nan=False))) == whole


def test_versions_share_one_search_for_the_regions():
    searches = []

    class Counting(Grader):
        def locate(self, volume, **options):
            searches.append(volume)
            return super().locate(volume, **options)

    marker = marker_grader()
    graders = {version: Counting(*marker.networks, marker.card) for version in ("v1", "v2", "v3")}
    out = grade_scan(MarkedSet().read("M0"), graders)
    assert list(out) == ["v1", "v2", "v3"] and len(searches) == 1
    assert out["v1"].outcomes == out["v2"].outcomes == out["v3"].outcomes


def test_versions_of_another_detector_search_for_themselves():
    marker = marker_grader()
    graders = [Grader(*marker.networks, marker.card, locator=name) for name in ("shared", "own", "shared")]
    found = [located for _, located in located_by(graders, marked_volume(discs={30: DISC_HU}))]
    assert found[0] is found[2] is not found[1]


def test_outcomes_are_the_same_whatever_the_number_of_workers(tmp_path, models, monkeypatch):
    # A page that was run in this process before leaves its script as __main__, which a new process would run.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    alone = evaluate(MarkedSet(3), models, folder=tmp_path / "1")
    together = evaluate(MarkedSet(3), models, folder=tmp_path / "2", workers=2)
    assert alone == together
    for version in models.versions:
        one, two = (outcomes_path(tmp_path / n, version).read_bytes() for n in ("1", "2"))
        assert one == two and len(one.splitlines()) == 4
    assert [bool(scan.refused) for scan in alone["v1"]] == [False, False, True]
    assert all(len(scan.outcomes) == 15 for scan in alone["v1"])
    assert {o.missed for o in alone["v1"][-1].outcomes} == {Missed.REFUSED}


def test_a_killed_run_goes_on_where_it_ended(tmp_path, models):
    folder, lines = tmp_path / "run", []
    whole = evaluate(MarkedSet(), models, folder=folder)
    contents = {version: outcomes_path(folder, version).read_text() for version in models.versions}
    # v1 was killed while it wrote its third scan, v2 after its second.
    first = contents["v1"].splitlines(keepends=True)
    outcomes_path(folder, "v1").write_text("".join(first[:3]) + first[3][:40])
    outcomes_path(folder, "v2").write_text("".join(contents["v2"].splitlines(keepends=True)[:3]))
    again = evaluate(MarkedSet(unreadable=("M0", "M1")), models, folder=folder, report=lines.append)
    assert again == whole and len(lines) == 3 and lines[0].startswith("2 of 4 scans are complete")
    assert {version: outcomes_path(folder, version).read_text() for version in models.versions} == contents


def test_a_version_that_is_complete_is_not_graded_again(tmp_path, models):
    evaluate(MarkedSet(), replace(models, versions=("v1",)), folder=tmp_path)
    lines: list[str] = []
    evaluate(MarkedSet(), models, folder=tmp_path, report=lines.append)
    assert len(lines) == 4 and all("v2: " in line and "v1" not in line for line in lines)


def test_a_larger_set_goes_on_from_a_smaller_one(tmp_path, models):
    small = evaluate(MarkedSet(5), models, folder=tmp_path / "5")["v1"]
    assert len(evaluate(MarkedSet(5, unreadable=("M0", "M1")), models, folder=tmp_path / "5")["v1"]) == len(small)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_outcomes_of_other_weights_are_refused(tmp_path, models, version):
    evaluate(MarkedSet(2), models, folder=tmp_path)
    save_version(models.folder, version, seed=9)
    with pytest.raises(Refusal, match=f"other weights .* {version}"):
        evaluate(MarkedSet(2), models, folder=tmp_path)


def test_outcomes_of_another_calibration_are_refused(tmp_path, models):
    evaluate(MarkedSet(2), models, folder=tmp_path)
    path = models.folder / "v1.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "calibration": {"coverage": 0.8}}))
    with pytest.raises(Refusal, match="another calibration"):
        evaluate(MarkedSet(2), models, folder=tmp_path)


def test_outcomes_of_other_scans_are_refused(tmp_path, models):
    evaluate(MarkedSet(2), models, folder=tmp_path)
    with pytest.raises(Refusal, match="other scans"):
        evaluate(MarkedSet(2, identity="other"), models, folder=tmp_path)


def test_a_damaged_file_of_outcomes_is_refused_with_its_line(tmp_path, models):
    evaluate(MarkedSet(2), models, folder=tmp_path)
    path = outcomes_path(tmp_path, "v2")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:50], lines[2]]) + "\n")
    with pytest.raises(Refusal, match=r"Line 2 of outcomes-v2\.jsonl"):
        read_outcomes(path)
    with pytest.raises(Refusal, match="Line 2"):
        evaluate(MarkedSet(2), models, folder=tmp_path)


def test_a_version_without_a_card_is_refused_before_anything_is_read(tmp_path, models):
    with pytest.raises(Refusal, match="no model named 'v9'"):
        evaluate(MarkedSet(2, unreadable=("M0",)), replace(models, versions=("v1", "v9")), folder=tmp_path)


def test_nothing_to_evaluate_is_refused(tmp_path, models):
    with pytest.raises(Refusal, match="nothing to evaluate"):
        evaluate(MarkedSet(0), models, folder=tmp_path)


def test_a_run_writes_figures_pictures_and_a_card_that_needs_nothing_else(tmp_path, models):
    out = tmp_path / "run"
    outputs = Outputs(folder=out, json=tmp_path / "figures.json", html=tmp_path / "card.html", record=True)
    text = run_evaluation(MarkedSet(), models, outputs)
    assert text.startswith(STATEMENTS[SetKind.SIMULATED]) and "v1 minus v2" in text
    evaluations = json.loads((tmp_path / "figures.json").read_text())["evaluations"]
    assert [each["model_version"] for each in evaluations] == ["v1", "v2"]
    assert evaluations[0]["central"]["regions"] == 20 and evaluations[0]["recess"]["regions"] == 40
    assert evaluations[0]["central"]["missed_reasons"]["scan refused"] == 5
    assert evaluations[0]["comparisons"][0]["p_value"] == 1             # both read the same markers
    for version in models.versions:
        recorded = read_card(models.folder, version).metrics
        assert recorded["evaluation"]["simulated"] == evaluations[models.versions.index(version)]
        assert recorded["curve"]

    failures = json.loads((out / "failures" / "failures.json").read_text())
    assert failures["statement"].startswith("These figures are on SIMULATED CT") and 0 < len(failures["failures"]) <= 12
    for failure in failures["failures"]:
        assert failure["reference"] != failure["predicted"] and failure["scan"] == ACQUISITION
        with Image.open(out / "failures" / failure["picture"]) as picture:
            assert picture.size[0] > 300
    apart = [abs(f["reference"] - f["predicted"]) >= 2 for f in failures["failures"] if f["model_version"] == "v1"]
    assert apart == sorted(apart, reverse=True)

    page = (tmp_path / "card.html").read_text()
    assert RESEARCH_USE in page and page.count("plotly.js v") == 1
    body = page[page.index("</head>") :]
    assert STATEMENTS[SetKind.SIMULATED] in body and "Training of v2" in body
    assert body.count("data:image/png;base64,") == len(failures["failures"])
    assert not re.search(r"""(src|href)=["'](?!data:)""", body)
    for name in ("confusion-1", "reliability-2", "subgroups-3", "curve-1"):
        assert f'id="{name}"' in body


def test_a_record_stands_beside_those_on_other_scans(models):
    run_evaluation(MarkedSet(2), models, Outputs(record=True))
    run_evaluation(MarkedSet(2, kind=SetKind.REAL), models, Outputs(record=True))
    recorded = read_card(models.folder, "v1").metrics["evaluation"]
    assert set(recorded) == {"simulated", "real"}
    assert recorded["real"]["statement"].startswith("These figures are on real CT")
    assert "M1" not in json.dumps(recorded["real"]) and "M1" in json.dumps(recorded["simulated"])


def test_figures_on_scans_of_no_stated_kind_are_not_recorded(models):
    with pytest.raises(Refusal, match="--scans"):
        run_evaluation(MarkedSet(2, kind=SetKind.UNSTATED), models, Outputs(record=True))


def test_training_seeds_are_not_evaluated_on():
    with pytest.raises(Refusal, match="not for evaluation"):
        SimulatedSet(1, seed=1)


def test_simulated_scans_carry_the_truth_of_all_regions():
    one = SimulatedSet(2, 1_000_003)
    assert one.patients() == ("SIM-1000003-0000", "SIM-1000003-0001")
    scan = one.read(one.patients()[0])
    assert {k.level for k in scan.known} == set(DiscLevel) and len(scan.known) == 15
    assert scan.volume is not None
    for known in scan.known:
        assert known.box is not None and set(known.measures) == set(measures_of(known.region))
        assert 0 < known.box.centre[0] < scan.volume.shape[1] and 0 < known.box.centre[1] < scan.volume.shape[2]
    assert set(scan.subgroups) == {"slice thickness", "noise", "pixel size", "kernel", "scanner"}


def test_a_simulated_set_is_known_by_its_seed_not_by_its_size():
    assert SimulatedSet(3, 1_000_000).sha256() == SimulatedSet(9, 1_000_000).sha256()
    assert SimulatedSet(3, 1_000_000).sha256() != SimulatedSet(3, 1_000_001).sha256()


def write_reference(folder, rows):
    with (folder / "reference.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["patient", "series_uid", "level", "region", "grade", "measure_name", "measure_value",
                         "sop_instance_uid", "row0", "col0", "row1", "col1", "canal_ap_mm"])
        writer.writerows(rows)


def row(patient="P1", level="L4/5", region="central_canal", uid="1.2.3"):
    return [patient, uid, level, region, 1, "", "", "1.2.3.4", "", "", "", "", ""]


def test_a_folder_of_scans_gives_its_reference_and_how_it_was_scanned(tmp_path):
    (tmp_path / "P1").mkdir()
    dicom.write_series(tmp_path / "P1", slices=8, shape=(64, 64))
    from lss_core.imaging.dicom import read_scan

    volume = read_scan(tmp_path / "P1")
    write_reference(tmp_path, [["P1", volume.series_uid, "L4/5", "central_canal", 2, SAC_AREA, "88.5",
                                volume.sop_instance_uids[3], 10, 10, 20, 20, "11.2"]])
    scan = ReferenceSet.open(tmp_path, SetKind.REAL).read("P1")
    assert scan.known[0].measures == {SAC_AREA: 88.5, CANAL_AP: 11.2} and scan.known[0].slice_index == 3
    assert set(scan.subgroups) == {"slice thickness", "noise", "pixel size", "kernel", "scanner"}


def test_a_scan_that_cannot_be_read_is_refused_not_skipped(tmp_path, models):
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "a.dcm").write_text("not a scan")
    write_reference(tmp_path, [row(), row(level="L5/S1")])
    scans = ReferenceSet.open(tmp_path, SetKind.REAL)
    scan = evaluate(scans, replace(models, versions=("v1",)), folder=tmp_path / "run")["v1"][0]
    assert scan.refused and [o.missed for o in scan.outcomes] == [Missed.REFUSED] * 2
    assert scan.outcomes[0].pixel_mm is None and scan.outcomes[0].reason == scan.refused


@pytest.mark.parametrize(("rows", "words"), [
    ([row("P2")], "no folder 'P2'"), ([row("../P1")], "no folder"), ([row(), row()], "2 times"),
])
def test_a_reference_that_does_not_fit_its_folder_is_refused(tmp_path, rows, words):
    (tmp_path / "P1").mkdir()
    write_reference(tmp_path, rows)
    with pytest.raises(Refusal, match=words):
        ReferenceSet.open(tmp_path)


def test_simulated_patients_pass_for_nothing_else(tmp_path):
    (tmp_path / "SIM-7-0000").mkdir()
    write_reference(tmp_path, [row("SIM-7-0000")])
    assert ReferenceSet.open(tmp_path).kind is SetKind.SIMULATED
    assert "SIMULATED" in ReferenceSet.open(tmp_path).statement()
    for kind in (SetKind.REAL, SetKind.IMPOSED):
        with pytest.raises(Refusal, match="simulated patients"):
            ReferenceSet.open(tmp_path, kind)


def test_scans_of_no_stated_kind_say_so(tmp_path):
    (tmp_path / "P1").mkdir()
    write_reference(tmp_path, [row()])
    assert "not stated" in ReferenceSet.open(tmp_path).statement()


def test_bands_hold_their_upper_bound():
    assert [band(v, (1.25, 2.5), "mm") for v in (0.6, 1.25, 1.3, 2.5, 3)] == [
        "up to 1.25 mm", "up to 1.25 mm", "1.25-2.5 mm", "1.25-2.5 mm", "over 2.5 mm"]


@pytest.mark.parametrize("noise", [8.0, 25.0])
def test_noise_is_measured_in_even_soft_tissue(noise):
    """Edges, fat and air are there too, and must not count."""
    hu = np.full((9, 256, 256), 50.0)
    hu[:, :, :40], hu[:, 40:80] = -1000, -100
    hu[:, 200:, 200:] = 900
    hu += np.random.default_rng(0).normal(0, noise, hu.shape)
    volume = Volume(
        hu=hu.round().astype(np.int16), positions_mm=np.arange(9.0), pixel_spacing_mm=(0.5, 0.5),
        slice_thickness_mm=1.0, sop_instance_uids=tuple(map(str, range(9))), series_uid="1",
        stored=StoredPlane((256, 256)),
    )
    assert noise_hu(volume) == pytest.approx(noise, rel=0.1)
    assert noise_hu(replace(volume, has_hounsfield=False)) is None
    assert noise_hu(replace(volume, hu=np.full_like(volume.hu, -1000))) is None
