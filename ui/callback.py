"""The return from the sign-in provider: Streamlit checks the id token, and here it is decided who comes in.

A session begins here and nowhere else. A browser that shows an identity cookie later, copied or kept, gets none.
"""

from __future__ import annotations

import html
import secrets
import time
from collections import deque
from http.cookies import SimpleCookie

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lss_core.study import signins
from lss_core.vocabulary import RESEARCH_USE, Refusal
from ui import identity_cookie, resources
from ui.access import SESSION_COOKIE
from ui.providers import CALLBACK, SignInSetup

LOGOUT = "/auth/logout"
FAILED = "The sign-in did not succeed, or was broken off; try again."
NOT_STATED = "The provider's answer was an error, or could not be checked."
RECORDED, WITHIN_S = 20, 600.0                  # nobody can fill the audit log from outside
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign-in refused</title>
<meta name="viewport" content="width=device-width"></head>
<body style="font:16px/1.5 sans-serif;color:#111827;max-width:40rem;margin:2rem auto;padding:0 1rem">
<p role="note">{banner}</p><main><h1>Not signed in</h1><p role="alert">{sentence}</p>
<p><a href="/">Back to the sign-in page</a></p></main></body></html>"""


class SignInCallback:
    """Turn a sign-in at the provider into a session of this server, or into a page that says why not."""

    def __init__(self, app: ASGIApp, *, setup: SignInSetup) -> None:
        self.app = app
        self.setup = setup
        self.budget = Budget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != CALLBACK:
            await self.app(scope, receive, send)
            return
        request, answer = HTTPConnection(scope), _Answer()
        await self.app(scope, receive, answer.keep)
        if not {"code", "error"} & set(request.query_params):
            await answer.send_to(send)          # back from signing out
            return
        try:
            cookie = await run_in_threadpool(self._sign_in, request, answer.cookies)
        except Refusal as refusal:
            await self._refuse(str(refusal), request, answer)(scope, receive, send)
        else:
            answer.add_cookie(f"{SESSION_COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax")
            await answer.send_to(send)

    def _sign_in(self, request: HTTPConnection, cookies: dict[str, str]) -> str:
        """The secret of a new session.

        Raises:
            Refusal: the provider's word is missing, or does not suffice.
        """
        identity = self.setup.identity(identity_cookie.claims(cookies, origin=self.setup.origin))
        if identity is None:
            if self.budget.take():
                signins.record_failure(resources.studies(), NOT_STATED)
            raise Refusal(FAILED)
        cookie, former = secrets.token_urlsafe(32), request.cookies.get(SESSION_COOKIE, "")
        signins.sign_in(resources.studies(), identity, cookie=cookie, former_cookie=former)
        return cookie

    def _refuse(self, sentence: str, request: HTTPConnection, answer: _Answer) -> HTMLResponse:
        """A page with the reason, which takes back what Streamlit would have given."""
        page = HTMLResponse(
            PAGE.format(banner=html.escape(RESEARCH_USE), sentence=html.escape(sentence)), status_code=403,
            headers={"Cache-Control": "no-store"},
        )
        for name in {*request.cookies, *answer.cookies}:
            if name.startswith(identity_cookie.PREFIX):
                page.delete_cookie(name, httponly=True, samesite="lax")
        return page


class SignOut:
    """End the session on the server when a browser asks Streamlit to forget its identity."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != LOGOUT:
            await self.app(scope, receive, send)
            return
        await run_in_threadpool(_sign_out, HTTPConnection(scope).cookies.get(SESSION_COOKIE, ""))
        answer = _Answer()
        await self.app(scope, receive, answer.keep)
        answer.add_cookie(f"{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
        await answer.send_to(send)


class Budget:
    """How many failures of unknown visitors are recorded in a while; the rest are turned away without a trace."""

    def __init__(self) -> None:
        self._taken_at_s: deque[float] = deque(maxlen=RECORDED)

    def take(self) -> bool:
        """Whether there is room for one more."""
        now_s = time.monotonic()
        if len(self._taken_at_s) == RECORDED and now_s - self._taken_at_s[0] < WITHIN_S:
            return False
        self._taken_at_s.append(now_s)
        return True


class _Answer:
    """An answer of the server behind, held back until it is decided what becomes of it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def keep(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def cookies(self) -> dict[str, str]:
        """What it would set, by name; cookies that it would delete are left out."""
        found: dict[str, str] = {}
        for name, value in self.messages[0]["headers"]:
            if name.lower() == b"set-cookie":
                found |= {key: each.value for key, each in SimpleCookie(value.decode("latin-1")).items() if each.value}
        return found

    def add_cookie(self, cookie: str) -> None:
        self.messages[0]["headers"] = [*self.messages[0]["headers"], (b"set-cookie", cookie.encode("latin-1"))]

    async def send_to(self, send: Send) -> None:
        for message in self.messages:
            await send(message)


def _sign_out(cookie: str) -> None:
    signins.sign_out(resources.studies(), cookie=cookie)
