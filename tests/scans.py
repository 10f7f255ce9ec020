"""Small valid scans on disk, to read back and to damage.

The phantom is a function of the patient's millimetres, so that a test can ask of any voxel of any reading whether it
shows the right place.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from pydicom import Dataset, FileDataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    JPEG2000,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
LOSSLESS = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
    JPEGLSLossless, JPEGLossless, JPEGLosslessSV1, JPEG2000Lossless,
)  # fmt: skip
LOSSY = (JPEGLSNearLossless, JPEG2000)
PLANTED = {     # what must never come out again
    "PatientName": "Zyxwvut^Quirin", "PatientID": "MRN-7481923", "PatientBirthDate": "19470213",
    "PatientAddress": "Elmstreet 4711", "OtherPatientIDs": "OTHER-5550123", "AccessionNumber": "ACC-8812376",
    "ReferringPhysicianName": "Doktor^Grimbart", "InstitutionName": "Hospital Rabenstein",
    "StudyDescription": "Spine of Zyxwvut", "SeriesDescription": "Zyxwvut LWS 3.0", "ImageComments": "Zyxwvut again",
    "StudyDate": "20190317", "StudyID": "STUDY-99871", "OperatorsName": "Op^Erator",
    "RequestingPhysician": "Req^Uester", "PatientComments": "calls himself Zyxwvut", "StationName": "ROOM-ZYX-3",
    "DeviceSerialNumber": "SER-31337",
}  # fmt: skip
SECRETS = ("Zyxwvut", "Quirin", "7481923", "19470213", "4711", "5550123", "8812376", "Grimbart", "Rabenstein",
           "20190317", "99871", "Erator", "Uester", "ROOM-ZYX", "31337", "PrivateZ")  # fmt: skip


def phantom_hu(points_mm: np.ndarray) -> np.ndarray:
    """HU at LPS points [..., 3]: a slope in each direction, so that every place and every flip shows."""
    return points_mm @ np.array([1.0, 2.0, 4.0]) - 100


def random_hu(seed: int, *, shape: tuple[int, int]) -> np.ndarray:
    """Noise around soft tissue with a border of air, int16."""
    hu = np.random.default_rng(seed).normal(60, 20, shape).round().astype(np.int16)
    hu[:3] = -1000
    return hu


def plane_points_mm(
    position: Sequence[float], orientation: Sequence[float], spacing: tuple[float, float], shape: tuple[int, int]
) -> np.ndarray:
    """LPS places of the stored pixels, [row, column, 3] (PS3.3 equation C.7.6.2.1-1)."""
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    rows, columns = np.mgrid[: shape[0], : shape[1]][:, :, :, None]
    return np.array(position) + columns * spacing[1] * along_row + rows * spacing[0] * along_column


def ct_slice(
    hu: np.ndarray,
    *,
    position: Sequence[float] = (-16.0, -16.0, 0.0),
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    thickness: float | None = 3.0,
    number: int = 1,
    series_uid: str = "1.2.826.0.1.3680043.8.498.1",
    transfer_syntax: str = ExplicitVRLittleEndian,
    signed: bool = False,
    bits_stored: int = 16,
    intercept: float = -1024.0,
    slope: float = 1.0,
    planted: bool = False,
    **elements: object,
) -> FileDataset:
    """One CT image that holds `hu`; further DICOM elements by keyword, None deletes one."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series_uid, str(number), str(position)])
    ds = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = series_uid + ".1", series_uid, series_uid + ".2"
    ds.Modality, ds.ImageType, ds.Manufacturer = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "SIEMENS"
    ds.ConvolutionKernel, ds.InstanceNumber, ds.AcquisitionNumber = "B30f", number, 1
    ds.PatientName, ds.PatientID = "SIMULATED", "SIM"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = list(map(float, position)), list(map(float, orientation))
    ds.PixelSpacing, ds.SliceThickness = list(map(float, spacing)), thickness
    ds.Rows, ds.Columns = hu.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(signed)
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = slope, intercept, "HU"
    if planted:
        plant_identifiers(ds)
    stored = np.rint((hu.astype(float) - intercept) / slope).astype(np.int16 if signed else np.uint16)
    _set_pixels(ds, stored, transfer_syntax)
    for keyword, value in elements.items():
        if value is None and keyword in ds:
            del ds[keyword]
        elif value is not None:
            setattr(ds, keyword, value)
    return ds


