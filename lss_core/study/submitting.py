"""Drafts, signs of life and answers: what a reader's browser sends. Times come from the server's clock alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlmodel import Session, select

from lss_core.study import audit
from lss_core.study.actors import Actor
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, transaction
from lss_core.study.database import (
    Answer,
    Draft,
    ProtocolVersion,
    ReadingItem,
    ReadingSession,
    RegionAnswer,
    Study,
    StudyState,
)
from lss_core.study.entry import Entry
from lss_core.study.places import (
    AlreadySubmitted,
    answer_of,
    check_open,
    denials_noted,
    due_places,
    last_revision,
    own_place,
    protocol_now,
)
from lss_core.study.protocol import Protocol
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.vocabulary import Refusal


@dataclass(frozen=True)
class Receipt:
    """Proof that an answer is stored. `already`: it was stored by an earlier submit, and this one changed nothing."""

    answer_id: int
    submitted_at: datetime
    already: bool


def save_draft(
    engine: Engine, actor: Actor, token: str, *, change: int, entry: Entry, now: datetime | None = None
) -> int:
    """Keep what the reader has entered so far.

    Args:
        change: The reader's count of changes, on from `BlindedCase.change`. A draft that was overtaken by a newer one
            is left out.

    Returns:
        The count of the draft that is now stored.

    Raises:
        AlreadySubmitted: the case was submitted before.
        Denied: not the reader's own case; noted in the audit log.
        Refusal: the case was not shown yet, or the study is closed.
    """
    now = now or utc_now()
    with denials_noted(engine, actor, action="draft", token=token, now=now), transaction(engine) as session:
        study, _, item = own_place(session, actor, token)
        draft = _draft(session, item)
        if study.state not in (StudyState.OPEN, StudyState.PAUSED):
            raise Refusal("The study is not open for reading.")
        _see(draft, protocol_now(session, study.id)[0], now)
        if change >= draft.change:
            draft.change, draft.content, draft.updated_at = change, entry.canonical, now
            draft.first_input_at = draft.first_input_at or now
        return draft.change


def touch(
    engine: Engine, actor: Actor, token: str, *, rested: bool = False, now: datetime | None = None
) -> bool:
    """A sign of life of the reader: an input, a scroll, the end of a break.

    Time between two signs counts as idle where it is longer than the protocol's limit.

    Args:
        rested: The time since the last sign was a break, and is idle however short it was.

    Returns:
        Whether the case is still to be submitted; False tells another tab to go on.

    Raises:
        Denied: not the reader's own case; noted in the audit log.
    """
    now = now or utc_now()
    with denials_noted(engine, actor, action="touch", token=token, now=now), transaction(engine) as session:
        study, _, item = own_place(session, actor, token)
        draft = _draft_or_none(session, item)
        if draft is not None:
            _see(draft, protocol_now(session, study.id)[0], now, rested=rested)
        return draft is not None


def submit(
    engine: Engine, actor: Actor, token: str, *, change: int, entry: Entry, revision: int, now: datetime | None = None
) -> Receipt:
    """Store the answer of the current case, for good. Sent again, whatever it holds, it gives the first receipt.

    Args:
        change: The reader's count of changes; one that is behind the stored draft is refused, since another window
            holds newer input.
        revision: `BlindedCase.revision`.

    Raises:
        Denied: not the reader's own case; noted in the audit log.
        Refusal: not complete, not the case that is due, overtaken by another window, or the study is paused or closed.
    """
    now = now or utc_now()
    with denials_noted(engine, actor, action="submit", token=token, now=now), transaction(engine) as session:
        lock_writers(session)
        study, reading_session, item = own_place(session, actor, token)
        if stored := answer_of(session, item, revision):
            return _receipt(stored, already=True)
        check_open(study)
        protocol, version = protocol_now(session, study.id)
        draft = _due_draft(session, reading_session, item, revision)
        if change < draft.change:
            raise Refusal("This case was changed in another window since; reload the page to see the newer entries.")
        entry.check_complete(protocol)
        answer = _store(session, item, draft, entry, protocol, version, now)
        _note(session, actor, study, reading_session, item, answer)
        return _receipt(answer, already=False)


def answer_digest(answer: Answer, entry: Entry, *, item_token: str, protocol_number: int) -> str:
    """SHA-256 over everything that an answer says, with names that stay the same in another database."""
    first = _utc(answer.first_input_at) if answer.first_input_at else None
    content = [
        item_token, answer.revision, json.loads(entry.canonical), _utc(answer.shown_at), first,
        _utc(answer.submitted_at), answer.idle_s, protocol_number, answer.software_version,
    ]
    return hashlib.sha256(audit.canonical(content).encode()).hexdigest()


def _draft_or_none(session: Session, item: ReadingItem) -> Draft | None:
    """The item's draft, locked against other writers until the transaction ends."""
    return session.exec(select(Draft).where(Draft.item_id == item.id).with_for_update()).first()


