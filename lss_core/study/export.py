"""A study as files that a statistician, a journal and another installation can use: CSV tables, codebook, bundle.

`tables_of` is also what analyses start from, so that an export and the dashboard never differ. Readers stand under
codes (R01, R02, ...); the bundle tells who they are. Training cases and former revisions are in the bundle alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.bundle import as_json, bundle_of, note_of
from lss_core.study.clock import utc_now
from lss_core.study.codebook import COLUMNS, codebook_rows
from lss_core.study.connection import snapshot, transaction
from lss_core.study.database import Study, StudyKind, StudyState
from lss_core.study.people import OPERATOR
from lss_core.study.tidy import model_rows, reading_rows, reference_rows
from lss_core.vocabulary import Refusal

FORMULA = ("=", "+", "-", "@", "\t", "\r")      # how a cell begins that a spreadsheet would run
FREE_TEXT = ("comment", "not_gradable", "image_quality", "source", "site", "scanner", "name", "patient", "experience")
FIRST_DAY = (1980, 1, 1, 0, 0, 0)               # of every file in an archive, so that equal content gives equal bytes


@dataclass(frozen=True)
class Tables:
    """The tables of a study as texts, as they stand in the CSV files; an empty text is "not there"."""

    readings: pd.DataFrame
    reference: pd.DataFrame
    model: pd.DataFrame


def export_study(
    engine: Engine, actor: Actor, study_id: int, *, now: datetime | None = None
) -> dict[str, bytes]:
    """The files of an unblinded study, name to content. A line of the audit log tells of it.

    Raises:
        Refusal: not permitted, or the study is not unblinded.
    """
    with snapshot(engine) as session:
        study = check_in_study(session, actor, study_id, Permission.EXPORT)
        if study.state != StudyState.UNBLINDED:
            raise Refusal(f"The study is {study.state}; it can be exported after it was closed and unblinded.")
        files = _files(session, study)
    _note(engine, study, files, by=actor.email, at=now or utc_now())
    return files


def export_by_operator(engine: Engine, token_or_id: str, *, now: datetime | None = None) -> dict[str, bytes]:
    """The files of any study, in whatever state, by the operator's word.

    Args:
        token_or_id: The token in the study's address, or its number.

    Raises:
        Refusal: there is no such study.
    """
    with snapshot(engine) as session:
        study = _named(session, token_or_id)
        files = _files(session, study)
    _note(engine, study, files, by=OPERATOR, at=now or utc_now())
    return files


def tables_of(session: Session, study: Study) -> Tables:
    """Readings, reference standard and model grades of a study's test cases."""
    return Tables(
        _frame("readings.csv", reading_rows(session, study)), _frame("reference.csv", reference_rows(session, study)),
        _frame("model.csv", model_rows(session, study)),
    )


def check_new_folder(folder: Path) -> None:
    """Raise Refusal where a folder is there and not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refusal(f"{folder} is there and not empty; name a new folder.")


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write exported files into a folder, which must be new or empty.

    Raises:
        Refusal: there is something in the folder.
    """
    check_new_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Exported files as one ZIP archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(zipfile.ZipInfo(name, FIRST_DAY), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _named(session: Session, token_or_id: str) -> Study:
    studies = session.exec(select(Study).where(Study.kind == StudyKind.READER_STUDY).order_by(col(Study.id))).all()
    for study in studies:
        if token_or_id in (study.token, str(study.id)):
            return study
    known = ", ".join(f"{study.id} ({study.title})" for study in studies) or "none"
    raise Refusal(f"There is no study {token_or_id!r}; there are: {known}.")


def _files(session: Session, study: Study) -> dict[str, bytes]:
    tables, bundle = tables_of(session, study), bundle_of(session, study)
    files = {
        "readings.csv": _csv(tables.readings), "reference.csv": _csv(tables.reference), "model.csv": _csv(tables.model),
        "codebook.csv": _csv(pd.DataFrame(codebook_rows(), dtype=str)), "bundle.json": as_json(bundle),
    }
    return {"README.txt": _readme(study, files).encode(), **files}


def _note(engine: Engine, study: Study, files: Mapping[str, bytes], *, by: str, at: datetime) -> None:
    with transaction(engine) as session:
        audit.append(session, at=at, actor=by, action="export study", study_id=study.id, subject=study.title,
                     new={name: _sha256(content) for name, content in files.items()})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _frame(file: str, rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Texts in the columns of the codebook, in its order."""
    texts = [[_text(row[column]) for column in COLUMNS[file]] for row in rows]
    return pd.DataFrame(texts, columns=pd.Index(COLUMNS[file]), dtype=str)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, bool):
        return str(int(value))
    return "" if value is None else str(value)


def _csv(table: pd.DataFrame) -> bytes:
    guarded = table.assign(**{name: table[name].map(_guarded) for name in FREE_TEXT if name in table})
    return guarded.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).encode()


def _guarded(text: str) -> str:
    """A text that a spreadsheet shows and does not run."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _readme(study: Study, files: Mapping[str, bytes]) -> str:
    lines = [
        study.title, note_of(study), "",
        "readings.csv   one row a reader, case, region and showing; test cases, the last revision of each answer",
        "reference.csv  the reference standard of the test cases",
        "model.csv      what the model versions found in the test cases",
        "codebook.csv   what each column means",
        "bundle.json    everything but pixels: protocol versions, seeds, orders, answers, signatures, audit lines;",
        "               `python -m lss_core import bundle.json` makes an equal study of it", "",
        "SHA-256", *(f"{_sha256(content)}  {name}" for name, content in files.items()),
    ]
    return "\n".join(lines) + "\n"
