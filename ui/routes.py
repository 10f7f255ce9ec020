"""What the server answers beside Streamlit: pixels and the viewer's code, and the guards in front of every request."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui import viewer
from ui.access import SESSION_COOKIE, is_loopback_host
from ui.resources import images

SLICES_A_CHUNK = 4
# Content-Encoding is stated so that nothing compresses the pixels again: at level 9 that costs seconds a scan, and on
# the loopback the bytes are free.
PRIVATE = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
GONE = "Not found, expired, or not yours."
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",    # Streamlit's own frontend needs the last three
        "worker-src 'self' blob: data:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)


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


class LoopbackOnly:
    """Turn away whatever does not come from this machine, or asks for another host's name (DNS rebinding)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_local(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "loopback only"})
        else:
            answer = PlainTextResponse("Open this server as http://localhost on its own computer.", status_code=403)
            await answer(scope, receive, send)


def _is_local(scope: Scope) -> bool:
    client = scope.get("client")
    return (client is None or is_loopback_host(client[0])) and is_loopback_host(Headers(scope=scope).get("host", ""))


class SecurityHeaders:
    """Headers that keep the page from loading from, or being framed by, anything outside."""

    HEADERS = (
        ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.HEADERS:
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class SessionCookie:
    """Give each browser a random secret with its first page; images are bound to it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or SESSION_COOKIE in HTTPConnection(scope).cookies:
            await self.app(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    cookie = f"{SESSION_COOKIE}={secrets.token_urlsafe(32)}; Path=/; HttpOnly; SameSite=Strict"
                    headers.append("Set-Cookie", cookie)
            await send(message)

        await self.app(scope, receive, send_with_cookie)
