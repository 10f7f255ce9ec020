"""Each page, run in process: guard, empty state, refusals. What needs a browser is in tests/browser."""

import ast
import io
import logging
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core.vocabulary import RESEARCH_USE
from ui.access import SESSION_COOKIE

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "pages").glob("*.py"))
logging.getLogger("streamlit").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def visit(monkeypatch):
    """Pages see a browser on this machine; in process there is no request. Returns how to be another one."""

    def visit_from(*, host: str = "localhost:8501", address: str | None = None) -> None:
        monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", host)]))
        monkeypatch.setattr(ContextProxy, "ip_address", address)
        monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: "me"}))

    visit_from()
    return visit_from


def opened(page: str) -> AppTest:
    return AppTest.from_file(str(ROOT / page), default_timeout=30).run()


def encrypted_zip() -> bytes:
    """A ZIP whose entry is marked as encrypted."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("IM1", b"secret")
    content = bytearray(file.getvalue())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 64), 90).save(file, format="PNG")
    return file.getvalue()


def escaping_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../escape.dcm", b"x")
    return file.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_first_statement_of_a_page_is_its_guard(page):
    body = ast.parse(page.read_text()).body
    first = next(
        node for node in body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )
    call = first.value if isinstance(first, ast.Assign | ast.Expr) else None
    assert isinstance(call, ast.Call) and ast.unparse(call.func) == "access.require"


@pytest.mark.parametrize("page", ["ui/portal.py", *(f"pages/{page.name}" for page in PAGES)])
def test_a_page_opens_without_an_error(page):
    app = opened(page)
    assert not app.exception
    assert not app.error


def test_the_frame_shows_that_this_is_for_research_only():
    app = opened("ui/portal.py")
    assert any(RESEARCH_USE in element.proto.body for element in app.get("html"))


def test_the_empty_page_says_what_to_do():
    app = opened("pages/grade.py")
    assert any("Open a scan" in element.value for element in app.markdown)
    assert [button.label for button in app.button] == ["Try a simulated case"]


@pytest.mark.parametrize(
    "request_from", [{"host": "evil.example"}, {"host": "192.168.1.5:8501"}, {"address": "192.168.1.7"}]
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_nothing_to_another_machine_or_under_another_name(page, request_from, visit):
    visit(**request_from)
    app = opened(f"pages/{page.name}")
    assert "open only in a browser on the computer" in app.error[0].value
    assert not app.get("file_uploader") and not app.title


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"not a scan"),
        ("empty.dcm", b""),
        ("cut.dcm", b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL"),
        ("broken.zip", b"PK\x03\x04 and then nothing"),
        ("locked.zip", encrypted_zip()),
        ("escape.zip", escaping_zip()),
        ("cut.nii.gz", b"\x1f\x8b\x08\x00cut"),
    ],
)
def test_a_bad_upload_gets_a_sentence_and_leaves_the_page_usable(name, content):
    app = opened("pages/grade.py")
    app.file_uploader[0].upload(name, content, "application/octet-stream").run()
    assert not app.exception
    (error,) = app.error
    assert error.value.endswith(".") and "Traceback" not in error.value
    assert any(button.label == "Try a simulated case" and not button.disabled for button in app.button)
    assert len(app.get("file_uploader")) == 2


def test_a_picture_is_not_read_before_its_pixel_spacing_is_given():
    app = opened("pages/grade.py")
    app.file_uploader[0].upload("slice.png", png(), "image/png").run()
    assert not app.exception
    grade = next(button for button in app.button if button.label == "Grade this picture")
    assert grade.disabled
    app.number_input[0].set_value(0.4).run()
    assert not next(button for button in app.button if button.label == "Grade this picture").disabled
