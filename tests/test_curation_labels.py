"""Two annotators, each alone: order, blinding, drafts, one label for each submission, agreement."""

import dataclasses
import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from lss_core.curation import adjudication, agreement, label_places, labels, levels, plan, reference, regions, scans
from lss_core.curation.plan import LabelPlan
from lss_core.permissions import Role
from lss_core.study import people
from lss_core.study.connection import reading, transaction
from lss_core.study.curation_tables import Label, LabelDraft, LabelGrade, LabelPlace
from lss_core.study.database import AuditEvent
from lss_core.study.entry import Entry
from lss_core.study.places import Denied
from lss_core.study.verification import check_records
from lss_core.vocabulary import Refusal, Region
from tests.curated import (
    NETWORKS,
    NOON,
    PLANTED_NAME,
    PLANTED_PATIENT,
    PLANTED_SITE,
    Curated,
    add_scan,
    case_of,
    graded,
    label,
    place_levels,
)

SECRET = (PLANTED_PATIENT, PLANTED_SITE, PLANTED_NAME, NETWORKS, "PLANTEDMAKER", "PLANTEDCOMMENT")
SECRET_TABLES = ("proposedbox", "regionbox", "adjudication", "referenceversion", "referencerow", "splitversion",
                 "splitrow", "refusedscan", "levelmark", "modeloutput", "caseorigin")


def next_of(made: Curated, who) -> labels.LabelTask:
    task = labels.next_case(made.engine, who, made.collection_id, now=NOON)
    assert task is not None
    return task


def submit(made: Curated, who, task: labels.LabelTask, entry: Entry | None = None, **what) -> labels.LabelReceipt:
    known = {"change": task.change + 1, "revision": task.revision, "entry": entry or graded(1), "now": NOON}
    return labels.submit_label(made.engine, who, task.token, **(known | what))


def order_of(made: Curated, who) -> list[int]:
    next_of(made, who)
    with reading(made.engine) as session:
        return list(session.exec(
            select(LabelPlace.case_id).where(LabelPlace.account_id == who.account_id).order_by(col(LabelPlace.position))
        ))


def rows(made: Curated, table) -> list:
    with reading(made.engine) as session:
        return list(session.exec(select(table)))


# Plan and order


def test_nobody_labels_before_somebody_is_named(planned):
    with pytest.raises(Refusal, match="The plan does not name you"):
        labels.next_case(planned.engine, planned.third, planned.collection_id)
    assert plan.is_annotator(planned.engine, planned.first, planned.collection_id)
    assert not plan.is_annotator(planned.engine, planned.third, planned.collection_id)


@pytest.mark.parametrize(("first", "second", "third", "told"), [
    ("first", "first", None, "must be different people"),
    ("first", "second", "first", "must be different people"),
    ("first", "coordinator", None, "coordinator@example.org is no annotator of this collection"),
    ("first", "second", "coordinator", "cannot adjudicate"),
    ("first", "outsider", None, "is no annotator"),
])
def test_a_plan_that_cannot_be_is_refused(planned, first, second, third, told):
    people = [getattr(planned, name).account_id if name else None for name in (first, second, third)]
    with pytest.raises(Refusal, match=told):
        plan.set_plan(planned.engine, planned.pi, planned.collection_id, LabelPlan(*people))


def test_the_two_stay_once_one_has_labelled_and_the_adjudicator_may_change(planned):
    swapped = LabelPlan(planned.first.account_id, planned.third.account_id)
    plan.set_plan(planned.engine, planned.pi, planned.collection_id, swapped)
    label(planned, planned.first)
    with pytest.raises(Refusal, match="Labelling has begun: the two annotators stay"):
        plan.set_plan(planned.engine, planned.pi, planned.collection_id,
                      LabelPlan(planned.first.account_id, planned.second.account_id))
    plan.set_plan(planned.engine, planned.pi, planned.collection_id,
                  dataclasses.replace(swapped, adjudicator=planned.pi.account_id))
    found = plan.plan_of(planned.engine, planned.pi, planned.collection_id)
    assert found is not None and found.adjudicator == planned.pi.account_id


