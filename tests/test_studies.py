"""Studies from the draft to unblinding: what each act needs, who may do it, and what it leaves behind."""

import json
from dataclasses import replace

import pytest
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from lss_core.permissions import Permission, Role
from lss_core.study import audit, cases, lifecycle, people, studies
from lss_core.study.actors import check_in_study
from lss_core.study.connection import open_database, transaction
from lss_core.study.connection import reading as looking
from lss_core.study.database import (
    AuditEvent,
    CaseKind,
    ProtocolVersion,
    Signature,
    Study,
    StudyState,
    study_token,
)
from lss_core.study.desks import begin_session
from lss_core.study.lifecycle import FIXED_BY_READING, amend, close, lock, pause, resume, unblind
from lss_core.study.protocol import AnalysisPlan, Design, OrderRule, Protocol, Revisit, digest
from lss_core.study.readiness import locked_facts, what_is_missing
from lss_core.vocabulary import Refusal, Region
from tests.planted import AID, NOON, crossover, make_draft, make_study, new_case, read_session

PI = {"typed_name": "Petra Investigator", "now": NOON}
MEMBERS = ("pi", "coordinator", "annotator", "reader", "outsider")


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


def state(engine, made) -> StudyState:
    with looking(engine) as session:
        return StudyState(session.get_one(Study, made.study_id).state)


def lines(engine, action: str) -> list[AuditEvent]:
    with looking(engine) as session:
        return list(session.exec(select(AuditEvent).where(AuditEvent.action == action).order_by(col(AuditEvent.id))))


# Who may do what


ACTS = {
    "study_of": ("pi coordinator", lambda e, a, s: studies.study_of(e, a, s)),
    "protocol_of": ("pi coordinator", lambda e, a, s: studies.protocol_of(e, a, s)),
    "protocol_versions": ("pi coordinator", lambda e, a, s: studies.protocol_versions(e, a, s)),
    "what_is_missing": ("pi coordinator", lambda e, a, s: what_is_missing(e, a, s)),
    "cases_of": ("pi coordinator", lambda e, a, s: cases.cases_of(e, a, s)),
    "save_protocol": ("pi coordinator", lambda e, a, s: studies.save_protocol(e, a, s, Protocol(pause_s=3))),
    "rename": ("pi coordinator", lambda e, a, s: studies.rename(e, a, s, title="New")),
    "add_case": ("pi coordinator", lambda e, a, s: cases.add_case(e, a, s, new_case(50, CaseKind.TEST))),
    "remove_case": ("pi coordinator", lambda e, a, s: cases.remove_case(e, a, s, 1)),
    "set_reference": ("pi coordinator", lambda e, a, s: cases.set_reference(
        e, a, s, 1, {Region.CENTRAL_CANAL: cases.NewReference(2)}, source="x", reason="y")),
    "add_outputs": ("pi coordinator", lambda e, a, s: cases.add_outputs(
        e, a, s, {1: [cases.NewOutput("v9", "0" * 64, Region.CENTRAL_CANAL, 1)]})),
    "lock": ("pi", lambda e, a, s: lock(e, a, s, typed_name="Petra Investigator", meaning="x")),
    "amend": ("pi", lambda e, a, s: amend(e, a, s, Protocol(pause_s=9), reason="x", typed_name="Petra Investigator")),
    "pause": ("pi coordinator", lambda e, a, s: pause(e, a, s, reason="x")),
    "resume": ("pi coordinator", lambda e, a, s: resume(e, a, s, reason="x")),
    "close": ("pi", lambda e, a, s: close(e, a, s, reason="x")),
    "unblind": ("pi", lambda e, a, s: unblind(e, a, s, reason="x")),
}
BEFORE = {"amend": ["lock"], "pause": ["lock"], "resume": ["lock", "pause"], "close": ["lock"],
          "unblind": ["lock", "close"]}


@pytest.mark.parametrize("name", ACTS)
def test_only_the_roles_that_may_do_an_act_can(engine, name):
    made = make_draft(engine, test=2)
    for earlier in BEFORE.get(name, []):
        ACTS[earlier][1](engine, made.pi, made.study_id)
    allowed, act = ACTS[name]
    for member in MEMBERS:
        if member not in allowed.split():
            with pytest.raises(Refusal, match="no role in this study that permits"):
                act(engine, getattr(made, member), made.study_id)
    act(engine, getattr(made, allowed.split()[-1]), made.study_id)


