"""Volume geometry, windowing and crops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lss_core.imaging.volume import AIR_HU, StoredPlane, Volume, crop, window
from lss_core.vocabulary import Box

PLANES = [StoredPlane((20, 30), *flags) for flags in itertools.product((False, True), repeat=3)]


def turned(stored: np.ndarray, plane: StoredPlane) -> np.ndarray:
    """As StoredPlane's docstring says: transpose, then flip rows, then columns."""
    turned = stored.T if plane.transposed else stored
    turned = turned[::-1] if plane.flipped_rows else turned
    return turned[:, ::-1] if plane.flipped_columns else turned


@pytest.mark.parametrize("plane", PLANES)
@given(data=st.data())
def test_a_box_frames_the_same_pixels_in_the_stored_plane(plane: StoredPlane, data: st.DataObject) -> None:
    stored = np.arange(600).reshape(20, 30)
    image = turned(stored, plane)
    row0, col0 = data.draw(st.integers(0, image.shape[0] - 2)), data.draw(st.integers(0, image.shape[1] - 2))
    row1 = data.draw(st.integers(row0 + 1, image.shape[0] - 1))
    col1 = data.draw(st.integers(col0 + 1, image.shape[1] - 1))
    box = plane.box_to_stored(Box(row0, col0, row1, col1))
    framed = stored[int(box.row0) : int(box.row1) + 1, int(box.col0) : int(box.col1) + 1]
    assert set(framed.ravel()) == set(image[row0 : row1 + 1, col0 : col1 + 1].ravel())


def volume_at(positions: list[float]) -> Volume:
    count = len(positions)
    hu = np.zeros((count, 4, 4), np.int16)
    return Volume(hu, np.array(positions), (1.0, 1.0), 3.0, ("1",) * count, "1", StoredPlane((4, 4)))


def test_the_neighbour_is_the_nearest_slice_in_millimetres() -> None:
    volume = volume_at([0, 3, 6, 15, 18])
    assert [volume.neighbour(2, offset) for offset in (-100, -6, -2, 0, 4, 9, 13)] == [0, 0, 1, 2, 2, 3, 4]


def test_a_single_slice_is_as_far_apart_as_it_is_thick() -> None:
    assert volume_at([7.0]).spacing_mm == 3.0


def test_the_window_maps_its_ends_to_0_and_1() -> None:
    values = window(np.array([-2000, -160, 40, 240, 3000], np.int16), width=400, level=40)
    np.testing.assert_allclose(values, [0, 0, 0.5, 1, 1])


def test_a_crop_at_the_pixel_pitch_copies_the_pixels() -> None:
    plane = np.random.default_rng(0).integers(-1000, 1000, (40, 50)).astype(np.int16)
    part = crop(plane, pixel_spacing_mm=(0.5, 0.5), centre=(15.5, 20.5), size_mm=8.0, size_px=16)
    np.testing.assert_allclose(part, plane[8:24, 13:29])


def test_a_crop_has_its_own_scale_in_both_directions() -> None:
    rows, cols = np.mgrid[:80, :80]
    plane = (rows * 0.8 * 10).astype(np.int16)       # 10 HU for each mm down, with pixels of 0.8 x 0.4 mm
    part = crop(plane, pixel_spacing_mm=(0.8, 0.4), centre=(40, 40), size_mm=16.0, size_px=16)
    np.testing.assert_allclose(np.diff(part.mean(axis=1)), 10, atol=1.0)
    assert np.ptp(part, axis=1).max() < 1 and cols.shape == plane.shape


def test_outside_the_slice_a_crop_shows_air() -> None:
    plane = np.full((20, 20), 50, np.int16)
    part = crop(plane, pixel_spacing_mm=(1, 1), centre=(-30, 5), size_mm=10, size_px=10)
    assert np.unique(part).tolist() == [AIR_HU]
    corner = crop(plane, pixel_spacing_mm=(1, 1), centre=(0, 0), size_mm=10, size_px=10)
    assert corner[0, 0] == AIR_HU and corner[-1, -1] == 50
