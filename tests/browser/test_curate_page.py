"""A collection in a real browser: levels marked and confirmed, regions drawn by mouse and by keyboard, who did what."""

from __future__ import annotations

import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Page, expect

from lss_core.curation import regions, scans
from lss_core.curation.regions import BoxOrigin
from lss_core.study import acting
from lss_core.study.actors import Actor
from lss_core.vocabulary import Box, DiscLevel, Region
from tests.browser.conftest import choose_tab, edges, settle, started_server
from tests.curated import BOXES, PLANTED_NAME, PLANTED_PATIENT, PLANTED_SITE, Curated, curated
from tests.scans import write_series
from ui.access import SESSION_COOKIE

SLOW_MS = 120_000
CANAL, LEFT, RIGHT = Region.CENTRAL_CANAL, Region.LEFT_LATERAL_RECESS, Region.RIGHT_LATERAL_RECESS


@dataclass(frozen=True)
class Studio:
    """A server over an installation of its own."""

    address: str
    url: str
    images: Path


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("installation")
    url = f"sqlite:///{home / 'studies.sqlite'}"
    environment = {"LSS_DATA": str(home), "DATABASE_URL": url, "LSS_IMAGES": str(home / "images"),
                   "LSS_MODELS": str(home / "models"), "LSS_MODEL": ""}
    with started_server(home / "log.txt", environment=environment) as address:
        yield Studio(address, url, home / "images")


@pytest.fixture(scope="module")
def made(studio) -> Curated:
    """One scan with proposals, confirmed, and one that nobody has looked at."""
    return curated(studio.url, studio.images, patients=1, local=True)


@pytest.fixture
def seen_by(studio, made, open_page) -> Callable[..., Page]:
    """A tab of the collection as one person sees it."""

    def opened(actor: Actor, tab: str, *, of: Curated = made, width: int = 1280) -> Page:
        page = open_page("/about", address=studio.address, width=width, height=1000)
        cookie = f"profile-of-the-curation-tests-{actor.account_id:012d}"
        acting.act_as(made.engine, cookie=cookie, account_id=actor.account_id)
        page.context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": studio.address}])
        page.goto(f"{studio.address}/curate?collection={of.token}&curate-tab={tab}")
        return page

    return opened


def stage_of(page: Page):
    """The viewer, once the images are there, with the keyboard in it."""
    expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    settle(page)
    stage = page.locator(".lssv-stage")
    stage.focus()
    return stage


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def expect_slice(page: Page, index: int) -> None:
    expect(page.locator(".lssv")).to_have_attribute("data-slice", str(index))


def drag(page: Page, start: tuple[float, float], by: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0], start[1] + by[1], steps=5)
    page.mouse.up()


def edges_of(page: Page, region: Region) -> FloatRect:
    return edges(page.locator(f"g[data-region={region.value}] .lssv-shape"))


def placed(made: Curated, scan_id: int) -> dict[DiscLevel, int]:
    return {case.level: case.slice_index for case in made.cases() if case.scan_id == scan_id}


def test_levels_are_marked_by_keys_in_quick_succession_and_confirmed_in_the_right_order_alone(studio, seen_by):
    made = curated(studio.url, studio.images, patients=2, confirmed=False, local=True)
    first, second = sorted({case.scan_id for case in made.cases()})
    page = seen_by(made.pi, "Levels", of=made)
    stage_of(page)
    for index, (key, level) in enumerate((("Home", "4"), ("ArrowUp", "3"), ("ArrowUp", "5"))):
        press(page, key)
        expect_slice(page, index)
        press(page, level)                                          # L4/5, L3/4, and L5/S1 above both
    rows = page.get_by_role("table", name="Levels of this scan")
    expect(rows.get_by_role("row", name="L5/S1")).to_contain_text("slice 3")
    expect(page.get_by_text("saving")).to_have_count(0, timeout=SLOW_MS)
    assert placed(made, first) == {DiscLevel.L3_4: 1, DiscLevel.L4_5: 0, DiscLevel.L5_S1: 2}
    expect(page.get_by_role("combobox", name="Scan")).to_have_value(re.compile("3 levels, not confirmed"))
    page.get_by_role("button", name="Confirm the levels").click()
    expect(page.get_by_text("L4/5 lies above L5/S1")).to_be_visible(timeout=SLOW_MS)
    stage_of(page)
    press(page, "Delete")                                           # of the slice in view: L5/S1
    expect(rows.get_by_role("row", name="L5/S1")).to_contain_text("not in this scan")
    expect(page.get_by_role("button", name="Confirm the levels")).to_be_enabled(timeout=SLOW_MS)
    settle(page)
    stage_of(page)
    press(page, "Enter")
    expect(page.locator(".lssw")).to_have_attribute("data-scan", f"{made.token}-{second}", timeout=SLOW_MS)
    assert placed(made, first) == {DiscLevel.L3_4: 1, DiscLevel.L4_5: 0}
    assert {case.scan_id for case in made.cases() if case.confirmed} == {first}


