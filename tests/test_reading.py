"""The reader's side: order, blinding, drafts, answers, washout, arms, on SQLite and PostgreSQL."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from lss_core.permissions import Role
from lss_core.study import audit, lifecycle, people, reading
from lss_core.study.connection import open_database, transaction
from lss_core.study.connection import reading as looking
from lss_core.study.database import Answer, Arm, AuditEvent, CaseKind, Draft, Membership, ReadingItem, ReadingSession
from lss_core.study.desks import Stage, begin_session, desk, desks, opens_at
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.finishing import own_result, sign_session
from lss_core.study.places import AlreadySubmitted, Denied
from lss_core.study.protocol import Design, Protocol, Revisit
from lss_core.study.reading import aid, case_images, current_case, feedback, next_scan
from lss_core.study.revisiting import answered_items, earlier_cases, go_back, reopen, return_forward
from lss_core.study.submitting import save_draft, submit, touch
from lss_core.vocabulary import Refusal, Region
from tests.planted import (
    NOON,
    PLANTED,
    add_reader,
    answer_current,
    complete_entry,
    crossover,
    make_draft,
    make_study,
    person,
    read_session,
)

CANAL = Region.CENTRAL_CANAL
SECRET_TABLES = ("caseorigin", "reference", "modeloutput")


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def rows(engine, table):
    with looking(engine) as session:
        return session.exec(select(table)).all()


def refusals(engine) -> list[str]:
    """The actions of all refusals in the audit log."""
    with looking(engine) as session:
        actions = session.exec(select(AuditEvent.action).order_by(col(AuditEvent.id)))
        return [action for action in actions if action.startswith("refused")]


# Stages


def test_a_reader_is_led_from_experience_to_the_signature(engine):
    made = make_draft(engine, test=2, readers=0)
    people.invite(engine, made.pi, made.study_id, email="new@example.org", role=Role.READER, now=NOON)
    new = person(engine, "new@example.org")
    assert desk(engine, new, made.study_id, now=NOON).stage is Stage.PREPARING
    lifecycle.lock(engine, made.pi, made.study_id, typed_name="Petra Investigator", meaning="go", now=NOON)
    assert desk(engine, new, made.study_id, now=NOON).stage is Stage.EXPERIENCE
    with pytest.raises(Refusal, match="State your specialty"):
        begin_session(engine, new, made.study_id, now=NOON)
    people.state_experience(engine, new, name="New Reader", specialty="radiology", years_of_experience=3,
                            lumbar_cts_a_year=50, now=NOON)
    assert desk(engine, new, made.study_id, now=NOON).stage is Stage.INSTRUCTIONS
    begun = begin_session(engine, new, made.study_id, now=NOON)
    assert (begun.stage, begun.session_number, begun.done, begun.total) == (Stage.CASE, 1, 0, 2)
    answer_current(engine, new, made.study_id)
    assert desk(engine, new, made.study_id, now=NOON).done == 1
    with pytest.raises(Refusal, match="still to be submitted"):
        sign_session(engine, new, made.study_id, typed_name="New Reader", meaning="read", now=NOON)
    answer_current(engine, new, made.study_id)
    assert desk(engine, new, made.study_id, now=NOON).stage is Stage.SIGN
    with pytest.raises(Refusal, match="as it stands in your account: New Reader"):
        sign_session(engine, new, made.study_id, typed_name="Somebody Else", meaning="read", now=NOON)
    with pytest.raises(Refusal, match="needs its meaning"):
        sign_session(engine, new, made.study_id, typed_name="New Reader", meaning=" ", now=NOON)
    signature = sign_session(engine, new, made.study_id, typed_name=" new  READER ", meaning="read", now=NOON)
    assert (signature.what, len(signature.sha256)) == ("session 1", 64)
    assert desk(engine, new, made.study_id, now=NOON).stage is Stage.DONE
    with pytest.raises(Refusal, match="signed all sessions"):
        begin_session(engine, new, made.study_id, now=NOON)
    with pytest.raises(Refusal, match="no session to sign"):
        sign_session(engine, new, made.study_id, typed_name="New Reader", meaning="read", now=NOON)


def test_pausing_and_closing_stop_the_reading(engine):
    made = make_study(engine, test=2)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    case = current_case(engine, made.reader, made.study_id, now=NOON)
    lifecycle.pause(engine, made.pi, made.study_id, reason="holiday", now=NOON)
    assert desk(engine, made.reader, made.study_id).stage is Stage.PAUSED
    assert current_case(engine, made.reader, made.study_id) is None
    assert next_scan(engine, made.reader, made.study_id) is None
    assert save_draft(engine, made.reader, case.token, change=1, entry=Entry(comment="kept"), now=NOON) == 1
    for act in (lambda: submit(engine, made.reader, case.token, change=1, entry=complete_entry(case), revision=1),
                lambda: case_images(engine, made.reader, case.token), lambda: aid(engine, made.reader, case.token)):
        with pytest.raises(Refusal, match="paused"):
            act()
    lifecycle.resume(engine, made.pi, made.study_id, reason="back", now=NOON)
    assert current_case(engine, made.reader, made.study_id).entry.comment == "kept"
    lifecycle.close(engine, made.pi, made.study_id, reason="end", now=NOON)
    assert desk(engine, made.reader, made.study_id).stage is Stage.CLOSED
    for act in (lambda: submit(engine, made.reader, case.token, change=1, entry=complete_entry(case), revision=1),
                lambda: save_draft(engine, made.reader, case.token, change=2, entry=Entry()),
                lambda: begin_session(engine, made.reader, made.study_id)):
        with pytest.raises(Refusal, match="not open for reading"):
            act()
    assert rows(engine, Answer) == [] and refusals(engine) == []


def test_desks_lists_the_studies_in_which_one_reads(engine):
    made = make_study(engine, test=2)
    assert [each.study_id for each in desks(engine, made.reader)] == [made.study_id]
    assert desks(engine, made.pi) == () == desks(engine, made.outsider)


# Order and sessions


def test_beginning_twice_draws_one_order(engine):
    made = make_study(engine, test=6, protocol=Protocol(repeats=2))
    first = begin_session(engine, made.reader, made.study_id, now=NOON)
    stored = rows(engine, ReadingItem)
    assert begin_session(engine, made.reader, made.study_id, now=after(60)) == first
    assert rows(engine, ReadingItem) == stored and len(stored) == 8 and sum(item.is_repeat for item in stored) == 2


def test_two_tabs_that_begin_at_once_draw_one_order(engine):
    made = make_study(engine, test=4)
    in_threads(4, lambda _: begin_session(engine, made.reader, made.study_id, now=NOON))
    assert len(rows(engine, ReadingSession)) == 1 and len(rows(engine, ReadingItem)) == 4


def test_cases_come_in_the_stored_order_after_a_restart_too(engine, database):
    made = make_study(engine, test=5)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    stored = [item.token for item in sorted(rows(engine, ReadingItem), key=lambda item: item.position)]
    read = []
    for _ in range(5):
        again = open_database(database)
        read.append(answer_current(again, made.reader, made.study_id).token)
        again.dispose()
    assert read == stored


def test_orders_of_two_readers_differ(engine):
    made = make_study(engine, test=8, readers=2)
    for reader in made.readers:
        begin_session(engine, reader, made.study_id, now=NOON)
    by_session = {}
    for item in sorted(rows(engine, ReadingItem), key=lambda item: item.position):
        by_session.setdefault(item.session_id, []).append(item.case_id)
    assert len(by_session) == 2 and len(set(map(tuple, by_session.values()))) == 2


def test_training_is_counted_apart_and_comes_first(engine):
    made = make_study(engine, test=3, training=2)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    shown = []
    while case := answer_current(engine, made.reader, made.study_id):
        shown.append((case.kind, case.number, case.total))
    assert shown == [(CaseKind.TRAINING, 1, 2), (CaseKind.TRAINING, 2, 2), (CaseKind.TEST, 1, 3), (CaseKind.TEST, 2, 3),
                     (CaseKind.TEST, 3, 3)]


def test_progress_counts_cases_not_training(engine):
    made = make_study(engine, test=3, training=1)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    answer_current(engine, made.reader, made.study_id)
    assert (desk(engine, made.reader, made.study_id).done, desk(engine, made.reader, made.study_id).total) == (0, 3)
    answer_current(engine, made.reader, made.study_id)
    assert desk(engine, made.reader, made.study_id).done == 1


def test_the_second_session_is_refused_on_day_27_and_open_on_day_28(engine):
    made = make_study(engine, test=2, protocol=crossover())
    read_session(engine, made.reader, made.study_id)                    # signed on 2 March 2026, 12:01 UTC
    for refused in (NOON + timedelta(days=1), NOON + timedelta(days=27), datetime(2026, 3, 29, 23, 59, 59, tzinfo=UTC)):
        assert desk(engine, made.reader, made.study_id, now=refused).stage is Stage.WAITING
        with pytest.raises(Refusal, match="Session 2 opens on 30 March 2026"):
            begin_session(engine, made.reader, made.study_id, now=refused)
        assert current_case(engine, made.reader, made.study_id, now=refused) is None
    opened = datetime(2026, 3, 30, tzinfo=UTC)
    assert desk(engine, made.reader, made.study_id, now=opened).opens_at == opened
    assert desk(engine, made.reader, made.study_id, now=opened).stage is Stage.INSTRUCTIONS
    begun = begin_session(engine, made.reader, made.study_id, now=opened)
    assert (begun.session_number, begun.done, begun.total) == (2, 0, 2)


def test_the_washout_counts_days_of_utc_wherever_the_clock_stands():
    new_york, auckland = timezone(timedelta(hours=-5)), timezone(timedelta(hours=13))
    assert opens_at(datetime(2026, 3, 1, 22, 0, tzinfo=new_york), 28) == datetime(2026, 3, 30, tzinfo=UTC)
    assert opens_at(datetime(2026, 3, 3, 1, 0, tzinfo=auckland), 28) == datetime(2026, 3, 30, tzinfo=UTC)
    assert opens_at(NOON, 0) <= NOON


def test_the_washout_takes_any_time_zone(engine):
    made = make_study(engine, test=1, protocol=crossover())
    read_session(engine, made.reader, made.study_id)
    auckland = timezone(timedelta(hours=13))
    with pytest.raises(Refusal, match="opens on"):                      # 30 March there, the 29th in UTC
        begin_session(engine, made.reader, made.study_id, now=datetime(2026, 3, 30, 12, 59, tzinfo=auckland))
    begin_session(engine, made.reader, made.study_id, now=datetime(2026, 3, 30, 13, 0, tzinfo=auckland))


def test_crossover_balances_each_level_of_experience_and_swaps_in_the_second_session(engine):
    """Reader n has n years: 1 to 4 are junior, 5 to 8 intermediate."""
    made = make_study(engine, test=2, readers=8, protocol=crossover(washout_days=0))
    arms = {}
    for reader in (0, 4, 1, 2, 5, 3, 6, 7):      # the levels begin in turns, and not evenly
        arms[reader] = [
            {case.arm for case in read_session(engine, made.readers[reader], made.study_id)} for _ in range(2)
        ]
    for level in (range(4), range(4, 8)):
        assert sorted(arms[reader] == [{Arm.AIDED}, {Arm.UNAIDED}] for reader in level) == [False, False, True, True]
    assert all(first != second for first, second in arms.values())


def test_a_reader_who_grows_more_experienced_between_the_sessions_still_swaps_the_arms(engine):
    made = make_study(engine, test=2, readers=2, protocol=crossover(washout_days=0))
    first = [{case.arm for case in read_session(engine, reader, made.study_id)} for reader in made.readers]
    for reader in made.readers:
        people.state_experience(engine, reader, name=reader.name, specialty="radiology", years_of_experience=20,
                                lumbar_cts_a_year=100, now=NOON)
    second = [{case.arm for case in read_session(engine, reader, made.study_id)} for reader in made.readers]
    assert first == second[::-1] == [{Arm.UNAIDED}, {Arm.AIDED}]


# Blinding


def everything_a_reader_gets(engine, made) -> str:
    """The text of every value and error that a reader's calls give over a whole session with training."""
    seen = [desks(engine, made.reader), begin_session(engine, made.reader, made.study_id, now=NOON)]
    while case := current_case(engine, made.reader, made.study_id, now=NOON):
        seen += [case, dataclasses.asdict(case), next_scan(engine, made.reader, made.study_id),
                 case_images(engine, made.reader, case.token), earlier_cases(engine, made.reader, made.study_id)]
        for refused in (lambda: aid(engine, made.reader, case.token), lambda: feedback(engine, made.reader, case.token),
                        lambda: submit(engine, made.reader, case.token, change=0, entry=Entry(), revision=1),
                        lambda: own_result(engine, made.reader, made.study_id)):
            with pytest.raises(Refusal) as error:
                refused()
            seen.append(str(error.value))
        seen += [save_draft(engine, made.reader, case.token, change=1, entry=complete_entry(case), now=NOON),
                 touch(engine, made.reader, case.token, now=NOON),
                 submit(engine, made.reader, case.token, change=1, entry=complete_entry(case), revision=1, now=NOON)]
    seen.append(sign_session(engine, made.reader, made.study_id, typed_name="Reader 1", meaning="read", now=NOON))
    seen.append(desk(engine, made.reader, made.study_id))
    return "\n".join(map(repr, seen))


