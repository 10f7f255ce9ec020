"""The reading page in process: each stage, who may see it, what the desk is told. The desk itself needs a browser."""

import json
import logging
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core.study import cases, desks, finishing, lifecycle, reading, submitting
from lss_core.study.clock import utc_now
from lss_core.study.connection import open_database
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.protocol import Design, Protocol, Revisit
from lss_core.vocabulary import Grade, Region
from tests.reading_room import PLANTED, QUICK, Room, aided, make_room
from ui.access import SESSION_COOKIE
from ui.reading import desk as component
from ui.reading.criteria import EXAMPLES, NOT_GRADABLE_REASONS, QUALITY_REASONS, criterion, example_path

ROOT = Path(__file__).resolve().parent.parent
COOKIE = "c" * 43
FULL = Entry({region: RegionEntry(grade=2, confidence=70) for region in Region})
LARGEST_PICTURES = 300_000                      # bytes, all together
logging.getLogger("streamlit").setLevel(logging.ERROR)


@pytest.fixture
def room(monkeypatch, tmp_path):
    """Makes a study over an installation of its own, with its first reader before the page."""
    monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", "localhost:8501")]))
    monkeypatch.setattr(ContextProxy, "ip_address", None)
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: COOKIE}))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'studies.sqlite'}")
    monkeypatch.setenv("LSS_IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("LSS_DATA", str(tmp_path))

    def made(protocol: Protocol = QUICK, **what) -> Room:
        room = make_room(open_database(f"sqlite:///{tmp_path / 'studies.sqlite'}"), tmp_path / "images",
                         protocol=protocol, **what)
        room.enter(COOKIE)
        return room

    return made


def opened(study: str | None = None) -> AppTest:
    app = AppTest.from_file(str(ROOT / "pages" / "read.py"), default_timeout=240)
    if study:
        app.query_params["study"] = study
    return app.run()


def read_all(room: Room, *, at=None) -> None:
    """The first reader's open session, unsigned."""
    reader = room.readers[0]
    desks.begin_session(room.engine, reader, room.study_id, now=at)
    while case := reading.current_case(room.engine, reader, room.study_id, now=at):
        submitting.submit(room.engine, reader, case.token, change=case.change + 1, entry=FULL, revision=case.revision,
                          now=at)


def sign(room: Room, *, at=None) -> None:
    finishing.sign_session(room.engine, room.readers[0], room.study_id, typed_name="Rhea Reader1",
                           meaning="I read these", now=at)


def shown(app: AppTest) -> str:
    """All text of the page."""
    assert not app.exception
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.warning, app.error, app.success)
    return "\n".join(each.value for kind in kinds for each in kind)


def desk_data(app: AppTest) -> list[str]:
    """What the desk's component was given; empty where no desk is shown."""
    return [str(each.proto) for each in app.get("bidi_component")]


def test_a_person_without_a_role_as_reader_is_turned_away(room):
    made = room()
    made.readers = (made.pi,)
    made.enter(COOKIE)
    app = opened(made.token)
    assert "read cases" in app.error[0].value and not desk_data(app) and not app.title


def test_the_list_names_each_study_and_what_is_next(room):
    room()
    app = opened()
    assert "Canal study" in shown(app) and "ready to begin" in shown(app)
    app.button[0].click().run()
    assert app.query_params["study"] and "Grading criteria" in shown(app)


def test_an_address_of_a_study_in_which_one_does_not_read_opens_nothing(room):
    room()
    assert "in which you do not read" in shown(opened("unknown"))


def test_experience_is_asked_before_the_instructions(room):
    made = room(experienced=False)
    app = opened(made.token)
    assert "First, about you" in shown(app) and "Grading criteria" not in shown(app)
    for field, value in zip(app.text_input, ("Rhea Reader", "radiology"), strict=True):
        field.set_value(value)
    for number, value in zip(app.number_input, (6.0, 300), strict=True):
        number.set_value(value)
    app.button("FormSubmitter:experience-Save").click().run()
    assert "Grading criteria" in shown(app)


def test_the_session_begins_only_once_the_instructions_are_confirmed(room):
    made = room(replace(QUICK, instructions="Read **as usual**."))
    app = opened(made.token)
    begin = next(each for each in app.button if each.label == "Begin session 1")
    assert begin.disabled and "Read **as usual**." in shown(app)
    app.checkbox[0].check().run()
    next(each for each in app.button if each.label == "Begin session 1").click().run()
    assert desks.desk(made.engine, made.readers[0], made.study_id).stage is desks.Stage.CASE
    assert len(desk_data(app)) == 1


def test_the_desk_is_told_only_what_a_reader_may_know(room):
    made = room()
    desks.begin_session(made.engine, made.readers[0], made.study_id)
    case = reading.current_case(made.engine, made.readers[0], made.study_id)
    assert case is not None
    data = component.as_data(case, desks.desk(made.engine, made.readers[0], made.study_id).protocol_view, following="n")
    assert set(data) == {
        "token", "number", "total", "kind", "level", "aided", "entry", "change", "revision", "mayGoBack", "next",
        "feedback", "pauseS", "regions", "askConfidence", "criteria", "notGradableReasons", "qualityReasons",
    }
    told = json.dumps(data)
    assert not [secret for secret in (*PLANTED, case.scan_key, QUICK.seed) if secret in told]


def test_the_page_of_a_case_holds_no_planted_value(room):
    made = room()
    desks.begin_session(made.engine, made.readers[0], made.study_id)
    app = opened(made.token)
    told = shown(app) + "".join(desk_data(app))
    assert "notGradableReasons" in told and "Canal study" not in told
    assert not [secret for secret in (*PLANTED, *made.scan_keys) if "@" not in secret and secret in told]