def test_only_who_may_create_studies_creates_one(engine):
    made = make_draft(engine)
    with pytest.raises(Refusal, match="permission to create study"):
        studies.create(engine, made.reader, title="Mine")
    with pytest.raises(Refusal, match="needs a title"):
        studies.create(engine, made.pi, title="  ")
    study = studies.create(engine, made.outsider, title=" Mine ", now=NOON)
    assert study.title == "Mine"
    assert [each.roles for each in studies.my_studies(engine, made.outsider)] == [frozenset({Role.PI})]


def test_an_unknown_study_is_refused_like_one_without_a_role(engine):
    made = make_draft(engine)
    sentences = []
    for study_id in (made.study_id, 98765):
        with pytest.raises(Refusal) as error:
            studies.study_of(engine, made.outsider, study_id)
        sentences.append(str(error.value))
    assert sentences[0] == sentences[1]


def test_a_disabled_pi_can_do_nothing(engine):
    made = make_draft(engine)
    people.disable(engine, made.pi.email, reason="left")
    with pytest.raises(Refusal), looking(engine) as session:
        check_in_study(session, made.pi, made.study_id, Permission.MANAGE_STUDY)
    with pytest.raises(Refusal):
        studies.create(engine, made.pi, title="x")


def test_my_studies_counts_cases_and_readers(engine):
    made = make_draft(engine, test=3, training=2, readers=2)
    mine = studies.my_studies(engine, made.pi)[0]
    assert (mine.test_cases, mine.training_cases, mine.readers, mine.state) == (3, 2, 2, StudyState.DRAFT)
    assert studies.my_studies(engine, made.reader)[0].roles == frozenset({Role.READER})
    assert studies.study_of(engine, made.pi, made.study_id) == mine


# The draft


def test_a_seed_is_drawn_for_each_study_and_kept(engine):
    made = make_draft(engine)
    first, version = studies.protocol_of(engine, made.pi, made.study_id)
    assert len(first.seed) == 32 and version.number == 1
    other = studies.create(engine, made.pi, title="Other")
    assert studies.protocol_of(engine, made.pi, other.id)[0].seed != first.seed
    studies.save_protocol(engine, made.pi, made.study_id, Protocol(repeats=1))
    assert studies.protocol_of(engine, made.pi, made.study_id)[0] == Protocol(repeats=1, seed=first.seed)
    line = lines(engine, "save protocol")[0]
    assert (json.loads(line.old), json.loads(line.new)) == ({"repeats": 0}, {"repeats": 1})


def test_no_command_takes_the_name_of_a_study_for_an_option():
    names = {study_token() for _ in range(500)}
    assert len(names) == 500
    assert all(len(name) == 24 and name.isalnum() for name in names)


def test_renaming_is_noted(engine):
    made = make_draft(engine)
    studies.rename(engine, made.pi, made.study_id, title="Recess study")
    with pytest.raises(Refusal, match="needs a title"):
        studies.rename(engine, made.pi, made.study_id, title="")
    line = lines(engine, "rename study")[0]
    assert (json.loads(line.old), json.loads(line.new)) == ("Canal study", "Recess study")


# The lock


def test_a_lock_freezes_protocol_and_cases_under_hash_and_signature(engine):
    made = make_draft(engine, test=2)
    version = lock(engine, made.pi, made.study_id, meaning="I approve", **PI)
    protocol, stored = studies.protocol_of(engine, made.pi, made.study_id)
    assert stored == version and state(engine, made) is StudyState.OPEN and stored.locked_at == NOON
    with looking(engine) as session:
        assert version.sha256 == digest(protocol, locked_facts(session, made.study_id))
        signature = session.exec(select(Signature)).one()
    assert (signature.typed_name, signature.meaning, signature.what, signature.sha256, signature.at) == (
        "Petra Investigator", "I approve", "protocol 1", version.sha256, NOON)
    assert json.loads(lines(engine, "lock protocol")[0].new)["sha256"] == version.sha256
    for act in ("save_protocol", "add_case", "remove_case", "set_reference"):
        with pytest.raises(Refusal, match="locked"):
            ACTS[act][1](engine, made.pi, made.study_id)
    with pytest.raises(Refusal, match="locked already"):
        lock(engine, made.pi, made.study_id, meaning="again", **PI)
    assert audit.verify(engine) == []


def test_a_lock_needs_a_valid_signature(engine):
    made = make_draft(engine)
    with pytest.raises(Refusal, match="Petra Investigator"):
        lock(engine, made.pi, made.study_id, typed_name="P. I.", meaning="x")
    with pytest.raises(Refusal, match="needs its meaning"):
        lock(engine, made.pi, made.study_id, typed_name="Petra Investigator", meaning="")
    assert state(engine, made) is StudyState.DRAFT


