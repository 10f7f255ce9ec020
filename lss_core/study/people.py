"""People and their roles: invited, removed, and what readers state of their experience."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role
from lss_core.study import audit, membership
from lss_core.study.actors import Actor, actor_of, check_in_study, roles_in
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import Account, Membership, SignIn
from lss_core.vocabulary import Refusal

LOCAL_EMAIL = "local@localhost"                 # whoever uses this machine, where no sign-in is configured
LOCAL_NAME = "local user"
OPERATOR = "system"                             # who acts on the command line, in the audit log
ADDRESS = re.compile(r"[^\s@,;<>\"]+@[^\s@,;<>\"]+\.[^\s@,;<>\"]+")
LONGEST_TEXT = 200                              # characters of an address, a name or a specialty
MOST_YEARS = 80
MOST_CTS = 100_000


@dataclass(frozen=True)
class Member:
    """A person in one role of a study."""

    account_id: int
    email: str
    name: str
    role: Role
    specialty: str
    years_of_experience: float | None
    lumbar_cts_a_year: int | None
    invited_at: datetime
    has_signed_in: bool


@dataclass(frozen=True)
class Profile:
    """What a person states of themselves."""

    email: str
    name: str
    specialty: str
    years_of_experience: float | None
    lumbar_cts_a_year: int | None

    @property
    def is_complete(self) -> bool:
        """Whether the person has stated all that a reader must."""
        stated = self.years_of_experience is not None and self.lumbar_cts_a_year is not None
        return bool(self.name and self.specialty) and stated


def normal_address(text: str) -> str:
    """An e-mail address in the form in which accounts keep it: no space around, lower case.

    Raises:
        Refusal: this is no address.
    """
    address = text.strip().lower()
    if len(address) > LONGEST_TEXT or not text.isascii() or not ADDRESS.fullmatch(address):
        raise Refusal(f"{text.strip()[:LONGEST_TEXT]!r} is not an e-mail address; write it as name@example.org.")
    return address


def invite(
    engine: Engine, actor: Actor, study_id: int, *, email: str, role: Role, now: datetime | None = None
) -> Member:
    """Give a person a role in a study; the address becomes an account, which its owner binds at the first sign-in.

    Raises:
        Refusal: not permitted, no address, a role that the person has already, or one that must not meet with another
            role of theirs in this study, now or before.
    """
    address, role, now = normal_address(email), Role(role), now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.INVITE, kind=None)
        membership.check_may_change(session, actor, study_id, role)
        account = _find(session, address) or _add_account(session, address, now)
        membership.check_invitation(session, study, account, role)
        row = membership.row_of(session, study_id, account, role)
        row.invited_by, row.invited_at, row.removed_at = actor.account_id, now, None
        session.add(row)
        audit.append(session, at=now, actor=actor.email, action="invite member", study_id=study_id,
                     subject=f"{role.value} {address}")
        session.flush()
        return _member(account, row)


def remove_member(
    engine: Engine, actor: Actor, study_id: int, *, account_id: int, role: Role, reason: str,
    now: datetime | None = None,
) -> None:
    """Take a role away; answers stay. Who has no role left in any study is signed out.

    Raises:
        Refusal: not permitted, no such member, no reason, or the last principal investigator.
    """
    role, now = Role(role), now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_study(session, actor, study_id, Permission.INVITE, kind=None)
        membership.check_may_change(session, actor, study_id, role)
        account = session.get(Account, account_id)
        if account is None or role not in roles_in(session, account_id, study_id):
            raise Refusal(f"This person does not have the role {role.label} in this study; reload the page.")
        if not reason.strip():
            raise Refusal("A removal needs a reason; the audit log keeps it.")
        if role is Role.PI and membership.how_many(session, study_id, Role.PI) == 1:
            raise Refusal("The last principal investigator cannot be removed; invite another one first.")
        row = membership.row_of(session, study_id, account, role)
        row.removed_at = now
        session.add(row)
        audit.append(session, at=now, actor=actor.email, action="remove member", study_id=study_id,
                     subject=f"{role.value} {account.email}", reason=reason.strip())
        if not membership.has_a_place(session, account):
            end_sign_ins(session, account_id, because="removed from the last study", now=now)


def members(engine: Engine, actor: Actor, study_id: int) -> tuple[Member, ...]:
    """Who is in a study now, in the order of their invitations.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.MANAGE_STUDY, kind=None)
        query = (
            select(Account, Membership).join(Membership, col(Membership.account_id) == col(Account.id))
            .where(Membership.study_id == study_id, col(Membership.removed_at).is_(None))
            .order_by(col(Membership.invited_at), col(Membership.id))
        )
        return tuple(_member(account, row) for account, row in session.exec(query))


def allow_studies(engine: Engine, email: str, *, now: datetime | None = None) -> str:
    """Let a person create studies, by the operator's word; returns the address as it is kept.

    Raises:
        Refusal: no address, a simulated person, or a disabled account.
    """
    address, now = normal_address(email), now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        account = _find(session, address) or _add_account(session, address, now)
        membership.check_usable(account)
        account.may_create_studies = True
        session.add(account)
        audit.append(session, at=now, actor=OPERATOR, action="allow studies", subject=address)
    return address


