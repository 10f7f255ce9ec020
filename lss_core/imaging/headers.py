"""One DICOM file's header to the slices it holds, or the reason why it is left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from lss_core.imaging.deidentify import KEPT_FROM_HEADER, known_kernel, known_manufacturer, plain_uid
from lss_core.imaging.geometry import normalise
from lss_core.imaging.limits import Limits
from lss_core.imaging.parsing import CORRUPT, parse_dicom, third_party
from lss_core.imaging.sources import Source, Unusable

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")    # and legacy converted
DICOMDIR = "1.2.840.10008.1.3.10"
WHAT_ELSE = {   # SOP class UID prefixes (PS3.4 table B.5-1), the longest match counts
    "1.2.840.10008.5.1.4.1.1.4": "an MR image",
    "1.2.840.10008.5.1.4.1.1.128": "a PET image",
    "1.2.840.10008.5.1.4.1.1.130": "a PET image",
    "1.2.840.10008.5.1.4.1.1.20": "a nuclear medicine image",
    "1.2.840.10008.5.1.4.1.1.6": "an ultrasound image",
    "1.2.840.10008.5.1.4.1.1.1": "a radiograph",
    "1.2.840.10008.5.1.4.1.1.12": "a fluoroscopy or angiography image",
    "1.2.840.10008.5.1.4.1.1.7": "a secondary capture (a screenshot or dose sheet)",
    "1.2.840.10008.5.1.4.1.1.11": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.66": "a registration, segmentation or raw data object",
    "1.2.840.10008.5.1.4.1.1.88": "a structured report",
    "1.2.840.10008.5.1.4.1.1.88.67": "a dose report",
    "1.2.840.10008.5.1.4.1.1.104": "an enclosed document",
    "1.2.840.10008.5.1.4.1.1.481.2": "a radiotherapy dose",
    "1.2.840.10008.5.1.4.1.1.481.3": "a radiotherapy structure set",
    "1.2.840.10008.5.1.4.1.1.481.5": "a radiotherapy plan",
    DICOMDIR: "an index of files (DICOMDIR)",
}
MACROS = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "FrameContentSequence",
          "PixelValueTransformationSequence", "CTImageFrameTypeSequence", "CTReconstructionSequence")  # fmt: skip
OTHER_MODALITIES = {"MR": "an MR image", "PT": "a PET image", "US": "an ultrasound image", "NM": "a nuclear image",
                    "CR": "a radiograph", "DX": "a radiograph", "SR": "a structured report"}  # fmt: skip


@dataclass(frozen=True)
class SliceHeader:
    """One stored slice: where it lies in the patient and how its numbers become HU."""

    source: Source
    frame: int                                  # 0-based within the file
    series_uid: str
    sop_instance_uid: str
    rows: int
    columns: int
    position_mm: tuple[float, float, float]     # centre of the first stored pixel, LPS
    along_row: np.ndarray                       # unit LPS, direction of growing column index
    along_column: np.ndarray                    # unit LPS, direction of growing row index
    pixel_spacing_mm: tuple[float, float]       # (between rows, between columns), as stored
    thickness_mm: float | None
    slope: float
    intercept: float
    padding: tuple[int, int] | None             # stored values from..to that are no measurement
    kernel: str | None
    manufacturer: str | None
    order: tuple[int, int, int]                 # temporal position, acquisition, instance number


def read_slices(source: Source, *, limits: Limits) -> list[SliceHeader]:
    """Read the header of one DICOM file.

    Raises:
        Unusable: not a CT image, a localizer, corrupt, or without what turns pixels into HU at a place.
    """
    header = parse_dicom(source, keep=KEPT_FROM_HEADER, limits=limits, with_pixels=False)
    return slices_of(header, source, limits=limits)


def slices_of(header: Dataset, source: Source, *, limits: Limits) -> list[SliceHeader]:
    """The slices of a file whose header is parsed already; as `read_slices` otherwise."""
    with third_party():
        sop_class = str(header.get("SOPClassUID") or _media_class(header) or "")
        _leave_out_other_objects(header, sop_class)
        _leave_out_odd_pixels(header, limits)
        if sop_class in ENHANCED_CT:
            return _read_frames(header, source, limits)
        if _integer(header, "NumberOfFrames", 1) != 1:
            raise Unusable("it has several frames without a place for each; export an enhanced CT or single slices")
        return [_read_slice(source, 0, (header,), _instance_of(header))]


def _media_class(header: Dataset) -> object:
    return header.file_meta.get("MediaStorageSOPClassUID") if isinstance(header, FileDataset) else None


def _leave_out_other_objects(header: Dataset, sop_class: str) -> None:
    if sop_class != CT and sop_class not in ENHANCED_CT and sop_class:
        matches = [prefix for prefix in WHAT_ELSE if sop_class == prefix or sop_class.startswith(prefix + ".")]
        what = WHAT_ELSE[max(matches, key=len)] if matches else "another kind of object"
        raise Unusable(f"it is {what}, not a CT image")
    modality = str(header.get("Modality", ""))
    if modality != "CT":
        raise Unusable(f"it is {OTHER_MODALITIES.get(modality, 'another kind of object')}, not a CT image")
    _leave_out_localizer((header,))


def _leave_out_localizer(groups: Sequence[Dataset]) -> None:
    for keyword in ("ImageType", "FrameType"):
        values = {str(value).strip().upper() for value in _values(_find(groups, keyword))}
        if "LOCALIZER" in values:
            raise Unusable("it is a localizer (scout)")


def _leave_out_odd_pixels(header: Dataset, limits: Limits) -> None:
    if _integer(header, "SamplesPerPixel", 1) != 1:
        raise Unusable("it is a colour picture (a screenshot or dose sheet), not CT values")
    rows, columns = _integer(header, "Rows", 0), _integer(header, "Columns", 0)
    if rows < 1 or columns < 1 or "PhotometricInterpretation" not in header:
        raise Unusable(f"it holds no whole image; {CORRUPT}")
    if str(header.PhotometricInterpretation) not in ("MONOCHROME1", "MONOCHROME2"):
        raise Unusable("its pixels are not grey values")
    if max(rows, columns) > limits.side_px:
        raise Unusable(f"its {rows} x {columns} pixels are over the limit of {limits.side_px} a side")
    allocated, stored = _integer(header, "BitsAllocated", 0), _integer(header, "BitsStored", 0)
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise Unusable(f"its pixels have {allocated} bits; CT values have 8 to 16")
    if _integer(header, "PixelRepresentation", 0) not in (0, 1):
        raise Unusable("it does not say whether its pixels are signed")


@dataclass(frozen=True)
class _Instance:
    """What all frames of one file share."""

    series_uid: str
    sop_instance_uid: str
    rows: int
    columns: int
    signed: bool
    bits_allocated: int
    manufacturer: str | None
    number: int


def _instance_of(header: Dataset) -> _Instance:
    return _Instance(
        series_uid=str(plain_uid(str(header.get("SeriesInstanceUID", "") or "0"))),
        sop_instance_uid=str(plain_uid(str(header.get("SOPInstanceUID", "") or ""))),
        rows=_integer(header, "Rows", 0),
        columns=_integer(header, "Columns", 0),
        signed=_integer(header, "PixelRepresentation", 0) == 1,
        bits_allocated=_integer(header, "BitsAllocated", 0),
        manufacturer=known_manufacturer(str(header.get("Manufacturer", ""))),
        number=_integer(header, "InstanceNumber", 0),
    )


def _read_frames(header: Dataset, source: Source, limits: Limits) -> list[SliceHeader]:
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    count = _integer(header, "NumberOfFrames", 1)
    if count != len(per_frame) or count < 1:
        raise Unusable(f"it says {count} frames and describes {len(per_frame)}; {CORRUPT}")
    instance = _instance_of(header)
    if count * instance.rows * instance.columns > limits.voxels:
        raise Unusable(f"its {count} frames of {instance.rows} x {instance.columns} pixels are over the limit")
    slices = []
    for index, frame in enumerate(per_frame):
        groups = (*_macros(frame), *(macro for group in shared for macro in _macros(group)), header)
        _leave_out_localizer(groups)
        slices.append(_read_slice(source, index, groups, instance))
    return slices


def _macros(group: Dataset) -> list[Dataset]:
    """The single items of a functional group's macros (PS3.3 C.7.6.16)."""
    return [group[keyword].value[0] for keyword in MACROS if keyword in group and len(group[keyword].value)]


