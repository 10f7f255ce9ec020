"""The schema on SQLite and PostgreSQL: migrations, constraints, moments, transactions."""

from datetime import UTC, datetime, timedelta, timezone
from threading import Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlmodel import select

from lss_core.study.connection import lock_writers, open_database, reading, snapshot, transaction
from lss_core.study.database import APPEND_ONLY, Account, Answer, ReadingItem, RegionAnswer, Table
from lss_core.vocabulary import Refusal
from tests.planted import NOON, make_study, read_session


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


def add_account(engine, email: str, **what) -> None:
    with transaction(engine) as session:
        session.add(Account(email=email, created_at=NOON, **what))


def test_the_migrations_make_exactly_the_tables(engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    assert set(Table.metadata.tables) <= set(inspect(engine).get_table_names())


def test_opening_again_changes_nothing(engine, database):
    add_account(engine, "a@example.org")
    again = open_database(database)
    with reading(again) as session:
        assert session.exec(select(Account.email)).all() == ["a@example.org"]
    again.dispose()


def test_two_processes_may_open_an_empty_database_at_once(database):
    failed = []

    def run() -> None:
        try:
            open_database(database).dispose()
        except Exception as error:
            failed.append(error)

    threads = [Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_database_of_newer_software_is_refused(engine, database):
    with transaction(engine) as session:
        session.connection().execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(Refusal, match="schema 9999, which this software does not know"):
        open_database(database)


@pytest.mark.parametrize("url", ["mysql://localhost/x", "oracle://localhost/x"])
def test_another_kind_of_database_is_refused(url):
    with pytest.raises(Refusal, match="SQLite and PostgreSQL are supported"):
        open_database(url)


def test_an_unreachable_server_is_named_without_its_password():
    with pytest.raises(Refusal, match="cannot be opened") as error:
        open_database("postgresql://lss:SECRET@127.0.0.1:1/none")
    assert "SECRET" not in str(error.value)


def test_moments_come_back_in_utc_from_any_zone(engine):
    add_account(engine, "a@example.org")
    auckland = datetime(2026, 3, 3, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=13)))
    with transaction(engine) as session:
        session.exec(select(Account)).one().created_at = auckland
    with reading(engine) as session:
        stored = session.exec(select(Account)).one().created_at
    assert stored == auckland and stored.tzinfo is UTC and stored.hour == 12


def test_a_moment_without_zone_is_refused(engine):
    with pytest.raises(StatementError, match="has no time zone"):
        add_account_at(engine, datetime(2026, 3, 2, 12, 0))


def add_account_at(engine, moment: datetime) -> None:
    with transaction(engine) as session:
        session.add(Account(email="a@example.org", created_at=moment))


def test_a_transaction_is_kept_whole_or_not_at_all(engine):
    with pytest.raises(RuntimeError), transaction(engine) as session:
        session.add(Account(email="a@example.org", created_at=NOON))
        session.flush()
        raise RuntimeError
    with reading(engine) as session:
        assert session.exec(select(Account)).all() == []


def test_two_accounts_of_one_address_cannot_be(engine):
    add_account(engine, "a@example.org")
    with pytest.raises(IntegrityError):
        add_account(engine, "a@example.org")


def test_a_row_of_nothing_cannot_be(engine):
    with pytest.raises(IntegrityError), transaction(engine) as session:
        session.add(Answer(item_id=999, revision=1, shown_at=NOON, submitted_at=NOON, protocol_version_id=999,
                           software_version="x", sha256="x"))


@pytest.mark.parametrize("what", [
    {"grade": 4}, {"grade": -1}, {"grade": 1, "confidence": 101}, {"grade": 1, "confidence": -1}, {},
    {"grade": 1, "not_gradable": "metal"},
])
def test_an_answer_that_cannot_be_is_refused_by_the_database(engine, what):
    made = make_study(engine, test=1)
    read_session(engine, made.reader, made.study_id)
    with reading(engine) as session:
        item = session.exec(select(ReadingItem)).one()
        version = session.exec(select(Answer)).one().protocol_version_id
    assert item.id is not None
    with pytest.raises(IntegrityError), transaction(engine) as session:
        again = Answer(item_id=item.id, revision=2, shown_at=NOON, submitted_at=NOON, protocol_version_id=version,
                       software_version="x", sha256="x")
        session.add(again)
        session.flush()
        session.add(RegionAnswer(answer_id=again.id or 0, region="central_canal", **what))


def test_a_second_answer_of_one_revision_cannot_be(engine):
    made = make_study(engine, test=1)
    read_session(engine, made.reader, made.study_id)
    with pytest.raises(IntegrityError), transaction(engine) as session:
        first = session.exec(select(Answer)).one()
        session.add(Answer(**(first.model_dump() | {"id": None})))


@pytest.mark.parametrize("table", [table.__tablename__ for table in APPEND_ONLY])
@pytest.mark.parametrize("act", ["update {} set id = id + 1000", "delete from {}"])
def test_append_only_rows_are_kept_by_the_database_itself(engine, table, act):
    made = make_study(engine, test=1)
    read_session(engine, made.reader, made.study_id)
    with transaction(engine) as session:
        session.connection().execute(text(
            "insert into reopening (item_id, revision, reopened_by, reason, at) "
            f"select id, 2, {made.pi.account_id}, 'x', '2026-03-02 12:00:00' from readingitem"))
    with pytest.raises(DBAPIError, match="never changed or deleted"), transaction(engine) as session:
        session.connection().execute(text(act.format(table)))


def test_a_snapshot_sees_one_state_while_others_write(engine):
    add_account(engine, "a@example.org")
    with snapshot(engine) as session:
        assert len(session.exec(select(Account.email)).all()) == 1
        add_account(engine, "b@example.org")
        assert len(session.exec(select(Account.email)).all()) == 1
    with reading(engine) as session:
        assert len(session.exec(select(Account.email)).all()) == 2


def test_writers_wait_for_each_other_and_none_is_lost(engine):
    add_account(engine, "a@example.org", lumbar_cts_a_year=0)

    def count() -> None:
        for _ in range(5):
            with transaction(engine) as session:
                lock_writers(session)
                account = session.exec(select(Account)).one()
                account.lumbar_cts_a_year = (account.lumbar_cts_a_year or 0) + 1

    threads = [Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as session:
        assert session.exec(select(Account.lumbar_cts_a_year)).one() == 40
