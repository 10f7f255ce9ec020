"""An uploaded control set is unpacked inside its folder, or refused in a sentence."""

import io
import zipfile
from types import SimpleNamespace

import pytest

from lss_core.vocabulary import Refusal
from ui.study.uploaded_set import set_in, unpack


def upload(name: str, content: bytes = b"x") -> SimpleNamespace:
    return SimpleNamespace(name=name, getbuffer=lambda: io.BytesIO(content).getbuffer())


def packed(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return content.getvalue()


def test_a_zip_keeps_its_folders_and_leaves_no_archive_behind(tmp_path):
    archive = packed(**{"set/reference.csv": b"rows", "set/P1/IM1": b"slice"})
    folder = unpack([upload("set.zip", archive)], tmp_path)
    assert folder == tmp_path / "set"
    assert (folder / "P1" / "IM1").read_bytes() == b"slice"
    assert not list(tmp_path.glob("*.zip"))


def test_the_files_of_a_folder_keep_their_places(tmp_path):
    folder = unpack([upload("set/reference.csv"), upload("set/P1/IM1"), upload("set/P2/IM1")], tmp_path)
    assert (folder / "P1" / "IM1").is_file() and (folder / "P2" / "IM1").is_file()


@pytest.mark.parametrize("names", [["set/P1/IM1"], ["a/reference.csv", "b/reference.csv"]], ids=["none", "two"])
def test_a_set_has_exactly_one_reference(tmp_path, names):
    with pytest.raises(Refusal, match=r"There is (no|2) reference\.csv in it"):
        unpack([upload(name) for name in names], tmp_path)


def test_a_folder_that_is_not_there_holds_no_set(tmp_path):
    with pytest.raises(Refusal, match=r"no reference\.csv"):
        set_in(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["../../escape", "/etc/escape", "a/../../../escape", "..\\escape"])
def test_a_name_cannot_leave_the_folder(tmp_path, name):
    place = tmp_path / "inside" / "deeper"
    place.mkdir(parents=True)
    unpack([upload("reference.csv"), upload(name)], place)
    assert [path.resolve().is_relative_to(place) for path in tmp_path.rglob("escape")] == [True]


@pytest.mark.parametrize("name", ["", "..", "nul\0l", "\ud800", "n" * 300], ids=ascii)
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(Refusal, match="cannot be kept beside the other files"):
        unpack([upload("reference.csv"), upload(name)], tmp_path)


def test_two_files_of_one_name_are_refused_and_not_overwritten(tmp_path):
    with pytest.raises(Refusal, match="cannot be kept beside the other files"):
        unpack([upload("reference.csv", b"1"), upload("reference.csv", b"2")], tmp_path)
    assert (tmp_path / "reference.csv").read_bytes() == b"1"


def test_a_hostile_archive_is_refused(tmp_path):
    with pytest.raises(Refusal, match="a path that leads out of the archive"):
        unpack([upload("set.zip", packed(**{"../escape": b"x", "reference.csv": b"x"}))], tmp_path)
    assert not list(tmp_path.parent.glob("escape"))


def test_a_damaged_archive_is_refused(tmp_path):
    with pytest.raises(Refusal, match="truncated or corrupt ZIP"):
        unpack([upload("set.zip", packed(**{"reference.csv": b"x"})[:-10])], tmp_path)


def test_an_archive_inside_an_archive_is_refused(tmp_path):
    with pytest.raises(Refusal, match="an archive inside an archive"):
        unpack([upload("set.zip", packed(**{"reference.csv": b"x", "P1.zip": b"x"}))], tmp_path)
