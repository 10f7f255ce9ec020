"""Reading DICOM series: places, values, series, every encoding."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from lss_core.imaging.dicom import best_series, find_series, read_scan, read_series
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Box, Refusal
from tests import scans

REAL_CT = Path(__file__).parents[1] / ".." / "shared" / "real_ct"
needs_real_ct = pytest.mark.skipif(not REAL_CT.is_dir(), reason="../shared/real_ct is not here")
REAL_SERIES = {     # slices, first and last position in mm (from the headers), pixel spacing
    "philips_full_lumbar_3mm": (75, 3.0, 1.07421875),
    "siemens_full_lumbar_5mm": (50, 5.0, 0.806640625),
    "ge_degenerative_5mm": (40, 5.0, 0.703125),
    "ge_upper_lumbar_5mm": (41, 5.0, 0.796875),
    "siemens_upper_lumbar_3mm": (36, 3.0, 0.8828125),
}


def voxel_points_mm(volume: Volume, origin: tuple[float, float]) -> np.ndarray:
    """LPS places of an untilted volume's voxels; `origin` is (back, left) of its first pixel."""
    slices, rows, columns = np.meshgrid(*map(np.arange, volume.shape), indexing="ij")
    y = origin[0] + rows * volume.pixel_spacing_mm[0]
    x = origin[1] + columns * volume.pixel_spacing_mm[1]
    return np.stack([x, y, volume.positions_mm[slices]], axis=-1)


def assert_shows_the_phantom(volume: Volume, *, origin: tuple[float, float], tolerance: float = 0.6) -> None:
    expected = scans.phantom_hu(voxel_points_mm(volume, origin))
    np.testing.assert_allclose(volume.hu, expected, atol=tolerance)


def test_a_standard_series_keeps_its_stored_planes_and_sorts_by_position(tmp_path: Path) -> None:
    scans.write_series(tmp_path, positions=[(-16, -16, z) for z in (6, 0, 3, 9)])
    volume = read_scan(tmp_path)
    assert volume.hu.dtype == np.int16
    assert volume.positions_mm.tolist() == [0, 3, 6, 9]
    assert not (volume.stored.transposed or volume.stored.flipped_rows or volume.stored.flipped_columns)
    assert volume.offsets_mm is None and volume.notes == ()
    assert_shows_the_phantom(volume, origin=(-16, -16))


