"""A plotly figure with its downloads (PNG, SVG, CSV), made in the browser; a click on a cell is told to Python."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from streamlit.components.v2 import component

from lss_core.study_figures import StudyFigure

HERE = Path(__file__).parent
PLOTLY = Path(str(files("plotly"))) / "package_data" / "plotly.min.js"      # the same as in the HTML report
DIGEST = hashlib.sha256(PLOTLY.read_bytes()).hexdigest()[:16]
ADDRESS = f"/api/plotly/{DIGEST}.js"

_component = component(
    "lss_chart", css=(HERE / "chart.css").read_text("utf-8"), js=(HERE / "chart.js").read_text("utf-8"),
    isolate_styles=False,
)


def show(shown: StudyFigure, *, key: str, on_cell: Callable[[], None] | None = None) -> None:
    """Draw a figure.

    Args:
        on_cell: Called before the page runs again when a cell of a heat map is clicked; the cell (row, column) is then
            `st.session_state[key]["cell"]`.
    """
    title = shown.figure.layout.title.text      # type: ignore[union-attr]
    data = {
        "plotly": ADDRESS, "figure": shown.figure.to_json(), "csv": shown.as_csv(), "file": shown.key,
        "title": html.unescape(title or shown.name), "statement": shown.statement, "cells": on_cell is not None,
    }
    _component(key=key, data=data, on_cell_change=on_cell or _ignore)


def _ignore() -> None:
    """No cell of this figure can be chosen."""


async def send_plotly(_: Request) -> Response:
    """GET /api/plotly/{digest}.js: plotly's code; the digest in its address makes it safe to cache for long."""
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "Content-Encoding": "identity"}
    return FileResponse(PLOTLY, media_type="text/javascript", headers=headers)


ROUTES = [Route("/api/plotly/{digest}.js", send_plotly, methods=["GET"])]
