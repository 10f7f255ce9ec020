"""The audit log of a study is shown, filtered and checked for those whose role permits it, and for nobody else."""

from collections.abc import Iterator

import pytest

from lss_core.study import audit_log, lifecycle, studies
from lss_core.vocabulary import Refusal
from tests.studies import MadeUpStudy, made_up_study


@pytest.fixture
def study(database, tmp_path) -> Iterator[MadeUpStudy]:
    made = made_up_study(database, tmp_path / "images", test=1)
    yield made
    made.engine.dispose()


def test_lines_come_newest_first_and_only_of_this_study(study):
    other = studies.create(study.engine, study.pi, title="Another")
    assert other.id is not None
    lines = audit_log.lines_of(study.engine, study.pi, study.study_id)
    numbers = [line.id for line in lines]
    assert numbers == sorted(numbers, reverse=True)
    assert {line.study_id for line in lines} == {study.study_id}
    (line,) = audit_log.lines_of(study.engine, study.pi, other.id)
    assert line.action == "create study"


def test_lines_are_filtered_by_who_and_what_and_counted_alike(study):
    wanted = {"who": study.pi.email, "action": "invite member"}
    lines = audit_log.lines_of(study.engine, study.pi, study.study_id, **wanted)
    assert len(lines) == audit_log.how_many(study.engine, study.pi, study.study_id, **wanted) == 3
    assert not audit_log.how_many(study.engine, study.pi, study.study_id, who="nobody@example.org")


def test_pages_of_the_log_follow_one_another_without_a_gap(study):
    everything = audit_log.lines_of(study.engine, study.pi, study.study_id)
    first = audit_log.lines_of(study.engine, study.pi, study.study_id, limit=2)
    rest = audit_log.lines_of(study.engine, study.pi, study.study_id, skip=2)
    assert [line.id for line in (*first, *rest)] == [line.id for line in everything]


def test_the_kinds_of_lines_are_those_of_the_study(study):
    kinds = audit_log.kinds_of(study.engine, study.pi, study.study_id)
    assert kinds.actors == (study.pi.email,)
    assert kinds.actions == ("add cases", "create study", "invite member")


def test_an_untouched_study_has_no_problem(study):
    assert audit_log.problems(study.engine, study.coordinator, study.study_id) == []


def test_signatures_are_listed_with_who_what_and_the_hash_of_what_was_signed(study):
    assert audit_log.signatures_of(study.engine, study.coordinator, study.study_id) == ()
    lifecycle.lock(study.engine, study.pi, study.study_id, typed_name=study.pi.name, meaning="I approve")
    ((signature, email),) = audit_log.signatures_of(study.engine, study.coordinator, study.study_id)
    _, version = studies.protocol_of(study.engine, study.pi, study.study_id)
    assert (email, signature.typed_name, signature.meaning) == (study.pi.email, study.pi.name, "I approve")
    assert (signature.what, signature.sha256) == ("protocol 1", version.sha256)


@pytest.mark.parametrize(
    "ask",
    [audit_log.lines_of, audit_log.how_many, audit_log.kinds_of, audit_log.problems, audit_log.signatures_of],
)
def test_a_reader_and_a_stranger_see_nothing_of_the_log(study, ask):
    own = studies.create(study.engine, study.pi, title="Another")
    for actor, study_id in ((study.readers[0], study.study_id), (study.coordinator, own.id)):
        with pytest.raises(Refusal, match="no role in this study that permits you to see audit"):
            ask(study.engine, actor, study_id)
