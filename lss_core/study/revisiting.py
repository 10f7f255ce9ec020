"""A second look at a submitted case: by the reader where the protocol lets them, by the PI's reopening otherwise.

Either asks a new revision of the answer; the former one stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, exists, func
from sqlmodel import Session, col, select

from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import (
    Account,
    Answer,
    Case,
    CaseKind,
    Draft,
    ReadingItem,
    ReadingSession,
    Reopening,
    Study,
    StudyState,
)
from lss_core.study.places import (
    Denied,
    Due,
    check_open,
    denials_noted,
    due_places,
    last_revision,
    open_session,
    own_place,
    protocol_now,
)
from lss_core.study.protocol import Revisit
from lss_core.study.reading import start_clock
from lss_core.vocabulary import DiscLevel, Refusal


@dataclass(frozen=True)
class EarlierCase:
    """A case that a reader has submitted in the open session. Its grades are shown after `go_back` alone."""

    token: str
    number: int
    level: DiscLevel
    submitted_at: datetime


@dataclass(frozen=True)
class AnsweredItem:
    """For the PI: a submitted case of one reader, without what was answered."""

    item_id: int
    session_number: int
    number: int                                 # among the session's test cases
    case_number: int
    level: DiscLevel
    submitted_at: datetime
    revisions: int
    is_open: bool                               # given back and not submitted again yet


def earlier_cases(engine: Engine, actor: Actor, study_id: int) -> tuple[EarlierCase, ...]:
    """What the reader may go back to, in the order read; nothing where the protocol is forward only."""
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.READ_CASES)
        opened = open_session(session, actor.account_id, study_id)
        if opened is None or protocol_now(session, study_id)[0].revisit is not Revisit.UNTIL_SIGNED:
            return ()
        rows = session.exec(
            select(ReadingItem.token, ReadingItem.position, Case.level, Answer.submitted_at)
            .join(Case).join(Answer, col(Answer.item_id) == ReadingItem.id)
            .where(ReadingItem.session_id == opened.id, ReadingItem.kind == CaseKind.TEST)
            .order_by(col(ReadingItem.position), col(Answer.revision))
        ).all()
        before = _training_places(session, opened)
        last = {token: EarlierCase(token, place - before, DiscLevel(level), at) for token, place, level, at in rows}
        return tuple(last.values())


def go_back(engine: Engine, actor: Actor, token: str, *, now: datetime | None = None) -> None:
    """Make an earlier case of the open session the current one, with the former answer as its draft.

    Raises:
        Denied: not the reader's own case, or the protocol is forward only; noted in the audit log.
        Refusal: a training case, one not submitted, or another earlier case is open already.
    """
    now = now or utc_now()
    with denials_noted(engine, actor, action="go back", token=token, now=now), transaction(engine) as session:
        lock_writers(session)
        study, reading_session, item = own_place(session, actor, token)
        check_open(study)
        if protocol_now(session, study.id)[0].revisit is not Revisit.UNTIL_SIGNED:
            raise Denied("In this study a submitted case is not changed by its reader; ask the principal investigator.")
        revision = last_revision(session, item)
        if reading_session.completed_at is not None or item.kind != CaseKind.TEST or revision == 0:
            raise Refusal("Only a submitted test case of a session that is not signed can be gone back to.")
        if session.get(Draft, item.id) is not None:
            return
        for due in due_places(session, reading_session, limit=1):
            if due.revision > 1 and due.item.id != item.id:
                raise Refusal("You are changing another earlier case; submit it or leave it first.")
        start_clock(session, Due(item, revision + 1), now)
        audit.append(session, at=now, actor=actor.email, action="go back to case", study_id=study.id,
                     subject=f"session {reading_session.number} place {item.position}", new={"revision": revision + 1})


def return_forward(engine: Engine, actor: Actor, token: str, *, now: datetime | None = None) -> None:
    """Leave an earlier case as it was: its former answer counts, its draft goes. A case that the PI reopened stays due.

    Raises:
        Denied: not the reader's own case; noted in the audit log.
        Refusal: the case was never submitted.
    """
    now = now or utc_now()
    with denials_noted(engine, actor, action="return forward", token=token, now=now), transaction(engine) as session:
        lock_writers(session)
        study, reading_session, item = own_place(session, actor, token)
        revision = last_revision(session, item)
        if revision == 0:
            raise Refusal("This case has no former answer to return to; answer it.")
        draft = session.get(Draft, item.id)
        if draft is None or _is_reopened(session, item, revision):
            return
        session.delete(draft)
        audit.append(session, at=now, actor=actor.email, action="leave case as it was", study_id=study.id,
                     subject=f"session {reading_session.number} place {item.position}", new={"revision": revision})


def answered_items(engine: Engine, actor: Actor, study_id: int, *, account_id: int) -> tuple[AnsweredItem, ...]:
    """A reader's submitted test cases, for whoever may reopen one; nothing about what was answered."""
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.REOPEN_CASE)
        rows = session.exec(
            select(ReadingItem, ReadingSession, Case, Answer)
            .join(ReadingSession, col(ReadingSession.id) == ReadingItem.session_id)
            .join(Case, col(Case.id) == ReadingItem.case_id).join(Answer, col(Answer.item_id) == ReadingItem.id)
            .where(ReadingSession.study_id == study_id, ReadingSession.account_id == account_id,
                   ReadingItem.kind == CaseKind.TEST)
            .order_by(col(ReadingSession.number), col(ReadingItem.position), col(Answer.revision))
        ).all()
        sessions = {opened.id: opened for _, opened, _, _ in rows}
        before = {each: _training_places(session, opened) for each, opened in sessions.items()}
        last = {item.id: (item, opened, case, answer) for item, opened, case, answer in rows}
        return tuple(
            AnsweredItem(answer.item_id, opened.number, item.position - before[opened.id], case.number,
                         DiscLevel(case.level), answer.submitted_at, answer.revision,
                         _is_reopened(session, item, answer.revision))
            for item, opened, case, answer in last.values()
        )


