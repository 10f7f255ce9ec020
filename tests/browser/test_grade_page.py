"""The grading page in a real browser: from a scan to grades, heat maps, regrading and downloads."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lss_core.vocabulary import RESEARCH_USE
from tests.browser.conftest import ROOT, edges, started_server

GRADED = re.compile("grade [0-3], (normal|mild|moderate|severe), probability")
SLOW_MS = 300_000                               # on a busy machine; the times that matter are measured elsewhere


def zip_of(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return target


def grade_cells(page: Page):
    return page.get_by_role("button", name=GRADED)


def viewer(page: Page):
    return page.locator('.lssv[data-ready="true"]')


def wait_for_case(page: Page) -> None:
    expect(grade_cells(page).first).to_be_visible(timeout=SLOW_MS)
    expect(viewer(page)).to_be_visible(timeout=SLOW_MS)


def canvas_levels(page: Page) -> int:
    """How many different grey values the viewer's picture has; a blank one has 1."""
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(page.locator(".lssv-stage").screenshot())).convert("L")
    return sum(1 for count in picture.histogram() if count)


def state(page: Page, name: str) -> int:
    return int(viewer(page).get_attribute(f"data-{name}"))


def test_a_page_opened_directly_on_a_fresh_server_passes_the_guard(browser, tmp_path):
    with started_server(tmp_path / "log.txt") as address:
        page = browser.new_page()
        page.goto(f"{address}/grade")
        expect(page.get_by_text(RESEARCH_USE)).to_be_visible(timeout=SLOW_MS)
        expect(page.get_by_role("button", name="Try a simulated case")).to_be_visible()
        page.close()


def test_a_fresh_server_shows_nothing_to_a_page_asked_for_under_another_name(tmp_path):
    with started_server(tmp_path / "log.txt") as address:
        request = urllib.request.Request(f"{address}/grade", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)


def test_the_server_refuses_to_start_where_others_could_come_in():
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "0.0.0.0", "--server.port", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Refusing to listen on 0.0.0.0" in done.stdout + done.stderr


def test_the_bare_address_leads_to_the_first_page(open_page):
    page = open_page("/")
    expect(page.get_by_role("heading", name="Grade a lumbar CT")).to_be_visible(timeout=SLOW_MS)
    assert page.url.endswith("/grade")


@pytest.mark.parametrize("content", [b"not a scan", b"PK\x03\x04 and then nothing"])
def test_a_malformed_upload_gets_a_sentence_and_the_page_stays_usable(open_page, tmp_path, content):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(content)
    page = open_page()
    page.locator("input[type=file]").first.set_input_files(bad)
    alert = page.get_by_role("alert")
    expect(alert).to_be_visible(timeout=SLOW_MS)
    assert "Traceback" not in alert.inner_text() and alert.inner_text().strip().endswith(".")
    expect(page.get_by_role("button", name="Try a simulated case")).to_be_enabled()
    page.get_by_role("link", name="About").click()
    expect(page.get_by_role("heading", name="Intended use")).to_be_visible()


def test_a_simulated_case_is_graded_and_shown(open_page, models):
    page = open_page()
    page.get_by_role("button", name="Try a simulated case").click(timeout=SLOW_MS)
    wait_for_case(page)
    expect(grade_cells(page)).to_have_count(15, timeout=SLOW_MS)
    assert canvas_levels(page) > 50
    expect(page.get_by_text(RESEARCH_USE)).to_be_visible()


def test_the_viewer_shows_a_case_without_webgl(server, models, real_ct, tmp_path, browser_without_webgl):
    page = browser_without_webgl.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{server}/grade")
    scan = zip_of(real_ct / "siemens_full_lumbar_5mm", tmp_path / "scan.zip")
    page.locator("input[type=file]").first.set_input_files(scan)
    wait_for_case(page)
    assert page.evaluate("document.createElement('canvas').getContext('webgl2')") is None
    assert canvas_levels(page) > 50
    expect(page.locator("g.lssv-selected")).to_be_in_viewport()
    page.close()


def test_images_open_only_for_the_session_that_owns_them(open_page, models, real_ct, tmp_path):
    page = open_page()
    wanted = []
    page.on("request", lambda request: wanted.append(request.url) if "/api/volumes/" in request.url else None)
    scan = zip_of(real_ct / "siemens_full_lumbar_5mm", tmp_path / "scan.zip")
    page.locator("input[type=file]").first.set_input_files(scan)
    wait_for_case(page)
    (address,) = set(wanted)
    assert page.context.request.get(address).status == 200
    assert open_page("/about").context.request.get(address).status == 404, "another browser"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address)
    assert page.context.request.get(address[:-4] + "AAAA").status == 404, "a guessed token"


