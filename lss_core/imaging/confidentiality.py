"""De-identification by the basic application level confidentiality profile (DICOM PS3.15 annex E), as a table.

Options taken: longitudinal temporal information with modified dates, and patient characteristics (sex, and age up to
89). The table names what stays; only that is read from a file, and every value is checked, in sequences to any depth.
Pixels are decoded and written anew, so nothing rides along in a compressed stream, in unused bits or behind them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmwrite
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from lss_core.imaging.confidentiality_table import Action, Rule, rules_that_leave_something
from lss_core.imaging.confidentiality_values import checked
from lss_core.imaging.headers import slices_of
from lss_core.imaging.limits import Limits
from lss_core.imaging.parsing import parse_dicom, third_party
from lss_core.imaging.pixels import decode_frames
from lss_core.imaging.pseudonyms import SiteKeys
from lss_core.imaging.sources import Source, Unusable
from lss_core.vocabulary import Refusal

# PS3.16 context group 7050
METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
SOFTWARE = UID("2.25.96281044193057730441968235260981731456")      # the software's own UID, drawn at random
# Type 2 of a CT image: there, if only empty.
MAY_BE_EMPTY = ("PatientSex", "Manufacturer", "KVP", "SeriesNumber", "AcquisitionNumber", "InstanceNumber")
PIXEL_VALUE = "US or SS"                                            # the VR of a value that is stored as the pixels are
DEEPEST = 8                                                         # sequences within sequences


@dataclass(frozen=True)
class _Cleaning:
    """What the rules need to know of the patient."""

    keys: SiteKeys
    patient: str
    shift_days: int


def deidentified(header: Dataset, *, keys: SiteKeys, patient: str) -> Dataset:
    """What the table leaves of a data set, without its pixels.

    Args:
        patient: The pseudonym, which also decides by how many days dates are shifted.
    """
    cleaning = _Cleaning(keys, patient, keys.shift_days(patient))
    clean = _cleaned(header, cleaning, depth=0)
    for tag, rule in rules_that_leave_something().items():
        if rule.action in (Action.EMPTY, Action.REPLACE):           # an image must hold them, if only empty
            clean.add_new(tag, dictionary_VR(tag), patient if rule.action is Action.REPLACE else None)
    for keyword in MAY_BE_EMPTY:
        if keyword not in clean:
            setattr(clean, keyword, None)
    clean.SpecificCharacterSet = "ISO_IR 192"
    clean.PatientIdentityRemoved, clean.LongitudinalTemporalInformationModified = "YES", "MODIFIED"
    clean.DeidentificationMethod = "DICOM PS3.15 basic profile; " + ", ".join(code for code, _ in METHODS)
    clean.DeidentificationMethodCodeSequence = [_code(code, meaning) for code, meaning in METHODS]
    return clean


def deidentify_file(source: Source, *, keys: SiteKeys, patient: str, limits: Limits) -> FileDataset:
    """A CT image without its identity, uncompressed; of the file nothing but what the table leaves is read.

    Raises:
        Unusable: no CT image, truncated or corrupt.
    """
    stored = parse_dicom(source, keep=kept_keywords(), limits=limits, with_pixels=True)
    slices = slices_of(stored, source, limits=limits)
    with third_party():
        clean = deidentified(stored, keys=keys, patient=patient)
        frames = range(int(stored.get("NumberOfFrames") or 1))
        shape = (slices[0].rows, slices[0].columns)
        pixels = np.stack([_plain_values(frame, stored) for frame in decode_frames(stored, frames, shape=shape)])
        # Padded by hand: an element has an even length.
        content = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
        clean.PixelData = content + b"\0" * (len(content) % 2)
        clean["PixelData"].VR = "OW" if stored.BitsAllocated > 8 else "OB"
        return FileDataset("", clean, file_meta=_new_meta(clean), preamble=b"\0" * 128)


def write_deidentified(sources: Sequence[Source], folder: Path, *, keys: SiteKeys, patient: str, limits: Limits) -> int:
    """Write each file of a series into a folder, named by its place in the sequence; returns how many.

    Raises:
        Refusal: a file is not readable; the folder then holds those before it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, source in enumerate(sources):
        try:
            clean = deidentify_file(source, keys=keys, patient=patient, limits=limits)
        except Unusable as reason:
            raise Refusal(f"{source.name} cannot be de-identified: {reason}.") from None
        part = folder / f"{number:04d}.part"
        dcmwrite(part, clean, enforce_file_format=True)
        os.replace(part, part.with_suffix(".dcm"))
    return len(sources)


