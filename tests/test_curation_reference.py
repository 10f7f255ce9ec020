"""Disagreements are decided by a third or jointly; the reference is locked in versions, each under a hash."""

import csv
import dataclasses
import io

import pytest
from sqlmodel import select

from lss_core.curation import adjudication, labels, plan, reference, scans
from lss_core.curation.plan import LabelPlan
from lss_core.curation.reference import Provenance
from lss_core.study.connection import reading
from lss_core.study.curation_tables import Adjudication
from lss_core.vocabulary import Refusal, Region
from tests.curated import NOON, PI_NAME, Curated, add_scan, decide_all, graded, place_levels


def here(made: Curated, who=None) -> tuple:
    return made.engine, who or made.pi, made.collection_id


def decide(made: Curated, who=None, found: adjudication.Disagreement | None = None, **what) -> None:
    found = found or adjudication.disagreements(*here(made))[0]
    known = {"case_id": found.case_id, "region": found.region, "grade": 2, "reason": "seen together", "now": NOON}
    adjudication.adjudicate(*here(made, who or made.third), **(known | what))


def lock(made: Curated, who=None, **what) -> reference.ReferenceVersion:
    return reference.lock_reference(*here(made, who), **({"typed_name": PI_NAME, "now": NOON} | what))


# Disagreements and decisions


def test_disagreements_do_not_tell_who_said_what(labelled):
    found = adjudication.disagreements(*here(labelled, labelled.third))
    assert len(found) == 6 and not any(each.is_decided for each in found)
    assert all(each.grades == tuple(sorted(each.grades)) for each in found)
    names = {each.name for each in dataclasses.fields(adjudication.Disagreement)}
    assert not names & {"first", "second", "account_id", "email", "patient", "site", "part"}


def test_not_gradable_against_a_grade_is_a_disagreement(planned):
    task = labels.next_case(*here(planned, planned.first))
    other = labels.next_case(*here(planned, planned.second))
    assert task and other
    for who, entry in ((planned.first, graded(None, 1, 1)), (planned.second, graded(2, 1, 1))):
        while (due := labels.next_case(*here(planned, who))) is not None:
            labels.submit_label(planned.engine, who, due.token, change=1, revision=1, entry=entry)
    found = adjudication.disagreements(*here(planned))
    assert {each.grades for each in found} == {(2, None)} and len(found) == 16


def test_the_third_decides_alone_and_the_decision_stays_with_its_reason(labelled):
    first = adjudication.disagreements(*here(labelled))[0]
    decide(labelled, grade=3, reason="slit-like sac")
    again = adjudication.disagreements(*here(labelled, labelled.third))[0]
    assert (again.number, again.is_decided, again.decision, again.reason) == (first.number, True, 3, "slit-like sac")


def test_a_later_decision_counts_and_the_former_stays(labelled):
    decide(labelled, grade=3)
    decide(labelled, grade=None, not_gradable="metal artefact")
    found = adjudication.disagreements(*here(labelled))[0]
    assert (found.decision, found.not_gradable) == (None, "metal artefact")
    with reading(labelled.engine) as session:
        assert len(session.exec(select(Adjudication)).all()) == 2


@pytest.mark.parametrize(("who", "what", "told"), [
    ("first", {}, "shown to the adjudicator"),
    ("coordinator", {}, "permits you to adjudicate"),
    ("pi", {}, "Alone only the adjudicator decides"),
    ("third", {"reason": " "}, "needs a reason"),
    ("third", {"grade": None}, "A decision is a grade"),
    ("third", {"grade": 4}, "grade 4 is not a whole number"),
    ("third", {"grade": 1, "not_gradable": "metal"}, "neither a grade nor"),
    ("third", {"case_id": 16}, "do not differ"),
    ("third", {"joint": True}, "at least two people"),
    ("third", {"present": (1,)}, "at least two people"),
])
def test_a_decision_that_cannot_be_is_refused(labelled, who, what, told):
    with pytest.raises(Refusal, match=told):
        decide(labelled, getattr(labelled, who), found=adjudication.disagreements(*here(labelled))[0], **what)


def test_a_joint_session_names_who_was_there(labelled):
    both = (labelled.first.account_id, labelled.second.account_id)
    with pytest.raises(Refusal, match="has no role in this collection"):
        decide(labelled, labelled.pi, joint=True, present=(*both, labelled.outsider.account_id))
    decide(labelled, labelled.pi, joint=True, present=both)
    assert reference.reference_state(*here(labelled)).joint == 1


