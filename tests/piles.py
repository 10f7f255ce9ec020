"""Piles of small CT series as a hospital would give them, for tests of the import."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tests import scans
from tests.scans import phantom_hu

SLICES, STEP_MM = 7, 10.0                        # 63 mm from foot to head: one level with its neighbours


def write_patient(folder: Path, number: int, *, series: int = 1, study: int = 1, **elements) -> list[Path]:
    """A series of patient n, whose pixels are like those of no other series; further DICOM elements by keyword."""
    uid = f"1.2.826.0.1.3680043.8.498.{number}.{study}"
    known = {
        "PatientID": f"MRN-{number}", "PatientName": f"Family{number}^Given",
        "PatientBirthDate": f"19{40 + number:02d}0213", "PatientSex": "FM"[number % 2],
        "StudyDate": "20190317", "StudyInstanceUID": f"{uid}.1",
        "series_uid": f"{uid}.2.{series}", "step_mm": STEP_MM, "slices": SLICES, "thickness": 3.0,
    }  # fmt: skip

    def hu(points: np.ndarray) -> np.ndarray:
        return phantom_hu(points) + 7 * number + series

    return scans.write_series(folder, hu=hu, **(known | elements))


def write_pile(folder: Path, *, patients: int) -> Path:
    """A folder of patients."""
    for number in range(1, patients + 1):
        write_patient(folder / f"patient {number}", number)
    return folder


def pack(folder: Path, file: Path) -> Path:
    """A ZIP of the files below a folder."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return file
