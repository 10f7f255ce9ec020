"""Electronic signatures: who, what it means, when, and the hash of what was signed."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session

from lss_core.study.actors import Actor
from lss_core.study.database import Account, Signature
from lss_core.vocabulary import Refusal


def sign(
    session: Session, actor: Actor, study_id: int, *, typed_name: str, meaning: str, what: str, sha256: str,
    at: datetime,
) -> Signature:
    """Add a signature within the caller's transaction; the caller writes its line of the audit log.

    Args:
        typed_name: What the person typed; the name of their account, in any case and spacing.
        what: What is signed: "protocol 1", "session 2".

    Raises:
        Refusal: the typed name is not the account's, or the meaning is missing.
    """
    account = session.get_one(Account, actor.account_id)
    expected = account.name or account.email
    if _plain(typed_name) != _plain(expected):
        raise Refusal(f"To sign, type your name as it stands in your account: {expected}.")
    if not meaning.strip():
        raise Refusal("A signature needs its meaning, such as 'I read these cases myself'; choose or write one.")
    signature = Signature(
        study_id=study_id, account_id=actor.account_id, typed_name=typed_name.strip(), meaning=meaning.strip(),
        what=what, sha256=sha256, at=at,
    )
    session.add(signature)
    session.flush()
    return signature


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()
