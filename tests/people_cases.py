"""A study with people in it, for tests of who may do what."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlmodel import select

from lss_core.permissions import Role
from lss_core.study.actors import Actor, actor_of
from lss_core.study.connection import reading, transaction
from lss_core.study.database import Account, AuditEvent, Membership, ProtocolVersion, Study, StudyState
from lss_core.study.protocol import Protocol

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def add_study(engine: Engine, *, state: StudyState = StudyState.DRAFT, is_demo: bool = False, token: str = "s") -> int:
    founder = add_person(engine, f"founder-{token}@example.org")
    with transaction(engine) as session:
        study = Study(token=token, title="A study", state=state, is_demo=is_demo, created_by=founder, created_at=NOW)
        session.add(study)
        session.flush()
        assert study.id is not None
        session.add(ProtocolVersion(study_id=study.id, number=1, content=Protocol(seed="s").canonical, created_at=NOW))
        return study.id


def add_person(engine: Engine, email: str, *roles: tuple[int, Role], **fields: object) -> int:
    """An account with roles in studies; returns its id."""
    with transaction(engine) as session:
        account = Account(email=email, created_at=NOW, **fields)
        session.add(account)
        session.flush()
        for study_id, role in roles:
            session.add(Membership(study_id=study_id, account_id=account.id, role=role.value, invited_at=NOW))
        return account.id or 0


def acting(engine: Engine, account_id: int) -> Actor:
    with reading(engine) as session:
        return actor_of(session, account_id)


def audit_lines(engine: Engine, action: str) -> list[AuditEvent]:
    with reading(engine) as session:
        return list(session.exec(select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.id)))


def withdraw(engine: Engine, email: str) -> None:
    """Take all roles away behind the services' back: sessions stay open."""
    with transaction(engine) as session:
        account = session.exec(select(Account).where(Account.email == email)).one()
        for row in session.exec(select(Membership).where(Membership.account_id == account.id)):
            row.removed_at = NOW
