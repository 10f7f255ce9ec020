"""A reader's desk: what they may do next in a study, and the beginning of a session, which draws its order.

Next to it: `reading` (the cases one by one), `submitting` (drafts, answers), `revisiting` (going back, reopening) and
`finishing` (signature, own result).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from sqlalchemy import Engine, exists, func
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study, check_may_read
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import (
    Account,
    Answer,
    Case,
    CaseKind,
    Membership,
    ProtocolVersion,
    ReadingItem,
    ReadingSession,
    Study,
    StudyState,
)
from lss_core.study.order import OrderedCase, Place, begins_aided, draw_order, seed_of
from lss_core.study.places import check_open, due_places, protocol_now
from lss_core.study.protocol import Protocol, Revisit
from lss_core.vocabulary import Refusal, Region


class Stage(StrEnum):
    """What a reader may do now."""

    PREPARING = "preparing"             # the protocol is not locked yet
    EXPERIENCE = "experience"           # specialty, years and lumbar CTs a year are to be stated first
    WAITING = "waiting"                 # washout: the next session opens at `opens_at`
    PAUSED = "paused"
    INSTRUCTIONS = "instructions"       # a session may begin
    CASE = "case"
    SIGN = "sign"                       # all cases are read
    DONE = "done"                       # all sessions are signed
    CLOSED = "closed"
    RESULT = "result"                   # the reader may see their own result


@dataclass(frozen=True)
class ProtocolView:
    """What a reader may know of the protocol: neither seed, repeats, design nor the versions compared."""

    instructions: str
    scheme: str
    regions: tuple[Region, ...]
    ask_confidence: bool
    may_revisit: bool
    training_feedback: bool
    slices_around_mm: float
    pause_s: float
    idle_after_s: float
    sessions: int
    washout_days: int

    @classmethod
    def of(cls, protocol: Protocol) -> ProtocolView:
        return cls(
            instructions=protocol.instructions, scheme=protocol.scheme, regions=protocol.regions,
            ask_confidence=protocol.ask_confidence, may_revisit=protocol.revisit is Revisit.UNTIL_SIGNED,
            training_feedback=protocol.training_feedback, slices_around_mm=protocol.slices_around_mm,
            pause_s=protocol.pause_s, idle_after_s=protocol.idle_after_s, sessions=protocol.sessions,
            washout_days=protocol.washout_days,
        )


@dataclass(frozen=True)
class Desk:
    """A study as one of its readers sees it.

    Attributes:
        session_number: Of the session that is open, or the next one; the last one where all are done.
        done, total: Submitted cases and cases of that session, training apart; both 0 before it begins.
        opens_at: When the next session may begin, where a washout runs.
    """

    study_id: int
    title: str
    is_demo: bool
    stage: Stage
    session_number: int
    sessions: int
    done: int
    total: int
    opens_at: datetime | None
    protocol_view: ProtocolView


def desks(engine: Engine, actor: Actor, *, now: datetime | None = None) -> tuple[Desk, ...]:
    """The desks of all studies in which the actor reads, the newest study first."""
    with reading(engine) as session:
        studies = session.exec(
            select(Study).join(Membership).where(
                Membership.account_id == actor.account_id, Membership.role == Role.READER,
                col(Membership.removed_at).is_(None),
            ).order_by(col(Study.id).desc())
        ).all()
        return tuple(desk_of(session, study, actor.account_id, now or utc_now()) for study in studies)


def desk(engine: Engine, actor: Actor, study_id: int, *, now: datetime | None = None) -> Desk:
    """The actor's desk in one study.

    Raises:
        Refusal: not a reader of this study.
    """
    with reading(engine) as session:
        study = check_in_study(session, actor, study_id, Permission.READ_CASES)
        return desk_of(session, study, actor.account_id, now or utc_now())


def begin_session(engine: Engine, actor: Actor, study_id: int, *, now: datetime | None = None) -> Desk:
    """Draw and store the order of the reader's next session; where one is open already, nothing changes.

    Raises:
        Refusal: not a reader here, or with a role beside that must not read; experience not stated; the study is not
            open; all sessions are done; the washout runs.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.READ_CASES)
        check_open(study)
        check_may_read(session, actor.account_id, study_id)
        before = desk_of(session, study, actor.account_id, now)
        if before.stage in (Stage.CASE, Stage.SIGN):
            return before
        _check_may_begin(before)
        _begin(session, study, actor, before.session_number, now)
        return desk_of(session, study, actor.account_id, now)


def opens_at(completed_at: datetime, washout_days: int) -> datetime:
    """The start of the day (UTC) on which the next session opens: all of day 27 is refused and all of day 28 is open,
    counted from the day of completion."""
    day = completed_at.astimezone(UTC).date() + timedelta(days=washout_days)
    return datetime.combine(day, time(), UTC)


def states_experience(account: Account) -> bool:
    """Whether the person has stated a name to sign with, and what experience levels are made from."""
    stated = None not in (account.years_of_experience, account.lumbar_cts_a_year)
    return bool(account.name and account.specialty) and stated


def counts_of(session: Session, reading_session: ReadingSession) -> tuple[int, int]:
    """(submitted, all) test cases of a session, hidden repeats included."""
    tests = select(func.count()).select_from(ReadingItem).where(
        ReadingItem.session_id == reading_session.id, ReadingItem.kind == CaseKind.TEST
    )
    answered = exists().where(col(Answer.item_id) == ReadingItem.id)
    return session.exec(tests.where(answered)).one(), session.exec(tests).one()