def test_nothing_that_a_reader_gets_holds_what_was_planted(engine):
    made = make_study(engine, test=4, training=1, readers=2)
    received = everything_a_reader_gets(engine, made)
    assert "scan-test-1" in received                                    # the search finds what is there
    for what, planted in PLANTED.items():
        assert planted not in received, what
    assert made.readers[1].email not in received


def test_the_unaided_reading_never_asks_a_table_that_holds_the_truth(engine):
    made = make_study(engine, test=4, readers=1)
    asked = []
    event.listen(engine, "before_cursor_execute", lambda *call: asked.append(call[2].lower()))
    everything_a_reader_gets(engine, made)
    assert len(asked) > 100
    assert [each for each in asked if any(table in each for table in SECRET_TABLES)] == []


def test_a_blinded_case_has_no_field_for_the_truth():
    names = {each.name for each in dataclasses.fields(reading.BlindedCase)}
    assert names == {"token", "number", "total", "kind", "level", "arm", "regions", "ask_confidence", "slice_index",
                     "slices_around_mm", "entry", "revision", "change", "may_go_back", "scan_key"}


def test_a_desk_tells_neither_seed_nor_repeats_nor_versions(engine):
    made = make_study(engine, test=4, protocol=Protocol(seed="PLANTEDSEED", repeats=2, versions=("planted-version",)))
    shown = repr(desk(engine, made.reader, made.study_id))
    assert "PLANTEDSEED" not in shown and "repeat" not in shown and "planted-version" not in shown


