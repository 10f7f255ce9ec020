"""What is read of a DICOM header, and nothing else.

The parser is given this list and skips every other element of the data set unread, so names, dates, ids, free text
and private tags never enter memory: they cannot reach a log, a cache or a page. What is kept from fields of free
text is matched against known words, since people type names anywhere.
"""

from __future__ import annotations

import logging
import re
import secrets
import warnings

from pydicom import config
from pydicom.uid import UID, generate_uid

KEPT_FROM_HEADER = (
    # which object
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType", "FrameType",
    "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "NumberOfFrames",
    # where in the patient
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    # how it was made
    "Manufacturer", "ConvolutionKernel",
    # what the stored numbers mean
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "PixelPaddingValue", "PixelPaddingRangeLimit",
    # the same, per frame of an enhanced object; headers.py looks up named macros in it and nothing else
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
KEPT_WITH_PIXELS = (*KEPT_FROM_HEADER, "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData")

MANUFACTURERS = ("GE", "SIEMENS", "PHILIPS", "TOSHIBA", "CANON", "HITACHI", "NEUSOFT", "UIH", "FUJIFILM")
KERNEL_NAMES = {
    "STANDARD", "SOFT", "DETAIL", "CHST", "BONE", "BONEPLUS", "BONE PLUS", "LUNG", "EDGE", "ULTRA", "STND",
    *"ABCDEFL", "SA", "SB", "SC", "YA", "YB", "YC", "YD", "UA", "UB", "UC", "IPSC", "SOFT TISSUE",
}  # fmt: skip
SIEMENS_OR_CANON_KERNEL = re.compile(r"(?:[A-Z][A-Za-z]?\d{2}[a-z]?|FC\d{2}[A-Z]?)")
UID_SHAPE = re.compile(r"[0-2](?:\.\d+)+")


def new_pseudonym() -> str:
    """Draw a name for a scan that nothing of the patient can be computed from."""
    return f"CT-{secrets.token_hex(4).upper()}"


def known_manufacturer(text: str) -> str | None:
    """Return the maker's common name, or None where the text names none that is known."""
    words = re.split(r"[^A-Z]+", text.upper())
    return next((maker.title() if len(maker) > 3 else maker for maker in MANUFACTURERS if maker in words), None)


def known_kernel(text: str) -> str | None:
    """Return the reconstruction kernel's name where it has the form of a known one, else None."""
    name = text.strip()
    known = name.upper() in KERNEL_NAMES or SIEMENS_OR_CANON_KERNEL.fullmatch(name)
    return name if known else None


def plain_uid(text: str) -> UID:
    """Return the UID, or one derived from the text where that is not of a UID's form."""
    if len(text) <= 64 and UID_SHAPE.fullmatch(text):
        return UID(text)
    return generate_uid(entropy_srcs=[text]) if text else generate_uid()


def silence_readers() -> None:
    """Keep pydicom and its plugins from printing or logging header values; ours is the one clear sentence.

    Set for the process: filters that are set and reset around each read race between the server's threads.
    """
    config.settings.reading_validation_mode = config.IGNORE
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom|pylibjpeg|libjpeg|openjpeg|nibabel)(\.|$)")
    for name in ("pydicom", "pylibjpeg", "libjpeg", "openjpeg", "nibabel", "nibabel.global", "PIL"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
