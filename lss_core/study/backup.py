"""All studies of an installation in one archive, and back into an empty place.

The archive is a ZIP of one file of JSON lines a table, the scans and heat maps that the tables name, and a manifest
with the SHA-256 of each. It holds one state of the database, whatever readers write meanwhile, and does not depend on
the kind of database: what was backed up from SQLite can be restored into PostgreSQL.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine, func, insert, select, text, update
from sqlalchemy import Table as SqlTable
from sqlmodel import Session

from lss_core.study import audit, curation_tables  # noqa: F401  (its tables join the metadata)
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, snapshot, transaction
from lss_core.study.database import Table
from lss_core.study.people import OPERATOR
from lss_core.study.rows import decode, encode
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.vocabulary import Refusal

FORMAT = "lumbar-stenosis-backup 1"
MANIFEST = "manifest.json"
TABLES = Table.metadata.sorted_tables           # a table after those that it refers to
ROWS_AT_ONCE = 1000


class Images(Protocol):
    """The image store, as far as a backup needs it."""

    def stored(self, key: str, *, sha256: str | None = None) -> bytes: ...
    def restore(self, key: str, content: bytes) -> None: ...


@dataclass(frozen=True)
class Backup:
    """What an archive holds. `lost` tells of each scan or heat map that is missing or damaged in the image store."""

    rows: Mapping[str, int]                     # table to number
    images: int
    lost: tuple[str, ...]
    sha256: str                                 # of the archive


@dataclass(frozen=True)
class Restored:
    """What came back, and the scans and heat maps that the backup could not save."""

    rows: Mapping[str, int]
    images: int
    lost: tuple[str, ...]


def back_up(engine: Engine, images: Images, file: Path, *, now: datetime | None = None) -> Backup:
    """Write an archive that only its owner can read; a line of the audit log tells of it.

    A scan that is missing or damaged does not keep the rest from being saved: it is named in the result.

    Raises:
        Refusal: the file is there already, or its folder is not.
    """
    now = now or utc_now()
    if file.exists() or not file.parent.is_dir():
        raise Refusal(f"{file} {'is there already' if file.exists() else 'lies in no folder'}; name a new file.")
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    with os.fdopen(descriptor, "w+b") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        manifest = _write(engine, images, archive, now)
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
    with part.open("rb") as whole:
        sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
    part.replace(file)
    with transaction(engine) as session:
        audit.append(session, at=now, actor=OPERATOR, action="back up", subject=file.name, new={"sha256": sha256})
    counts = {name: each["rows"] for name, each in manifest["tables"].items()}
    return Backup(counts, len(manifest["images"]), tuple(manifest["lost"]), sha256)


def restore(engine: Engine, images: Images, file: Path, *, now: datetime | None = None) -> Restored:
    """Bring an archive back into an empty database and an image store, the database whole or not at all.

    Everybody is signed out: a session that was ended after the backup must not live again.

    Raises:
        Refusal: not an archive, altered or damaged, of another schema, or the database is not empty.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = _manifest(archive, file)
            with transaction(engine) as session:
                lock_writers(session)
                _check_place(session, manifest)
                for key, sha256 in manifest["images"].items():
                    images.restore(key, _checked(archive, f"images/{key}", sha256))
                for table in TABLES:
                    _restore_table(session, table, archive, manifest["tables"][table.name])
                _set_counters(session)
                _sign_everybody_out(session, now or utc_now())
                audit.append(session, at=now or utc_now(), actor=OPERATOR, action="restore backup", subject=file.name,
                             new={"made_at": manifest["made_at"], "last_line": manifest["last_line"]})
    except (zipfile.BadZipFile, FileNotFoundError, IsADirectoryError) as error:
        raise Refusal(f"{file} is not a backup, or is damaged ({error}); name a file that `backup` wrote.") from error
    counts = {name: each["rows"] for name, each in manifest["tables"].items()}
    return Restored(counts, len(manifest["images"]), tuple(manifest["lost"]))


def _write(engine: Engine, images: Images, archive: zipfile.ZipFile, now: datetime) -> dict[str, Any]:
    """Everything but the manifest, which is returned."""
    with snapshot(engine) as session:
        tables = {table.name: _write_table(session, table, archive) for table in TABLES}
        kept, lost = _write_images(session, images, archive)
        last = session.connection().execute(text("select hash from auditevent order by id desc limit 1")).scalar()
        return {
            "format": FORMAT, "software_version": SOFTWARE_VERSION, "schema": _schema(session),
            "made_at": now.isoformat(), "tables": tables, "images": kept, "lost": lost,
            "last_line": last or audit.GENESIS,
        }


