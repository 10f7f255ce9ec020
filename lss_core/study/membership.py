"""Which role whom may give to whom, and which roles must not meet in one person."""

from __future__ import annotations

from sqlmodel import Session, col, select

from lss_core.permissions import NOT_TOGETHER, Role
from lss_core.study.actors import Actor, roles_ever, roles_in
from lss_core.study.database import Account, Membership, Study, StudyKind, StudyState
from lss_core.vocabulary import Refusal

# Whoever once had such a role may have seen the truth, or steered what is read.
UNBLINDED_ROLES = frozenset({Role.PI, Role.COORDINATOR, Role.ANNOTATOR})
GIVEN_BY_PI_ALONE = frozenset({Role.PI, Role.COORDINATOR})


def has_a_place(session: Session, account: Account) -> bool:
    """Whether a person has a role in any study now, or may create studies."""
    query = select(Membership.id).where(Membership.account_id == account.id, col(Membership.removed_at).is_(None))
    return account.may_create_studies or session.exec(query.limit(1)).first() is not None


def check_may_change(session: Session, actor: Actor, study_id: int, role: Role) -> None:
    """Raise Refusal where a coordinator would give, or take away, a role as high as their own."""
    if role in GIVEN_BY_PI_ALONE and Role.PI not in roles_in(session, actor.account_id, study_id):
        raise Refusal(f"Only a principal investigator may give or take the role {role.label}.")


def check_invitation(session: Session, study: Study, account: Account, role: Role) -> None:
    """Raise Refusal for a person who cannot take this role in this study."""
    check_usable(account, in_demo=study.is_demo)
    if study.id is None or account.id is None:
        raise ValueError("The study and the account must be stored before somebody is invited.")
    now, ever = roles_in(session, account.id, study.id), roles_ever(session, account.id, study.id)
    if role in now:
        raise Refusal(f"{account.email} has the role {role.label} in this study already.")
    for pair in NOT_TOGETHER:
        if role in pair and (other := next((each for each in pair - {role} if each in now), None)):
            raise Refusal(f"{account.email} has the role {other.label} in this study and cannot have the role "
                          f"{role.label} too: whoever knows or steers a study must not read in it.")
    if role is Role.READER and (known := sorted(ever & UNBLINDED_ROLES)):
        raise Refusal(f"{account.email} had the role {known[0].label} in this study and may have seen what "
                      "readers must not; invite another reader.")
    _check_collection(session, study, account.id, account.email, role)
    if role is Role.READER and study.state in (StudyState.CLOSED, StudyState.UNBLINDED):
        raise Refusal("This study is closed; nobody reads in it any more.")


def check_usable(account: Account, *, in_demo: bool = False) -> None:
    """Raise Refusal for an account that can have no role: disabled, or simulated outside a demonstration."""
    if account.disabled:
        raise Refusal(f"The account {account.email} is disabled; it cannot be given a role.")
    if account.is_demo and not in_demo:
        raise Refusal(f"{account.email} is a simulated person, who belongs in demonstration studies only.")


def row_of(session: Session, study_id: int, account: Account, role: Role) -> Membership:
    """The row of this role, as it was left by an earlier removal, or a new one."""
    query = select(Membership).where(
        Membership.study_id == study_id, Membership.account_id == account.id, Membership.role == role.value
    )
    return session.exec(query).first() or Membership(study_id=study_id, account_id=account.id or 0, role=role.value)


def how_many(session: Session, study_id: int, role: Role) -> int:
    """How many people have a role in a study now."""
    query = select(Membership.id).where(
        Membership.study_id == study_id, Membership.role == role.value, col(Membership.removed_at).is_(None)
    )
    return len(session.exec(query).all())


def _check_collection(session: Session, study: Study, account_id: int, email: str, role: Role) -> None:
    """Whoever curates a collection knows the truth of the studies that its cases go to."""
    if study.kind == StudyKind.COLLECTION and role is Role.READER:
        raise Refusal("Nobody reads in a collection; invite an annotator, or invite the reader to a reader study.")
    if study.kind == StudyKind.COLLECTION and _reads_of(session, study, account_id):
        raise Refusal(f"{email} reads in a study of this collection's cases and must not learn their labels.")
    known = sorted(roles_ever(session, account_id, study.collection_id) & UNBLINDED_ROLES)
    if role is Role.READER and known:
        raise Refusal(f"{email} has or had the role {known[0].label} in the collection that the cases of this study "
                      "came from, and may know their labels; invite another reader.")


def _reads_of(session: Session, collection: Study, account_id: int) -> bool:
    query = select(Membership.id).join(Study).where(
        Study.collection_id == collection.id, Membership.account_id == account_id, Membership.role == Role.READER,
        col(Membership.removed_at).is_(None),
    )
    return session.exec(query.limit(1)).first() is not None
