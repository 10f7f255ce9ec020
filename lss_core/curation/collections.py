"""Collections: groups of people who curate a pile of scans. Their people are those of `study.people`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role, check
from lss_core.study import audit
from lss_core.study.actors import Actor, actor_of, check_in_collection, roles_in
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import CuratedLevel, CuratedScan, Label
from lss_core.study.database import Membership, Study, StudyKind
from lss_core.vocabulary import Refusal


@dataclass(frozen=True)
class CollectionSummary:
    """A collection in the list of somebody who has a role in it.

    Attributes:
        cases: Levels of its scans, of those that are confirmed.
        labelled: Cases that the viewer has labelled; for those who do not label, cases that both have.
    """

    collection_id: int
    token: str
    title: str
    roles: frozenset[Role]
    scans: int
    cases: int
    labelled: int
    is_demo: bool


def create(
    engine: Engine, actor: Actor, *, title: str, is_demo: bool = False, now: datetime | None = None
) -> Study:
    """A new collection; its creator is the principal investigator.

    Raises:
        Refusal: the actor may not create studies, or there is no title.
    """
    now = now or utc_now()
    if not title.strip():
        raise Refusal("A collection needs a title; write one.")
    with transaction(engine) as session:
        lock_writers(session)
        check(actor_of(session, actor.account_id).permissions, Permission.CREATE_STUDY)
        made = Study(title=title.strip(), kind=StudyKind.COLLECTION, is_demo=is_demo,
                     created_by=actor.account_id, created_at=now)
        session.add(made)
        session.flush()
        assert made.id is not None
        session.add(Membership(study_id=made.id, account_id=actor.account_id, role=Role.PI, invited_at=now))
        audit.append(session, at=now, actor=actor.email, action="create collection", study_id=made.id,
                     subject=made.title)
        return made


def my_collections(engine: Engine, actor: Actor) -> tuple[CollectionSummary, ...]:
    """All collections in which the actor has a role, the newest first."""
    with reading(engine) as session:
        found = session.exec(
            select(Study).where(Study.kind == StudyKind.COLLECTION).order_by(col(Study.id).desc())
        ).all()
        roles = {each.id: roles_in(session, actor.account_id, each.id or 0) for each in found}
        return tuple(_summary(session, actor, each, roles[each.id]) for each in found if roles[each.id])


def collection_of(engine: Engine, actor: Actor, collection_id: int) -> CollectionSummary:
    """One collection.

    Raises:
        Refusal: no role in this collection.
    """
    with reading(engine) as session:
        collection = check_in_collection(session, actor, collection_id, Permission.CURATE)
        return _summary(session, actor, collection, roles_in(session, actor.account_id, collection_id))


def collection_named(engine: Engine, token_or_id: str) -> Study:
    """A collection by its number or the token of its address, for the operator at the command line.

    Raises:
        Refusal: there is none of this name; those that there are, are named.
    """
    with reading(engine) as session:
        found = session.exec(select(Study).where(Study.kind == StudyKind.COLLECTION).order_by(col(Study.id))).all()
    for each in found:
        if token_or_id in (each.token, str(each.id)):
            return each
    raise Refusal(f"There is no collection {token_or_id!r}; there are: {_named(found) or 'none'}.")


def principal_of(engine: Engine, collection_id: int) -> Actor:
    """The collection's first principal investigator, in whose name the operator acts at the command line.

    Raises:
        Refusal: there is none whose account is enabled.
    """
    with reading(engine) as session:
        for account_id in session.exec(
            select(Membership.account_id).where(
                Membership.study_id == collection_id, Membership.role == Role.PI, col(Membership.removed_at).is_(None)
            ).order_by(col(Membership.id))
        ):
            return actor_of(session, account_id)
    raise Refusal("This collection has no principal investigator; invite one on its page.")


def _named(found: Sequence[Study]) -> str:
    return ", ".join(f"{each.id} ({each.title})" for each in found)


def _summary(session: Session, actor: Actor, collection: Study, roles: frozenset[Role]) -> CollectionSummary:
    assert collection.id is not None
    kept = (CuratedScan.collection_id == collection.id, col(CuratedScan.removed_at).is_(None))
    scans = session.exec(select(func.count()).select_from(CuratedScan).where(*kept)).one()
    cases = select(CuratedLevel.id).join(CuratedScan).where(
        *kept, col(CuratedScan.levels_confirmed_at).is_not(None), col(CuratedLevel.slice_index).is_not(None)
    )
    return CollectionSummary(
        collection_id=collection.id, token=collection.token, title=collection.title, roles=roles, scans=scans,
        cases=len(session.exec(cases).all()), labelled=_labelled(session, actor, cases, roles),
        is_demo=collection.is_demo,
    )


def _labelled(session: Session, actor: Actor, cases, roles: frozenset[Role]) -> int:
    by_case = select(Label.case_id, func.count(func.distinct(Label.account_id))).where(col(Label.case_id).in_(cases))
    if Role.ANNOTATOR in roles:
        return len(session.exec(by_case.where(Label.account_id == actor.account_id).group_by(col(Label.case_id))).all())
    return sum(annotators >= 2 for _, annotators in session.exec(by_case.group_by(col(Label.case_id))).all())
