"""The acts that move a study on: lock, amend, pause, resume, close, unblind. Each is signed or has a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, transaction
from lss_core.study.database import Account, Membership, ProtocolVersion, ReadingSession, Study, StudyState
from lss_core.study.places import protocol_now
from lss_core.study.protocol import Protocol, changes, digest
from lss_core.study.readiness import locked_facts, missing
from lss_core.study.signatures import sign
from lss_core.vocabulary import Refusal

# What can no longer be changed once an order is drawn: readings before and after would not be of one study.
FIXED_BY_READING = frozenset({
    "scheme", "regions", "ask_confidence", "design", "sessions", "aid", "repeats", "order", "seed", "revisit",
    "training_feedback", "slices_around_mm",
})


def lock(
    engine: Engine, actor: Actor, study_id: int, *, typed_name: str, meaning: str, now: datetime | None = None
) -> ProtocolVersion:
    """Freeze the protocol with its cases under a hash and a signature, and open the study for reading.

    Raises:
        Refusal: not permitted, locked already, something is missing (each named), or the signature is not valid.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.LOCK_PROTOCOL)
        if study.state != StudyState.DRAFT:
            raise Refusal("The protocol is locked already.")
        protocol, version = protocol_now(session, study_id)
        _refuse_unready(session, study_id, protocol)
        version.sha256, version.locked_at = digest(protocol, locked_facts(session, study_id)), now
        study.state = StudyState.OPEN
        sign(session, actor, study_id, typed_name=typed_name, meaning=meaning, what=f"protocol {version.number}",
             sha256=version.sha256, at=now)
        audit.append(session, at=now, actor=actor.email, action="lock protocol", study_id=study_id,
                     subject=f"protocol {version.number}", old=StudyState.DRAFT, new={"sha256": version.sha256},
                     reason=meaning.strip())
        return version


