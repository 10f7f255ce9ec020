"""Nothing that identifies the patient comes out of reading."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from lss_core.imaging.deidentify import (
    KEPT_WITH_PIXELS,
    known_kernel,
    known_manufacturer,
    new_pseudonym,
)
from lss_core.imaging.dicom import best_series, find_series, read_series
from lss_core.vocabulary import Refusal
from tests import scans

READ_AND_PRINT = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=0)
import warnings
warnings.simplefilter("default")
from lss_core.imaging.dicom import best_series, find_series, read_series
from lss_core.vocabulary import Refusal
try:
    index = find_series([Path(sys.argv[1])])
    print(index)
    print(read_series(best_series(index)))
except Refusal:
    logging.exception("refused")
"""


def write_planted(folder: Path) -> None:
    scans.write_series(folder, planted=True)
    scout = scans.ct_slice(np.zeros((32, 32)), planted=True, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    scans.save(scout, folder / "scout.dcm")
    dose_report = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67", "Modality": "SR"}
    report = scans.ct_slice(np.zeros((32, 32)), planted=True, **dose_report)
    scans.save(report, folder / "report.dcm")
    path = scans.save(scans.ct_slice(np.zeros((32, 32)), planted=True), folder / "cut.dcm")
    path.write_bytes(path.read_bytes()[:900])


def leaks(text: str) -> list[str]:
    return [secret for secret in scans.SECRETS if secret.lower() in text.lower()]


def test_the_planted_file_does_hold_the_secrets(tmp_path: Path) -> None:
    write_planted(tmp_path)
    assert set(leaks((tmp_path / "000.dcm").read_bytes().decode("latin-1"))) == set(scans.SECRETS)


def test_no_identifier_reaches_a_result_or_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                 recwarn: pytest.WarningsRecorder) -> None:  # fmt: skip
    write_planted(tmp_path)
    caplog.set_level(logging.DEBUG)
    index = find_series([tmp_path])
    info = best_series(index)
    volume = read_series(info)
    said = [repr(index), str(index), repr(info), info.description, repr(volume), *volume.notes, volume.series_uid]
    said += [*volume.sop_instance_uids, caplog.text, *(str(warning.message) for warning in recwarn)]
    assert len(index.left_out) == 3 and info.slices == 6
    assert leaks("\n".join(said)) == []
    assert info.kernel is None and info.manufacturer is None     # they held a name


@pytest.mark.parametrize("damage", [0, 40, 2100])
def test_no_identifier_is_printed_even_with_all_logging_on(damage: int, tmp_path: Path) -> None:
    write_planted(tmp_path)
    if damage:
        for path in tmp_path.iterdir():
            path.write_bytes(path.read_bytes()[:-damage])
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_PRINT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert leaks(done.stdout + done.stderr) == []
    assert ("refused" in done.stderr) == bool(damage)


def test_a_refusal_carries_no_cause_that_quotes_the_header(tmp_path: Path) -> None:
    ds = scans.ct_slice(np.zeros((32, 32)), planted=True)
    path = scans.save(ds, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"1.0\\0.0\\0.0", b"Zyxwvut\\Qui"))
    with pytest.raises(Refusal) as refusal:
        read_series(best_series(find_series([path])))
    chain, error = [], refusal.value
    while error is not None:
        chain.append(str(error))
        error = None if error.__suppress_context__ else error.__context__
    assert leaks("\n".join(chain)) == []


def test_only_the_listed_elements_are_read(tmp_path: Path) -> None:
    path = scans.save(scans.ct_slice(np.zeros((32, 32)), planted=True), tmp_path / "a.dcm")
    kept = dcmread(path, specific_tags=list(KEPT_WITH_PIXELS))
    assert {element.keyword for element in kept} <= {*KEPT_WITH_PIXELS, "SpecificCharacterSet"}
    assert not set(scans.PLANTED) & set(KEPT_WITH_PIXELS)


def test_words_in_free_fields_are_kept_only_when_known() -> None:
    assert known_manufacturer("GE MEDICAL SYSTEMS") == "GE" and known_manufacturer("Siemens Healthineers") == "Siemens"
    assert known_manufacturer("Doe, Jane") is None and known_manufacturer("") is None
    assert known_kernel("B30f") == "B30f" and known_kernel("BONEPLUS") == "BONEPLUS" and known_kernel("FC17") == "FC17"
    assert known_kernel("Jane Doe") is None and known_kernel("19470213") is None


def test_pseudonyms_are_random() -> None:
    drawn = {new_pseudonym() for _ in range(200)}
    assert len(drawn) == 200 and all(name.startswith("CT-") and len(name) == 11 for name in drawn)
