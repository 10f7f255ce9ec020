"""Folders of tiny graded scans, and a tiny network to train on them: the machinery of training without its cost."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lss_core.imaging.dicom import read_scan
from lss_core.vocabulary import DiscLevel, Region
from tests import scans
from tests.model_folders import add_version

COLUMNS = ("patient", "series_uid", "level", "region", "grade", "measure_name", "measure_value", "sop_instance_uid",
           "row0", "col0", "row1", "col1")  # fmt: skip
CENTRES = {Region.CENTRAL_CANAL: 24, Region.RIGHT_LATERAL_RECESS: 15, Region.LEFT_LATERAL_RECESS: 33}


def write_graded(folder: Path, patients: Sequence[str]) -> Path:
    """A folder of DICOM files a patient, of noise, with one graded level each."""
    folder.mkdir(parents=True)
    rows = [row for number, patient in enumerate(patients) for row in _graded(folder, patient, number)]
    with (folder / "reference.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([COLUMNS, *rows])
    return folder


def _graded(folder: Path, patient: str, number: int) -> list[list[object]]:
    noise = np.random.default_rng([number, *patient.encode()])
    (folder / patient).mkdir()
    scans.write_series(
        folder / patient, slices=5, shape=(48, 48), hu=lambda points: noise.normal(60, 40, points.shape[:2]),
        series_uid=f"1.2.826.0.1.3680043.8.498.{int.from_bytes(patient.encode()) % 10**9}",
    )
    volume = read_scan(folder / patient)
    return [
        [patient, volume.series_uid, DiscLevel.L4_5.value, region.value, (number + column) % 4, "", "",
         volume.sop_instance_uids[2], 18, column - 4, 30, column + 4]
        for region, column in CENTRES.items()
    ]


def write_configuration(path: Path, *, network: Mapping[str, object] | None = None, **training: object) -> Path:
    """A tiny classifier with dropout, whose random numbers a resumed run must draw as an unbroken one does."""
    network = network or {"backbone": "test_resnet", "hidden": 16, "dropout": 0.2}
    values = {"steps": 6, "batch": 2, "warmup": 2, "workers": 0, "validations": 1, "learning_rate": 1e-3} | training
    path.write_text(json.dumps({"training": values, "network": network}))
    return path


def add_base(models: Path) -> str:
    """A version to go on from, of the same tiny network; returns its name."""
    add_version(models, "base")
    return "base"
