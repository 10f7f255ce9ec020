"""A server of its own, and Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect, sync_playwright

from lss_core.grading.pipeline import MODELS

ROOT = Path(__file__).resolve().parents[2]
REAL_CT = ROOT.parent / "shared" / "real_ct"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
START_S, SLOW_MS = 180, 180_000
expect.set_options(timeout=60_000)              # ms; a busy machine is no failure
# Without the background flags Chromium asks its maker's servers, which a closed network refuses.
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(log: Path, *, port: int, environment: Mapping[str, str] | None = None) -> subprocess.Popen:
    """The real server on a port of the loopback, once it answers.

    Args:
        environment: Variables to set beside those of the tests.
    """
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with log.open("ab") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    _wait_until_healthy(f"http://127.0.0.1:{port}", server, log)
    return server


@contextmanager
def started_server(
    log: Path, *, environment: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[str]:
    """As `launch`, on a free port unless named, and ended with the block; yields its address."""
    port = port or free_port()
    with launch(log, port=port, environment=environment) as server:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait_until_healthy(address: str, server: subprocess.Popen, log: Path) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    server.kill()
    raise AssertionError(f"The server did not start: {log.read_text()}")


def settle(page: Page) -> None:
    """Wait until the server has answered: what is typed into a page that is being made may be lost."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW_MS)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=SLOW_MS)


def choose_tab(page: Page, tab: str | Locator) -> None:
    """Click a tab until it is chosen: a click while the page has lost its server, or is made anew, goes nowhere."""
    chosen = page.get_by_role("tab", name=tab, exact=True) if isinstance(tab, str) else tab
    end_s = time.monotonic() + SLOW_MS / 1000
    while True:
        chosen.click(timeout=SLOW_MS)
        try:
            expect(chosen).to_have_attribute("aria-selected", "true", timeout=5000)
            break
        except AssertionError:
            if time.monotonic() > end_s:
                raise
    settle(page)


def edges(shape: Locator) -> FloatRect:
    """Its place on the page. What is drawn anew at this very moment has none, and is looked at again."""
    end_s = time.monotonic() + SLOW_MS / 1000
    while (found := shape.bounding_box()) is None:
        assert time.monotonic() < end_s, f"{shape} is not to be seen"
    return found


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[str]:
    with started_server(tmp_path_factory.mktemp("server") / "log.txt") as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; set CHROMIUM to its path")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, server) -> Iterator[Callable[..., Page]]:
    """Opens pages of the server, each in a browser profile of its own, and watches that nothing outside is asked."""
    contexts, outside = [], []

    def watch(request, address: str) -> None:
        if not request.url.startswith((address, address.replace("http", "ws"), "blob:", "data:")):
            outside.append(request.url)

    def opened(path: str = "/grade", *, width: int = 1280, height: int = 900, address: str = server) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True))
        page = contexts[-1].new_page()
        page.on("request", lambda request: watch(request, address))
        page.goto(f"{address}{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not outside, f"The page asked outside: {outside}"


@pytest.fixture
def models() -> Path:
    if not (MODELS / "v1.json").is_file():
        pytest.skip("the model v1 is not in models/: train it with `python -m lss_core train`")
    return MODELS


@pytest.fixture
def real_ct() -> Path:
    if not REAL_CT.is_dir():
        pytest.skip("the real CT series are not here (../shared/real_ct)")
    return REAL_CT


@pytest.fixture
def browser_without_webgl(browser) -> Iterator[Browser]:
    """A browser that offers pages no 3-D graphics."""
    opened = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, "--disable-3d-apis"])
    yield opened
    opened.close()
