"""The study's page, run in process: each tab in each state, every act, and what each role may not do."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core.imaging.store import ScanStore
from lss_core.permissions import Role
from lss_core.study import (
    acting,
    audit_log,
    cases,
    desks,
    finishing,
    lifecycle,
    people,
    progress,
    reading,
    studies,
    submitting,
)
from lss_core.study.actors import Actor
from lss_core.study.connection import transaction
from lss_core.study.database import StudyState
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.protocol import Design, Protocol
from lss_core.vocabulary import Region
from tests.studies import NOW, SECRET_SITE, WEIGHTS, MadeUpStudy, made_up_study, new_case
from ui.access import SESSION_COOKIE

ROOT = Path(__file__).resolve().parent.parent
COOKIE = "the browser of the tests"
TABS = ("Overview", "Cases", "Protocol", "People", "Preview", "Progress", "Audit", "Export")
logging.getLogger("streamlit").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def installation(monkeypatch, tmp_path) -> str:
    """An installation of its own without models, seen from a browser on this machine. Returns its database's URL."""
    url = f"sqlite:///{tmp_path / 'studies.sqlite'}"
    for name, value in {"DATABASE_URL": url, "LSS_DATA": tmp_path, "LSS_IMAGES": tmp_path / "images",
                        "LSS_MODELS": tmp_path / "models"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", "localhost:8501")]))
    monkeypatch.setattr(ContextProxy, "ip_address", None)
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: COOKIE}))
    return url


@pytest.fixture
def make(installation, tmp_path) -> Callable[..., MadeUpStudy]:
    return lambda **wanted: made_up_study(installation, tmp_path / "images", **wanted)


@pytest.fixture
def draft(make) -> MadeUpStudy:
    return make()


@pytest.fixture
def open_study(draft) -> MadeUpStudy:
    lock(draft)
    return draft


def lock(study: MadeUpStudy) -> None:
    lifecycle.lock(study.engine, study.pi, study.study_id, typed_name=study.pi.name, meaning="I approve", now=NOW)


def page(study: MadeUpStudy | None = None, tab: str = "Overview", *, by: Actor | None = None) -> AppTest:
    """The page as one person sees it."""
    if study and by:
        acting.act_as(study.engine, cookie=COOKIE, account_id=by.account_id)
    app = AppTest.from_file(str(ROOT / "pages" / "study.py"), default_timeout=240)
    if study:
        app.query_params["study"] = study.token
        app.query_params["tab"] = tab
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def look_at(app: AppTest, tab: str) -> AppTest:
    """Open another tab; the first one stands in no address."""
    app.query_params.pop("tab", None)
    if tab != TABS[0]:
        app.query_params["tab"] = tab
    app.session_state["tab"] = tab
    return app.run()


def said(app: AppTest) -> str:
    """All that a page says."""
    texts = [*app.title, *app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.success, *app.subheader,
             *app.code]
    return "\n".join([*(each.value for each in texts), *(each.proto.body for each in app.get("html"))])


def widget(found, key: str):
    """The widget with that key, or with that label."""
    (one,) = [each for each in found if key in (each.key, each.label)]
    return one


def press(app: AppTest, label: str) -> AppTest:
    widget(app.button, label).click().run()
    assert not app.exception, app.exception[0].message
    return app


def answer(app: AppTest, button: str, **typed: str) -> AppTest:
    """Fill in an open question (reason, name, word) and confirm it."""
    for field, text in typed.items():
        widget([*app.text_input, *app.text_area], f"question-{field}").set_value(text)
    return press(app, button)


def state_of(study: MadeUpStudy) -> StudyState:
    return studies.study_of(study.engine, study.pi, study.study_id).state


def read_all(study: MadeUpStudy, reader: Actor) -> None:
    """A reader reads every case, a minute each, and signs."""
    now = NOW + timedelta(hours=1)
    desks.begin_session(study.engine, reader, study.study_id, now=now)
    entry = Entry({region: RegionEntry(1, 80) for region in Region})
    while case := reading.current_case(study.engine, reader, study.study_id, now=now):
        now += timedelta(minutes=1)
        submitting.submit(study.engine, reader, case.token, change=case.change + 1, entry=entry,
                          revision=case.revision, now=now)
    finishing.sign_session(study.engine, reader, study.study_id, typed_name=reader_name(study, reader),
                           meaning="I read these cases myself", now=now)


