"""Ten malformed inputs of each kind: a clear sentence each, never a traceback."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import FileDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEGExtended12Bit, JPEGLosslessSV1

from lss_core.imaging.dicom import best_series, find_series, read_series
from lss_core.imaging.limits import Limits
from lss_core.vocabulary import Refusal
from tests import scans

# pytest puts its own warning filters over those that reading sets for the process.
pytestmark = pytest.mark.filterwarnings("ignore:End of file reached before delimiter")

FLAT = np.zeros((32, 32))
OBLIQUE = (0.8, 0.0, 0.6, 0.6 * 0.6, 0.8, -0.6 * 0.8)
Builder = Callable[[Path], Path]


def refusal_of(path: Path, limits: Limits | None = None) -> str:
    """Read as far as it goes; the refusal's sentence, checked to be one that a user can be shown."""
    with pytest.raises(Refusal) as refusal:
        read_series(best_series(find_series([path], limits=limits)))
    sentence = str(refusal.value)
    assert sentence.endswith(".") and "\n" not in sentence and 20 < len(sentence) < 300, sentence
    assert "Traceback" not in sentence and "Error" not in sentence and str(path.parent) not in sentence
    assert refusal.value.__cause__ is None
    assert not [secret for secret in scans.SECRETS if secret in sentence]
    return sentence


OTHER_OBJECTS = {
    "MR": ("1.2.840.10008.5.1.4.1.1.4", "MR", "MR image"),
    "enhanced MR": ("1.2.840.10008.5.1.4.1.1.4.1", "MR", "MR image"),
    "PET": ("1.2.840.10008.5.1.4.1.1.128", "PT", "PET image"),
    "ultrasound": ("1.2.840.10008.5.1.4.1.1.6.1", "US", "ultrasound"),
    "nuclear": ("1.2.840.10008.5.1.4.1.1.20", "NM", "nuclear"),
    "radiograph": ("1.2.840.10008.5.1.4.1.1.1.1", "DX", "radiograph"),
    "dose report": ("1.2.840.10008.5.1.4.1.1.88.67", "SR", "dose report"),
    "screenshot": ("1.2.840.10008.5.1.4.1.1.7", "OT", "secondary capture"),
    "structure set": ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT", "structure set"),
    "PDF": ("1.2.840.10008.5.1.4.1.1.104.1", "DOC", "document"),
    "MR that says it is CT storage": ("1.2.840.10008.5.1.4.1.1.2", "MR", "MR image"),
    "unknown": ("1.2.3.4.5", "XX", "another kind of object"),
}


@pytest.mark.parametrize("name", OTHER_OBJECTS)
def test_what_is_not_ct_is_refused_by_its_kind(name: str, tmp_path: Path) -> None:
    sop_class, modality, words = OTHER_OBJECTS[name]
    ds = scans.ct_slice(FLAT, SOPClassUID=sop_class, Modality=modality, planted=True)
    sentence = refusal_of(scans.save(ds, tmp_path / "x.dcm"))
    assert words in sentence and "not a CT image" in sentence and "x.dcm" in sentence


NOT_FILES_OF_A_SCAN = {
    "empty": b"", "text": b"hello" * 100, "zeros": bytes(2000), "PDF": b"%PDF-1.7 " * 50, "HTML": b"<html>" * 50,
    "RAR": b"Rar!\x1a\x07\x00" + bytes(500), "7z": b"7z\xbc\xaf\x27\x1c" + bytes(500), "gzip": b"\x1f\x8b" + bytes(500),
    "only a preamble": bytes(128) + b"DICM", "PNG": b"\x89PNG\r\n\x1a\n" + bytes(500),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_FILES_OF_A_SCAN)
def test_files_of_another_kind_are_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "thing.bin").write_bytes(NOT_FILES_OF_A_SCAN[name])
    assert "thing.bin" in refusal_of(tmp_path)