def test_tokens_are_random_and_another_one_for_each_reader(engine):
    made = make_study(engine, test=6, readers=2)
    for reader in made.readers:
        begin_session(engine, reader, made.study_id, now=NOON)
    tokens = [item.token for item in rows(engine, ReadingItem)]
    assert len(set(tokens)) == 12 and min(map(len, tokens)) >= 20


@pytest.mark.parametrize("whose", ["another reader's", "unknown"])
def test_a_foreign_token_is_refused_alike_and_noted(engine, whose):
    made = make_study(engine, test=2, readers=2)
    for reader in made.readers:
        begin_session(engine, reader, made.study_id, now=NOON)
    other = current_case(engine, made.readers[1], made.study_id, now=NOON)
    token = other.token if whose != "unknown" else "guessed"
    acts = {
        "images": lambda: case_images(engine, made.reader, token), "aid": lambda: aid(engine, made.reader, token),
        "feedback": lambda: feedback(engine, made.reader, token), "touch": lambda: touch(engine, made.reader, token),
        "draft": lambda: save_draft(engine, made.reader, token, change=9, entry=Entry()),
        "submit": lambda: submit(engine, made.reader, token, change=9, entry=complete_entry(other), revision=1),
        "go back": lambda: go_back(engine, made.reader, token),
        "return forward": lambda: return_forward(engine, made.reader, token),
    }
    for act in acts.values():
        with pytest.raises(Denied, match=r"^This case is not open to you\.$"):
            act()
    assert refusals(engine) == [f"refused: {name}" for name in acts]
    assert rows(engine, Answer) == [] and rows(engine, Draft)[0].change == 0


