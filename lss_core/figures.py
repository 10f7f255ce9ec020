"""Pictures made from results."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lss_core.vocabulary import RESEARCH_USE, Box

# matplotlib's "inferno" at nine equal steps, as the viewer colours its heat maps (ui/viewer/frontend/src/heat.js).
INFERNO = np.array(
    [(0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10),
     (249, 201, 50), (252, 255, 164)],
    dtype=np.float32,
)
PICTURE_MM = 110.0
PICTURE_PX = 660
MARGIN_PX = 12
LINE_PX = 22
HEAT_OPACITY = 0.5


def region_picture(
    grey: np.ndarray,
    *,
    pixel_spacing_mm: tuple[float, float],
    box: Box,
    caption: Sequence[str],
    heat: np.ndarray | None = None,
    heat_box: Box | None = None,
) -> bytes:
    """A PNG of the anatomy around one region, with its box, its heat map and lines of text below.

    Args:
        grey: the windowed slice, 0..1 [row, column].
        pixel_spacing_mm: (row, column).
        box: the region, in pixels of `grey`.
        caption: one string a line; the research-use sentence is added below them.
        heat: 0..1 [row, column], covering `heat_box`.
        heat_box: where the heat map lies, in pixels of `grey`.
    """
    size = tuple(PICTURE_MM / spacing for spacing in pixel_spacing_mm)
    view = Box.around(box.centre, (size[0], size[1]))
    picture = _enlarged(grey, view)
    if heat is not None and heat_box is not None:
        _blend_heat(picture, heat, _on_picture(heat_box, view))
    draw = ImageDraw.Draw(picture)
    draw.rectangle(_on_picture(box, view), outline=(255, 209, 102), width=3)
    _mark_sides(draw)
    return _as_png(_with_caption(picture, [*caption, RESEARCH_USE]))


def _enlarged(grey: np.ndarray, view: Box) -> Image.Image:
    """The part of a slice in `view`, at PICTURE_PX; black outside the slice."""
    whole = Image.fromarray((np.clip(grey, 0, 1) * 255).astype(np.uint8))
    # Pillow's coefficients map an output pixel to an input point, counted from pixel edges; the view counts centres.
    scale_x, scale_y = view.size[1] / PICTURE_PX, view.size[0] / PICTURE_PX
    coefficients = (scale_x, 0, view.col0 + 0.5, 0, scale_y, view.row0 + 0.5)
    size = (PICTURE_PX, PICTURE_PX)
    return whole.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC).convert("RGB")


def _on_picture(box: Box, view: Box) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) of a box on the enlarged picture."""
    x, y = PICTURE_PX / view.size[1], PICTURE_PX / view.size[0]
    return (
        (box.col0 - view.col0) * x, (box.row0 - view.row0) * y, (box.col1 - view.col0) * x, (box.row1 - view.row0) * y
    )


def _blend_heat(picture: Image.Image, heat: np.ndarray, place: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = (round(value) for value in place)
    size = (max(x1 - x0, 1), max(y1 - y0, 1))
    values = np.clip(heat, 0, 1).astype(np.float32)
    warm = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
    steps = np.arange(len(INFERNO)) / (len(INFERNO) - 1)
    colours = np.stack([np.interp(warm, steps, INFERNO[:, channel]) for channel in range(3)], axis=-1)
    alpha = HEAT_OPACITY * (0.16 + 0.84 * warm)
    mask = Image.fromarray((alpha * 255).astype(np.uint8))
    picture.paste(Image.fromarray(colours.astype(np.uint8)), (x0, y0), mask)


def _mark_sides(draw: ImageDraw.ImageDraw) -> None:
    font = ImageFont.load_default(size=LINE_PX)
    middle = PICTURE_PX // 2
    draw.text((MARGIN_PX, middle), "R", font=font, fill="white", anchor="lm", stroke_width=2, stroke_fill="black")
    right = (PICTURE_PX - MARGIN_PX, middle)
    draw.text(right, "L", font=font, fill="white", anchor="rm", stroke_width=2, stroke_fill="black")


def _with_caption(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    height = PICTURE_PX + 2 * MARGIN_PX + LINE_PX * len(lines)
    page = Image.new("RGB", (PICTURE_PX, height), "white")
    page.paste(picture, (0, 0))
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        place = (MARGIN_PX, PICTURE_PX + MARGIN_PX + LINE_PX * number)
        draw.text(place, line, font=_fitting_font(draw, line), fill="black")
    return page


def _fitting_font(draw: ImageDraw.ImageDraw, line: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font, down to 8 px, in which a line fits across the picture."""
    size = LINE_PX - 6
    font = ImageFont.load_default(size=size)
    while size > 8 and draw.textlength(line, font=font) > PICTURE_PX - 2 * MARGIN_PX:
        size -= 1
        font = ImageFont.load_default(size=size)
    return font


def _as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()