def plant_identifiers(ds: Dataset) -> None:
    """Fill every identifying field, a private block and free text with known secrets."""
    for keyword, value in PLANTED.items():
        setattr(ds, keyword, value)
    block = ds.private_block(0x0011, "PrivateZ maker", create=True)
    block.add_new(0x01, "LO", "PrivateZ Zyxwvut")
    ds.Manufacturer, ds.ConvolutionKernel = "Zyxwvut Medical", "Zyxwvut"


def _set_pixels(ds: FileDataset, stored: np.ndarray, transfer_syntax: str) -> None:
    if transfer_syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.PixelData = stored.tobytes()
        ds.compress(transfer_syntax, generate_instance_uid=False)
    elif transfer_syntax == JPEGLSNearLossless:
        ds.compress(transfer_syntax, stored, jls_error=2, generate_instance_uid=False)
    elif transfer_syntax == JPEG2000:
        ds.compress(transfer_syntax, stored, j2k_cr=[4], generate_instance_uid=False)
    elif transfer_syntax in (JPEGLossless, JPEGLosslessSV1):
        ds.PixelData = encapsulate([encode_jpeg_lossless(stored.view(np.uint16))])
        ds["PixelData"].VR = "OB"
    else:
        big = transfer_syntax == ExplicitVRBigEndian
        ds.PixelData = stored.astype(stored.dtype.newbyteorder(">" if big else "<")).tobytes()
        ds["PixelData"].VR = "OW"


def encode_jpeg_lossless(stored: np.ndarray) -> bytes:
    """Encode uint16 as lossless JPEG (ITU-T T.81 process 14, predictor 1), every category with a code of 5 bits."""
    image = stored.astype(np.int64)
    predicted = np.empty_like(image)
    predicted[0, 0] = 1 << 15
    predicted[0, 1:], predicted[1:, 0], predicted[1:, 1:] = image[0, :-1], image[:-1, 0], image[1:, :-1]
    pieces = []
    for difference in ((image - predicted + 32768) % 65536 - 32768).ravel().tolist():
        size = 16 if difference == -32768 else abs(difference).bit_length()
        pieces.append(format(size, "05b"))
        if 0 < size < 16:
            pieces.append(format(difference if difference > 0 else difference + (1 << size) - 1, f"0{size}b"))
    bits = "".join(pieces)
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = struct.pack(">BHHB", 16, *stored.shape, 1) + bytes([1, 0x11, 0])
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    segments = [(0xC3, frame), (0xC4, table), (0xDA, bytes([1, 1, 0, 1, 0, 0]))]
    header = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return b"\xff\xd8" + header + scan + b"\xff\xd9"