def test_each_annotator_has_an_order_of_their_own_that_stays(planned):
    first, second = order_of(planned, planned.first), order_of(planned, planned.second)
    cases = [case.case_id for case in planned.cases()]
    assert sorted(first) == sorted(second) == cases
    assert first != second and cases not in (first, second)
    label(planned, planned.first)
    assert order_of_places(planned, planned.first) == first


def order_of_places(made: Curated, who) -> list[int]:
    return [case_of(made, own.token) for own in labels.my_labels(made.engine, who, made.collection_id)]


def test_the_order_is_drawn_from_the_stored_seed_and_noted(planned):
    order = order_of(planned, planned.first)
    with reading(planned.engine) as session:
        line = session.exec(select(AuditEvent.new).where(AuditEvent.action == "draw label order")).one()
    noted = json.loads(line)
    assert noted["order"] == order
    assert sorted(order, key=lambda case_id: label_places.lot(noted["seed"], case_id)) == order


def test_scans_that_come_later_are_put_behind(planned):
    before = order_of(planned, planned.first)
    scan_id = add_scan(planned, 99)
    place_levels(planned, scan_id)
    assert order_of(planned, planned.first) == before               # not confirmed yet
    levels.confirm_levels(planned.engine, planned.pi, planned.collection_id, scan_id)
    after = order_of(planned, planned.first)
    assert after[: len(before)] == before and len(after) == len(before) + 2
    assert next_of(planned, planned.first).total == len(after)


def test_a_case_whose_scan_is_removed_is_not_asked_any_more(planned):
    task = next_of(planned, planned.first)
    scan_id = next(case.scan_id for case in planned.cases() if case.case_id == case_of(planned, task.token))
    scans.remove_scan(planned.engine, planned.pi, planned.collection_id, scan_id, reason="consent withdrawn")
    assert next_of(planned, planned.first).total == task.total - 2
    with pytest.raises(Denied):
        submit(planned, planned.first, task)


# Blinding


def test_a_task_has_no_field_for_what_must_stay_hidden():
    assert {each.name for each in dataclasses.fields(labels.LabelTask)} == {
        "token", "number", "total", "level", "entry", "revision", "change", "slice_index", "scan_key"
    }


def test_the_whole_labelling_path_asks_no_secret_table_and_returns_no_secret(planned):
    """Values are planted in patients, sites, names, proposals and the other annotator's label; SQL is listened to."""
    other = next_of(planned, planned.second)
    if case_of(planned, other.token) == case_of(planned, next_of(planned, planned.first).token):
        submit(planned, planned.first, next_of(planned, planned.first))     # so that the walk can correct its case
    submit(planned, planned.second, other, dataclasses.replace(graded(3), comment="PLANTEDCOMMENT"))
    with reading(planned.engine) as session:
        others_grades = {str(each) for each in session.exec(select(LabelGrade.id))}
    asked: list[tuple[str, str]] = []

    def listen(connection, cursor, statement, parameters, context, many) -> None:
        asked.append((statement.lower(), str(parameters)))

    event.listen(planned.engine, "before_cursor_execute", listen)
    seen = walk(planned, planned.first)
    event.remove(planned.engine, "before_cursor_execute", listen)
    assert others_grades and len(asked) > 20
    for statement, _ in asked:
        assert not any(f" {table}" in statement or f'"{table}"' in statement for table in SECRET_TABLES), statement
        assert "curatedscan.patient" not in statement and "curatedscan.site" not in statement
        assert "curatedscan.name" not in statement and "curatedscan.manufacturer" not in statement
    assert not any(secret in text for text in seen for secret in SECRET)
    assert not any(str(planned.second.account_id) == text for text in seen)


def walk(made: Curated, who) -> list[str]:
    """Everything that the path gives an annotator, as text: one case from its draft to its correction."""
    task = next_of(made, who)
    seen = [repr(task), repr(labels.label_images(made.engine, who, task.token))]
    seen.append(repr(labels.save_label_draft(made.engine, who, task.token, change=1, entry=graded(2))))
    seen.append(repr(submit(made, who, task, change=2)))
    seen.append(repr(labels.my_labels(made.engine, who, made.collection_id)))
    if all(own.may_correct for own in labels.my_labels(made.engine, who, made.collection_id)[-1:]):
        seen.append(repr(labels.next_case(made.engine, who, made.collection_id, token=task.token)))
    seen.append(repr(labels.is_due(made.engine, who, task.token)))
    seen.append(repr(labels.label_progress(made.engine, who, made.collection_id)))
    return seen


