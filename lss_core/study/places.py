"""Where a reader stands: their own sessions and places, and which place is due. Asks no table that holds the truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Engine, func, or_
from sqlmodel import Session, col, select

from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.connection import transaction
from lss_core.study.database import (
    Answer,
    Draft,
    ProtocolVersion,
    ReadingItem,
    ReadingSession,
    Reopening,
    Study,
    StudyState,
)
from lss_core.study.protocol import Protocol
from lss_core.vocabulary import Refusal

UNKNOWN_CASE = "This case is not open to you."  # the same for an unknown token and for one of another reader


class Denied(Refusal):
    """A reader asked for what they must not see. It is written to the audit log."""


class AlreadySubmitted(Refusal):
    """A change came for a case that was submitted before; nothing is lost, the answer is stored."""


@dataclass(frozen=True)
class Due:
    """A place that is to be read, and the revision of its answer that is asked."""

    item: ReadingItem
    revision: int


@contextmanager
def denials_noted(engine: Engine, actor: Actor, *, action: str, token: str, now: datetime) -> Iterator[None]:
    """Write a line of the audit log for each `Denied` that is raised inside, and let it go on."""
    try:
        yield
    except Denied as denied:
        with transaction(engine) as session:
            item = session.exec(
                select(ReadingItem.id, ReadingSession.study_id).join(ReadingSession)
                .where(ReadingItem.token == token)
            ).first()
            subject = f"item {item[0]}" if item else "unknown case"
            audit.append(session, at=now, actor=actor.email, action=f"refused: {action}",
                         study_id=item[1] if item else None, subject=subject, reason=str(denied))
        raise


def own_place(session: Session, actor: Actor, token: str) -> tuple[Study, ReadingSession, ReadingItem]:
    """The reader's own place of that token.

    Raises:
        Denied: unknown, another reader's, or no longer a reader of the study; all told alike.
    """
    found = session.exec(
        select(ReadingSession, ReadingItem).join(ReadingItem)
        .where(ReadingItem.token == token, ReadingSession.account_id == actor.account_id)
    ).first()
    if found is None:
        raise Denied(UNKNOWN_CASE)
    try:
        return check_in_study(session, actor, found[0].study_id, Permission.READ_CASES), *found
    except Refusal as refusal:
        raise Denied(UNKNOWN_CASE) from refusal


def open_session(session: Session, account_id: int, study_id: int) -> ReadingSession | None:
    """The reader's earliest session that is not signed (again after a reopening)."""
    return session.exec(
        select(ReadingSession).where(
            ReadingSession.study_id == study_id, ReadingSession.account_id == account_id,
            col(ReadingSession.completed_at).is_(None),
        ).order_by(col(ReadingSession.number)).limit(1)
    ).first()


def due_places(session: Session, reading_session: ReadingSession, *, limit: int = 2) -> list[Due]:
    """The places of a session that are to be read, the current one first. What was given back or gone back to lies
    before all that was never answered, since nobody reads ahead."""
    # Scalar subqueries: PostgreSQL would answer `exists` in an `or` by scanning the answers of everybody.
    given = select(func.max(Answer.revision)).where(Answer.item_id == ReadingItem.id).scalar_subquery()
    asked = select(func.max(Reopening.revision)).where(Reopening.item_id == ReadingItem.id).scalar_subquery()
    entered = select(Draft.item_id).where(Draft.item_id == ReadingItem.id).scalar_subquery()
    items = session.exec(
        select(ReadingItem)
        .where(ReadingItem.session_id == reading_session.id,
               or_(given.is_(None), entered.is_not(None), asked > given))
        .order_by(col(ReadingItem.position)).limit(limit)
    ).all()
    return [Due(item, last_revision(session, item) + 1) for item in items]


def last_revision(session: Session, item: ReadingItem) -> int:
    """Of the item's answers; 0 where it has none."""
    return session.exec(select(func.max(Answer.revision)).where(Answer.item_id == item.id)).one() or 0


def answer_of(session: Session, item: ReadingItem, revision: int) -> Answer | None:
    return session.exec(select(Answer).where(Answer.item_id == item.id, Answer.revision == revision)).first()


def protocol_now(session: Session, study_id: int | None) -> tuple[Protocol, ProtocolVersion]:
    """The newest version of a study's protocol."""
    version = session.exec(
        select(ProtocolVersion).where(ProtocolVersion.study_id == study_id)
        .order_by(col(ProtocolVersion.number).desc()).limit(1)
    ).one()
    return _parsed(version.content), version


def check_open(study: Study) -> None:
    """Raise Refusal unless readers may read now."""
    if study.state == StudyState.PAUSED:
        raise Refusal("The study is paused; what you entered is kept. Come back when it goes on.")
    if study.state != StudyState.OPEN:
        raise Refusal("The study is not open for reading.")


_parsed = lru_cache(maxsize=64)(Protocol.parse)     # reading asks for the same text at every case
