import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lss_core.__main__ import DONE, REFUSED, main
from lss_core.grading.checkpoint import read_card
from lss_core.grading.pipeline import MODELS
from lss_core.many.found import content_digest, find_scans
from lss_core.many.grading import ManyGrader
from lss_core.many.local import grade_many
from lss_core.many.results import Model, begin, read_lines, write_summary
from lss_core.simulation.series import write_simulated
from lss_core.vocabulary import Refusal
from tests import scans

ROOT = Path(__file__).resolve().parent.parent
V1 = Model("v1", read_card(MODELS, "v1").weights_sha256)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scan that is graded, one that shows no spine, two of one content, and one that is no scan."""
    folder = tmp_path_factory.mktemp("many")
    write_simulated(folder, patients=1, seed=1_000_007)
    for name, series in (("no-spine", "1.2.3"), ("=twice", "1.2.4")):
        (folder / name).mkdir()
        scans.write_series(folder / name, slices=8, shape=(64, 64), series_uid=series)
    shutil.copytree(folder / "=twice", folder / "twice again")
    (folder / "notes").mkdir()
    (folder / "notes" / "text.dcm").write_text("not a scan")
    return folder


def graded_scan(folder: Path) -> str:
    return next(path.name for path in folder.iterdir() if path.name.startswith("SIM-"))


def results(out: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (out / "results").glob("*.json")}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_subfolder_archive_and_nifti_file_is_a_scan(tmp_path):
    (tmp_path / "b").mkdir()
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "b")
    (tmp_path / "c.nii.gz").write_bytes(b"")
    (tmp_path / "reference.csv").write_text("patient")
    found = find_scans(tmp_path)
    assert found.scans == ("a.zip", "b", "c.nii.gz") and found.left_out == ("reference.csv",)


def test_a_folder_of_files_is_one_scan_and_an_empty_one_is_refused(tmp_path):
    with pytest.raises(Refusal, match="is empty"):
        find_scans(tmp_path)
    with pytest.raises(Refusal, match="no folder"):
        find_scans(tmp_path / "nowhere")
    (tmp_path / "1.dcm").write_bytes(b"x")
    assert find_scans(tmp_path).scans == (".",)


def test_a_scan_is_named_by_its_content_alone(folder, tmp_path):
    assert content_digest(folder / "=twice") == content_digest(folder / "twice again")
    shutil.copytree(folder / "=twice", tmp_path / "changed")
    first = sorted((tmp_path / "changed").iterdir())[0]
    first.rename(tmp_path / "changed" / "zz.dcm")
    assert content_digest(tmp_path / "changed") == content_digest(folder / "=twice")
    (tmp_path / "changed" / "zz.dcm").write_bytes(b"other")
    assert content_digest(tmp_path / "changed") != content_digest(folder / "=twice")


def test_workers_and_parent_killed_and_started_again_lose_and_double_nothing(folder, tmp_path, monkeypatch, capsys):
    """The real scan's worker is killed, then the parent; a third start is left alone."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lss_core", "grade", "--many", str(folder), "--workers", "2", "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        parent.stdout.readline()                                # what is left out
        first = parent.stdout.readline()                        # one scan is done, others are under way
        os.kill(parent.pid, signal.SIGKILL)
    assert "refused" in first or "graded" in first
    before = {path: path.stat().st_mtime_ns for path in (out / "results").glob("*.json")}
    assert 1 <= len(before) < 4 and not (out / "summary.csv").exists()

    killed: list[int] = []

    def kill_once(scan: str, pid: int) -> None:
        if not killed:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    wait_for_orphans(out)
    done = grade_many(find_scans(folder), out, MODELS, V1, workers=2, begun=kill_once)
    assert len(killed) == 1 and len(list(read_lines(out / "crashes.jsonl"))) == 1
    assert [each.scan for each in done] == list(find_scans(folder).scans)
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())
    found = results(out)
    assert len(found) == 4 and {each.sha256 for each in done} == set(found)      # five scans, of which two are one
    statuses = {each.scan: each.status for each in done}
    assert statuses == {name: "graded" if name.startswith("SIM-") else "refused" for name in statuses}

    times = {path: path.stat().st_mtime_ns for path in (out / "results").glob("*.json")}
    assert main(["grade", "--many", str(folder), "--workers", "1", "--out", str(out)]) == DONE
    assert times == {path: path.stat().st_mtime_ns for path in (out / "results").glob("*.json")}
    assert "1 graded, 4 refused" in capsys.readouterr().out
    summary = rows(out)
    assert {row["scan"] for row in summary} == {"'=twice", "twice again", "no-spine", "notes", graded_scan(folder)}
    graded = [row for row in summary if row["scan"] == graded_scan(folder)]
    assert len(graded) == 15 and sum(float(graded[0][f"p{grade}"]) for grade in range(4)) == pytest.approx(1, abs=1e-4)
    assert all(row["reason"] for row in summary if row["status"] == "refused")


def wait_for_orphans(out: Path) -> None:
    """Workers of a killed parent finish the scan they are at."""
    def alive() -> bool:
        return any(str(out).encode() in path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")
                   if path.exists())

    for _ in range(600):
        if not alive():
            return
        time.sleep(0.1)
    pytest.fail("workers outlived their parent")


def test_a_scan_that_ends_its_worker_twice_is_set_aside(folder, tmp_path):
    def kill(scan: str, pid: int) -> None:
        if scan == "no-spine":
            os.kill(pid, signal.SIGKILL)

    only = tmp_path / "scans"
    for name in ("no-spine", "notes"):
        shutil.copytree(folder / name, only / name)
    done = grade_many(find_scans(only), tmp_path / "out", MODELS, V1, workers=1, begun=kill)
    assert [(each.scan, each.status) for each in done] == [("no-spine", "set aside"), ("notes", "refused")]
    report = results(tmp_path / "out")[done[0].sha256]
    assert "2 times (exit status -9)" in report["reason"] and report["levels"] == []
    write_summary(tmp_path / "out", done)
    assert [row["status"] for row in rows(tmp_path / "out")] == ["set aside", "refused"]


def test_results_of_other_weights_are_not_mixed(folder, tmp_path):
    begin(tmp_path / "out", V1)
    with pytest.raises(Refusal, match="other weights"):
        begin(tmp_path / "out", Model("v1", "0" * 64))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(Refusal, match="is not empty"):
        begin(tmp_path / "full", V1)
    begin(tmp_path / "new", Model("v1", "0" * 64))
    with pytest.raises(Refusal, match="other weights"):
        ManyGrader(folder, tmp_path / "new", MODELS, Model("v1", "0" * 64)).grade("no-spine")


def test_networks_that_cannot_be_loaded_are_no_fault_of_the_scans(folder, tmp_path):
    with pytest.raises(Refusal, match="no model named"):
        grade_many(find_scans(folder), tmp_path / "out", tmp_path, Model("v1", "0" * 64), workers=2)
    assert results(tmp_path / "out") == {} and list(read_lines(tmp_path / "out" / "crashes.jsonl")) == []


def test_two_runs_do_not_grade_into_one_folder(folder, tmp_path):
    out = tmp_path / "out"
    begin(out, V1)
    holder = "from pathlib import Path\nfrom lss_core.held_lock import holding\nimport sys\n" \
             "with holding(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder, str(out / "lock")], cwd=ROOT, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert main(["grade", "--many", str(folder), "--out", str(out)]) == REFUSED
        other.communicate()
