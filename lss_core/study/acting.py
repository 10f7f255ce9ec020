"""Whom the local user acts as, where no sign-in is configured: one choice for each browser, kept on the server."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, select

from lss_core.study import audit, people
from lss_core.study.actors import Actor, actor_of
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import Account, SignIn
from lss_core.vocabulary import Refusal

LOCAL = ""                                      # the identity of a row that no provider stated


def local_user(engine: Engine, *, cookie: str) -> Actor:
    """Whom the user of this browser acts as: themselves, unless they chose otherwise."""
    with reading(engine) as session:
        row = _choice(session, cookie)
        if row is not None and _is_enabled(session, row.account_id):
            return actor_of(session, row.account_id)
    return people.local_account(engine)


def act_as(engine: Engine, *, cookie: str, account_id: int, now: datetime | None = None) -> Actor:
    """Let the user of this browser act as another person from now on. Never call it where people sign in.

    Raises:
        Refusal: the browser keeps no cookie, or the account does not exist or is disabled.
    """
    if not cookie:
        raise Refusal("This browser keeps no cookie, so it cannot act as somebody else; allow cookies and reload.")
    people.local_account(engine)
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        actor = actor_of(session, account_id)
        row = _choice(session, cookie) or SignIn(key=_key(cookie), identity=LOCAL, account_id=account_id,
                                                 created_at=now)
        row.account_id, row.last_seen_at = account_id, now
        session.add(row)
        audit.append(session, at=now, actor=people.LOCAL_EMAIL, action="act as", subject=actor.email)
        return actor


def _choice(session: Session, cookie: str) -> SignIn | None:
    return session.exec(select(SignIn).where(SignIn.key == _key(cookie), SignIn.identity == LOCAL)).first()


def _is_enabled(session: Session, account_id: int) -> bool:
    account = session.get(Account, account_id)
    return account is not None and not account.disabled


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