def test_a_real_scan_from_upload_to_download(open_page, models, real_ct, tmp_path):
    page = open_page(height=1000)
    scan = zip_of(real_ct / "siemens_full_lumbar_5mm", tmp_path / "scan.zip")
    page.locator("input[type=file]").first.set_input_files(scan)
    wait_for_case(page)
    expect(grade_cells(page)).to_have_count(15)

    scroll_and_window(page)
    choose_a_cell(page)
    show_another_heat_map(page)
    move_a_box_and_regrade(page)
    download_everything(page, tmp_path)


def scroll_and_window(page: Page) -> None:
    stage = page.locator(".lssv-stage")
    frame = edges(stage)
    corner = (frame["x"] + 60, frame["y"] + frame["height"] / 2)        # away from the boxes, and on the screen
    before = state(page, "slice")
    page.mouse.move(*corner)
    page.mouse.wheel(0, 100)
    expect(viewer(page)).to_have_attribute("data-slice", str(before - 1))
    page.mouse.down()
    page.mouse.move(corner[0] + 60, corner[1], steps=5)
    page.mouse.up()
    expect(viewer(page)).not_to_have_attribute("data-window-width", "400")
    stage.press("2")
    expect(viewer(page)).to_have_attribute("data-window-width", "1800")
    expect(viewer(page)).to_have_attribute("data-window-level", "450")
    stage.press("1")
    expect(viewer(page)).to_have_attribute("data-window-width", "400")
    stage.press("ArrowUp")
    expect(viewer(page)).to_have_attribute("data-slice", str(before))


def choose_a_cell(page: Page) -> None:
    before = state(page, "slice")
    cells = page.get_by_role("button", name="L3/4, Central canal")
    cells.click()
    expect(cells).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="L5/S1, Left lateral recess").click()
    expect(page.locator(".lssv-where")).to_contain_text("L5/S1")
    expect(page.locator("g.lssv-selected")).to_have_attribute("data-region", "left_lateral_recess")
    assert before != state(page, "slice") or before < 20


def show_another_heat_map(page: Page) -> None:
    heat = page.locator("image.lssv-heat")
    expect(heat).to_be_attached(timeout=SLOW_MS)
    first = heat.get_attribute("data-url")
    page.get_by_role("combobox", name="Method").click()
    page.get_by_role("option", name="EigenCAM").click()
    expect(heat).not_to_have_attribute("data-url", first, timeout=SLOW_MS)
    page.get_by_label("Heat map opacity").fill("80")
    expect(heat).to_have_attribute("opacity", "0.8")


def move_a_box_and_regrade(page: Page) -> None:
    grip = page.locator("g.lssv-selected .lssv-grip")
    before = edges(grip)
    middle = (before["x"] + before["width"] / 2, before["y"] + before["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 6, middle[1] + 4, steps=6)      # some 4 mm; 8 mm beside the recess it is refused
    page.mouse.up()
    after = edges(grip)
    assert after["x"] - before["x"] == pytest.approx(6, abs=1.5)
    assert after["y"] - before["y"] == pytest.approx(4, abs=1.5)
    regrade = page.get_by_role("button", name="Regrade")
    expect(regrade).to_be_enabled(timeout=SLOW_MS)
    regrade.click()
    expect(page.get_by_role("rowheader", name=re.compile("S1.*regraded"))).to_be_visible(timeout=SLOW_MS)
    expect(grade_cells(page)).to_have_count(15)


def download_everything(page: Page, folder: Path) -> None:
    saved = {}
    for button in ("JSON", "CSV", "PNG of this region", "All PNGs (ZIP)", "DICOM (ZIP)"):
        with page.expect_download(timeout=SLOW_MS) as download:
            page.get_by_role("button", name=button, exact=True).click()
        saved[button] = folder / download.value.suggested_filename
        download.value.save_as(saved[button])
    report = json.loads(saved["JSON"].read_text())
    assert report["status"] == "graded" and len(report["levels"]) == 5
    assert len(saved["CSV"].read_text().splitlines()) == 16
    assert saved["PNG of this region"].read_bytes().startswith(b"\x89PNG")
    with zipfile.ZipFile(saved["All PNGs (ZIP)"]) as archive:
        assert len(archive.namelist()) == 15
    with zipfile.ZipFile(saved["DICOM (ZIP)"]) as archive:
        assert sorted(archive.namelist()) == ["READ ME.txt", *(f"level-{n}.dcm" for n in range(1, 6)), "report.dcm"]
    expect(page.get_by_text("this page never reads who the patient is")).to_be_visible()