TURNED = {
    "supine": (1, 0, 0, 0, 1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "left and right flipped": (-1, 0, 0, 0, 1, 0),
    "front and back flipped": (1, 0, 0, 0, -1, 0),
    "transposed": (0, 1, 0, 1, 0, 0),
    "on the side": (0, 1, 0, -1, 0, 0),
    "on the other side": (0, -1, 0, 1, 0, 0),
}


@pytest.mark.parametrize("name", TURNED)
def test_every_stored_orientation_reads_into_the_patients_axes(name: str, tmp_path: Path) -> None:
    orientation = TURNED[name]
    scans.write_series(tmp_path, orientation=orientation, shape=(24, 40), spacing=(1.0, 0.5))
    volume = read_scan(tmp_path)
    low = scans.plane_points_mm((-16, -16, 0), orientation, (1.0, 0.5), (24, 40)).reshape(-1, 3).min(axis=0)
    assert np.all(np.diff(volume.positions_mm) > 0)
    assert_shows_the_phantom(volume, origin=(low[1], low[0]))


@pytest.mark.parametrize("name", TURNED)
def test_a_box_goes_back_to_the_stored_pixels(name: str, tmp_path: Path) -> None:
    orientation = TURNED[name]
    paths = scans.write_series(tmp_path, orientation=orientation, shape=(24, 40), slices=1)
    volume = read_scan(paths[0])
    box = Box(3, 5, 7, 12)
    stored_box = volume.stored.box_to_stored(box)
    stored = scans.plane_points_mm((-16, -16, -10), orientation, (1, 1), (24, 40))
    inside = stored[int(stored_box.row0) : int(stored_box.row1) + 1, int(stored_box.col0) : int(stored_box.col1) + 1]
    expected = np.sort(volume.hu[0, 3:8, 5:13].ravel())
    np.testing.assert_allclose(np.sort(scans.phantom_hu(inside).ravel()), expected, atol=0.6)


@pytest.mark.parametrize("transfer_syntax", scans.LOSSLESS, ids=lambda uid: uid.name)
def test_every_lossless_encoding_gives_the_same_values(transfer_syntax: str, tmp_path: Path) -> None:
    hu = scans.random_hu(3, shape=(32, 48))
    scans.save(scans.ct_slice(hu, transfer_syntax=transfer_syntax), tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_scan(tmp_path).hu[0], hu)


@pytest.mark.parametrize("transfer_syntax", scans.LOSSY, ids=lambda uid: uid.name)
def test_lossy_encodings_stay_near(transfer_syntax: str, tmp_path: Path) -> None:
    hu = scans.random_hu(3, shape=(64, 64))
    scans.save(scans.ct_slice(hu, transfer_syntax=transfer_syntax), tmp_path / "a.dcm")
    assert np.abs(read_scan(tmp_path).hu[0].astype(float) - hu).mean() < 10


def test_8_bit_lossy_jpeg_is_rescaled(tmp_path: Path) -> None:
    scans.save(scans.jpeg_baseline_ct(), tmp_path / "a.dcm")
    np.testing.assert_allclose(read_scan(tmp_path).hu, 0, atol=8)


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless])
@pytest.mark.parametrize(("signed", "bits_stored", "intercept"), [(True, 16, 0), (True, 12, 0), (False, 12, -1024)])
def test_signedness_and_stored_bits_are_followed(
    transfer_syntax: str, signed: bool, bits_stored: int, intercept: float, tmp_path: Path
) -> None:
    hu = scans.random_hu(5, shape=(32, 32))
    ds = scans.ct_slice(
        hu, signed=signed, bits_stored=bits_stored, intercept=intercept, transfer_syntax=transfer_syntax
    )
    scans.save(ds, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_scan(tmp_path).hu[0], hu)


def test_unused_high_bits_do_not_reach_the_values(tmp_path: Path) -> None:
    ds = scans.ct_slice(scans.random_hu(5, shape=(32, 32)), bits_stored=12)
    overlay = np.frombuffer(ds.PixelData, np.uint16) | np.uint16(0x8000)    # an old overlay plane in bit 15
    ds.PixelData = overlay.tobytes()
    scans.save(ds, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_scan(tmp_path).hu[0], scans.random_hu(5, shape=(32, 32)))


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path: Path) -> None:
    for number, slope in enumerate((1.0, 0.5, 2.0)):
        ds = scans.ct_slice(
            np.full((32, 32), 100), position=(0, 0, 3 * number), slope=slope, number=number, intercept=-1000
        )
        scans.save(ds, tmp_path / f"{number}.dcm")
    assert np.unique(read_scan(tmp_path).hu).tolist() == [100]


@pytest.mark.parametrize(("padding", "stored"), [(63536, -2000), (-2000, -2000), (-1500, -1500)])
def test_padding_becomes_air_whatever_sign_it_is_written_with(padding: int, stored: int, tmp_path: Path) -> None:
    hu = np.full((32, 32), 40)
    hu[:4] = stored
    ds = scans.ct_slice(hu, signed=True, intercept=0)
    ds.add_new("PixelPaddingValue", "US" if padding > 0 else "SS", padding)
    scans.save(ds, tmp_path / "a.dcm")
    volume = read_scan(tmp_path)
    assert np.unique(volume.hu[0, :4]).tolist() == [-1024] and np.unique(volume.hu[0, 4:]).tolist() == [40]


