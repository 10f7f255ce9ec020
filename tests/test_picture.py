"""A single axial PNG or JPEG with typed spacing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lss_core.imaging.dicom import read_scan
from lss_core.imaging.picture import read_picture
from lss_core.vocabulary import Refusal

GREY = np.tile(np.arange(0, 256, 2, dtype=np.uint8), (96, 1))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_grey_picture_is_one_slice_without_hounsfield_units(name: str, mode: str, tmp_path: Path) -> None:
    Image.fromarray(GREY).convert(mode).save(tmp_path / name)
    volume = read_picture(tmp_path / name, pixel_spacing_mm=(0.5, 0.6))
    assert volume.shape == (1, 96, 128) and volume.pixel_spacing_mm == (0.5, 0.6)
    assert not volume.has_hounsfield and "lower confidence" in volume.notes[0]
    np.testing.assert_allclose(volume.hu[0, 0, [0, -1]], [-160, 237], atol=8)
    assert np.all(np.diff(volume.hu[0].mean(axis=0)) > 0)


def test_read_scan_asks_for_the_spacing_of_a_picture(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(Refusal, match="give its pixel spacing"):
        read_scan(tmp_path / "a.png")
    assert read_scan(tmp_path / "a.png", pixel_spacing_mm=(1, 1)).shape == (1, 96, 128)


def write_bad_picture(kind: str, path: Path) -> None:
    colour = np.dstack([GREY, GREY[:, ::-1], GREY])
    if kind == "colour":
        Image.fromarray(colour).save(path)
    elif kind == "16 bit":
        Image.fromarray(GREY.astype(np.uint16) * 200).save(path)
    elif kind == "too small":
        Image.fromarray(GREY[:20, :20]).save(path)
    elif kind == "too large":
        Image.new("L", (5000, 100)).save(path)
    elif kind == "bomb":
        Image.new("1", (60000, 3000)).save(path)
    elif kind == "animated":
        Image.fromarray(GREY).save(path, save_all=True, append_images=[Image.fromarray(GREY[::-1])])
    elif kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(GREY).save(path, exif=exif)
    elif kind == "cut short":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 128)).astype(np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:4000])
    elif kind == "text":
        path.write_text("no picture")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "GIF":
        Image.fromarray(GREY).save(path, "GIF")


KINDS = ("colour", "16 bit", "too small", "too large", "bomb", "animated", "rotated", "cut short", "text", "empty",
         "GIF")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_other_pictures_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    write_bad_picture(kind, path)
    with pytest.raises(Refusal, match=r"^bad\.png cannot be read: it"):
        read_picture(path, pixel_spacing_mm=(0.5, 0.5))


@pytest.mark.parametrize("spacing", [(0, 0.5), (0.5, -1), (50, 50), (float("nan"), 1), (0.01, 0.01)])
def test_an_impossible_spacing_is_refused(spacing: tuple[float, float], tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(Refusal, match="is not that of a CT"):
        read_picture(tmp_path / "a.png", pixel_spacing_mm=spacing)
