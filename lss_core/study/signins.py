"""Sessions of signed-in browsers, kept on the server: what a browser brings is worth nothing without an open row here.

A session belongs to two things together: the secret of a cookie that is made anew at each sign-in, and the identity
that the provider stated at that sign-in. Neither opens anything alone, and neither comes to life again once the session
has ended.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.settings import Settings
from lss_core.study import audit, membership, people
from lss_core.study.actors import Actor, actor_of
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import Account, SignIn
from lss_core.vocabulary import Refusal

TOUCH_AFTER = timedelta(seconds=30)             # a session in use is written at most so often
UNKNOWN = "unknown"                             # who acts, in the audit log, before anybody is known


@dataclass(frozen=True)
class Identity:
    """What a provider stated about a person, in one id token. `nonce` differs from token to token."""

    issuer: str
    subject: str
    issued_at: int                              # seconds since 1970
    nonce: str
    email: str = ""
    email_verified: bool = False
    name: str = ""

    @property
    def person(self) -> str:
        """Who this is for the provider, whatever the address."""
        return f"{self.issuer} {self.subject}"

    @property
    def digest(self) -> str:
        """SHA-256 of what makes this statement the only one of its kind."""
        return _sha256(json.dumps([self.issuer, self.subject, self.issued_at, self.nonce]))


@dataclass(frozen=True)
class OpenSession:
    """One signed-in browser of a person, as its owner sees it."""

    sign_in_id: int
    created_at: datetime
    last_seen_at: datetime
    is_this: bool


def sign_in(
    engine: Engine, identity: Identity, *, cookie: str, former_cookie: str = "", now: datetime | None = None
) -> Actor:
    """Open a session for an invited person; the first sign-in binds the account to the provider's subject.

    Args:
        cookie: The new secret of this browser, 32 random bytes or more; only its hash is kept.
        former_cookie: What the browser had before; that session ends.

    Raises:
        Refusal: not invited, address not verified, another person than before, or a statement that was used already.
            The refusal is in the audit log.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        account = _account(session, identity)
        problem = _problem(session, account, identity)
        if problem or account is None or account.id is None:
            audit.append(session, at=now, actor=UNKNOWN, action="refuse sign-in", subject=_named(identity),
                         reason=problem)
        else:
            _end(session, former_cookie, because="signed in anew", now=now)
            _bind(session, account, identity, now)
            session.add(SignIn(key=_sha256(cookie), identity=identity.digest, account_id=account.id, created_at=now,
                               last_seen_at=now))
            audit.append(session, at=now, actor=account.email, action="sign in", subject=account.email,
                         new={"issuer": identity.issuer})
            return actor_of(session, account.id)
    raise Refusal(problem)


def record_failure(engine: Engine, what: str, *, now: datetime | None = None) -> None:
    """Keep in the audit log that a sign-in failed before it was known who tried.

    Args:
        what: One sentence, nothing secret.
    """
    with transaction(engine) as session:
        audit.append(session, at=now or utc_now(), actor=UNKNOWN, action="fail sign-in", reason=what)


def who(
    engine: Engine, settings: Settings, *, cookie: str, identity: str, now: datetime | None = None
) -> Actor | None:
    """The person of an open session, or None. Marks the session as in use, and ends it where its time is over.

    Args:
        cookie: The secret that the browser brought.
        identity: `Identity.digest` of what the provider stated to this browser.
    """
    now = now or utc_now()
    if not cookie or not identity:
        return None
    with reading(engine) as session:
        row = _open_row(session, cookie, identity)
        if row is None:
            return None
        reason = _expired(row, settings, now)
        if not reason and now - row.last_seen_at < TOUCH_AFTER:
            return _actor(session, row.account_id)
    return _touch(engine, settings, cookie=cookie, identity=identity, now=now)


def sign_out(engine: Engine, *, cookie: str, now: datetime | None = None) -> None:
    """End the session of a browser; nothing happens where there is none."""
    if not cookie:
        return
    with transaction(engine) as session:
        lock_writers(session)
        _end(session, cookie, because="signed out", now=now or utc_now())


def sign_out_everywhere(engine: Engine, actor: Actor, *, now: datetime | None = None) -> int:
    """End all sessions of a person, this one too; returns how many were open."""
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        ended = people.end_sign_ins(session, actor.account_id, because="signed out everywhere", now=now)
        audit.append(session, at=now, actor=actor.email, action="sign out everywhere", subject=actor.email,
                     new={"sessions": ended})
    return ended