def test_a_padding_range_within_the_tissue_values_becomes_air(tmp_path: Path) -> None:
    hu = np.full((32, 32), 40)
    hu[0], hu[1] = 3000, 3010
    ds = scans.ct_slice(hu)
    ds.add_new("PixelPaddingValue", "US", 4024)
    ds.add_new("PixelPaddingRangeLimit", "US", 4034)
    scans.save(ds, tmp_path / "a.dcm")
    assert np.unique(read_scan(tmp_path).hu[0, :2]).tolist() == [-1024]


def test_an_inverted_display_leaves_the_values_alone(tmp_path: Path) -> None:
    ds = scans.ct_slice(np.full((32, 32), 77), PhotometricInterpretation="MONOCHROME1")
    scans.save(ds, tmp_path / "a.dcm")
    assert np.unique(read_scan(tmp_path).hu).tolist() == [77]


def test_gantry_tilt_keeps_the_shear_and_says_the_angle(tmp_path: Path) -> None:
    tilt = np.deg2rad(15)
    orientation = (1, 0, 0, 0, np.cos(tilt), -np.sin(tilt))
    scans.write_series(tmp_path, orientation=orientation, positions=[(-16, -16, 5 * i) for i in range(6)])
    volume = read_scan(tmp_path)
    assert volume.offsets_mm is not None
    np.testing.assert_allclose(np.diff(volume.positions_mm), 5 * np.cos(tilt), atol=1e-6)
    np.testing.assert_allclose(np.diff(volume.offsets_mm[:, 0]), -5 * np.sin(tilt), atol=1e-6)
    np.testing.assert_allclose(volume.offsets_mm[:, 1], 0, atol=1e-9)
    assert any("15.0°" in note for note in volume.notes)


def test_missing_slices_are_named_in_mm(tmp_path: Path) -> None:
    scans.write_series(tmp_path, positions=[(0, 0, z) for z in (0, 3, 6, 15, 18, 21)])
    volume = read_scan(tmp_path)
    assert len(volume.hu) == 6 and volume.positions_mm[3] == 15
    assert volume.notes == (
        "A gap of 9.0 mm between slices 3 and 4 (counted from the foot), where 3.0 mm is usual: about 2 missing.",
    )


def test_uneven_spacing_keeps_the_true_positions(tmp_path: Path) -> None:
    places = [0.0, 3.0, 6.5, 9.0, 12.0]
    scans.write_series(tmp_path, positions=[(0, 0, z) for z in places])
    volume = read_scan(tmp_path)
    assert volume.positions_mm.tolist() == places
    assert "unevenly spaced, 2.5 to 3.5 mm" in volume.notes[0]


def test_overlapping_slices_are_kept_without_complaint(tmp_path: Path) -> None:
    scans.write_series(tmp_path, step_mm=1.5, thickness=3.0)
    volume = read_scan(tmp_path)
    assert volume.spacing_mm == 1.5 and volume.slice_thickness_mm == 3.0 and volume.notes == ()


def test_the_same_file_twice_counts_once(tmp_path: Path) -> None:
    for path in scans.write_series(tmp_path):
        shutil.copy(path, tmp_path / f"copy_{path.name}")
    volume = read_scan(tmp_path)
    assert len(volume.hu) == 6 and "6 slices" in volume.notes[0] and "duplicates" in volume.notes[0]


@pytest.mark.parametrize("told_apart_by", ["AcquisitionNumber", "TemporalPositionIdentifier", None])
def test_of_two_time_points_in_one_series_the_first_is_kept_whole(told_apart_by: str | None, tmp_path: Path) -> None:
    for phase in (1, 2):
        elements = {told_apart_by: phase} if told_apart_by else {}
        for z in range(5):
            ds = scans.ct_slice(
                np.full((32, 32), 100 * phase), position=(0, 0, 3 * z), number=10 * phase + z, **elements
            )
            scans.save(ds, tmp_path / f"{phase}_{z}.dcm")
    volume = read_scan(tmp_path)
    assert len(volume.hu) == 5 and np.unique(volume.hu).tolist() == [100]