def test_without_an_adjudicator_everything_is_decided_jointly(labelled):
    plan.set_plan(*here(labelled), LabelPlan(labelled.first.account_id, labelled.second.account_id))
    with pytest.raises(Refusal, match="shown to the adjudicator"):
        adjudication.disagreements(*here(labelled, labelled.third))
    with pytest.raises(Refusal, match="Alone only"):
        decide(labelled, labelled.pi)


# The reference


def test_what_is_missing_is_named_one_by_one(planned):
    state = reference.reference_state(*here(planned))
    assert state.missing == ("Cases that are not labelled by both annotators: 16 of 16.",) and not state.is_ready
    place_levels(planned, add_scan(planned, 99))
    assert reference.reference_state(*here(planned)).missing[0].startswith("Scans whose levels nobody has confirmed: 1")
    with pytest.raises(Refusal, match=r"nobody has confirmed: 1.* Cases that are not labelled"):
        lock(planned)


def test_undecided_disagreements_keep_the_reference_open(labelled):
    state = reference.reference_state(*here(labelled))
    assert state.missing == ("Disagreements that nobody has decided: 6.",)
    assert (state.cases, state.regions, state.agreed) == (16, 48, 42)


def test_each_row_of_the_reference_says_where_it_came_from(labelled):
    both = (labelled.first.account_id, labelled.second.account_id)
    decide(labelled, labelled.pi, joint=True, present=both, grade=0)
    for each in adjudication.disagreements(*here(labelled)):
        if not each.is_decided:
            decide(labelled, found=each, grade=1)
    lock(labelled)
    rows = reference.reference_rows(*here(labelled))
    counts = {each: sum(row.provenance is each for row in rows) for each in Provenance}
    assert counts == {Provenance.AGREED: 42, Provenance.ADJUDICATED: 5, Provenance.JOINT: 1}
    for row in rows:
        if row.provenance is Provenance.AGREED:
            assert row.grade == row.first_grade == row.second_grade
        else:
            assert row.first_grade != row.second_grade and row.grade in (0, 1)


@pytest.mark.parametrize(("who", "what", "told"), [
    ("coordinator", {}, "permits you to lock reference"), ("first", {}, "permits you to lock reference"),
    ("pi", {"typed_name": "Somebody Else"}, "type your name"),
])
def test_only_the_investigator_locks_and_signs(labelled, who, what, told):
    decide_all(labelled)
    with pytest.raises(Refusal, match=told):
        lock(labelled, getattr(labelled, who), **what)
    assert reference.reference_versions(*here(labelled)) == ()


def test_a_new_version_needs_a_difference_and_a_reason_and_the_former_stays(referenced):
    with pytest.raises(Refusal, match="Nothing has changed since version 1"):
        lock(referenced, reason="again")
    decide(referenced, grade=3)
    with pytest.raises(Refusal, match="needs a reason"):
        lock(referenced)
    second = lock(referenced, reason="error found by the site")
    first, again = reference.reference_versions(*here(referenced))
    assert again == second and first.sha256 != second.sha256 and second.reason == "error found by the site"
    before = reference.reference_rows(*here(referenced), number=1)
    after = reference.reference_rows(*here(referenced))
    assert sum(one.grade != other.grade for one, other in zip(before, after, strict=True)) == 1


def test_the_csv_holds_a_line_for_each_region(referenced):
    lines = list(csv.DictReader(io.StringIO(reference.reference_csv(*here(referenced)).decode())))
    assert len(lines) == 48 and {line["provenance"] for line in lines} == {"agreed by two", "adjudicated by a third"}
    assert {line["region"] for line in lines} == {region.value for region in Region}


def test_annotators_do_not_read_the_reference(referenced):
    for service in (reference.reference_rows, reference.reference_csv):
        with pytest.raises(Refusal, match="permits you to import scans"):
            service(*here(referenced, referenced.first))


def test_a_scan_that_is_removed_later_leaves_the_rows_but_not_the_record(referenced):
    before = reference.reference_versions(*here(referenced))[0]
    scans.remove_scan(*here(referenced), 1, reason="consent withdrawn")
    assert len(reference.reference_rows(*here(referenced))) == 42
    assert reference.reference_versions(*here(referenced))[0] == before
