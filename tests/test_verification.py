"""The check of the records names whatever was altered, removed, added or moved past the software."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlmodel import col, select

from lss_core.study import audit
from lss_core.study.connection import open_database, transaction
from lss_core.study.database import AuditEvent
from lss_core.study.verification import LastLine, check_records, last_line

TRIGGERS = {
    "sqlite": "select 'drop trigger ' || name from sqlite_master where type = 'trigger'",
    "postgresql": "select 'alter table ' || quote_ident(relname) || ' disable trigger all' from pg_class "
                  "where relkind = 'r' and relnamespace = 'public'::regnamespace",
}
LAST_ANSWER = "(select max(id) from answer)"


def tamper(engine: Engine, *statements: str) -> None:
    """What somebody could do who holds the database itself: the triggers away, then whatever they like."""
    bare = create_engine(engine.url)            # on SQLite without the check of foreign keys
    with bare.begin() as connection:
        for (statement,) in connection.execute(text(TRIGGERS[engine.dialect.name])).all():
            connection.execute(text(statement))
        for statement in statements:
            assert connection.execute(text(statement)).rowcount, statement
    bare.dispose()


def test_a_study_as_it_was_read_has_no_problem(read_study):
    assert check_records(read_study.engine) == []


@pytest.mark.parametrize(("statement", "told"), [
    ("update auditevent set reason = 'other' where id = 5", r"Line 5 \(lock protocol by pi@example.org\) was altered"),
    ("update auditevent set at = (select at from auditevent where id = 9) where id = 5", "Line 5 .* was altered"),
    ("update auditevent set actor = 'x' where id = (select max(id) from auditevent)", r"\(unblind study by x\) was"),
    ("delete from auditevent where id = 7", "Line 7 is missing: after it comes line 8"),
    ("delete from auditevent where id < 3", "Line 1 is missing"),
    ("update auditevent set previous_hash = hash where id = 6", r"Line 6 \(.*\) does not follow the line before"),
    ("update answer set comment = 'better' where id = 4", "The answer to place .* was altered"),
    ("update answer set idle_s = idle_s + 1 where id = 4", "The answer to place .* was altered"),
    ("update answer set submitted_at = shown_at where id = 4", "The answer to place .* was altered"),
    ("update regionanswer set grade = 3 - grade where grade is not null and answer_id = 4", "place .* altered"),
    ("update regionanswer set confidence = 1 where answer_id = 4", "The answer to place .* was altered"),
    ("delete from regionanswer where answer_id = 4", "The answer to place .* was altered"),
    ("update answer set item_id = (select max(id) from readingitem), revision = 9 where id = 1", "place .* altered"),
    ("update readingitem set position = 100 - position where session_id = 1", "The order of session 1 of first@"),
    ("update readingitem set arm = case arm when 'aided' then 'unaided' else 'aided' end where session_id = 2",
     "The order of session 1 of second@example.org is not the one that was drawn"),
    ("update readingsession set seed = 'x' where id = 1", "The order of session 1 of first@example.org is not"),
    ("update reference set grade = 0 where grade = 1", "protocol 1 or its cases are not what was locked"),
    ("update modeloutput set grade = 0 where grade = 1", "protocol 1 or its cases are not what was locked"),
    ('update "case" set slice_index = 4 where id = 1', "protocol 1 or its cases are not what was locked"),
    ("update protocolversion set content = replace(content, '28', '27')", "protocol 1 or its cases are not"),
    ("update protocolversion set locked_at = null", "protocol 1 is not locked, and the audit log says otherwise"),
    ("update signature set sha256 = 'x' where id = 2", "A signature under session 1 of first@example.org was altered"),
    ("delete from signature where id = 1", "The signature under protocol 1 is missing"),
])
def test_what_was_altered_or_removed_is_named(read_study, statement, told):
    tamper(read_study.engine, statement)
    problems = check_records(read_study.engine)
    assert any(re.search(told, problem) for problem in problems), problems


def test_an_answer_that_was_removed_is_named(read_study):
    tamper(read_study.engine, f"delete from regionanswer where answer_id = {LAST_ANSWER}",
           f"delete from answer where id = {LAST_ANSWER}")
    problems = check_records(read_study.engine)
    assert any("tells of an answer that is missing" in problem for problem in problems), problems
    assert any("session 2 of second@example.org are not those that were signed" in problem for problem in problems)


def test_lines_that_changed_places_are_named(read_study):
    moves = ((6, 1000), (7, 6), (1000, 7))
    tamper(read_study.engine, *(f"update auditevent set id = {new} where id = {old}" for old, new in moves))
    problems = check_records(read_study.engine)
    assert any("Line 6" in problem for problem in problems) and any("Line 7" in problem for problem in problems)


def test_a_whole_chain_written_anew_is_known_by_the_answers(read_study):
    """Whoever can compute the hashes again can alter a line unseen by the chain, but not the answers that it holds."""
    with transaction(read_study.engine) as session:
        lines = [{**line.model_dump()} for line in session.exec(select(AuditEvent).order_by(col(AuditEvent.id)))]
    kept = [line for line in lines if line["subject"] != "answer 2"]
    tamper(read_study.engine, "delete from auditevent")
    with transaction(read_study.engine) as session:
        for line in kept:
            audit.append(session, **{name: line[name] for name in ("at", "actor", "action", "study_id", "subject",
                                                                   "reason")}, new=_value(line["new"]))
    assert audit.verify(read_study.engine) == []
    problems = check_records(read_study.engine)
    assert any("The answer to place" in problem and "has no line" in problem for problem in problems), problems


def test_a_cut_off_end_is_known_by_the_records_that_lost_their_lines(read_study):
    tamper(read_study.engine, "delete from auditevent where id > (select min(id) from auditevent where "
                              "action = 'submit answer')")
    assert audit.verify(read_study.engine) == []
    assert any("has no line in the audit log" in problem for problem in check_records(read_study.engine))


def test_a_cut_off_end_without_records_is_known_by_the_noted_last_line(read_study):
    noted = last_line(read_study.engine)
    assert check_records(read_study.engine, noted=noted) == []
    tamper(read_study.engine, "delete from auditevent where action = 'unblind study'")
    assert check_records(read_study.engine) == []
    problems = check_records(read_study.engine, noted=noted)
    assert problems == [f"Line {noted.number}, which was noted, is missing: lines were cut off the end of the log."]


def test_a_log_written_anew_is_known_by_the_noted_line(read_study):
    noted = LastLine(last_line(read_study.engine).number, "0" * 64)
    assert "is not the one that was noted" in check_records(read_study.engine, noted=noted)[0]


def test_an_empty_database_has_no_problem(database):
    engine = open_database(database)
    assert last_line(engine) == LastLine(0, audit.GENESIS) and check_records(engine, noted=last_line(engine)) == []
    engine.dispose()


def _value(text: str) -> Any:
    return json.loads(text) if text else None