def reader_name(study: MadeUpStudy, reader: Actor) -> str:
    return people.profile(study.engine, reader).name


def test_the_first_visit_says_how_a_study_goes_and_makes_one():
    app = page()
    assert "No study yet" in said(app)
    widget(app.text_input, "Title").set_value("Readers and model")
    press(app, "Create the study")
    assert "Readers and model" in app.title[0].value
    assert "You are its principal investigator" in said(app)
    assert app.query_params["study"]


def test_a_study_without_a_title_is_refused_in_a_sentence():
    app = press(page(), "Create the study")
    assert "A study needs a title" in app.error[0].value


def test_the_list_opens_a_study_and_leads_back(draft):
    app = page()
    press(app, f"open-{draft.study_id}")
    assert "Before the lock" in said(app)
    press(app, "All studies")
    assert app.title[0].value == "Studies"


def test_a_title_is_shown_as_it_was_typed_and_not_as_markdown(make):
    study = make(title="**bold** :red[x] $y$")
    assert page(study).title[0].value == r"\*\*bold\*\* \:red\[x\] \$y\$"


def test_an_unknown_address_shows_the_list_and_no_study(draft):
    app = AppTest.from_file(str(ROOT / "pages" / "study.py"), default_timeout=240)
    app.query_params["study"] = "guessed"
    app.run()
    assert "in which you have no such role" in app.warning[0].value and app.title[0].value == "Studies"


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_every_tab_of_a_draft_opens(make, tab, filled):
    study = make() if filled else make(test=0, training=0, people_too=False)
    app = page(study, tab)
    assert not app.error
    assert set(TABS) <= {each.label for each in app.tabs}


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("act", [None, lifecycle.pause, lifecycle.close], ids=["open", "paused", "closed"])
def test_every_tab_of_a_locked_study_opens(open_study, tab, act):
    if act:
        act(open_study.engine, open_study.pi, open_study.study_id, reason="test")
    assert not page(open_study, tab).error


def test_the_checklist_of_an_empty_study_names_what_is_missing_and_leads_there(make):
    app = page(make(test=0, training=0, people_too=False))
    text = said(app)
    assert "There is no test case; import the control set." in text
    assert "There is no reader; invite at least one." in text
    assert not [each for each in app.button if each.key == "lock"]
    press(app, next(each.key for each in app.button if each.label == "Go to People"))
    assert widget(app.text_input, "invite-email")


def test_a_locked_protocol_shows_its_hash_and_signature_came_with_the_typed_name(draft):
    app = press(page(draft), "lock")
    answer(app, "Sign and lock", name=draft.pi.name, word="lock")
    assert state_of(draft) is StudyState.OPEN
    _, version = studies.protocol_of(draft.engine, draft.pi, draft.study_id)
    assert f"SHA-256 {version.sha256}" in said(app)
    assert version.sha256 in said(page(draft))


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"name": "", "word": "lock"}, "A signature is needed"),
        ({"name": "Somebody else", "word": "lock"}, "type your name as it stands in your account"),
        ({"name": "local user", "word": "yes"}, "Type lock to confirm"),
    ],
)
def test_a_lock_without_the_right_name_and_word_is_refused_and_changes_nothing(draft, typed, sentence):
    app = answer(press(page(draft), "lock"), "Sign and lock", **typed)
    assert sentence in app.error[0].value
    assert state_of(draft) is StudyState.DRAFT


def test_a_question_that_is_cancelled_does_nothing(draft):
    app = press(press(page(draft), "lock"), "Cancel")
    assert not [each for each in app.button if each.label == "Sign and lock"]
    assert state_of(draft) is StudyState.DRAFT


