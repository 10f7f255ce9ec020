"""A graded scan as DICOM objects that a PACS can keep: valid, complete, and of the patient whose images were graded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from lss_core.__main__ import DONE, REFUSED, main
from lss_core.export.read_report import reported_regions
from lss_core.export.secondary_capture import captures
from lss_core.export.structured_report import graphic_data, structured_report
from lss_core.grading.explain import HeatMap
from lss_core.grading.pipeline import Grader, GradingResult
from lss_core.imaging.dicom import read_scan
from lss_core.imaging.origin import nameless_origin, read_origin
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import RESEARCH_USE, Box, DiscLevel, Grade, Refusal, Region
from tests import scans
from tests.cases import DOUBT, LEVEL, REASON, RESULT
from tests.phantoms import DISC_HU, LUMBOSACRAL_HU, PIXEL_MM, SPACING_MM, marked_volume, marker_grader

PATIENT = {
    "SpecificCharacterSet": "ISO_IR 192", "PatientName": "Žižková^Šárka=山田^花子", "PatientID": "MRN-7",
    "PatientSex": "F", "PatientBirthDate": "19510704", "AccessionNumber": "ACC-9",
    "StudyDate": "20240229", "StudyTime": "101500", "ReferringPhysicianName": "Øst^Ærø",
    "StudyID": "S1", "StudyInstanceUID": "1.2.3.4.5",
}  # fmt: skip
WHOSE = ("PatientName", "PatientID", "PatientSex", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyTime",
         "ReferringPhysicianName", "StudyID", "StudyInstanceUID")  # fmt: skip


def scan(folder: Path, **options: object) -> Volume:
    scans.write_series(folder, slices=9, shape=(64, 64), **(PATIENT | options))  # type: ignore[arg-type]
    return read_scan(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    scan(folder)
    return folder


@pytest.fixture(scope="module")
def volume(folder) -> Volume:
    return read_scan(folder)


def report_of(folder: Path, volume: Volume, result: GradingResult = RESULT) -> Dataset:
    return structured_report(result, volume, read_origin(folder, volume))


def pictures_of(folder: Path, volume: Volume) -> list:
    heat = HeatMap(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), Box(5, 15, 35, 50))
    return captures(RESULT, volume, read_origin(folder, volume), [{Region.CENTRAL_CANAL: heat}])


def saved(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def problems(path: Path) -> list[str]:
    """What dciodvfy, an independent validator, calls an error."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: apt-get install dicom3tools)")
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, timeout=60, check=False)
    assert "ComprehensiveSR" in done.stderr or "SCImage" in done.stderr, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