def disable(engine: Engine, email: str, *, reason: str, now: datetime | None = None) -> str:
    """Shut a person out of everything at once, by the operator's word; returns the address as it is kept.

    Raises:
        Refusal: there is no such account, or no reason.
    """
    address, now = normal_address(email), now or utc_now()
    if not reason.strip():
        raise Refusal("Disabling an account needs a reason; the audit log keeps it.")
    with transaction(engine) as session:
        lock_writers(session)
        account = _find(session, address)
        if account is None or account.id is None:
            raise Refusal(f"There is no account {address}; nothing was changed.")
        account.disabled = True
        session.add(account)
        audit.append(session, at=now, actor=OPERATOR, action="disable account", subject=address, reason=reason.strip())
        end_sign_ins(session, account.id, because="account disabled", now=now)
    return address


def state_experience(
    engine: Engine, actor: Actor, *, name: str, specialty: str, years_of_experience: float, lumbar_cts_a_year: int,
    now: datetime | None = None,
) -> Profile:
    """Keep what a person states of themselves.

    Args:
        years_of_experience: Years of practice in the specialty, 0 to 80.
        lumbar_cts_a_year: Lumbar CTs read a year, 0 to 100,000.

    Raises:
        Refusal: a value is missing or cannot be.
    """
    now = now or utc_now()
    new = Profile(actor.email, name.strip(), specialty.strip(), float(years_of_experience), lumbar_cts_a_year)
    for problem in _profile_problems(new):
        raise Refusal(problem)
    with transaction(engine) as session:
        lock_writers(session)
        actor_of(session, actor.account_id)
        account = session.get_one(Account, actor.account_id)
        old = _profile(account)
        account.name, account.specialty = new.name, new.specialty
        account.years_of_experience, account.lumbar_cts_a_year = new.years_of_experience, new.lumbar_cts_a_year
        session.add(account)
        audit.append(session, at=now, actor=actor.email, action="state experience", subject=account.email,
                     old=_stated(old), new=_stated(new))
    return new


def profile(engine: Engine, actor: Actor) -> Profile:
    """What a person has stated of themselves.

    Raises:
        Refusal: the account is disabled.
    """
    with reading(engine) as session:
        actor_of(session, actor.account_id)
        return _profile(session.get_one(Account, actor.account_id))


def local_account(engine: Engine, *, now: datetime | None = None) -> Actor:
    """Whoever uses this machine where no sign-in is configured: may create studies, and can never sign in from afar."""
    with reading(engine) as session:
        if account_id := _local_id(session):
            return actor_of(session, account_id)
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        account_id = _local_id(session) or _add_local_account(session, now)
        return actor_of(session, account_id)


def identities(engine: Engine) -> tuple[Actor, ...]:
    """Whom the local user may act as: themselves, then the simulated people, then everybody else."""
    local = local_account(engine)
    with reading(engine) as session:
        query = (
            select(Account.id).where(col(Account.disabled).is_(False), Account.email != LOCAL_EMAIL)
            .order_by(col(Account.is_demo).desc(), col(Account.email))
        )
        return (local, *(actor_of(session, account_id) for account_id in session.exec(query) if account_id))


def end_sign_ins(session: Session, account_id: int, *, because: str, now: datetime) -> int:
    """End every session of an account within the caller's transaction; returns how many were open."""
    query = select(SignIn).where(SignIn.account_id == account_id, col(SignIn.revoked_at).is_(None))
    open_ones = session.exec(query).all()
    for each in open_ones:
        each.revoked_at, each.revoked_because = now, because
        session.add(each)
    return len(open_ones)


def _find(session: Session, address: str) -> Account | None:
    return session.exec(select(Account).where(Account.email == address)).first()


def _add_account(session: Session, address: str, now: datetime) -> Account:
    account = Account(email=address, created_at=now)
    session.add(account)
    session.flush()
    return account


def _local_id(session: Session) -> int | None:
    return session.exec(select(Account.id).where(Account.email == LOCAL_EMAIL)).first()


def _add_local_account(session: Session, now: datetime) -> int:
    account = Account(email=LOCAL_EMAIL, name=LOCAL_NAME, may_create_studies=True, created_at=now)
    session.add(account)
    session.flush()
    audit.append(session, at=now, actor=OPERATOR, action="add local account", subject=LOCAL_EMAIL)
    return account.id or 0


def _member(account: Account, row: Membership) -> Member:
    return Member(
        account_id=row.account_id, email=account.email, name=account.name, role=Role(row.role),
        specialty=account.specialty, years_of_experience=account.years_of_experience,
        lumbar_cts_a_year=account.lumbar_cts_a_year, invited_at=row.invited_at,
        has_signed_in=account.subject is not None,
    )


def _profile(account: Account) -> Profile:
    return Profile(account.email, account.name, account.specialty, account.years_of_experience,
                   account.lumbar_cts_a_year)


def _stated(stated: Profile) -> dict[str, str | float | int | None]:
    return {"name": stated.name, "specialty": stated.specialty, "years": stated.years_of_experience,
            "cts_a_year": stated.lumbar_cts_a_year}


def _profile_problems(stated: Profile):
    """A sentence for each value that is missing or cannot be."""
    for what, text in (("your name", stated.name), ("your specialty", stated.specialty)):
        if not text:
            yield f"State {what}."
        if len(text) > LONGEST_TEXT:
            yield f"{what.capitalize()} has {len(text)} characters; {LONGEST_TEXT} are the most."
    years, cts = stated.years_of_experience, stated.lumbar_cts_a_year
    if years is None or not math.isfinite(years) or not 0 <= years <= MOST_YEARS:
        yield f"{years} years of experience cannot be; state a number from 0 to {MOST_YEARS}."
    if cts is None or isinstance(cts, bool) or cts != int(cts) or not 0 <= cts <= MOST_CTS:
        yield f"{cts} lumbar CTs a year cannot be; state a whole number from 0 to {MOST_CTS}."
