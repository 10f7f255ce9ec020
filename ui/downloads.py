"""What can be saved of a case: JSON, CSV, pictures and DICOM. Nothing in it identifies the patient."""

from __future__ import annotations

import csv
import io
import zipfile

from lss_core.figures import region_picture
from lss_core.grading.explain import HeatMap
from lss_core.grading.pipeline import GradingResult
from lss_core.imaging.origin import nameless_origin
from lss_core.imaging.volume import Volume, window
from lss_core.vocabulary import (
    CANAL_AP,
    RECESS_HEIGHT,
    RESEARCH_USE,
    SAC_AREA,
    Grade,
    LevelReport,
    Region,
    RegionGrade,
    measure_of,
)
from ui.cases import Case, grader_of
from ui.wording import level_name, set_mark

CSV_COLUMNS: tuple[str, ...] = (
    "case", "series_uid", "level", "slice_index", "sop_instance_uid", "region", "grade", "probability_0",
    "probability_1", "probability_2", "probability_3", "expected_grade", "measure_name",
    "measure_value", "detection_confidence", "row0", "col0", "row1",
    "col1", "regraded", "model_version", "weights_sha256",
    SAC_AREA, CANAL_AP, RECESS_HEIGHT, "grade_set", "set_coverage", "doubts", "not_gradable",
)
BETWEEN_GRADES, BETWEEN_DOUBTS = "|", " | "     # "1-2" would become a date in a spreadsheet
SOFT_WINDOW = {"width": 400.0, "level": 40.0}