def amend(
    engine: Engine, actor: Actor, study_id: int, protocol: Protocol, *, reason: str, typed_name: str,
    now: datetime | None = None,
) -> ProtocolVersion:
    """A new, locked and signed version of a locked protocol. Where it names no seed, the former one stays.

    Raises:
        Refusal: not permitted, in draft or unblinded, no reason, nothing changed, something is missing, or it changes
            what readings that have begun rest on.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.LOCK_PROTOCOL)
        _check_amendable(study, reason)
        before, version = protocol_now(session, study_id)
        after = protocol if protocol.seed else replace(protocol, seed=before.seed)
        changed = changes(before, after)
        _refuse_late_change(session, study_id, changed)
        _refuse_unready(session, study_id, after)
        new = ProtocolVersion(
            study_id=study_id, number=version.number + 1, content=after.canonical, reason=reason.strip(),
            sha256=digest(after, locked_facts(session, study_id)), created_at=now, locked_at=now,
        )
        session.add(new)
        sign(session, actor, study_id, typed_name=typed_name, meaning=f"Amendment: {reason.strip()}",
             what=f"protocol {new.number}", sha256=new.sha256, at=now)
        audit.append(session, at=now, actor=actor.email, action="amend protocol", study_id=study_id,
                     subject=f"protocol {new.number}", old={name: pair[0] for name, pair in changed.items()},
                     new={"sha256": new.sha256, **{name: pair[1] for name, pair in changed.items()}},
                     reason=reason.strip())
        return new


def pause(engine: Engine, actor: Actor, study_id: int, *, reason: str, now: datetime | None = None) -> None:
    """Ask readers to wait: drafts are kept, nothing is submitted.

    Raises:
        Refusal: not permitted, no reason, or the study is not open.
    """
    _move(engine, actor, study_id, needed=Permission.PAUSE, before=(StudyState.OPEN,), after=StudyState.PAUSED,
          action="pause study", reason=reason, now=now)


def resume(engine: Engine, actor: Actor, study_id: int, *, reason: str, now: datetime | None = None) -> None:
    """Go on after a pause.

    Raises:
        Refusal: not permitted, no reason, or the study is not paused.
    """
    _move(engine, actor, study_id, needed=Permission.PAUSE, before=(StudyState.PAUSED,), after=StudyState.OPEN,
          action="resume study", reason=reason, now=now)


def close(
    engine: Engine, actor: Actor, study_id: int, *, reason: str, now: datetime | None = None
) -> tuple[str, ...]:
    """End the reading for good; still blinded.

    Returns:
        The e-mails of readers who have not signed all sessions; they are in the audit log too.

    Raises:
        Refusal: not permitted, no reason, or the study is neither open nor paused.
    """
    return _move(engine, actor, study_id, needed=Permission.CLOSE_STUDY, before=(StudyState.OPEN, StudyState.PAUSED),
                 after=StudyState.CLOSED, action="close study", reason=reason, now=now)


def unblind(engine: Engine, actor: Actor, study_id: int, *, reason: str, now: datetime | None = None) -> None:
    """Let results be seen, after closing.

    Raises:
        Refusal: not permitted, no reason, or the study is not closed.
    """
    _move(engine, actor, study_id, needed=Permission.UNBLIND, before=(StudyState.CLOSED,),
          after=StudyState.UNBLINDED, action="unblind study", reason=reason, now=now)


def unfinished_readers(session: Session, study_id: int) -> tuple[str, ...]:
    """E-mails of the readers who have not signed as many sessions as the protocol has."""
    protocol, _ = protocol_now(session, study_id)
    readers = session.exec(
        select(Account).join(Membership, col(Membership.account_id) == Account.id).where(
            Membership.study_id == study_id, Membership.role == Role.READER, col(Membership.removed_at).is_(None)
        ).order_by(Account.email)
    ).all()
    signed = session.exec(
        select(ReadingSession.account_id).where(
            ReadingSession.study_id == study_id, col(ReadingSession.completed_at).is_not(None)
        )
    ).all()
    return tuple(reader.email for reader in readers if signed.count(reader.id or 0) < protocol.sessions)


def _move(
    engine: Engine, actor: Actor, study_id: int, *, needed: Permission, before: tuple[StudyState, ...],
    after: StudyState, action: str, reason: str, now: datetime | None,
) -> tuple[str, ...]:
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, needed)
        if study.state not in before:
            wanted = " or ".join(state.value for state in before)
            raise Refusal(f"The study is {study.state}; to {action} it must be {wanted}.")
        if not reason.strip():
            raise Refusal(f"To {action} needs a reason; it is kept in the audit log.")
        unfinished = unfinished_readers(session, study_id) if after == StudyState.CLOSED else ()
        old, study.state = study.state, after
        audit.append(session, at=now or utc_now(), actor=actor.email, action=action, study_id=study_id, old=old,
                     new={"state": after, **({"unfinished": unfinished} if unfinished else {})}, reason=reason.strip())
        return unfinished


def _check_amendable(study: Study, reason: str) -> None:
    if study.state == StudyState.DRAFT:
        raise Refusal("The protocol is not locked yet; save it instead of amending it.")
    if study.state == StudyState.UNBLINDED:
        raise Refusal("The study is unblinded: its protocol stays as it is.")
    if not reason.strip():
        raise Refusal("An amendment needs a reason; it is kept with the new version.")


def _refuse_late_change(session: Session, study_id: int, changed: dict) -> None:
    if not changed:
        raise Refusal("Nothing is changed; there is nothing to amend.")
    begun = session.exec(select(ReadingSession.id).where(ReadingSession.study_id == study_id).limit(1)).first()
    fixed = sorted(FIXED_BY_READING & changed.keys())
    if begun is not None and fixed:
        raise Refusal(
            f"Reading has begun, so {', '.join(fixed).replace('_', ' ')} can no longer be changed: readings before and "
            "after would not be comparable. Make a new study for it."
        )


def _refuse_unready(session: Session, study_id: int, protocol: Protocol) -> None:
    problems = list(missing(session, study_id, protocol))
    if problems:
        raise Refusal(" ".join(problems))