@pytest.mark.parametrize("who", ["pi", "coordinator", "annotator", "outsider"])
def test_who_is_no_reader_reads_nothing(engine, who):
    made = make_study(engine, test=2)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    case = current_case(engine, made.reader, made.study_id, now=NOON)
    actor = getattr(made, who)
    for act in (
        lambda: desk(engine, actor, made.study_id), lambda: begin_session(engine, actor, made.study_id),
        lambda: current_case(engine, actor, made.study_id), lambda: next_scan(engine, actor, made.study_id),
        lambda: earlier_cases(engine, actor, made.study_id), lambda: own_result(engine, actor, made.study_id),
        lambda: sign_session(engine, actor, made.study_id, typed_name="x", meaning="y"),
        lambda: case_images(engine, actor, case.token), lambda: touch(engine, actor, case.token),
    ):
        with pytest.raises(Refusal):
            act()


def test_who_once_set_the_truth_cannot_read_although_a_reader_now(engine):
    made = make_study(engine, test=2)
    people.remove_member(engine, made.pi, made.study_id, account_id=made.annotator.account_id, role=Role.ANNOTATOR,
                         reason="x", now=NOON)
    with transaction(engine) as session:                                # past the invitation's own refusal
        session.add(Membership(study_id=made.study_id, account_id=made.annotator.account_id, role=Role.READER,
                               invited_at=NOON))
    people.state_experience(engine, made.annotator, name="A", specialty="s", years_of_experience=1, lumbar_cts_a_year=1)
    with pytest.raises(Refusal, match="is or was annotator"):
        begin_session(engine, made.annotator, made.study_id, now=NOON)


def test_a_removed_reader_is_denied(engine):
    made = make_study(engine, test=2)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    case = current_case(engine, made.reader, made.study_id, now=NOON)
    people.remove_member(engine, made.pi, made.study_id, account_id=made.reader.account_id, role=Role.READER,
                         reason="left", now=NOON)
    with pytest.raises(Denied):
        submit(engine, made.reader, case.token, change=1, entry=complete_entry(case), revision=1)
    assert desks(engine, made.reader) == ()


def test_images_are_given_of_the_current_and_the_next_case_alone(engine):
    made = make_study(engine, test=4)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    tokens = [item.token for item in sorted(rows(engine, ReadingItem), key=lambda item: item.position)]
    current = current_case(engine, made.reader, made.study_id, now=NOON)
    coming = next_scan(engine, made.reader, made.study_id)
    assert (current.token, coming.token) == (tokens[0], tokens[1])
    assert case_images(engine, made.reader, tokens[0]).scan_key == current.scan_key
    assert case_images(engine, made.reader, tokens[1]) == coming
    answer_current(engine, made.reader, made.study_id)
    for token in (tokens[0], tokens[3]):
        with pytest.raises(Denied):
            case_images(engine, made.reader, token)
    assert refusals(engine) == ["refused: images"] * 2
    while answer_current(engine, made.reader, made.study_id):
        pass
    assert next_scan(engine, made.reader, made.study_id) is None


# Arms


def test_aid_is_shown_for_the_current_case_of_an_aided_arm_alone(engine):
    made = make_study(engine, test=3, protocol=crossover(Design.UNAIDED_THEN_AIDED, washout_days=0))
    begin_session(engine, made.reader, made.study_id, now=NOON)
    case = current_case(engine, made.reader, made.study_id, now=NOON)
    with pytest.raises(Denied, match="not shown"):
        aid(engine, made.reader, case.token, now=NOON)
    assert refusals(engine) == ["refused: aid"]
    read_session(engine, made.reader, made.study_id)
    begin_session(engine, made.reader, made.study_id, now=after(1000))
    case = current_case(engine, made.reader, made.study_id, now=after(1000))
    shown = aid(engine, made.reader, case.token)
    assert (shown.version, set(shown.regions)) == ("planted-version", set(Region))
    assert shown.regions[CANAL].grade == 3 and shown.regions[CANAL].probabilities == (0.0, 0.0625, 0.0625, 0.875)
    assert shown.regions[CANAL].box.as_list() == [10, 20, 30, 40]
    assert shown.regions[CANAL].heat_map_key == PLANTED["heat_map"]
    coming = next_scan(engine, made.reader, made.study_id)
    with pytest.raises(Denied):
        aid(engine, made.reader, coming.token)
    assert "PLANTEDPATIENT" not in repr(shown) and str(PLANTED["measure"]) not in repr(shown)


