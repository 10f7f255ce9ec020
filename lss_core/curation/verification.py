"""Whether the record of a collection is what was done: labels, decisions, references and splits against the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlmodel import Session, col, select

from lss_core.curation.adjudication import adjudication_digest
from lss_core.curation.agreement import grades_of
from lss_core.curation.labels import as_entry, label_digest
from lss_core.curation.reference import reference_digest, rows_of
from lss_core.curation.split import split_digests
from lss_core.study import curation_tables as tables
from lss_core.study.curation_tables import Adjudication, CuratedLevel, Label, LabelPlace, LevelMark
from lss_core.study.database import Account, AuditEvent, Study
from lss_core.vocabulary import Refusal

ALTERED = "{} was altered: it does not match its SHA-256."
NO_LINE = "{} has no line in the audit log: it came past the software, or the line was cut off."


def collection_problems(session: Session, collection: Study) -> Iterator[str]:
    """A sentence for each record of a collection that is not as the audit log has it; none for a reader study."""
    assert collection.id is not None
    checks = (_label_problems, _decision_problems, _reference_problems, _split_problems, _order_problems,
              _level_problems)
    for check in checks:
        yield from check(session, collection.id)


def _label_problems(session: Session, collection_id: int) -> Iterator[str]:
    grades = grades_of(session, collection_id)
    rows = session.exec(
        select(Label, LabelPlace, Account.email).join(LabelPlace, col(LabelPlace.id) == Label.place_id)
        .join(Account, col(Account.id) == Label.account_id)
        .where(Label.collection_id == collection_id).order_by(col(Label.id))
    ).all()

    def digest(row: tuple[Label, LabelPlace, str]) -> str:
        label, place, _ = row
        if (label.case_id, label.account_id) != (place.case_id, place.account_id):
            return ""
        return label_digest(label, as_entry(label, grades.get(label.id or 0, {}).values()), place_token=place.token)

    yield from _against_lines(
        session, collection_id, "submit label", rows, digest, stored=lambda row: row[0].sha256,
        name=lambda row: f"The label of place {row[1].position} of {row[2]}, revision {row[0].revision},",
    )


def _decision_problems(session: Session, collection_id: int) -> Iterator[str]:
    rows = session.exec(
        select(Adjudication).join(CuratedLevel, col(CuratedLevel.id) == Adjudication.case_id)
        .where(CuratedLevel.collection_id == collection_id).order_by(col(Adjudication.id))
    ).all()
    yield from _against_lines(
        session, collection_id, "adjudicate", rows, lambda row: adjudication_digest(session, row),
        stored=lambda row: row.sha256, name=lambda row: f"Decision {row.id} on case {row.case_id}",
    )


def _reference_problems(session: Session, collection_id: int) -> Iterator[str]:
    rows = session.exec(
        select(tables.ReferenceVersion).where(tables.ReferenceVersion.collection_id == collection_id)
        .order_by(col(tables.ReferenceVersion.number))
    ).all()
    yield from _against_lines(
        session, collection_id, "lock reference", rows,
        lambda row: reference_digest(session, collection_id, rows_of(session, row)),
        stored=lambda row: row.sha256, name=lambda row: f"Version {row.number} of the reference",
    )


def _split_problems(session: Session, collection_id: int) -> Iterator[str]:
    """The split and its control set have a hash each; the log holds both."""
    rows = session.exec(
        select(tables.SplitVersion).where(tables.SplitVersion.collection_id == collection_id)
        .order_by(col(tables.SplitVersion.number))
    ).all()
    digests = {row.id: _split_digests(session, row) for row in rows}
    yield from _against_lines(
        session, collection_id, "lock split", rows, lambda row: digests[row.id][0], stored=lambda row: row.sha256,
        name=lambda row: f"Version {row.number} of the split",
    )
    noted = {line.get("sha256"): line.get("control_sha256") for line in _lines(session, collection_id, "lock split")}
    for row in rows:
        if not row.control_sha256 == digests[row.id][1] == noted.get(row.sha256):
            yield f"The control set of version {row.number} of the split is not the one that was locked."


def _split_digests(session: Session, row: tables.SplitVersion) -> tuple[str, str]:
    stored = session.exec(select(tables.SplitRow).where(tables.SplitRow.version_id == row.id)).all()
    reference = session.get_one(tables.ReferenceVersion, row.reference_version_id)
    assignment = {each.patient: each.part for each in stored}
    return split_digests(session, row.collection_id, row.content, reference, assignment)


def _order_problems(session: Session, collection_id: int) -> Iterator[str]:
    """Each annotator's order, as it was drawn, held against the places that are stored."""
    drawn: dict[str, list[int]] = {}
    for email, line in _lines_by_actor(session, collection_id, "draw label order"):
        drawn.setdefault(email, []).extend(line.get("order", ()))
    rows = session.exec(
        select(Account.email, LabelPlace.case_id).join(Account, col(Account.id) == LabelPlace.account_id)
        .where(LabelPlace.collection_id == collection_id).order_by(col(LabelPlace.account_id), col(LabelPlace.position))
    ).all()
    stored: dict[str, list[int]] = {}
    for email, case_id in rows:
        stored.setdefault(email, []).append(case_id)
    for email in sorted(drawn.keys() | stored.keys()):
        if drawn.get(email) != stored.get(email):
            yield f"The order in which {email} labels is not the one that was drawn."


def _level_problems(session: Session, collection_id: int) -> Iterator[str]:
    """Each level stands where its last mark put it."""
    rows = session.exec(
        select(CuratedLevel, LevelMark.slice_index).join(LevelMark, col(LevelMark.case_id) == CuratedLevel.id)
        .where(CuratedLevel.collection_id == collection_id).order_by(col(LevelMark.id))
    ).all()
    marked = {level.id: (level, slice_index) for level, slice_index in rows}
    for level, slice_index in marked.values():
        if level.slice_index != slice_index:
            yield f"{level.level} of scan {level.curated_scan_id} is not on the slice where it was put last."


def _against_lines(
    session: Session, collection_id: int, action: str, rows: Sequence[Any], digest: Callable[[Any], str], *,
    stored: Callable[[Any], str], name: Callable[[Any], str],
) -> Iterator[str]:
    """Each row against its own hash and against the line of the log that must hold it, and the other way round."""
    noted = {line.get("sha256") for line in _lines(session, collection_id, action)}
    for row in rows:
        if stored(row) != _digest_or_none(digest, row):
            yield ALTERED.format(name(row))
        if stored(row) not in noted:
            yield NO_LINE.format(name(row))
    missing = noted - {stored(row) for row in rows}
    yield from (f"A line of the audit log ({action}) tells of what is missing or was altered." for _ in missing)


def _digest_or_none(digest: Callable[[Any], str], row: Any) -> str | None:
    """None where the rows hold what nobody could have entered."""
    try:
        return digest(row)
    except (Refusal, ValueError):
        return None


def _lines(session: Session, collection_id: int, action: str) -> Iterable[Mapping[str, Any]]:
    return [line for _, line in _lines_by_actor(session, collection_id, action)]


def _lines_by_actor(session: Session, collection_id: int, action: str) -> list[tuple[str, Mapping[str, Any]]]:
    rows = session.exec(
        select(AuditEvent.actor, AuditEvent.new)
        .where(AuditEvent.study_id == collection_id, AuditEvent.action == action).order_by(col(AuditEvent.id))
    )
    return [(actor, _parsed(new)) for actor, new in rows]


def _parsed(text: str) -> Mapping[str, Any]:
    """Nothing where a line was altered beyond reading; the chain tells that."""
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
