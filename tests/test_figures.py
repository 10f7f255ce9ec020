"""The picture of a region shows what lies where it says."""

import io

import numpy as np
import pytest
from PIL import Image

from lss_core.figures import PICTURE_MM, PICTURE_PX, region_picture
from lss_core.vocabulary import Box

SPACING_MM = (0.8, 0.5)
BOX = Box(60, 80, 80, 120)


def drawn(grey=None, **heat) -> np.ndarray:
    grey = np.zeros((160, 200), np.float32) if grey is None else grey
    png = region_picture(grey, pixel_spacing_mm=SPACING_MM, box=BOX, caption=["L4/5", "grade 2"], **heat)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def on_picture(row: float, column: float) -> tuple[int, int]:
    """Where a pixel's centre should lie, from the picture's scale and the box's centre."""
    scale = PICTURE_PX / PICTURE_MM
    y = PICTURE_PX / 2 + (row - BOX.centre[0]) * SPACING_MM[0] * scale
    x = PICTURE_PX / 2 + (column - BOX.centre[1]) * SPACING_MM[1] * scale
    return round(y), round(x)


@pytest.mark.parametrize(("row", "column"), [(70, 100), (50, 70), (95, 140)])
def test_a_bright_pixel_lies_where_its_millimetres_say(row, column):
    grey = np.zeros((160, 200), np.float32)
    grey[row, column] = 1.0
    picture = drawn(grey)[:PICTURE_PX].min(axis=2)     # the box is coloured, the letters lie at the sides
    picture[:, :40] = picture[:, -40:] = 0
    y, x = np.argwhere(picture == picture.max()).mean(axis=0)
    assert (y, x) == pytest.approx(on_picture(row, column), abs=1.5)


def test_the_box_frames_its_region():
    picture = drawn()
    y, x = on_picture(BOX.row0, BOX.col0)
    assert tuple(picture[y, x + 30]) == (255, 209, 102)


def test_a_hot_spot_is_warm_and_a_cold_one_is_clear():
    heat = np.zeros((10, 10), np.float32)
    heat[:5, :5] = 1.0
    picture = drawn(heat=heat, heat_box=BOX)
    hot = picture[on_picture(BOX.row0 + 5, BOX.col0 + 10)]
    cold = picture[on_picture(BOX.row1 - 3, BOX.col1 - 5)]
    assert hot[0] > 100 and cold.max() < 30


def test_a_region_at_the_edge_is_drawn():
    png = region_picture(
        np.ones((40, 40), np.float32), pixel_spacing_mm=SPACING_MM, box=Box(0, 0, 6, 6), caption=["edge"]
    )
    assert Image.open(io.BytesIO(png)).size[0] == PICTURE_PX