def test_aid_holds_no_heat_map_where_the_protocol_shows_none(engine):
    protocol = crossover(Design.AIDED, sessions=1)
    protocol = replace(protocol, aid=replace(protocol.aid, heat_map=False))
    made = make_study(engine, test=1, protocol=protocol)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    case = current_case(engine, made.reader, made.study_id, now=NOON)
    assert all(region.heat_map_key is None for region in aid(engine, made.reader, case.token).regions.values())


def test_feedback_is_given_after_a_training_case_was_submitted_alone(engine):
    made = make_study(engine, test=1, training=1)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    training = current_case(engine, made.reader, made.study_id, now=NOON)
    with pytest.raises(Denied):
        feedback(engine, made.reader, training.token, now=NOON)
    answer_current(engine, made.reader, made.study_id, grade=2)
    shown = feedback(engine, made.reader, training.token, now=NOON)
    assert (shown[CANAL].own, shown[CANAL].reference, shown[CANAL].measure) == (2, 1, 77.125)
    assert case_images(engine, made.reader, training.token)             # beside its feedback
    test_case = answer_current(engine, made.reader, made.study_id)
    with pytest.raises(Denied):
        feedback(engine, made.reader, test_case.token, now=NOON)
    assert refusals(engine) == ["refused: feedback"] * 2


def test_feedback_is_not_given_where_the_protocol_has_none(engine):
    made = make_study(engine, test=1, training=1, protocol=Protocol(training_feedback=False))
    begin_session(engine, made.reader, made.study_id, now=NOON)
    training = answer_current(engine, made.reader, made.study_id)
    with pytest.raises(Denied):
        feedback(engine, made.reader, training.token, now=NOON)


# Drafts and time


def started(engine, **what):
    made = make_study(engine, **{"test": 2, **what})
    begin_session(engine, made.reader, made.study_id, now=NOON)
    return made, current_case(engine, made.reader, made.study_id, now=NOON)


def canal(grade: int) -> Entry:
    return Entry({CANAL: RegionEntry(grade)})


def test_a_draft_is_there_after_a_reload(engine):
    made, case = started(engine)
    assert (case.entry, case.change, case.revision) == (Entry(), 0, 1)
    entry = Entry({CANAL: RegionEntry(2, 70)}, image_quality="metal", comment="ünsure \U0001f914")
    assert save_draft(engine, made.reader, case.token, change=3, entry=entry, now=after(5)) == 3
    again = current_case(engine, made.reader, made.study_id, now=after(9))
    assert (again.token, again.entry, again.change) == (case.token, entry, 3)


def test_an_older_draft_never_overwrites_a_newer_one(engine):
    made, case = started(engine)
    for change, grade, stored in ((1, 0, 1), (5, 3, 5), (4, 1, 5), (2, 0, 5), (6, 2, 6)):
        assert save_draft(engine, made.reader, case.token, change=change, entry=canal(grade), now=NOON) == stored
    assert current_case(engine, made.reader, made.study_id).entry == canal(2)


def test_a_draft_after_the_submit_says_that_the_answer_is_stored(engine):
    made, case = started(engine)
    answer_current(engine, made.reader, made.study_id)
    with pytest.raises(AlreadySubmitted, match="your answer is stored"):
        save_draft(engine, made.reader, case.token, change=99, entry=canal(0), now=after(60))
    assert touch(engine, made.reader, case.token, now=after(60)) is False
    assert refusals(engine) == []


def test_a_case_that_was_not_shown_takes_no_draft_and_no_answer(engine):
    made, case = started(engine)
    coming = next_scan(engine, made.reader, made.study_id)
    with pytest.raises(Refusal, match="not shown yet"):
        save_draft(engine, made.reader, coming.token, change=1, entry=canal(0), now=NOON)
    with pytest.raises(Refusal, match="Another case is due"):
        submit(engine, made.reader, coming.token, change=1, entry=complete_entry(case), revision=1)


def test_times_come_from_the_server_and_idle_is_counted_apart(engine):
    made, case = started(engine)
    touch(engine, made.reader, case.token, now=after(20))
    save_draft(engine, made.reader, case.token, change=1, entry=canal(1), now=after(80))         # 60 s: not idle yet
    touch(engine, made.reader, case.token, now=after(150))                                       # 70 s: idle
    touch(engine, made.reader, case.token, now=after(155))
    touch(engine, made.reader, case.token, rested=True, now=after(165))                          # a break of 10 s
    touch(engine, made.reader, case.token, now=after(100))                                       # came late: ignored
    submit(engine, made.reader, case.token, change=2, entry=complete_entry(case), revision=1, now=after(300))   # 135 s
    answer = rows(engine, Answer)[0]
    assert (answer.shown_at, answer.first_input_at, answer.submitted_at) == (NOON, after(80), after(300))
    assert answer.idle_s == pytest.approx(70 + 10 + 135)