def test_grades_are_asked_of_the_own_labels_alone(planned):
    """Whatever is read of `labelgrade` belongs to the annotator who asks."""
    label(planned, planned.second)
    returned: list[int] = []

    def listen(row, _) -> None:
        returned.append(row.label_id)

    event.listen(LabelGrade, "load", listen)
    walk(planned, planned.first)
    event.remove(LabelGrade, "load", listen)
    own = {row.id for row in rows(planned, Label) if row.account_id == planned.first.account_id}
    assert returned and set(returned) <= own


def test_nobody_sees_a_label_before_both_are_done_with_its_case(planned):
    label(planned, planned.first)
    pi, here = planned.pi, (planned.engine, planned.pi, planned.collection_id)
    assert adjudication.disagreements(*here) == ()
    assert all(each.n == 0 for each in agreement.agreement_before_consensus(*here))
    assert reference.reference_state(*here).cases == 0
    submit(planned, planned.second, next_of(planned, planned.second), graded(3, 3, None))
    assert {each.n for each in agreement.agreement_before_consensus(*here)} == {1}
    assert len({each.case_id for each in adjudication.disagreements(*here)}) <= 1
    assert pi.account_id not in {row.account_id for row in rows(planned, Label)}


def test_annotators_see_neither_agreement_nor_progress_of_the_other_while_somebody_labels(planned):
    label(planned, planned.first)
    with pytest.raises(Refusal, match="when both have labelled every case"):
        agreement.agreement_before_consensus(planned.engine, planned.first, planned.collection_id)
    with pytest.raises(Refusal, match="shown to the adjudicator whom the plan names"):
        adjudication.disagreements(planned.engine, planned.first, planned.collection_id)
    (own,) = labels.label_progress(planned.engine, planned.first, planned.collection_id)
    assert (own.account_id, own.done, own.total) == (planned.first.account_id, 16, 16)
    assert len(labels.label_progress(planned.engine, planned.coordinator, planned.collection_id)) == 2
    label(planned, planned.second)
    assert agreement.agreement_before_consensus(planned.engine, planned.first, planned.collection_id)[0].n == 16


def test_the_other_annotators_boxes_stay_hidden(planned):
    case = planned.cases()[0]
    proposed = regions.boxes_of(planned.engine, planned.first, planned.collection_id, case.case_id).proposed
    regions.save_boxes(planned.engine, planned.first, planned.collection_id, case.case_id, case.slice_index,
                       proposed[case.slice_index])
    assert regions.boxes_of(planned.engine, planned.second, planned.collection_id, case.case_id).mine == {}


