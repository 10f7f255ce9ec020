"""What a visitor sees who is not signed in, and what stands in the frame about the one who is."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from lss_core.settings import Settings
from lss_core.study import acting, people, signins
from lss_core.study.actors import Actor
from lss_core.vocabulary import Refusal
from ui import resources
from ui.providers import DEFAULT, SignInSetup


def offer(setup: SignInSetup) -> None:
    """The sign-in page: a button for each provider."""
    settings = Settings.from_environment()
    st.title("Sign in", anchor=False)
    st.markdown(
        "This studio is open to people who were invited to a study. A session ends after "
        f"{settings.session_idle_s / 60:g} minutes without use, and in any case after "
        f"{settings.session_lifetime_s / 3600:g} hours."
    )
    for provider in setup.providers:
        label = f"Sign in with {provider.label}" if provider.label else "Sign in"
        if st.button(label, type="primary", icon=":material/login:", key=f"sign-in-{provider.key}"):
            st.login(None if provider.key == DEFAULT else provider.key)


def sign_out(cookie: str) -> None:
    """End the session on the server first, then let the browser forget what it keeps."""
    signins.sign_out(resources.studies(), cookie=cookie)
    st.logout()


def sign_out_everywhere(actor: Actor) -> None:
    signins.sign_out_everywhere(resources.studies(), actor)
    st.logout()


def whom_to_act_as() -> dict[int, Actor]:
    """Whom the local user may act as, by account. Only where no provider is configured."""
    return {each.account_id: each for each in people.identities(resources.studies())}


def offer_acting(actor: Actor, known: Mapping[int, Actor], *, cookie: str) -> None:
    """The choice whom the local user acts as; who keeps no cookie cannot choose."""
    chosen = st.selectbox(
        "Acting as", list(known), index=list(known).index(actor.account_id), format_func=lambda id: _named(known[id]),
        key=f"acting-as-{actor.account_id}", disabled=not cookie, label_visibility="collapsed",
    )
    if chosen != actor.account_id:
        try:
            acting.act_as(resources.studies(), cookie=cookie, account_id=chosen)
        except Refusal as refusal:
            st.error(str(refusal))
        else:
            st.rerun()


def _named(actor: Actor) -> str:
    return actor.name if actor.email in (actor.name, people.LOCAL_EMAIL) else f"{actor.name} ({actor.email})"