def test_a_read_session_is_signed_with_a_chosen_meaning_and_the_own_name(room):
    made = room()
    read_all(made)
    app = opened(made.token)
    assert "All 3 cases of session 1 are submitted." in shown(app)
    app.text_input[0].set_value("Somebody Else")
    app.radio[0].set_value(app.radio[0].options[0])
    app.button("FormSubmitter:signature-Sign this session").click().run()
    assert "type your name" in app.error[0].value
    app.text_input[0].set_value("rhea  reader1")
    app.button("FormSubmitter:signature-Sign this session").click().run()
    assert "signed all sessions" in shown(app) and "%" not in shown(app)


def test_a_signature_without_meaning_is_refused(room):
    made = room()
    read_all(made)
    app = opened(made.token)
    app.text_input[0].set_value("Rhea Reader1")
    app.button("FormSubmitter:signature-Sign this session").click().run()
    assert "needs its meaning" in app.error[0].value


def test_the_washout_names_the_day_on_which_the_next_session_opens(room):
    made = room(aided(Design.UNAIDED_THEN_AIDED, sessions=2, washout_days=28))
    read_all(made)
    sign(made)
    opens = desks.opens_at(utc_now(), 28)
    assert f"Session 2 opens on {opens:%A, %d %B %Y}" in shown(opened(made.token))


def test_the_second_session_is_offered_after_the_washout(room):
    made = room(aided(Design.UNAIDED_THEN_AIDED, sessions=2, washout_days=28), now=utc_now() - timedelta(days=60))
    at = utc_now() - timedelta(days=29)
    read_all(made, at=at)
    sign(made, at=at)
    assert [each.label for each in opened(made.token).button][-1] == "Begin session 2"


@pytest.mark.parametrize(("act", "says"), [(lifecycle.pause, "The study is paused"), (lifecycle.close, "is closed")])
def test_a_study_that_is_not_open_says_so_and_shows_no_case(room, act, says):
    made = room()
    desks.begin_session(made.engine, made.readers[0], made.study_id)
    act(made.engine, made.pi, made.study_id, reason="because")
    app = opened(made.token)
    assert says in shown(app) and not desk_data(app)


def test_a_break_shows_no_case_until_the_reader_goes_on(room):
    made = room()
    desks.begin_session(made.engine, made.readers[0], made.study_id)
    case = reading.current_case(made.engine, made.readers[0], made.study_id)
    assert case is not None
    app = AppTest.from_file(str(ROOT / "pages" / "read.py"), default_timeout=240)
    app.query_params["study"] = made.token
    app.session_state["reading_break"] = case.token
    app.run()
    assert "Break" in shown(app) and not desk_data(app)
    app.button[0].click().run()
    assert desk_data(app)


def test_earlier_cases_are_offered_at_the_end_where_the_protocol_allows_it(room):
    made = room(replace(QUICK, revisit=Revisit.UNTIL_SIGNED))
    read_all(made)
    app = opened(made.token)
    assert [each.label for each in app.expander] == ["Look at an earlier case again"]
    next(each for each in app.button if each.label == "Open this case again").click().run()
    assert desk_data(app)


@pytest.mark.parametrize("own_result", [True, False])
def test_the_own_result_is_shown_after_unblinding_only_where_the_protocol_allows_it(room, own_result):
    made = room(replace(QUICK, own_result=own_result))
    read_all(made)
    sign(made)
    lifecycle.close(made.engine, made.pi, made.study_id, reason="done")
    assert "own result" not in shown(opened(made.token)).lower()
    lifecycle.unblind(made.engine, made.pi, made.study_id, reason="analysis")
    assert ("Your own result" in shown(opened(made.token))) is own_result


def test_a_browser_without_cookie_gets_no_case(room, monkeypatch):
    made = room()
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({}))
    assert not desk_data(opened(made.token))


def test_every_grade_has_its_criterion_and_a_small_simulated_picture():
    assert {(region, grade) for region, grade in EXAMPLES} >= {(Region.CENTRAL_CANAL, grade) for grade in Grade}
    assert sum(example_path(region, grade).stat().st_size for region, grade in EXAMPLES) < LARGEST_PICTURES
    assert len({criterion(region, grade) for region, grade in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize("reason", [*NOT_GRADABLE_REASONS, *QUALITY_REASONS])
def test_every_reason_that_the_form_offers_can_be_stored(reason):
    assert RegionEntry(not_gradable=reason).is_answered
    assert asdict(Entry(image_quality=reason))["image_quality"] == reason


def test_the_preview_shows_the_instructions_and_keeps_nothing(room):
    made = room(training=1)

    def page(token: str) -> None:
        from lss_core.study import cases, studies
        from ui import access, resources
        from ui.reading import preview

        visitor = access.require(access.Permission.MANAGE_STUDY)
        assert visitor.actor is not None
        engine = resources.studies()
        study = next(each for each in studies.my_studies(engine, visitor.actor) if each.token == token)
        protocol, _ = studies.protocol_of(engine, visitor.actor, study.study_id)
        preview.show(visitor, protocol, cases.cases_of(engine, visitor.actor, study.study_id))

    made.readers = (made.pi,)
    made.enter(COOKIE)
    app = AppTest.from_function(page, args=(made.token,), default_timeout=240).run()
    assert "Grading criteria" in shown(app)
    (told,) = desk_data(app)
    assert "preview" in told and not [secret for secret in (*PLANTED, *made.scan_keys) if secret in told]
    assert len(cases.cases_of(made.engine, made.pi, made.study_id)) == 4