def stack(orientation: tuple[float, ...], slices: int, **options: object) -> Builder:
    return lambda folder: (
        scans.write_series(folder / "s", orientation=orientation, slices=slices, **options) and folder / "s"
    )


NOT_AXIAL = {
    "one coronal": stack(scans.CORONAL, 1),
    "one sagittal": stack(scans.SAGITTAL, 1),
    "one oblique": stack((0.8, 0.6, 0, 0, 0, -1), 1),
    "a coronal scout pair": stack(scans.CORONAL, 2, step_mm=5.0),
    "axial turned by 40 degrees in the plane": stack((0.766, 0.643, 0, -0.643, 0.766, 0), 4),
    "too far apart": stack(scans.CORONAL, 30, step_mm=4.0, shape=(80, 32)),
    "too low": stack(scans.SAGITTAL, 30, shape=(32, 80)),
    "with a gap": stack(scans.SAGITTAL, 0, shape=(80, 32), positions=[(x + 20 * (x > 30), 0, 0) for x in range(64)]),
    "tilted by half a right angle": stack((1, 0, 0, 0, 0.7, -0.714), 10),
    "thin but few": stack(scans.CORONAL, 40, step_mm=1.0, shape=(80, 32)),
}


@pytest.mark.parametrize("name", NOT_AXIAL)
def test_what_is_not_axial_is_refused_with_the_remedy(name: str, tmp_path: Path) -> None:
    sentence = refusal_of(NOT_AXIAL[name](tmp_path))
    assert "axial" in sentence


@pytest.mark.parametrize("slices", [1, 2, 3, 5, 8, 10, 13, 16, 19, 20])
def test_fewer_slices_than_a_reformat_needs_are_counted(slices: int, tmp_path: Path) -> None:
    sentence = refusal_of(stack(scans.SAGITTAL, slices, step_mm=3.0, shape=(80, 32))(tmp_path))
    assert sentence.startswith(f"{slices} sagittal slice") and "at least 21" in sentence