def missing_of(engine, made) -> str:
    sentences = " ".join(what_is_missing(engine, made.coordinator, made.study_id))
    if sentences:
        with pytest.raises(Refusal) as error:
            lock(engine, made.pi, made.study_id, meaning="x", **PI)
        assert str(error.value) == sentences
    return sentences


def test_what_the_lock_lacks_is_named(engine):
    empty = make_draft(engine, test=0, readers=0)
    assert "no test case" in missing_of(engine, empty) and "no reader" in missing_of(engine, empty)


@pytest.mark.parametrize(("protocol", "sentence"), [
    (Protocol(repeats=3), "3 hidden repeats do not fit among 4 test cases; at most 2"),
    (Protocol(versions=("v7",)), "Model v7, to be compared, has not graded the cases 1, 2, 3, 4"),
    (Protocol(design=Design.AIDED, aid=replace(AID, weights_sha256="0" * 64)), "which is the aid, has not graded"),
])
def test_a_protocol_that_the_cases_do_not_bear_out_is_not_locked(engine, protocol, sentence):
    assert sentence in missing_of(engine, make_draft(engine, protocol=protocol))


def test_a_case_without_reference_is_named(engine):
    made = make_draft(engine, test=2)
    bare = new_case(3, CaseKind.TEST)
    partly = {Region.CENTRAL_CANAL: cases.NewReference(1)}
    cases.add_case(engine, made.pi, made.study_id, replace(bare, reference=partly))
    assert "cases 3 lack a reference" in missing_of(engine, made)
    studies.save_protocol(engine, made.pi, made.study_id, Protocol(regions=(Region.CENTRAL_CANAL,)))
    assert missing_of(engine, made) == ""


def test_training_cases_need_a_reference_only_where_it_is_shown(engine):
    made = make_draft(engine, test=2)
    cases.add_case(engine, made.pi, made.study_id, replace(new_case(1, CaseKind.TRAINING), reference={}))
    assert "cases 3 lack a reference" in missing_of(engine, made)
    studies.save_protocol(engine, made.pi, made.study_id, Protocol(training_feedback=False))
    assert missing_of(engine, made) == ""


def test_a_training_case_of_a_test_patient_is_named(engine):
    made = make_draft(engine, test=2)
    shared = replace(new_case(9, CaseKind.TRAINING), patient=new_case(1, CaseKind.TEST).patient)
    cases.add_case(engine, made.pi, made.study_id, shared)
    assert "The training cases 3 are of patients who are in the test set too" in missing_of(engine, made)


def test_a_missing_heat_map_is_named(engine):
    made = make_draft(engine, test=1, protocol=crossover())
    outputs = [replace(each, heat_map_key="") for each in new_case(2, CaseKind.TEST).outputs]
    cases.add_case(engine, made.pi, made.study_id, replace(new_case(2, CaseKind.TEST), outputs=outputs))
    assert "3 outputs of model planted-version have no heat map" in missing_of(engine, made)
    studies.save_protocol(engine, made.pi, made.study_id, crossover(aid=replace(AID, heat_map=False)))
    assert missing_of(engine, made) == ""


def test_a_compared_version_has_one_set_of_weights(engine):
    made = make_draft(engine, test=1, protocol=Protocol(versions=(AID.version,)))
    other = [replace(each, weights_sha256="1" * 64) for each in new_case(2, CaseKind.TEST).outputs]
    cases.add_case(engine, made.pi, made.study_id, replace(new_case(2, CaseKind.TEST), outputs=other))
    assert "graded with 2 different weights" in missing_of(engine, made)


# Amendments


def test_an_amendment_is_a_new_locked_version_with_a_reason(engine):
    made = make_study(engine)
    before, _ = studies.protocol_of(engine, made.pi, made.study_id)
    read_session(engine, made.reader, made.study_id)
    plan = AnalysisPlan(cut=1)
    amend(engine, made.pi, made.study_id, Protocol(analysis=plan, pause_s=2.0), reason="reviewer", **PI)
    first, second = studies.protocol_versions(engine, made.pi, made.study_id)
    assert (second.number, second.reason, second.locked_at) == (2, "reviewer", NOON) and first.sha256 != second.sha256
    after, _ = studies.protocol_of(engine, made.pi, made.study_id)
    assert after == replace(before, analysis=plan, pause_s=2.0)
    line = lines(engine, "amend protocol")[0]
    assert json.loads(line.old)["pause_s"] == 1.0 and json.loads(line.new)["analysis"]["cut"] == 1
    with looking(engine) as session:
        assert [each.what for each in session.exec(select(Signature).order_by(col(Signature.id)))] == [
            "protocol 1", "session 1", "protocol 2"]


