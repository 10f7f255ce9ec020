"""Importing cases on the study's page: from a folder, an upload and the simulation, in the background, or refused."""

import csv
import io
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lss_core.control_set import ImportReport
from lss_core.simulation.series import REFERENCE_COLUMNS, SimulatedSeries, simulate_series, write_dicom
from lss_core.study import cases
from lss_core.study.database import CaseKind
from lss_core.vocabulary import Refusal
from tests.studies import MadeUpStudy
from tests.test_study_page import installation, make, page, press, said, widget  # noqa: F401  (fixtures)
from ui.study.import_form import FOLDER, UPLOAD
from ui.study.import_job import ImportJob, job_of

PATIENT = "SIM-1500001-0000"


@pytest.fixture(scope="module")
def control_set(tmp_path_factory) -> Path:
    """One simulated patient at a fifth of the resolution, as `simulate` writes it."""
    folder = tmp_path_factory.mktemp("control-set")
    series = simulate_series(7, matrix=96)
    write_dicom(series, folder / PATIENT, PATIENT)
    with (folder / "reference.csv").open("w", newline="") as file:
        csv.writer(file).writerows([REFERENCE_COLUMNS, *rows_of(series)])
    return folder


def rows_of(series: SimulatedSeries) -> list[tuple[object, ...]]:
    """The reference's rows, without measures and boxes."""
    return [
        (PATIENT, series.volume.series_uid, level.level.value, region.value, int(truth.grade), "", "",
         series.volume.sop_instance_uids[level.slice_index], "", "", "", "")
        for level in series.truth for region, truth in level.regions.items()
    ]


@pytest.fixture
def empty(make) -> MadeUpStudy:  # noqa: F811
    return make(test=0, training=0, people_too=False)


def from_source(study: MadeUpStudy, source: str) -> AppTest:
    """The import form with a source chosen."""
    app = page(study, "Cases")
    widget(app.radio, "import-source").set_value(source).run()
    return app


def finished(study: MadeUpStudy) -> ImportJob:
    """The study's import, once its thread has ended."""
    for thread in threading.enumerate():
        if thread.name == "import":
            thread.join()
    return job_of(str(study.engine.url), study.study_id)


def archive_of(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path("set") / path.relative_to(folder))
    return content.getvalue()


def test_a_folder_is_imported_as_training_cases_and_again_adds_nothing(empty, control_set):
    for expected in ("5 cases imported.", "0 cases imported. 5 cases were there already."):
        app = from_source(empty, FOLDER)
        widget(app.radio, "import-kind").set_value(CaseKind.TRAINING).run()
        widget(app.text_input, "import-path").set_value(str(control_set)).run()
        press(app, "import-folder")
        assert finished(empty).report is not None
        assert expected in said(app.run())
    rows = cases.cases_of(empty.engine, empty.pi, empty.study_id)
    assert [row.kind for row in rows] == [CaseKind.TRAINING] * 5 and all(row.simulated for row in rows)


def test_an_upload_is_imported_and_removed(empty, control_set, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    app = from_source(empty, UPLOAD)
    app.file_uploader[0].upload("set.zip", archive_of(control_set), "application/zip").run()
    press(app, "import-upload")
    report = finished(empty).report
    assert report is not None and (report.added, report.refused) == (5, ())
    assert not list(tmp_path.glob("lss-control-set-*")), "the upload holds patients' names"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"no archive", "is named as a ZIP archive and is none"), (None, "There is no reference.csv in it")],
)
def test_an_upload_that_is_no_control_set_is_refused_and_removed(empty, monkeypatch, tmp_path, content, sentence):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("x")
    app = from_source(empty, UPLOAD)
    app.file_uploader[0].upload("set.zip", content or archive_of(other), "application/zip").run()
    press(app, "import-upload")
    assert sentence in app.error[0].value
    assert not list(tmp_path.glob("lss-control-set-*"))


@pytest.mark.parametrize(
    ("path", "sentence"), [("", "Name the folder"), ("/nowhere/at/all", "There is no reference.csv in it")]
)
def test_a_folder_that_is_no_control_set_is_refused(empty, path, sentence):
    app = from_source(empty, FOLDER)
    widget(app.text_input, "import-path").set_value(path).run()
    press(app, "import-folder")
    assert sentence in app.error[0].value


def test_a_row_of_the_reference_that_cannot_be_is_named(empty, tmp_path):
    folder = tmp_path / "bad"
    (folder / PATIENT).mkdir(parents=True)
    row = [PATIENT, "1.2", "L4/5", "central_canal", "7", "", "", "1.2.3", "", "", "", ""]
    (folder / "reference.csv").write_text("\n".join(",".join(each) for each in (REFERENCE_COLUMNS, row)))
    app = from_source(empty, FOLDER)
    widget(app.text_input, "import-path").set_value(str(folder)).run()
    press(app, "import-folder")
    assert "Line 2" in finished(empty).failed
    assert "Line 2" in app.run().error[0].value


def test_no_level_is_refused(empty):
    app = page(empty, "Cases")
    widget(app.multiselect, "import-levels").set_value([]).run()
    press(app, "import-simulated")
    assert "No level is chosen" in app.error[0].value


def test_a_second_import_into_a_study_waits_for_the_first():
    job, done = ImportJob(), threading.Event()

    def work(_) -> ImportReport:
        done.wait()
        return ImportReport(0, 0, ())

    job.start(work)
    with pytest.raises(Refusal, match="runs already"):
        job.start(work)
    done.set()


def test_an_import_that_breaks_says_so_and_lets_the_next_one_begin():
    job = ImportJob()

    def broken(_) -> ImportReport:
        raise ZeroDivisionError

    job.start(broken)
    for thread in threading.enumerate():
        if thread.name == "import":
            thread.join()
    assert "The import failed" in job.failed and not job.running
    job.start(lambda _: ImportReport(1, 0, ()))
