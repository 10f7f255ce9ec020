"""Scans are stored without identity and without loss, open in parts, and are known to be unaltered."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.vocabulary import Refusal

PLANTED = "1.2.276.0.PLANTED"


def scan(hu: np.ndarray | None = None, **changes) -> Volume:
    """A volume whose identity would be recognised."""
    if hu is None:
        hu = np.random.default_rng(1).integers(-1024, 3000, (9, 20, 30)).astype(np.int16)
    volume = Volume(
        hu=hu, positions_mm=-812.5 + np.arange(len(hu)) * 2.5, pixel_spacing_mm=(0.7, 0.71), slice_thickness_mm=2.5,
        sop_instance_uids=tuple(f"{PLANTED}.{i}" for i in range(len(hu))), series_uid=PLANTED,
        stored=StoredPlane((30, 20), transposed=True), notes=(PLANTED,),
    )
    return replace(volume, **changes)


@pytest.fixture
def store(tmp_path):
    return ScanStore(tmp_path / "images")


@settings(max_examples=40, deadline=None)
@given(hu=arrays.arrays(np.int16, arrays.array_shapes(min_dims=3, max_dims=3, max_side=8)))
def test_every_int16_comes_back_as_it_was(hu, tmp_path_factory):
    store = ScanStore(tmp_path_factory.mktemp("store"))
    np.testing.assert_array_equal(store.open(store.put(scan(hu)).key).hu, hu)


def test_the_geometry_comes_back(store):
    offsets = np.linspace([0, 0], [3.3, 0.1], 9)
    volume = scan(offsets_mm=offsets, has_hounsfield=False)
    back = store.open(store.put(volume).key)
    assert back.pixel_spacing_mm == (0.7, 0.71) and back.slice_thickness_mm == 2.5 and not back.has_hounsfield
    np.testing.assert_array_equal(np.diff(back.positions_mm), np.diff(volume.positions_mm))
    np.testing.assert_array_equal(back.offsets_mm, offsets)
    assert back.neighbour(3, 5.0) == volume.neighbour(3, 5.0) == 5


def test_identity_is_not_stored(store, tmp_path):
    back = store.open(store.put(scan()).key)
    files = [each for each in (tmp_path / "images").rglob("*") if each.is_file()]
    assert len(files) == 1
    assert PLANTED.encode() not in files[0].read_bytes() and b"812.5" not in files[0].read_bytes()
    assert back.positions_mm[0] == 0 and back.notes == () and back.stored == StoredPlane((20, 30))
    assert PLANTED not in back.series_uid + "".join(back.sop_instance_uids)


def test_the_same_scan_gets_another_name_each_time(store):
    first, second = store.put(scan()), store.put(scan())
    assert first.key != second.key and first.sha256 == second.sha256


def test_other_pixels_have_another_sha256(store):
    other = scan().hu.copy()
    other[4, 5, 6] += 1
    assert store.put(scan()).sha256 != store.put(scan(other)).sha256


def test_a_slab_is_that_part_of_the_scan_and_reads_no_other_slice(store, monkeypatch):
    hu = np.random.default_rng(2).integers(-1024, 3000, (40, 64, 64)).astype(np.int16)
    stored = store.put(scan(hu))
    read, original = [], store._files.cat_file
    monkeypatch.setattr(
        store._files, "cat_file", lambda *args, **ranges: read.append(original(*args, **ranges)) or read[-1]
    )
    slab = store.slab(stored.key, 10, 12, sha256=stored.sha256)
    np.testing.assert_array_equal(slab.hu, hu[10:13])
    np.testing.assert_array_equal(slab.positions_mm, [25, 27.5, 30])
    assert len(read) == 2 and len(read[1]) < 3 * 64 * 64 * 2


def test_a_header_longer_than_the_first_read_is_read_whole(store):
    stored = store.put(scan(np.zeros((900, 2, 2), np.int16)))
    assert store.geometry(stored.key).shape == (900, 2, 2)
    assert store.slab(stored.key, 899, 899, sha256=stored.sha256).positions_mm == [899 * 2.5]


@pytest.mark.parametrize(("index", "distance_mm", "expected"), [(4, 5.0, (2, 6)), (0, 5.0, (0, 2)), (8, 0, (8, 8))])
def test_around_gives_the_slices_within_a_distance(store, index, distance_mm, expected):
    assert store.geometry(store.put(scan()).key).around(index, distance_mm) == expected


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (3, 2), (0, 9)])
def test_slices_that_are_not_there_are_refused(store, first, last):
    with pytest.raises(Refusal, match=f"Slices {first} to {last} were asked of a scan with slices 0 to 8"):
        store.slab(store.put(scan()).key, first, last)


def test_an_altered_slice_is_refused_and_the_others_open(store, tmp_path):
    stored = store.put(scan())
    flip(tmp_path, stored.key, -1)
    with pytest.raises(Refusal, match="does not match its SHA-256"):
        store.slab(stored.key, 8, 8)
    with pytest.raises(Refusal, match="does not match its SHA-256"):
        store.stored(stored.key)
    assert len(store.slab(stored.key, 0, 7).hu) == 8


def test_a_header_altered_together_with_its_digests_is_refused(store):
    mine, other = store.put(scan()), store.put(scan(np.zeros((9, 20, 30), np.int16)))
    store.restore(mine.key, store.stored(other.key))
    with pytest.raises(Refusal, match="does not match its SHA-256"):
        store.open(mine.key, sha256=mine.sha256)
    with pytest.raises(Refusal, match="does not match its SHA-256"):
        store.stored(mine.key, sha256=mine.sha256)


def test_a_header_that_tells_another_shape_is_refused(store, tmp_path):
    stored = store.put(scan())
    path = tmp_path / "images" / f"{stored.key}.ct"
    path.write_bytes(path.read_bytes().replace(b"[9, 20, 30]", b"[9, 30, 30]"))
    with pytest.raises(Refusal, match="does not match its SHA-256"):
        store.open(stored.key)


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_cut_off_scan_is_refused(store, tmp_path, keep):
    stored = store.put(scan())
    path = tmp_path / "images" / f"{stored.key}.ct"
    path.write_bytes(path.read_bytes()[:keep])
    for opening in (store.open, store.stored):
        with pytest.raises(Refusal, match="does not match its SHA-256"):
            opening(stored.key)


def test_a_scan_with_something_behind_it_is_refused_in_a_backup(store, tmp_path):
    stored = store.put(scan())
    with (tmp_path / "images" / f"{stored.key}.ct").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Refusal, match="does not match its SHA-256"):
        store.stored(stored.key)


@pytest.mark.parametrize("key", ["0" * 32, "../secret", "", "A" * 32])
def test_a_scan_that_is_not_there_is_refused(store, tmp_path, key):
    (tmp_path / "secret.ct").write_bytes(b"outside")
    for opening in (store.open, store.geometry, store.stored):
        with pytest.raises(Refusal, match="no such scan"):
            opening(key)
    with pytest.raises(Refusal, match="no such scan"):
        store.restore("../secret", b"overwritten")


def test_a_heat_map_comes_back_and_an_altered_one_is_refused(store, tmp_path):
    heat = np.random.default_rng(3).integers(0, 256, (40, 50)).astype(np.uint8)
    key = store.put_heat_map(heat)
    np.testing.assert_array_equal(store.heat_map(key), heat)
    flip(tmp_path, key, 60)
    with pytest.raises(Refusal, match="heat map does not match"):
        store.heat_map(key)
    with pytest.raises(Refusal, match="no such heat map"):
        store.heat_map(f"{'0' * 32}-{'0' * 64}")


def test_what_was_stored_is_restored_in_another_store(store, tmp_path):
    stored, heat = store.put(scan()), store.put_heat_map(np.eye(5, dtype=np.uint8))
    other = ScanStore(tmp_path / "other")
    for key in (stored.key, heat):
        other.restore(key, store.stored(key))
    np.testing.assert_array_equal(other.open(stored.key, sha256=stored.sha256).hu, scan().hu)
    np.testing.assert_array_equal(other.heat_map(heat), np.eye(5))


def test_a_bucket_works_like_a_folder():
    store = ScanStore(f"memory://{uuid4()}/images")
    stored = store.put(scan())
    np.testing.assert_array_equal(store.slab(stored.key, 2, 3, sha256=stored.sha256).hu, scan().hu[2:4])
    assert store.heat_map(store.put_heat_map(np.eye(5, dtype=np.uint8))).shape == (5, 5)
    with pytest.raises(Refusal, match="no such scan"):
        store.open("0" * 32)


def test_an_address_that_nothing_reads_is_refused():
    with pytest.raises(Refusal, match=r"carrier://pigeon cannot be used: .* Correct LSS_IMAGES"):
        ScanStore("carrier://pigeon")


@pytest.mark.parametrize("pixels", [np.zeros((2, 3, 4), np.float32), np.zeros((3, 4), np.int16)])
def test_only_int16_volumes_are_stored(store, pixels):
    with pytest.raises(ValueError, match="int16"):
        store.put(replace(scan(), hu=pixels))


def test_only_uint8_heat_maps_are_stored(store):
    with pytest.raises(ValueError, match="float64"):
        store.put_heat_map(np.eye(3))


def flip(tmp_path: Path, key: str, index: int) -> None:
    """Turn over the bits of one byte of a stored file."""
    path = next((tmp_path / "images").glob(f"{key}.*"))
    content = bytearray(path.read_bytes())
    content[index] ^= 0xFF
    path.write_bytes(content)