def _draft(session: Session, item: ReadingItem) -> Draft:
    draft = _draft_or_none(session, item)
    if draft is None and last_revision(session, item):
        raise AlreadySubmitted("This case was already submitted; your answer is stored.")
    if draft is None:
        raise Refusal("This case was not shown yet; open the reading page.")
    return draft


def _due_draft(session: Session, reading_session: ReadingSession, item: ReadingItem, revision: int) -> Draft:
    """The draft of the case that is due, if `item` is that case."""
    due = due_places(session, reading_session, limit=1) if reading_session.completed_at is None else []
    if not due or due[0].item.id != item.id or due[0].revision != revision:
        raise Refusal("Another case is due; reload the page to go on with it.")
    return _draft(session, item)


def _see(draft: Draft, protocol: Protocol, now: datetime, *, rested: bool = False) -> None:
    """Count the time since the last sign of the reader, as idle where it was a break or too long."""
    gap_s = (now - draft.last_seen_at).total_seconds()
    if gap_s > 0:
        draft.idle_s += gap_s if rested or gap_s > protocol.idle_after_s else 0.0
        draft.last_seen_at = now


def _store(
    session: Session, item: ReadingItem, draft: Draft, entry: Entry, protocol: Protocol, version: ProtocolVersion,
    now: datetime,
) -> Answer:
    """The answer's rows in place of the draft's."""
    _see(draft, protocol, now)
    assert item.id is not None and version.id is not None
    answer = Answer(
        item_id=item.id, revision=draft.revision, image_quality=entry.image_quality, comment=entry.comment,
        shown_at=draft.shown_at, first_input_at=draft.first_input_at, submitted_at=now, idle_s=draft.idle_s,
        protocol_version_id=version.id, software_version=SOFTWARE_VERSION, sha256="",
    )
    answer.sha256 = answer_digest(answer, entry, item_token=item.token, protocol_number=version.number)
    session.add(answer)
    session.flush()
    assert answer.id is not None
    session.add_all(
        RegionAnswer(answer_id=answer.id, region=region, grade=each.grade, confidence=each.confidence,
                     not_gradable=each.not_gradable)
        for region, each in entry.regions.items()
    )
    session.delete(draft)
    return answer


def _note(
    session: Session, actor: Actor, study: Study, reading_session: ReadingSession, item: ReadingItem, answer: Answer,
) -> None:
    """The audit log has the answer's hash, not the answer: who may see the log may not see the grades yet."""
    audit.append(
        session, at=answer.submitted_at, actor=actor.email, action="submit answer", study_id=study.id,
        subject=f"answer {answer.id}",
        new={"session": reading_session.number, "position": item.position, "revision": answer.revision,
             "sha256": answer.sha256},
    )


def _receipt(answer: Answer, *, already: bool) -> Receipt:
    assert answer.id is not None
    return Receipt(answer.id, answer.submitted_at, already)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
