"""How far readers are, and nothing about what they answered."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lss_core.permissions import Role
from lss_core.study import lifecycle, people
from lss_core.study.connection import open_database
from lss_core.study.desks import Stage, begin_session
from lss_core.study.progress import progress, reminder
from lss_core.study.protocol import Experience
from lss_core.study.reading import current_case
from lss_core.study.revisiting import answered_items, reopen
from lss_core.vocabulary import Refusal
from tests.planted import NOON, answer_current, crossover, make_study, person, read_session

DAY = timedelta(days=1)


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


def of(engine, made, reader, *, at=NOON):
    return next(each for each in progress(engine, made.pi, made.study_id, now=at)
                if each.account_id == reader.account_id)


def test_progress_tells_where_each_reader_stands(engine):
    made = make_study(engine, test=4, training=1, readers=3, protocol=crossover())
    read_session(engine, made.readers[0], made.study_id)
    begin_session(engine, made.readers[1], made.study_id, now=NOON)
    answer_current(engine, made.readers[1], made.study_id, takes_s=1)                # training: not counted
    answer_current(engine, made.readers[1], made.study_id, takes_s=20)
    answer_current(engine, made.readers[1], made.study_id, takes_s=50)
    done, half, new = (of(engine, made, reader) for reader in made.readers)
    assert (done.stage, done.session, done.sessions, done.done, done.total) == (Stage.WAITING, 2, 2, 0, 0)
    assert done.opens_at is not None and done.opens_at.date() == (NOON + 28 * DAY).date()
    assert (half.stage, half.session, half.done, half.total) == (Stage.CASE, 1, 2, 4)
    assert (half.median_s, half.idle_s, half.last_answer_at) == (35.0, 0.0, NOON + timedelta(seconds=50))
    assert (new.stage, new.done, new.median_s, new.last_answer_at) == (Stage.INSTRUCTIONS, 0, None, None)
    assert {each.experience for each in (done, half, new)} == {Experience.JUNIOR}


def test_idle_time_is_taken_out_of_the_median(engine):
    made = make_study(engine, test=1)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    answer_current(engine, made.reader, made.study_id, takes_s=3600)
    reader = of(engine, made, made.reader)
    assert (reader.median_s, reader.idle_s) == (0.0, 3600.0)


def test_what_may_be_wrong_is_said(engine):
    made = make_study(engine, test=12, readers=2)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    for _ in range(11):
        answer_current(engine, made.reader, made.study_id, takes_s=2)
    item = answered_items(engine, made.pi, made.study_id, account_id=made.reader.account_id)[0].item_id
    reopen(engine, made.pi, made.study_id, item_id=item, reason="x", now=NOON)
    assert of(engine, made, made.reader, at=NOON + 9 * DAY).flags == (
        "1 reopened case waits for a new answer.", "No answer for 8 days.",
        "Reads fast: half of the cases took less than 2.0 s.")
    assert of(engine, made, made.readers[1], at=NOON + 9 * DAY).flags == ()
    answer_current(engine, made.reader, made.study_id, takes_s=2)
    assert "reopened" not in " ".join(of(engine, made, made.reader).flags)
    people.invite(engine, made.pi, made.study_id, email="new@example.org", role=Role.READER, now=NOON)
    new = of(engine, made, person(engine, "new@example.org"))
    assert (new.flags, new.experience) == (("Has not stated the experience yet.",), None)


def test_progress_is_the_same_whatever_the_grades(engine):
    made = make_study(engine, test=4, readers=2)
    for reader, grade in zip(made.readers, (0, 3), strict=True):
        read_session(engine, reader, made.study_id, grade=grade)
    first, second = (of(engine, made, reader) for reader in made.readers)
    same = replace(second, account_id=first.account_id, email=first.email, name=first.name)
    assert first == same


def test_only_those_who_may_see_progress(engine):
    made = make_study(engine, test=1)
    assert progress(engine, made.coordinator, made.study_id, now=NOON)
    for actor in (made.annotator, made.reader, made.outsider):
        for act in (lambda actor=actor: progress(engine, actor, made.study_id),
                    lambda actor=actor: reminder(engine, actor, made.study_id, account_id=made.reader.account_id)):
            with pytest.raises(Refusal, match="permits you to see progress"):
                act()


def test_a_reminder_says_what_is_due(engine):
    made = make_study(engine, test=2, protocol=crossover())

    def text(days: int = 0) -> str:
        return reminder(engine, made.pi, made.study_id, account_id=made.reader.account_id, now=NOON + days * DAY,
                        address="https://studies.example.org/read")

    assert 'Session 1 of 2 in the study "Canal study" is ready for you' in text() and "Dear Reader 1," in text()
    assert "https://studies.example.org/read" in text() and "Petra Investigator" in text()
    begin_session(engine, made.reader, made.study_id, now=NOON)
    answer_current(engine, made.reader, made.study_id)
    assert "1 of 2 cases of session 1" in text()
    assert current_case(engine, made.reader, made.study_id, now=NOON)
    answer_current(engine, made.reader, made.study_id)
    assert "only your signature is missing" in text()
    read_session(engine, made.reader, made.study_id)
    assert "opens for you on 30 March 2026" in text() and "Session 2 of 2" in text(28)
    lifecycle.pause(engine, made.pi, made.study_id, reason="x")
    assert "is paused" in text()
    with pytest.raises(Refusal, match="is not a reader of this study"):
        reminder(engine, made.pi, made.study_id, account_id=made.outsider.account_id, now=NOON)
