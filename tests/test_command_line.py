import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lss_core.__main__ import DONE, REFUSED, USAGE, main
from lss_core.grading.checkpoint import read_card
from lss_core.grading.pipeline import Grader
from tests import scans
from tests.phantoms import DISC_HU, LUMBOSACRAL_HU, PIXEL_MM, SPACING_MM, marked_volume, marker_grader

ROOT = Path(__file__).resolve().parent.parent
FIVE = {12: LUMBOSACRAL_HU, 29: DISC_HU, 47: DISC_HU, 65: DISC_HU, 83: DISC_HU}


@pytest.fixture(autouse=True)
def marker_model(monkeypatch):
    monkeypatch.setattr(Grader, "load", classmethod(lambda cls, *args, **kwargs: marker_grader()))


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """The marked volume as DICOM files."""
    marked = marked_volume(discs=FIVE)

    def hu(points_mm):
        x, y, z = np.rint(np.moveaxis(points_mm / (PIXEL_MM, PIXEL_MM, SPACING_MM), -1, 0)).astype(int)
        return marked.hu[z, y, x].astype(float)

    folder = tmp_path_factory.mktemp("scan")
    scans.write_series(folder, positions=[(0, 0, SPACING_MM * k) for k in range(100)], shape=(128, 128),
                       spacing=(PIXEL_MM, PIXEL_MM), hu=hu)
    return folder


def test_grade_writes_the_report_and_a_picture_per_region(scan, tmp_path, capsys):
    report_path, pictures = tmp_path / "out" / "report.json", tmp_path / "pictures"
    assert main(["grade", str(scan), "--json", str(report_path), "--explain", str(pictures)]) == DONE
    report = json.loads(report_path.read_text())
    assert report["status"] == "graded"
    assert [level["level"] for level in report["levels"]] == ["L1/2", "L2/3", "L3/4", "L4/5", "L5/S1"]
    assert report["model"] == {"version": "tiny", "weights_sha256": "0" * 64, "set_coverage": None}
    assert all(report["timings_s"][step] > 0 for step in ("read", "locate", "grade", "explain"))
    assert len(list(pictures.glob("*.png"))) == 15
    assert Image.open(pictures / "L4-5-left_lateral_recess.png").size[0] > 300
    printed = capsys.readouterr().out
    assert "Research use only" in printed and "L5/S1" in printed


def test_grade_reports_every_probability(scan, tmp_path):
    path = tmp_path / "report.json"
    main(["grade", str(scan), "--json", str(path)])
    for level in json.loads(path.read_text())["levels"]:
        for region in level["regions"].values():
            assert sum(region["probabilities"]) == pytest.approx(1, abs=1e-5)
            assert region["grade"] == int(np.argmax(region["probabilities"]))


def test_what_cannot_be_read_is_refused_with_one_sentence(tmp_path, capsys):
    (tmp_path / "notes.dcm").write_text("not a scan")
    path = tmp_path / "report.json"
    assert main(["grade", str(tmp_path / "notes.dcm"), "--json", str(path)]) == REFUSED
    report = json.loads(path.read_text())
    assert report["status"] == "refused" and report["levels"] == [] and report["reason"]
    assert report["reason"] in capsys.readouterr().err


def test_what_shows_no_spine_is_refused_with_its_series(tmp_path):
    folder = tmp_path / "phantom"
    folder.mkdir()
    scans.write_series(folder, slices=8, shape=(64, 64))
    path = tmp_path / "report.json"
    assert main(["grade", str(folder), "--json", str(path)]) == REFUSED
    report = json.loads(path.read_text())
    assert report["series_uid"] and report["timings_s"]["read"] > 0


def test_an_unknown_heat_map_method_is_refused(scan, tmp_path):
    assert main(["grade", str(scan), "--explain", str(tmp_path), "--method", "magic"]) == REFUSED


@pytest.mark.parametrize("arguments", [
    [], ["dance"], ["grade"], ["grade", "x", "--pixel-spacing-mm", "0", "1"], ["evaluate"],
    ["evaluate", "--simulated", "0"], ["evaluate", "--simulated", "2", "--data", "x"], ["train"], ["train", "poet"],
    ["train", "levels", "--steps", "many"], ["train", "levels", "--no-such-flag"], ["simulate", "x"],
])
def test_wrong_usage_exits_with_two(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == USAGE


def test_a_path_that_is_not_there_is_wrong_usage(tmp_path, capsys):
    assert main(["grade", str(tmp_path / "nothing")]) == USAGE
    assert "no file or folder" in capsys.readouterr().err


def test_train_writes_a_model_whose_card_holds_the_flags(tmp_path, monkeypatch):
    monkeypatch.setattr("lss_core.training.train.VALIDATION_SAMPLES", 1)
    arguments = ["train", "levels", "--out", str(tmp_path), "--name", "mine", "--seed", "4", "--steps", "1",
                 "--batch", "1", "--views", "1", "--workers", "0", "--no-bfloat16", "--width", "4"]
    assert main(arguments) == DONE
    card = read_card(tmp_path, "mine")
    assert card.configuration["width"] == 4 and card.training["seed"] == 4 and card.training["bfloat16"] is False


@pytest.mark.parametrize("network", ["detector", "levels", "classifier"])
def test_train_help_lists_the_fields_of_the_configurations(network, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", network, "--help"])
    listed = capsys.readouterr().out
    assert stop.value.code == 0
    for flag in ("--out", "--seed", "--steps", "--data", "--resume", "--learning-rate"):
        assert flag in listed


def test_train_refuses_a_seed_that_is_kept_for_evaluation(tmp_path):
    assert main(["train", "levels", "--out", str(tmp_path), "--seed", "1000000", "--steps", "1"]) == REFUSED


def test_evaluate_refuses_training_seeds_before_rendering():
    assert main(["evaluate", "--simulated", "1", "--seed", "5"]) == REFUSED


def test_evaluate_scores_a_folder_with_its_reference(scan, tmp_path, capsys):
    (tmp_path / "P1").symlink_to(scan)
    from lss_core.imaging.dicom import read_scan

    volume = read_scan(scan)
    with (tmp_path / "reference.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["patient", "series_uid", "level", "region", "grade", "measure_name", "measure_value",
                         "sop_instance_uid", "row0", "col0", "row1", "col1"])
        for grade, (level, index) in enumerate([("L5/S1", 12), ("L4/5", 29), ("L3/4", 47)]):
            writer.writerow(["P1", volume.series_uid, level, "central_canal", grade, "", "",
                             volume.sop_instance_uids[index], "", "", "", ""])
    path = tmp_path / "figures.json"
    assert main(["evaluate", "--data", str(tmp_path), "--json", str(path)]) == DONE
    assert json.loads(path.read_text())["evaluations"][0]["central"]["regions"] == 3
    printed = capsys.readouterr().out
    assert "Central canal: 3 regions" in printed and "SIMULATED" not in printed


def test_the_module_runs_as_a_command():
    done = subprocess.run([sys.executable, "-m", "lss_core", "--help"], cwd=ROOT, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == DONE and "Research use only" in done.stdout
