"""What the server answers beside Streamlit: pixels and the viewer's code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ui import viewer
from ui.access import SESSION_COOKIE
from ui.resources import images

SLICES_A_CHUNK = 4
# Content-Encoding is stated so that nothing compresses the pixels again: at level 9 that costs seconds a scan, and on
# the loopback the bytes are free.
PRIVATE = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
GONE = "Not found, expired, or not yours."


async def send_volume(request: Request) -> Response:
    """GET /api/volumes/{token}: int16 little-endian [slice, row, column], nothing else."""
    volume = images().volume(request.path_params["token"], owner=request.cookies.get(SESSION_COOKIE))
    if volume is None:
        return _gone()
    length = {"Content-Length": str(volume.hu.size * 2)}
    return StreamingResponse(_chunks(volume.hu), media_type="application/octet-stream", headers=PRIVATE | length)


async def send_overlay(request: Request) -> Response:
    """GET /api/overlays/{token}: uint8 [row, column], 0 cold to 255 hot."""
    overlay = images().overlay(request.path_params["token"], owner=request.cookies.get(SESSION_COOKIE))
    if overlay is None:
        return _gone()
    return Response(overlay.tobytes(), media_type="application/octet-stream", headers=PRIVATE)


async def send_viewer(_: Request) -> Response:
    """GET /api/viewer/{digest}.js: the viewer's code; the digest in its address makes it safe to cache for long."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Content-Encoding": "identity"}
    return FileResponse(viewer.BUNDLE, media_type="text/javascript", headers=headers)


def _gone() -> Response:
    return PlainTextResponse(GONE, status_code=404, headers={"Cache-Control": "no-store"})


def _chunks(hu: np.ndarray) -> Iterator[bytes]:
    for first in range(0, len(hu), SLICES_A_CHUNK):
        yield np.ascontiguousarray(hu[first : first + SLICES_A_CHUNK], dtype="<i2").tobytes()


ROUTES = [
    Route("/api/volumes/{token}", send_volume, methods=["GET"]),
    Route("/api/overlays/{token}", send_overlay, methods=["GET"]),
    Route("/api/viewer/{digest}.js", send_viewer, methods=["GET"]),
]