@pytest.mark.parametrize("act", [
    lambda made, token: labels.label_images(made.engine, made.first, token),
    lambda made, token: labels.save_label_draft(made.engine, made.first, token, change=1, entry=graded(1)),
    lambda made, token: labels.submit_label(made.engine, made.first, token, change=1, revision=1, entry=graded(1)),
    lambda made, token: labels.is_due(made.engine, made.first, token),
    lambda made, token: labels.next_case(made.engine, made.first, made.collection_id, token=token),
])
@pytest.mark.parametrize("whose", ["another annotator's", "nobody's"])
def test_a_case_that_is_not_ones_own_is_denied_and_noted(planned, act, whose):
    token = next_of(planned, planned.second).token if whose == "another annotator's" else "made-up"
    with pytest.raises(Denied, match="This case is not open to you"):
        act(planned, token)
    with reading(planned.engine) as session:
        last = session.exec(select(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(1)).one()
    assert last.action.startswith("refused: ") and last.actor == planned.first.email


def test_whoever_lost_the_role_is_denied(planned):
    token = next_of(planned, planned.first).token
    people.remove_member(planned.engine, planned.pi, planned.collection_id, account_id=planned.first.account_id,
                         role=Role.ANNOTATOR, reason="left")
    with pytest.raises(Denied):
        labels.submit_label(planned.engine, planned.first, token, change=1, revision=1, entry=graded(1))


# Drafts and labels


def test_a_draft_survives_and_an_older_one_never_overwrites(planned):
    task = next_of(planned, planned.first)
    assert labels.save_label_draft(planned.engine, planned.first, task.token, change=2, entry=graded(2)) == 2
    assert labels.save_label_draft(planned.engine, planned.first, task.token, change=1, entry=graded(0)) == 2
    again = next_of(planned, planned.first)
    assert (again.token, again.change, again.entry) == (task.token, 2, graded(2))
    with pytest.raises(Refusal, match="changed in another window"):
        submit(planned, planned.first, task, change=1)
    submit(planned, planned.first, again)
    assert rows(planned, LabelDraft) == []


@pytest.mark.parametrize(("entry", "told"), [
    (Entry(), "Central canal has no answer yet"),
    (Entry({Region.CENTRAL_CANAL: graded(1).regions[Region.CENTRAL_CANAL]}), "Left lateral recess has no answer yet"),
])
def test_a_label_that_is_not_complete_is_refused(planned, entry, told):
    with pytest.raises(Refusal, match=told):
        submit(planned, planned.first, next_of(planned, planned.first), entry)
    assert rows(planned, Label) == []


def test_the_same_submission_again_stores_nothing_and_gives_the_same_receipt(planned):
    task = next_of(planned, planned.first)
    first = submit(planned, planned.first, task, graded(1))
    again = submit(planned, planned.first, task, graded(3))
    assert again == dataclasses.replace(first, already=True)
    (stored,) = rows(planned, Label)
    assert {row.grade for row in rows(planned, LabelGrade)} == {1} and stored.id == first.label_id


def test_only_the_case_that_is_due_can_be_submitted(planned):
    order_of(planned, planned.first)
    with reading(planned.engine) as session:
        token = session.exec(select(LabelPlace.token).where(LabelPlace.account_id == planned.first.account_id)
                             .order_by(col(LabelPlace.position).desc())).first()
    with pytest.raises(Refusal, match="Another case is due"):
        labels.submit_label(planned.engine, planned.first, token, change=1, revision=1, entry=graded(1))


def test_a_label_may_be_corrected_until_the_other_is_done_with_the_case(planned):
    task = next_of(planned, planned.first)
    submit(planned, planned.first, task, graded(1))
    again = labels.next_case(planned.engine, planned.first, planned.collection_id, token=task.token)
    assert again is not None and (again.revision, again.entry) == (2, graded(1))
    submit(planned, planned.first, again, graded(2))
    assert [row.revision for row in rows(planned, Label)] == [1, 2]
    assert labels.my_labels(planned.engine, planned.first, planned.collection_id)[0].entry == graded(2)
    label(planned, planned.second)
    (own,) = labels.my_labels(planned.engine, planned.first, planned.collection_id)
    assert not own.may_correct
    for act in (lambda: labels.next_case(planned.engine, planned.first, planned.collection_id, token=task.token),
                lambda: submit(planned, planned.first, again, graded(0), revision=3),
                lambda: labels.save_label_draft(planned.engine, planned.first, task.token, change=9, entry=graded(0))):
        with pytest.raises(Refusal, match="Both annotators are done with this case"):
            act()


def test_numbers_go_from_the_first_to_the_last_case(planned):
    numbers = []
    while (task := labels.next_case(planned.engine, planned.first, planned.collection_id)) is not None:
        numbers.append((task.number, task.total))
        submit(planned, planned.first, task)
    assert numbers == [(number, 16) for number in range(1, 17)]


def test_a_level_that_is_labelled_stays_on_its_slice(planned):
    label(planned, planned.first)
    case = planned.cases()[0]
    with pytest.raises(Refusal, match="is labelled on its slice already"):
        levels.set_level(planned.engine, planned.pi, planned.collection_id, case.scan_id, case.level, 4)


def test_labels_are_append_only_in_the_database_itself(planned_anywhere):
    label(planned_anywhere, planned_anywhere.first)
    for statement in ("update label set comment = 'x'", "delete from labelgrade", "update labelplace set position = 0"):
        with (
            pytest.raises(DBAPIError, match="never changed or deleted"),
            transaction(planned_anywhere.engine) as session,
        ):
            session.connection().execute(text(statement))


# At once, and killed


def test_two_annotators_with_two_tabs_each_label_at_once_and_nothing_is_lost_or_doubled(planned_anywhere):
    made = planned_anywhere

    def work(who, tabs: ThreadPoolExecutor) -> list[labels.LabelReceipt]:
        receipts = []
        while (task := labels.next_case(made.engine, who, made.collection_id)) is not None:
            gate = Barrier(2)

            def click(grade, task=task, gate=gate):
                gate.wait(30)
                return submit(made, who, task, graded(grade))

            receipts += tabs.map(click, (1, 2))
        return receipts

    with ThreadPoolExecutor(2) as people, ThreadPoolExecutor(2) as one, ThreadPoolExecutor(2) as two:
        found = list(people.map(work, (made.first, made.second), (one, two)))
    for receipts in found:
        assert len(receipts) == 32 and sum(receipt.already for receipt in receipts) == 16
    assert len(rows(made, Label)) == 32 and len(rows(made, LabelGrade)) == 96
    assert check_records(made.engine) == []


KILLED = """
import sys, time
from sqlmodel import select
from lss_core.curation import labels
from lss_core.study.actors import actor_of
from lss_core.study.connection import open_database, reading
from tests.curated import graded

engine = open_database(sys.argv[1])
with reading(engine) as session:
    actor = actor_of(session, int(sys.argv[3]))
while task := labels.next_case(engine, actor, int(sys.argv[2])):
    labels.save_label_draft(engine, actor, task.token, change=task.change + 1, entry=graded(1))
    receipt = labels.submit_label(engine, actor, task.token, change=task.change + 2, revision=1, entry=graded(2))
    print(receipt.label_id, flush=True)
    time.sleep(0.05)
"""


def test_a_process_killed_while_it_labels_loses_nothing_that_was_acknowledged(planned):
    url = planned.engine.url.render_as_string(hide_password=False)
    arguments = [sys.executable, "-c", KILLED, url, str(planned.collection_id), str(planned.first.account_id)]
    acknowledged: list[int] = []
    for most in (3, 5):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        acknowledged += [int(process.stdout.readline()) for _ in range(most)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().split()]
        process.stdout.close()
        process.wait(30)
    stored = {row.id for row in rows(planned, Label)}
    assert set(acknowledged) <= stored and len(acknowledged) >= 8
    assert label(planned, planned.first) == 16 - len(stored)
    assert len(rows(planned, Label)) == 16 and len(rows(planned, LabelGrade)) == 48 and rows(planned, LabelDraft) == []
    assert check_records(planned.engine) == []


# Agreement


def test_agreement_is_counted_over_declared_grades_and_not_gradable_apart(planned):
    canal = iter([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 2, 3, 0, 0, 0, None])
    label_by_case(planned, planned.first, {case.case_id: graded(next(canal), 0, 0) for case in planned.cases()})
    canal = iter([0, 1, 1, 1, 2, 3, 3, 3, 0, 1, 2, 3, 0, 0, 0, 1])
    label_by_case(planned, planned.second, {case.case_id: graded(next(canal), 0, 0) for case in planned.cases()})
    central, recess = agreement.agreement_before_consensus(planned.engine, planned.pi, planned.collection_id)
    assert central.n == 15 and central.percent.value == pytest.approx(13 / 15)
    assert central.table[0][:2] == (5, 1) and central.table[4] == (0, 1, 0, 0, 0)
    # Unweighted by hand: observed 13/15, chance (6*5 + 3*4 + 3*2 + 3*4)/225
    chance = (6 * 5 + 3 * 4 + 3 * 2 + 3 * 4) / 225
    assert central.kappa.value == pytest.approx((13 / 15 - chance) / (1 - chance))
    assert central.quadratic.value > central.kappa.value
    assert recess.n == 32 and math.isnan(recess.kappa.value) and "one category" in recess.kappa.undefined


def label_by_case(made: Curated, who, entries: dict[int, Entry]) -> None:
    while (task := labels.next_case(made.engine, who, made.collection_id)) is not None:
        submit(made, who, task, entries[case_of(made, task.token)])