def desk_of(session: Session, study: Study, account_id: int, now: datetime) -> Desk:
    """As `desk`, of any reader and within a session; the caller has checked that it may be seen."""
    protocol, _ = protocol_now(session, study.id)
    sessions = session.exec(
        select(ReadingSession).where(ReadingSession.study_id == study.id, ReadingSession.account_id == account_id)
        .order_by(col(ReadingSession.number))
    ).all()
    unsigned = [each for each in sessions if each.completed_at is None]
    opening = _opening(sessions, protocol) if not unsigned else None
    shown = unsigned[0] if unsigned else (sessions[-1] if len(sessions) >= protocol.sessions else None)
    done, total = counts_of(session, shown) if shown else (0, 0)
    stage = _stage(session, study, protocol, account_id, shown, opening, now)
    assert study.id is not None
    return Desk(
        study_id=study.id, title=study.title, is_demo=study.is_demo, stage=stage,
        session_number=shown.number if shown else len(sessions) + 1, sessions=protocol.sessions, done=done, total=total,
        opens_at=opening, protocol_view=ProtocolView.of(protocol),
    )


def _opening(sessions, protocol: Protocol) -> datetime | None:
    """When the next session opens; None where none comes before or after."""
    last = max((each.completed_at for each in sessions if each.completed_at), default=None)
    return opens_at(last, protocol.washout_days) if last and len(sessions) < protocol.sessions else None


def _stage(
    session: Session, study: Study, protocol: Protocol, account_id: int, shown: ReadingSession | None,
    opening: datetime | None, now: datetime,
) -> Stage:
    by_state = {
        StudyState.DRAFT: Stage.PREPARING, StudyState.PAUSED: Stage.PAUSED, StudyState.CLOSED: Stage.CLOSED,
        StudyState.UNBLINDED: Stage.RESULT if protocol.own_result else Stage.CLOSED,
    }
    if study.state in by_state:
        return by_state[StudyState(study.state)]
    if shown is not None and shown.completed_at is not None:
        return Stage.DONE
    if not states_experience(session.get_one(Account, account_id)):
        return Stage.EXPERIENCE
    if shown is not None:
        return Stage.CASE if due_places(session, shown, limit=1) else Stage.SIGN
    return Stage.WAITING if opening and now < opening else Stage.INSTRUCTIONS


def _check_may_begin(before: Desk) -> None:
    if before.stage is Stage.EXPERIENCE:
        raise Refusal("State your specialty, your years of experience and the lumbar CTs you read a year first.")
    if before.stage is Stage.DONE:
        raise Refusal(f"You have read and signed all sessions of this study ({before.sessions}); thank you.")
    if before.stage is Stage.WAITING and before.opens_at:
        raise Refusal(f"Session {before.session_number} opens on {before.opens_at:%d %B %Y} (UTC); come back then.")


def _begin(session: Session, study: Study, actor: Actor, number: int, now: datetime) -> None:
    protocol, version = protocol_now(session, study.id)
    seed = seed_of(protocol, study_token=study.token, reader=actor.email, session_number=number)
    cases = session.exec(select(Case).where(Case.study_id == study.id, col(Case.removed_at).is_(None))).all()
    years = session.get_one(Account, actor.account_id).years_of_experience
    assert study.id is not None and version.id is not None
    assert years is not None                    # the stage EXPERIENCE comes before
    order = draw_order(
        [OrderedCase(case.number, case.cluster, CaseKind(case.kind)) for case in cases], protocol=protocol,
        study_token=study.token, seed=seed, session_number=number,
        starts_aided=_starts_aided(session, study, actor, years),
    )
    begun = ReadingSession(study_id=study.id, account_id=actor.account_id, number=number, seed=seed,
                           protocol_version_id=version.id, years_of_experience=years, begun_at=now)
    session.add(begun)
    session.flush()
    _store(session, begun, order, {case.number: case.id for case in cases if case.id is not None})
    audit.append(session, at=now, actor=actor.email, action="begin session", study_id=study.id,
                 subject=f"session {number} of {actor.email}",
                 new={"seed": seed, "protocol": version.number, "order": [_short(place) for place in order]})


def _store(session: Session, begun: ReadingSession, order: tuple[Place, ...], ids: dict[int, int]) -> None:
    assert begun.id is not None
    session.add_all(
        ReadingItem(token=secrets.token_urlsafe(16), session_id=begun.id, position=position, case_id=ids[place.number],
                    kind=place.kind, arm=place.arm, is_repeat=place.is_repeat)
        for position, place in enumerate(order, 1)
    )
    session.flush()


def _starts_aided(session: Session, study: Study, actor: Actor, years: float) -> bool:
    """Whether a crossover begins with the aided side for this reader; the same in all sessions of a reader, as the
    experience and its bounds are those of the reader's first session."""
    begun = session.exec(
        select(ReadingSession, ProtocolVersion).join(ProtocolVersion)
        .where(ReadingSession.study_id == study.id, ReadingSession.number == 1).order_by(col(ReadingSession.id))
    ).all()
    levels = [Protocol.parse(version.content).experience(each.years_of_experience) for each, version in begun]
    readers = [each.account_id for each, _ in begun]
    if actor.account_id in readers:
        return begins_aided(levels)[readers.index(actor.account_id)]
    return begins_aided([*levels, protocol_now(session, study.id)[0].experience(years)])[-1]


def _short(place: Place) -> str:
    """For the audit log: "12 aided", "12 aided repeat"."""
    return f"{place.number} {place.arm}{' repeat' if place.is_repeat else ''}"
