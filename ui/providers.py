"""Who may vouch for people: the sign-in providers of secrets.toml, read once when the server starts."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from lss_core.settings import Settings
from lss_core.study.signins import Identity
from lss_core.vocabulary import Refusal

CALLBACK = "/oauth2callback"
DEFAULT = "default"                             # Streamlit's name of a provider that stands in [auth] itself
SHORTEST_SECRET = 32
NEEDED = ("client_id", "client_secret", "server_metadata_url")
# Addresses in tokens of Entra's shared endpoints are whatever the administrator of any tenant typed.
SHARED_TENANTS = ("/common/", "/organizations/", "/consumers/")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Provider:
    """One provider, and how far its word about addresses goes."""

    key: str                                    # its name in secrets.toml, "default" for [auth] itself
    label: str                                  # after "Sign in with"; "" where there is only one
    email_claim: str = "email"
    email_is_verified: bool = False             # the organisation itself keeps the addresses, and states no proof
    email_domain: str = ""                      # no address is stated: the person's is SUBJECT@email_domain

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """What the claims of an id token say about a person."""
        subject = _text(claims, "sub")
        by_subject = bool(self.email_domain and subject)
        stated = claims.get("email_verified") in (True, "true")
        return Identity(
            issuer=_text(claims, "iss"), subject=subject, issued_at=int(claims.get("iat") or 0),
            nonce=_text(claims, "nonce"),
            email=f"{subject}@{self.email_domain}" if by_subject else _text(claims, self.email_claim),
            email_verified=by_subject or self.email_is_verified or (stated and self.email_claim == "email"),
            name=_text(claims, "name"),
        )


@dataclass(frozen=True)
class SignInSetup:
    """How people sign in to this server."""

    origin: str                                 # scheme://host[:port], as browsers see it
    hosts: frozenset[str]                       # names under which the server answers, without ports
    providers: tuple[Provider, ...]

    @property
    def is_secure(self) -> bool:
        """Whether browsers come by TLS."""
        return self.origin.startswith("https://")

    def identity(self, claims: Mapping[str, Any]) -> Identity | None:
        """What the claims of a browser's identity cookie say, or None where no provider of ours made them."""
        provider = next((each for each in self.providers if each.key == claims.get("provider")), None)
        return provider.identity(claims) if provider and claims.get("is_logged_in") else None


@functools.cache
def configured() -> SignInSetup | None:
    """The sign-in of this server, or None where there is none and one local user works alone.

    It is read once: a file that is lost or damaged later must not turn a server of many into one without sign-in.

    Raises:
        Refusal: secrets.toml cannot be read, or its [auth] lacks something.
    """
    files = [path for path in st.get_option("secrets.files") if Path(path).exists()]
    if not st.secrets.load_if_toml_exists():
        if files:
            raise Refusal("secrets.toml cannot be read as TOML; correct it, or remove it to work without sign-in.")
        return None
    if "auth" not in st.secrets:
        return None
    words = st.secrets.to_dict()
    return read_setup(words["auth"], words.get("sign_in", {}), hosts=Settings.from_environment().hosts)


def read_setup(auth: Mapping[str, Any], sign_in: Mapping[str, Any], *, hosts: tuple[str, ...] = ()) -> SignInSetup:
    """The sign-in that [auth] and [sign_in] of secrets.toml describe.

    Args:
        hosts: Further names under which the server answers.

    Raises:
        Refusal: something is missing, or would let others in.
    """
    redirect, name = _redirect(auth)
    if len(str(auth.get("cookie_secret", ""))) < SHORTEST_SECRET:
        raise Refusal(f"cookie_secret in [auth] is shorter than {SHORTEST_SECRET} characters; "
                      "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'")
    sections = {key: each for key, each in auth.items() if isinstance(each, Mapping) and key != "client_kwargs"}
    if "client_id" in auth:
        sections[DEFAULT] = auth
    if not sections:
        raise Refusal(f"[auth] names no provider; add {', '.join(NEEDED)} (docs/sign-in.md).")
    unknown = sorted(set(sign_in) - set(sections))
    if unknown:
        raise Refusal(f"[sign_in.{unknown[0]}] stands in secrets.toml, but [auth.{unknown[0]}] does not.")
    providers = tuple(_provider(key, section, sign_in.get(key, {})) for key, section in sections.items())
    return SignInSetup(redirect, frozenset({name, *hosts}), providers)


def _redirect(auth: Mapping[str, Any]) -> tuple[str, str]:
    """Origin and host name of redirect_uri."""
    text = str(auth.get("redirect_uri", ""))
    uri = urlsplit(text)
    if uri.scheme not in ("http", "https") or not uri.hostname or uri.path != CALLBACK or "{" in text:
        raise Refusal(f"redirect_uri in [auth] is {text!r}; write https://HOST{CALLBACK}.")
    if uri.scheme == "http" and uri.hostname not in LOOPBACK_NAMES:
        raise Refusal(f"redirect_uri in [auth] is {text!r}: without TLS, whoever listens could sign in as somebody "
                      "else; write https:// and put a proxy with a certificate in front.")
    return f"{uri.scheme}://{uri.netloc}", uri.hostname.lower()


def _provider(key: str, section: Mapping[str, Any], words: Mapping[str, Any]) -> Provider:
    missing = [each for each in NEEDED if not section.get(each)]
    if missing:
        where = "[auth]" if key == DEFAULT else f"[auth.{key}]"
        raise Refusal(f"{where} lacks {missing[0]}; docs/sign-in.md shows a whole one.")
    known = {"label", "email_claim", "email_is_verified", "email_domain"}
    if unknown := sorted(set(words) - known):
        raise Refusal(f"[sign_in.{key}] has {unknown[0]!r}, which is not one of {', '.join(sorted(known))}.")
    provider = Provider(key, **{"label": "" if key == DEFAULT else key.capitalize(), **words})
    url = str(section["server_metadata_url"])
    if provider.email_is_verified and any(each in url for each in SHARED_TENANTS):
        raise Refusal(f"[sign_in.{key}] takes every address as verified, but {url} signs in people of any "
                      "organisation, who may state any address; name your own tenant in server_metadata_url.")
    return provider


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""
