"""Whether what is stored is what was done: the audit log held against itself, and the records against the log.

The log's own chain shows an altered, removed or moved line. Lines cut off its end show where a record has lost its
line, and where records were cut off with them, by the last line's hash, noted elsewhere.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.verification import collection_problems
from lss_core.study import audit
from lss_core.study.connection import snapshot
from lss_core.study.database import (
    Account,
    Answer,
    AuditEvent,
    Case,
    ProtocolVersion,
    ReadingItem,
    ReadingSession,
    RegionAnswer,
    Signature,
    Study,
    StudyKind,
)
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.finishing import session_digest
from lss_core.study.protocol import Protocol, digest
from lss_core.study.readiness import locked_facts
from lss_core.study.submitting import answer_digest
from lss_core.vocabulary import Refusal, Region

LOCKS = ("lock protocol", "amend protocol")
SIGNED = (*LOCKS, "sign session", "lock reference", "lock split")


@dataclass(frozen=True)
class LastLine:
    """The end of the audit log. Noted where nobody can change it, it proves later that nothing was cut off."""

    number: int                                 # 0 where the log is empty
    hash: str


def last_line(engine: Engine) -> LastLine:
    """The end of the audit log as it is now."""
    with snapshot(engine) as session:
        line = session.exec(select(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(1)).first()
        return LastLine(line.id or 0, line.hash) if line else LastLine(0, audit.GENESIS)


def check_records(engine: Engine, *, noted: LastLine | None = None) -> list[str]:
    """A sentence for each line or record that was altered, removed or put elsewhere; empty where all is whole.

    Args:
        noted: The end of the log at an earlier time; the log must still hold that line.
    """
    problems = audit.verify(engine)
    with snapshot(engine) as session:
        problems += [*_noted_problems(session, noted)] if noted else []
        for study in session.exec(select(Study).order_by(col(Study.id))).all():
            problems += study_problems(session, study)
    return problems


def study_problems(session: Session, study: Study) -> list[str]:
    """A sentence for each record of a study or collection that is not as the audit log has it."""
    lines = _lines(session, study)
    if study.kind == StudyKind.COLLECTION:
        found = [*collection_problems(session, study), *_signature_problems(session, study, lines)]
        return [f"Collection {study.title}: {problem}" for problem in found]
    found = [*_protocol_problems(session, study, lines), *_order_problems(session, study, lines),
             *_answer_problems(session, study, lines), *_signature_problems(session, study, lines)]
    return [f"Study {study.title}: {problem}" for problem in found]


def _noted_problems(session: Session, noted: LastLine) -> Iterator[str]:
    line = session.get(AuditEvent, noted.number)
    if line is None and noted.number:
        yield f"Line {noted.number}, which was noted, is missing: lines were cut off the end of the log."
    elif line is not None and line.hash != noted.hash:
        yield f"Line {noted.number} ({line.action}) is not the one that was noted: the log was written anew."


@dataclass(frozen=True)
class _Line:
    number: int
    subject: str
    new: dict[str, Any]


def _lines(session: Session, study: Study) -> dict[str, list[_Line]]:
    """The study's lines by what was done, of those kinds that a record must have."""
    kinds = (*SIGNED, "begin session", "submit answer")
    rows = session.exec(
        select(AuditEvent.id, AuditEvent.action, AuditEvent.subject, AuditEvent.new)
        .where(AuditEvent.study_id == study.id, col(AuditEvent.action).in_(kinds)).order_by(col(AuditEvent.id))
    )
    found: dict[str, list[_Line]] = defaultdict(list)
    for number, action, subject, new in rows:
        found[action].append(_Line(number or 0, subject, _parsed(new)))
    return found


def _parsed(text: str) -> dict[str, Any]:
    """Nothing where a line was altered beyond reading; the chain tells that."""
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _protocol_problems(session: Session, study: Study, lines: dict[str, list[_Line]]) -> Iterator[str]:
    locks = {line.subject: line.new.get("sha256") for act in LOCKS for line in lines[act]}
    versions = session.exec(
        select(ProtocolVersion).where(ProtocolVersion.study_id == study.id).order_by(col(ProtocolVersion.number))
    ).all()
    for version in versions:
        name = f"protocol {version.number}"
        noted = locks.pop(name, None)
        if version.locked_at is None and noted is None:
            continue
        if version.locked_at is None or noted is None:
            yield f"{name} is {'not ' if version.locked_at is None else ''}locked, and the audit log says otherwise."
        elif not version.sha256 == noted == _protocol_digest(session, study, version):
            yield f"{name} or its cases are not what was locked: text, cases, references or model outputs were altered."
    yield from (f"{name} was locked, and is missing." for name in locks)


def _protocol_digest(session: Session, study: Study, version: ProtocolVersion) -> str:
    try:
        protocol = Protocol.parse(version.content)
    except Refusal:
        return ""
    assert study.id is not None
    return digest(protocol, locked_facts(session, study.id, at=version.locked_at))