def test_a_scan_made_in_steps_stays_whole(tmp_path: Path) -> None:
    for index in range(12):
        ds = scans.ct_slice(
            np.zeros((32, 32)), position=(0, 0, 3 * index), number=index, AcquisitionNumber=index // 4
        )
        scans.save(ds, tmp_path / f"{index}.dcm")
    volume = read_scan(tmp_path)
    assert len(volume.hu) == 12 and volume.notes == ()


def test_a_second_acquisition_adds_only_what_lies_beyond_the_first(tmp_path: Path) -> None:
    places = [(1, z) for z in (0, 3, 6, 9)] + [(2, z) for z in (6, 7.5, 12)]
    for number, (acquisition, z) in enumerate(places):
        ds = scans.ct_slice(
            np.full((32, 32), acquisition), position=(0, 0, z), number=number, AcquisitionNumber=acquisition
        )
        scans.save(ds, tmp_path / f"{number}.dcm")
    volume = read_scan(tmp_path)
    assert volume.positions_mm.tolist() == [0, 3, 6, 9, 12] and volume.hu[:, 0, 0].tolist() == [1, 1, 1, 1, 2]


def test_non_square_pixels_are_kept(tmp_path: Path) -> None:
    scans.write_series(tmp_path, spacing=(0.8, 0.5))
    assert read_scan(tmp_path).pixel_spacing_mm == (0.8, 0.5)


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_enhanced_multi_frame_ct_is_one_volume(transfer_syntax: str, tmp_path: Path) -> None:
    positions = [(-16, -16, z) for z in (9, 0, 3, 6, 12)]
    ds = scans.enhanced_ct(positions=positions, transfer_syntax=transfer_syntax)
    volume = read_scan(scans.save(ds, tmp_path / "enhanced.dcm"))
    assert volume.positions_mm.tolist() == [0, 3, 6, 9, 12]
    assert_shows_the_phantom(volume, origin=(-16, -16))


def test_an_enhanced_ct_in_two_concatenated_objects_is_one_volume(tmp_path: Path) -> None:
    for part, places in enumerate([(0, 3, 6), (9, 12)]):
        ds = scans.enhanced_ct(positions=[(-16, -16, z) for z in places])
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{part + 1}"
        scans.save(ds, tmp_path / f"{part}.dcm")
    volume = read_scan(tmp_path)
    assert volume.positions_mm.tolist() == [0, 3, 6, 9, 12]
    assert_shows_the_phantom(volume, origin=(-16, -16))


def test_files_folders_and_archives_mix_without_counting_twice(tmp_path: Path) -> None:
    loose = scans.write_series(tmp_path / "loose", positions=[(0, 0, z) for z in (0, 3)])
    folder = scans.write_series(tmp_path / "folder/deep", positions=[(0, 0, z) for z in (6, 9)])
    packed = scans.write_series(tmp_path / "packed", positions=[(0, 0, z) for z in (12, 15)])
    archive = scans.write_zip(tmp_path / "scan.zip", {f"a/{p.name}": p.read_bytes() for p in packed})
    index = find_series([*loose, loose[0], tmp_path / "folder", archive])
    assert [info.slices for info in index.series] == [6] and not index.left_out
    assert folder and read_series(index.series[0]).positions_mm.tolist() == [0, 3, 6, 9, 12, 15]


def test_a_dicomdir_is_followed(tmp_path: Path) -> None:
    volume = read_scan(scans.write_medium(tmp_path))
    assert len(volume.hu) == 6