def reopen(
    engine: Engine, actor: Actor, study_id: int, *, item_id: int, reason: str, now: datetime | None = None
) -> None:
    """Give a submitted test case back to its reader. The former answer stays, and the reader signs the session again;
    the washout then counts from the new signature.

    Raises:
        Refusal: not permitted, no reason, not such a case of this study, already given back, or the study is closed.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.REOPEN_CASE)
        item, reading_session = _reopenable(session, study, item_id, reason)
        revision = last_revision(session, item) + 1
        session.add(Reopening(item_id=item_id, revision=revision, reopened_by=actor.account_id,
                              reason=reason.strip(), at=now))
        signed_at, reading_session.completed_at = reading_session.completed_at, None
        reader = session.get_one(Account, reading_session.account_id)
        audit.append(session, at=now, actor=actor.email, action="reopen case", study_id=study_id,
                     subject=f"session {reading_session.number} place {item.position} of {reader.email}",
                     old={"revision": revision - 1, "signed_at": signed_at.isoformat() if signed_at else None},
                     new={"revision": revision}, reason=reason.strip())


def _reopenable(session: Session, study: Study, item_id: int, reason: str) -> tuple[ReadingItem, ReadingSession]:
    if not reason.strip():
        raise Refusal("Reopening a case needs a reason; it is kept in the audit log.")
    if study.state not in (StudyState.OPEN, StudyState.PAUSED):
        raise Refusal("The study is closed: its answers stay as they are.")
    found = session.exec(
        select(ReadingItem, ReadingSession).join(ReadingSession)
        .where(ReadingItem.id == item_id, ReadingSession.study_id == study.id)
    ).first()
    if found is None or found[0].kind != CaseKind.TEST:
        raise Refusal(f"Place {item_id} is not a test case of this study; choose one from the list.")
    revision = last_revision(session, found[0])
    if revision == 0:
        raise Refusal("This case was not submitted yet; its reader can still answer it.")
    if _is_reopened(session, found[0], revision):
        raise Refusal("This case was given back already and waits for its reader.")
    return found


def _is_reopened(session: Session, item: ReadingItem, revision: int) -> bool:
    waiting = exists().where(col(Reopening.item_id) == item.id, col(Reopening.revision) > revision)
    return bool(session.exec(select(waiting)).one())


def _training_places(session: Session, reading_session: ReadingSession) -> int:
    return session.exec(
        select(func.count()).select_from(ReadingItem)
        .where(ReadingItem.session_id == reading_session.id, ReadingItem.kind == CaseKind.TRAINING)
    ).one()