def _write_table(session: Session, table: SqlTable, archive: zipfile.ZipFile) -> dict[str, Any]:
    count, digest = 0, hashlib.sha256()
    rows = session.connection().execute(
        select(table).order_by(*table.primary_key), execution_options={"yield_per": ROWS_AT_ONCE}
    )
    with archive.open(f"tables/{table.name}.jsonl", "w", force_zip64=True) as lines:
        for row in rows.mappings():
            line = json.dumps(encode(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"
            lines.write(line)
            digest.update(line)
            count += 1
    return {"rows": count, "sha256": digest.hexdigest()}


def _write_images(session: Session, images: Images, archive: zipfile.ZipFile) -> tuple[dict[str, str], list[str]]:
    """Key to the SHA-256 of what was saved, and a sentence for each that could not be."""
    kept: dict[str, str] = {}
    lost: list[str] = []
    for key, sha256 in _image_keys(session):
        try:
            content = images.stored(key, sha256=sha256)
        except Refusal as refusal:
            lost.append(f"{key}: {refusal}")
            continue
        archive.writestr(f"images/{key}", content, zipfile.ZIP_STORED)      # it is compressed already
        kept[key] = hashlib.sha256(content).hexdigest()
    return kept, lost


def _image_keys(session: Session) -> list[tuple[str, str | None]]:
    """Keys of all scans with their SHA-256, and of all heat maps."""
    scans = session.connection().execute(text("select key, sha256 from scan order by id")).all()
    heat_maps = session.connection().execute(
        text("select distinct heat_map_key from modeloutput where heat_map_key <> '' order by heat_map_key")
    )
    return [*((key, sha256) for key, sha256 in scans), *((key, None) for (key,) in heat_maps)]


def _schema(session: Session) -> str:
    return session.connection().execute(text("select version_num from alembic_version")).scalar_one()


def _manifest(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(archive.read(MANIFEST))
    except (KeyError, ValueError) as error:
        raise Refusal(f"{file} is not a backup: it has no {MANIFEST}; name a file that `backup` wrote.") from error
    if manifest.get("format") != FORMAT or manifest["tables"].keys() != {table.name for table in TABLES}:
        raise Refusal(f"{file} is no backup of the format {FORMAT!r}; restore it with the software that made it.")
    return manifest


def _check_place(session: Session, manifest: Mapping[str, Any]) -> None:
    if (here := _schema(session)) != manifest["schema"]:
        raise Refusal(f"The backup has schema {manifest['schema']}, and this software has {here}; restore it with "
                      f"version {manifest['software_version']} of the software, and update then.")
    for table in TABLES:
        if session.connection().execute(select(func.count()).select_from(table)).scalar():
            raise Refusal(f"The database is not empty ({table.name}); set DATABASE_URL to a new one and try again.")


def _checked(archive: zipfile.ZipFile, name: str, sha256: str) -> bytes:
    try:
        content = archive.read(name)
    except KeyError as error:
        raise Refusal(f"The backup lacks {name}; it was altered.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Refusal(f"The backup was altered: {name} does not match its SHA-256.")
    return content


def _restore_table(session: Session, table: SqlTable, archive: zipfile.ZipFile, expected: Mapping[str, Any]) -> None:
    lines = iter(_checked(archive, f"tables/{table.name}.jsonl", expected["sha256"]).splitlines())
    while rows := [decode(table, json.loads(line)) for line in islice(lines, ROWS_AT_ONCE)]:
        session.connection().execute(insert(table), rows)


def _set_counters(session: Session) -> None:
    """PostgreSQL counts ids on from where its sequences stand, which know nothing of the restored ones."""
    if session.get_bind().dialect.name != "postgresql":
        return
    for table in _with_ids():
        session.connection().execute(text(
            f"select setval(pg_get_serial_sequence('\"{table.name}\"', 'id'), max(id)) from \"{table.name}\" "
            "having max(id) is not null"
        ))


def _with_ids() -> Iterator[SqlTable]:
    return (table for table in TABLES if "id" in table.columns)


def _sign_everybody_out(session: Session, now: datetime) -> None:
    signin = Table.metadata.tables["signin"]
    session.connection().execute(
        update(signin).where(signin.c.revoked_at.is_(None))
        .values(revoked_at=now, revoked_because="restored from a backup")
    )