def test_an_annotator_accepts_corrects_draws_copies_and_saves_and_each_is_recorded(made, seen_by):
    case = next(case for case in made.cases() if case.level is DiscLevel.L4_5)
    page = seen_by(made.first, "Regions")
    stage_of(page)
    expect(page.locator("g.lssv-proposed")).to_have_count(3)
    press(page, "1", "ArrowRight", "ArrowRight", "Shift+ArrowDown")     # the canal: two pixels aside, one taller
    expect(page.locator("g.lssv-proposed")).to_have_count(2)
    press(page, "a")
    expect(page.locator("g.lssv-proposed")).to_have_count(0)
    expect(page.get_by_text("Not saved: 1 slice")).to_be_visible()
    press(page, "Shift+PageUp")                                         # copies to the slice above and goes there
    expect_slice(page, case.slice_index + 1)
    press(page, "3", "Delete", "PageDown", "2")
    expect_slice(page, case.slice_index)
    before = edges_of(page, LEFT)
    drag(page, (before["x"] + before["width"] / 2, before["y"] + before["height"] / 2), (60, 0))
    assert edges_of(page, LEFT)["x"] - before["x"] == pytest.approx(60, abs=2)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("lies outside the slice; move it onto the spine.")).to_be_visible(timeout=SLOW_MS)
    after = edges_of(page, LEFT)                                        # what was drawn is still there
    drag(page, (after["x"] + after["width"] / 2, after["y"] + after["height"] / 2), (-45, 0))
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("You have drawn 1 of 2 cases.")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text("Not saved")).to_have_count(0)
    mine = regions.boxes_of(made.engine, made.first, made.collection_id, case.case_id).mine
    was = BOXES[CANAL]
    assert mine[case.slice_index][CANAL] == Box(was.row0, was.col0 + 2, was.row1 + 1, was.col1 + 2)
    assert mine[case.slice_index][RIGHT] == BOXES[RIGHT]
    assert mine[case.slice_index][LEFT].col0 > BOXES[LEFT].col0 + 1
    assert set(mine[case.slice_index + 1]) == {CANAL, LEFT}
    origins = regions.box_origins(made.engine, made.pi, made.collection_id)[made.first.email]
    assert origins == {BoxOrigin.ACCEPTED: 1, BoxOrigin.MOVED: 2, BoxOrigin.COPIED: 1, BoxOrigin.DRAWN: 1}


def test_a_box_is_drawn_by_dragging_and_what_is_not_saved_stays_while_another_case_is_looked_at(made, seen_by):
    case = next(case for case in made.cases() if case.level is DiscLevel.L5_S1)
    page = seen_by(made.second, "Regions")
    stage_of(page)
    page.get_by_role("button", name="Next", exact=True).click()
    key = f"{made.token}-{made.second.account_id}-{case.case_id}"
    expect(page.locator(".lssw")).to_have_attribute("data-case", key, timeout=SLOW_MS)
    stage_of(page)
    press(page, "1", "Delete", "2", "Delete", "3", "Delete", "1")
    frame = edges(page.locator(".lssv-stage"))
    middle = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    drag(page, middle, (60, 50))
    expect(page.locator("g.lssv-box")).to_have_count(1)
    expect(page.get_by_role("button", name="Left lateral recess: no box")).to_have_attribute("aria-pressed", "true")
    press(page, "n")                                                    # by keyboard, in the middle of the view
    expect(page.locator("g.lssv-box")).to_have_count(2)
    drawn = edges_of(page, CANAL)
    page.get_by_role("button", name="Previous", exact=True).click()
    expect(page.locator("g.lssv-proposed")).to_have_count(3, timeout=SLOW_MS)
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.get_by_text("Not saved: 1 slice")).to_be_visible(timeout=SLOW_MS)
    stage_of(page)
    assert edges_of(page, CANAL)["width"] == pytest.approx(drawn["width"], abs=2)
    press(page, "Enter")                                                # save, and on to the case that is not drawn yet
    expect(page.get_by_text("You have drawn 1 of 2 cases.")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".lssw")).not_to_have_attribute("data-case", key, timeout=SLOW_MS)
    mine = regions.boxes_of(made.engine, made.second, made.collection_id, case.case_id).mine
    assert set(mine[case.slice_index]) == {CANAL, LEFT}


def test_an_annotator_gets_no_patient_site_or_file_and_nobody_else_gets_the_pixels(studio, made, seen_by, open_page):
    page = seen_by(made.third, "Regions")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    stage_of(page)
    planted = (PLANTED_PATIENT, PLANTED_SITE, PLANTED_NAME)
    assert not [text for text in planted if text in page.content() or any(text in url for url in asked)]
    (address,) = {url for url in asked if "/api/volumes/" in url}
    assert page.context.request.get(address).status == 200
    assert open_page("/about", address=studio.address).context.request.get(address).status == 404, "another browser"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address)


def test_zip_files_are_uploaded_and_imported_and_nothing_of_the_upload_is_left(studio, seen_by, tmp_path):
    of = curated(studio.url, studio.images, patients=0, local=True)
    archives = []
    for number in (1, 2):
        folder = tmp_path / f"{PLANTED_NAME}-{number}"
        folder.mkdir()
        write_series(folder, slices=24, series_uid=f"1.2.826.0.1.3680043.8.498.77{number}")
        archives.append(shutil.make_archive(str(folder), "zip", folder))
    page = seen_by(of.pi, "Import", of=of)
    page.locator('input[type="file"]').first.set_input_files(archives, timeout=SLOW_MS)
    press_upload = page.get_by_role("button", name="Import the upload")
    expect(press_upload).to_be_enabled(timeout=SLOW_MS)
    press_upload.click()
    expect(page.get_by_text("2 scans added, 0 known already, 0 refused")).to_be_visible(timeout=SLOW_MS)
    rows = scans.scans_of(of.engine, of.pi, of.collection_id)
    assert len({row.scan_id for row in rows}) == 2
    data = Path(studio.images).parent
    assert not [path for path in data.rglob("*") if path.suffix in (".zip", ".dcm")]


@pytest.mark.parametrize("width", [1280, 800])
def test_every_tab_of_the_collection_fits_into_the_window(made, seen_by, width):
    page = seen_by(made.pi, "Overview", width=width)
    expect(page.get_by_role("heading", name="Made-up collection")).to_be_visible(timeout=SLOW_MS)
    for tab in page.get_by_role("tablist").first.get_by_role("tab").all():
        choose_tab(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), tab.inner_text()