def save(ds: FileDataset, path: Path) -> Path:
    """Write a data set as a DICOM file in its own transfer syntax."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, ds, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    *,
    positions: Sequence[Sequence[float]] | None = None,
    slices: int = 6,
    step_mm: float = 3.0,
    shape: tuple[int, int] = (32, 32),
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    hu: Callable[[np.ndarray], np.ndarray] = phantom_hu,
    **options: object,
) -> list[Path]:
    """Write a series of the phantom, named 000.dcm onwards, stepping along the normal unless positions are given."""
    normal = np.cross(orientation[:3], orientation[3:])
    if positions is None:
        start = np.array([-16.0, -16.0, -10.0])
        positions = [start + index * step_mm * normal for index in range(slices)]
    paths = []
    for index, position in enumerate(positions):
        values = hu(plane_points_mm(position, orientation, spacing, shape))
        ds = ct_slice(
            np.round(values), position=position, orientation=orientation, spacing=spacing,
            **{"number": index + 1, **options},  # type: ignore[arg-type]
        )  # fmt: skip
        paths.append(save(ds, folder / f"{index:03d}.dcm"))
    return paths


def enhanced_ct(
    *, positions: Sequence[Sequence[float]], shape: tuple[int, int] = (32, 32), transfer_syntax: str = RLELossless
) -> FileDataset:
    """An enhanced multi-frame CT of the phantom, orientation and spacing shared, position per frame."""
    frames = [np.round(phantom_hu(plane_points_mm(p, AXIAL, (1.0, 1.0), shape))) for p in positions]
    ds = ct_slice(frames[0])
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    ds.NumberOfFrames = len(frames)
    shared, per_frame = Dataset(), []
    shared.PlaneOrientationSequence = [_moved(ds, "ImageOrientationPatient")]
    shared.PixelMeasuresSequence = [_moved(ds, "PixelSpacing", "SliceThickness")]
    shared.PixelValueTransformationSequence = [_moved(ds, "RescaleSlope", "RescaleIntercept", "RescaleType")]
    shared.CTReconstructionSequence = [_moved(ds, "ConvolutionKernel")]
    del ds.ImagePositionPatient
    for position in positions:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = list(map(float, position))
        frame.PlanePositionSequence = [place]
        per_frame.append(frame)
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(per_frame)
    stored = (np.stack(frames) + 1024).astype(np.uint16)
    ds.PixelData = stored.tobytes()
    if transfer_syntax != ExplicitVRLittleEndian:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    return ds


def _moved(ds: Dataset, *keywords: str) -> Dataset:
    item = Dataset()
    for keyword in keywords:
        item[keyword] = deepcopy(ds[keyword])
        del ds[keyword]
    return item


def jpeg_baseline_ct(*, shape: tuple[int, int] = (32, 32)) -> FileDataset:
    """An 8-bit lossy CT: a slope of 4 HU for a grey level."""
    grey = np.full(shape, 128, np.uint8)
    data = BytesIO()
    Image.fromarray(grey).save(data, "JPEG", quality=95)
    ds = ct_slice(np.zeros(shape), slope=4.0, intercept=-512.0)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([data.getvalue()])
    ds["PixelData"].VR = "OB"
    return ds


def write_nifti(
    path: Path, *, affine: np.ndarray, shape: tuple[int, int, int], dtype: str = "int16",
    hu: Callable[[np.ndarray], np.ndarray] = phantom_hu,
) -> Path:  # fmt: skip
    """Write the phantom on a NIfTI grid; `affine` is voxel to RAS mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    ras = index @ affine[:3, :3].T + affine[:3, 3]
    values = np.round(hu(ras * np.array([-1.0, -1.0, 1.0])))
    nibabel.save(nibabel.Nifti1Image(values.astype(dtype), affine), path)
    return path


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    """Pack names to contents; names are taken as they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name) if name.startswith("/") else name, data, zipfile.ZIP_DEFLATED)
    return path


def mark_encrypted(path: Path) -> Path:
    """Set the encryption flag of every member, in local and central headers."""
    data = bytearray(path.read_bytes())
    for magic, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(magic)
        while at >= 0:
            data[at + flags_at] |= 1
            at = data.find(magic, at + 4)
    path.write_bytes(data)
    return path


def write_dicomdir(folder: Path, listed: Sequence[Sequence[str]]) -> Path:
    """Write a DICOMDIR with one image record for each listed path, given by its components."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["dicomdir"])
    index = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    records = []
    for parts in listed:
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", list(parts)
        records.append(record)
    index.DirectoryRecordSequence = DicomSequence(records)
    return save(index, folder / "DICOMDIR")


def write_medium(folder: Path) -> Path:
    """A series as on a disc: files in folders, listed in capitals by a DICOMDIR, whose path is returned."""
    paths = scans_under(write_series(folder / "dicom" / "s1"), folder)
    return write_dicomdir(folder, [tuple(part.upper() for part in parts) for parts in paths])


def scans_under(paths: Sequence[Path], folder: Path) -> list[tuple[str, ...]]:
    """The components of each path below the folder."""
    return [path.relative_to(folder).parts for path in paths]
