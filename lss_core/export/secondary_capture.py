"""A graded scan as DICOM Secondary Capture: one RGB picture a level, for a PACS that shows no structured reports."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sc import SCImage
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from lss_core.export.level_picture import level_picture
from lss_core.export.structured_report import MAKER, SERIES_NUMBER
from lss_core.grading.explain import HeatMap
from lss_core.grading.pipeline import Grader, GradingResult
from lss_core.imaging.origin import IF_GIVEN, TAKEN_OVER, UTF_8, Origin
from lss_core.imaging.volume import Volume
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.vocabulary import RESEARCH_USE, LevelReport, Region

DESCRIPTION = "Lumbar stenosis pictures, RESEARCH USE ONLY"
Heats = dict[Region, HeatMap]


def heat_maps_of(grader: Grader, volume: Volume, result: GradingResult, *, method: str) -> list[Heats]:
    """For each level, the heat maps of its graded regions, each for the region's own grade."""
    places = [(number, region, each) for number, report in enumerate(result.levels)
              for region, each in report.regions.items() if each is not None]
    wanted = [(result.levels[number].slice_index, region, each.box, each.grade) for number, region, each in places]
    heats: list[Heats] = [{} for _ in result.levels]
    for (number, region, _), heat in zip(places, grader.explain(volume, wanted, method=method), strict=True):
        heats[number][region] = heat
    return heats


def captures(
    result: GradingResult, volume: Volume, origin: Origin, heats: Sequence[Heats]
) -> list[SCImage]:
    """One picture a level, in one series.

    Args:
        heats: For each level, the heat maps to show.
    """
    series_uid = generate_uid()
    return [
        _capture(result, report, volume, origin, own, series_uid=series_uid, number=number)
        for number, (report, own) in enumerate(zip(result.levels, heats, strict=True), start=1)
    ]


def _capture(
    result: GradingResult, report: LevelReport, volume: Volume, origin: Origin, heats: Heats, *, series_uid: str,
    number: int,
) -> SCImage:
    header = origin.header
    image = SCImage(
        pixel_array=level_picture(result, report, volume, heats), photometric_interpretation="RGB", bits_allocated=8,
        coordinate_system="PATIENT", patient_orientation=("L", "P"), study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=series_uid, series_number=SERIES_NUMBER + 1, sop_instance_uid=generate_uid(),
        instance_number=number, manufacturer=MAKER, manufacturer_model_name=MAKER, software_versions=SOFTWARE_VERSION,
        device_serial_number=result.weights_sha256[:16], series_description=DESCRIPTION,
        specific_character_set=UTF_8, transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    for keyword in (*TAKEN_OVER, *IF_GIVEN):
        if keyword in header:
            setattr(image, keyword, header.get(keyword))
    # PS3.3 C.7.6.1.1.4: YES only where the pixels name the patient. Grades and a stamp are burned in, no identity is.
    image.BurnedInAnnotation = "NO"
    image.BodyPartExamined, image.ImageComments = "LSPINE", RESEARCH_USE
    image.DerivationDescription = f"Drawn by {MAKER} {SOFTWARE_VERSION}, model {result.model_version}"
    image.SourceImageSequence = [_reference(origin, report)]
    return image


def _reference(origin: Origin, report: LevelReport) -> Dataset:
    """The slice that the picture was drawn from."""
    source, item = origin.images[report.slice_index], Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.sop_class_uid, source.sop_instance_uid
    if source.frame is not None:
        item.ReferencedFrameNumber = source.frame
    return item
