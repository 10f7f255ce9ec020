"""The audit log and the signatures of one study, for those who may see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, func
from sqlmodel import col, select

from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.connection import reading
from lss_core.study.database import Account, AuditEvent, Signature
from lss_core.study.verification import study_problems


@dataclass(frozen=True)
class LineKinds:
    """What the lines of a study can be filtered by, each sorted."""

    actors: tuple[str, ...]                     # e-mails, and "system"
    actions: tuple[str, ...]


def lines_of(
    engine: Engine, actor: Actor, study_id: int, *, who: str = "", action: str = "", skip: int = 0, limit: int = 100
) -> Sequence[AuditEvent]:
    """Lines of a study, the newest first.

    Args:
        who, action: Only lines with this actor and this action; "" takes all.
        skip, limit: How many of the newest to leave out, and how many to give.

    Raises:
        Refusal: no role that sees the log.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.SEE_AUDIT, kind=None)
        return session.exec(
            select(AuditEvent).where(*_wanted(study_id, who, action)).order_by(col(AuditEvent.id).desc())
            .offset(skip).limit(limit)
        ).all()


def how_many(engine: Engine, actor: Actor, study_id: int, *, who: str = "", action: str = "") -> int:
    """How many lines `lines_of` has to give.

    Raises:
        Refusal: no role that sees the log.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.SEE_AUDIT, kind=None)
        return session.exec(
            select(func.count()).select_from(AuditEvent).where(*_wanted(study_id, who, action))
        ).one()


def kinds_of(engine: Engine, actor: Actor, study_id: int) -> LineKinds:
    """Who did something in a study, and what was done.

    Raises:
        Refusal: no role that sees the log.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.SEE_AUDIT, kind=None)
        here = AuditEvent.study_id == study_id
        actors = session.exec(select(AuditEvent.actor).where(here).distinct()).all()
        actions = session.exec(select(AuditEvent.action).where(here).distinct()).all()
        return LineKinds(tuple(sorted(actors)), tuple(sorted(actions)))


def problems(engine: Engine, actor: Actor, study_id: int) -> list[str]:
    """A sentence for each line of the whole log, and each record of this study, that is not as it was written.

    Raises:
        Refusal: no role that sees the log.
    """
    with reading(engine) as session:
        study = check_in_study(session, actor, study_id, Permission.SEE_AUDIT, kind=None)
        return [*audit.verify(engine), *study_problems(session, study)]


def signatures_of(engine: Engine, actor: Actor, study_id: int) -> tuple[tuple[Signature, str], ...]:
    """Each signature with the e-mail of its account, the oldest first.

    Raises:
        Refusal: no role that sees the log.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.SEE_AUDIT, kind=None)
        rows = session.exec(
            select(Signature, Account.email).join(Account, col(Account.id) == Signature.account_id)
            .where(Signature.study_id == study_id).order_by(col(Signature.id))
        ).all()
        return tuple((signature, email) for signature, email in rows)


def _wanted(study_id: int, who: str, action: str) -> list[bool]:
    """Conditions of a query."""
    conditions = [AuditEvent.study_id == study_id]
    if who:
        conditions.append(AuditEvent.actor == who)
    if action:
        conditions.append(AuditEvent.action == action)
    return conditions
