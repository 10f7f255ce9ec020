"""The grades in a DICOM report that this software wrote, as a PACS gives it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from highdicom import sr
from pydicom.dataset import Dataset

from lss_core.export import codes
from lss_core.vocabulary import Box, DiscLevel, Grade, Refusal, Region

NOT_OURS = "This DICOM object is not a report of Lumbar Stenosis Studio."


@dataclass(frozen=True)
class ReportedRegion:
    """What a report says of one region; `grade` is None where it was not gradable, and `remarks` then say why."""

    level: DiscLevel | None
    region: Region
    grade: Grade | None
    probabilities: tuple[float, ...]                # of grades 0 to 3; empty where not gradable
    measures: Mapping[str, float]                   # name (SAC_AREA, ...) to mm2 or mm
    grade_set: tuple[Grade, ...]
    sop_instance_uid: str                           # of the slice
    frame: int | None
    box: Box | None                                 # in pixels of the stored image
    remarks: tuple[str, ...]


def reported_regions(report: Dataset) -> tuple[ReportedRegion, ...]:
    """Every region of a report, in its order.

    Raises:
        Refusal: the object is another document, or was altered.
    """
    try:
        content = sr.MeasurementReport.from_sequence([report])
        groups = content._find_measurement_groups()
        return tuple(_region(group) for group in groups)
    except (AttributeError, ValueError, TypeError, KeyError, IndexError) as error:
        raise Refusal(NOT_OURS) from error


def _region(group: Dataset) -> ReportedRegion:
    items: Sequence[Dataset] = group.ContentSequence
    level, region = _site(_codes(items, "363698007")[0])
    evaluations = {name: [_code(item.ConceptCodeSequence[0]) for item in _named(items, name)]
                   for name in (codes.GRADE.value, codes.PLAUSIBLE.value)}
    numbers = {_code(item.ConceptNameCodeSequence[0]): float(item.MeasuredValueSequence[0].NumericValue)
               for item in items if item.ValueType == "NUM"}
    grade = _grade(evaluations[codes.GRADE.value][0])
    outline = next((item for item in items if item.ValueType == "SCOORD"), None)
    image = outline.ContentSequence[0] if outline is not None else next(i for i in items if i.ValueType == "IMAGE")
    reference = image.ReferencedSOPSequence[0]
    return ReportedRegion(
        level=level, region=region, grade=grade,
        probabilities=() if grade is None else tuple(numbers[codes.PROBABILITIES[each].value] for each in Grade),
        measures={name: numbers[code.value] for name, code in codes.MEASURES.items() if code.value in numbers},
        grade_set=tuple(Grade(int(value[-1])) for value in evaluations[codes.PLAUSIBLE.value]),
        sop_instance_uid=str(reference.ReferencedSOPInstanceUID),
        frame=reference.get("ReferencedFrameNumber"),
        box=None if outline is None else _box(outline.GraphicData),
        remarks=tuple(item.TextValue for item in _named(items, codes.COMMENT.value)),
    )


def _named(items: Sequence[Dataset], value: str) -> list[Dataset]:
    return [item for item in items if _code(item.ConceptNameCodeSequence[0]) == value]


def _codes(items: Sequence[Dataset], name: str) -> list[Dataset]:
    return [item for item in _named(items, name) if item.ValueType == "CODE"]


def _code(concept: Dataset) -> str:
    return str(concept.CodeValue)


def _site(site: Dataset) -> tuple[DiscLevel | None, Region]:
    """Level and region of a finding site."""
    modifiers = {_code(item.ConceptCodeSequence[0]) for item in site.ContentSequence}
    level = next((level for level, code in codes.DISCS.items() if code.value in modifiers), None)
    sides = [region for region, code in codes.LATERALITIES.items() if code.value in modifiers]
    return level, sides[0] if sides else Region.CENTRAL_CANAL


def _grade(value: str) -> Grade | None:
    return None if value == codes.NOT_GRADABLE.value else Grade(int(value[-1]))


def _box(points: Sequence[float]) -> Box:
    """The inverse of `structured_report.graphic_data`."""
    columns, rows = points[0::2], points[1::2]
    return Box(min(rows) - 0.5, min(columns) - 0.5, max(rows) - 0.5, max(columns) - 0.5)
