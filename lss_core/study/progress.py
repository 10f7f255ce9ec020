"""How far each reader is, and what may be wrong; nothing here tells what was answered or whether it is right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.clock import utc_now
from lss_core.study.connection import reading
from lss_core.study.database import (
    Account,
    Answer,
    CaseKind,
    Membership,
    ReadingItem,
    ReadingSession,
    Reopening,
    Study,
)
from lss_core.study.desks import Stage, desk_of
from lss_core.study.places import protocol_now
from lss_core.study.protocol import Experience, Protocol
from lss_core.vocabulary import Refusal

QUIET = timedelta(days=7)                       # without an answer while cases are due: said to the PI
HASTY_S = 5.0                                   # a median below it: said to the PI
FEW = 10                                        # answers below which a median time says nothing


@dataclass(frozen=True)
class ReaderProgress:
    """One reader.

    Attributes:
        experience: By the protocol's bounds; None where the reader has not stated the years.
        done, total: Submitted and all test cases of the session that is open, or of the last one.
        median_s: Of the time per submitted test case without idle time, over all sessions; None without answers.
        idle_s: Idle time of all submitted test cases together.
        opens_at: When the next session opens, where a washout runs.
        flags: A sentence each.
    """

    account_id: int
    email: str
    name: str
    experience: Experience | None
    stage: Stage
    session: int
    sessions: int
    done: int
    total: int
    last_answer_at: datetime | None
    median_s: float | None
    idle_s: float
    opens_at: datetime | None
    flags: tuple[str, ...]


def progress(
    engine: Engine, actor: Actor, study_id: int, *, now: datetime | None = None
) -> tuple[ReaderProgress, ...]:
    """All readers of a study, by e-mail.

    Raises:
        Refusal: no role that sees the progress.
    """
    with reading(engine) as session:
        study = check_in_study(session, actor, study_id, Permission.SEE_PROGRESS)
        protocol, _ = protocol_now(session, study_id)
        answers, waiting = _last_answers(session, study_id), _given_back(session, study_id)
        return tuple(
            _of_reader(session, study, protocol, reader, answers.get(reader.id or 0, []),
                       waiting.count(reader.id or 0), now or utc_now())
            for reader in _readers(session, study_id)
        )


def reminder(
    engine: Engine, actor: Actor, study_id: int, *, account_id: int, address: str = "", now: datetime | None = None
) -> str:
    """A text to a reader, to be copied into an e-mail.

    Args:
        address: Of the reading page, if it is to be named.

    Raises:
        Refusal: no role that sees the progress, or not a reader of this study.
    """
    found = [each for each in progress(engine, actor, study_id, now=now) if each.account_id == account_id]
    if not found:
        raise Refusal(f"Account {account_id} is not a reader of this study; choose one from the list.")
    with reading(engine) as session:
        title = session.get_one(Study, study_id).title
    reader = found[0]
    lines = [f"Dear {reader.name},", "", _what_is_due(reader, title)]
    if address:
        lines += ["", f"You go on where you left off, on any computer: {address}"]
    return "\n".join([*lines, "", "Thank you for reading.", actor.name])


def _what_is_due(reader: ReaderProgress, title: str) -> str:
    where = f'in the study "{title}"'
    if reader.stage is Stage.CASE:
        return (f"{reader.done} of {reader.total} cases of session {reader.session} {where} are read; "
                f"{reader.total - reader.done} are waiting for you.")
    if reader.stage is Stage.WAITING and reader.opens_at:
        return f"Session {reader.session} {where} opens for you on {reader.opens_at:%d %B %Y}."
    return {
        Stage.EXPERIENCE: f"Before your first case {where}, please state your specialty and experience.",
        Stage.INSTRUCTIONS: f"Session {reader.session} of {reader.sessions} {where} is ready for you.",
        Stage.SIGN: f"All cases of session {reader.session} {where} are read; only your signature is missing.",
        Stage.PAUSED: f"The reading {where} is paused; there is nothing to do until it goes on.",
        Stage.PREPARING: f"The reading {where} has not opened yet; there is nothing to do so far.",
    }.get(reader.stage, f"You have read everything {where}; there is nothing more to do.")


def _years(session: Session, study: Study, reader: Account) -> float | None:
    """As stated when the reader began; before that, as stated now."""
    begun = session.exec(
        select(ReadingSession.years_of_experience)
        .where(ReadingSession.study_id == study.id, ReadingSession.account_id == reader.id, ReadingSession.number == 1)
    ).first()
    return reader.years_of_experience if begun is None else begun


def _of_reader(
    session: Session, study: Study, protocol: Protocol, reader: Account, answers: list[Answer], waiting: int,
    now: datetime,
) -> ReaderProgress:
    assert reader.id is not None
    desk = desk_of(session, study, reader.id, now)
    times = [(each.submitted_at - each.shown_at).total_seconds() - each.idle_s for each in answers]
    last, middle = max((each.submitted_at for each in answers), default=None), median(times) if times else None
    years = _years(session, study, reader)
    return ReaderProgress(
        account_id=reader.id, email=reader.email, name=reader.name or reader.email,
        experience=protocol.experience(years) if years is not None else None, stage=desk.stage,
        session=desk.session_number, sessions=desk.sessions, done=desk.done, total=desk.total, last_answer_at=last,
        median_s=middle, idle_s=sum(each.idle_s for each in answers), opens_at=desk.opens_at,
        flags=tuple(_flags(reader, desk.stage, last, middle, len(times), waiting, now)),
    )


def _flags(
    reader: Account, stage: Stage, last: datetime | None, middle: float | None, answers: int, waiting: int,
    now: datetime,
):
    if stage is Stage.EXPERIENCE:
        yield "Has not stated the experience yet."
    if waiting:
        yield f"{waiting} reopened {'case waits' if waiting == 1 else 'cases wait'} for a new answer."
    if stage is Stage.CASE and last is not None and now - last > QUIET:
        yield f"No answer for {(now - last).days} days."
    if middle is not None and answers >= FEW and middle < HASTY_S:
        yield f"Reads fast: half of the cases took less than {middle:.1f} s."
    if reader.disabled:
        yield "The account is disabled."


def _readers(session: Session, study_id: int) -> list[Account]:
    return list(session.exec(
        select(Account).join(Membership, col(Membership.account_id) == Account.id).where(
            Membership.study_id == study_id, Membership.role == Role.READER, col(Membership.removed_at).is_(None)
        ).order_by(Account.email)
    ))


def _last_answers(session: Session, study_id: int) -> dict[int, list[Answer]]:
    """Account id to the last revision of each of the reader's test answers."""
    rows = session.exec(
        select(ReadingSession.account_id, Answer)
        .join(ReadingItem, col(ReadingItem.session_id) == ReadingSession.id)
        .join(Answer, col(Answer.item_id) == ReadingItem.id)
        .where(ReadingSession.study_id == study_id, ReadingItem.kind == CaseKind.TEST)
        .order_by(col(Answer.revision))
    )
    last = {answer.item_id: (account_id, answer) for account_id, answer in rows}
    found: dict[int, list[Answer]] = {}
    for account_id, answer in last.values():
        found.setdefault(account_id, []).append(answer)
    return found


def _given_back(session: Session, study_id: int) -> list[int]:
    """The account id of the reader of each reopened case that waits for its new answer."""
    answered = select(Answer.id).where(Answer.item_id == Reopening.item_id, Answer.revision == Reopening.revision)
    return list(session.exec(
        select(ReadingSession.account_id).join(ReadingItem, col(ReadingItem.session_id) == ReadingSession.id)
        .join(Reopening, col(Reopening.item_id) == ReadingItem.id)
        .where(ReadingSession.study_id == study_id, ~answered.exists())
    ))
