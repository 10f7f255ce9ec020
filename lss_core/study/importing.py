"""A study from its bundle, equal to the one that it came from, in another database.

The lines of the bundle's audit log become lines of the log here, followed by one that tells where they came from.
Everything is held against its hashes before it is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.exc import DataError, IntegrityError
from sqlmodel import Session, col
from sqlmodel import select as select_rows

from lss_core.study import audit
from lss_core.study.bundle import FORMAT, ORDER, SHARED, TABLES, Rows, left_behind, references
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, transaction
from lss_core.study.database import AuditEvent, Scan, Study
from lss_core.study.people import OPERATOR
from lss_core.study.rows import decode
from lss_core.study.verification import study_problems
from lss_core.vocabulary import Refusal

WHEN = ("created_at", "added_at")               # of accounts and scans; may differ between two installations


@dataclass(frozen=True)
class Imported:
    """What an import brought in."""

    study_id: int
    title: str
    lines: int                                  # of the audit log
    scans: tuple[tuple[str, str], ...]          # (key, SHA-256) that the image store must hold for the cases to be seen


def import_bundle(engine: Engine, content: bytes, *, now: datetime | None = None) -> Imported:
    """Bring a study in from `as_json(bundle_of(...))`, whole or not at all, by the operator's word.

    People are known again by their e-mail; who is new gets an account that they bind at their first sign-in.

    Raises:
        Refusal: not such a bundle, altered, of other software, the study is here already, or a person is known here
            with another experience.
    """
    bundle = _parsed(content)
    with transaction(engine) as session:
        lock_writers(session)
        try:
            ids = _insert_all(session, bundle["tables"])
        except (IntegrityError, DataError) as error:
            raise Refusal(f"The bundle holds rows that contradict each other or what is here: {error.orig}.") from error
        study = session.get_one(Study, ids["study"][0])
        _bring_lines(session, study, bundle["audit"], hashlib.sha256(content).hexdigest(), now or utc_now())
        if problems := study_problems(session, study):
            raise Refusal(f"The bundle was altered. {problems[0]}" + _more(len(problems) - 1))
        scans = session.exec(select_rows(Scan.key, Scan.sha256).where(col(Scan.id).in_(ids["scan"]))).all()
        return Imported(study.id or 0, study.title, len(bundle["audit"]), tuple((key, sha256) for key, sha256 in scans))


def _more(count: int) -> str:
    return f" (And {count} more.)" if count else ""


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        bundle = json.loads(content)
    except ValueError as error:
        raise Refusal(f"This is not a bundle: it is not JSON ({error}); give the bundle.json of an export.") from error
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        raise Refusal(f"This is not a bundle of the format {FORMAT!r}; give the bundle.json of an export.")
    tables, lines = bundle.get("tables"), bundle.get("audit")
    if not isinstance(tables, dict) or set(tables) != set(ORDER):
        raise Refusal("The bundle lacks tables or has others than this software knows; use the software that made it.")
    if not all(isinstance(rows, list) for rows in (lines, *tables.values())):
        raise Refusal("The bundle holds a table that is no list of rows; it was altered.")
    if len(tables["study"]) != 1:
        raise Refusal(f"The bundle holds {len(tables['study'])} studies; it must hold one.")
    return bundle


def _insert_all(session: Session, tables: Mapping[str, Rows]) -> dict[str, list[int]]:
    """Insert the rows of each table; returns their new ids, in the bundle's order."""
    ids: dict[str, list[int]] = {}
    for name in ORDER:
        rows = [_inward(TABLES[name], row, ids) for row in tables[name]]
        ids[name] = _insert_shared(session, TABLES[name], rows) if name in SHARED else _insert(session, name, rows)
    return ids


def _inward(table: SqlTable, row: Mapping[str, Any], ids: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    values = decode(table, row, without=left_behind(table))
    for column, target in references(table).items():
        if (number := values[column]) is None:
            continue
        if not 1 <= number <= len(ids[target]):
            raise Refusal(f"A row of {table.name} names {target} {number}, which the bundle does not hold.")
        values[column] = ids[target][number - 1]
    return values


def _insert(session: Session, name: str, rows: Sequence[dict[str, Any]]) -> list[int]:
    if not rows:
        return []
    if name == "study":
        _refuse_known(session, rows[0])
    key = TABLES[name].primary_key.columns[0]
    statement = insert(TABLES[name]).returning(key, sort_by_parameter_order=True)
    return list(session.connection().execute(statement, rows).scalars())


def _refuse_known(session: Session, row: Mapping[str, Any]) -> None:
    if session.exec(select_rows(Study.id).where(Study.token == row["token"])).first() is not None:
        raise Refusal(f"The study {row['title']} is in this database already; a study is brought in once.")


def _insert_shared(session: Session, table: SqlTable, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Accounts and scans that are here already are taken, and must say the same."""
    name = SHARED[table.name]
    ids = []
    for row in rows:
        found = session.connection().execute(select(table).where(table.c[name] == row[name])).mappings().first()
        if found is None:
            row |= {"may_create_studies": False, "disabled": False} if table.name == "account" else {}
            ids += _insert(session, table.name, [row])
            continue
        differing = [column for column, value in row.items() if column not in WHEN and found[column] != value]
        if differing:
            raise Refusal(f"{row[name]} is here already, with another {', '.join(differing).replace('_', ' ')}; "
                          "import into a database of its own.")
        ids.append(found["id"])
    return ids


def _bring_lines(session: Session, study: Study, lines: Rows, bundle_sha256: str, now: datetime) -> None:
    """Put the lines on the end of this log, and one more that tells where they came from."""
    events = [_line(values) for values in lines]
    origin = {"bundle_sha256": bundle_sha256, "lines": len(events), "last_line": events[-1].hash if events else ""}
    last = session.exec(select_rows(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(1)).first()
    number, previous_hash = (last.id or 0, last.hash) if last else (0, audit.GENESIS)
    for place, event in enumerate(events, number + 1):
        event.id, event.study_id, event.previous_hash = place, study.id, previous_hash
        event.hash = previous_hash = audit.hash_of(event)
        session.add(event)
    session.flush()
    audit.append(session, at=now, actor=OPERATOR, action="import study", study_id=study.id, subject=study.title,
                 new=origin)


def _line(values: Mapping[str, Any]) -> AuditEvent:
    line = AuditEvent(**decode(TABLES["auditevent"], values))
    if audit.hash_of(line) != line.hash:
        raise Refusal(f"The bundle was altered: line {line.id} of its audit log does not match its hash.")
    return line
