"""Labelling and what follows on the curation page, in process: each tab in each state, and what each role may do."""

import json
import logging
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core import training_runs
from lss_core.curation import adjudication, collections, labels, reference, split
from lss_core.curation import plan as plans
from lss_core.curation.labels import LabelTask
from lss_core.study import acting, people, studies
from lss_core.study.actors import Actor
from lss_core.study.connection import open_database
from lss_core.study.entry import Entry, RegionEntry
from lss_core.training import run_folder
from lss_core.training.run_folder import RunState
from lss_core.training.run_process import carry_out
from lss_core.vocabulary import Region
from tests.curated import (
    PLANTED_NAME,
    PLANTED_PATIENT,
    PLANTED_SITE,
    Curated,
    curated,
    decide_all,
    draw_boxes,
    graded,
    label,
    label_all,
    name_plan,
)
from tests.model_folders import add_detector
from tests.trainable import add_base, write_configuration
from ui.access import SESSION_COOKIE
from ui.curate import label_routes

ROOT = Path(__file__).resolve().parent.parent
COOKIE = "the browser of the tests, 32 characters or more"
HOST = "http://localhost:8501"
SERVER = Starlette(routes=label_routes.ROUTES)
TABS = ("Plan", "Labels", "Agreement", "Adjudicate", "Reference", "Split", "Train", "Hand over")
PLANTED = (PLANTED_PATIENT, PLANTED_SITE, PLANTED_NAME, "PLANTEDMAKER", "planted-networks")
logging.getLogger("streamlit").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def installation(monkeypatch, tmp_path) -> str:
    """An installation of its own without models, seen from a browser on this machine. Returns its database's URL."""
    url = f"sqlite:///{tmp_path / 'studies.sqlite'}"
    for name, value in {"DATABASE_URL": url, "LSS_DATA": tmp_path, "LSS_IMAGES": tmp_path / "images",
                        "LSS_MODELS": tmp_path / "models", "LSS_RUNS": tmp_path / "runs"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", "localhost:8501")]))
    monkeypatch.setattr(ContextProxy, "ip_address", None)
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: COOKIE}))
    return url


@pytest.fixture
def make(installation, tmp_path) -> Callable[..., Curated]:
    return lambda **what: curated(installation, tmp_path / "images", local=True, **what)


@pytest.fixture
def planned(make) -> Curated:
    """A collection whose two annotators and adjudicator are named."""
    made = make(patients=3)
    name_plan(made)
    return made


def page(made: Curated, tab: str, *, by: Actor | None = None) -> AppTest:
    """The page as one person sees it, the principal investigator unless named."""
    acting.act_as(made.engine, cookie=COOKIE, account_id=(by or made.pi).account_id)
    app = AppTest.from_file(str(ROOT / "pages" / "curate.py"), default_timeout=240)
    app.query_params["collection"] = made.token
    app.query_params["curate-tab"] = tab
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def said(app: AppTest) -> str:
    """All that a page says, as it was before it was made harmless in Markdown."""
    texts = [*app.title, *app.text, *app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.success,
             *app.subheader, *app.code]
    pieces = [*(each.value for each in texts), *(each.proto.body for each in app.get("html"))]
    return "\n".join(pieces).replace("\\", "")


def desk_data(app: AppTest) -> str:
    """What the desk's component was given; empty where no desk is shown."""
    return "".join(str(each.proto) for each in app.get("bidi_component")).replace("\\", "")


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


def task_of(made: Curated, by: Actor) -> LabelTask:
    task = labels.next_case(made.engine, by, made.collection_id)
    assert task is not None
    return task


def label_one(made: Curated, by: Actor, entry: Entry) -> None:
    task = task_of(made, by)
    labels.submit_label(made.engine, by, task.token, change=task.change + 1, revision=task.revision, entry=entry)


@pytest.fixture
def labelled(make) -> Curated:
    """Both have drawn and labelled everything; on the first case they differ in all regions by one grade."""
    made = make(patients=5)
    draw_boxes(made)
    label_all(made, differing=1)
    return made


