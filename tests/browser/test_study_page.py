"""The study's page in a real browser: a principal investigator builds a study of simulated cases and locks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lss_core.settings import Settings
from lss_core.study import cases, people, studies
from lss_core.study.connection import open_database
from lss_core.study.database import StudyState
from tests.browser.conftest import choose_tab, settle, started_server
from tests.model_folders import CALIBRATION, add_shared_networks, add_version
from tests.studies import made_up_study

SLOW_MS = 300_000
IMPORT_MS = 1_200_000                           # a scan takes 20 s alone on two cores, and minutes beside other tests
READERS = ("ana@example.org", "ben@example.org", "cho@example.org")
TABS = ("Overview", "Cases", "Protocol", "People", "Preview", "Progress", "Audit", "Export")


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    """Two untrained versions, which find no disc; what they are asked and what is stored is the same as with others."""
    home = tmp_path_factory.mktemp("installation")
    models = home / "models"
    add_shared_networks(models)
    for seed, name in enumerate(("v1", "v2")):
        add_version(models, name, seed=seed, calibration=CALIBRATION)
    return Settings(models=models, data=home, database_url=f"sqlite:///{home / 'studies.sqlite'}",
                    image_store=str(home / "images"))


@pytest.fixture(scope="module")
def studio(settings, tmp_path_factory) -> Iterator[str]:
    """The server over an installation without any study."""
    environment = {
        "LSS_DATA": str(settings.data), "DATABASE_URL": settings.database_url, "LSS_IMAGES": settings.image_store,
        "LSS_MODELS": str(settings.models), "LSS_MODEL": "",
    }
    with started_server(tmp_path_factory.mktemp("studio") / "log.txt", environment=environment) as address:
        yield address


def fits(page: Page) -> bool:
    """Whether nothing but a table's own scroll bar is needed from left to right."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def go_to(page: Page, tab: str) -> None:
    choose_tab(page, tab)


def show(page: Page, text: str, *, within_ms: int = SLOW_MS) -> None:
    expect(page.get_by_text(text).filter(visible=True).first).to_be_visible(timeout=within_ms)


def test_the_pi_builds_a_study_of_simulated_cases_invites_three_readers_and_locks(open_page, studio, settings):
    page = open_page("/study", address=studio)
    create(page, "Readers against model on simulated CT")
    page.get_by_role("button", name="Go to Cases").first.click()
    import_simulated(page, patients=1, kind="Test cases, counted")
    write_instructions(page)
    for email in READERS:
        invite(page, email)
    lock(page)
    engine = open_database(settings.database_url)
    actor = people.local_account(engine)
    (study,) = studies.my_studies(engine, actor)
    protocol, version = studies.protocol_of(engine, actor, study.study_id)
    assert (study.state, study.is_demo, study.readers) == (StudyState.OPEN, True, 3)
    assert (study.test_cases, study.training_cases) == (5, 0)
    assert protocol.instructions == "Grade what you see."
    assert all(row.versions == {"v1", "v2"} for row in cases.cases_of(engine, actor, study.study_id))
    expect(page.get_by_text(version.sha256).first).to_be_visible(timeout=SLOW_MS)
    page.reload()
    show(page, "The protocol is locked and readers can read.")


def create(page: Page, title: str) -> None:
    page.get_by_role("textbox", name="Title").fill(title, timeout=SLOW_MS)
    page.get_by_role("button", name="Create the study").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible(timeout=SLOW_MS)
    show(page, "There is no test case; import the control set.")


def import_simulated(page: Page, *, patients: int, kind: str) -> None:
    """Import simulated patients with all levels, and wait until they are there."""
    page.get_by_text(kind, exact=True).click(timeout=SLOW_MS)
    settle(page)
    number = page.get_by_role("spinbutton", name="Patients")
    number.fill(str(patients))
    number.press("Enter")
    settle(page)
    page.get_by_role("button", name="Import simulated patients").click()
    show(page, "It goes on when you leave this page.")
    show(page, f"{5 * patients} cases imported.", within_ms=IMPORT_MS)
    expect(page.get_by_role("region", name="Cases")).to_be_visible()
    show(page, "SIMULATED")


def write_instructions(page: Page) -> None:
    go_to(page, "Protocol")
    page.get_by_role("textbox", name="Instructions to readers").fill("Grade what you see.", timeout=SLOW_MS)
    page.get_by_role("textbox", name="Instructions to readers").press("Tab")
    show(page, "not saved")
    page.get_by_role("button", name="Save the protocol").click()
    show(page, "The protocol is saved.")


def invite(page: Page, email: str) -> None:
    go_to(page, "People")
    expect(page.get_by_role("button", name="Invite", exact=True)).to_be_visible(timeout=SLOW_MS)    # Enter presses it
    page.get_by_role("textbox", name="E-mail").fill(email, timeout=SLOW_MS)
    page.get_by_role("textbox", name="E-mail").press("Enter")
    show(page, f"{email} is invited as reader.")


def lock(page: Page) -> None:
    """By keyboard; the first word is wrong."""
    go_to(page, "Overview")
    button = page.get_by_role("button", name="Lock the protocol …")
    expect(button).to_be_visible(timeout=SLOW_MS)
    button.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Sign and lock")).to_be_visible(timeout=SLOW_MS)   # Enter presses it
    settle(page)
    name = dialog.get_by_role("textbox", name="Sign with your name")
    name.fill("local user", timeout=SLOW_MS)
    word = dialog.get_by_role("textbox", name="to confirm")
    word.fill("yes")
    word.press("Enter")
    settle(page)
    expect(dialog.get_by_text("Type lock to confirm.")).to_be_visible(timeout=SLOW_MS)
    word.fill("lock")
    word.press("Enter")
    show(page, "is locked and the study is open to its readers")


@pytest.fixture(scope="module")
def draft(settings) -> str:
    """The token of a draft with made-up cases."""
    return made_up_study(settings.database_url, Path(settings.image_store)).token


def test_a_study_that_is_opened_from_the_list_begins_with_its_overview(open_page, studio, draft):
    page = open_page(f"/study?study={draft}&tab=Cases", address=studio)
    page.get_by_role("button", name="All studies").click(timeout=SLOW_MS)
    page.get_by_role("button", name="Made-up study").click(timeout=SLOW_MS)
    overview = page.get_by_role("tab", name="Overview", exact=True)
    expect(overview).to_have_attribute("aria-selected", "true", timeout=SLOW_MS)
    show(page, "Before the lock")


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_every_tab_fits_into_the_window_and_is_kept_by_a_reload(open_page, studio, draft, width):
    page = open_page(f"/study?study={draft}", address=studio, width=width)
    expect(page.get_by_role("heading", name="Made-up study")).to_be_visible(timeout=SLOW_MS)
    for tab in TABS:
        choose_tab(page, tab)
        panel = page.get_by_role("tabpanel").filter(visible=True).first
        expect(panel).not_to_be_empty(timeout=SLOW_MS)
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=SLOW_MS)
        assert fits(page), tab
    page.reload()
    export = page.get_by_role("tab", name="Export", exact=True)
    expect(export).to_have_attribute("aria-selected", "true", timeout=SLOW_MS)
