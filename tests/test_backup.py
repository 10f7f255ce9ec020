"""A backup is the whole: restored elsewhere, every row and every scan is as it was."""

from __future__ import annotations

import json
import stat
import zipfile
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, select

from lss_core.imaging.store import ScanStore
from lss_core.study import audit, studies
from lss_core.study.backup import TABLES, back_up, restore
from lss_core.study.connection import open_database, snapshot, transaction
from lss_core.study.database import SignIn
from lss_core.study.verification import check_records, last_line
from lss_core.vocabulary import Refusal
from tests.read_study import BEGIN, make_study, read_session, tiny_scan

AFTER = ("back up", "restore backup")           # lines that the two acts add themselves


@pytest.fixture(params=["same kind", "other kind"])
def elsewhere(request, read_study, databases):
    """An empty database of the same kind as the study's, or of the other one."""
    kinds = ["sqlite", "postgresql"] if read_study.engine.dialect.name == "sqlite" else ["postgresql", "sqlite"]
    url = databases.new(kinds[request.param == "other kind"])
    engine = open_database(url)
    yield engine
    engine.dispose()
    databases.drop(url)


@pytest.fixture
def empty(databases):
    engine = open_database(databases.new("sqlite"))
    yield engine
    engine.dispose()


@pytest.fixture
def store(read_study):
    return ScanStore(read_study.images)


def everything(engine) -> dict[str, Any]:
    """All rows of all tables, less the lines of backing up and restoring."""
    with snapshot(engine) as session:
        rows = {table.name: session.connection().execute(select(table).order_by(*table.primary_key)).all()
                for table in TABLES}
    rows["auditevent"] = [row for row in rows["auditevent"] if row.action not in AFTER]
    return rows