def cut(share: float, transfer_syntax: str) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(share * len(data))]


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    **{
        f"half of {uid.name}": (uid, lambda data: data[: len(data) * 3 // 4])
        for uid in (*scans.LOSSLESS, *scans.LOSSY)
    },
    "cut in the header": (scans.LOSSLESS[1], lambda data: data[:700]),
    "cut in the meta information": (scans.LOSSLESS[1], lambda data: data[:180]),
    "one byte short": (scans.LOSSLESS[1], lambda data: data[:-2]),
    "rows lie": (scans.LOSSLESS[1], lambda data: swap_element(data, b"\x28\x00\x10\x00US\x02\x00", 3000)),
    "rows lie, compressed": (JPEGLosslessSV1, lambda data: swap_element(data, b"\x28\x00\x10\x00US\x02\x00", 64)),
    "noise instead of the header": (scans.LOSSLESS[1], lambda data: data[:200] + np.random.default_rng(1).bytes(2000)),
}


def swap_element(data: bytes, head: bytes, value: int) -> bytes:
    at = data.index(head) + len(head)
    return data[:at] + value.to_bytes(2, "little") + data[at + 2 :]


@pytest.mark.parametrize("name", DAMAGE)
def test_truncated_and_corrupt_files_are_named(name: str, tmp_path: Path) -> None:
    transfer_syntax, damage = DAMAGE[name]
    ds = scans.ct_slice(scans.random_hu(1, shape=(32, 32)), transfer_syntax=transfer_syntax, planted=True)
    path = scans.save(ds, tmp_path / "017.dcm")
    path.write_bytes(damage(path.read_bytes()))
    sentence = refusal_of(path)
    assert "017.dcm" in sentence and ("truncated or corrupt" in sentence or "not a CT image" in sentence)


def test_every_corrupt_file_of_a_series_is_named_up_to_three(tmp_path: Path) -> None:
    paths = scans.write_series(tmp_path, slices=9)
    for path in paths[2:6]:
        path.write_bytes(path.read_bytes()[:-100])
    assert refusal_of(tmp_path).startswith("002.dcm, 003.dcm, 004.dcm and 1 more cannot be read: it is truncated")


LYING_FRAMES = {
    "huge JPEG": (JPEGLosslessSV1, lambda frame: frame.replace(b"\xff\xc3\x00\x0b\x10\x00\x20\x00\x20", b"\xff\xc3\x00\x0b\x10\xff\xff\xff\xff")),  # noqa: E501
    "JPEG of no size": (JPEGLosslessSV1, lambda frame: frame.replace(b"\x10\x00\x20\x00\x20", b"\x10\x00\x00\x00\x20")),
    "huge JPEG-LS": (scans.JPEGLSLossless, lambda frame: frame.replace(b"\x00\x20\x00\x20", b"\xff\xff\xff\xff", 1)),
    "huge JPEG 2000": (scans.JPEG2000Lossless, lambda frame: frame[:8] + struct.pack(">II", 65535, 65535) + frame[16:]),
    "tiny tiles": (scans.JPEG2000Lossless, lambda frame: frame[:8] + struct.pack(">II", 65535, 65535) + frame[16:24] + struct.pack(">II", 1, 1) + frame[32:]),  # noqa: E501
    "not a codestream": (scans.JPEG2000Lossless, lambda frame: b"\0" * len(frame)),
    "colour in the frame": (JPEGLosslessSV1, lambda frame: frame.replace(b"\x20\x00\x20\x01", b"\x20\x00\x20\x03")),
    "no end": (scans.JPEGLSLossless, lambda frame: frame[:-2] + b"\0\0"),
    "empty frame": (scans.JPEGLSLossless, lambda frame: b"\0\0"),
    "two pictures": (JPEGLosslessSV1, lambda frame: frame[:2] + frame[2:15] + frame[2:]),
}  # fmt: skip


@pytest.mark.parametrize("name", LYING_FRAMES)
def test_compressed_frames_that_lie_about_their_size_reach_no_decoder(name: str, tmp_path: Path) -> None:
    transfer_syntax, change = LYING_FRAMES[name]
    ds = scans.ct_slice(scans.random_hu(1, shape=(32, 32)), transfer_syntax=transfer_syntax)
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    assert change(frame) != frame
    ds.PixelData = encapsulate([change(frame)])
    assert "a.dcm cannot be read: it is truncated or corrupt" in refusal_of(scans.save(ds, tmp_path / "a.dcm"))


BAD_ELEMENTS: dict[str, dict[str, object]] = {
    "no slope": {"RescaleSlope": None}, "no intercept": {"RescaleIntercept": None}, "slope 0": {"RescaleSlope": 0},
    "not HU": {"RescaleType": "US"}, "no position": {"ImagePositionPatient": None},
    "no orientation": {"ImageOrientationPatient": None}, "no spacing": {"PixelSpacing": None},
    "spacing 0": {"PixelSpacing": [0, 0]}, "spacing of metres": {"PixelSpacing": [1000, 1000]},
    "parallel axes": {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "zero axes": {"ImageOrientationPatient": [0] * 6},
    "position in space": {"ImagePositionPatient": [0, 0, 1e12]}, "colour": {"SamplesPerPixel": 3},
    "palette": {"PhotometricInterpretation": "PALETTE COLOR"}, "32 bit": {"BitsAllocated": 32},
    "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "frames without places": {"NumberOfFrames": 9},
    "no pixels": {"PixelData": None}, "stored bits 0": {"BitsStored": 0},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_headers_that_cannot_be_trusted_are_refused(name: str, tmp_path: Path) -> None:
    ds = scans.ct_slice(FLAT, **BAD_ELEMENTS[name])  # type: ignore[arg-type]
    assert "a.dcm" in refusal_of(scans.save(ds, tmp_path / "a.dcm"))


ENHANCED_DAMAGE: dict[str, Callable[[object], None]] = {
    "more frames than described": lambda ds: setattr(ds, "NumberOfFrames", 40),
    "2 thousand million frames": lambda ds: setattr(ds, "NumberOfFrames", 2_000_000_000),
    "no frames described": lambda ds: delattr(ds, "PerFrameFunctionalGroupsSequence"),
    "nothing shared": lambda ds: delattr(ds, "SharedFunctionalGroupsSequence"),
    "a frame without a place": lambda ds: delattr(ds.PerFrameFunctionalGroupsSequence[1], "PlanePositionSequence"),
    "an empty place": lambda ds: setattr(ds.PerFrameFunctionalGroupsSequence[1], "PlanePositionSequence", []),
    "no spacing": lambda ds: delattr(ds.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence"),
    "no rescale": lambda ds: delattr(ds.SharedFunctionalGroupsSequence[0], "PixelValueTransformationSequence"),
    "negative frames": lambda ds: setattr(ds, "NumberOfFrames", -3),
    "huge frames": lambda ds: setattr(ds, "Rows", 65535),
}  # fmt: skip


@pytest.mark.parametrize("name", ENHANCED_DAMAGE)
def test_malformed_enhanced_ct_is_refused_by_name(name: str, tmp_path: Path) -> None:
    ds = scans.enhanced_ct(positions=[(0, 0, z) for z in (0, 3, 6)])
    ENHANCED_DAMAGE[name](ds)
    assert "e.dcm" in refusal_of(scans.save(ds, tmp_path / "e.dcm"))


def zip_of(folder: Path, members: dict[str, bytes]) -> Path:
    return scans.write_zip(folder / "scan.zip", members)


def one_file(folder: Path) -> bytes:
    return scans.write_series(folder / "s", slices=1)[0].read_bytes()


@pytest.mark.parametrize("count", range(1, 11))
def test_encrypted_archives_are_refused(count: int, tmp_path: Path) -> None:
    archive = zip_of(tmp_path, {f"{index}/{index}.dcm": one_file(tmp_path) for index in range(count)})
    assert refusal_of(scans.mark_encrypted(archive)).startswith("scan.zip is an encrypted ZIP archive")


BOMBS: dict[str, tuple[Callable[[Path], dict[str, bytes]], Limits, str]] = {
    "one large member": (lambda _: {"a": bytes(80 << 20)}, Limits(), "over 100 times its size"),
    "many members": (lambda _: {str(i): bytes(1 << 20) for i in range(70)}, Limits(), "over 100 times its size"),
    "small, by a lower limit": (lambda _: {"a": bytes(2 << 20)}, Limits(zip_ratio_from_bytes=1 << 20), "100 times"),
    "a million files": (lambda _: {str(i): b"" for i in range(300)}, Limits(files=200), "200 files"),
    "large in total": (
        lambda _: {str(i): np.random.default_rng(i).bytes(1 << 20) for i in range(4)},
        Limits(total_bytes=3 << 20), "more than 3 MiB",
    ),
    "archive in an archive": (
        lambda f: {"in.zip": zip_of(f, {"a.dcm": one_file(f)}).read_bytes()}, Limits(), "inside an archive",
    ),
    "archive by another name": (
        lambda f: {"in.dcm": zip_of(f, {"a.dcm": one_file(f)}).read_bytes()}, Limits(), "inside an archive",
    ),
    "empty archive": (lambda _: {}, Limits(), "no files in it"),
    "only folders": (lambda _: {"a/": b""}, Limits(), "no files in it"),
    "one member over the limit": (
        lambda _: {"a.dcm": np.random.default_rng(1).bytes(3 << 20)}, Limits(file_bytes=2 << 20), "limit of 2 MiB",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_archives_that_unpack_to_too_much_are_refused(name: str, tmp_path: Path) -> None:
    members, limits, words = BOMBS[name]
    assert words in refusal_of(zip_of(tmp_path, members(tmp_path)), limits)


def test_deflated_dicom_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    ds = scans.ct_slice(np.zeros((1024, 1024)), transfer_syntax=scans.DeflatedExplicitVRLittleEndian)
    path = scans.save(ds, tmp_path / "bomb.dcm")
    assert path.stat().st_size < 20_000
    assert "bomb.dcm" in refusal_of(path, Limits(file_bytes=1 << 20))


ESCAPES = ("../a.dcm", "a/../../b.dcm", "/etc/a.dcm", "C:/a.dcm", "C:\\a.dcm", "..\\a.dcm", "\\\\host\\a.dcm",
           "a\\..\\..\\b.dcm", "..", "x/..")  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_archive_paths_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, one_file(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    assert "a path that leads out of the archive" in refusal_of(tmp_path / "scan.zip")
    assert sorted(tmp_path.rglob("*")) == before


def test_archived_links_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        info = zipfile.ZipInfo("link.dcm")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "leads out of the archive" in refusal_of(tmp_path / "scan.zip")


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    outside = scans.write_series(tmp_path / "outside")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.dcm").symlink_to(outside[0])
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "outside")
    assert "link.dcm left out because it is a link" in refusal_of(tmp_path / "in")


ESCAPING_LISTS = (("..", "A"), ("A", "..", "..", "B"), ("/ETC", "A"), ("C:", "A"), ("..\\A",), ("A/../../B",), ("",),
                  (".", "A"), ("A", ""), ("//HOST/A",))  # fmt: skip


@pytest.mark.parametrize("listed", ESCAPING_LISTS, ids=str)
def test_dicomdir_paths_that_lead_out_are_refused(listed: tuple[str, ...], tmp_path: Path) -> None:
    scans.write_series(tmp_path / "outside")
    refusal_of(scans.write_dicomdir(tmp_path / "disc", [listed, ("GONE",)]))


def test_a_dicomdir_alone_says_what_is_missing(tmp_path: Path) -> None:
    sentence = refusal_of(scans.write_dicomdir(tmp_path, [("IMAGES", "I0001")]))
    assert "I0001 left out because the DICOMDIR lists it, but it was not added" in sentence


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8, 0.97])
def test_cut_archives_and_dicomdirs_are_refused(share: float, tmp_path: Path) -> None:
    archive = zip_of(tmp_path, {str(index): np.random.default_rng(index).bytes(500) for index in range(5)})
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    assert "scan.zip is a truncated or corrupt ZIP archive" in refusal_of(archive)
    dicomdir = scans.write_dicomdir(tmp_path, [(f"I{index}",) for index in range(20)])
    dicomdir.write_bytes(dicomdir.read_bytes()[: int(share * dicomdir.stat().st_size)])
    refusal_of(dicomdir)


def test_a_damaged_archive_member_is_named(tmp_path: Path) -> None:
    archive = zip_of(tmp_path, {"a.dcm": scans.random_hu(1, shape=(60, 60)).tobytes()})
    data = bytearray(archive.read_bytes())
    data[60:300] = bytes(240)
    archive.write_bytes(data)
    assert "a.dcm left out because it cannot be read; it is truncated or corrupt" in refusal_of(archive)


def twelve_bit_frame(size: int) -> bytes:
    """A lossy frame that says it holds 12 bits, as extended sequential JPEG does."""
    data = BytesIO()
    Image.fromarray(scans.random_hu(size, shape=(size, size)).astype(np.uint8)).save(data, "JPEG")
    return data.getvalue().replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c")


def twelve_bit_ct(size: int, frame: bytes) -> FileDataset:
    ds = scans.ct_slice(np.zeros((size, size)), bits_stored=12)
    ds.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    return ds


def test_a_12_bit_lossy_frame_that_the_decoder_reads_is_read(tmp_path: Path) -> None:
    path = scans.save(twelve_bit_ct(32, twelve_bit_frame(32)), tmp_path / "a.dcm")
    assert read_series(best_series(find_series([path]))).shape == (1, 32, 32)


@pytest.mark.parametrize("size", range(16, 96, 8))
def test_12_bit_lossy_frames_that_no_decoder_reads_are_refused(size: int, tmp_path: Path) -> None:
    without_tables = twelve_bit_frame(size).replace(b"\xff\xc4", b"\xff\xfe")    # a comment where tables were
    ds = twelve_bit_ct(size, without_tables)
    sentence = refusal_of(scans.save(ds, tmp_path / "a.dcm"))
    assert "a.dcm cannot be read: it is 12-bit lossy JPEG, which no decoder here reads" in sentence


def test_the_12_bit_file_that_every_decoder_fails_on_is_refused(tmp_path: Path) -> None:
    source = dcmread(get_testdata_file("JPEG-lossy.dcm"))
    ds = twelve_bit_ct(16, source.PixelData)
    ds.PixelData, ds.Rows, ds.Columns = source.PixelData, source.Rows, source.Columns
    assert "12-bit lossy JPEG" in refusal_of(scans.save(ds, tmp_path / "a.dcm"))


def test_an_unknown_compression_is_refused(tmp_path: Path) -> None:
    ds = scans.ct_slice(FLAT)
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"     # MPEG-4
    ds.PixelData = encapsulate([bytes(100)])
    ds["PixelData"].VR = "OB"
    assert "its compression is not one that is read here" in refusal_of(scans.save(ds, tmp_path / "a.dcm"))


def series_in(folder: Path) -> Path:
    scans.write_series(folder / "s")
    return folder / "s"


def slice_of(**elements: object) -> Builder:
    return lambda folder: scans.save(scans.ct_slice(FLAT, **elements), folder / "big.dcm")  # type: ignore[arg-type]


OVER_LIMITS: dict[str, tuple[Builder, Limits]] = {
    "files": (series_in, Limits(files=3)),
    "bytes in total": (series_in, Limits(total_bytes=6000)),
    "bytes of a file": (series_in, Limits(file_bytes=1000)),
    "voxels of a series": (series_in, Limits(voxels=5 * 32 * 32)),
    "rows": (slice_of(Rows=65535), Limits()),
    "columns": (slice_of(Columns=65535), Limits()),
    "rows and columns": (slice_of(Rows=65535, Columns=65535), Limits()),
    "header": (slice_of(), Limits(header_bytes=500)),
    "voxels of an enhanced object": (
        lambda folder: scans.save(scans.enhanced_ct(positions=[(0, 0, z) for z in range(5)]), folder / "big.dcm"),
        Limits(voxels=4 * 32 * 32),
    ),
    "files of an archive": (lambda f: zip_of(f, {str(i): one_file(f) for i in range(4)}), Limits(files=3)),
}  # fmt: skip


@pytest.mark.parametrize("name", OVER_LIMITS)
def test_what_is_over_a_limit_is_refused(name: str, tmp_path: Path) -> None:
    build, limits = OVER_LIMITS[name]
    sentence = refusal_of(build(tmp_path), limits)
    assert "limit" in sentence or "more than" in sentence


def test_nothing_and_missing_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="Nothing was given"):
        find_series([])
    with pytest.raises(Refusal, match=r"gone\.dcm does not exist"):
        find_series([tmp_path / "gone.dcm"])
    with pytest.raises(Refusal, match="no files in it"):
        find_series([tmp_path])


def test_names_with_odd_characters_are_shown_on_one_line(tmp_path: Path) -> None:
    sentence = refusal_of(zip_of(tmp_path, {"a\nb\x1b[31m" + "x" * 300: b"not a scan"}))
    assert "a?b?[31mxxx" in sentence and "x..." in sentence
    refusal_of(scans.write_dicomdir(tmp_path, [("I\n1",)]))


def test_an_archive_member_without_a_name_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path, {"Q": b"x"})
    data = archive.read_bytes()
    central = data.index(b"PK\x01\x02")
    archive.write_bytes(data[: central + 28] + b"\0\0" + data[central + 30 : central + 46] + data[central + 47 :])
    assert "scan.zip is a truncated or corrupt ZIP archive" in refusal_of(archive)
