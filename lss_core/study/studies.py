"""Studies and the drafts of their protocols. Locking and what comes after it is in `lifecycle`."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role, check
from lss_core.study import audit
from lss_core.study.actors import Actor, actor_of, check_in_study
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import (
    Case,
    CaseKind,
    Membership,
    ProtocolVersion,
    Study,
    StudyKind,
    StudyState,
)
from lss_core.study.places import protocol_now
from lss_core.study.protocol import Protocol, changes
from lss_core.vocabulary import Refusal


@dataclass(frozen=True)
class StudySummary:
    """A study in the list of somebody who has a role in it."""

    study_id: int
    token: str
    title: str
    state: StudyState
    is_demo: bool
    roles: frozenset[Role]
    created_at: datetime
    test_cases: int
    training_cases: int
    readers: int


def create(
    engine: Engine, actor: Actor, *, title: str, protocol: Protocol | None = None, is_demo: bool = False,
    now: datetime | None = None,
) -> Study:
    """A new study in draft; its creator is the principal investigator.

    Args:
        protocol: Its first version; the seed is drawn where it names none.

    Raises:
        Refusal: the actor may not create studies, or there is no title.
    """
    with transaction(engine) as session:
        lock_writers(session)
        return add_study(session, actor, title=title, protocol=protocol, is_demo=is_demo, now=now or utc_now())


def add_study(
    session: Session, actor: Actor, *, title: str, protocol: Protocol | None = None, is_demo: bool = False,
    collection_id: int | None = None, now: datetime,
) -> Study:
    """`create` within the caller's transaction.

    Args:
        collection_id: Of the collection that its cases come from; who has or had a role there cannot read here.
    """
    check(actor_of(session, actor.account_id).permissions, Permission.CREATE_STUDY)
    study = Study(title=_title(title), is_demo=is_demo, collection_id=collection_id,
                  created_by=actor.account_id, created_at=now)
    session.add(study)
    session.flush()
    assert study.id is not None
    first = _seeded(protocol or Protocol(), secrets.token_hex(16))
    session.add(Membership(study_id=study.id, account_id=actor.account_id, role=Role.PI, invited_at=now))
    session.add(ProtocolVersion(study_id=study.id, number=1, content=first.canonical, created_at=now))
    audit.append(session, at=now, actor=actor.email, action="create study", study_id=study.id, subject=study.title,
                 new=json.loads(first.canonical))
    return study


def my_studies(engine: Engine, actor: Actor) -> tuple[StudySummary, ...]:
    """All reader studies in which the actor has a role, the newest first."""
    with reading(engine) as session:
        rows = session.exec(
            select(Study, Membership.role).join(Membership)
            .where(Membership.account_id == actor.account_id, col(Membership.removed_at).is_(None),
                   Study.kind == StudyKind.READER_STUDY)
            .order_by(col(Study.id).desc())
        ).all()
        roles: dict[int | None, set[Role]] = {}
        for study, role in rows:
            roles.setdefault(study.id, set()).add(Role(role))
        studies = {study.id: study for study, _ in rows}
        return tuple(_summary(session, study, frozenset(roles[key])) for key, study in studies.items())


def study_of(engine: Engine, actor: Actor, study_id: int) -> StudySummary:
    """One study, for those who manage it.

    Raises:
        Refusal: no role that manages this study.
    """
    with reading(engine) as session:
        study = check_in_study(session, actor, study_id, Permission.MANAGE_STUDY)
        roles = session.exec(
            select(Membership.role).where(Membership.study_id == study_id, Membership.account_id == actor.account_id,
                                          col(Membership.removed_at).is_(None))
        )
        return _summary(session, study, frozenset(map(Role, roles)))


def protocol_of(engine: Engine, actor: Actor, study_id: int) -> tuple[Protocol, ProtocolVersion]:
    """The newest version of the protocol, and its row.

    Raises:
        Refusal: no role that manages this study.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.MANAGE_STUDY)
        return protocol_now(session, study_id)


def protocol_versions(engine: Engine, actor: Actor, study_id: int) -> tuple[ProtocolVersion, ...]:
    """All versions of the protocol, the first one first.

    Raises:
        Refusal: no role that manages this study.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.MANAGE_STUDY)
        return tuple(session.exec(
            select(ProtocolVersion).where(ProtocolVersion.study_id == study_id).order_by(col(ProtocolVersion.number))
        ))


def save_protocol(
    engine: Engine, actor: Actor, study_id: int, protocol: Protocol, *, now: datetime | None = None
) -> Protocol:
    """Store the draft of the protocol in place of the one before. Where it names no seed, the former one stays.

    Raises:
        Refusal: not permitted, or the protocol is locked.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.EDIT_PROTOCOL)
        if study.state != StudyState.DRAFT:
            raise Refusal("The protocol is locked; the principal investigator can amend it, with a reason.")
        before, version = protocol_now(session, study_id)
        saved = _seeded(protocol, before.seed)
        version.content = saved.canonical
        changed = changes(before, saved)
        if changed:
            audit.append(session, at=now, actor=actor.email, action="save protocol", study_id=study_id,
                         subject="protocol 1", old=_side(changed, 0), new=_side(changed, 1))
        return saved


def rename(engine: Engine, actor: Actor, study_id: int, *, title: str, now: datetime | None = None) -> None:
    """Give a study another title; readers see it.

    Raises:
        Refusal: not permitted, or there is no title.
    """
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.EDIT_PROTOCOL)
        old, study.title = study.title, _title(title)
        audit.append(session, at=now or utc_now(), actor=actor.email, action="rename study", study_id=study_id,
                     old=old, new=study.title)


def _summary(session: Session, study: Study, roles: frozenset[Role]) -> StudySummary:
    assert study.id is not None
    cases = dict(session.exec(
        select(Case.kind, func.count()).where(Case.study_id == study.id, col(Case.removed_at).is_(None))
        .group_by(Case.kind)
    ).all())
    readers = session.exec(
        select(func.count()).select_from(Membership).where(
            Membership.study_id == study.id, Membership.role == Role.READER, col(Membership.removed_at).is_(None)
        )
    ).one()
    return StudySummary(
        study_id=study.id, token=study.token, title=study.title, state=StudyState(study.state), is_demo=study.is_demo,
        roles=roles, created_at=study.created_at, test_cases=cases.get(CaseKind.TEST, 0),
        training_cases=cases.get(CaseKind.TRAINING, 0), readers=readers,
    )


def _title(title: str) -> str:
    if not title.strip():
        raise Refusal("A study needs a title; its readers see it.")
    return title.strip()


def _seeded(protocol: Protocol, seed: str) -> Protocol:
    return protocol if protocol.seed else replace(protocol, seed=seed)


def _side(changed: dict, side: int) -> dict:
    return {name: pair[side] for name, pair in changed.items()}