def _read_slice(source: Source, frame: int, groups: Sequence[Dataset], instance: _Instance) -> SliceHeader:
    position = _numbers(groups, "ImagePositionPatient", 3)
    orientation = _numbers(groups, "ImageOrientationPatient", 6)
    spacing = _numbers(groups, "PixelSpacing", 2)
    if position is None or orientation is None:
        raise Unusable("it does not say where it lies in the patient")
    if spacing is None or not all(0.05 <= value <= 10 for value in spacing):
        raise Unusable("its pixel spacing is missing or impossible")
    try:
        along_row, along_column = normalise(orientation)
    except ValueError:
        raise Unusable("its orientation in the patient is impossible") from None
    if max(map(abs, position)) > 1e5:
        raise Unusable("its position in the patient is impossible")
    slope, intercept = _read_rescale(groups)
    return SliceHeader(
        source=source,
        frame=frame,
        series_uid=instance.series_uid,
        sop_instance_uid=instance.sop_instance_uid,
        rows=instance.rows,
        columns=instance.columns,
        position_mm=(position[0], position[1], position[2]),
        along_row=along_row,
        along_column=along_column,
        pixel_spacing_mm=(spacing[0], spacing[1]),
        thickness_mm=_read_thickness(groups),
        slope=slope,
        intercept=intercept,
        padding=_read_padding(groups, instance),
        kernel=_read_kernel(groups),
        manufacturer=instance.manufacturer,
        order=(
            _integer_in(groups, "TemporalPositionIndex", "TemporalPositionIdentifier"),
            _integer_in(groups, "FrameAcquisitionNumber", "AcquisitionNumber"),
            instance.number,
        ),
    )


