"""Results are given after unblinding alone, and what is given before tells nothing of the truth."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event

from lss_core.study import lifecycle, progress, quality, results
from lss_core.study.connection import open_database
from lss_core.study.database import StudyState
from lss_core.study.desks import begin_session
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.reading import current_case
from lss_core.study.report import analyse
from lss_core.study.submitting import submit
from lss_core.vocabulary import Box, Refusal, Region
from tests.people_cases import audit_lines
from tests.planted import NOON, PLANTED, Made, crossover, make_study, read_session

TRUTH_TABLES = ("reference", "modeloutput", "caseorigin")
AFTER = NOON + timedelta(days=1)


@pytest.fixture
def engine(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'studies.sqlite'}")
    yield engine
    engine.dispose()


@pytest.fixture
def read(engine) -> Made:
    """A study that two readers have read whole; still open."""
    made = make_study(engine, test=4, readers=2)
    for number, reader in enumerate(made.readers):
        read_session(engine, reader, made.study_id, grade=number + 1)
    return made


def unblind(engine: Engine, made: Made) -> None:
    lifecycle.close(engine, made.pi, made.study_id, reason="complete", now=AFTER)
    lifecycle.unblind(engine, made.pi, made.study_id, reason="analysis", now=AFTER)


def move_to(engine: Engine, made: Made, state: StudyState) -> None:
    if state is StudyState.PAUSED:
        lifecycle.pause(engine, made.pi, made.study_id, reason="a break", now=AFTER)
    if state is StudyState.CLOSED:
        lifecycle.close(engine, made.pi, made.study_id, reason="complete", now=AFTER)


SERVICES: dict[str, Callable] = {
    "version": results.record_version,
    "record": results.study_record,
    "case": lambda engine, actor, study_id: results.shown_case(engine, actor, study_id, 1),
    "report": lambda *who: results.note_report(*who, what="report.pdf", content=b"x"),
}


@pytest.mark.parametrize("state", [StudyState.OPEN, StudyState.PAUSED, StudyState.CLOSED])
def test_nobody_gets_results_before_unblinding(engine, read, state):
    move_to(engine, read, state)
    for actor in (read.pi, read.coordinator):
        for service in SERVICES.values():
            with pytest.raises(Refusal, match=f"The study is {state}; its results can be seen after it was closed and"):
                service(engine, actor, read.study_id)
    assert not audit_lines(engine, "look at case") and not audit_lines(engine, "make report")


def test_readers_annotators_and_strangers_get_no_results_after_unblinding_either(engine, read):
    unblind(engine, read)
    for actor in (read.reader, read.annotator, read.outsider):
        for service in SERVICES.values():
            with pytest.raises(Refusal, match="no role in this study"):
                service(engine, actor, read.study_id)


def test_what_is_shown_before_unblinding_asks_no_table_of_the_truth_and_holds_nothing_planted(engine, read):
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: asked.append(call[2].lower()))
    shown = repr((quality.study_quality(engine, read.pi, read.study_id),
                  progress.progress(engine, read.coordinator, read.study_id)))
    assert asked and not [query for query in asked for table in TRUTH_TABLES if f"from {table}" in query
                          or f"join {table}" in query]
    assert not [text for text in PLANTED.values() if text in shown]
    names = vars(importlib.import_module(quality.__name__))
    assert not {"Reference", "ModelOutput", "CaseOrigin", "references_of", "outputs_of"} & names.keys()


def test_the_record_of_an_unblinded_study_is_what_its_analysis_takes(engine, read):
    unblind(engine, read)
    for actor in (read.pi, read.coordinator):
        record = results.study_record(engine, actor, read.study_id)
        assert record.version == results.record_version(engine, actor, read.study_id)
        assert len(record.tables.readings) == 2 * 4 * len(Region) and not record.simulated
    analysis = analyse(record.tables, replace(record.plan, bootstraps=20))
    assert analysis.scope.readers == 2 and analysis.scope.cases == 4


def test_the_version_of_a_record_is_of_that_study_alone(engine, read):
    unblind(engine, read)
    before = results.record_version(engine, read.pi, read.study_id)
    other = make_study(engine, test=4)
    read_session(engine, other.reader, other.study_id)
    assert results.record_version(engine, read.pi, read.study_id) == before
    unblind(engine, other)
    assert results.record_version(engine, other.pi, other.study_id) != before


def test_a_study_that_nobody_read_has_nothing_to_analyse(engine):
    made = make_study(engine)
    unblind(engine, made)
    with pytest.raises(Refusal, match="Nobody has submitted a test case"):
        results.study_record(engine, made.pi, made.study_id)


def test_looking_at_a_case_shows_reference_and_models_and_is_written_to_the_log(engine, read):
    unblind(engine, read)
    case = results.shown_case(engine, read.coordinator, read.study_id, 3, now=AFTER)
    assert case.number == 3 and set(case.references.values()) == {3}
    (output,) = case.outputs[Region.CENTRAL_CANAL]
    assert (output.grade, output.box, output.heat_map_key) == (3, Box(10, 20, 30, 40), PLANTED["heat_map"])
    (line,) = audit_lines(engine, "look at case")
    assert (line.actor, line.subject) == (read.coordinator.email, "case 3")


def test_a_case_that_is_no_test_case_is_not_shown(engine, read):
    unblind(engine, read)
    with pytest.raises(Refusal, match="Case 99 is not a test case"):
        results.shown_case(engine, read.pi, read.study_id, 99)


def test_a_report_is_written_to_the_log_with_its_filter_and_hash(engine, read):
    unblind(engine, read)
    results.note_report(engine, read.pi, read.study_id, what="report.pdf; filter: levels L4/5", content=b"report")
    (line,) = audit_lines(engine, "make report")
    assert "levels L4/5" in line.subject and "sha256" in line.new


def answer_all(engine: Engine, made: Made, entry: Entry, *, takes_s: float) -> quality.ReadingQuality:
    """The first reader answers every case alike; how that looks."""
    begin_session(engine, made.reader, made.study_id, now=NOON)
    now = NOON
    while case := current_case(engine, made.reader, made.study_id, now=now):
        now += timedelta(seconds=takes_s)
        submit(engine, made.reader, case.token, change=case.change + 1, entry=entry, revision=case.revision, now=now)
        now += timedelta(seconds=1)
    (reader,) = quality.study_quality(engine, made.pi, made.study_id).readers
    return reader


def test_haste_and_one_answer_for_everything_are_flagged_without_naming_the_grade(engine):
    found = answer_all(engine, make_study(engine, test=12), same(2, 70), takes_s=2.0)
    assert found.fast == 12 and found.median_s == pytest.approx(2.0)
    assert found.flags == (
        "12 of 12 cases took less than 5 s.", "One and the same grade in 100% of the regions.",
        "One and the same confidence in 100% of the regions.",
    )


def test_many_regions_not_gradable_and_many_remarks_are_flagged(engine):
    entry = Entry({region: RegionEntry(not_gradable="motion") for region in Region}, image_quality="motion")
    made = make_study(engine, test=12)
    found = answer_all(engine, made, entry, takes_s=30.0)
    assert found.not_gradable == found.regions == 36 and found.remarked == 12
    assert found.flags == ("36 of 36 regions were called not gradable.", "Remarks on the image in 12 of 12 cases.")
    images = quality.study_quality(engine, made.pi, made.study_id).images
    assert len(images) == 12 and images[0].remarks == ("motion",) and images[0].remarked == images[0].readers == 1


def test_a_few_answers_are_no_habit(engine):
    found = answer_all(engine, make_study(engine, test=2), same(1, 50), takes_s=2.0)
    assert found.flags == ()


def test_who_has_not_signed_every_session_is_unfinished(engine):
    made = make_study(engine, protocol=crossover(), readers=2)
    read_session(engine, made.reader, made.study_id)
    found = quality.study_quality(engine, made.pi, made.study_id)
    assert found.unfinished == {reader.email for reader in made.readers}


def same(grade: int, confidence: int) -> Entry:
    return Entry({region: RegionEntry(grade, confidence) for region in Region})
