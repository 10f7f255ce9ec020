"""A volume to DICOM: one CT image a slice, without loss, of a patient who is a pseudonym or simulated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, generate_uid
from pydicom.valuerep import format_number_as_ds

from lss_core.imaging.parsing import third_party
from lss_core.imaging.sources import Unusable
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Refusal

NO_DATE = "20000101"                    # of every written object: dates are not kept
INTERCEPT = -1024
TWELVE_BITS, SIXTEEN_BITS = 4095, 65535
CONTROL = "CONTROL SET: for evaluation only, never for training."
NOT_HOUNSFIELD = "A picture holds no Hounsfield units, so it cannot be written as a CT image; export the DICOM series."


@dataclass(frozen=True)
class CtHeader:
    """What the header of a written series says beside its geometry; nothing in it identifies a patient."""

    patient: str                        # pseudonym
    patient_name: str
    description: str                    # of study and series
    comment: str
    deidentified_by: str                # DeidentificationMethod
    manufacturer: str
    model_name: str
    kernel: str = ""
    sex: str = ""                       # F, M, O; "" unknown
    age_years: float | None = None


def write_series(volume: Volume, folder: Path, header: CtHeader) -> None:
    """Write one file a slice, JPEG-LS lossless, named by slice from foot to head; `read_series` gives the volume back.

    The volume's UIDs must be those of DICOM. Slices are written axial, with the shifts of a tilted gantry.

    Raises:
        Refusal: the volume holds no Hounsfield units.
    """
    if not volume.has_hounsfield:
        raise Refusal(NOT_HOUNSFIELD)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(len(volume.positions_mm)):
        dataset = _dataset(volume, index, header)
        dataset.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
        dataset.save_as(folder / f"{index:04d}.dcm", enforce_file_format=True)


def is_marked_control(path: Path) -> bool:
    """Whether a file is an image of a control set that `write_series` wrote."""
    try:
        with third_party():
            header = dcmread(path, specific_tags=["ImageComments"], stop_before_pixels=True)
            return CONTROL in str(header.get("ImageComments", ""))
    except Unusable:
        return False                    # not DICOM: reading it as a scan is refused in words of its own


def _dataset(volume: Volume, index: int, header: CtHeader) -> Dataset:
    """One CT Image Storage object; every mandatory attribute of the CT image IOD is there."""
    ds = Dataset()
    ds.file_meta = _meta(volume.sop_instance_uids[index])
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, volume.sop_instance_uids[index]
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = NO_DATE
    ds.StudyTime = ds.ContentTime = ds.AcquisitionTime = "000000"
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = "", "", "1"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "CT", header.manufacturer, header.model_name
    ds.StudyDescription = ds.SeriesDescription = header.description
    ds.ImageComments = header.comment
    ds.PatientName, ds.PatientID = header.patient_name, header.patient
    ds.PatientBirthDate, ds.PatientSex = "", header.sex
    if header.age_years is not None:
        ds.PatientAge = f"{round(header.age_years):03d}Y"
    ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", header.deidentified_by
    ds.BodyPartExamined, ds.PatientPosition = "LSPINE", "HFS"
    ds.KVP, ds.ConvolutionKernel = "120", header.kernel
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["lss-study", volume.series_uid])
    ds.SeriesInstanceUID = volume.series_uid
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=["lss-frame", volume.series_uid])
    ds.PositionReferenceIndicator = ""
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "1", "1", str(len(volume.positions_mm) - index)
    _place(ds, volume, index)
    _fill(ds, volume, index)
    return ds


def _meta(sop_instance_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _place(ds: Dataset, volume: Volume, index: int) -> None:
    """Where the slice lies: axial, the middle of the first slice at the patient's axis."""
    rows_mm, columns_mm = volume.pixel_spacing_mm
    shift = (0.0, 0.0) if volume.offsets_mm is None else volume.offsets_mm[index] - volume.offsets_mm[0]
    half_rows, half_columns = (volume.shape[1] - 1) / 2 * rows_mm, (volume.shape[2] - 1) / 2 * columns_mm
    ds.ImagePositionPatient = _decimals(
        -half_columns + shift[1], -half_rows + shift[0], float(volume.positions_mm[index])
    )
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing = _decimals(rows_mm, columns_mm)
    ds.SliceThickness = f"{volume.slice_thickness_mm:g}"
    ds.GantryDetectorTilt = "0"


def _decimals(*values: float) -> list[str]:
    """With as many digits as DICOM's 16 characters hold."""
    return [format_number_as_ds(float(value)) for value in values]


def _fill(ds: Dataset, volume: Volume, index: int) -> None:
    """The pixels: 12 bits where the whole volume fits, as scanners store, else 16."""
    highest = int(volume.hu.max()) - INTERCEPT
    bits = 12 if highest <= TWELVE_BITS else 16
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = volume.shape[1], volume.shape[2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    stored = volume.hu[index].astype(np.int32) - INTERCEPT
    ds.PixelData = np.clip(stored, 0, SIXTEEN_BITS).astype("<u2").tobytes()     # below -1024 HU nothing is measured