CHANGED = {
    "scheme": "another", "regions": (Region.CENTRAL_CANAL,), "ask_confidence": False, "sessions": 2, "repeats": 1,
    "order": OrderRule.PATIENT_BLOCKS, "seed": "another", "revisit": Revisit.UNTIL_SIGNED, "training_feedback": False,
    "slices_around_mm": 3.0, "design": Design.AIDED, "aid": AID,
}


@pytest.mark.parametrize("name", sorted(FIXED_BY_READING))
def test_what_readings_rest_on_is_not_amended_once_one_began(engine, name):
    made = make_study(engine)
    change = {name: CHANGED[name]} if name not in ("design", "aid") else {"design": Design.AIDED, "aid": AID}
    protocol = replace(studies.protocol_of(engine, made.pi, made.study_id)[0], **change)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    with pytest.raises(Refusal, match=f"Reading has begun, so .*{name.replace('_', ' ')}"):
        amend(engine, made.pi, made.study_id, protocol, reason="x", **PI)


def test_everything_may_be_amended_before_the_first_reading(engine):
    made = make_study(engine)
    amend(engine, made.pi, made.study_id, crossover(repeats=2), reason="x", **PI)
    assert studies.protocol_of(engine, made.pi, made.study_id)[0] == crossover(repeats=2)


def test_an_amendment_without_change_reason_or_state_is_refused(engine):
    made = make_draft(engine)
    with pytest.raises(Refusal, match="not locked yet"):
        amend(engine, made.pi, made.study_id, Protocol(), reason="x", **PI)
    lock(engine, made.pi, made.study_id, meaning="x", **PI)
    for protocol, reason, sentence in ((Protocol(), "x", "Nothing is changed"), (Protocol(pause_s=2), " ", "a reason"),
                                       (Protocol(repeats=9), "x", "do not fit")):
        with pytest.raises(Refusal, match=sentence):
            amend(engine, made.pi, made.study_id, protocol, reason=reason, **PI)
    close(engine, made.pi, made.study_id, reason="x")
    unblind(engine, made.pi, made.study_id, reason="x")
    with pytest.raises(Refusal, match="unblinded"):
        amend(engine, made.pi, made.study_id, Protocol(pause_s=2), reason="x", **PI)


def test_a_locked_protocol_is_kept_by_the_database_itself(engine):
    made = make_study(engine, test=1)
    with pytest.raises(DBAPIError), transaction(engine) as session:
        session.exec(select(ProtocolVersion).where(ProtocolVersion.study_id == made.study_id)).one().content = "{}"


# States


ALLOWED = {
    StudyState.OPEN: {pause, close}, StudyState.PAUSED: {resume, close}, StudyState.CLOSED: {unblind},
    StudyState.UNBLINDED: set(),
}


def test_a_study_moves_forward_by_reasons_alone(engine):
    made = make_study(engine, readers=2)
    read_session(engine, made.readers[1], made.study_id)
    for act in (pause, resume, close, unblind, None):
        for other in {pause, resume, close, unblind} - ALLOWED[state(engine, made)]:
            with pytest.raises(Refusal, match="it must be"):
                other(engine, made.pi, made.study_id, reason="x")
        if act is not None:
            with pytest.raises(Refusal, match="needs a reason"):
                act(engine, made.pi, made.study_id, reason=" ")
            act(engine, made.pi, made.study_id, reason="because", now=NOON)
    assert state(engine, made) is StudyState.UNBLINDED
    line = lines(engine, "close study")[0]
    assert (line.reason, json.loads(line.new)["unfinished"]) == ("because", ["reader1@example.org"])
    assert lines(engine, "unblind study")[0].actor == made.pi.email


def test_a_draft_is_neither_closed_nor_unblinded(engine):
    made = make_draft(engine)
    for act in (pause, resume, close, unblind):
        with pytest.raises(Refusal, match="The study is draft"):
            act(engine, made.pi, made.study_id, reason="x")


def test_every_act_of_a_study_leaves_its_line_in_the_log(engine):
    made = make_study(engine, test=1)
    read_session(engine, made.reader, made.study_id)
    lifecycle.close(engine, made.pi, made.study_id, reason="x")
    with looking(engine) as session:
        actions = session.exec(select(AuditEvent.action).where(AuditEvent.study_id == made.study_id)).all()
    assert [each for each in actions if each != "invite member"] == [
        "create study", "add cases", "lock protocol", "begin session", "submit answer", "sign session", "close study"]
