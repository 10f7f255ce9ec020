"""Whose images a series holds: what a report for a hospital must take over from the files it was made from.

Grading knows no names. They are read here, when a command is asked for a DICOM report, go into that report, and are
kept nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, generate_uid

from lss_core.imaging.dicom import best_series, find_series
from lss_core.imaging.headers import SliceHeader
from lss_core.imaging.limits import Limits
from lss_core.imaging.parsing import parse_dicom, third_party
from lss_core.imaging.sources import Source, Unusable
from lss_core.imaging.stack import Stack
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Refusal

UTF_8 = "ISO_IR 192"
# Patient and study as a PACS files objects by them (PS3.3 C.7.1.1, C.7.2.1), each empty where the source has none.
TAKEN_OVER = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "StudyID",
)
IF_GIVEN = ("IssuerOfPatientID", "StudyDescription", "PatientIdentityRemoved", "DeidentificationMethod")
_READ = ("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", *TAKEN_OVER, *IF_GIVEN)
ANY = re.compile(r".*")
FORMS = {
    "PatientSex": re.compile("[MFO]?"),
    "PatientBirthDate": re.compile(r"(\d{8})?"),
    "StudyDate": re.compile(r"(\d{8})?"),
    "StudyTime": re.compile(r"(\d{2}([0-5]\d([0-5]\d(\.\d{1,6})?)?)?)?"),
}
NO_FILES = (
    "The slices of this scan exist in no DICOM file (a picture, NIfTI, or reformatted), so a DICOM report has nothing "
    "to refer to; grade the axial DICOM series."
)
SEVERAL = "The files of this series name more than one {}; export the series of one patient again."


@dataclass(frozen=True)
class SourceImage:
    """The DICOM object that holds a slice."""

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None                   # counted from 1; None where the object holds a single image


@dataclass(frozen=True)
class Origin:
    """The patient, the study and the images of a series; `images` are in the order of the volume's slices."""

    header: Dataset                     # the elements of TAKEN_OVER, and of IF_GIVEN where given, in UTF-8
    series_uid: str
    images: tuple[SourceImage, ...]


def read_origin(path: Path, volume: Volume) -> Origin:
    """Read from the files of a scan who the patient is.

    Args:
        path: What `read_scan` made the volume from.

    Raises:
        Refusal: the slices exist in no DICOM file, or the files are of several patients or studies, or lack the UIDs
            by which a PACS knows them.
    """
    _refuse_without_files(volume)
    stack = best_series(find_series([Path(path)]))._content
    if not isinstance(stack, Stack) or not _holds(stack, volume):
        raise Refusal(f"{Path(path).name} does not hold the slices that were graded; grade it again.")
    headers = {source: _read(source) for source in dict.fromkeys(header.source for header in stack.slices)}
    first = next(iter(headers.values()))
    for keyword, what in (("PatientID", "patient"), ("PatientName", "patient"), ("StudyInstanceUID", "study")):
        if len({str(header.get(keyword, "")) for header in headers.values()}) > 1:
            raise Refusal(SEVERAL.format(what))
    images = tuple(_image(header, headers[header.source]) for header in stack.slices)
    return Origin(_plain(first), volume.series_uid, images)


def nameless_origin(name: str, volume: Volume) -> Origin:
    """An origin for a volume whose files are gone: a pseudonym, a study of its own, and the UIDs of the images.

    Raises:
        Refusal: the slices exist in no DICOM file.
    """
    _refuse_without_files(volume)
    header = Dataset()
    header.SpecificCharacterSet = UTF_8
    for keyword in TAKEN_OVER:
        setattr(header, keyword, "")
    header.PatientName, header.PatientID = f"{name}^", name
    header.StudyInstanceUID = generate_uid(entropy_srcs=["lss-nameless-study", name, volume.series_uid])
    header.PatientIdentityRemoved, header.DeidentificationMethod = "YES", "Patient and study were never read"
    images = tuple(SourceImage(CTImageStorage, uid, None) for uid in volume.sop_instance_uids)
    return Origin(header, volume.series_uid, images)


def _refuse_without_files(volume: Volume) -> None:
    if not volume.is_dicom:
        raise Refusal(NO_FILES)


def _holds(stack: Stack, volume: Volume) -> bool:
    """Whether the volume's slices are these images."""
    return tuple(header.sop_instance_uid for header in stack.slices) == volume.sop_instance_uids


def _read(source: Source) -> Dataset:
    try:
        return parse_dicom(source, keep=_READ, limits=Limits(), with_pixels=False)
    except Unusable as reason:
        raise Refusal(f"{source.name} cannot be read again: {reason}.") from None


def _image(header: SliceHeader, stored: Dataset) -> SourceImage:
    uids = [str(stored.get(keyword, "")) for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")]
    if not all(UID(uid).is_valid and uid for uid in uids) or header.sop_instance_uid != uids[1]:
        raise Refusal(f"{header.source.name} lacks the UIDs by which a PACS knows an image; export it again.")
    return SourceImage(uids[0], uids[1], None if uids[0] == CTImageStorage else header.frame + 1)


def _plain(stored: Dataset) -> Dataset:
    """The elements taken over, as text in UTF-8; what is not of its element's form is left empty."""
    plain = Dataset()
    plain.SpecificCharacterSet = UTF_8
    for keyword in (*TAKEN_OVER, *IF_GIVEN):
        text = _text(stored, keyword)
        if text or keyword in TAKEN_OVER:
            setattr(plain, keyword, text if FORMS.get(keyword, ANY).fullmatch(text) else "")
    return plain


def _text(stored: Dataset, keyword: str) -> str:
    """An element's value as one line of text, decoded by the file's character set."""
    try:
        with third_party():
            value = stored.get(keyword)
            return str(value if value is not None else "").replace("\n", " ").replace("\r", " ").strip()
    except Unusable:
        raise Refusal(f"The {keyword} of this series cannot be read; export it again.") from None
