"""What can be saved of a case: JSON, CSV and pictures. Nothing in it identifies the patient."""

from __future__ import annotations

import csv
import io
import zipfile

from lss_core.figures import region_picture
from lss_core.grading.explain import HeatMap
from lss_core.imaging.volume import Volume, window
from lss_core.vocabulary import Grade, LevelReport, Region, RegionGrade, measure_of
from ui.cases import Case
from ui.grade_table import level_name
from ui.resources import grader

CSV_COLUMNS: tuple[str, ...] = (
    "case", "series_uid", "level", "slice_index", "sop_instance_uid", "region", "grade", "probability_0",
    "probability_1", "probability_2", "probability_3", "expected_grade", "measure_name",
    "measure_value", "detection_confidence", "row0", "col0", "row1",
    "col1", "regraded", "model_version", "weights_sha256",
)
SOFT_WINDOW = {"width": 400.0, "level": 40.0}


def case_csv(case: Case) -> str:
    """One line for each level and region; a region that was not found has an empty grade."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for index, report in enumerate(case.result.levels):
        for region in Region:
            writer.writerow(_csv_row(case, report, region) | {"regraded": int(index in case.edited)})
    return text.getvalue()


def _csv_row(case: Case, report: LevelReport, region: Region) -> dict[str, object]:
    row: dict[str, object] = {
        "case": case.name,
        "series_uid": case.result.series_uid,
        "level": report.level.value if report.level else "",
        "slice_index": report.slice_index,
        "sop_instance_uid": report.sop_instance_uid,
        "region": region.value,
        "model_version": case.result.model_version,
        "weights_sha256": case.result.weights_sha256,
    }
    graded = report.regions.get(region)
    return row if graded is None else row | _csv_grade(graded, region)


def _csv_grade(graded: RegionGrade, region: Region) -> dict[str, object]:
    row: dict[str, object] = {
        "grade": int(graded.grade),
        "expected_grade": f"{graded.expected_grade:.4f}",
        "detection_confidence": f"{graded.detection_confidence:.4f}",
    }
    if graded.measure_value is not None:
        row |= {"measure_name": measure_of(region), "measure_value": f"{graded.measure_value:.2f}"}
    row |= {f"probability_{i}": f"{p:.4f}" for i, p in enumerate(graded.probabilities)}
    corners = zip(("row0", "col0", "row1", "col1"), graded.box.as_list(), strict=True)
    return row | {name: f"{value:.2f}" for name, value in corners}


def region_png(case: Case, volume: Volume, level: int, region: Region, *, target: Grade | None, method: str) -> bytes:
    """A picture of one graded region with its heat map for `target` (None: for its own grade)."""
    report = case.result.levels[level]
    graded = report.regions[region]
    if graded is None:
        raise ValueError(f"{region.label} was not found at {level_name(report)}: there is nothing to draw.")
    target = graded.grade if target is None else target
    heat = grader().heat_map(volume, report.slice_index, region, graded.box, target=target, method=method)
    return _draw(case, volume, report, region, graded, heat, target=target, method=method)


def _draw(
    case: Case, volume: Volume, report: LevelReport, region: Region, graded: RegionGrade, heat: HeatMap, *,
    target: Grade, method: str,
) -> bytes:
    caption = [
        f"{case.name} · {level_name(report)} · {region.label}",
        f"Grade {int(graded.grade)} ({graded.grade.label}), probability {max(graded.probabilities):.0%}",
        f"Heat map: {method} for grade {int(target)} · slice {report.slice_index + 1}"
        f" · model {case.result.model_version}",
    ]
    grey = window(volume.hu[report.slice_index], **SOFT_WINDOW)
    return region_picture(
        grey, pixel_spacing_mm=volume.pixel_spacing_mm, box=graded.box, caption=caption, heat=heat.values,
        heat_box=heat.box,
    )


def all_pngs(case: Case, volume: Volume, *, method: str) -> bytes:
    """A ZIP with a picture for each graded region, each with the heat map for its own grade."""
    found = [
        (report, region, graded)
        for report in case.result.levels
        for region, graded in report.regions.items()
        if graded is not None
    ]
    wanted = [(report.slice_index, region, graded.box, graded.grade) for report, region, graded in found]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for (report, region, graded), heat in zip(found, grader().explain(volume, wanted, method=method), strict=True):
            png = _draw(case, volume, report, region, graded, heat, target=graded.grade, method=method)
            archive.writestr(f"{picture_name(case, report, region)}.png", png)
    return file.getvalue()


def picture_name(case: Case, report: LevelReport, region: Region) -> str:
    """A file name without an ending."""
    level = level_name(report).replace("/", "-").replace(", ", "_").replace(" ", "_")
    return f"{file_stem(case)}_{level}_{region.value}"


def file_stem(case: Case) -> str:
    return case.name.lower().replace(" ", "_")
