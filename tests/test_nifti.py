"""Reading NIfTI volumes into the patient's axes."""

from __future__ import annotations

import gzip
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from lss_core.imaging.dicom import best_series, find_series, read_scan, read_series
from lss_core.imaging.limits import Limits
from lss_core.vocabulary import Refusal
from tests import scans
from tests.test_dicom import REAL_CT, needs_real_ct, voxel_points_mm

CUBE = (60, 60, 60)


def ct_like(points_mm: np.ndarray) -> np.ndarray:
    return scans.phantom_hu(points_mm) * 3


def affine_of(
    order: tuple[int, int, int] = (0, 1, 2),
    signs: tuple[int, int, int] = (1, 1, 1),
    spacing: tuple[float, ...] = (1, 1, 1),
    *,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """RAS affine whose index n runs along patient axis order[n], in direction signs[n], about the origin."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for index, (axis, sign, step) in enumerate(zip(order, signs, spacing, strict=True)):
        affine[axis, index] = sign * step
    affine[:3, 3] = np.array([5.0, -7.0, 1.0]) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_any_axis_order_reads_into_the_patients_axes(
    order: tuple[int, int, int], signs: tuple[int, int, int], suffix: str, tmp_path: Path
) -> None:
    shape, spacing = (61, 62, 63), (1.0, 1.1, 1.2)
    affine = affine_of(order, signs, spacing, shape=shape)
    path = scans.write_nifti(tmp_path / f"a{suffix}", affine=affine, shape=shape, hu=ct_like)
    volume = read_scan(path)
    corners = np.array([[i, j, k] for i in (0, 60) for j in (0, 61) for k in (0, 62)]) @ affine[:3, :3].T
    low = ((corners + affine[:3, 3]) * np.array([-1, -1, 1])).min(axis=0)
    points = voxel_points_mm(volume, (low[1], low[0]))
    assert volume.positions_mm[0] == pytest.approx(low[2], abs=1e-4)
    np.testing.assert_allclose(volume.hu, np.clip(ct_like(points), -1024, None), atol=1.5)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_stored_number_types_are_followed(dtype: str, tmp_path: Path) -> None:
    affine = affine_of(shape=CUBE)
    path = scans.write_nifti(tmp_path / "a.nii.gz", affine=affine, shape=CUBE, dtype=dtype, hu=ct_like)
    assert read_scan(path).hu.min() < -500


def test_a_sagittal_nifti_is_reformatted_and_says_so(tmp_path: Path) -> None:
    affine = affine_of(spacing=(3.0, 1.0, 1.0), shape=(24, 70, 70))
    path = scans.write_nifti(tmp_path / "a.nii", affine=affine, shape=(24, 70, 70), hu=ct_like)
    volume = read_scan(path)
    assert any("Reformatted to axial slices from sagittal" in note for note in volume.notes)
    assert volume.pixel_spacing_mm == (1.0, 1.0) and volume.spacing_mm == 2.0


def test_too_few_sagittal_slices_are_refused(tmp_path: Path) -> None:
    affine = affine_of(spacing=(3.0, 1.0, 1.0), shape=(24, 70, 70))
    path = scans.write_nifti(tmp_path / "a.nii", affine=affine, shape=(8, 70, 70), hu=ct_like)
    with pytest.raises(Refusal, match="8 sagittal slices cannot be turned into axial slices: at least 21"):
        read_scan(path)


VALUES_OF_OTHER_THINGS = {
    "label map": lambda points: np.clip(np.round(points[..., 2] / 10), 0, 33),
    "MR": lambda points: np.abs(scans.phantom_hu(points)) * 3,
    "CT shifted to 0..4095": lambda points: np.clip(scans.phantom_hu(points) * 2 + 1024, 0, 4095),
    "normalised": lambda points: scans.phantom_hu(points) / 100,
    "empty": lambda points: np.zeros(points.shape[:-1]),
}


@pytest.mark.parametrize("what", VALUES_OF_OTHER_THINGS)
def test_values_that_are_not_hounsfield_units_are_refused(what: str, tmp_path: Path) -> None:
    affine = affine_of(shape=CUBE)
    values = VALUES_OF_OTHER_THINGS[what]
    path = scans.write_nifti(tmp_path / "a.nii", affine=affine, shape=CUBE, hu=values)
    with pytest.raises(Refusal, match=r"^a\.nii cannot be read: its values are not Hounsfield units"):
        read_scan(path)


def damaged(path: Path, kind: str) -> bytes:
    data = bytearray(path.read_bytes())
    huge = (32767).to_bytes(2, "little")
    patches = {
        "huge dimensions": [(42, huge * 3)],
        "time series": [(40, (4).to_bytes(2, "little")), (48, (5).to_bytes(2, "little"))],
        "zero dimension": [(42, bytes(2))],
        "negative dimension": [(42, b"\xff\xff")],
        "colour voxels": [(70, (128).to_bytes(2, "little")), (72, (24).to_bytes(2, "little"))],
        "unknown type": [(70, (9999).to_bytes(2, "little"))],
        "header and image in two files": [(344, b"ni1\0")],
        "data far away": [(108, np.float32(1e15).tobytes())],
        "not a number": [(280, np.float32(np.nan).tobytes())],
        "without a place": [(252, bytes(4))],
    }
    for offset, patch in patches.get(kind, []):
        data[offset : offset + len(patch)] = patch
    return bytes(data[: len(data) // 2]) if kind == "cut short" else bytes(data)


DAMAGES = (
    "huge dimensions", "time series", "zero dimension", "negative dimension", "colour voxels", "unknown type",
    "header and image in two files", "data far away", "not a number", "without a place", "cut short",
)  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("packed", [False, True])
def test_malformed_nifti_is_refused_by_name(kind: str, packed: bool, tmp_path: Path) -> None:
    affine = affine_of(shape=CUBE)
    plain = scans.write_nifti(tmp_path / "a.nii", affine=affine, shape=(20, 20, 20), hu=ct_like)
    data = damaged(plain, kind)
    path = tmp_path / ("bad.nii.gz" if packed else "bad.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(Refusal, match=r"bad\.nii") as refusal:
        read_scan(path)
    assert str(refusal.value).count("\n") == 0


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    affine = affine_of(shape=CUBE)
    path = scans.write_nifti(tmp_path / "a.nii.gz", affine=affine, shape=CUBE, hu=ct_like)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(Refusal, match=r"a\.nii\.gz cannot be read: it is truncated or corrupt"):
        read_scan(path)


def test_a_volume_that_would_grow_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    turned = affine_of(spacing=(2.0, 2.0, 2.0), shape=CUBE)
    angle = np.deg2rad(20)
    turned[:3, :3] = turned[:3, :3] @ [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    path = scans.write_nifti(tmp_path / "a.nii", affine=turned, shape=CUBE, hu=ct_like)
    assert any("Reformatted" in note for note in read_scan(path).notes)
    found = find_series([path], limits=Limits(voxels=60 * 60 * 60))
    with pytest.raises(Refusal, match="turned into axial slices it is over the limit"):
        read_series(best_series(found))


@needs_real_ct
@pytest.mark.parametrize(
    ("name", "shape"),
    [("totalseg_example_ct/ct.nii.gz", (112, 101, 122)), ("tptbox_L3/sub-ct_label-22_ct.nii.gz", (47, 73, 73))],
)
def test_real_nifti_shows_vertebrae_behind_the_middle(name: str, shape: tuple[int, int, int]) -> None:
    volume = read_scan(REAL_CT / "labelled" / name)
    assert volume.shape == shape
    bone = np.argwhere(volume.hu > 300).mean(axis=0)
    air = np.argwhere(volume.hu < -700).mean(axis=0) if name.startswith("total") else bone - 1
    assert abs(bone[2] - shape[2] / 2) < 0.2 * shape[2] and air[1] < bone[1]


@needs_real_ct
@pytest.mark.parametrize("name", ["vertebrae_body.nii.gz", "vertebrae_labels.nii.gz"])
def test_real_label_maps_are_refused(name: str) -> None:
    with pytest.raises(Refusal, match="label map"):
        read_scan(REAL_CT / "labelled/totalseg_example_ct" / name)


def test_finding_a_packed_volume_reads_its_header_only(tmp_path: Path) -> None:
    affine = affine_of(shape=CUBE)
    path = scans.write_nifti(tmp_path / "a.nii.gz", affine=affine, shape=CUBE, hu=ct_like)
    path.write_bytes(path.read_bytes()[:2000])
    info = find_series([path]).series[0]
    assert (info.slices, info.rows, info.columns) == (60, 60, 60) and info.gradable
