"""The page of collections, run in process: what each role sees and may do, and what stands in each state."""

import logging
import time
from pathlib import Path

import pytest
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core.curation import scans
from lss_core.imaging.pacs import PacsQuery
from lss_core.permissions import Role
from lss_core.study import acting, audit_log, people, studies
from lss_core.study.actors import Actor
from tests import test_pacs
from tests.curated import PLANTED_NAME, PLANTED_PATIENT, PLANTED_SITE, Curated, add_scan, curated
from tests.scans import write_series
from ui.access import SESSION_COOKIE
from ui.curate import jobs

ROOT = Path(__file__).resolve().parent.parent
COOKIE = "the browser of the tests"
filled = test_pacs.filled                       # an Orthanc that holds three CT studies
logging.getLogger("streamlit").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def installation(monkeypatch, tmp_path) -> str:
    """An installation of its own without models, seen from a browser on this machine. Returns its database's URL."""
    url = f"sqlite:///{tmp_path / 'studies.sqlite'}"
    for name, value in {"DATABASE_URL": url, "LSS_DATA": tmp_path, "LSS_IMAGES": tmp_path / "images",
                        "LSS_MODELS": tmp_path / "models", "LSS_RUNS": tmp_path / "runs"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("LSS_IMPORT_FOLDER", "LSS_PACS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", "localhost:8501")]))
    monkeypatch.setattr(ContextProxy, "ip_address", None)
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: COOKIE}))
    return url


@pytest.fixture
def made(installation, tmp_path) -> Curated:
    return curated(installation, tmp_path / "images", patients=2, local=True)


def page(made: Curated | None = None, tab: str = "Overview", *, by: Actor | None = None) -> AppTest:
    """The page as one person sees it."""
    if made and by:
        acting.act_as(made.engine, cookie=COOKIE, account_id=by.account_id)
    app = AppTest.from_file(str(ROOT / "pages" / "curate.py"), default_timeout=240)
    if made:
        app.query_params["collection"] = made.token
        app.query_params["curate-tab"] = tab
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def said(app: AppTest) -> str:
    """All that a page says."""
    texts = [*app.title, *app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.success, *app.subheader]
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
    """Fill in an open question and confirm it."""
    for field, text in typed.items():
        widget([*app.text_input, *app.text_area], f"question-{field}").set_value(text)
    return press(app, button)


def tabs_of(app: AppTest) -> set[str]:
    return {each.label for each in app.tabs}


def finished(app: AppTest, made: Curated) -> AppTest:
    """The page once the import that runs in the background is done."""
    job = jobs._jobs()[str(made.engine.url), made.collection_id, jobs.Kind.IMPORT]
    end_s = time.monotonic() + 60
    while job.running and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not job.running and not job.failed, job.failed
    return app.run()


def test_the_first_visit_says_how_a_collection_goes_and_makes_one():
    app = page()
    assert "No collection yet" in said(app)
    widget(app.text_input, "Title").set_value("Two surgeons")
    press(app, "Create the collection")
    assert app.title[0].value == "Two surgeons" and "You are its principal investigator" in said(app)
    assert app.query_params["collection"]


def test_a_collection_without_a_title_is_refused_in_a_sentence():
    assert "needs a title" in press(page(), "Create the collection").error[0].value


def test_the_list_opens_a_collection_and_leads_back(made):
    app = press(page(), f"open-{made.collection_id}")
    assert "From scans to a reader study" in said(app)
    assert press(app, "All collections").title[0].value == "Collections"


def test_an_unknown_address_shows_the_list_and_no_collection(made):
    app = AppTest.from_file(str(ROOT / "pages" / "curate.py"), default_timeout=240)
    app.query_params["collection"] = "guessed"
    app.run()
    assert "in which you have no role" in app.warning[0].value and app.title[0].value == "Collections"