@pytest.fixture
def locked(labelled) -> Curated:
    """The reference is locked."""
    decide_all(labelled)
    reference.lock_reference(labelled.engine, labelled.pi, labelled.collection_id, typed_name=labelled.pi.name)
    return labelled


def browser(cookie: str | None = COOKIE, *, origin: str = HOST) -> TestClient:
    cookies = {SESSION_COOKIE: cookie} if cookie else None
    return TestClient(SERVER, base_url=HOST, cookies=cookies, headers={"Origin": origin})


def send(task: LabelTask, what: str, entry: Entry, *, change: int = 1, **client):
    body = {"change": change, "revision": task.revision, "entry": json.loads(entry.canonical)}
    return browser(**client).post(f"/api/cases/label-{task.token}/{what}", content=json.dumps(body))


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_of_an_empty_collection_opens_and_says_what_is_missing(make, tab):
    app = page(make(patients=0), tab)
    assert not app.error and (app.info or app.button)


def test_the_plan_asks_for_two_annotators_before_it_can_be_set(installation):
    engine = open_database(installation)
    made = collections.create(engine, people.local_account(engine), title="Alone")
    app = AppTest.from_file(str(ROOT / "pages" / "curate.py"), default_timeout=240)
    app.query_params["collection"], app.query_params["curate-tab"] = made.token, "Plan"
    assert "Labelling needs two annotators, and this collection has none" in said(app.run())


def test_the_pi_names_two_annotators_and_an_adjudicator(make):
    made = make(patients=1)
    app = page(made, "Plan")
    for key, person in (("first", made.first), ("second", made.second), ("adjudicator", made.third)):
        widget(app.selectbox, f"plan-{key}").set_value(person.account_id)
    press(app, "Set the plan")
    plan = plans.plan_of(made.engine, made.pi, made.collection_id)
    assert plan and (plan.first, plan.second, plan.adjudicator) == (
        made.first.account_id, made.second.account_id, made.third.account_id
    )
    assert "The plan is set" in said(app) and "third@example.org" in said(app)


def test_one_person_cannot_be_both_annotators(make):
    made = make(patients=1)
    app = page(made, "Plan")
    for key in ("first", "second"):
        widget(app.selectbox, f"plan-{key}").set_value(made.first.account_id)
    press(app, "Set the plan")
    assert app.error and plans.plan_of(made.engine, made.pi, made.collection_id) is None


def test_the_coordinator_sees_the_plan_and_cannot_set_it(planned):
    app = page(planned, "Plan", by=planned.coordinator)
    assert "first@example.org" in said(app) and "Only the principal investigator names who labels." in said(app)
    assert not [each for each in app.button if "plan" in each.label.lower()]


def test_an_annotator_gets_the_desk_with_a_case_and_nothing_that_tells_patient_site_model_or_the_other(planned):
    label_one(planned, planned.second, Entry(graded(3).regions, comment="PLANTEDCOMMENT"))
    app = page(planned, "Labels", by=planned.first)
    data = desk_data(app)
    assert f"label-{task_of(planned, planned.first).token}" in data and '"number": 1, "total": 6' in data
    assert not [each for each in (*PLANTED, "PLANTEDCOMMENT", "second@example.org") if each in data + said(app)]
    assert task_of(planned, planned.first).scan_key not in data


def test_criteria_with_pictures_stand_beside_the_case(planned):
    text = said(page(planned, "Labels", by=planned.first))
    assert "The sac is a slit, and no fat is left around it." in text and "data:image/png;base64," in text


def test_who_is_not_named_in_the_plan_gets_no_case(planned):
    app = page(planned, "Labels", by=planned.third)
    assert "does not name you" in said(app) and not desk_data(app)


def test_a_draft_is_kept_by_the_server_and_shown_again_after_a_reload(planned):
    acting.act_as(planned.engine, cookie=COOKIE, account_id=planned.first.account_id)
    half = Entry({Region.CENTRAL_CANAL: RegionEntry(2)}, comment="halfway")
    task = task_of(planned, planned.first)
    assert send(task, "draft", half).json() == {"change": 1}
    assert task_of(planned, planned.first).entry.comment == "halfway"
    assert "halfway" in desk_data(page(planned, "Labels", by=planned.first))


