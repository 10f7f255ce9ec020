"""Who is there and what may they do. Without a sign-in provider there is one local user, on the loopback address."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import streamlit as st
from starlette.requests import HTTPConnection

from lss_core.permissions import Permission
from lss_core.settings import Settings
from lss_core.study import acting, signins
from lss_core.study.actors import Actor
from lss_core.vocabulary import Refusal
from ui import identity_cookie, providers, resources, sign_in
from ui.providers import SignInSetup

SESSION_COOKIE = "lss_session"
# A request that a proxy passed on did not begin on this machine, whatever it says of its host.
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
SEEN_AS = "seen_as"                             # the account for which this tab keeps its state
ONLY_HERE = "This page is open only in a browser on the computer that runs the studio, at http://localhost."


@dataclass(frozen=True)
class Visitor:
    """The person in front of a page.

    `session` owns the images of this browser: it is the secret of the browser's cookie, or, where no cookie came
    (`has_cookie` False), a random one that no request can ever match.
    """

    name: str
    permissions: frozenset[Permission]
    session: str
    has_cookie: bool
    actor: Actor | None = None


def require(permission: Permission) -> Visitor:
    """Return the visitor, or end the page with a sentence. The first statement of every page."""
    visitor = present()
    if visitor is None:
        _turn_away()
    elif permission not in visitor.permissions:
        st.error(f"This page needs the permission to {permission.value.replace('_', ' ')}, which {visitor.name} does "
                 "not have.", icon=":material/lock:")
    else:
        return visitor
    st.stop()


def present() -> Visitor | None:
    """Whoever is in front of the page, or None; ends the page with a sentence where the database cannot be asked."""
    try:
        visitor = _visitor()
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        st.stop()
    if visitor and visitor.actor:
        _forget_somebody_else(visitor.actor)
    return visitor


def actor_of_request(request: HTTPConnection) -> Actor | None:
    """Who asks a route, or None. Asks the database: call it in a plain `def` route, which runs in a thread.

    Raises:
        Refusal: the database cannot be opened.
    """
    setup = providers.configured()
    cookie = request.cookies.get(SESSION_COOKIE, "")
    if setup is None:
        return acting.local_user(resources.studies(), cookie=cookie) if cookie else None
    return _signed_in(setup, cookie, identity_cookie.claims(request.cookies, origin=setup.origin))


def same_origin(request: HTTPConnection) -> bool:
    """Whether a page of this server sent the request. Whatever changes something asks this first.

    Browsers send Origin with every POST, as "null" where the referrer policy hides it; then their own word on where the
    request began counts, which no page can forge.
    """
    origin = request.headers.get("origin", "null")
    if origin != "null":
        return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    return request.headers.get("sec-fetch-site") == "same-origin"


def refuse_open_address(address: str | None) -> None:
    """Raise SystemExit unless the server binds a loopback address: without sign-in, anybody could come in."""
    if address is None or not is_loopback_host(address):
        raise SystemExit(
            f"Refusing to listen on {address or 'every address'}: no sign-in is configured, so anybody on the network "
            "could open patients' images. Configure a sign-in provider (docs/sign-in.md), or start with "
            "--server.address 127.0.0.1 and reach it from elsewhere through an SSH tunnel."
        )


def is_loopback_host(host: str) -> bool:
    """Whether a host name, with or without a port, names this machine's loopback.

    Only "localhost" and literal loopback addresses count: any other name may be made to resolve to 127.0.0.1 by a
    foreign web site (DNS rebinding).
    """
    name = host_name(host)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """The name in a Host header, lower case, without port and brackets."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0] if name.count(":") == 1 else name


def is_forwarded(headers: Mapping[str, str]) -> bool:
    """Whether a proxy passed a request on. Names of headers in any case."""
    return any(name.lower() in FORWARDED for name in headers)


def _turn_away() -> None:
    setup = providers.configured()
    if setup is None:
        st.error(ONLY_HERE)
    else:
        sign_in.offer(setup)


def _visitor() -> Visitor | None:
    setup = providers.configured()
    cookie = st.context.cookies.get(SESSION_COOKIE, "")
    if setup is None:
        return _local_visitor(cookie)
    actor = _signed_in(setup, cookie, dict(st.user.to_dict()))
    return Visitor(actor.name, actor.permissions, cookie, has_cookie=True, actor=actor) if actor else None


def _local_visitor(cookie: str) -> Visitor | None:
    """The local user, or None for a request that did not come from this machine's own browser."""
    headers = st.context.headers
    host = headers.get("Host")
    if st.context.ip_address is not None or (host is not None and not is_loopback_host(host)) or is_forwarded(headers):
        return None
    actor = acting.local_user(resources.studies(), cookie=cookie)
    session = cookie or st.session_state.setdefault("session_without_cookie", secrets.token_urlsafe(32))
    return Visitor(actor.name, actor.permissions, session, has_cookie=bool(cookie), actor=actor)


def _signed_in(setup: SignInSetup, cookie: str, claims: dict[str, object]) -> Actor | None:
    identity = setup.identity(claims)
    if identity is None:
        return None
    return signins.who(resources.studies(), Settings.from_environment(), cookie=cookie, identity=identity.digest)


def _forget_somebody_else(actor: Actor) -> None:
    """Empty the tab's state where another person sits before it now: nothing that one saw is shown to the other."""
    if st.session_state.get(SEEN_AS, actor.account_id) != actor.account_id:
        st.session_state.clear()
    st.session_state[SEEN_AS] = actor.account_id
