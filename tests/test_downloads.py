"""What is saved of a case holds what the page says, and no number where nothing was graded."""

import csv
import io
import zipfile
from dataclasses import replace

import pytest
from pydicom import dcmread

from lss_core.export.read_report import reported_regions
from lss_core.vocabulary import CANAL_AP, RECESS_HEIGHT, RESEARCH_USE, SAC_AREA, Grade, Refusal, Region
from tests.cases import DOUBT, REASON, case
from tests.phantoms import marked_volume, marker_grader
from ui import downloads
from ui.downloads import CSV_COLUMNS, case_csv

FIRST_COLUMNS = (
    "case", "series_uid", "level", "slice_index", "sop_instance_uid", "region", "grade", "probability_0",
    "probability_1", "probability_2", "probability_3", "expected_grade", "measure_name", "measure_value",
    "detection_confidence", "row0", "col0", "row1", "col1", "regraded", "model_version", "weights_sha256",
)
IDENTITY = {"case", "series_uid", "level", "slice_index", "sop_instance_uid", "region", "regraded", "model_version",
            "weights_sha256", "not_gradable"}


def rows(*, both: bool = False) -> dict[tuple[str, str], dict[str, str]]:
    """By model version and region."""
    read = csv.DictReader(io.StringIO(case_csv(case(both=both))))
    return {(row["model_version"], row["region"]): row for row in read}


def test_columns_are_only_ever_added_at_the_end():
    assert CSV_COLUMNS[: len(FIRST_COLUMNS)] == FIRST_COLUMNS
    assert CSV_COLUMNS[len(FIRST_COLUMNS) :] == (
        SAC_AREA, CANAL_AP, RECESS_HEIGHT, "grade_set", "set_coverage", "doubts", "not_gradable"
    )


def test_a_doubtful_region_is_saved_with_its_set_its_measures_and_its_doubts():
    row = rows()["v2", Region.CENTRAL_CANAL]
    assert (row["grade"], row["grade_set"], row["set_coverage"], row["doubts"]) == ("2", "1|2", "0.9", DOUBT)
    assert (row["measure_name"], row["measure_value"]) == (SAC_AREA, "88.40")
    assert (row[SAC_AREA], row[CANAL_AP], row[RECESS_HEIGHT]) == ("88.40", "11.26", "")


def test_a_region_that_is_not_gradable_is_saved_with_its_reason_and_no_number():
    row = rows()["v2", Region.LEFT_LATERAL_RECESS]
    assert row["not_gradable"] == REASON
    assert {name for name, value in row.items() if value} == IDENTITY


@pytest.fixture
def saved_dicom(monkeypatch) -> dict[str, bytes]:
    """The ZIP of a case of DICOM slices, by name."""
    monkeypatch.setattr(downloads, "grader_of", lambda result: marker_grader())
    content = downloads.dicom_zip(replace(case(), edited=frozenset({0})), marked_volume(), method="layercam")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_dicom_files_hold_the_shown_grades_under_the_random_name(saved_dicom):
    assert set(saved_dicom) == {"report.dcm", "level-1.dcm", "READ ME.txt"}
    report = dcmread(io.BytesIO(saved_dicom["report.dcm"]))
    assert [each.grade for each in reported_regions(report)] == [Grade.MODERATE, None, Grade.NORMAL]
    for name in ("report.dcm", "level-1.dcm"):
        made = dcmread(io.BytesIO(saved_dicom[name]))
        assert (str(made.PatientID), str(made.PatientName)) == ("Case ABC123", "Case ABC123^")
        assert made.PatientIdentityRemoved == "YES" and made.StudyInstanceUID == report.StudyInstanceUID


def test_a_report_says_where_a_person_placed_the_boxes(saved_dicom):
    report = dcmread(io.BytesIO(saved_dicom["report.dcm"]))
    assert all("A person placed" in each.remarks[-1] for each in reported_regions(report))


def test_the_dicom_files_come_with_the_way_to_a_pacs(saved_dicom):
    text = saved_dicom["READ ME.txt"].decode()
    assert "never reads who the patient is" in text and "--sr FILE --capture DIR" in text and RESEARCH_USE in text


def test_slices_of_no_dicom_file_get_no_dicom_report(monkeypatch):
    monkeypatch.setattr(downloads, "grader_of", lambda result: marker_grader())
    with pytest.raises(Refusal, match="exist in no DICOM file"):
        downloads.dicom_zip(case(), replace(marked_volume(), is_dicom=False), method="layercam")


def test_every_version_that_graded_has_its_rows():
    saved = rows(both=True)
    assert len(saved) == 6
    assert saved["v1", Region.CENTRAL_CANAL]["grade"] == "1"
    assert saved["v1", Region.CENTRAL_CANAL]["set_coverage"] == "", "v1 has no sets"
    assert {row["weights_sha256"][0] for (version, _), row in saved.items() if version == "v1"} == {"1"}