def texts(dataset: Dataset) -> str:
    """Everything in a data set as it is written that could be read by a person."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue().decode("utf-8", errors="replace")


def test_a_report_is_a_valid_document(folder, volume, tmp_path):
    assert problems(saved(report_of(folder, volume), tmp_path / "sr.dcm")) == []


def test_a_picture_is_a_valid_capture(folder, volume, tmp_path):
    for picture in pictures_of(folder, volume):
        assert problems(saved(picture, tmp_path / "sc.dcm")) == []


def test_a_report_without_a_patient_is_valid_too(volume, tmp_path):
    report = structured_report(RESULT, volume, nameless_origin("Case ABC123", volume))
    assert problems(saved(report, tmp_path / "sr.dcm")) == []


def test_the_validator_finds_what_is_missing(folder, volume, tmp_path):
    report = report_of(folder, volume)
    del report.CompletionFlag
    assert problems(saved(report, tmp_path / "sr.dcm"))


def test_a_report_gives_back_every_region_as_it_was_graded(folder, volume, tmp_path):
    read = reported_regions(dcmread(saved(report_of(folder, volume), tmp_path / "sr.dcm")))
    assert [(each.level, each.region) for each in read] == [(DiscLevel.L4_5, region) for region in Region]
    assert {each.sop_instance_uid for each in read} == {volume.sop_instance_uids[LEVEL.slice_index]}
    for each in read:
        graded = LEVEL.regions[each.region]
        if graded is None:
            assert (each.grade, each.box, each.measures, each.probabilities) == (None, None, {}, ())
            assert each.remarks == (REASON,)
        else:
            assert each.grade is graded.grade and each.grade_set == graded.grade_set and each.box == graded.box
            assert each.probabilities == pytest.approx(graded.probabilities, abs=1e-6)
            assert each.measures == graded.measures
    assert read[0].remarks == (DOUBT,)


@pytest.mark.parametrize("grade", Grade)
def test_each_grade_has_its_code(folder, volume, grade):
    probabilities = tuple(1.0 if each is grade else 0.0 for each in Grade)
    canal = replace(LEVEL.regions[Region.CENTRAL_CANAL], probabilities=probabilities)  # type: ignore[type-var]
    level = replace(LEVEL, regions=LEVEL.regions | {Region.CENTRAL_CANAL: canal})
    read = reported_regions(report_of(folder, volume, replace(RESULT, levels=(level,))))
    assert read[0].grade is grade


@pytest.mark.parametrize("level", [*DiscLevel, None])
def test_each_level_has_its_code(folder, volume, level):
    read = reported_regions(report_of(folder, volume, replace(RESULT, levels=(replace(LEVEL, level=level),))))
    assert {each.level for each in read} == {level}
    assert [each.region for each in read] == list(Region)


def test_boxes_are_given_in_pixels_that_count_from_the_corner_of_the_image():
    """PS3.3 C.18.6: the corner of the first pixel is 0\\0, so that its centre is 0.5\\0.5; ours count from centres."""
    assert graphic_data(Box(0, 0, 9, 4))[0].tolist() == [0.5, 0.5]
    assert graphic_data(Box(1, 2, 3, 7)).tolist() == [[2.5, 1.5], [7.5, 1.5], [7.5, 3.5], [2.5, 3.5], [2.5, 1.5]]


def test_boxes_are_those_of_the_stored_image_where_it_is_turned(tmp_path):
    turned = scan(tmp_path, orientation=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    read = reported_regions(report_of(tmp_path, turned))
    graded = LEVEL.regions[Region.CENTRAL_CANAL]
    assert graded is not None and read[0].box is not None
    assert read[0].box == turned.stored.box_to_stored(graded.box) != graded.box


def test_patient_and_study_are_those_of_the_source_files(folder, volume):
    for made in (report_of(folder, volume), *pictures_of(folder, volume)):
        assert [str(made.get(keyword)) for keyword in WHOSE] == [PATIENT[keyword] for keyword in WHOSE]
        assert made.SeriesInstanceUID != volume.series_uid


def test_names_in_another_character_set_arrive_in_utf_8(tmp_path):
    volume = scan(tmp_path, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", ReferringPhysicianName="")
    report = dcmread(saved(report_of(tmp_path, volume), tmp_path / "sr.dcm"))
    assert report.SpecificCharacterSet == "ISO_IR 192" and report.PatientName == "Müller^Jörg"


def test_odd_names_are_not_printed(tmp_path):
    """Libraries quote a name without a caret in a warning."""
    scan(tmp_path / "scan", PatientName="Zyxwvut", PatientID="MRN\\7481923", ReferringPhysicianName="Grimbart")
    code = (
        "import sys; from pathlib import Path; from lss_core.imaging.dicom import read_scan;"
        "from tests.cases import RESULT; from tests.test_dicom_export import report_of, pictures_of;"
        "folder = Path(sys.argv[1]); volume = read_scan(folder);"
        "print(len(report_of(folder, volume).ContentSequence), len(pictures_of(folder, volume)))"
    )
    done = subprocess.run([sys.executable, "-W", "default", "-c", code, tmp_path / "scan"], capture_output=True,
                          text=True, timeout=120, check=True)
    assert done.stdout.split()[1] == "1"
    assert not any(secret in done.stdout + done.stderr for secret in ("Zyxwvut", "7481923", "Grimbart"))


def test_malformed_dates_and_sexes_are_left_empty(tmp_path):
    volume = scan(tmp_path, PatientSex="female", PatientBirthDate="4 July", StudyTime="noon")
    report = report_of(tmp_path, volume)
    assert (str(report.PatientSex), str(report.PatientBirthDate), str(report.StudyTime)) == ("", "", "")
    assert problems(saved(report, tmp_path / "sr.dcm")) == []


def test_a_report_says_who_made_it_and_what_for(folder, volume):
    text = texts(report_of(folder, volume))
    for said in (RESEARCH_USE, RESULT.provenance, RESULT.weights_sha256, "model v2", "RESEARCH USE ONLY", "UNVERIFIED",
                 "PRELIMINARY"):
        assert said in text


def test_nothing_but_patient_and_study_is_taken_from_the_files(tmp_path):
    volume = scan(tmp_path, planted=True, **dict.fromkeys(WHOSE[:2], "X^Y"))
    text = "".join(texts(made) for made in (report_of(tmp_path, volume), *pictures_of(tmp_path, volume)))
    for secret in ("4711", "5550123", "Rabenstein", "Erator", "Uester", "ROOM-ZYX", "31337", "PrivateZ", "again"):
        assert secret not in text


def test_a_picture_burns_in_a_stamp_and_no_identity(folder, volume):
    picture = pictures_of(folder, volume)[0]
    assert picture.BurnedInAnnotation == "NO", "YES would say that the pixels name the patient"
    assert picture.PhotometricInterpretation == "RGB" and picture.ImageType[0] == "DERIVED"
    assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == volume.sop_instance_uids[LEVEL.slice_index]
    other = captures(RESULT, volume, nameless_origin("Somebody Else", volume), [{}])[0]
    same = captures(RESULT, volume, read_origin(folder, volume), [{}])[0]
    np.testing.assert_array_equal(other.pixel_array, same.pixel_array)
    stamp = picture.pixel_array[:40, 180:480]
    assert (stamp == (255, 209, 102)).all(axis=2).sum() > 300


def test_a_report_without_a_patient_says_so(volume):
    report = structured_report(RESULT, volume, nameless_origin("Case ABC123", volume))
    assert str(report.PatientID) == "Case ABC123" and report.PatientIdentityRemoved == "YES"
    assert str(report.PatientBirthDate) == "" and report.StudyInstanceUID != "1.2.3.4.5"


def test_frames_of_an_enhanced_object_are_named(tmp_path):
    positions = [(-16.0, -16.0, 3.0 * index) for index in range(9)]
    enhanced = scans.enhanced_ct(positions=positions, shape=(64, 64))
    for keyword, value in PATIENT.items():
        setattr(enhanced, keyword, value)
    scans.save(enhanced, tmp_path / "enhanced.dcm")
    volume = read_scan(tmp_path)
    read = reported_regions(report_of(tmp_path, volume))
    assert {each.frame for each in read} == {LEVEL.slice_index + 1}
    assert EnhancedCTImageStorage in texts(report_of(tmp_path, volume))


def refusal(call, *arguments: object) -> str:
    with pytest.raises(Refusal) as refused:
        call(*arguments)
    return str(refused.value)


def test_slices_that_exist_in_no_file_are_refused(tmp_path):
    folder = tmp_path / "sagittal"
    scans.write_series(folder, slices=70, step_mm=1.0, shape=(80, 80), orientation=scans.SAGITTAL, thickness=1.0)
    assert "exist in no DICOM file" in refusal(read_origin, folder, read_scan(folder))


def test_other_formats_are_refused(tmp_path):
    path = scans.write_nifti(tmp_path / "scan.nii", affine=np.diag([1.0, 1.0, 2.0, 1.0]), shape=(64, 64, 40))
    assert "exist in no DICOM file" in refusal(read_origin, path, read_scan(path))
    assert "exist in no DICOM file" in refusal(nameless_origin, "Case ABC123", read_scan(path))


def test_another_scan_than_the_graded_one_is_refused(volume, tmp_path):
    scan(tmp_path, series_uid="1.2.826.0.1.3680043.8.498.9")
    assert "does not hold the slices" in refusal(read_origin, tmp_path, volume)


@pytest.mark.parametrize(("element", "what"), [("PatientID", "patient"), ("StudyInstanceUID", "study")])
def test_files_of_two_patients_or_studies_are_refused(tmp_path, element, what):
    scan(tmp_path)
    path = tmp_path / "003.dcm"
    changed = dcmread(path)
    setattr(changed, element, "1.2.9")
    changed.save_as(path)
    assert f"more than one {what}" in refusal(read_origin, tmp_path, read_scan(tmp_path))


def test_files_without_a_study_are_refused(tmp_path):
    assert "lacks the UIDs" in refusal(read_origin, tmp_path, scan(tmp_path, StudyInstanceUID=None))


def test_another_object_is_not_read_as_a_report(folder, volume):
    assert "not a report of" in refusal(reported_regions, dcmread(folder / "000.dcm"))
    report = report_of(folder, volume)
    del report.ContentSequence[-4].ContentSequence[0].ContentSequence[2]       # the finding site
    assert "not a report of" in refusal(reported_regions, report)


def test_a_result_without_levels_is_refused(folder, volume):
    assert "nothing to report" in refusal(report_of, folder, volume, replace(RESULT, levels=()))


@pytest.fixture(scope="module")
def lumbar(tmp_path_factory) -> Path:
    """A scan whose markers the marker grader grades at five levels."""
    marked = marked_volume(discs={12: LUMBOSACRAL_HU, 29: DISC_HU, 47: DISC_HU, 65: DISC_HU, 83: DISC_HU})

    def hu(points_mm: np.ndarray) -> np.ndarray:
        x, y, z = np.rint(np.moveaxis(points_mm / (PIXEL_MM, PIXEL_MM, SPACING_MM), -1, 0)).astype(int)
        return marked.hu[z, y, x].astype(float)

    folder = tmp_path_factory.mktemp("lumbar")
    scans.write_series(folder, positions=[(0, 0, SPACING_MM * k) for k in range(100)], shape=(128, 128),
                       spacing=(PIXEL_MM, PIXEL_MM), hu=hu, **PATIENT)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def marker_model(monkeypatch):
    monkeypatch.setattr(Grader, "load", classmethod(lambda cls, *args, **kwargs: marker_grader()))


def graded_by_command(scan: Path, out: Path, *more: str) -> int:
    arguments: Sequence[str] = ["grade", str(scan), "--sr", str(out / "sr.dcm"), "--capture", str(out / "sc"), *more]
    return main(arguments)


def test_the_command_writes_the_report_and_a_picture_per_level(marker_model, lumbar, tmp_path):
    assert graded_by_command(lumbar, tmp_path) == DONE
    report = dcmread(tmp_path / "sr.dcm")
    assert str(report.PatientName) == PATIENT["PatientName"]
    assert len(reported_regions(report)) == 15
    pictures = sorted((tmp_path / "sc").glob("*.dcm"))
    assert len(pictures) == 5 and problems(pictures[0]) == [] == problems(tmp_path / "sr.dcm")
    assert len({str(dcmread(path).SeriesInstanceUID) for path in pictures}) == 1


def test_the_command_overwrites_nothing(marker_model, lumbar, tmp_path, capsys):
    (tmp_path / "sr.dcm").write_bytes(b"mine")
    assert graded_by_command(lumbar, tmp_path) == REFUSED
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "sr.dcm").read_bytes() == b"mine" and not (tmp_path / "sc").exists()


def test_grading_without_a_report_does_not_load_the_dicom_writer():
    code = "import sys, lss_core.__main__ as m; m.build_parser(); import lss_core.grading.pipeline, ui.downloads; " \
           "sys.exit('highdicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
