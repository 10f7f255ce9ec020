"""A page imports only from below the folder that the operator set."""

import pytest

from lss_core.server_folder import folder_below
from lss_core.vocabulary import Refusal


@pytest.fixture
def root(tmp_path):
    (tmp_path / "scans" / "march").mkdir(parents=True)
    (tmp_path / "private").mkdir()
    (tmp_path / "scans" / "link").symlink_to(tmp_path / "private")
    (tmp_path / "scans" / "one.dcm").write_bytes(b"x")
    return tmp_path / "scans"


def test_a_folder_below_the_root_is_found_by_its_path_from_there(root):
    assert folder_below(root, " march ") == root / "march"
    assert folder_below(root, "") == folder_below(root, ".") == root


@pytest.mark.parametrize("name", ["..", "../private", "march/../../private", "/etc", "link", "absent", "one.dcm",
                                  "../scans2"])
def test_what_leads_out_of_the_root_or_is_no_folder_is_refused_alike(root, name):
    with pytest.raises(Refusal, match=r"There is no folder .* below the import folder"):
        folder_below(root, name)


def test_a_name_that_no_file_system_takes_is_refused_in_a_sentence(root):
    with pytest.raises(Refusal, match="is no folder name"):
        folder_below(root, "a\0b")


def test_without_a_root_nothing_can_be_imported_from_this_server():
    with pytest.raises(Refusal, match="LSS_IMPORT_FOLDER"):
        folder_below(None, "march")
