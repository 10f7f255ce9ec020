"""Writing in the pixels is found where scanners burn it in, and not where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from lss_core.imaging.burned_in import find_writing, has_writing
from lss_core.imaging.dicom import read_scan
from lss_core.imaging.volume import Volume
from tests import studies

REAL = Path(__file__).resolve().parents[2] / "shared" / "real_ct"
SERIES = ("ge_upper_lumbar_5mm", "siemens_upper_lumbar_3mm")


def body(shape: tuple[int, int] = (256, 256)) -> np.ndarray:
    """An ellipse of soft tissue with a bright ring and a table below, in noisy air."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot((rows - 128) / 70, (cols - 128) / 100)
    hu = np.random.default_rng(1).normal(-1000, 15, shape)
    hu[radius < 1] += 1050
    hu[(radius > 0.3) & (radius < 0.35)] = 700
    hu[215:219, 20:236] = 400
    return hu.astype(np.int16)


def written(plane: np.ndarray, text: str, *, at: tuple[int, int], size: int, hu: int = 3071) -> np.ndarray:
    picture = Image.new("L", plane.shape[::-1])
    ImageDraw.Draw(picture).text(at[::-1], text, fill=255, font=ImageFont.load_default(size))
    share = np.asarray(picture) / 255
    return (plane * (1 - share) + hu * share).astype(np.int16)


@pytest.mark.parametrize("size", [8, 10, 14, 24, 36])
@pytest.mark.parametrize("at", [(4, 4), (200, 60)])
def test_a_name_in_the_air_is_found(size, at):
    assert has_writing(written(body(), "DOE JANE", at=at, size=size))


def test_a_birth_date_in_grey_is_found():
    assert has_writing(written(body(), "13.02.1947", at=(5, 5), size=12, hu=300))


def test_a_name_over_the_body_is_found_where_it_has_the_brightest_value_of_all():
    plane, sharp = body(), Image.new("1", (256, 256))
    ImageDraw.Draw(sharp).text((80, 120), "DOE JANE", fill=1, font=ImageFont.load_default(14))
    plane[np.asarray(sharp)] = 3071
    assert has_writing(plane)


def test_a_body_on_a_table_with_beads_and_a_wire_is_no_writing():
    plane = body()
    for row, col in ((20, 30), (40, 200), (60, 12)):
        plane[row : row + 6, col : col + 6] = 1500                  # beads
    plane[10:11, 40:220] = 900                                      # a wire
    assert not has_writing(plane)


def test_screws_are_no_writing():
    plane = body()
    for col in (100, 150):
        plane[120:135, col : col + 10] = 3071
    assert not has_writing(plane)


def test_the_slice_is_named():
    planes = [body() for _ in range(5)]
    planes[2] = written(planes[2], "DOE JANE", at=(4, 4), size=12)
    told = find_writing(replace(studies.volume(slices=5), hu=np.stack(planes)))
    assert told is not None and "slice 3" in told


@pytest.mark.parametrize("name", SERIES)
def test_real_scans_are_not_flagged_and_are_with_a_name_on_them(name):
    if not REAL.is_dir():
        pytest.skip("the real CT series are not beside this clone (../shared/real_ct)")
    volume: Volume = read_scan(REAL / name)
    assert find_writing(volume) is None
    assert all(has_writing(written(plane, "DOE JANE 1947", at=(6, 6), size=12)) for plane in volume.hu[::6])
