"""A graded scan as a DICOM Structured Report: template TID 1500 (PS3.16), Comprehensive SR.

One measurement group for each level and region. Where a region is graded the group outlines its box on the slice
(TID 1410); where it is not gradable the group refers to the slice alone (TID 1501) and says why. The report stays
preliminary and unverified: no person has looked at it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from lss_core.export import codes
from lss_core.grading.pipeline import GradingResult
from lss_core.imaging.origin import UTF_8, Origin, SourceImage
from lss_core.imaging.volume import Volume
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.vocabulary import (
    RESEARCH_USE,
    SAC_AREA,
    Box,
    Grade,
    LevelReport,
    Refusal,
    Region,
    RegionGrade,
)

MAKER = "Lumbar Stenosis Studio"
SERIES_NUMBER = 9001                    # far from what scanners number
DESCRIPTION = "Lumbar stenosis grades, RESEARCH USE ONLY"
PLACED = "A person placed the slice or the boxes of this level; the model graded what they hold."
NO_LEVELS = "This result holds no disc level, so there is nothing to report."
Group = sr.PlanarROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations


def structured_report(
    result: GradingResult, volume: Volume, origin: Origin, *, placed: Collection[int] = ()
) -> sr.ComprehensiveSR:
    """The report of a graded volume, as a data set that can be saved and stored.

    Args:
        placed: Indices of the levels whose slice or boxes a person placed; the report says so.

    Raises:
        Refusal: no level was found.
    """
    if not result.levels:
        raise Refusal(NO_LEVELS)
    groups = [
        _group(result, report, region, volume, origin.images[report.slice_index], [PLACED] if index in placed else [])
        for index, report in enumerate(result.levels) for region in Region
    ]
    content = sr.MeasurementReport(
        observation_context=_observer(result), procedure_reported=codes.CT, imaging_measurements=groups
    )
    for line in (RESEARCH_USE, result.provenance, *result.notes):
        content[0].ContentSequence.append(_comment(line))
    report = sr.ComprehensiveSR(
        evidence=_evidence(result, origin), content=content, series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER, sop_instance_uid=generate_uid(), instance_number=1, manufacturer=MAKER,
        is_complete=True, series_description=DESCRIPTION, manufacturer_model_name=MAKER,
        software_versions=SOFTWARE_VERSION, device_serial_number=result.weights_sha256[:16],
        coding_schemes=[codes.scheme_item()], specific_character_set=UTF_8, transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod"):
        if keyword in origin.header:
            setattr(report, keyword, origin.header.get(keyword))
    return report


def graphic_data(box: Box) -> np.ndarray:
    """Corners of a box [5, 2] as (column, row), closed, in DICOM's pixels, whose upper left corner is (0, 0)."""
    row0, col0, row1, col1 = (edge + 0.5 for edge in box.as_list())     # ours count from the first pixel's centre
    return np.array([(col0, row0), (col1, row0), (col1, row1), (col0, row1), (col0, row0)])


def _observer(result: GradingResult) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["lss-device", SOFTWARE_VERSION, result.weights_sha256]), name=MAKER,
        manufacturer_name=MAKER, model_name=f"Model {result.model_version}",
        serial_number=result.weights_sha256[:16],
    )
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"), observer_identifying_attributes=device
    ))


def _group(
    result: GradingResult, report: LevelReport, region: Region, volume: Volume, image: SourceImage, more: Sequence[str]
) -> Group:
    graded = report.regions.get(region)
    common = {
        "tracking_identifier": sr.TrackingIdentifier(uid=generate_uid(), identifier=_name(report, region)),
        "algorithm_id": _algorithm(result),
        "finding_sites": [_site(report, region)],
    }
    frames = None if image.frame is None else [image.frame]
    if graded is None:
        group: Group = sr.MeasurementsAndQualitativeEvaluations(
            **common, qualitative_evaluations=[sr.QualitativeEvaluation(codes.GRADE, codes.NOT_GRADABLE)],
            source_images=[sr.SourceImageForMeasurementGroup(image.sop_class_uid, image.sop_instance_uid, frames)],
        )
        remarks: Sequence[str] = (report.not_gradable.get(region, "The region was not found on this slice."),)
    else:
        source = sr.SourceImageForRegion(image.sop_class_uid, image.sop_instance_uid, frames)
        outline = graphic_data(volume.stored.box_to_stored(graded.box))
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            **common, referenced_region=sr.ImageRegion(sr.GraphicTypeValues.POLYLINE, outline, source),
            measurements=list(_measurements(graded)), qualitative_evaluations=list(_evaluations(graded)),
        )
        remarks = graded.doubts
    for remark in (*remarks, *more):
        group[0].ContentSequence.append(_comment(remark))
    return group


def _name(report: LevelReport, region: Region) -> str:
    level = report.level.value if report.level else f"Level unknown, slice {report.slice_index + 1}"
    return f"{level} {region.label.lower()}"


def _site(report: LevelReport, region: Region) -> sr.FindingSite:
    """The region, with its side, at its disc."""
    place = codes.LUMBAR_SPINE if report.level is None else codes.DISCS[report.level]
    return sr.FindingSite(codes.SITES[region], codes.LATERALITIES.get(region), place)


def _algorithm(result: GradingResult) -> sr.AlgorithmIdentification:
    parameters = [f"weights SHA-256 {result.weights_sha256}", f"software version {SOFTWARE_VERSION}"]
    if result.set_coverage is not None:
        parameters.append(f"sets of plausible grades are made to hold the true one in {result.set_coverage:.0%}")
    return sr.AlgorithmIdentification(
        name=MAKER, version=f"model {result.model_version}", parameters=parameters, manufacturer=MAKER
    )


def _measurements(graded: RegionGrade) -> Iterator[sr.Measurement]:
    for name, value in graded.measures.items():
        unit = codes.SQUARE_MM if name == SAC_AREA else codes.MM
        yield sr.Measurement(codes.MEASURES[name], round(value, 2), unit)
    for grade in Grade:
        yield sr.Measurement(codes.PROBABILITIES[grade], round(graded.probabilities[grade], 6), codes.NO_UNITS)
    yield sr.Measurement(codes.DETECTION, round(graded.detection_confidence, 4), codes.NO_UNITS)


def _evaluations(graded: RegionGrade) -> Iterator[sr.QualitativeEvaluation]:
    yield sr.QualitativeEvaluation(codes.GRADE, codes.GRADES[graded.grade])
    yield sr.QualitativeEvaluation(codes.SEVERITY, codes.SEVERITIES[graded.grade])
    for grade in graded.grade_set:
        yield sr.QualitativeEvaluation(codes.PLAUSIBLE, codes.GRADES[grade])


def _comment(text: str) -> sr.TextContentItem:
    return sr.TextContentItem(codes.COMMENT, text, sr.RelationshipTypeValues.CONTAINS)


def _evidence(result: GradingResult, origin: Origin) -> list[Dataset]:
    """The referenced images as highdicom wants them: each with its UIDs, its patient and its study."""
    images = dict.fromkeys(origin.images[report.slice_index] for report in result.levels)
    evidence: dict[str, Dataset] = {}
    for image in images:
        dataset = Dataset()
        dataset.update(origin.header)
        dataset.SOPClassUID, dataset.SOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
        dataset.SeriesInstanceUID = origin.series_uid
        evidence.setdefault(image.sop_instance_uid, dataset)
    return list(evidence.values())