def test_a_night_between_two_machines_is_idle(engine):
    made, case = started(engine)
    again = current_case(engine, made.reader, made.study_id, now=NOON + timedelta(hours=20))
    assert again.token == case.token
    submit(engine, made.reader, case.token, change=1, entry=complete_entry(case), revision=1,
           now=NOON + timedelta(hours=20, seconds=30))
    answer = rows(engine, Answer)[0]
    assert (answer.submitted_at - answer.shown_at).total_seconds() - answer.idle_s < 60


# Answers


def test_a_submit_stores_the_answer_with_all_that_it_must_carry(engine):
    made, case = started(engine)
    entry = Entry({region: RegionEntry(2, 55) for region in list(Region)[:2]}
                  | {Region.RIGHT_LATERAL_RECESS: RegionEntry(not_gradable="screw")}, "metal", "a comment")
    receipt = submit(engine, made.reader, case.token, change=1, entry=entry, revision=1, now=after(30))
    answer = rows(engine, Answer)[0]
    assert (receipt.answer_id, receipt.submitted_at, receipt.already) == (answer.id, after(30), False)
    assert (answer.image_quality, answer.comment, answer.software_version) == ("metal", "a comment", "0.1.0")
    with looking(engine) as session:
        assert reading.entry_of(session, answer) == entry
        line = session.exec(select(AuditEvent).where(AuditEvent.action == "submit answer")).one()
    assert json.loads(line.new)["sha256"] == answer.sha256 and made.reader.email == line.actor
    assert rows(engine, Draft) == [] and audit.verify(engine) == []


def test_a_second_submit_gives_the_first_receipt_and_no_second_row(engine):
    made, case = started(engine)
    first = submit(engine, made.reader, case.token, change=1, entry=complete_entry(case, 1), revision=1, now=after(30))
    for entry, change in ((complete_entry(case, 1), 1), (complete_entry(case, 3), 9), (Entry(), 0)):
        again = submit(engine, made.reader, case.token, change=change, entry=entry, revision=1, now=after(90))
        assert again == replace(first, already=True)
    assert len(rows(engine, Answer)) == 1
    lifecycle.pause(engine, made.pi, made.study_id, reason="x", now=NOON)         # stored stays stored
    assert submit(engine, made.reader, case.token, change=1, entry=Entry(), revision=1).already


def in_threads(count: int, act):
    """Run `act(0..count-1)` at the same moment; their results."""
    barrier = Barrier(count)

    def run(number: int):
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_two_tabs_submitting_at_once_give_one_answer(engine):
    made = make_study(engine, test=8)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    for done in range(1, 9):
        case = in_threads(4, lambda _: current_case(engine, made.reader, made.study_id, now=NOON))[0]
        receipts = in_threads(
            4, lambda n: submit(engine, made.reader, case.token, change=1, entry=complete_entry(case, n), revision=1)  # noqa: B023
        )
        assert len({receipt.answer_id for receipt in receipts}) == 1
        assert sorted(receipt.already for receipt in receipts) == [False, True, True, True]
        assert len(rows(engine, Answer)) == done
    assert audit.verify(engine) == []


def test_thirty_readers_at_once_lose_nothing(engine):
    made = make_study(engine, test=3, readers=30)
    in_threads(30, lambda n: read_session(engine, made.readers[n], made.study_id))
    assert len(rows(engine, Answer)) == 90 and audit.verify(engine) == []
    assert all(session.completed_at for session in rows(engine, ReadingSession))


def test_drafts_and_a_submit_at_once_never_hurt_the_answer(engine):
    made = make_study(engine, test=6)
    begin_session(engine, made.reader, made.study_id, now=NOON)
    while case := current_case(engine, made.reader, made.study_id, now=NOON):

        def act(number: int, case=case) -> None:
            if number == 0:
                submit(engine, made.reader, case.token, change=1, entry=complete_entry(case), revision=1, now=NOON)
                return
            try:
                save_draft(engine, made.reader, case.token, change=1, entry=complete_entry(case), now=NOON)
            except AlreadySubmitted:
                return

        in_threads(4, act)
    assert len(rows(engine, Answer)) == 6 and rows(engine, Draft) == []


@pytest.mark.parametrize(("entry", "sentence"), [
    (Entry(), "Central canal has no answer yet"),
    (Entry({region: RegionEntry(1, 50) for region in list(Region)[:2]}), "Right lateral recess has no answer yet"),
    (Entry({region: RegionEntry(1) for region in Region}), "grade without confidence"),
    (Entry({region: RegionEntry(not_gradable="  ") for region in Region}), "no answer yet"),
])
def test_a_half_answered_case_is_refused_and_stays_due(engine, entry, sentence):
    made, case = started(engine)
    with pytest.raises(Refusal, match=sentence):
        submit(engine, made.reader, case.token, change=1, entry=entry, revision=1, now=NOON)
    assert current_case(engine, made.reader, made.study_id).token == case.token and rows(engine, Answer) == []


def test_what_is_not_asked_is_refused(engine):
    made, case = started(engine, protocol=Protocol(regions=(CANAL,), ask_confidence=False))
    with pytest.raises(Refusal, match="Left lateral recess is not asked"):
        submit(engine, made.reader, case.token, change=1, revision=1,
               entry=Entry({CANAL: RegionEntry(1), Region.LEFT_LATERAL_RECESS: RegionEntry(1)}))
    with pytest.raises(Refusal, match="a confidence, which is not asked"):
        submit(engine, made.reader, case.token, change=1, revision=1, entry=Entry({CANAL: RegionEntry(1, 50)}))
    submit(engine, made.reader, case.token, change=1, revision=1, entry=Entry({CANAL: RegionEntry(1)}))