def _order_problems(session: Session, study: Study, lines: dict[str, list[_Line]]) -> Iterator[str]:
    """Each reader's order, as it was drawn, held against the places that are stored."""
    drawn = {line.subject: line for line in lines["begin session"]}
    rows = session.exec(
        select(ReadingSession, Account.email).join(Account).where(ReadingSession.study_id == study.id)
        .order_by(col(ReadingSession.id))
    ).all()
    for reading_session, email in rows:
        name = f"session {reading_session.number} of {email}"
        line = drawn.pop(name, None)
        if line is None:
            yield f"{name} has no line in the audit log that tells its order."
        elif (line.new.get("seed"), line.new.get("order")) != (reading_session.seed, _order(session, reading_session)):
            yield f"The order of {name} is not the one that was drawn (line {line.number})."
    yield from (f"{name} was begun (line {line.number}), and is missing." for name, line in drawn.items())


def _order(session: Session, reading_session: ReadingSession) -> list[str]:
    """As the audit log has it: "12 aided", "12 aided repeat"."""
    rows = session.exec(
        select(Case.number, ReadingItem.arm, ReadingItem.is_repeat).join(Case)
        .where(ReadingItem.session_id == reading_session.id).order_by(col(ReadingItem.position))
    )
    return [f"{number} {arm}{' repeat' if is_repeat else ''}" for number, arm, is_repeat in rows]


def _answer_problems(session: Session, study: Study, lines: dict[str, list[_Line]]) -> Iterator[str]:
    noted = {line.new.get("sha256"): line.number for line in lines["submit answer"]}
    regions = _regions(session, study)
    for answer, item, number, name in _answers(session, study):
        entry = _entry(answer, regions[answer.id])
        stored = entry and answer_digest(answer, entry, item_token=item.token, protocol_number=number)
        if stored != answer.sha256:
            yield f"The answer to {name} was altered: it does not match its SHA-256."
        if noted.pop(answer.sha256, None) is None:
            yield (f"The answer to {name} has no line in the audit log: it came past the software, or the line was "
                   "cut off.")
    yield from (f"Line {line} tells of an answer that is missing or was altered." for line in noted.values())


def _answers(session: Session, study: Study) -> Iterator[tuple[Answer, ReadingItem, int, str]]:
    """Each answer with its place, the number of its protocol, and a name for it."""
    numbers = dict(session.exec(
        select(ProtocolVersion.id, ProtocolVersion.number).where(ProtocolVersion.study_id == study.id)
    ).all())
    rows = session.exec(
        select(Answer, ReadingItem, ReadingSession.number, Account.email)
        .join(ReadingItem, col(ReadingItem.id) == Answer.item_id)
        .join(ReadingSession, col(ReadingSession.id) == ReadingItem.session_id)
        .join(Account, col(Account.id) == ReadingSession.account_id)
        .where(ReadingSession.study_id == study.id).order_by(col(Answer.id))
    ).all()
    for answer, item, session_number, email in rows:
        name = f"place {item.position} in session {session_number} of {email}, revision {answer.revision},"
        yield answer, item, numbers.get(answer.protocol_version_id, 0), name


def _regions(session: Session, study: Study) -> dict[int | None, list[RegionAnswer]]:
    """Answer id to its regions."""
    rows = session.exec(
        select(RegionAnswer).join(Answer).join(ReadingItem).join(ReadingSession)
        .where(ReadingSession.study_id == study.id)
    )
    found: dict[int | None, list[RegionAnswer]] = defaultdict(list)
    for row in rows:
        found[row.answer_id].append(row)
    return found


def _entry(answer: Answer, rows: list[RegionAnswer]) -> Entry | None:
    """What was answered, from its rows; None where they hold what no reader could have entered."""
    try:
        regions = {Region(row.region): RegionEntry(row.grade, row.confidence, row.not_gradable) for row in rows}
        return Entry(regions, answer.image_quality, answer.comment)
    except (ValueError, Refusal):
        return None


def _signature_problems(session: Session, study: Study, lines: dict[str, list[_Line]]) -> Iterator[str]:
    """Each signature held against its line, and the last one of a session against the answers under it."""
    rows = session.exec(
        select(Signature, Account.email).join(Account).where(Signature.study_id == study.id).order_by(col(Signature.id))
    ).all()
    stored = Counter(_signed(signature.what, email, signature.sha256) for signature, email in rows)
    noted: Counter[tuple[str, str]] = Counter(
        (line.subject, str(line.new.get("sha256"))) for act in SIGNED for line in lines[act]
    )
    for name, _ in (stored - noted).elements():
        yield f"A signature under {name} was altered, or has no line in the audit log."
    for name, _ in (noted - stored).elements():
        yield f"The signature under {name} is missing or was altered."
    yield from _unlike_their_signature(session, study, dict(_signed(s.what, email, s.sha256) for s, email in rows))


def _signed(what: str, email: str, sha256: str) -> tuple[str, str]:
    """What was signed, as the audit log names it, and its hash."""
    return (f"{what} of {email}" if what.startswith("session ") else what), sha256


def _unlike_their_signature(session: Session, study: Study, signed: dict[str, str]) -> Iterator[str]:
    rows = session.exec(
        select(ReadingSession, Account.email).join(Account)
        .where(ReadingSession.study_id == study.id, col(ReadingSession.completed_at).is_not(None))
    ).all()
    for reading_session, email in rows:
        name = f"session {reading_session.number} of {email}"
        if signed.get(name) != session_digest(session, reading_session):
            yield f"The answers of {name} are not those that were signed."