def altered(archive, made, name: str, change) -> None:
    """A copy of an archive in which one file is changed, or left out where `change` gives None."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(made, "w") as target:
        for each in source.namelist():
            content = source.read(each)
            if each == name:
                content = change(content)
            if content is not None:
                target.writestr(each, content)


def test_what_is_restored_is_what_was_backed_up(read_study, store, elsewhere, tmp_path):
    made = back_up(read_study.engine, store, tmp_path / "a.zip")
    images = ScanStore(tmp_path / "images")
    restored = restore(elsewhere, images, tmp_path / "a.zip")
    assert everything(elsewhere) == everything(read_study.engine)
    assert restored.rows == made.rows and restored.rows["answer"] == 31 and made.lost == restored.lost == ()
    with snapshot(elsewhere) as session:
        scans = session.connection().execute(select(*TABLES_BY_NAME["scan"].columns)).all()
        heats = session.connection().execute(select(TABLES_BY_NAME["modeloutput"].c.heat_map_key).distinct()).all()
    assert len(scans) == len(heats) == 7 and made.images == 14
    for scan in scans:
        np.testing.assert_array_equal(images.open(scan.key, sha256=scan.sha256).hu, store.open(scan.key).hu)
    for (key,) in heats:
        np.testing.assert_array_equal(images.heat_map(key), store.heat_map(key))
    assert check_records(elsewhere) == []


def test_a_restored_installation_goes_on(read_study, store, elsewhere, tmp_path):
    """Ids count on from the restored ones, and the log from its last line."""
    back_up(read_study.engine, store, tmp_path / "a.zip")
    restore(elsewhere, ScanStore(tmp_path / "images"), tmp_path / "a.zip")
    made = make_study(elsewhere, title="After", readers=("third@example.org",), tests=2)
    read_session(made, made.readers[0])
    assert made.study_id == 2 and check_records(elsewhere) == []


def test_a_backup_is_readable_by_its_owner_alone_and_noted(read_study, store, tmp_path):
    made = back_up(read_study.engine, store, tmp_path / "a.zip", now=BEGIN)
    assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if "a.zip" in each.name] == ["a.zip"]
    with snapshot(read_study.engine) as session:
        line = session.connection().execute(
            select(TABLES_BY_NAME["auditevent"]).order_by(TABLES_BY_NAME["auditevent"].c.id.desc())).first()
    assert line and (line.action, json.loads(line.new)["sha256"]) == ("back up", made.sha256)


def test_a_backup_while_others_write_is_of_one_state(database, empty, tmp_path):
    """Somebody renames the study after the log was saved and before the study is."""
    engine = open_database(database)
    made, came_between = make_study(engine, tests=2), []

    @event.listens_for(engine, "before_cursor_execute")
    def come_between(connection, cursor, statement, *_):
        if "FROM study" in statement and not came_between:
            came_between.append(statement)
            studies.rename(engine, made.pi, made.study_id, title="Renamed meanwhile")

    back_up(engine, ScanStore(tmp_path / "none"), tmp_path / "a.zip")
    restore(empty, ScanStore(tmp_path / "images"), tmp_path / "a.zip")
    assert everything(empty)["study"][0].title == "Canal study" and check_records(empty) == []
    assert everything(engine)["study"][0].title == "Renamed meanwhile" and came_between
    engine.dispose()


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_a_lost_or_damaged_scan_is_named_and_the_rest_is_saved(read_study, empty, tmp_path):
    images = ScanStore(tmp_path / "images")
    with snapshot(read_study.engine) as session:
        scans = session.connection().execute(select(*TABLES_BY_NAME["scan"].columns)).all()
    for scan in scans[2:]:
        images.restore(scan.key, ScanStore(read_study.images).stored(scan.key))
    images.restore(scans[1].key, images.stored(images.put(tiny_scan(99)).key))
    made = back_up(read_study.engine, images, tmp_path / "a.zip")
    restored = restore(empty, ScanStore(tmp_path / "other"), tmp_path / "a.zip")
    assert made.lost == restored.lost and len(made.lost) == 2 + 7 and made.images == 5
    assert "no such scan" in made.lost[0] and scans[0].key in made.lost[0]
    assert "does not match its SHA-256" in made.lost[1] and scans[1].key in made.lost[1]
    assert all("no such heat map" in each for each in made.lost[2:])
    assert everything(empty) == everything(read_study.engine)


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_everybody_is_signed_out_by_a_restore(read_study, store, empty, tmp_path):
    with transaction(read_study.engine) as session:
        session.add(SignIn(key="k", account_id=1, created_at=BEGIN, last_seen_at=BEGIN))
        session.add(SignIn(key="l", account_id=1, created_at=BEGIN, last_seen_at=BEGIN, revoked_at=BEGIN,
                           revoked_because="signed out"))
    back_up(read_study.engine, store, tmp_path / "a.zip")
    restore(empty, ScanStore(tmp_path / "images"), tmp_path / "a.zip")
    rows = everything(empty)["signin"]
    assert [row.revoked_because for row in rows] == ["restored from a backup", "signed out"]
    assert all(row.revoked_at for row in rows)


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_the_chain_of_the_log_goes_on_over_a_restore(read_study, store, empty, tmp_path):
    noted = last_line(read_study.engine)
    back_up(read_study.engine, store, tmp_path / "a.zip")
    restore(empty, ScanStore(tmp_path / "images"), tmp_path / "a.zip")
    assert check_records(empty, noted=noted) == []
    lines = sorted(everything(empty)["auditevent"], key=lambda line: line.id)
    assert all(after.previous_hash == before.hash for before, after in pairwise(lines))


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_only_an_empty_database_is_restored_into(read_study, store, tmp_path):
    back_up(read_study.engine, store, tmp_path / "a.zip")
    before = everything(read_study.engine)
    with pytest.raises(Refusal, match=r"The database is not empty .*; set DATABASE_URL to a new one"):
        restore(read_study.engine, store, tmp_path / "a.zip")
    assert everything(read_study.engine) == before


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_a_backup_is_not_written_over_another_file(read_study, store, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"yesterday's")
    with pytest.raises(Refusal, match="is there already; name a new file"):
        back_up(read_study.engine, store, tmp_path / "a.zip")
    with pytest.raises(Refusal, match="lies in no folder"):
        back_up(read_study.engine, store, tmp_path / "missing" / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"yesterday's"


def edited(**changes):
    return lambda content: json.dumps(json.loads(content) | changes).encode()


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("name", "change", "told"), [
    ("tables/answer.jsonl", lambda content: content.replace(b'"idle_s": 0.0', b'"idle_s": 9.0', 1),
     r"altered: tables/answer.jsonl does not match its SHA-256"),
    ("tables/answer.jsonl", lambda _: None, r"lacks tables/answer.jsonl; it was altered"),
    ("manifest.json", lambda _: None, r"is not a backup: it has no manifest.json"),
    ("manifest.json", edited(format="other"), "is no backup of the format"),
    ("manifest.json", edited(schema="0000"), "The backup has schema 0000, and this software has 0002"),
])
def test_an_altered_backup_is_refused_and_leaves_the_database_empty(
    read_study, store, empty, tmp_path, name, change, told
):
    back_up(read_study.engine, store, tmp_path / "a.zip")
    altered(tmp_path / "a.zip", tmp_path / "b.zip", name, change)
    with pytest.raises(Refusal, match=told):
        restore(empty, ScanStore(tmp_path / "images"), tmp_path / "b.zip")
    assert not any(everything(empty).values()) and audit.verify(empty) == []


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
def test_an_altered_scan_in_a_backup_is_refused(read_study, store, empty, tmp_path):
    back_up(read_study.engine, store, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        name = next(each for each in archive.namelist() if each.startswith("images/"))
    altered(tmp_path / "a.zip", tmp_path / "b.zip", name, lambda content: content[:-1] + b"x")
    with pytest.raises(Refusal, match=f"altered: {name} does not match its SHA-256"):
        restore(empty, ScanStore(tmp_path / "images"), tmp_path / "b.zip")


def test_what_is_no_archive_is_refused(empty, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"not a ZIP")
    for file in (tmp_path / "a.zip", tmp_path / "missing.zip", tmp_path):
        with pytest.raises(Refusal, match="is not a backup, or is damaged"):
            restore(empty, ScanStore(tmp_path / "images"), file)


TABLES_BY_NAME = {table.name: table for table in TABLES}
