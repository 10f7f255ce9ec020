"""What axe finds on every page and in every state that a person meets: nothing (WCAG 2.1, levels A and AA)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect
from sqlalchemy import Engine

from lss_core.grading.pipeline import MODELS
from lss_core.permissions import Role
from lss_core.study import acting, desks, lifecycle, people
from lss_core.study.actors import Actor
from lss_core.study.connection import open_database
from lss_core.study.protocol import Design, Protocol, Revisit
from tests.browser.conftest import choose_tab, settle, started_server
from tests.curated import curated, locked_split, name_plan
from tests.planted import read_session
from tests.reading_room import QUICK, Room, aided, make_room, person
from tests.sign_in_server import installation
from tests.studies import made_up_study
from ui.access import SESSION_COOKIE

SLOW_MS = 300_000
NARROW: ViewportSize = {"width": 390, "height": 844}
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
# Labels of widgets that are switched off may be pale (WCAG 1.4.3 exempts them). axe knows that of a label that names
# its widget; Streamlit's label names none and says "disabled" itself.
SWITCHED_OFF = 'label[data-testid="stWidgetLabel"][disabled]'
NOVICE = "novice@planted.example"


@dataclass
class Studio:
    """A started server over one database, and a browser in which everybody has a profile of their own."""

    address: str
    engine: Engine
    images: Path
    browser: Browser
    profiles: dict[int, BrowserContext]

    def open(self, path: str, actor: Actor | None = None) -> Page:
        """A page as somebody sees it, the local user unless named, run to its end."""
        page = self._profile(actor).new_page()
        page.goto(f"{self.address}{path}")
        expect(page.get_by_role("note", name="Research use")).to_be_visible(timeout=SLOW_MS)
        at_rest(page)
        return page

    def _profile(self, actor: Actor | None) -> BrowserContext:
        account = actor.account_id if actor else 0
        if account not in self.profiles:
            context = self.browser.new_context(viewport={"width": 1280, "height": 900})
            if actor:
                cookie = f"profile-of-the-accessibility-tests-{account:012d}"
                acting.act_as(self.engine, cookie=cookie, account_id=account)
                context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": self.address}])
            self.profiles[account] = context
        return self.profiles[account]

    def room(self, protocol: Protocol = QUICK, *, begun: bool = True, **what) -> Room:
        """A study that is open for two readers; the first has begun."""
        made = make_room(self.engine, self.images, protocol=protocol, **what)
        if begun:
            desks.begin_session(self.engine, made.readers[0], made.study_id)
        return made


@pytest.fixture(scope="module")
def studio(browser, tmp_path_factory) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("studio")
    url = f"sqlite:///{home / 'studies.sqlite'}"
    environment = {"LSS_DATA": str(home), "LSS_MODELS": str(MODELS), "DATABASE_URL": url,
                   "LSS_IMAGES": str(home / "images"), "LSS_MODEL": ""}
    engine = open_database(url)
    with started_server(home / "log.txt", environment=environment) as address:
        made = Studio(address, engine, home / "images", browser, {})
        yield made
        for context in made.profiles.values():
            context.close()
    engine.dispose()


def at_rest(page: Page) -> None:
    """Wait until the page has run and nothing is faded: contrast is measured as it then stays."""
    settle(page)
    page.wait_for_timeout(400)


def unfold(page: Page) -> None:
    """Open what is folded: its contents have to be accessible too, and axe takes them for shown."""
    folded = page.locator("details:not([open]) > summary").filter(visible=True)
    while folded.count():
        folded.first.click()
        at_rest(page)


def violations(page: Page, where: str = "", *, within: str = "html") -> list[str]:
    """A line for each element that violates a rule."""
    assert page.get_by_test_id("stApp").count() == 1, "not a page of the studio"
    options = {"runOnly": RULES, "resultTypes": ["violations"]}
    found = Axe().run(page, {"include": [[within]], "exclude": [[SWITCHED_OFF]]}, options)["violations"]
    return [f"{where}: {rule['id']} ({rule['impact']}): {node['target']} {node['html'][:300]} {node['failureSummary']}"
            for rule in found for node in rule["nodes"]]


def tabs_of(page: Page, *, only: tuple[str, ...] = ()) -> list[str]:
    """What axe finds in each tab of a page, or in the named ones, opened one after the other."""
    found = []
    for tab in page.get_by_role("tablist").first.get_by_role("tab").all():
        name = tab.inner_text()
        if only and name not in only:
            continue
        choose_tab(page, tab)
        at_rest(page)
        expect(page.get_by_role("tabpanel").filter(visible=True).first).not_to_be_empty(timeout=SLOW_MS)
        unfold(page)
        found += violations(page, name)
    return found


def expect_none(found: list[str]) -> None:
    assert not found, "\n".join(found)


def test_axe_finds_what_is_wrong(studio):
    page = studio.open("/about")
    page.evaluate("document.querySelector('h1').insertAdjacentHTML('afterend', '<img src=\"data:,\"><input>')")
    assert {line.split()[1] for line in violations(page)} == {"image-alt", "label"}


@pytest.mark.parametrize("path", ["/about", "/account", "/grade", "/study", "/curate"])
def test_the_page_has_no_violation(studio, path):
    page = studio.open(path)
    unfold(page)
    found = violations(page, "wide")
    page.set_viewport_size(NARROW)
    at_rest(page)
    expect_none(found + violations(page, "narrow"))


def test_the_way_to_sign_in_has_no_violation(browser, tmp_path):
    with installation(tmp_path) as signed, signed.started() as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        try:
            page.goto(f"{address}/study")
            expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=SLOW_MS)
            at_rest(page)
            found = violations(page, "wide")
            page.set_viewport_size(NARROW)
            at_rest(page)
            expect_none(found + violations(page, "narrow"))
        finally:
            page.close()


def test_the_models_page_has_no_violation_in_any_tab(studio, models):
    expect_none(tabs_of(studio.open("/models")))


def test_a_graded_case_has_no_violation(studio, models):
    page = studio.open("/grade")
    page.get_by_role("button", name="Try a simulated case").click(timeout=SLOW_MS)
    expect(page.get_by_role("button", name=re.compile("grade [0-3], .*probability")).first).to_be_visible(
        timeout=SLOW_MS)
    expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    at_rest(page)
    expect_none(violations(page))


def test_a_draft_has_no_violation_in_any_tab(studio):
    draft = made_up_study(str(studio.engine.url), studio.images)
    page = studio.open(f"/study?study={draft.token}")
    found = tabs_of(page)
    choose_tab(page, "Overview")
    page.get_by_role("button", name="Lock the protocol …").click(timeout=SLOW_MS)
    expect(page.get_by_role("dialog")).to_be_visible(timeout=SLOW_MS)
    at_rest(page)
    expect_none(found + violations(page, "before the lock", within='[role="dialog"]'))


def test_an_open_study_has_no_violation_in_the_list_and_in_any_tab(studio):
    room = studio.room()
    page = studio.open(f"/study?study={room.token}", room.pi)
    dashboard = violations(studio.open(f"/dashboard?study={room.token}", room.pi), "dashboard")
    expect_none(violations(studio.open("/study", room.pi), "list") + tabs_of(page) + dashboard)


def test_an_unblinded_study_has_no_violation_in_any_tab_and_for_its_reader(studio):
    room = studio.room(replace(QUICK, own_result=True))
    for reader in room.readers:
        read_session(room.engine, person(room.engine, reader.email), room.study_id)
    lifecycle.close(room.engine, room.pi, room.study_id, reason="complete")
    lifecycle.unblind(room.engine, room.pi, room.study_id, reason="analysis")
    found = tabs_of(studio.open(f"/study?study={room.token}", room.pi))
    found += violations(studio.open("/dashboard", room.pi), "studies of the dashboard")
    # The tabs between these hold the same parts: figures and folded tables.
    found += tabs_of(studio.open(f"/dashboard?study={room.token}", room.pi),
                     only=("Confusion", "MRMC", "Report", "Progress"))
    result = studio.open(f"/read?study={room.token}", room.readers[0])
    expect(result.get_by_text("Your own result")).to_be_visible(timeout=SLOW_MS)
    expect_none(found + violations(result, "result"))


def test_a_collection_has_no_violation_in_any_tab_and_where_levels_are_marked_and_regions_drawn(studio):
    made = curated(str(studio.engine.url), studio.images, patients=1, local=True)
    found = tabs_of(studio.open(f"/curate?collection={made.token}"))
    page = studio.open(f"/curate?collection={made.token}&curate-tab=Regions", made.first)
    expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    unfold(page)
    page.get_by_role("button", name="Accept all").click()
    expect_none(found + violations(page, "regions"))


def test_labelling_and_what_follows_it_have_no_violation(studio):
    made = curated(str(studio.engine.url), studio.images, patients=6, local=True)
    locked_split(made)
    found = tabs_of(studio.open(f"/curate?collection={made.token}"),
                    only=("Plan", "Agreement", "Adjudicate", "Reference", "Split", "Train", "Hand over"))
    begun = curated(str(studio.engine.url), studio.images, patients=2, local=True)
    name_plan(begun)
    desk = studio.open(f"/curate?collection={begun.token}&curate-tab=Labels", begun.first)
    expect(desk.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    unfold(desk)
    expect_none(found + violations(desk, "labels"))


def test_what_comes_before_the_first_case_has_no_violation(studio):
    room = studio.room(begun=False)
    people.invite(room.engine, room.pi, room.study_id, email=NOVICE, role=Role.READER)
    path = f"/read?study={room.token}"
    experience = studio.open(path, person(room.engine, NOVICE))
    expect(experience.get_by_text("First, about you")).to_be_visible(timeout=SLOW_MS)
    instructions = studio.open(path, room.readers[0])
    expect(instructions.get_by_role("button", name="Begin session 1")).to_be_visible(timeout=SLOW_MS)
    studies = studio.open("/read", room.readers[0])
    expect_none(violations(experience, "experience") + violations(instructions, "instructions") + violations(
        studies, "list"))


# The keys that lead from each state of a case to the next, and what is then seen.
STATES: dict[str, tuple[list[str], str]] = {
    "incomplete": (["Enter"], ".lssd-problem:not(:empty)"),
    "keys": (["?"], "dialog[open]"),
    "criteria": (["Escape", "g"], ".lssd-criteria[open]"),
    "graded": ([key for grade in "013" for key in (grade, ".", "ArrowDown")], ".lssd-grade input:checked >> nth=2"),
    "not gradable": (["x"], ".lssd-reason >> visible=true"),
}


@pytest.mark.parametrize("protocol", [QUICK, aided(Design.AIDED)], ids=["unaided", "aided"])
def test_a_case_has_no_violation_in_any_of_its_states(studio, protocol):
    page = open_case(studio, studio.room(protocol))
    expect(page.locator(".lssd-model")).to_have_count(3 if protocol.aid else 0, timeout=SLOW_MS)
    found = violations(page, "empty")
    for name, (keys, seen) in STATES.items():
        press(page, keys)
        expect(page.locator(seen)).to_have_count(1)
        found += violations(page, name)
    page.set_viewport_size(NARROW)
    page.wait_for_timeout(500)
    expect_none(found + violations(page, "narrow"))


def test_a_training_case_with_its_reference_has_no_violation(studio):
    page = open_case(studio, studio.room(training=1))
    press(page, [*STATES["graded"][0], "Enter"])
    expect(page.get_by_text("Reference:")).to_have_count(3, timeout=SLOW_MS)
    expect_none(violations(page))


def press(page: Page, keys: list[str]) -> None:
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(200)


def open_case(studio: Studio, room: Room) -> Page:
    page = studio.open(f"/read?study={room.token}", room.readers[0])
    expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".lssd-cover")).to_be_hidden(timeout=SLOW_MS)
    page.wait_for_timeout(500)
    return page


def test_a_break_and_the_earlier_cases_have_no_violation(studio):
    page = open_case(studio, studio.room(replace(QUICK, revisit=Revisit.UNTIL_SIGNED)))
    page.get_by_role("button", name="Break").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible(timeout=SLOW_MS)
    at_rest(page)
    found = violations(page, "break")
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Earlier cases").click(timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Go on where I was")).to_be_visible(timeout=SLOW_MS)
    at_rest(page)
    expect_none(found + violations(page, "earlier cases"))


def test_the_signature_and_the_thanks_have_no_violation(studio):
    room = studio.room()
    reader = room.readers[0]
    read_session(room.engine, reader, room.study_id, sign=False)
    path = f"/read?study={room.token}"
    signature = studio.open(path, reader)
    expect(signature.get_by_role("button", name="Sign this session")).to_be_visible(timeout=SLOW_MS)
    found = violations(signature, "signature")
    read_session(room.engine, room.readers[1], room.study_id)
    expect_none(found + violations(studio.open(path, room.readers[1]), "thanks"))
