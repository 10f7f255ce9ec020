"""Labelling in a real browser: by keyboard alone, nothing lost by a reload; then agreement, decisions, locks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import Engine

from lss_core.curation import labels, split
from lss_core.study import acting
from lss_core.study.actors import Actor
from lss_core.study.connection import open_database
from tests.browser.conftest import choose_tab, settle, started_server
from tests.curated import PLANTED_NAME, PLANTED_PATIENT, PLANTED_SITE, Curated, curated, graded, name_plan
from ui.access import SESSION_COOKIE

SLOW_MS = 60_000
PATIENTS = 3
CASES = 2 * PATIENTS


@dataclass
class Studio:
    """A started server over one collection, and a browser profile for each person."""

    address: str
    engine: Engine
    made: Curated
    browser: Browser
    profiles: dict[int, BrowserContext]

    def open(self, tab: str, by: Actor, *, width: int = 1280) -> Page:
        page = self._profile(by).new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{self.address}/curate?collection={self.made.token}&curate-tab={tab.replace(' ', '+')}")
        chosen = page.get_by_role("tab", name=tab, exact=True)
        expect(chosen).to_have_attribute("aria-selected", "true", timeout=SLOW_MS)
        settle(page)
        return page

    def _profile(self, by: Actor) -> BrowserContext:
        if by.account_id not in self.profiles:
            cookie = f"profile-of-the-labelling-tests-{by.account_id:012d}"
            acting.act_as(self.engine, cookie=cookie, account_id=by.account_id)
            context = self.browser.new_context()
            context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": self.address}])
            self.profiles[by.account_id] = context
        return self.profiles[by.account_id]


@pytest.fixture(scope="module")
def studio(browser, tmp_path_factory) -> Iterator[Studio]:
    """A collection of confirmed levels whose annotators are named."""
    home = tmp_path_factory.mktemp("studio")
    url = f"sqlite:///{home / 'studies.sqlite'}"
    made = curated(url, Path(home / "images"), patients=PATIENTS, local=True)
    name_plan(made)
    environment = {"LSS_DATA": str(home), "LSS_MODELS": str(home / "models"), "DATABASE_URL": url,
                   "LSS_IMAGES": str(home / "images"), "LSS_RUNS": str(home / "runs"), "LSS_MODEL": ""}
    with started_server(home / "log.txt", environment=environment) as address:
        made_studio = Studio(address, open_database(url), made, browser, {})
        yield made_studio
        for context in made_studio.profiles.values():
            context.close()


def wait_for_case(page: Page, number: int) -> None:
    title = re.compile(rf"^Case {number} of {CASES} · L")
    expect(page.locator(".lssd-title")).to_have_text(title, timeout=SLOW_MS)
    expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".lssd-cover")).to_be_hidden(timeout=SLOW_MS)
    page.wait_for_timeout(500)                  # an Enter just after a case appears is meant for the one before


def grade_by_keys(page: Page, *grades: int) -> None:
    for grade in grades:
        page.keyboard.press(str(grade))
        page.keyboard.press("ArrowDown")


def checked(page: Page) -> list[str]:
    return page.eval_on_selector_all(".lssd-grade input:checked", "inputs => inputs.map((input) => input.value)")


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def label_by_keys(studio: Studio, by: Actor) -> None:
    """An annotator labels every case by keyboard; on the first case the page is left in the middle."""
    page = studio.open("Labels", by)
    wait_for_case(page, 1)
    grade_by_keys(page, 2, 1)
    expect(page.locator('.lssd-state[data-state="saved"]')).to_have_text("Saved", timeout=SLOW_MS)
    page.reload()
    wait_for_case(page, 1)
    assert checked(page) == ["2", "1"], "what was entered is there again"
    grade_by_keys(page, 2, 1, 0)
    page.keyboard.press("Enter")
    for number in range(2, CASES + 1):
        wait_for_case(page, number)
        grade_by_keys(page, 2, 1, 0)
        page.keyboard.press("Enter")
    expect(page.get_by_text(f"You have labelled all {CASES} cases.")).to_be_visible(timeout=SLOW_MS)
    page.close()


def test_two_label_by_keyboard_a_third_decides_and_the_pi_locks_reference_and_split(studio):
    made = studio.made
    label_by_keys(studio, made.first)
    label_alike_but_once(made)
    assert len(labels.my_labels(studio.engine, made.first, made.collection_id)) == CASES
    page = studio.open("Agreement", made.pi)
    expect(page.get_by_role("region", name="Agreement of the two annotators")).to_contain_text("Lateral recess")
    expect(page.locator(".js-plotly-plot")).to_have_count(2, timeout=SLOW_MS)
    page = studio.open("Adjudicate", made.third)
    decide_all(page)
    page = studio.open("Reference", made.pi)
    sign(page, "Lock the reference …", "is locked. SHA-256")
    page = studio.open("Split", made.pi)
    expect(page.get_by_text("nobody is in the control set")).to_be_visible(timeout=SLOW_MS)
    share_alike(page)
    sign(page, "Lock the split …", "The split is locked. SHA-256")
    assert split.split_of(studio.engine, made.pi, made.collection_id) is not None
    for tab in ("Plan", "Labels", "Agreement", "Adjudicate", "Reference", "Split", "Train", "Hand over"):
        choose_tab(page, tab)
        page.set_viewport_size({"width": 800, "height": 900})
        assert fits(page), tab


def label_alike_but_once(made: Curated) -> None:
    """The second annotator says the same everywhere but in one region of the case that is met first."""
    sides = 3
    while task := labels.next_case(made.engine, made.second, made.collection_id):
        labels.submit_label(made.engine, made.second, task.token, change=1, revision=1, entry=graded(2, 1, sides))
        sides = 0


def decide_all(page: Page) -> None:
    while page.get_by_role("button", name="Decide").count():
        expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
        page.get_by_role("radio", name="0 normal").check(force=True)
        page.get_by_role("textbox", name="Reason (kept with the decision)").fill("fat is kept all round")
        page.get_by_role("button", name="Decide").click()
        expect(page.get_by_text("is decided: 0 normal")).to_be_visible(timeout=SLOW_MS)
        settle(page)
    expect(page.get_by_text("Everything is decided.")).to_be_visible(timeout=SLOW_MS)


def share_alike(page: Page) -> None:
    """Three patients, one for each part."""
    for part, share in (("Training", "34"), ("Validation", "33"), ("Control", "33")):
        number = page.get_by_role("spinbutton", name=f"{part} (%)")
        number.fill(share)
        number.press("Enter")
        settle(page)


def sign(page: Page, button: str, said: str) -> None:
    page.get_by_role("button", name=button).click(timeout=SLOW_MS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Sign with your name").fill("local user", timeout=SLOW_MS)
    dialog.get_by_role("textbox", name="to confirm").fill("lock")
    dialog.get_by_role("button", name="Sign and lock").click()
    expect(page.get_by_text(said).first).to_be_visible(timeout=SLOW_MS)
    settle(page)


def test_nothing_that_reaches_an_annotators_browser_tells_patient_site_or_name(studio):
    page = studio.open("Labels", studio.made.first)
    texts = [page.content()]
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: texts.append(str(frame))))
    page.on("response", lambda response: texts.append(f"{response.url} {response.headers}"))
    page.reload()
    settle(page)
    page.wait_for_timeout(500)
    texts.append(page.content())
    assert len(texts) > 5
    assert not [word for word in (PLANTED_PATIENT, PLANTED_SITE, PLANTED_NAME) if word in "".join(texts)]