def test_a_label_is_stored_once_however_often_it_is_sent_and_the_next_case_comes(planned):
    acting.act_as(planned.engine, cookie=COOKIE, account_id=planned.first.account_id)
    task = task_of(planned, planned.first)
    first, again = (send(task, "submit", graded(grade)) for grade in (2, 3))
    assert first.status_code == again.status_code == 200
    assert (first.json()["already"], again.json()["already"]) == (False, True)
    following = task_of(planned, planned.first)
    assert (following.number, following.token != task.token) == (2, True)
    assert len(labels.my_labels(planned.engine, planned.first, planned.collection_id)) == 1


def test_a_label_that_lacks_a_region_is_refused_in_a_sentence(planned):
    acting.act_as(planned.engine, cookie=COOKIE, account_id=planned.first.account_id)
    told = send(task_of(planned, planned.first), "submit", Entry({Region.CENTRAL_CANAL: RegionEntry(2)}))
    assert told.status_code == 422 and "Left lateral recess" in told.text


@pytest.mark.parametrize("what", ["slab", "draft", "submit", "alive"])
def test_nobody_opens_or_labels_the_case_of_another(planned, what):
    task = task_of(planned, planned.second)
    for person in (planned.first, planned.third, planned.pi, planned.coordinator, planned.outsider):
        acting.act_as(planned.engine, cookie=COOKIE, account_id=person.account_id)
        told = browser().get(f"/api/cases/label-{task.token}/slab") if what == "slab" else send(task, what, graded(1))
        assert told.status_code == 404 and told.text == "This case is not open to you."
    assert not labels.my_labels(planned.engine, planned.second, planned.collection_id)


def test_a_label_from_a_foreign_page_or_without_sign_in_is_refused(planned):
    acting.act_as(planned.engine, cookie=COOKIE, account_id=planned.first.account_id)
    task = task_of(planned, planned.first)
    assert send(task, "submit", graded(1), origin="http://evil.example").status_code == 403
    assert send(task, "submit", graded(1), cookie=None).status_code == 401


def test_the_slab_of_a_case_holds_the_slices_around_the_level(planned):
    acting.act_as(planned.engine, cookie=COOKIE, account_id=planned.first.account_id)
    task = task_of(planned, planned.first)
    told = browser().get(f"/api/cases/label-{task.token}/slab")
    described = json.loads(told.headers["x-slab"])
    assert len(told.content) == 2 * described["slices"] * 32 * 32 and not set(PLANTED) & set(told.headers.values())


def test_an_annotator_who_is_done_is_told_so_and_may_correct_until_both_are_done(planned):
    label(planned, planned.first)
    app = page(planned, "Labels", by=planned.first)
    assert "You have labelled all 6 cases" in said(app) and not desk_data(app)
    app = press(app, "label-earlier-open")
    assert '"revision": 2' in desk_data(app)
    label(planned, planned.second)
    assert "No label can be corrected" in said(page(planned, "Labels", by=planned.first))


def test_nobody_sees_agreement_before_both_labelled_a_case_and_an_annotator_not_before_both_are_done(planned):
    assert "No agreement to show yet" in said(page(planned, "Agreement"))
    label(planned, planned.first)
    label_one(planned, planned.second, graded(1))
    assert page(planned, "Agreement", by=planned.first).error
    label(planned, planned.second)
    assert not page(planned, "Agreement", by=planned.first).error


def test_agreement_shows_percent_both_kappas_with_intervals_and_the_two_against_each_other(labelled):
    app = page(labelled, "Agreement")
    text = said(app)
    assert "Kappa, unweighted" in text and "Kappa, quadratic weights" in text
    assert re.search(r"90\.0% <small class='interval'>", text), "9 of 10 cases agree"
    assert len(app.get("plotly_chart")) == 2