@cache
def kept_keywords() -> tuple[str, ...]:
    """The attributes of which anything may stay; the parser is given these and reads no other."""
    return (*(keyword_for_tag(tag) for tag in rules_that_leave_something()),
            "ExtendedOffsetTable", "ExtendedOffsetTableLengths")


def _cleaned(found: Dataset, cleaning: _Cleaning, *, depth: int) -> Dataset:
    clean = Dataset()
    for tag, rule in rules_that_leave_something().items():
        if tag in found and rule.how != "pixels":
            try:
                with third_party():
                    element = _clean_element(found, tag, rule, cleaning, depth)
            except Unusable:
                continue                        # a value that does not parse as what it must be does not stay
            if element is not None:
                clean.add(element)
    return clean


def _clean_element(found: Dataset, tag: int, rule: Rule, cleaning: _Cleaning, depth: int) -> DataElement | None:
    """What stays of one element, under the type that it must have; None where nothing does."""
    value, vr = found[tag].value, dictionary_VR(tag)
    if rule.how == "items":
        items = _items(value, cleaning, depth)
        return DataElement(tag, vr, items) if items else None
    kept = _kept(value, rule, cleaning)
    if not kept:
        return None
    if vr == PIXEL_VALUE:
        vr, kept = _with_sign(kept, signed=found.get("PixelRepresentation") == 1)
    return DataElement(tag, vr, kept if len(kept) > 1 else kept[0])


def _with_sign(values: Sequence[int], *, signed: bool) -> tuple[str, list[int]]:
    """Values as the pixels are: writers give 64512 as unsigned where -1024 is meant."""
    turned = [value % (1 << 16) for value in values]
    return ("SS", [each - (1 << 16) if each >= 1 << 15 else each for each in turned]) if signed else ("US", turned)


def _items(value: Any, cleaning: _Cleaning, depth: int) -> list[Dataset]:
    if depth >= DEEPEST:
        return []
    return [_cleaned(item, cleaning, depth=depth + 1) for item in value if isinstance(item, Dataset)]


def _kept(value: Any, rule: Rule, cleaning: _Cleaning) -> list[Any] | None:
    """The values that stay, or None."""
    values = [value] if isinstance(value, str | bytes | int | float) or not isinstance(value, Sequence) else list(value)
    if rule.action is Action.UID:
        return [cleaning.keys.uid(str(each)) for each in values if str(each)]
    if rule.action in (Action.EMPTY, Action.REPLACE):
        return None                             # written for the whole data set, and in no item
    return checked(values, rule.how, shift_days=cleaning.shift_days)


def _plain_values(frame: np.ndarray, stored: Dataset) -> np.ndarray:
    """Stored values in the type of the file.

    Raises:
        Unusable: the used bits are not the low ones, so that values would be misread.
    """
    bits, signed = int(stored.BitsStored), int(stored.get("PixelRepresentation") or 0) == 1
    if int(stored.get("HighBit", bits - 1)) != bits - 1:
        raise Unusable("its pixel values do not begin at the lowest bit; export it again")
    return frame.astype(f"{'i' if signed else 'u'}{1 if stored.BitsAllocated == 8 else 2}")


def _new_meta(clean: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = clean.SOPClassUID, clean.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, SOFTWARE
    return meta


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code
