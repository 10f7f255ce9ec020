"""Files with a known secret in every attribute that DICOM knows, in private blocks, in what is no attribute at all."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests import scans

WORD, NUMBER, DATE, UID_TAIL = "Zyxwvut", 7481923, "19470213", "6662810447"
UID_SECRET = f"1.2.826.0.1.{UID_TAIL}.5"
OF_VR: dict[str, object] = {
    "AE": "ZYXWVUT_AE", "AS": "097Y", "CS": "ZYXWVUT", "DA": DATE, "DS": "7481923.25", "DT": f"{DATE}101112",
    "IS": "7481923", "LO": "Zyxwvut lo", "LT": "Zyxwvut lt", "PN": "Zyxwvut^Quirin", "SH": "Zyxwvut sh",
    "ST": "Zyxwvut st", "TM": "101112.748192", "UC": "Zyxwvut uc", "UI": UID_SECRET, "UR": "http://x/Zyxwvut",
    "UT": "Zyxwvut ut", "FD": 7481923.0, "FL": 7481923.0, "OB": b"Zyxwvut ob", "OD": b"Zyxwvut!" * 2, "OF": b"Zyxwvut!",
    "OL": b"Zyxwvut!", "OV": b"Zyxwvut!", "OW": b"Zyxwvut!", "SL": NUMBER, "UL": NUMBER, "SS": 31337, "US": 31337,
    "SV": NUMBER, "UV": NUMBER, "UN": b"Zyxwvut un", "AT": 0x00104711,
}  # fmt: skip
SECRETS = (
    WORD, "Quirin", str(NUMBER), DATE, UID_TAIL, "097Y", "748192", "31337", "Rabenstein",
)  # fmt: skip
NUMBERS = (struct.pack("<i", NUMBER), struct.pack(">i", NUMBER), struct.pack("<d", NUMBER), struct.pack("<f", NUMBER))
NOT_PLANTED = {0x00080005, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x7FE00010}
ATTRIBUTES = tuple(tag for tag in DicomDictionary if (tag >> 16) % 2 == 0 and tag >> 16 not in (0x0000, 0x0002, 0xFFFE))

DEEP = {tag_for_keyword(keyword) for keyword in (
    "RequestAttributesSequence", "ReferencedStudySequence", "OtherPatientIDsSequence", "ContentSequence",
    "PlanePositionSequence", "PixelMeasuresSequence", "DimensionOrganizationSequence", "FrameContentSequence",
)}  # fmt: skip

BREAK_READING = {tag_for_keyword(keyword) for keyword in (              # make it another kind of object
    "NumberOfFrames", "PixelPaddingValue", "PixelPaddingRangeLimit", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "BurnedInAnnotation",
)}  # fmt: skip


def secret_of(tag: int) -> DataElement:
    """An attribute that holds a secret of its VR; some sequences hold many, three sequences deep."""
    vr = dictionary_VR(tag).split()[0]
    if vr == "SQ":
        return DataElement(tag, "SQ", DicomSequence([full_item() if tag in DEEP else shallow_item()]))
    return DataElement(tag, vr, OF_VR[vr])


def shallow_item() -> Dataset:
    item = Dataset()
    item.PatientName, item.UID = OF_VR["PN"], UID_SECRET
    return item


def full_item(depth: int = 1) -> Dataset:
    """An item with a secret of every VR, and another item below."""
    item = Dataset()
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "StudyDescription", "ImageComments", "OtherPatientIDs",
                    "ReferencedSOPInstanceUID", "CodeMeaning", "TextValue", "PersonName", "UID", "DateTime",
                    "SliceThickness", "ConvolutionKernel", "FloatingPointValue", "SelectorULValue", "InstanceNumber"):
        item.add(secret_of(_tag(keyword)))
    plant_private(item)
    if depth < 3:
        item.ReferencedImageSequence = DicomSequence([full_item(depth + 1)])
        item.ContentSequence = DicomSequence([full_item(depth + 1)])
        item.PixelMeasuresSequence = DicomSequence([full_item(depth + 1)])      # one that the table keeps
    return item


def plant_private(ds: Dataset) -> None:
    """Private blocks with a secret of every VR."""
    for group in (0x0009, 0x0011, 0x7FE1):
        block = ds.private_block(group, "Zyxwvut maker", create=True)
        for number, (vr, value) in enumerate(OF_VR.items()):
            block.add_new(number, vr, value)


def planted_slice(
    *, position: Sequence[float], number: int, series_uid: str, hu: np.ndarray | None = None, **elements: object,
) -> FileDataset:
    """A CT slice that can be read, with a secret in every other attribute of the dictionary, and around it."""
    hu = np.zeros((32, 32)) if hu is None else hu
    ds = scans.ct_slice(hu, position=position, number=number, series_uid=series_uid,
                        transfer_syntax=ExplicitVRLittleEndian, bits_stored=12)
    there = {int(element.tag) for element in ds}
    ds.update({tag: secret_of(tag) for tag in ATTRIBUTES if tag not in there | NOT_PLANTED | BREAK_READING})
    for group in (0x6000, 0x6002, 0x5000):
        ds.add_new((group, 0x3000), "OW", b"Zyxwvut overlay ")
        ds.add_new((group, 0x0022), "LO", "Zyxwvut overlay")
    plant_private(ds)
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Zyxwvut^Quirin", str(NUMBER), DATE
    ds.PatientSex, ds.StudyDate, ds.InstitutionName = "F", "20190317", "Hospital Rabenstein"
    ds.Manufacturer, ds.ConvolutionKernel = "Zyxwvut Medical", "Zyxwvut"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    _plant_around(ds)
    return ds


def explicit_element(tag: int, vr: str, value: bytes) -> bytes:
    """One element as an explicit little endian file holds it, under any type (PS3.5 7.1.2)."""
    is_long = vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
    length = struct.pack("<2xI" if is_long else "<H", len(value))
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + length + value


def meta() -> FileMetaDataset:
    """Meta information of a file that is nothing but its data set."""
    made = FileMetaDataset()
    made.TransferSyntaxUID, made.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    made.MediaStorageSOPInstanceUID = "1.2.3"
    return made


def leaks(content: bytes) -> list[str]:
    """The secrets that some bytes hold, as text in two encodings or as numbers."""
    lower = content.lower()
    found = [secret for secret in SECRETS if _pattern(secret).search(lower)]
    return found + [number.hex() for number in NUMBERS if number in content]


@cache
def _pattern(secret: str) -> re.Pattern[bytes]:
    """Finds a secret. A short number counts where it begins: amid the digits of a random UID it is there by chance."""
    start = rb"(?<!\d)(?<!\d\x00)" if secret.isdecimal() and len(secret) < 7 else b""
    lower = secret.lower()
    return re.compile(start + b"(?:" + re.escape(lower.encode()) + b"|" + re.escape(lower.encode("utf-16-le")) + b")")


def files_below(*folders: Path) -> Iterator[Path]:
    return (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())


def leaking(paths: Iterable[Path]) -> list[tuple[str, list[str]]]:
    """Files that hold a secret, with what they hold; their names count, too."""
    found = [(path.name, leaks(path.read_bytes()) + leaks(str(path.name).encode())) for path in paths]
    return [(name, what) for name, what in found if what]


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


def _plant_around(ds: FileDataset) -> None:
    """In the preamble, the meta information, the unused bits of the pixels, and behind the last pixel."""
    ds.preamble = b"Zyxwvut preamble".ljust(128, b" ")
    ds.file_meta.SourceApplicationEntityTitle = "ZYXWVUT"
    ds.file_meta.ImplementationVersionName = "Zyxwvut"
    ds.file_meta.PrivateInformationCreatorUID, ds.file_meta.PrivateInformation = UID_SECRET, b"Zyxwvut info"
    pixels = np.frombuffer(ds.PixelData, "<u2").copy()
    secret = np.frombuffer(b"Zyxwvut overlay ", np.uint8)
    bits = np.unpackbits(secret)
    pixels[: len(bits)] |= bits.astype(np.uint16) << 15              # as overlays in the high bits did
    ds.PixelData = pixels.tobytes() + b"Zyxwvut behind "