def test_the_adjudicator_decides_region_after_region_without_learning_who_said_what(labelled):
    app = page(labelled, "Adjudicate", by=labelled.third)
    assert "0 of 3 disagreements decided" in app.get("progress")[0].proto.text
    assert "first@example.org" not in said(app) and "second@example.org" not in said(app)
    for left in (2, 1, 0):
        widget(app.radio, "The grade").set_value("2")
        widget(app.text_area, "Reason (kept with the decision)").set_value("posterior fat is gone")
        press(app, "Decide")
        done = adjudication.disagreements(labelled.engine, labelled.third, labelled.collection_id)
        assert sum(not each.is_decided for each in done) == left
    assert "Everything is decided" in said(app) and "posterior fat is gone" in said(app)


@pytest.mark.parametrize(
    ("grade", "reason", "sentence"),
    [(None, "why", "Choose a grade"), ("2", "", "reason"), ("not_gradable", "why", "Say why the region is not")],
)
def test_a_decision_needs_a_grade_and_a_reason(labelled, grade, reason, sentence):
    app = page(labelled, "Adjudicate", by=labelled.third)
    if grade:
        widget(app.radio, "The grade").set_value(grade)
    widget(app.text_area, "Reason (kept with the decision)").set_value(reason)
    press(app, "Decide")
    assert sentence in app.error[0].value
    found = adjudication.disagreements(labelled.engine, labelled.third, labelled.collection_id)
    assert all(not each.is_decided for each in found)


def test_the_pi_decides_in_a_joint_session_with_the_names_of_those_present(labelled):
    app = page(labelled, "Adjudicate")
    widget(app.radio, "The grade").set_value("1")
    widget(app.text_area, "Reason (kept with the decision)").set_value("agreed in the room")
    press(app, "Decide")
    assert "agreed in the room" in said(app)
    state = reference.reference_state(labelled.engine, labelled.pi, labelled.collection_id)
    assert (state.joint, state.adjudicated) == (1, 0)


@pytest.mark.parametrize("who", ["first", "second", "coordinator"])
def test_annotators_and_coordinator_see_no_disagreement(labelled, who):
    app = page(labelled, "Adjudicate", by=getattr(labelled, who))
    assert not app.radio and not re.search("[0-3] (normal|mild|moderate|severe) / ", said(app))


def test_the_reference_says_what_is_missing_and_is_locked_under_a_typed_name(labelled):
    app = page(labelled, "Reference")
    assert "Before the lock" in said(app) and not [each for each in app.button if each.key == "lock-reference"]
    decide_all(labelled)
    app = press(page(labelled, "Reference"), "lock-reference")
    answer(app, "Sign and lock", name="Somebody else", word="lock")
    assert app.error and not reference.reference_versions(labelled.engine, labelled.pi, labelled.collection_id)
    answer(app, "Sign and lock", name=labelled.pi.name, word="lock")
    (version,) = reference.reference_versions(labelled.engine, labelled.pi, labelled.collection_id)
    text = said(page(labelled, "Reference"))
    assert version.sha256 in text
    assert {each.label: each.value for each in page(labelled, "Reference").metric} == {
        "Agreed by two": "27", "Adjudicated by a third": "3",
    }


def test_the_coordinator_cannot_lock_the_reference(labelled):
    decide_all(labelled)
    app = page(labelled, "Reference", by=labelled.coordinator)
    assert "principal investigator can lock" in said(app) and not [e for e in app.button if e.key == "lock-reference"]


def test_the_split_is_previewed_locked_under_a_typed_name_and_then_read_only(locked):
    app = page(locked, "Split")
    assert "Table 1" in said(app) and len(app.get("plotly_chart")) == 1
    widget(app.number_input, "split-seed").set_value(7).run()
    answer(press(app, "lock-split"), "Sign and lock", name=locked.pi.name, word="lock")
    version = split.split_of(locked.engine, locked.pi, locked.collection_id)
    assert version and version.plan.seed == 7
    app = page(locked, "Split")
    assert version.sha256 in said(app) and "Table 1" in said(app) and len(app.get("plotly_chart")) == 1
    assert not app.number_input and not [each for each in app.button if each.key == "lock-split"]


