"""The audit log: a chain of hashes, written with what it tells or not at all."""

import json

import pytest
from sqlmodel import col, select

from lss_core.study import audit
from lss_core.study.connection import open_database, reading, transaction
from lss_core.study.database import Account, AuditEvent
from tests.planted import NOON


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


def write(engine, action: str = "greet", **what) -> AuditEvent:
    with transaction(engine) as session:
        return audit.append(session, at=NOON, actor="a@example.org", action=action, **what)


def test_lines_are_numbered_and_chained(engine):
    first, second = write(engine), write(engine, new={"ü": [1, None]}, reason="why")
    assert (first.id, second.id) == (1, 2)
    assert (first.previous_hash, second.previous_hash) == (audit.GENESIS, first.hash)
    assert json.loads(second.new) == {"ü": [1, None]} and first.new == ""
    assert audit.verify(engine) == []


def test_the_hash_covers_every_field(engine):
    line = write(engine, subject="s", old=1, new=2, reason="r")
    for name in ("id", "at", "actor", "action", "study_id", "subject", "old", "new", "reason", "previous_hash"):
        values = line.model_dump() | {"at": line.at}
        values[name] = NOON.replace(year=2027) if name == "at" else 77 if name in ("id", "study_id") else "changed"
        assert audit.hash_of(AuditEvent(**values)) != line.hash, name


def test_a_line_is_written_with_what_it_tells_or_not_at_all(engine):
    with pytest.raises(RuntimeError), transaction(engine) as session:
        session.add(Account(email="a@example.org", created_at=NOON))
        audit.append(session, at=NOON, actor="a@example.org", action="add account")
        raise RuntimeError
    with reading(engine) as session:
        assert session.exec(select(AuditEvent)).all() == [] == session.exec(select(Account)).all()


def test_several_lines_of_one_transaction_are_chained(engine):
    with transaction(engine) as session:
        for number in range(3):
            audit.append(session, at=NOON, actor="system", action=f"act {number}")
    with reading(engine) as session:
        assert session.exec(select(AuditEvent.action).order_by(col(AuditEvent.id))).all() == ["act 0", "act 1", "act 2"]
    assert audit.verify(engine) == []


def test_a_value_that_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        audit.canonical(float("nan"))