def revoke(engine: Engine, actor: Actor, *, sign_in_id: int, now: datetime | None = None) -> None:
    """End another session of one's own.

    Raises:
        Refusal: it is not open, or not one's own; both are told alike.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        row = session.get(SignIn, sign_in_id)
        if row is None or row.account_id != actor.account_id or row.revoked_at is not None:
            raise Refusal("This session is not open any more; reload the page.")
        _close(session, row, because="revoked by its owner", now=now)


def open_sessions(
    engine: Engine, settings: Settings, actor: Actor, *, cookie: str, now: datetime | None = None
) -> tuple[OpenSession, ...]:
    """The open sessions of a person, the latest used first."""
    now = now or utc_now()
    with reading(engine) as session:
        query = (
            select(SignIn).where(SignIn.account_id == actor.account_id, col(SignIn.revoked_at).is_(None))
            .where(SignIn.identity != "").order_by(col(SignIn.last_seen_at).desc())
        )
        rows = [row for row in session.exec(query) if not _expired(row, settings, now)]
    return tuple(OpenSession(row.id or 0, row.created_at, row.last_seen_at, row.key == _sha256(cookie)) for row in rows)


def _account(session: Session, identity: Identity) -> Account | None:
    """The account of this person's address."""
    if not identity.email.isascii():            # lower case of other letters may be somebody else's address
        return None
    return session.exec(select(Account).where(Account.email == identity.email.strip().lower())).first()


def _problem(session: Session, account: Account | None, identity: Identity) -> str:
    """Why this person may not come in, or an empty text."""
    if not (identity.issuer and identity.subject and identity.issued_at):
        return "The sign-in provider stated no issuer, subject or time; ask who runs this server to check its settings."
    if not identity.email:
        return "The sign-in provider stated no e-mail address; ask who runs this server to check its settings."
    if not identity.email_verified:
        return (f"The sign-in provider does not vouch that {identity.email} is yours; verify the address there, and "
                "sign in again.")
    if account is None or not _is_invited(session, account):
        return f"{identity.email} is not invited to any study here; ask the principal investigator to invite it."
    if account.disabled:
        return f"The account {identity.email} is disabled; ask who runs this server."
    if account.subject not in (None, identity.person) or _is_bound_elsewhere(session, account, identity):
        return (f"{identity.email} belongs to another identity here than the one that you signed in with; sign in as "
                "you did the first time, or ask who runs this server.")
    if session.exec(select(SignIn.id).where(SignIn.identity == identity.digest)).first() is not None:
        return "This sign-in was used already; sign in again."
    return ""


def _is_invited(session: Session, account: Account) -> bool:
    nobody = account.is_demo or account.email == people.LOCAL_EMAIL
    return not nobody and membership.has_a_place(session, account)


def _is_bound_elsewhere(session: Session, account: Account, identity: Identity) -> bool:
    other = session.exec(select(Account.id).where(Account.subject == identity.person)).first()
    return other not in (None, account.id)


def _bind(session: Session, account: Account, identity: Identity, now: datetime) -> None:
    """Tie an account to the provider's subject, once, and take over the name where none was stated."""
    if account.subject is None:
        account.subject = identity.person
        account.name = account.name or identity.name.strip()[: people.LONGEST_TEXT]
        session.add(account)
        audit.append(session, at=now, actor=account.email, action="bind account", subject=account.email,
                     new={"issuer": identity.issuer, "subject": identity.subject})


def _named(identity: Identity) -> str:
    return f"{identity.email or 'no address'} of {identity.issuer or 'no issuer'}"[: 2 * people.LONGEST_TEXT]


def _open_row(session: Session, cookie: str, identity: str) -> SignIn | None:
    query = select(SignIn).where(SignIn.key == _sha256(cookie), SignIn.identity == identity)
    return session.exec(query.where(col(SignIn.revoked_at).is_(None))).first()


def _expired(row: SignIn, settings: Settings, now: datetime) -> str:
    """Why a session's time is over, or an empty text."""
    if now - row.last_seen_at > timedelta(seconds=settings.session_idle_s):
        return "not used for too long"
    if now - row.created_at > timedelta(seconds=settings.session_lifetime_s):
        return "open for too long"
    return ""


def _touch(engine: Engine, settings: Settings, *, cookie: str, identity: str, now: datetime) -> Actor | None:
    with transaction(engine) as session:
        lock_writers(session)
        row = _open_row(session, cookie, identity)
        if row is None:
            return None
        if reason := _expired(row, settings, now):
            _close(session, row, because=reason, now=now)
            return None
        row.last_seen_at = max(now, row.last_seen_at)
        session.add(row)
        return _actor(session, row.account_id)


def _actor(session: Session, account_id: int) -> Actor | None:
    """The person of a session, or None where the account was disabled since."""
    try:
        return actor_of(session, account_id)
    except Refusal:
        return None


def _end(session: Session, cookie: str, *, because: str, now: datetime) -> None:
    row = session.exec(select(SignIn).where(SignIn.key == _sha256(cookie), col(SignIn.revoked_at).is_(None))).first()
    if row is not None:
        _close(session, row, because=because, now=now)


def _close(session: Session, row: SignIn, *, because: str, now: datetime) -> None:
    account = session.get_one(Account, row.account_id)
    row.revoked_at, row.revoked_because = now, because
    session.add(row)
    audit.append(session, at=now, actor=account.email, action="end session", subject=account.email, reason=because)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
