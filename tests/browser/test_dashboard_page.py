"""The dashboard in a real browser: from a cell of a matrix to the case, and files that are what they claim."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from lss_core.study import acting, lifecycle
from lss_core.study.clock import utc_now
from lss_core.study.connection import open_database
from lss_core.study.protocol import AnalysisPlan
from lss_core.vocabulary import Grade
from tests.browser.conftest import choose_tab, started_server
from tests.people_cases import audit_lines
from tests.planted import read_session
from tests.reading_room import QUICK, Room, make_room, person
from ui.access import SESSION_COOKIE

SLOW_MS = 120_000
COOKIE = "profile-of-the-dashboard-tests"
CASES = 8


@dataclass(frozen=True)
class Studio:
    address: str
    room: Room


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[Studio]:
    """The server over an unblinded study of eight cases that two readers have read."""
    home = tmp_path_factory.mktemp("dashboard")
    url, began = f"sqlite:///{home / 'studies.sqlite'}", utc_now() - timedelta(days=2)
    engine = open_database(url)
    room = make_room(engine, home / "images", protocol=replace(QUICK, analysis=AnalysisPlan(bootstraps=100)),
                     test=CASES, now=began, truth=lambda number: Grade(number % 4))
    for number, reader in enumerate(room.readers):
        read_session(engine, person(engine, reader.email), room.study_id, grade=1 + number, at=began)
    lifecycle.close(engine, room.pi, room.study_id, reason="complete")
    lifecycle.unblind(engine, room.pi, room.study_id, reason="analysis")
    acting.act_as(engine, cookie=COOKIE, account_id=room.pi.account_id)
    environment = {"LSS_DATA": str(home), "DATABASE_URL": url, "LSS_IMAGES": str(home / "images"),
                   "LSS_MODELS": str(home / "models"), "LSS_MODEL": ""}
    with started_server(home / "log.txt", environment=environment) as address:
        yield Studio(address, room)
    engine.dispose()


@pytest.fixture
def page(open_page, studio) -> Page:
    """The list of studies, as the principal investigator sees it."""
    page = open_page("/about", address=studio.address)
    page.context.add_cookies([{"name": SESSION_COOKIE, "value": COOKIE, "url": studio.address}])
    page.goto(f"{studio.address}/dashboard")
    return page


def saved(page: Page, label: str) -> tuple[str, bytes]:
    """Name and content of what a button gives."""
    with page.expect_download(timeout=SLOW_MS) as download:
        page.get_by_role("button", name=label).filter(visible=True).first.click(timeout=SLOW_MS)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def go_to(page: Page, tab: str) -> None:
    choose_tab(page, tab)


def drawn(page: Page) -> None:
    expect(page.locator('.lss-chart[data-ready="true"]').first).to_be_visible(timeout=SLOW_MS)


def click_cell(page: Page, *, row: int, column: int) -> None:
    """A cell of the first matrix, which has four rows and five columns."""
    drawn(page)
    box = page.locator(".lss-chart .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * (column + 0.5) / 5, box["y"] + box["height"] * (row + 0.5) / 4)


def test_a_click_on_a_cell_leads_to_its_case_in_the_viewer_with_the_heat_map(page, studio):
    page.get_by_role("button", name="Canal study").click(timeout=SLOW_MS)
    go_to(page, "Confusion")
    page.locator('.lss-chart[data-file="confusion-central-canal-planted-version-model"]').scroll_into_view_if_needed()
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(answer.url) if answer.ok else None)
    click_cell(page, row=2, column=3)
    expect(page.get_by_text("reference 2, graded 3 by model planted-version: 2 regions")).to_be_visible(timeout=SLOW_MS)
    page.get_by_text("case 7, central canal").click(timeout=SLOW_MS)
    expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("heading", name="Case 7, L4/5")).to_be_visible()
    expect(page.get_by_role("region", name="Reference and models of case 7")).to_contain_text("probability 88%")
    expect(page.locator("image.lssv-heat")).to_be_attached(timeout=SLOW_MS)
    assert [url for url in asked if "/api/volumes/" in url] and [url for url in asked if "/api/overlays/" in url]
    assert [line.subject for line in audit_lines(studio.room.engine, "look at case")] == ["case 7"]


def test_every_download_is_a_real_file_of_its_kind_and_says_the_filter(page, studio):
    page.goto(f"{studio.address}/dashboard?study={studio.room.token}")
    drawn(page)
    name, png = saved(page, "PNG of the figure Central canal: accuracy")
    assert name == "headline-central-canal.png" and Image.open(io.BytesIO(png)).size[0] == 3300
    name, svg = saved(page, "SVG of the figure Central canal: accuracy")
    assert name.endswith(".svg") and b"<svg" in svg and "Filter: everything" in svg.decode() and b"Li 2024 v1" in svg
    name, table = saved(page, "CSV of the figure Central canal: accuracy")
    rows = list(csv.reader(io.StringIO(table.decode("utf-8-sig"))))
    assert "Filter: everything" in rows[0][0] and rows[1][:3] == ["region", "kind", "rater"] and len(rows) > 3
    go_to(page, "Report")
    name, pdf = saved(page, "PDF report")
    assert name == f"study-{studio.room.token}-report.pdf"
    assert pdf.startswith(b"%PDF") and pdf.rstrip().endswith(b"%%EOF")
    name, page_of = saved(page, "HTML report")
    assert page_of.startswith(b"<!DOCTYPE html>") and b"Filter: everything" in page_of
    lines = audit_lines(studio.room.engine, "make report")
    assert [line.subject for line in lines] == ["report.pdf; filter: everything", "report.html; filter: everything"]


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_but_a_table_needs_a_scroll_bar_from_left_to_right(page, studio, width):
    page.set_viewport_size({"width": width, "height": 900})
    for tab in ("Readers", "Parts"):
        page.goto(f"{studio.address}/dashboard?study={studio.room.token}&board={tab}")
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        inside = "each => each.every(plot => plot.scrollWidth <= plot.clientWidth + 1)"
        assert page.locator(".lss-chart-plot").evaluate_all(inside)
