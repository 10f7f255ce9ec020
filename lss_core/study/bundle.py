"""A study as one JSON value, which holds everything but pixels. `importing` makes an equal study of it.

Rows are numbered from 1 within their table, and refer to each other by these numbers: the database's own ids stay
behind, so that a study that was brought in gives the same bundle as the one it came from. Of the audit log the bundle
holds the study's lines as they are, with their numbers and hashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy import Table as SqlTable
from sqlmodel import Session, col
from sqlmodel import select as select_rows

from lss_core.study import curation_tables
from lss_core.study.database import AuditEvent, Study, Table
from lss_core.study.rows import encode
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.vocabulary import RESEARCH_USE

Rows = Sequence[Mapping[Any, Any]]
FORMAT = "lumbar-stenosis-study 1"
TABLES = Table.metadata.tables
# A table of the study to the column that leads toward the study, and the table it leads to. Parents come first.
LEADS = {
    "membership": ("study_id", "study"), "protocolversion": ("study_id", "study"), "case": ("study_id", "study"),
    "caseorigin": ("case_id", "case"), "reference": ("case_id", "case"), "modeloutput": ("case_id", "case"),
    "readingsession": ("study_id", "study"), "readingitem": ("session_id", "readingsession"),
    "draft": ("item_id", "readingitem"), "answer": ("item_id", "readingitem"), "regionanswer": ("answer_id", "answer"),
    "reopening": ("item_id", "readingitem"), "signature": ("study_id", "study"),
}
SHARED = {"account": "email", "scan": "key"}    # tables of several studies, and the name by which a row is known again
COLLECTIONS = tuple(str(each.__tablename__) for each in curation_tables.TABLES)
LEFT_OUT = ("signin", "auditevent", *COLLECTIONS)       # of the installation; the study's lines of the log go apart
OF_THE_INSTALLATION = ("subject", "may_create_studies", "disabled")     # columns of an account that stay behind
ORDER = ("account", "scan", "study", *LEADS)


def bundle_of(session: Session, study: Study) -> dict[str, Any]:
    """A study's rows, its lines of the audit log, and what made them."""
    own = {name: _own_rows(session, TABLES[name], study) for name in ("study", *LEADS)}
    shared = {name: _shared_rows(session, TABLES[name], own) for name in SHARED}
    rows = {name: (shared | own)[name] for name in ORDER}
    numbers = {name: _numbered(TABLES[name], each) for name, each in rows.items()}
    return {
        "format": FORMAT, "note": note_of(study), "software_version": SOFTWARE_VERSION,
        "tables": {name: [_outward(TABLES[name], row, numbers) for row in each] for name, each in rows.items()},
        "audit": _audit_lines(session, study),
    }


def note_of(study: Study) -> str:
    """What must stand on everything that leaves a study."""
    simulated = "SIMULATED: the readers or cases of this study are simulated; no figure of it is clinical. "
    return (simulated if study.is_demo else "") + RESEARCH_USE


def as_json(bundle: Mapping[str, Any]) -> bytes:
    """The bundle as a file, the same bytes for the same content."""
    return (json.dumps(bundle, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _own_rows(session: Session, table: SqlTable, study: Study) -> Rows:
    rows = session.connection().execute(select(table).where(_belonging(table, study)).order_by(*table.primary_key))
    return rows.mappings().all()


def _belonging(table: SqlTable, study: Study) -> ColumnElement[bool]:
    if table.name == "study":
        return table.c.id == study.id
    column, parent = LEADS[table.name]
    return table.c[column].in_(select(*TABLES[parent].primary_key).where(_belonging(TABLES[parent], study)))


def _shared_rows(session: Session, table: SqlTable, own: Mapping[str, Rows]) -> Rows:
    """The accounts or scans that the study's rows name, in the order of their names."""
    named = {
        row[column] for name, rows in own.items() for column, target in references(TABLES[name]).items()
        if target == table.name for row in rows
    }
    everything = session.connection().execute(select(table).order_by(table.c[SHARED[table.name]])).mappings()
    return [row for row in everything if row["id"] in named]


def references(table: SqlTable) -> dict[str, str]:
    """Column to the table whose rows it names."""
    return {key.parent.name: key.column.table.name for key in table.foreign_keys}


def _numbered(table: SqlTable, rows: Rows) -> dict[Any, int]:
    """The database's number of a row to its place in the bundle."""
    key = table.primary_key.columns[0].name
    return {row[key]: place for place, row in enumerate(rows, 1)}


def left_behind(table: SqlTable) -> frozenset[str]:
    """Columns that do not travel: the database's own number of the row, and what is of the installation."""
    own_number = {column.name for column in table.primary_key if not column.foreign_keys}
    return frozenset(own_number | (set(OF_THE_INSTALLATION) if table.name == "account" else set()))


def _outward(table: SqlTable, row: Mapping[str, Any], numbers: Mapping[str, Mapping[Any, int]]) -> dict[str, Any]:
    values = {name: value for name, value in row.items() if name not in left_behind(table)}
    for column, target in references(table).items():
        values[column] = numbers[target].get(row[column])
    return encode(values)


def _audit_lines(session: Session, study: Study) -> list[dict[str, Any]]:
    lines = session.exec(select_rows(AuditEvent).where(AuditEvent.study_id == study.id).order_by(col(AuditEvent.id)))
    return [encode(line.model_dump()) for line in lines]