def test_a_submit_behind_the_stored_draft_is_refused(engine):
    made, case = started(engine)
    save_draft(engine, made.reader, case.token, change=7, entry=canal(1), now=NOON)
    with pytest.raises(Refusal, match="changed in another window"):
        submit(engine, made.reader, case.token, change=6, entry=complete_entry(case), revision=1, now=NOON)
    submit(engine, made.reader, case.token, change=7, entry=complete_entry(case), revision=1, now=NOON)


def test_a_revision_that_nobody_asked_is_refused(engine):
    made, case = started(engine)
    with pytest.raises(Refusal, match="Another case is due"):
        submit(engine, made.reader, case.token, change=1, entry=complete_entry(case), revision=2, now=NOON)


@pytest.mark.parametrize("statement", ["update answer set idle_s = 0", "delete from answer",
                                       "update regionanswer set grade = 3", "delete from readingitem",
                                       "update readingitem set position = 9", "delete from signature",
                                       "update auditevent set actor = 'x'", "update reference set grade = 0",
                                       "delete from modeloutput"])
def test_the_database_refuses_to_change_what_must_stay(engine, statement):
    made = make_study(engine, test=1)
    read_session(engine, made.reader, made.study_id)
    with pytest.raises(DBAPIError, match="never changed or deleted"), transaction(engine) as session:
        session.connection().execute(text(statement))


# Going back and reopening


def test_forward_only_does_not_go_back(engine):
    made, case = started(engine)
    answer_current(engine, made.reader, made.study_id)
    assert earlier_cases(engine, made.reader, made.study_id) == ()
    with pytest.raises(Denied, match="ask the principal investigator"):
        go_back(engine, made.reader, case.token)
    assert refusals(engine) == ["refused: go back"]


def test_going_back_asks_a_new_revision_and_keeps_the_former(engine):
    made, _ = started(engine, test=3, training=1, protocol=Protocol(revisit=Revisit.UNTIL_SIGNED))
    training = answer_current(engine, made.reader, made.study_id)
    first = answer_current(engine, made.reader, made.study_id, grade=0)
    second = current_case(engine, made.reader, made.study_id, now=NOON)
    save_draft(engine, made.reader, second.token, change=1, entry=canal(3), now=NOON)
    assert [each.token for each in earlier_cases(engine, made.reader, made.study_id)] == [first.token]
    assert case_images(engine, made.reader, first.token)
    go_back(engine, made.reader, first.token, now=after(100))
    go_back(engine, made.reader, first.token, now=after(101))           # twice is once
    back = current_case(engine, made.reader, made.study_id, now=after(102))
    assert (back.token, back.revision, back.entry, back.number) == (first.token, 2, complete_entry(first, 0), 1)
    answer_current(engine, made.reader, made.study_id, grade=2, at=after(102))
    again = current_case(engine, made.reader, made.study_id)
    assert (again.token, again.entry) == (second.token, canal(3))       # where it was left
    with looking(engine) as session:
        answers = session.exec(select(Answer).order_by(col(Answer.id))).all()[1:]
        assert [reading.entry_of(session, each).regions[CANAL].grade for each in answers] == [0, 2]
    with pytest.raises(Refusal, match="Only a submitted test case"):
        go_back(engine, made.reader, training.token)


def test_leaving_an_earlier_case_keeps_its_answer(engine):
    made, first = started(engine, test=3, protocol=Protocol(revisit=Revisit.UNTIL_SIGNED))
    answer_current(engine, made.reader, made.study_id)
    second = answer_current(engine, made.reader, made.study_id)
    third = current_case(engine, made.reader, made.study_id)
    go_back(engine, made.reader, first.token)
    with pytest.raises(Refusal, match="changing another earlier case"):
        go_back(engine, made.reader, second.token)
    return_forward(engine, made.reader, first.token)
    assert current_case(engine, made.reader, made.study_id).token == third.token and len(rows(engine, Answer)) == 2
    with pytest.raises(Refusal, match="no former answer"):
        return_forward(engine, made.reader, third.token)


def test_a_signed_session_is_not_gone_back_to(engine):
    made = make_study(engine, test=1, protocol=Protocol(revisit=Revisit.UNTIL_SIGNED))
    case = read_session(engine, made.reader, made.study_id)[0]
    with pytest.raises(Refusal, match="not signed can be gone back to"):
        go_back(engine, made.reader, case.token)


