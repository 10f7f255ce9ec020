"""What secrets.toml says of the sign-in: read whole or refused, and what a provider's word is worth."""

import re
import tomllib
from pathlib import Path

import pytest

from lss_core.vocabulary import Refusal
from ui.providers import Provider, read_setup

ROOT = Path(__file__).resolve().parent.parent
SECRET = "s" * 40
ONE = {"client_id": "a", "client_secret": "b", "server_metadata_url": "https://p.example/.well-known/openid-configuration"}
AUTH = {"redirect_uri": "https://studio.example/oauth2callback", "cookie_secret": SECRET, **ONE}
CLAIMS = {"iss": "https://p.example", "sub": "u1", "iat": 5, "nonce": "n", "email": "a@example.org", "name": "Ada",
          "is_logged_in": True, "provider": "default"}


def test_one_provider_stands_in_auth_itself():
    setup = read_setup(AUTH, {}, hosts=("alias.example",))
    assert (setup.origin, setup.is_secure) == ("https://studio.example", True)
    assert setup.hosts == {"studio.example", "alias.example"}
    assert [each.key for each in setup.providers] == ["default"]


def test_several_providers_stand_in_sections_with_words_about_them():
    auth = {"redirect_uri": AUTH["redirect_uri"], "cookie_secret": SECRET, "google": ONE,
            "orcid": {**ONE, "client_kwargs": {"scope": "openid"}}}
    setup = read_setup(auth, {"orcid": {"label": "ORCID", "email_domain": "orcid.org"}})
    assert [(each.key, each.label) for each in setup.providers] == [("google", "Google"), ("orcid", "ORCID")]


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"redirect_uri": ""}, "redirect_uri"), ({"redirect_uri": "https://studio.example/"}, "oauth2callback"),
    ({"redirect_uri": "ftp://studio.example/oauth2callback"}, "write https"),
    ({"redirect_uri": "http://localhost:{port}/oauth2callback"}, "write https"),
    ({"redirect_uri": "http://studio.example/oauth2callback"}, "without TLS"),
    ({"cookie_secret": ""}, "cookie_secret"), ({"cookie_secret": "s" * 31}, "shorter than 32"),
    ({"client_secret": ""}, "lacks client_secret"), ({"server_metadata_url": ""}, "lacks server_metadata_url"),
])
def test_an_incomplete_or_open_sign_in_is_refused(changed, sentence):
    with pytest.raises(Refusal, match=sentence):
        read_setup(AUTH | changed, {})


def test_a_section_without_provider_and_words_about_none_are_refused():
    with pytest.raises(Refusal, match="names no provider"):
        read_setup({"redirect_uri": AUTH["redirect_uri"], "cookie_secret": SECRET}, {})
    with pytest.raises(Refusal, match=r"\[auth.orcid\] does not"):
        read_setup(AUTH, {"orcid": {"label": "ORCID"}})
    with pytest.raises(Refusal, match="'colour', which is not one of"):
        read_setup(AUTH, {"default": {"colour": "red"}})


@pytest.mark.parametrize("tenant", ["common", "organizations", "consumers"])
def test_addresses_of_any_organisation_are_not_taken_as_verified(tenant):
    url = f"https://login.microsoftonline.com/{tenant}/v2.0/.well-known/openid-configuration"
    auth = AUTH | {"server_metadata_url": url}
    assert read_setup(auth, {})
    with pytest.raises(Refusal, match="people of any organisation"):
        read_setup(auth, {"default": {"email_is_verified": True}})


@pytest.mark.parametrize(("stated", "verified"), [
    ({"email_verified": True}, True), ({"email_verified": "true"}, True), ({"email_verified": False}, False),
    ({}, False), ({"email_verified": "yes"}, False), ({"email_verified": 1.5}, False),
])
def test_an_address_counts_as_verified_where_the_provider_says_so(stated, verified):
    assert Provider("default", "").identity(CLAIMS | stated).email_verified is verified


def test_an_organisation_may_vouch_for_all_its_addresses():
    provider = Provider("default", "", email_is_verified=True, email_claim="preferred_username")
    identity = provider.identity(CLAIMS | {"preferred_username": "ada@example.org"})
    assert (identity.email, identity.email_verified) == ("ada@example.org", True)


def test_the_proof_of_an_address_does_not_serve_for_another_claim():
    provider = Provider("default", "", email_claim="preferred_username")
    claims = CLAIMS | {"preferred_username": "x@example.org", "email_verified": True}
    assert not provider.identity(claims).email_verified


def test_where_no_address_is_stated_the_subject_makes_one():
    identity = Provider("orcid", "ORCID", email_domain="orcid.org").identity(CLAIMS | {"sub": "0000-0002-1825-0097"})
    assert (identity.email, identity.email_verified) == ("0000-0002-1825-0097@orcid.org", True)
    assert not Provider("orcid", "ORCID", email_domain="orcid.org").identity(CLAIMS | {"sub": ""}).email_verified


@pytest.mark.parametrize("changed", [{"provider": "other"}, {"provider": None}, {"is_logged_in": False}])
def test_claims_of_no_provider_of_ours_are_nobody(changed):
    assert read_setup(AUTH, {}).identity(CLAIMS | changed) is None
    assert read_setup(AUTH, {}).identity(CLAIMS) is not None


def test_two_tokens_of_one_person_differ_and_one_token_does_not():
    setup = read_setup(AUTH, {})
    assert setup.identity(CLAIMS).digest == setup.identity(CLAIMS | {"picture": "x"}).digest
    others = [setup.identity(CLAIMS | each) for each in ({"nonce": "m"}, {"iat": 6}, {"sub": "u2"}, {"iss": "q"})]
    assert len({setup.identity(CLAIMS).digest, *(each.digest for each in others)}) == 5


@pytest.mark.parametrize("recipe", re.findall(r"```toml\n(.*?)```", (ROOT / "docs/sign-in.md").read_text(), re.S))
def test_the_recipes_of_the_documentation_are_whole(recipe):
    words = tomllib.loads(recipe)
    (provider,) = read_setup(words["auth"], words.get("sign_in", {})).providers
    assert provider.identity(CLAIMS | {"email_verified": True}).email_verified