def _read_rescale(groups: Sequence[Dataset]) -> tuple[float, float]:
    slope, intercept = _numbers(groups, "RescaleSlope", 1), _numbers(groups, "RescaleIntercept", 1)
    if slope is None or intercept is None or slope[0] == 0 or max(abs(slope[0]), abs(intercept[0])) > 1e5:
        raise Unusable("it does not say how its pixels become Hounsfield units (rescale slope and intercept)")
    unit = str(_find(groups, "RescaleType") or "HU").strip().upper()
    if unit != "HU" and not unit.startswith("HOU"):     # some writers spell it out, with or without the n
        raise Unusable("its values are not Hounsfield units")
    return slope[0], intercept[0]


def _read_thickness(groups: Sequence[Dataset]) -> float | None:
    thickness = _numbers(groups, "SliceThickness", 1)
    return thickness[0] if thickness is not None and 0 < thickness[0] <= 50 else None


def _read_kernel(groups: Sequence[Dataset]) -> str | None:
    names = [known_kernel(str(value)) for value in _values(_find(groups, "ConvolutionKernel"))]
    return next((name for name in names if name), None)


def _read_padding(groups: Sequence[Dataset], instance: _Instance) -> tuple[int, int] | None:
    first, last = (_find(groups, keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if not isinstance(first, int):
        return None
    ends = [_as_stored(value, instance) for value in (first, last) if isinstance(value, int)]
    return min(ends), max(ends)


def _as_stored(value: int, instance: _Instance) -> int:
    """Read a padding value with the pixels' sign: writers give 64512 as unsigned where -1024 is meant."""
    span = 1 << instance.bits_allocated
    value %= span
    return value - span if instance.signed and value >= span // 2 else value


def _find(groups: Sequence[Dataset], keyword: str) -> object:
    return next((group[keyword].value for group in groups if keyword in group), None)


def _values(value: object) -> list[object]:
    if value is None:
        return []
    return [value] if isinstance(value, str | UID) or not isinstance(value, Sequence) else list(value)


def _numbers(groups: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    """Find `count` finite numbers; None where the element is missing or has another count."""
    values = [float(value) for value in _values(_find(groups, keyword)) if value is not None]  # type: ignore[arg-type]
    return tuple(values) if len(values) == count and all(map(math.isfinite, values)) else None


def _integer(header: Dataset, keyword: str, missing: int) -> int:
    value = header.get(keyword)
    return missing if value is None or value == "" else int(value)


def _integer_in(groups: Sequence[Dataset], *keywords: str) -> int:
    value = next((found for keyword in keywords if (found := _find(groups, keyword)) not in (None, "")), 0)
    return int(value)  # type: ignore[call-overload]
