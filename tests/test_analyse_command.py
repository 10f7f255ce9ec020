"""`python -m lss_core analyse`: CSV files in, a summary and the report out, a sentence for every bad file."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from lss_core.__main__ import main
from lss_core.demo.readers import READERS
from lss_core.study.analysis_json import analysis_as_json
from lss_core.study.protocol import AnalysisPlan
from lss_core.study.readings import read_tables
from lss_core.study.report import analyse
from tests.simulated_readings import simulated_frames

QUICK = ["--bootstraps", "50"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    paths = (tmp_path / "readings.csv", tmp_path / "reference.csv", tmp_path / "model.csv")
    for frame, path in zip(simulated_frames(patients=6, readers=READERS[::4]), paths, strict=True):
        assert frame is not None
        frame.to_csv(path, index=False)
    return paths


def run(files: tuple[Path, Path, Path], *flags: str) -> int:
    return main(["analyse", str(files[0]), str(files[1]), "--model", str(files[2]), *QUICK, *flags])


def test_it_writes_everything_and_prints_a_summary(files, tmp_path, capsys):
    out = {name: tmp_path / "out" / f"a.{name}" for name in ("json", "html", "pdf")}
    assert run(files, *(part for name, path in out.items() for part in (f"--{name}", str(path))), "--simulated") == 0
    printed = capsys.readouterr().out
    assert "SIMULATED" in printed and "model v1" in printed and "after Holm" in printed
    assert len(printed.splitlines()) < 50
    assert json.loads(out["json"].read_text())["note"].startswith("SIMULATED")
    assert "SIMULATED" in out["html"].read_text() and out["pdf"].read_bytes().startswith(b"%PDF")


def test_the_json_is_the_analysis_that_the_library_makes(files, tmp_path):
    assert run(files, "--json", str(tmp_path / "a.json"), "--seed", "5", "--cut", "3", "--margin", "0") == 0
    plan = AnalysisPlan(bootstraps=50, seed=5, cut=3, non_inferiority_margin=None)
    assert (tmp_path / "a.json").read_text() == analysis_as_json(analyse(read_tables(*files), plan))


def test_a_study_without_a_model_is_analysed(files, capsys):
    assert main(["analyse", str(files[0]), str(files[1]), *QUICK]) == 0
    assert "Not estimable: against readers (central canal): No model's grades are given." in capsys.readouterr().out


def lack_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="grade")


def unknown_grade(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(grade=["7", *frame["grade"][1:]])


def twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[:1]])


@pytest.mark.parametrize(("file", "change", "words"), [
    (0, lack_column, "readings.csv lacks the column grade"), (0, unknown_grade, "Row 2 of readings.csv, column grade"),
    (0, twice, "read twice"), (1, twice, "two reference grades"), (1, unknown_grade, "Row 2 of reference.csv"),
    (1, lambda frame: frame.iloc[3:], "has no grade in reference.csv"), (2, twice, "graded twice"),
    (2, lambda frame: frame.assign(p0="0.9"), "add up to"), (0, lambda frame: frame.iloc[:0], "holds no rows"),
])
def test_a_bad_file_is_refused_with_its_row_and_column(files, file, change, words, capsys):
    change(pd.read_csv(files[file], dtype=str, keep_default_na=False)).to_csv(files[file], index=False)
    assert run(files) == 3
    assert words in capsys.readouterr().err


def test_another_encoding_is_refused(files, capsys):
    files[1].write_bytes(files[1].read_text().replace("P000", "Zoë").encode("latin-1"))
    assert run(files) == 3 and "is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "words"), [
    (["--cut", "4"], "cut 4"), (["--margin", "2"], "margin 2"), (["--bootstraps", "0"], "0 bootstraps"),
    (["--seed", "-1"], "seed -1"),
])
def test_a_plan_that_cannot_be_is_refused(files, flags, words, capsys):
    assert run(files, *flags) == 3 and words in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused(files, tmp_path, capsys):
    assert run(files, "--json", str(tmp_path)) == 3
    assert "cannot be written" in capsys.readouterr().err


def test_one_reader_and_one_case_are_analysed_with_a_reason_for_what_is_lacking(files, capsys):
    readings, reference = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in files[:2])
    readings[(readings["reader"] == "R01") & (readings["case"] == "1")].to_csv(files[0], index=False)
    reference[reference["case"] == "1"].to_csv(files[1], index=False)
    model = pd.read_csv(files[2], dtype=str, keep_default_na=False)
    model[model["case"] == "1"].to_csv(files[2], index=False)
    assert run(files) == 0
    printed = capsys.readouterr().out
    assert "1 reader, 1 case (3 regions) of 1 patient" in printed and "Not estimable" in printed
