"""The Models page and the choice of a version, in a real browser, over an installation with two untrained versions."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lss_core.grading.checkpoint import record_metrics
from lss_core.registry import default_model, read_log
from lss_core.settings import Settings
from lss_core.vocabulary import RESEARCH_USE
from tests.browser.conftest import choose_tab, started_server
from tests.model_folders import (
    CALIBRATION,
    add_shared_networks,
    add_version,
    damage,
    made_up_evaluations,
)

SLOW_MS = 180_000


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    """Two usable versions with made-up figures, and a damaged one."""
    home = tmp_path_factory.mktemp("installation")
    models = home / "models"
    add_shared_networks(models)
    cards = [add_version(models, name, seed=seed, calibration=CALIBRATION) for seed, name in enumerate(("v1", "v2"))]
    for name, evaluation in made_up_evaluations(cards).items():
        record_metrics(models, name, "evaluation", {"simulated": evaluation})
    add_version(models, "v3", seed=3)
    damage(models, "v3")
    return Settings(models=models, data=home / "data", runs=home / "runs")


@pytest.fixture(scope="module")
def studio(settings, tmp_path_factory) -> Iterator[str]:
    """The server over that installation."""
    environment = {
        "LSS_MODELS": str(settings.models), "LSS_DATA": str(settings.data), "LSS_RUNS": str(settings.runs),
        "LSS_MODEL": "",
    }
    with started_server(tmp_path_factory.mktemp("studio") / "log.txt", environment=environment) as address:
        yield address


def fits(page: Page) -> bool:
    """Whether nothing but a table's own scroll bar is needed from left to right."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("width", [1280, 800])
def test_versions_stand_side_by_side_with_figures_that_say_on_what_they_were_measured(open_page, studio, width):
    page = open_page("/models", address=studio, width=width)
    expect(page.get_by_text(RESEARCH_USE).first).to_be_visible(timeout=SLOW_MS)
    cards = page.get_by_role("region", name="Model cards")
    for version in ("v1", "v2", "v3"):
        expect(cards.get_by_role("columnheader", name=version, exact=True)).to_be_visible(timeout=SLOW_MS)
    expect(cards.get_by_text("v3.safetensors is not the one on its card")).to_be_visible()
    assert fits(page)
    for tab in ("Accuracy", "Calibration", "Measurement", "Comparison", "Failures"):
        choose_tab(page, tab)
        panel = page.get_by_role("tabpanel").filter(visible=True)
        expect(panel.get_by_text("Numbers drawn at random for tests").first).to_be_visible(timeout=SLOW_MS)
        expect(panel.get_by_text("these figures say nothing about patients").first).to_be_visible()
        assert fits(page), tab
    choose_tab(page, "Accuracy")
    charts = page.get_by_role("tabpanel").filter(visible=True).locator(".js-plotly-plot").filter(visible=True)
    expect(charts).to_have_count(4, timeout=SLOW_MS)
    left, right = (charts.nth(place).bounding_box() for place in (0, 1))
    assert (left["y"] == right["y"]) == (width == 1280), "side by side only where there is room"


def test_the_default_is_changed_by_keyboard_after_a_confirmation(open_page, studio, settings):
    page = open_page("/models", address=studio)
    make = page.get_by_role("button", name="Make v2 the default")
    expect(make).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Make v3 the default")).to_have_count(0)
    make.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("unless another version is chosen for a scan")).to_be_visible(timeout=SLOW_MS)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert not (settings.data / "settings.json").exists()
    make.press("Enter")
    dialog.get_by_role("button", name="Yes, make v2 the default").press("Enter")
    expect(page.get_by_text("v2 is the default now; it was v1.")).to_be_visible(timeout=SLOW_MS)
    assert default_model(settings).version == "v2"
    (change,) = read_log(settings.data).changes
    choose_tab(page, "History")
    expect(page.get_by_role("region", name="Changes of the default").get_by_text("local user")).to_be_visible()
    assert (change.before, change.after) == ("v1", "v2")


def test_a_scan_is_graded_by_the_chosen_version_and_again_by_another(open_page, studio, settings, models, tmp_path):
    page = open_page("/grade", address=studio, height=1000)
    menu = page.get_by_role("combobox", name="Model version")
    menu.click(timeout=SLOW_MS)
    page.get_by_role("option", name="v1").click()
    page.get_by_role("button", name="Try a simulated case").click()
    summary = page.locator(".st-key-summary")
    expect(summary.get_by_text("graded by model v1")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    summary.get_by_role("button", name="Grade again with v2").click()
    expect(summary.get_by_text("graded by model v2")).to_be_visible(timeout=SLOW_MS)
    page.get_by_text(re.compile("v1 and v2 compared: [0-9]+ of 15 regions graded differently")).click()
    expect(page.get_by_role("rowheader", name="L4/5").first).to_be_visible()
    saved = saved_csv(page, tmp_path)
    assert [row["model_version"] for row in saved] == ["v1"] * 15 + ["v2"] * 15
    page.get_by_role("radiogroup", name="Show the grades of").get_by_text("v1").click()
    expect(summary.get_by_text("graded by model v1")).to_be_visible(timeout=SLOW_MS)
    choose_a_doubtful_cell(page)


def saved_csv(page: Page, folder: Path) -> list[dict[str, str]]:
    with page.expect_download(timeout=SLOW_MS) as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    download.value.save_as(folder / "case.csv")
    with (folder / "case.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def choose_a_doubtful_cell(page: Page) -> None:
    """A cell marked with a range says the same in words when it is chosen."""
    cell = page.get_by_role("button", name=re.compile("grades [0-3] to [0-3] stay plausible")).first
    name = cell.get_attribute("aria-label")
    low, high = re.search("grades ([0-3]) to ([0-3])", name).groups()
    expect(cell.locator("em").first).to_have_text(f"{low}–{high}")
    cell.press("Enter")
    expect(cell).to_have_attribute("aria-pressed", "true")
    said = page.get_by_text(re.compile(rf"Grade {low}.* or {high}, in a set made to hold"))
    expect(said).to_be_visible(timeout=SLOW_MS)