def test_a_study_is_paused_resumed_closed_and_unblinded_each_with_a_reason(open_study):
    app = page(open_study)
    for key, button, typed, state in (
        ("pause", "Pause", {"reason": "server move"}, StudyState.PAUSED),
        ("resume", "Go on", {"reason": "moved"}, StudyState.OPEN),
        ("close", "Close the study", {"reason": "all read", "word": "close"}, StudyState.CLOSED),
        ("unblind", "Unblind", {"reason": "analysis", "word": "unblind"}, StudyState.UNBLINDED),
    ):
        answer(press(app, key), button, **typed)
        assert state_of(open_study) is state
    reasons = {line.reason for line in audit_log.lines_of(open_study.engine, open_study.pi, open_study.study_id)}
    assert {"server move", "moved", "all read", "analysis"} <= reasons


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [({"reason": "", "word": "close"}, "A reason is needed"), ({"reason": "x", "word": ""}, "Type close to confirm")],
)
def test_closing_needs_a_reason_and_the_word(open_study, typed, sentence):
    app = answer(press(page(open_study), "close"), "Close the study", **typed)
    assert sentence in app.error[0].value
    assert state_of(open_study) is StudyState.OPEN


def test_closing_names_the_readers_who_have_not_finished(open_study):
    read_all(open_study, open_study.readers[0])
    text = said(press(page(open_study), "close"))
    assert "1 reader of 2 have not signed all sessions: Reader 4." in text


def test_the_coordinator_may_pause_and_neither_lock_close_unblind_reopen_nor_export(open_study):
    app = page(open_study, by=open_study.coordinator)
    keys = {each.key for each in app.button}
    assert "pause" in keys and not keys & {"close", "unblind", "lock"}
    assert "Export" not in [each.label for each in app.tabs]
    app = page(open_study, "Progress", by=open_study.coordinator)
    widget(app.selectbox, f"progress-reader-{open_study.study_id}").set_value(open_study.readers[0].account_id).run()
    assert "Dear Reader 3" in said(app)
    assert not [each for each in app.button if each.key == "reopen"]


def test_the_coordinator_of_a_complete_draft_reads_who_can_lock_it(draft):
    app = page(draft, by=draft.coordinator)
    assert "Only the principal investigator can lock." in said(app)
    assert not [each for each in app.button if each.key == "lock"]


def test_a_reader_is_not_let_onto_the_page(draft):
    app = page(draft, by=draft.readers[0])
    assert "permission to manage study" in app.error[0].value and not app.title and not app.tabs


def test_a_pi_of_another_study_does_not_see_this_one(make, draft):
    people.allow_studies(draft.engine, "other@example.org")
    other = next(each for each in people.identities(draft.engine) if each.email == "other@example.org")
    app = page(draft, by=other)
    assert app.title[0].value == "Studies" and "Made" not in said(app)


def test_a_role_that_ends_while_the_page_is_open_ends_its_acts_in_a_sentence(open_study):
    app = press(page(open_study, by=open_study.coordinator), "pause")
    people.remove_member(open_study.engine, open_study.pi, open_study.study_id,
                         account_id=open_study.coordinator.account_id, role=Role.COORDINATOR, reason="left")
    answer(app, "Pause", reason="late")
    assert app.error and state_of(open_study) is StudyState.OPEN


def test_the_pi_sees_the_reference_and_nobody_sees_model_grades_before_unblinding(draft):
    text = said(page(draft, "Cases"))
    assert "shown to you as principal investigator alone" in text
    row = re.search('<th scope="row">4 <small>.*?</tr>', text, re.DOTALL)
    assert row and re.findall("<td>([0-3])</td>", row.group()) == ["3"] * 3, "the reference; the model says 0"
    assert not any(WEIGHTS in said(page(draft, tab)) for tab in TABS)


def test_the_coordinator_sees_that_a_reference_exists_and_not_what_it_is(draft):
    text = said(page(draft, "Cases", by=draft.coordinator))
    assert "hidden from you" in text and "<td>✓</td>" in text
    assert not any(f"<td>{grade}</td>" in text for grade in range(4))