def case_csv(case: Case) -> str:
    """One line for each version that graded, level and region; a region that is not gradable has no number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for graded in case.graded.values():
        for index, report in enumerate(graded.result.levels):
            for region in Region:
                row = _csv_row(graded.result, report, region)
                writer.writerow(row | {"case": case.name, "regraded": int(index in case.edited)})
    return text.getvalue()


def _csv_row(result: GradingResult, report: LevelReport, region: Region) -> dict[str, object]:
    row: dict[str, object] = {
        "series_uid": result.series_uid,
        "level": report.level.value if report.level else "",
        "slice_index": report.slice_index,
        "sop_instance_uid": report.sop_instance_uid,
        "region": region.value,
        "model_version": result.model_version,
        "weights_sha256": result.weights_sha256,
    }
    graded = report.regions.get(region)
    if graded is None:
        return row | {"not_gradable": report.not_gradable.get(region, "")}
    if graded.grade_set and result.set_coverage is not None:
        row["set_coverage"] = f"{result.set_coverage:g}"
    return row | _csv_grade(graded, region)


def _csv_grade(graded: RegionGrade, region: Region) -> dict[str, object]:
    row: dict[str, object] = {
        "grade": int(graded.grade),
        "expected_grade": f"{graded.expected_grade:.4f}",
        "detection_confidence": f"{graded.detection_confidence:.4f}",
        "grade_set": BETWEEN_GRADES.join(str(int(grade)) for grade in graded.grade_set),
        "doubts": BETWEEN_DOUBTS.join(graded.doubts),
    }
    name = measure_of(region)
    if name in graded.measures:
        row |= {"measure_name": name, "measure_value": f"{graded.measures[name]:.2f}"}
    row |= {name: f"{value:.2f}" for name, value in graded.measures.items()}
    row |= {f"probability_{i}": f"{p:.4f}" for i, p in enumerate(graded.probabilities)}
    corners = zip(("row0", "col0", "row1", "col1"), graded.box.as_list(), strict=True)
    return row | {name: f"{value:.2f}" for name, value in corners}


def region_png(case: Case, volume: Volume, level: int, region: Region, *, target: Grade | None, method: str) -> bytes:
    """A picture of one graded region with its heat map for `target` (None: for its own grade)."""
    report = case.result.levels[level]
    graded = report.regions[region]
    if graded is None:
        raise ValueError(f"{region.label} at {level_name(report)} has no grade: there is nothing to draw.")
    target = graded.grade if target is None else target
    heat = grader_of(case.result).heat_map(
        volume, report.slice_index, region, graded.box, target=target, method=method
    )
    return _draw(case, volume, report, region, graded, heat, target=target, method=method)


def _draw(
    case: Case, volume: Volume, report: LevelReport, region: Region, graded: RegionGrade, heat: HeatMap, *,
    target: Grade, method: str,
) -> bytes:
    caption = [
        f"{case.name} · {level_name(report)} · {region.label}",
        _grade_line(graded),
        f"Heat map: {method} for grade {int(target)} · slice {report.slice_index + 1}"
        f" · model {case.result.model_version}",
    ]
    grey = window(volume.hu[report.slice_index], **SOFT_WINDOW)
    return region_picture(
        grey, pixel_spacing_mm=volume.pixel_spacing_mm, box=graded.box, caption=caption, heat=heat.values,
        heat_box=heat.box,
    )


def _grade_line(graded: RegionGrade) -> str:
    facts = [f"Grade {int(graded.grade)} ({graded.grade.label})", f"probability {max(graded.probabilities):.0%}"]
    if mark := set_mark(graded):
        facts.append(f"grades {mark} stay plausible")
    if graded.doubts:
        facts.append("in doubt, see the report")
    return ", ".join(facts)


def all_pngs(case: Case, volume: Volume, *, method: str) -> bytes:
    """A ZIP with a picture for each graded region, each with the heat map for its own grade."""
    found = [
        (report, region, graded)
        for report in case.result.levels
        for region, graded in report.regions.items()
        if graded is not None
    ]
    wanted = [(report.slice_index, region, graded.box, graded.grade) for report, region, graded in found]
    heats = grader_of(case.result).explain(volume, wanted, method=method)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for (report, region, graded), heat in zip(found, heats, strict=True):
            png = _draw(case, volume, report, region, graded, heat, target=graded.grade, method=method)
            archive.writestr(f"{picture_name(case, report, region)}.png", png)
    return file.getvalue()


def dicom_zip(case: Case, volume: Volume, *, method: str) -> bytes:
    """A ZIP with a structured report and a picture per level as DICOM, under the case's random name.

    The patient and the study are not in it, since they were never read. The writers are imported here, because their
    library costs a second to load.

    Raises:
        Refusal: the scan was not made from DICOM slices, or the weights that graded are no longer there.
    """
    from lss_core.export.secondary_capture import captures, heat_maps_of
    from lss_core.export.structured_report import structured_report

    origin = nameless_origin(case.name, volume)
    heats = heat_maps_of(grader_of(case.result), volume, case.result, method=method)
    objects = {"report.dcm": structured_report(case.result, volume, origin, placed=case.edited)}
    objects |= {f"level-{n}.dcm": image for n, image in enumerate(captures(case.result, volume, origin, heats), 1)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, dataset in objects.items():
            content = io.BytesIO()
            dataset.save_as(content, enforce_file_format=True)
            archive.writestr(name, content.getvalue())
        archive.writestr("READ ME.txt", f"{dicom_words(case)}\n\n{RESEARCH_USE}\n")
    return file.getvalue()


def dicom_words(case: Case) -> str:
    """Whose the DICOM files are, and how a hospital gets them under the patient's name."""
    return (
        f"The DICOM files bear the name {case.name}, in a study of their own: this page never reads who the patient "
        "is. For a PACS, run python -m lss_core grade PATH --sr FILE --capture DIR where the scan's files are; it "
        "takes patient and study from them."
    )


def picture_name(case: Case, report: LevelReport, region: Region) -> str:
    """A file name without an ending."""
    level = level_name(report).replace("/", "-").replace(", ", "_").replace(" ", "_")
    return f"{file_stem(case)}_{level}_{region.value}"


def file_stem(case: Case) -> str:
    return case.name.lower().replace(" ", "_")