def test_a_dicomdir_uploaded_beside_its_flattened_files_adds_nothing(tmp_path: Path) -> None:
    medium, flat = tmp_path / "medium", tmp_path / "flat"
    scans.write_medium(medium)
    flat.mkdir()
    for file in medium.rglob("*"):
        if file.is_file():
            shutil.copy(file, flat / file.name)
    index = find_series([flat / "DICOMDIR", *sorted(path for path in flat.iterdir() if path.name != "DICOMDIR")])
    assert [info.slices for info in index.series] == [6] and not index.left_out


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    path = scans.write_series(tmp_path, slices=1, transfer_syntax="1.2.840.10008.1.2")[0]
    data = path.read_bytes()
    meta_length = int.from_bytes(data[140:144], "little")
    path.write_bytes(data[144 + meta_length :])
    assert_shows_the_phantom(read_scan(path), origin=(-16, -16))


def test_localizers_reports_and_other_modalities_are_named_and_left_out(tmp_path: Path) -> None:
    scans.write_series(tmp_path)
    others = {
        "scout.dcm": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "mr.dcm": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"},
        "pet.dcm": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Modality": "PT"},
        "dose.dcm": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67", "Modality": "SR"},
        "sheet.dcm": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "CT"},
        "struct.dcm": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3", "Modality": "RTSTRUCT"},
    }
    for name, elements in others.items():
        scans.save(scans.ct_slice(np.zeros((32, 32)), **elements), tmp_path / "other" / name)
    (tmp_path / "readme.txt").write_text("hello")
    index = find_series([tmp_path])
    reasons = {item.name: item.reason for item in index.left_out}
    assert len(index.series) == 1 and set(reasons) == {*others, "readme.txt"}
    words = {"scout.dcm": "localizer", "mr.dcm": "MR image", "pet.dcm": "PET", "dose.dcm": "dose report",
             "sheet.dcm": "secondary capture", "struct.dcm": "structure set", "readme.txt": "not a DICOM"}  # fmt: skip
    for name, word in words.items():
        assert word in reasons[name]


def test_the_proposed_series_is_axial_soft_thin_and_long(tmp_path: Path) -> None:
    def write(name: str, number: int, **options: object) -> None:
        scans.write_series(tmp_path / name, series_uid=f"1.2.3.{number}", shape=(32, 32), **options)

    write("thin_soft", 1, slices=60, step_mm=3.0, thickness=3.0)
    write("thick_soft", 2, slices=40, step_mm=5.0, thickness=5.0)
    write("thin_bone", 3, slices=90, step_mm=2.0, thickness=2.0, ConvolutionKernel="B70s")
    write("thinnest_but_short", 4, slices=20, step_mm=1.0, thickness=1.0)
    write("coronal", 5, slices=60, step_mm=1.0, thickness=1.0, orientation=scans.CORONAL)
    index = find_series([tmp_path])
    assert len(index.series) == 5
    best = best_series(index)
    assert best.series_uid == "1.2.3.1" == index.series[0].series_uid
    assert best.description == "Axial, soft kernel (B30f), 60 slices, 3 mm thick, 180 mm from foot to head"


def test_slices_of_another_size_in_a_series_become_a_part_of_their_own(tmp_path: Path) -> None:
    scans.write_series(tmp_path / "a", slices=5)
    scans.write_series(tmp_path / "b", slices=3, shape=(48, 48))
    uids = [(info.series_uid, info.slices) for info in find_series([tmp_path]).series]
    assert sorted(uids) == [("1.2.826.0.1.3680043.8.498.1", 5), ("1.2.826.0.1.3680043.8.498.1#2", 3)]


