"""The operator's commands, on the database and the image store of the environment."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import create_engine, text

from lss_core.__main__ import DONE, REFUSED, USAGE, main
from lss_core.study.connection import open_database, reading
from lss_core.study.database import Account
from lss_core.study.verification import last_line
from tests.read_study import make_study


@pytest.fixture
def here(read_study, monkeypatch):
    """The read study is what the commands act on."""
    monkeypatch.setenv("DATABASE_URL", read_study.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("LSS_IMAGES", str(read_study.images))
    return read_study


@pytest.fixture
def go_elsewhere(databases, monkeypatch, tmp_path):
    """Turn the commands to an empty place."""
    def go() -> None:
        monkeypatch.setenv("DATABASE_URL", databases.new("sqlite"))
        monkeypatch.setenv("LSS_IMAGES", str(tmp_path / "elsewhere"))

    return go


def alter_line(engine, number: int) -> None:
    bare = create_engine(engine.url)
    with bare.begin() as connection:
        off = {"sqlite": "drop trigger auditevent_no_update",
               "postgresql": "alter table auditevent disable trigger all"}[engine.dialect.name]
        connection.execute(text(off))
        connection.execute(text(f"update auditevent set reason = 'x' where id = {number}"))
    bare.dispose()


def test_verify_tells_that_all_is_whole_and_gives_the_last_line_to_note(here, capsys):
    assert main(["audit", "verify"]) == DONE
    end = last_line(here.engine)
    assert capsys.readouterr().out == (
        f"{end.number} lines, 0 problems. Last line, to be noted elsewhere: {end.number}:{end.hash}\n"
    )


def test_verify_names_an_altered_line_and_exits_with_three(here, capsys):
    alter_line(here.engine, 5)
    assert main(["audit", "verify"]) == REFUSED
    assert "Line 5 (lock protocol by pi@example.org) was altered." in capsys.readouterr().out


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_verify_holds_the_log_against_a_noted_line(here, capsys):
    main(["audit", "verify"])
    noted = re.findall(r"\d+:[0-9a-f]{64}", capsys.readouterr().out)[0]
    make_study(here.engine, title="Later", tests=2, readers=("third@example.org",))
    assert main(["audit", "verify", "--noted", noted]) == DONE
    assert main(["audit", "verify", "--noted", f"9999:{'0' * 64}"]) == REFUSED
    assert "Line 9999, which was noted, is missing" in capsys.readouterr().out


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_a_study_is_exported_and_imported_elsewhere(here, go_elsewhere, tmp_path, capsys):
    assert main(["export", "1", str(tmp_path / "out")]) == DONE
    assert (tmp_path / "out" / "readings.csv").stat().st_size > 1000
    go_elsewhere()
    assert main(["import", str(tmp_path / "out")]) == DONE
    printed = capsys.readouterr().out
    assert "Study 1: Canal study, with" in printed and "lacks 7 of its 7 scans" in printed
    assert main(["audit", "verify"]) == DONE
    assert main(["import", str(tmp_path / "out" / "bundle.json")]) == REFUSED
    assert "Refused: The study Canal study is in this database already" in capsys.readouterr().err


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_a_study_whose_scans_are_there_is_imported_without_a_word_of_them(here, go_elsewhere, tmp_path, monkeypatch,
                                                                          capsys):
    main(["export", "1", str(tmp_path / "out")])
    go_elsewhere()
    monkeypatch.setenv("LSS_IMAGES", str(here.images))
    assert main(["import", str(tmp_path / "out")]) == DONE
    assert "lacks" not in capsys.readouterr().out


def test_a_backup_is_restored_elsewhere(here, go_elsewhere, tmp_path, capsys):
    assert main(["backup", str(tmp_path / "a.zip")]) == DONE
    assert "14 scans and heat maps" in capsys.readouterr().out
    go_elsewhere()
    assert main(["restore", str(tmp_path / "a.zip")]) == DONE
    assert main(["audit", "verify"]) == DONE
    assert main(["restore", str(tmp_path / "a.zip")]) == REFUSED
    assert "The database is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_a_backup_without_its_scans_is_made_and_says_so(here, go_elsewhere, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LSS_IMAGES", str(tmp_path / "nothing"))
    assert main(["backup", str(tmp_path / "a.zip")]) == REFUSED
    assert "The backup is not complete: 14 scans or heat maps" in capsys.readouterr().err
    go_elsewhere()
    assert main(["restore", str(tmp_path / "a.zip")]) == REFUSED
    assert "The backup was not complete: 14" in capsys.readouterr().err
    assert main(["audit", "verify"]) == DONE


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_what_was_altered_before_a_backup_is_told_at_its_restore(here, go_elsewhere, tmp_path, capsys):
    alter_line(here.engine, 5)
    main(["backup", str(tmp_path / "a.zip")])
    go_elsewhere()
    assert main(["restore", str(tmp_path / "a.zip")]) == REFUSED
    assert "Line 5 (lock protocol by pi@example.org) was altered." in capsys.readouterr().err


def test_invite_lets_a_person_make_studies(go_elsewhere, capsys, monkeypatch, databases):
    go_elsewhere()
    url = databases.new("sqlite")
    monkeypatch.setenv("DATABASE_URL", url)
    assert main(["invite", "New@Example.org"]) == DONE
    assert "new@example.org may sign in" in capsys.readouterr().out
    with reading(engine := open_database(url)) as session:
        assert session.get_one(Account, 1).may_create_studies
    engine.dispose()


def test_disable_shuts_a_person_out_with_a_reason(go_elsewhere, capsys, monkeypatch, databases):
    go_elsewhere()
    url = databases.new("sqlite")
    monkeypatch.setenv("DATABASE_URL", url)
    main(["invite", "new@example.org"])
    assert main(["disable", "new@example.org", "--reason", "left the group"]) == DONE
    assert "cannot sign in again" in capsys.readouterr().out
    with reading(engine := open_database(url)) as session:
        assert session.get_one(Account, 1).disabled
    engine.dispose()
    assert main(["disable", "other@example.org", "--reason", "left"]) == REFUSED


@pytest.mark.parametrize(("arguments", "told"), [
    (["export", "7", "OUT"], "There is no study '7'; there are: none"),
    (["import", "OUT"], "There is no file"),
    (["import", "."], "There is no file bundle.json; give the bundle.json of an export"),
    (["restore", "OUT"], "is not a backup, or is damaged"),
    (["backup", "OUT/deep/a.zip"], "lies in no folder"),
    (["invite", "somebody"], "'somebody' is not an e-mail address"),
])
def test_what_cannot_be_done_is_refused_with_a_sentence(go_elsewhere, tmp_path, capsys, arguments, told):
    go_elsewhere()
    assert main([each.replace("OUT", str(tmp_path / "out")) for each in arguments]) == REFUSED
    assert told in capsys.readouterr().err


def test_an_export_into_a_full_folder_is_refused_and_not_noted(go_elsewhere, tmp_path, capsys):
    go_elsewhere()
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["export", "1", str(tmp_path)]) == REFUSED
    assert "is there and not empty; name a new folder" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "value", "told"), [
    ("DATABASE_URL", "mysql://root@localhost/x", "DATABASE_URL names mysql"),
    ("LSS_IMAGES", "carrier://pigeon", "carrier://pigeon cannot be used"),
])
def test_a_place_that_cannot_be_is_refused(go_elsewhere, tmp_path, monkeypatch, capsys, name, value, told):
    go_elsewhere()
    monkeypatch.setenv(name, value)
    assert main(["backup", str(tmp_path / "a.zip")]) == REFUSED
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [
    ["audit"], ["audit", "dance"], ["audit", "verify", "--noted", "5"], ["export", "1"], ["import"], ["backup"],
    ["restore"], ["invite"], ["disable", "new@example.org"],
])
def test_wrong_usage_exits_with_two(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == USAGE


def test_the_bundle_is_json_that_a_person_can_read(here, tmp_path):
    main(["export", "1", str(tmp_path / "out")])
    bundle = (tmp_path / "out" / "bundle.json").read_text()
    assert '"seed"' in bundle and json.loads(bundle)["format"] == "lumbar-stenosis-study 1"
