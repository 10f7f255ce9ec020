"""Who acts, and what they may do in a study. Every service asks here, on the database as it is now."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, col, select

from lss_core.permissions import CREATOR, EVERYBODY, NOT_TOGETHER, OF_ROLE, Permission, Role
from lss_core.study.database import Account, Membership, Study, StudyKind
from lss_core.vocabulary import Refusal


@dataclass(frozen=True)
class Actor:
    """A person who acts. `permissions` are all that they have anywhere; what counts in a study is asked afresh."""

    account_id: int
    email: str
    name: str
    permissions: frozenset[Permission]


def actor_of(session: Session, account_id: int) -> Actor:
    """The actor that an account is now.

    Raises:
        Refusal: there is no such account, or it is disabled.
    """
    account = session.get(Account, account_id)
    if account is None or account.disabled:
        raise Refusal("This account does not exist or is disabled; ask the principal investigator.")
    permissions = EVERYBODY | (CREATOR if account.may_create_studies else frozenset())
    for role in _roles(session, account_id, None):
        permissions |= OF_ROLE[role]
    return Actor(account_id, account.email, account.name or account.email, permissions)


def roles_in(session: Session, account_id: int, study_id: int) -> frozenset[Role]:
    """The roles of an account in a study, as they are now."""
    return _roles(session, account_id, study_id)


def check_in_study(
    session: Session, actor: Actor, study_id: int | None, needed: Permission, *,
    kind: StudyKind | None = StudyKind.READER_STUDY,
) -> Study:
    """The study, if the actor has a role in it that permits `needed`.

    Args:
        kind: None where a collection will do as well.

    Raises:
        Refusal: no such study, or no such role; both are told alike, so that nobody learns which studies exist.
    """
    study = session.get(Study, study_id) if study_id is not None else None
    account = session.get(Account, actor.account_id)
    roles = _roles(session, actor.account_id, study_id) if study and account and not account.disabled else frozenset()
    if study is None or kind not in (None, study.kind) or not any(needed in OF_ROLE[role] for role in roles):
        where = "collection" if kind is StudyKind.COLLECTION else "study"
        raise Refusal(f"You have no role in this {where} that permits you to {needed.value.replace('_', ' ')}.")
    return study


def check_in_collection(session: Session, actor: Actor, collection_id: int | None, needed: Permission) -> Study:
    """The collection, if the actor has a role in it that permits `needed`; refuses as `check_in_study` does."""
    return check_in_study(session, actor, collection_id, needed, kind=StudyKind.COLLECTION)


def check_may_read(session: Session, account_id: int, study_id: int) -> None:
    """Raise Refusal if the person has, or ever had, a role in the study, or in the collection that its cases came
    from, that must not be together with reading.

    Who set the truth still knows it after the role was taken away.
    """
    collection_id = session.get_one(Study, study_id).collection_id
    groups = (("this study", "it", study_id), ("the collection of this study's cases", "the study", collection_id))
    for where, here, group in groups:
        for role in sorted(roles_ever(session, account_id, group)):
            if frozenset({Role.READER, role}) in NOT_TOGETHER:
                raise Refusal(f"Who is or was {role.label} of {where} cannot read in {here}; let another person read.")


def roles_ever(session: Session, account_id: int, study_id: int | None) -> frozenset[Role]:
    """The roles that an account has or had in a study or collection; none where there is no such thing."""
    query = select(Membership.role).where(Membership.account_id == account_id, Membership.study_id == study_id)
    return frozenset(map(Role, session.exec(query)))


def _roles(session: Session, account_id: int, study_id: int | None) -> frozenset[Role]:
    """In one study, or, where `study_id` is None, in all together."""
    query = select(Membership.role).where(Membership.account_id == account_id, col(Membership.removed_at).is_(None))
    if study_id is not None:
        query = query.where(Membership.study_id == study_id)
    return frozenset(map(Role, session.exec(query)))
