"""What stands in front of every request: who may ask, under which name, and the headers and cookies of each answer."""

from __future__ import annotations

import secrets

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.access import SESSION_COOKIE, actor_of_request, host_name, is_forwarded, is_loopback_host
from ui.callback import SignInCallback, SignOut
from ui.providers import SignInSetup

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
HEALTH = "/_stcore/health"                      # says "ok" and nothing else, to whatever watches the server
# Answers that hold a person's data, or that take megabytes from whoever asks. The viewer's code is public.
PRIVATE = ("/api/", "/media/", "/_stcore/upload_file/")
PUBLIC = ("/api/viewer/",)


def stack(setup: SignInSetup | None) -> list[Middleware]:
    """The guards of a server, outermost first.

    Args:
        setup: How people sign in; None: one local user, on this machine only.
    """
    if setup is None:
        return [Middleware(LoopbackOnly), Middleware(SecurityHeaders), Middleware(SessionCookie)]
    secure = [Middleware(SecureCookies)] if setup.is_secure else []
    return [
        Middleware(AllowedHosts, hosts=setup.hosts), Middleware(SecurityHeaders), *secure, Middleware(SignedInOnly),
        Middleware(SignOut), Middleware(SignInCallback, setup=setup),
    ]


class LoopbackOnly:
    """Turn away whatever does not come from this machine, or asks for another host's name (DNS rebinding)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_local(scope):
            await self.app(scope, receive, send)
        else:
            await _turn_away(scope, receive, send, "Open this server as http://localhost on its own computer.")


class AllowedHosts:
    """Turn away requests for another host's name: DNS rebinding, and links made from a forged Host header."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] in ("http", "websocket") and scope["path"] != HEALTH
        if not is_request or host_name(Headers(scope=scope).get("host", "")) in self.hosts:
            await self.app(scope, receive, send)
        else:
            await _turn_away(scope, receive, send, "This server does not answer under this name.")


class SignedInOnly:
    """Give what is private to signed-in people only, whatever the route behind asks for besides."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_private = scope["type"] == "http" and scope["path"].startswith(PRIVATE)
        if not is_private or scope["path"].startswith(PUBLIC) or await _is_signed_in(scope):
            await self.app(scope, receive, send)
        else:
            await _turn_away(scope, receive, send, "Sign in first.", status=401)


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


class SecureCookies:
    """Send every cookie, Streamlit's own too, over TLS only."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secure(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value + b"; Secure") if name.lower() == b"set-cookie" and b"; secure" not in value.lower()
                    else (name, value) for name, value in message["headers"]
                ]
            await send(message)

        await self.app(scope, receive, send_secure if scope["type"] == "http" else send)


class SessionCookie:
    """Where nobody signs in: give each browser a random secret with its first page; images are bound to it."""

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


def _is_local(scope: Scope) -> bool:
    client, headers = scope.get("client"), Headers(scope=scope)
    here = (client is None or is_loopback_host(client[0])) and not is_forwarded(headers)
    return here and is_loopback_host(headers.get("host", ""))


async def _is_signed_in(scope: Scope) -> bool:
    return await run_in_threadpool(actor_of_request, HTTPConnection(scope)) is not None


async def _turn_away(scope: Scope, receive: Receive, send: Send, why: str, *, status: int = 403) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": why})
    else:
        await PlainTextResponse(why, status_code=status, headers={"Cache-Control": "no-store"})(scope, receive, send)
