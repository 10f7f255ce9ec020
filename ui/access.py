"""Who is there and what may they do. Until people can sign in there is one local user, on the loopback address."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass

import streamlit as st

from lss_core.permissions import Permission

SESSION_COOKIE = "lss_session"


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


def require(permission: Permission) -> Visitor:
    """Return the visitor, or end the page with a sentence. The first statement of every page."""
    visitor = _visitor()
    if visitor is None or permission not in visitor.permissions:
        st.error("This page is open only in a browser on the computer that runs the studio, at http://localhost.")
        st.stop()
    return visitor


def refuse_open_address(address: str | None) -> None:
    """Raise SystemExit unless the server binds a loopback address: without sign-in, anybody could come in."""
    if address is None or not is_loopback_host(address):
        raise SystemExit(
            f"Refusing to listen on {address or 'every address'}: no sign-in is configured, so anybody on the network "
            "could open patients' images. Start with --server.address 127.0.0.1, and reach it from elsewhere through "
            "an SSH tunnel."
        )


def is_loopback_host(host: str) -> bool:
    """Whether a host name, with or without a port, names this machine's loopback.

    Only "localhost" and literal loopback addresses count: any other name may be made to resolve to 127.0.0.1 by a
    foreign web site (DNS rebinding).
    """
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _visitor() -> Visitor | None:
    """The local user, or None for a request that did not come from this machine's own browser."""
    host = st.context.headers.get("Host")
    if st.context.ip_address is not None or (host is not None and not is_loopback_host(host)):
        return None
    cookie = st.context.cookies.get(SESSION_COOKIE)
    session = cookie or st.session_state.setdefault("session_without_cookie", secrets.token_urlsafe(32))
    return Visitor("local user", frozenset(Permission), session, has_cookie=cookie is not None)
