"""One picture of a graded level: the slice with its three boxes, their grades, the heat maps and a scale."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lss_core.figures import (
    LINE_PX,
    MARGIN_PX,
    PICTURE_MM,
    PICTURE_PX,
    blend_heat,
    enlarged,
    mark_sides,
    on_picture,
    with_caption,
)
from lss_core.grading.explain import HeatMap
from lss_core.grading.pipeline import GradingResult
from lss_core.imaging.volume import Volume, window
from lss_core.vocabulary import RESEARCH_USE, SAC_AREA, Box, LevelReport, Region, RegionGrade

STAMP = "RESEARCH USE ONLY"
SCALE_MM = 20.0
LINE_CHARACTERS = 84
BILINEAR = Image.Resampling.BILINEAR
WIDTH_HU, LEVEL_HU = 400.0, 40.0                # the soft-tissue window
# The colours of the viewer's boxes: normal, mild, moderate, severe.
COLOURS = ((120, 200, 120), (255, 209, 102), (255, 140, 0), (240, 60, 60))


def level_picture(
    result: GradingResult, report: LevelReport, volume: Volume, heats: Mapping[Region, HeatMap]
) -> np.ndarray:
    """Draw one level, uint8 [row, column, 3]. It shows nothing of the patient but the anatomy.

    Args:
        heats: The heat maps of the regions that have one, each for the region's own grade.
    """
    graded = {region: each for region, each in report.regions.items() if each is not None}
    view = _view(volume, list(graded.values()))
    hu = volume.hu[report.slice_index]
    picture = enlarged(window(hu, width=WIDTH_HU, level=LEVEL_HU), view)
    if heats:
        blend_heat(picture, _together(heats, view), (0, 0, PICTURE_PX, PICTURE_PX))
    draw = ImageDraw.Draw(picture)
    for region, each in graded.items():
        _draw_box(draw, region, each, on_picture(each.box, view))
    mark_sides(draw)
    _draw_scale(draw)
    _stamp(draw)
    return np.asarray(with_caption(picture, _caption(result, report, with_heat=bool(heats))).convert("RGB"))


def _view(volume: Volume, graded: Sequence[RegionGrade]) -> Box:
    """A square of PICTURE_MM around the boxes, or around the middle of a slice without any."""
    centres = [each.box.centre for each in graded] or [(volume.shape[1] / 2, volume.shape[2] / 2)]
    row, column = np.mean(centres, axis=0)
    size = tuple(PICTURE_MM / spacing for spacing in volume.pixel_spacing_mm)
    return Box.around((float(row), float(column)), (size[0], size[1]))


def _together(heats: Mapping[Region, HeatMap], view: Box) -> np.ndarray:
    """The heat maps on the picture, 0..1 [row, column]; where two overlap, the warmer one."""
    warmest = Image.new("F", (PICTURE_PX, PICTURE_PX))
    for heat in heats.values():
        x0, y0, x1, y1 = (round(edge) for edge in on_picture(heat.box, view))
        layer = Image.new("F", warmest.size)
        values = np.clip(heat.values, 0, 1).astype(np.float32)
        layer.paste(Image.fromarray(values).resize((max(x1 - x0, 1), max(y1 - y0, 1)), BILINEAR), (x0, y0))
        warmest = Image.fromarray(np.maximum(np.asarray(warmest), np.asarray(layer)))
    return np.asarray(warmest)


def _draw_box(
    draw: ImageDraw.ImageDraw, region: Region, graded: RegionGrade, place: tuple[float, float, float, float]
) -> None:
    """The box with its grade: a recess's above it, the canal's below, where no recess lies."""
    colour = COLOURS[graded.grade]
    draw.rectangle(place, outline=colour, width=3)
    canal = region is Region.CENTRAL_CANAL
    corner = ((place[0] + place[2]) / 2, place[3] + 4) if canal else (place[0] + 4, place[1] - 4)
    draw.text(corner, str(int(graded.grade)), font=ImageFont.load_default(size=LINE_PX), fill=colour,
              anchor="mt" if canal else "lb", stroke_width=2, stroke_fill="black")


def _draw_scale(draw: ImageDraw.ImageDraw) -> None:
    length = SCALE_MM / PICTURE_MM * PICTURE_PX
    right, y = PICTURE_PX - MARGIN_PX, PICTURE_PX - MARGIN_PX
    draw.line((right - length, y, right, y), fill="white", width=3)
    draw.text((right - length / 2, y - 6), f"{SCALE_MM:g} mm", font=ImageFont.load_default(size=LINE_PX - 4),
              fill="white", anchor="mb", stroke_width=2, stroke_fill="black")


def _stamp(draw: ImageDraw.ImageDraw) -> None:
    draw.text((PICTURE_PX / 2, MARGIN_PX), STAMP, font=ImageFont.load_default(size=LINE_PX + 4), fill=(255, 209, 102),
              anchor="mt", stroke_width=2, stroke_fill="black")


def _caption(result: GradingResult, report: LevelReport, *, with_heat: bool) -> list[str]:
    level = report.level.value if report.level else "Level unknown"
    lines = [f"{level}, slice {report.slice_index + 1} from the foot, model {result.model_version} "
             f"(weights {result.weights_sha256[:12]})"]
    lines += [_region_line(report, region) for region in Region]
    if with_heat:
        lines.append("Colour: what in the image spoke for each region's grade.")
    lines += [result.provenance, RESEARCH_USE]
    return [part for line in lines for part in textwrap.wrap(line, LINE_CHARACTERS)]


def _region_line(report: LevelReport, region: Region) -> str:
    graded = report.regions.get(region)
    if graded is None:
        return f"{region.label}: not gradable. {report.not_gradable.get(region, '')}".strip()
    facts = [f"grade {int(graded.grade)} ({graded.grade.label}), probability {max(graded.probabilities):.0%}"]
    # Pillow's own font has no superscript two.
    facts += [f"{value:.1f} {'mm2' if name == SAC_AREA else 'mm'}" for name, value in graded.measures.items()]
    if graded.doubts:
        facts.append("in doubt")
    return f"{region.label}: {', '.join(facts)}"
