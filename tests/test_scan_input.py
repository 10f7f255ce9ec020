"""Uploaded files are unpacked inside a folder that goes away."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from ui.scan_input import unpacked
from ui.wording import plain


def upload(name: str, content: bytes = b"x") -> SimpleNamespace:
    return SimpleNamespace(name=name, getbuffer=lambda: io.BytesIO(content).getbuffer())


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "C:\\a\\b", "a/../../b", "..", "", "nul\0l", "é" * 300,
     "/".join("abcdefghijkl"), "\ud800"],
)
def test_a_name_cannot_leave_its_folder(name):
    with unpacked([upload(name)]) as folder:
        (path,) = [path for path in folder.rglob("*") if path.is_file()]
        assert path.resolve().is_relative_to(folder.resolve())
        assert path.read_bytes() == b"x"


def test_files_of_one_name_are_all_kept():
    contents = [b"1", b"2", b"3"]
    with unpacked([upload("IM1", content) for content in contents]) as folder:
        assert sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file()) == contents


def test_a_file_where_another_needs_a_folder_is_kept():
    with unpacked([upload("a", b"1"), upload("a/b", b"2")]) as folder:
        assert sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file()) == [b"1", b"2"]


def test_folders_are_kept_because_a_dicomdir_names_them():
    with unpacked([upload("CD/DICOM/IM1")]) as folder:
        assert (folder / "CD" / "DICOM" / "IM1").is_file()


def test_nothing_is_left_behind_even_after_an_error():
    seen: list[Path] = []
    with pytest.raises(RuntimeError), unpacked([upload("scan.dcm")]) as folder:
        seen.append(folder)
        raise RuntimeError
    assert not seen[0].exists()


def test_text_from_a_file_cannot_become_markup():
    assert plain("<b>[x](http://e)") == r"\<b\>\[x\]\(http\:\/\/e\)".replace(r"\/", "/")
