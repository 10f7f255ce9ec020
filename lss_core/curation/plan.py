"""Who labels, and who decides where the two differ."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role
from lss_core.study import audit
from lss_core.study import curation_tables as tables
from lss_core.study.actors import Actor, check_in_collection, roles_in
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import Account
from lss_core.vocabulary import Refusal

NO_PLAN = "Nobody is named yet to label; the principal investigator names two annotators."


@dataclass(frozen=True)
class LabelPlan:
    """Account ids. Without an adjudicator disagreements are decided in joint sessions."""

    first: int
    second: int
    adjudicator: int | None = None


def set_plan(
    engine: Engine, actor: Actor, collection_id: int, plan: LabelPlan, *, now: datetime | None = None
) -> None:
    """Name who labels and who adjudicates. The two stay once one of them has labelled a case.

    Raises:
        Refusal: not permitted, people without the role, one person twice, or annotators who have begun.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.LOCK_REFERENCE)
        _check_people(session, collection_id, plan)
        before = plan_now(session, collection_id)
        if before is not None:
            _check_begun(session, collection_id, before, plan)
        session.add(tables.LabelPlan(
            collection_id=collection_id, first=plan.first, second=plan.second, adjudicator=plan.adjudicator,
            seed=before.seed if before else secrets.token_hex(16), set_by=actor.account_id, at=now,
        ))
        audit.append(session, at=now, actor=actor.email, action="set label plan", study_id=collection_id,
                     old=None if before is None else _named(session, _value(before)), new=_named(session, plan))


def plan_of(engine: Engine, actor: Actor, collection_id: int) -> LabelPlan | None:
    """The plan as it is now, for everybody in the collection.

    Raises:
        Refusal: no role in this collection.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        row = plan_now(session, collection_id)
        return None if row is None else _value(row)


def is_annotator(engine: Engine, actor: Actor, collection_id: int) -> bool:
    """Whether the plan names the actor to label.

    Raises:
        Refusal: no role in this collection.
    """
    plan = plan_of(engine, actor, collection_id)
    return plan is not None and actor.account_id in (plan.first, plan.second)


def plan_now(session: Session, collection_id: int) -> tables.LabelPlan | None:
    """The row that counts."""
    return session.exec(
        select(tables.LabelPlan).where(tables.LabelPlan.collection_id == collection_id)
        .order_by(col(tables.LabelPlan.id).desc()).limit(1)
    ).first()


def needed_plan(session: Session, collection_id: int) -> tables.LabelPlan:
    """As `plan_now`.

    Raises:
        Refusal: nobody is named yet.
    """
    row = plan_now(session, collection_id)
    if row is None:
        raise Refusal(NO_PLAN)
    return row


def name_of(session: Session, account_id: int) -> str:
    """A person's name, or the e-mail where none was stated."""
    account = session.get_one(Account, account_id)
    return account.name or account.email


def _value(row: tables.LabelPlan) -> LabelPlan:
    return LabelPlan(row.first, row.second, row.adjudicator)


def _check_people(session: Session, collection_id: int, plan: LabelPlan) -> None:
    people = [each for each in (plan.first, plan.second, plan.adjudicator) if each is not None]
    if len(set(people)) < len(people):
        raise Refusal("The two annotators and the adjudicator must be different people.")
    for account_id in (plan.first, plan.second):
        if Role.ANNOTATOR not in roles_in(session, account_id, collection_id):
            raise Refusal(f"{_called(session, account_id)} is no annotator of this collection; invite them first.")
    if plan.adjudicator is not None and not (
        roles_in(session, plan.adjudicator, collection_id) & {Role.ANNOTATOR, Role.PI}
    ):
        raise Refusal(f"{_called(session, plan.adjudicator)} cannot adjudicate: that needs the role annotator or "
                      "principal investigator in this collection.")


def _called(session: Session, account_id: int) -> str:
    return name_of(session, account_id) if session.get(Account, account_id) else f"Account {account_id}"


def _check_begun(session: Session, collection_id: int, before: tables.LabelPlan, plan: LabelPlan) -> None:
    if (before.first, before.second) == (plan.first, plan.second):
        return
    if session.exec(
        select(tables.Label.id).where(tables.Label.collection_id == collection_id).limit(1)
    ).first() is not None:
        raise Refusal("Labelling has begun: the two annotators stay. Only the adjudicator can be changed.")


def _named(session: Session, plan: LabelPlan) -> dict[str, str]:
    """As the audit log has it."""
    named = {"first": plan.first, "second": plan.second, "adjudicator": plan.adjudicator}
    return {what: session.get_one(Account, each).email for what, each in named.items() if each is not None}
