"""The audit log: append-only lines, each hashed together with the hash of the line before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.study.connection import lock_writers, reading
from lss_core.study.database import AuditEvent

GENESIS = "0" * 64                              # stands before the first line


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; None is the empty text."""
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=str)


def append(
    session: Session, *, at: datetime, actor: str, action: str, study_id: int | None = None, subject: str = "",
    old: Any = None, new: Any = None, reason: str = "",
) -> AuditEvent:
    """Add a line within the caller's transaction, so that what happened and its line are stored together or not at all.

    Args:
        actor: E-mail of who did it, or "system".
        action: What was done, a verb and a noun: "submit answer".
        old, new: Values that JSON can hold.
    """
    lock_writers(session)
    last = session.exec(select(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(1)).first()
    line = AuditEvent(
        id=last.id + 1 if last and last.id else 1, at=at, actor=actor, action=action, study_id=study_id,
        subject=subject, old=canonical(old), new=canonical(new), reason=reason,
        previous_hash=last.hash if last else GENESIS, hash="",
    )
    line.hash = hash_of(line)
    session.add(line)
    session.flush()
    return line


def hash_of(line: AuditEvent) -> str:
    """SHA-256 of a line's content and the hash of the line before."""
    content = [
        line.id, line.at.astimezone(UTC).isoformat(timespec="microseconds"), line.actor, line.action, line.study_id,
        line.subject, line.old, line.new, line.reason, line.previous_hash,
    ]
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def verify(engine: Engine) -> list[str]:
    """A sentence for each line that was altered, removed or put elsewhere; empty where the log is whole.

    Lines cut off the end leave no trace in the log itself: compare its last hash with one that was noted elsewhere.
    """
    with reading(engine) as session:
        return list(_problems(session))


def _problems(session: Session) -> Iterator[str]:
    expected_id, previous = 1, GENESIS
    for line in session.exec(select(AuditEvent).order_by(col(AuditEvent.id)).execution_options(yield_per=1000)):
        if line.id != expected_id:
            yield f"Line {expected_id} is missing: after it comes line {line.id}."
        elif line.previous_hash != previous:
            yield f"Line {line.id} ({line.action}) does not follow the line before it: one of them was put there later."
        if hash_of(line) != line.hash:
            yield f"Line {line.id} ({line.action} by {line.actor}) was altered."
        expected_id, previous = (line.id or 0) + 1, line.hash