def test_cases_are_removed_with_a_reason_while_the_study_is_a_draft(draft):
    app = page(draft, "Cases")
    first = cases.cases_of(draft.engine, draft.pi, draft.study_id)[0]
    widget(app.multiselect, f"remove-cases-{draft.study_id}").set_value([first.case_id]).run()
    answer(press(app, "remove-cases"), "Remove", reason="metal", word="remove")
    assert "1 case removed." in said(app)
    assert first.case_id not in {row.case_id for row in cases.cases_of(draft.engine, draft.pi, draft.study_id)}


def test_cases_of_a_locked_study_can_be_neither_imported_nor_removed(open_study):
    app = page(open_study, "Cases")
    assert not [each for each in app.button if each.key in ("remove-cases", "import-simulated")]


def test_the_cases_are_searched_and_paged(make):
    study = make(test=60, training=0)
    app = page(study, "Cases")
    assert "P-test-0<" in said(app) and "P-test-59<" not in said(app)
    widget(app.number_input, "cases-page").set_value(2).run()
    assert "P-test-59<" in said(app)
    widget(app.text_input, "cases-find").set_value("P-test-58").run()
    assert "P-test-58<" in said(app) and "P-test-59<" not in said(app)


def test_a_protocol_is_changed_field_by_field_and_saved(draft):
    app = page(draft, "Protocol")
    assert "Everything is saved." in said(app)
    widget(app.text_area, "Instructions to readers").set_value("Grade what you see.")
    widget(app.number_input, "Hidden repeats in each session").set_value(2)
    app.run()
    assert "**not saved**" in said(app)
    press(app, "Save the protocol")
    saved, _ = studies.protocol_of(draft.engine, draft.pi, draft.study_id)
    assert (saved.instructions, saved.repeats) == ("Grade what you see.", 2)
    assert "Everything is saved." in said(app)


def test_a_form_that_is_not_touched_describes_exactly_the_saved_protocol(make):
    protocol = Protocol(
        instructions="Read.", regions=(Region.CENTRAL_CANAL,), ask_confidence=False, sessions=2, washout_days=14,
        repeats=1, seed="s", slices_around_mm=12.5, own_result=True, versions=("gone",), junior_below_years=4.5,
        analysis=replace(Protocol().analysis, non_inferiority_margin=None, cut=1, text="plan"),
    )
    app = page(make(protocol=protocol), "Protocol")
    assert "Everything is saved." in said(app) and not app.error


def test_values_that_cannot_be_are_said_and_cannot_be_saved(draft):
    app = page(draft, "Protocol")
    widget(app.radio, "Design").set_value(Design.CROSSOVER_CASES).run()
    assert "name the model version" in app.error[0].value
    assert widget(app.button, "Save the protocol").disabled


def test_changes_of_a_protocol_survive_a_look_at_another_tab_and_can_be_discarded(draft):
    app = page(draft, "Protocol")
    widget(app.text_area, "Instructions to readers").set_value("Typed and not saved.").run()
    assert widget(look_at(app, "People").text_input, "invite-email")
    look_at(app, "Protocol")
    assert widget(app.text_area, "Instructions to readers").value == "Typed and not saved."
    press(app, "Discard changes")
    assert widget(app.text_area, "Instructions to readers").value == ""


def test_a_protocol_with_unsaved_changes_is_not_offered_for_the_lock(draft):
    app = page(draft, "Protocol")
    widget(app.text_area, "Instructions to readers").set_value("Typed and not saved.").run()
    look_at(app, "Overview")
    assert "did not save it" in said(app) and not [each for each in app.button if each.key == "lock"]


def test_a_question_whose_act_became_impossible_does_not_come_back_later(open_study):
    app = press(page(open_study), "pause")
    lifecycle.pause(open_study.engine, open_study.pi, open_study.study_id, reason="by another")
    app.run()
    lifecycle.resume(open_study.engine, open_study.pi, open_study.study_id, reason="by another")
    app.run()
    assert not [each for each in app.button if each.label == "Pause"]