def test_shares_that_do_not_add_up_are_refused_in_a_sentence(locked):
    app = page(locked, "Split")
    widget(app.number_input, "split-control").set_value(50.0).run()
    assert "make them add up to 100 %" in app.error[0].value and not app.get("plotly_chart")


def test_the_coordinator_cannot_split(locked):
    app = page(locked, "Split", by=locked.coordinator)
    assert "principal investigator draws and locks" in said(app) and not app.number_input


@pytest.fixture
def divided(locked) -> Curated:
    """The split is locked."""
    plan = split.SplitPlan()
    split.lock_split(locked.engine, locked.pi, locked.collection_id, plan, typed_name=locked.pi.name)
    return locked


def test_a_training_without_installed_models_is_refused_in_a_sentence(divided):
    assert "install the shipped models" in page(divided, "Train").error[0].value


@pytest.fixture
def launched(divided, monkeypatch, tmp_path) -> Iterator[list[tuple[Path, str]]]:
    """A version to go on from, and a configuration of a few steps; the runs whose process would have been started."""
    models, folder, runs = tmp_path / "models", tmp_path / "configurations", []
    models.mkdir()
    folder.mkdir()
    write_configuration(folder / "fine-tune.json", start=add_base(models))
    monkeypatch.setattr(training_runs, "CONFIGURATIONS", folder)
    monkeypatch.setattr(run_folder, "launch", lambda *run: runs.append(run))
    monkeypatch.setattr("lss_core.training.train.VALIDATION_SAMPLES", 4)
    monkeypatch.setattr("lss_core.training.calibrate.PATCHES", 6)
    before = signal.getsignal(signal.SIGTERM)
    yield runs
    signal.signal(signal.SIGTERM, before)


def test_a_training_is_started_stopped_taken_up_again_and_ends_as_the_version_to_evaluate(divided, launched):
    app = page(divided, "Train")
    assert "No training yet." in said(app) and widget(app.multiselect, "Versions").value == []
    assert not [each for each in app.selectbox if each.key == "train-detector"], "there is only the shared one"
    press(app, "Evaluate on the control set")
    assert "No version is chosen" in app.error[0].value
    press(app, "Start the training")
    assert "A new version needs a name" in app.error[0].value
    widget(app.text_input, "train-name").set_value("ours")
    press(app, "Start the training")
    wait_for(lambda: launched)
    app = page(divided, "Train")
    assert "waits for the training before it" in said(app)
    press(app, "Stop")
    assert "stopped; it can go on where it was" in said(app)
    press(app, "Go on")
    assert len(launched) == 2
    assert carry_out(*launched[-1]) is RunState.DONE
    app = page(divided, "Train")
    assert "done; the version is among the models" in said(app)
    assert widget(app.multiselect, "Versions").value == ["ours"]


def test_a_detector_of_own_boxes_is_offered_to_the_next_classifier(divided, launched, tmp_path):
    add_detector(tmp_path / "models", "ours-detector")
    app = page(divided, "Train")
    widget(app.selectbox, "train-detector").set_value("ours-detector")
    widget(app.text_input, "train-name").set_value("ours")
    press(app, "Start the training")
    wait_for(lambda: launched)
    assert run_folder.read_asked(*launched[0]).detector == "ours-detector"


def test_the_control_set_is_handed_over_to_a_draft_study_that_the_pi_opens(divided):
    app = page(divided, "Hand over")
    widget(app.text_input, "handover-title").set_value("Readers on our control set")
    press(app, "Open the reader study")
    wait_for(lambda: studies.my_studies(divided.engine, divided.pi))
    (study,) = studies.my_studies(divided.engine, divided.pi)
    assert study.title == "Readers on our control set" and study.test_cases == 2
    app.run()
    assert "is made, in draft" in said(app)


def test_the_coordinator_cannot_hand_over(divided):
    app = page(divided, "Hand over", by=divided.coordinator)
    assert "Only the principal investigator" in said(app) and not app.text_input


def wait_for(happened: Callable[[], object]) -> None:
    end_s = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end_s, "it did not happen within a minute"
        time.sleep(0.05)
