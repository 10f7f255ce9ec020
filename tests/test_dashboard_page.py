"""The dashboard, run in process: what it shows before and after unblinding, to whom, and what the filter reaches."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core.permissions import Role
from lss_core.study import acting, lifecycle, people
from lss_core.study.actors import Actor
from lss_core.study.connection import open_database, transaction
from lss_core.study.database import Study
from lss_core.study.protocol import AnalysisPlan
from lss_core.vocabulary import Grade, Region
from tests.people_cases import audit_lines
from tests.planted import read_session
from tests.reading_room import BOXES, PLANTED, QUICK, Room, make_room, person
from tests.studies import NOW
from ui.access import SESSION_COOKIE

ROOT = Path(__file__).resolve().parent.parent
COOKIE = "the browser of the tests"
COORDINATOR = "coordinator@planted.example"
PROTOCOL = replace(QUICK, analysis=AnalysisPlan(bootstraps=50))
TABS = ("Headline", "Readers", "Confusion", "ROC", "Agreement", "Parts", "Aid", "Time", "Repeats", "Calibration",
        "MRMC", "Tables", "Report", "Progress")
logging.getLogger("streamlit").setLevel(logging.ERROR)


@pytest.fixture
def room(monkeypatch, tmp_path) -> Room:
    """A study of eight cases of phantoms that two readers have read; still blinded."""
    url = f"sqlite:///{tmp_path / 'studies.sqlite'}"
    for name, value in {"DATABASE_URL": url, "LSS_DATA": tmp_path, "LSS_IMAGES": tmp_path / "images",
                        "LSS_MODELS": tmp_path / "models"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", "localhost:8501")]))
    monkeypatch.setattr(ContextProxy, "ip_address", None)
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: COOKIE}))
    made = make_room(open_database(url), tmp_path / "images", protocol=PROTOCOL, test=8, now=NOW,
                     truth=lambda number: Grade(number % 4))
    people.invite(made.engine, made.pi, made.study_id, email=COORDINATOR, role=Role.COORDINATOR, now=NOW)
    for number, reader in enumerate(made.readers):
        read_session(made.engine, person(made.engine, reader.email), made.study_id, grade=1 + number,
                     at=NOW + timedelta(hours=1))
    return made


@pytest.fixture
def unblinded(room) -> Room:
    after = NOW + timedelta(days=1)
    lifecycle.close(room.engine, room.pi, room.study_id, reason="complete", now=after)
    lifecycle.unblind(room.engine, room.pi, room.study_id, reason="analysis", now=after)
    return room


def page(room: Room, by: Actor, *, board: str = "", study: str | None = None) -> AppTest:
    acting.act_as(room.engine, cookie=COOKIE, account_id=by.account_id)
    app = AppTest.from_file(str(ROOT / "pages" / "dashboard.py"), default_timeout=240)
    if study != "":
        app.query_params["study"] = study or room.token
    if board:
        app.query_params["board"] = board
    return run(app)


def run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def look_at(app: AppTest, board: str) -> AppTest:
    app.query_params["board"] = board
    app.session_state["board"] = board
    return run(app)


def everything(app: AppTest) -> str:
    """All that reaches the browser: texts, tables, figures with their data."""
    return "\n".join(str(each.proto) for each in app if hasattr(each, "proto"))


def charts(app: AppTest) -> list[dict]:
    """The data of each figure on the page."""
    found = [json.loads(each.proto.json) for each in app.get("bidi_component")]
    return [each for each in found if "figure" in each]


def widget(found, label: str):
    (one,) = [each for each in found if label in (each.key, each.label)]
    return one


def test_before_unblinding_only_progress_is_shown_and_nothing_planted_or_computed_of_it(room):
    app = page(room, room.pi)
    shown = everything(app)
    assert "Until it is closed and unblinded" in app.info[0].value
    assert [each["file"] for each in charts(app)] == ["completeness", "durations"]
    assert "Completeness" in shown and "Rhea Reader1" in shown
    assert not [text for text in PLANTED if text in shown and text != room.pi.email]
    for word in ("ccuracy", "kappa", "sensitivity", "Headline", "onfusion"):
        assert word not in shown, word
    assert not app.tabs and "Filter" not in [each.label for each in app.expander]


def test_a_closed_study_is_still_blinded(room):
    lifecycle.close(room.engine, room.pi, room.study_id, reason="complete", now=NOW + timedelta(days=1))
    app = page(room, room.pi, board="Headline")
    assert "The study is closed" in app.info[0].value and not app.tabs


def test_every_tab_is_made_after_unblinding(unblinded):
    app = page(unblinded, unblinded.pi)
    assert [tab.label for tab in app.tabs][:len(TABS)] == list(TABS)
    made = {}
    for name in TABS:
        made[name] = [each["file"] for each in charts(look_at(app, name))]
        assert not app.error, (name, app.error[0].value)
    assert made["Headline"] == ["headline-central-canal", "headline-lateral-recess"]
    assert made["Confusion"] and made["ROC"] and made["MRMC"] and made["Calibration"]
    assert made["Tables"] == made["Report"] == [] and made["Progress"] == ["completeness", "durations"]


def test_any_token_that_a_study_may_draw_opens_its_figures(unblinded):
    """Streamlit refuses some letters in a row in the names of components."""
    with transaction(unblinded.engine) as session:
        session.get_one(Study, unblinded.study_id).token = "a__b--_-"
    assert len(charts(page(unblinded, unblinded.pi, board="Headline", study="a__b--_-"))) == 2


def test_what_is_not_estimable_is_said(unblinded):
    app = page(unblinded, unblinded.pi, board="Aid")
    assert any("arm" in each.value for each in app.info)


def test_a_filter_reaches_every_figure_and_is_printed_on_it(unblinded):
    app = page(unblinded, unblinded.pi, board="Readers")
    before = {each["file"]: each["csv"] for each in charts(app)}
    widget(app.multiselect, "Reader").set_value(["R01"])
    widget(app.multiselect, "Reference grade").set_value([0, 1])
    after = charts(run(app))
    assert after
    for each in after:
        assert "Filter: readers R01; reference grade 0, 1." in each["statement"]
        assert "readers R01" in json.loads(each["figure"])["layout"]["title"]["subtitle"]["text"].replace("<br>", " ")
        assert "readers R01" in each["csv"].splitlines()[0] and each["csv"] != before.get(each["file"])
    widget(app.button, "Keep everything").click()
    assert {each["file"]: each["csv"] for each in charts(run(app))} == before


def test_a_filter_that_leaves_nothing_is_refused_in_a_sentence(unblinded):
    app = page(unblinded, unblinded.pi)
    widget(app.selectbox, "Image quality").set_value("flagged")
    assert "No reading is left with the filter: image quality flagged" in run(app).error[0].value


def test_the_cases_of_a_cell_lead_to_the_viewer_with_the_heat_map_and_the_log_tells_of_it(unblinded):
    app = page(unblinded, unblinded.pi, board="Confusion")
    widget(app.selectbox, "Reference grade").set_value(2)
    widget(app.selectbox, "Graded").set_value(3)
    widget(app.button, "List its cases").click()
    cell = widget(run(app).radio, "Open a case")
    assert cell.options == ["case 3, central canal", "case 7, central canal"]      # the model says 3 of everything
    assert not audit_lines(unblinded.engine, "look at case")
    cell.set_value(cell.options[1])
    run(app)
    (viewer,) = [data for each in app.get("bidi_component")
                 for data in [json.loads(each.proto.json)] if "volume" in data]
    assert viewer["overlay"]["box"] == BOXES[Region.CENTRAL_CANAL].as_list()
    assert viewer["selected"] == Region.CENTRAL_CANAL and viewer["slice"] == 7
    run(app)
    (line,) = audit_lines(unblinded.engine, "look at case")
    assert line.subject == "case 7"


def test_the_coordinator_sees_the_same_and_a_reader_none_of_it(unblinded):
    app = page(unblinded, person(unblinded.engine, COORDINATOR), board="Headline")
    assert [each["file"] for each in charts(app)] == ["headline-central-canal", "headline-lateral-recess"]
    app = page(unblinded, unblinded.readers[0], board="Headline")
    assert "needs the permission to see results" in app.error[0].value and not charts(app) and not app.title


def test_the_list_holds_own_studies_and_an_unknown_address_shows_no_other(unblinded):
    app = page(unblinded, unblinded.pi, study="")
    assert [each.label for each in app.button if each.label == "Canal study"]
    assert "figures" in everything(app)
    other = page(unblinded, unblinded.pi, study="unknown")
    assert "may not see" in other.warning[0].value and not other.tabs