def test_the_overview_says_what_is_done_and_leads_to_what_is_next(made):
    app = page(made)
    text = said(app)
    assert "2 scans of 2 patients." in text and "2 of 2 scans confirmed." in text and "Nobody has drawn yet." in text
    following = [each for each in app.button if str(each.key).startswith("go-") and each.proto.type == "primary"]
    assert [each.label for each in following] == ["Go to Regions"]
    press(app, "Go to Levels")
    assert "confirmed" in said(app)


def test_an_annotator_sees_the_own_work_and_neither_people_patients_sites_nor_names(made):
    for tab in ("Overview", "Levels", "Regions"):
        app = page(made, tab, by=made.first)
        assert not tabs_of(app) & {"People", "Import", "Plan", "Reference", "Split", "Train", "Hand over"}
        text = said(app) + str([each.options for each in app.selectbox])
        assert not [planted for planted in (PLANTED_PATIENT, PLANTED_SITE, PLANTED_NAME) if planted in text], tab
    assert "0 of 4 cases drawn" in said(page(made, by=made.first))


def test_the_pi_does_not_draw_and_reads_only_how_far_the_annotators_agree(made):
    app = page(made, "Regions")
    assert "Only annotators draw" in said(app) and not [each for each in app.selectbox if each.label == "Case"]
    assert "Median overlap (IoU)" in said(app)
    assert "Agreement of the annotators" not in str(page(made, "Regions", by=made.first).expander)


def test_who_has_no_role_is_not_let_in(made):
    app = page(made, by=made.outsider)
    assert app.title[0].value == "Collections" and "Made-up" not in said(app)


def test_a_reader_is_not_let_onto_the_page(made):
    people.allow_studies(made.engine, "other@example.org")
    study = studies.create(made.engine, made.outsider, title="A reader study")
    assert study.id is not None
    member = people.invite(made.engine, made.outsider, study.id, email="reads@example.org", role=Role.READER)
    reader = next(each for each in people.identities(made.engine) if each.account_id == member.account_id)
    app = page(made, by=reader)
    assert "permission to curate" in app.error[0].value and not app.title


def test_people_are_invited_and_a_reader_cannot_be(made):
    app = page(made, "People")
    widget(app.text_input, "invite-email").set_value("new@example.org")
    press(app, "Invite")
    assert "new@example.org is invited as annotator." in said(app)
    assert "reader" not in widget(app.selectbox, "invite-role").options


def test_a_coordinator_invites_annotators_alone(made):
    assert widget(page(made, "People", by=made.coordinator).selectbox, "invite-role").options == ["Annotator"]


def test_the_report_shows_what_was_refused_why_and_who_may_be_one_person(made):
    add_scan(made, 7, identity_digest="same")
    add_scan(made, 8, identity_digest="same", notes=("The slices are 5 mm thick: fine detail may be missed.",))
    scans.note_refused(made.engine, made.pi, made.collection_id, name="S-1", reason="Slices of 8 mm.",
                       source_digest="x" * 64)
    app = page(made, "Import")
    text = said(app)
    assert "Slices of 8 mm." in text and "5 mm thick" in text
    assert "may be one person" in text and "the same name, birth date and sex" in text


def test_two_patients_are_joined_with_a_reason(made):
    add_scan(made, 7, identity_digest="same")
    add_scan(made, 8, identity_digest="same")
    app = page(made, "Import")
    key = f"join-{PLANTED_PATIENT}-07-{PLANTED_PATIENT}-08"
    answer(press(app, key), "Join", reason="one person by the hospital's list", word="join")
    patients = {row.patient for row in scans.scans_of(made.engine, made.pi, made.collection_id)}
    assert f"{PLANTED_PATIENT}-08" not in patients and "may be one person" not in said(app)
    reasons = {line.reason for line in audit_log.lines_of(made.engine, made.pi, made.collection_id)}
    assert "one person by the hospital's list" in reasons