@pytest.mark.parametrize("orientation", [scans.CORONAL, scans.SAGITTAL, (0.0, 0.8, 0.6, 0.0, 0.6, -0.8)])
def test_a_volume_that_covers_enough_is_reformatted_and_says_so(
    orientation: tuple[float, ...], tmp_path: Path
) -> None:
    scans.write_series(tmp_path, orientation=orientation, slices=33, step_mm=2.0, thickness=2.0, shape=(80, 64),
                       intercept=-1024, signed=True)  # fmt: skip
    volume = read_scan(tmp_path)
    assert any("Reformatted to axial" in note for note in volume.notes)
    stored = np.concatenate([
        scans.plane_points_mm(np.array([-16.0, -16, -10]) + i * 2.0 * np.cross(orientation[:3], orientation[3:]),
                              orientation, (1, 1), (80, 64)).reshape(-1, 3) for i in (0, 32)
    ])  # fmt: skip
    low = stored.min(axis=0)
    expected = scans.phantom_hu(voxel_points_mm(volume, (low[1], low[0])))
    inside = volume.hu > -1000
    assert inside.mean() > 0.3
    interior = inside & np.roll(inside, 2, 0) & np.roll(inside, -2, 0) & np.roll(inside, 2, 1) & np.roll(inside, -2, 1)
    interior &= np.roll(inside, 2, 2) & np.roll(inside, -2, 2)
    np.testing.assert_allclose(volume.hu[interior], expected[interior], atol=1.1)


def test_progress_rises_to_one(tmp_path: Path) -> None:
    scans.write_series(tmp_path)
    steps: list[float] = []
    info = best_series(find_series([tmp_path], progress=steps.append))
    assert steps == sorted(steps) and steps[-1] == 1.0
    steps.clear()
    read_series(info, progress=steps.append)
    assert steps == sorted(steps) and steps[-1] == 1.0


def test_a_file_removed_after_it_was_found_is_named(tmp_path: Path) -> None:
    paths = scans.write_series(tmp_path)
    info = best_series(find_series([tmp_path]))
    paths[2].unlink()
    with pytest.raises(Refusal, match=r"^002\.dcm cannot be read: it is no longer there"):
        read_series(info)


@needs_real_ct
@pytest.mark.parametrize("name", REAL_SERIES)
def test_real_series_read_in_order_and_in_hounsfield_units(name: str) -> None:
    slices, step_mm, pixel_mm = REAL_SERIES[name]
    info = best_series(find_series([REAL_CT / name]))
    volume = read_series(info)
    assert volume.shape == (slices, 512, 512) and volume.pixel_spacing_mm == (pixel_mm, pixel_mm)
    np.testing.assert_allclose(np.diff(volume.positions_mm), step_mm, atol=0.01)
    assert info.orientation == "axial" and info.gradable and "soft kernel" in info.description
    assert volume.hu.min() >= -1024 and volume.hu.max() > 700
    body = volume.hu[:, 200:312, 200:312]
    assert 0 < np.median(body) < 120        # soft tissue in the middle
    assert np.median(volume.hu[:, :20, :20]) <= -900      # air or padding in the corner
    assert len(set(volume.sop_instance_uids)) == slices


@needs_real_ct
def test_a_real_series_reads_the_same_from_a_zip(tmp_path: Path) -> None:
    folder = REAL_CT / "siemens_upper_lumbar_3mm"
    archive = scans.write_zip(tmp_path / "s.zip", {path.name: path.read_bytes() for path in folder.glob("*.dcm")})
    np.testing.assert_array_equal(read_scan(archive).hu, read_scan(folder).hu)


@needs_real_ct
@pytest.mark.parametrize("name", ["abdomen_coronal", "abdomen_sagittal", "chest_sagittal"])
def test_real_single_slices_that_are_not_axial_are_refused(name: str) -> None:
    with pytest.raises(Refusal, match="cannot be turned into axial slices: at least 21"):
        read_scan(REAL_CT / "refuse" / f"{name}.dcm")


@needs_real_ct
@pytest.mark.parametrize("name", ["chest_axial_5mm", "chest_axial_5x5"])
def test_real_single_axial_slices_are_one_slice_volumes(name: str) -> None:
    assert read_scan(REAL_CT / "refuse" / f"{name}.dcm").shape == (1, 512, 512)


def test_bytes_after_the_pixels_do_not_matter(tmp_path: Path) -> None:
    path = scans.write_series(tmp_path, slices=1)[0]
    path.write_bytes(path.read_bytes() + b"\0" * 64)
    assert read_scan(path).shape == (1, 32, 32)