def test_a_protocol_that_somebody_else_saved_meanwhile_is_not_overwritten(draft):
    app = page(draft, "Protocol")
    widget(app.text_area, "Instructions to readers").set_value("Mine.").run()
    saved, _ = studies.protocol_of(draft.engine, draft.pi, draft.study_id)
    studies.save_protocol(draft.engine, draft.pi, draft.study_id, replace(saved, instructions="Theirs."))
    app.run()
    assert "Somebody else saved" in app.warning[0].value
    assert widget(app.button, "Save the protocol").disabled
    press(app, "Discard changes")
    assert widget(app.text_area, "Instructions to readers").value == "Theirs."


def test_sample_size_help_computes_and_refuses_in_a_sentence(draft):
    app = page(draft, "Protocol")
    assert "cases of" in said(app) and "patients read by 9 readers" in said(app)
    widget(app.number_input, "size-assumed-neither").set_value(0.9).run()
    assert "correlations must lie between 0 and 1" in app.error[0].value


def test_an_amendment_names_what_changes_and_is_a_new_version_with_a_reason(open_study):
    app = page(open_study, "Protocol")
    assert "As locked" in said(app)
    widget(app.toggle, "Amend the protocol").set_value(True).run()
    widget(app.number_input, "Neutral pause between cases (s)").set_value(3.0).run()
    assert "Pause between cases" in said(app)
    answer(press(app, "amend"), "Sign the amendment", reason="too hasty", name=open_study.pi.name)
    saved, version = studies.protocol_of(open_study.engine, open_study.pi, open_study.study_id)
    assert (saved.pause_s, version.number, version.reason) == (3.0, 2, "too hasty")
    assert "too hasty" in said(page(open_study))


def test_an_amendment_that_would_spoil_readings_is_refused_in_a_sentence(open_study):
    desks.begin_session(open_study.engine, open_study.readers[0], open_study.study_id)
    app = page(open_study, "Protocol")
    widget(app.toggle, "Amend the protocol").set_value(True).run()
    widget(app.toggle, "Ask for a confidence, 0 to 100, for each grade").set_value(False).run()
    answer(press(app, "amend"), "Sign the amendment", reason="shorter", name=open_study.pi.name)
    assert "Reading has begun" in app.error[0].value


def test_a_reader_is_invited_and_removed_with_a_reason(draft):
    app = page(draft, "People")
    widget(app.text_input, "invite-email").set_value("New@Example.org")
    widget(app.selectbox, "invite-role").set_value(Role.READER)
    press(app, "Invite")
    assert "new@example.org is invited as reader." in said(app)
    member = next(each for each in people.members(draft.engine, draft.pi, draft.study_id)
                  if each.email == "new@example.org")
    widget(app.selectbox, f"remove-{draft.study_id}").set_value(f"{member.account_id} reader").run()
    answer(press(app, "remove-member"), "Remove", reason="moved away", word="remove")
    assert "new@example.org is no longer reader" in said(app)


def test_an_address_that_is_none_is_refused_in_a_sentence(draft):
    app = page(draft, "People")
    widget(app.text_input, "invite-email").set_value("nobody")
    press(app, "Invite")
    assert "is not an e-mail address" in app.error[0].value


def test_the_coordinator_can_make_nobody_pi_or_coordinator(draft):
    app = page(draft, "People", by=draft.coordinator)
    offered = widget(app.selectbox, "invite-role").options
    assert offered == ["Reader", "Annotator"]


def test_the_table_of_people_shows_the_stated_experience_by_the_bounds_of_the_protocol(draft):
    text = said(page(draft, "People"))
    assert "senior: spine surgery, 12 years, 100 lumbar CTs a year" in text
    assert "senior: spine surgery, 16 years" in text


def test_progress_counts_submitted_cases_and_tells_nothing_of_answers(open_study):
    read_all(open_study, open_study.readers[0])
    text = said(page(open_study, "Progress"))
    assert "4 of 4" in text and "finished" in text and "1 min 00 s" in text
    for hidden in ("accuracy", "correct", "kappa", SECRET_SITE):
        assert hidden not in text


def test_a_reminder_is_a_text_to_copy_that_names_what_is_due(open_study):
    app = page(open_study, "Progress")
    reader = open_study.readers[1]
    widget(app.selectbox, f"progress-reader-{open_study.study_id}").set_value(reader.account_id).run()
    assert app.code[0].value == progress.reminder(open_study.engine, open_study.pi, open_study.study_id,
                                                  account_id=reader.account_id)