def test_a_scan_is_removed_with_a_reason_and_the_word(made):
    first = scans.scans_of(made.engine, made.pi, made.collection_id)[0].scan_id
    app = page(made, "Import")
    widget(app.selectbox, f"remove-scan-{made.token}").set_value(first).run()
    press(app, "remove-scan")
    answer(app, "Remove", reason="metal", word="no")
    assert "Type remove to confirm" in app.error[0].value
    answer(app, "Remove", reason="metal", word="remove")
    assert first not in {row.scan_id for row in scans.scans_of(made.engine, made.pi, made.collection_id)}


def test_a_folder_and_a_pacs_are_offered_only_where_the_operator_named_them(made, monkeypatch, tmp_path):
    app = page(made, "Import")
    assert widget(app.radio, "From").options == ["Upload"]
    assert "LSS_IMPORT_FOLDER" in said(app) and "LSS_PACS_URL" in said(app)
    monkeypatch.setenv("LSS_IMPORT_FOLDER", str(tmp_path))
    monkeypatch.setenv("LSS_PACS_URL", "http://127.0.0.1:1/dicom-web")
    assert widget(page(made, "Import").radio, "From").options == ["Upload", "Folder on the server", "PACS"]


def test_a_folder_of_the_server_is_imported_in_the_background_and_reported(made, monkeypatch, tmp_path):
    (tmp_path / "incoming" / "march").mkdir(parents=True)
    write_series(tmp_path / "incoming" / "march")
    monkeypatch.setenv("LSS_IMPORT_FOLDER", str(tmp_path / "incoming"))
    app = page(made, "Import")
    widget(app.radio, "From").set_value("Folder on the server").run()
    widget(app.text_input, "curate-import-folder").set_value("march")
    app = finished(press(app, "Import the folder"), made)
    assert "files of 1 study looked at" in said(app).replace("\\", "")


def test_a_folder_outside_of_the_operators_is_refused(made, monkeypatch, tmp_path):
    (tmp_path / "incoming").mkdir()
    monkeypatch.setenv("LSS_IMPORT_FOLDER", str(tmp_path / "incoming"))
    app = page(made, "Import")
    widget(app.radio, "From").set_value("Folder on the server").run()
    widget(app.text_input, "curate-import-folder").set_value("../images")
    press(app, "Import the folder")
    assert "below the import folder" in app.error[0].value


def test_what_a_search_of_the_pacs_finds_is_imported_and_reported(made, filled, monkeypatch):
    monkeypatch.setenv("LSS_PACS_URL", filled.url)
    app = page(made, "Import")
    before = len(scans.scans_of(made.engine, made.pi, made.collection_id))
    widget(app.radio, "From").set_value("PACS").run()
    widget(app.text_input, "Patient ID").set_value("NOBODY")
    press(app, "Search the PACS")
    assert "holds no CT study that fits" in said(app)
    widget(app.text_input, "Patient ID").set_value("")
    press(app, "Search the PACS")
    found = filled.find(PacsQuery())
    assert f"**{len(found)} studies** found" in said(app)
    app = finished(press(app, f"Import all {len(found)}"), made)
    assert "files of" in said(app) and "scans added" in said(app)
    assert len(scans.scans_of(made.engine, made.pi, made.collection_id)) > before


def test_a_pacs_that_does_not_answer_is_told_in_a_sentence(made, monkeypatch):
    monkeypatch.setenv("LSS_PACS_URL", "http://127.0.0.1:1/dicom-web")
    app = page(made, "Import")
    widget(app.radio, "From").set_value("PACS").run()
    press(app, "Search the PACS")
    assert "PACS" in app.error[0].value and "127.0.0.1" not in app.error[0].value


def test_a_lost_scan_is_told_in_a_sentence(made, tmp_path):
    for file in (tmp_path / "images").glob("*.ct"):
        file.unlink()
    assert "restore it from a backup" in page(made, "Levels").error[0].value
