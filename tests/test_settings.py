"""Settings come from the environment, and wrong ones are named."""

from pathlib import Path

import pytest

from lss_core.settings import MIB, ROOT, Settings


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_environment({}) == Settings()
    assert Settings().model_version is None, "the version chosen on the Models page counts"
    assert (Settings().data, Settings().models) == (ROOT / "data", ROOT / "models")


def test_the_environment_changes_what_it_names():
    environment = {
        "LSS_MODEL": "v2", "LSS_IMAGE_LIFETIME_S": "60", "LSS_IMAGE_MEMORY_MIB": "100", "LSS_DATA": "/srv/lss",
        "LSS_MODELS": "/srv/models", "LSS_RUNS": "/srv/runs", "DATABASE_URL": "postgresql://lss@db/lss",
        "LSS_IMAGES": "s3://scans", "LSS_SESSION_IDLE_S": "600", "LSS_SESSION_LIFETIME_S": "3600",
        "LSS_HOSTS": "A.example, b.example,", "LSS_IMPORT_FOLDER": "/srv/scans",
        "LSS_TRAIN_BY_QUEUE": "1",
    }
    assert Settings.from_environment(environment) == Settings(
        "v2", 60.0, 100 * MIB, data=Path("/srv/lss"), models=Path("/srv/models"), runs=Path("/srv/runs"),
        database_url="postgresql://lss@db/lss", image_store="s3://scans", session_idle_s=600.0,
        session_lifetime_s=3600.0, import_folder=Path("/srv/scans"), train_by_queue=True,
        hosts=("a.example", "b.example"),
    )


def test_the_studies_lie_in_the_data_folder_unless_said_otherwise():
    settings = Settings.from_environment({"LSS_DATA": "/srv/lss"})
    assert settings.database_url == "sqlite:////srv/lss/studies.sqlite"
    assert settings.image_store == "/srv/lss/images"


@pytest.mark.parametrize("name", ["LSS_MODEL", "LSS_DATA", "LSS_MODELS", "LSS_RUNS", "DATABASE_URL", "LSS_IMAGES",
                                  "LSS_HOSTS", "LSS_IMPORT_FOLDER"])
def test_an_empty_text_is_no_setting(name):
    assert Settings.from_environment({name: ""}) == Settings()


def test_a_relative_folder_does_not_move_with_the_working_directory(monkeypatch, tmp_path):
    settings = Settings.from_environment({"LSS_DATA": "here"})
    monkeypatch.chdir(tmp_path)
    assert settings.data.is_absolute() and tmp_path not in settings.data.parents


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "inf", "nan"])
def test_a_number_that_is_none_is_named(text):
    with pytest.raises(ValueError, match="LSS_IMAGE_LIFETIME_S"):
        Settings.from_environment({"LSS_IMAGE_LIFETIME_S": text})


def test_the_data_folder_is_not_kept_in_the_repository():
    assert "/data/" in (ROOT / ".gitignore").read_text().splitlines()