def test_a_case_is_reopened_with_a_reason_and_waits_for_its_reader(open_study):
    reader = open_study.readers[0]
    read_all(open_study, reader)
    app = page(open_study, "Progress")
    widget(app.selectbox, f"progress-reader-{open_study.study_id}").set_value(reader.account_id).run()
    menu = widget(app.selectbox, f"reopen-item-{reader.account_id}")
    assert len(menu.options) == 4
    menu.select_index(1).run()
    answer(press(app, "reopen"), "Reopen", reason="he asked for it", word="reopen")
    assert "is given back to Reader 3" in said(app)
    assert "1 reopened case waits for a new answer." in said(app)
    case = reading.current_case(open_study.engine, reader, open_study.study_id)
    assert case is not None and case.revision == 2


def test_the_audit_log_is_filtered_by_who_and_what(open_study):
    app = page(open_study, "Audit")
    widget(app.selectbox, f"audit-what-{open_study.study_id}").set_value("lock protocol").run()
    text = said(app)
    assert "<td>lock protocol<" in text and "<td>invite member<" not in text


def test_the_audit_log_is_verified_and_a_planted_change_is_named(open_study):
    app = press(page(open_study, "Audit"), "audit-verify")
    assert "Everything is whole" in app.success[0].value
    with transaction(open_study.engine) as session:
        connection = session.connection()
        for (name,) in connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'").all():
            connection.exec_driver_sql(f"drop trigger {name}")
        connection.exec_driver_sql("update auditevent set reason = 'other' where action = 'lock protocol'")
    app = press(page(open_study, "Audit"), "audit-verify")
    assert "The records are not whole" in app.error[0].value and "was altered" in app.error[0].value


def test_nothing_is_exported_before_unblinding(open_study):
    app = page(open_study, "Export")
    assert "once the study is closed and unblinded" in app.info[0].value
    assert not app.get("download_button")


def test_an_unblinded_study_is_exported_once_for_each_press_and_the_log_has_its_hashes(open_study):
    read_all(open_study, open_study.readers[0])
    lifecycle.close(open_study.engine, open_study.pi, open_study.study_id, reason="done")
    lifecycle.unblind(open_study.engine, open_study.pi, open_study.study_id, reason="analysis")
    app = press(page(open_study, "Export"), "make-export")
    app.run()
    names = {each.label for each in app.get("download_button")}
    assert {"Everything (ZIP)", "readings.csv", "codebook.csv", "bundle.json"} <= names
    (line,) = audit_log.lines_of(open_study.engine, open_study.pi, open_study.study_id, action="export study")
    for file, sha256 in json.loads(line.new).items():
        assert file in said(app) and sha256 in said(app)


def test_the_preview_shows_a_training_case_on_the_readers_desk_and_no_reference(draft):
    app = page(draft, "Preview")
    assert not app.exception and not app.error
    (desk,) = app.get("bidi_component")
    told = str(desk.proto).replace("\\", "")
    assert '"preview": true' in told and '"level": "L4/5"' in told and '"kind": "training"' in told
    assert SECRET_SITE not in told + said(app) and "two surgeons" not in told + said(app)


def test_a_preview_stores_nothing(draft):
    before = len(audit_log.lines_of(draft.engine, draft.pi, draft.study_id))
    page(draft, "Preview")
    assert len(audit_log.lines_of(draft.engine, draft.pi, draft.study_id)) == before
    assert not [line for line in audit_log.lines_of(draft.engine, draft.pi, draft.study_id)
                if line.action == "begin session"]


def test_a_simulated_study_says_so_in_its_head(make, tmp_path):
    study = make(test=1)
    store = ScanStore(str(tmp_path / "images"))
    cases.add_cases(study.engine, study.pi, study.study_id, [new_case(store, 99, simulated=True)])
    assert "SIMULATED" in said(page(study)) and "SIMULATED" in said(page())


def test_test_and_training_cases_are_counted_apart(draft):
    assert "**4 test cases** of 4 patients and **1 training case**" in said(page(draft, "Cases"))
