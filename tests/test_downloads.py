"""What is saved of a case holds what the page says, and no number where nothing was graded."""

import csv
import io

from lss_core.vocabulary import CANAL_AP, RECESS_HEIGHT, SAC_AREA, Region
from tests.cases import DOUBT, REASON, case
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


def test_every_version_that_graded_has_its_rows():
    saved = rows(both=True)
    assert len(saved) == 6
    assert saved["v1", Region.CENTRAL_CANAL]["grade"] == "1"
    assert saved["v1", Region.CENTRAL_CANAL]["set_coverage"] == "", "v1 has no sets"
    assert {row["weights_sha256"][0] for (version, _), row in saved.items() if version == "v1"} == {"1"}
