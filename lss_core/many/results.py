"""The results of many scans: a file each, named by the scan's content, and a summary.

`DIR/run.json` says which model grades; `DIR/results/SHA256.json` is the report of one scan, as `grade --json` writes
it, whole or not there; `DIR/crashes.jsonl` keeps what ended a worker; `DIR/summary.csv` is made at the end. What is
killed and started again grades what has no result yet, and grades nothing twice.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lss_core.json_lines import append_line, read_lines, replace_json
from lss_core.vocabulary import Refusal

RUN, RESULTS, CRASHES, SUMMARY, LOCK = "run.json", "results", "crashes.jsonl", "summary.csv", "lock"
GRADED, REFUSED, SET_ASIDE = "graded", "refused", "set aside"
FORMULA = ("=", "+", "-", "@", "\t", "\r")      # how a cell begins that a spreadsheet would run
MOST_CRASHES = 2                                # of one scan; then it is set aside
COLUMNS = ("scan", "sha256", "status", "reason", "level", "region", "grade", "p0", "p1", "p2", "p3", "not_gradable")


@dataclass(frozen=True)
class Model:
    """The version that grades, and the weights that it had when the folder was begun."""

    version: str
    weights_sha256: str

    def as_json(self) -> dict[str, str]:
        return {"version": self.version, "weights_sha256": self.weights_sha256}


@dataclass(frozen=True)
class Done:
    """What became of one scan."""

    scan: str                                   # its name in the folder
    sha256: str
    status: str                                 # GRADED, REFUSED or SET_ASIDE


def begin(out: Path, model: Model) -> None:
    """Make a folder of results, or go on with one.

    Raises:
        Refusal: it holds results of another model, or something else.
    """
    path = out / RUN
    if path.is_file():
        begun = json.loads(path.read_text("utf-8"))
        if begun != {"model": model.as_json()}:
            raise Refusal(f"{out} holds results of model {begun['model']['version']} with other weights or another "
                          f"name than {model.version} has now; choose another folder.")
    elif out.exists() and any(out.iterdir()):
        raise Refusal(f"{out} is not empty and holds no results of `grade --many`; choose another folder.")
    else:
        (out / RESULTS).mkdir(parents=True, exist_ok=True)
        replace_json(path, {"model": model.as_json()})


def result_path(out: Path, sha256: str) -> Path:
    """Where the result of a scan lies, or will lie."""
    return out / RESULTS / f"{sha256}.json"


def status_of(out: Path, sha256: str) -> str | None:
    """What became of a scan; None where it has no result yet."""
    path = result_path(out, sha256)
    return json.loads(path.read_text("utf-8"))["status"] if path.is_file() else None


def keep(out: Path, sha256: str, report: Mapping[str, Any]) -> None:
    """Write the result of a scan, whole."""
    replace_json(result_path(out, sha256), {**report, "scan_sha256": sha256})


def note_crash(out: Path, sha256: str, how: str) -> int:
    """Keep that a worker ended while it was at a scan; returns how often that happened."""
    append_line(out / CRASHES, {"sha256": sha256, "how": how})
    return sum(line["sha256"] == sha256 for line in read_lines(out / CRASHES))


def set_aside(out: Path, sha256: str, model: Model, how: str) -> None:
    """Give a scan that ends its workers a result that says so."""
    reason = f"This scan ended the process that graded it {MOST_CRASHES} times ({how}); it was set aside."
    keep(out, sha256, {"status": SET_ASIDE, "reason": reason, "series_uid": "", "levels": [],
                       "model": model.as_json(), "timings_s": {}})


def write_summary(out: Path, done: Sequence[Done]) -> Counter[str]:
    """Write `summary.csv`, one row a region or, where there is none, a scan; returns how many scans ended how.

    Two scans of one content have one result, and a row for each name.
    """
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for each in sorted(done, key=lambda one: one.scan):
        report = json.loads(result_path(out, each.sha256).read_text("utf-8"))
        writer.writerows([*map(_harmless, (each.scan, each.sha256, report["status"], report["reason"] or "")), *row]
                         for row in _regions(report))
    partial = out / f"{SUMMARY}.partial"
    partial.write_text(table.getvalue(), encoding="utf-8", newline="")
    partial.replace(out / SUMMARY)
    return Counter(each.status for each in done)


def _regions(report: Mapping[str, Any]) -> Iterator[list[Any]]:
    if not report["levels"]:
        yield [""] * 8
    for level in report["levels"]:
        for region, graded in level["regions"].items():
            grades = ["", *[""] * 4] if graded is None else [graded["grade"], *graded["probabilities"]]
            yield [level["level"] or "", region, *grades, level["not_gradable"].get(region, "")]


def _harmless(text: str) -> str:
    """Text that a spreadsheet takes for text, whatever a folder is named."""
    return f"'{text}" if text.startswith(FORMULA) else text