def test_a_reopened_case_keeps_the_former_answer_and_is_signed_again(engine):
    made = make_study(engine, test=3, protocol=crossover())
    read_session(engine, made.reader, made.study_id, grade=1)
    item = answered_items(engine, made.pi, made.study_id, account_id=made.reader.account_id)[1]
    assert (item.number, item.revisions, item.is_open) == (2, 1, False)
    reopen(engine, made.pi, made.study_id, item_id=item.item_id, reason="slipped", now=after(3600))
    listed = answered_items(engine, made.pi, made.study_id, account_id=made.reader.account_id)
    assert [each.is_open for each in listed] == [False, True, False]
    again = current_case(engine, made.reader, made.study_id, now=after(4000))
    assert (again.number, again.revision, again.entry) == (2, 2, complete_entry(again, 1))
    return_forward(engine, made.reader, again.token)                    # stays due: the PI asked for it
    assert current_case(engine, made.reader, made.study_id, now=after(4000)).token == again.token
    answer_current(engine, made.reader, made.study_id, grade=3, at=after(4000))
    assert desk(engine, made.reader, made.study_id).stage is Stage.SIGN
    late = NOON + timedelta(days=3)
    sign_session(engine, made.reader, made.study_id, typed_name="Reader 1", meaning="again", now=late)
    assert desk(engine, made.reader, made.study_id, now=late).opens_at == opens_at(late, 28)
    with looking(engine) as session:
        both = session.exec(select(Answer).where(Answer.item_id == item.item_id).order_by(col(Answer.revision))).all()
        assert [reading.entry_of(session, each).regions[CANAL].grade for each in both] == [1, 3]
        line = session.exec(select(AuditEvent).where(AuditEvent.action == "reopen case")).one()
    assert (line.reason, line.actor) == ("slipped", made.pi.email)
    assert audit.verify(engine) == []


def test_each_of_two_reopened_cases_is_due_whatever_became_of_the_other(engine):
    made = make_study(engine, test=2, readers=2)
    for reader in made.readers:
        read_session(engine, reader, made.study_id)
    for reader in made.readers:
        for item in answered_items(engine, made.pi, made.study_id, account_id=reader.account_id):
            reopen(engine, made.pi, made.study_id, item_id=item.item_id, reason="the window was wrong")
    for reader in made.readers:
        due = []
        while case := current_case(engine, reader, made.study_id):
            due.append((case.number, case.revision))
            answer_current(engine, reader, made.study_id, grade=3, at=after(3600))
        assert due == [(1, 2), (2, 2)]


def test_reopening_is_refused_without_reason_permission_or_answer(engine):
    made, _ = started(engine, test=2, training=1)
    training = answer_current(engine, made.reader, made.study_id)
    items = {item.token: item.id for item in rows(engine, ReadingItem)}
    case = answer_current(engine, made.reader, made.study_id)
    coming = current_case(engine, made.reader, made.study_id)
    for actor in (made.coordinator, made.annotator, made.reader, made.outsider):
        with pytest.raises(Refusal, match="permits you to reopen case"):
            reopen(engine, actor, made.study_id, item_id=items[case.token], reason="x")
        with pytest.raises(Refusal, match="permits you to reopen case"):
            answered_items(engine, actor, made.study_id, account_id=made.reader.account_id)
    for item_id, reason, sentence in (
        (items[case.token], " ", "needs a reason"), (items[training.token], "x", "not a test case"),
        (items[coming.token], "x", "not submitted yet"), (987654, "x", "not a test case of this study"),
    ):
        with pytest.raises(Refusal, match=sentence):
            reopen(engine, made.pi, made.study_id, item_id=item_id, reason=reason)
    reopen(engine, made.pi, made.study_id, item_id=items[case.token], reason="x")
    with pytest.raises(Refusal, match="given back already"):
        reopen(engine, made.pi, made.study_id, item_id=items[case.token], reason="x")
    lifecycle.close(engine, made.pi, made.study_id, reason="end")
    with pytest.raises(Refusal, match="closed"):
        reopen(engine, made.pi, made.study_id, item_id=items[case.token], reason="x")


# After the study


def test_the_own_result_is_shown_after_unblinding_where_the_protocol_says_so(engine):
    made = make_study(engine, test=4, protocol=Protocol(own_result=True, repeats=2))
    read_session(engine, made.reader, made.study_id, grade=1)           # references: 1, 2, 3, 0
    lifecycle.close(engine, made.pi, made.study_id, reason="end")
    with pytest.raises(Refusal, match="not shown, or not yet"):
        own_result(engine, made.reader, made.study_id)
    lifecycle.unblind(engine, made.pi, made.study_id, reason="analysis")
    assert desk(engine, made.reader, made.study_id).stage is Stage.RESULT
    result = own_result(engine, made.reader, made.study_id)[Arm.UNAIDED, CANAL]
    assert (result.graded, result.right, result.off_by_one, result.not_gradable) == (4, 1, 2, 0)    # repeats left out
    assert result.accuracy.value == 0.25


def test_the_own_result_is_never_shown_where_the_protocol_has_none(engine):
    made = make_study(engine, test=1)
    read_session(engine, made.reader, made.study_id)
    lifecycle.close(engine, made.pi, made.study_id, reason="end")
    lifecycle.unblind(engine, made.pi, made.study_id, reason="analysis")
    assert desk(engine, made.reader, made.study_id).stage is Stage.CLOSED
    with pytest.raises(Refusal, match="not shown"):
        own_result(engine, made.reader, made.study_id)


def test_a_reader_who_joins_late_begins_too(engine):
    made = make_study(engine, test=2, readers=1)
    read_session(engine, made.reader, made.study_id)
    late = add_reader(engine, made.pi, made.study_id, 2)
    assert len(read_session(engine, late, made.study_id, at=after(9999))) == 2
