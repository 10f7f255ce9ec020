"""What is written for a PACS is kept by a real one and comes back the same: Orthanc, by DICOMweb and by C-STORE."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import ComprehensiveSRStorage, SecondaryCaptureImageStorage, Verification  # type: ignore

from lss_core.export.read_report import reported_regions
from lss_core.export.secondary_capture import captures
from lss_core.export.structured_report import structured_report
from lss_core.imaging.dicom import read_scan
from lss_core.imaging.origin import read_origin
from tests import scans
from tests.cases import RESULT
from tests.orthanc import AE_TITLE, Orthanc

PATIENT = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Žižková^Šárka=山田^花子", "PatientID": "MRN-7",
           "StudyInstanceUID": "1.2.3.4.5", "AccessionNumber": "ACC-9"}
SUCCESS = 0


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> list[Path]:
    """The report and the picture of one graded scan, as files."""
    folder, out = tmp_path_factory.mktemp("scan"), tmp_path_factory.mktemp("written")
    scans.write_series(folder, slices=9, shape=(64, 64), **PATIENT)  # type: ignore[arg-type]
    volume = read_scan(folder)
    origin = read_origin(folder, volume)
    made = [structured_report(RESULT, volume, origin), *captures(RESULT, volume, origin, [{}])]
    for number, dataset in enumerate(made):
        dataset.save_as(out / f"{number}.dcm", enforce_file_format=True)
    return sorted(out.glob("*.dcm"))


def data_set(dataset: Dataset) -> bytes:
    """The bytes of a data set without its file's meta information, in which a PACS names itself."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    after_meta = 132 + 12 + dcmread(BytesIO(file.getvalue())).file_meta.FileMetaInformationGroupLength
    return file.getvalue()[after_meta:]


def by_web(server: Orthanc) -> DICOMwebClient:
    return DICOMwebClient(server.dicomweb_url)


def kept(server: Orthanc, dataset: Dataset) -> Dataset:
    """The same object as the server gives it back, in the transfer syntax in which it was stored."""
    return by_web(server).retrieve_instance(
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID,
        media_types=(("application/dicom", "*"),),
    )


def check_kept(server: Orthanc, written: list[Path]) -> None:
    for path in written:
        sent = dcmread(path)
        assert data_set(kept(server, sent)) == data_set(sent)
    report, back = dcmread(written[0]), kept(server, dcmread(written[0]))
    assert reported_regions(back) == reported_regions(report) and len(reported_regions(back)) == 3
    assert back.PatientName == PATIENT["PatientName"]


def test_what_is_stored_by_stow_comes_back_byte_for_byte(orthanc, written):
    by_web(orthanc).store_instances([dcmread(path) for path in written])
    check_kept(orthanc, written)


def test_what_is_stored_by_c_store_comes_back_byte_for_byte(orthanc, written):
    sender = AE(ae_title="LSS")
    sender.add_requested_context(Verification)
    for path in written:
        sent = dcmread(path)
        sender.add_requested_context(sent.SOPClassUID, sent.file_meta.TransferSyntaxUID)
    link = sender.associate("127.0.0.1", orthanc.dicom_port, ae_title=AE_TITLE)
    assert link.is_established and {each.abstract_syntax for each in link.accepted_contexts} == {
        Verification, ComprehensiveSRStorage, SecondaryCaptureImageStorage,
    }
    assert [link.send_c_store(path).Status for path in written] == [SUCCESS] * len(written)
    link.release()
    check_kept(orthanc, written)


def test_report_and_pictures_are_filed_with_the_patient_and_study_of_the_scan(orthanc, written):
    by_web(orthanc).store_instances([dcmread(path) for path in written])
    found = [Dataset.from_json(each) for each in by_web(orthanc).search_for_series(
        search_filters={"PatientID": "MRN-7", "StudyInstanceUID": "1.2.3.4.5"}
    )]
    assert {each.Modality for each in found} == {"SR", "OT"}
    study = Dataset.from_json(by_web(orthanc).search_for_studies()[0])
    assert study.AccessionNumber == "ACC-9" and study.PatientName == PATIENT["PatientName"]
