"""The real server with a real OpenID provider in front, and people of every role who can sign in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import Engine

from lss_core.permissions import Role
from lss_core.study import people
from lss_core.study.connection import open_database
from lss_core.study.database import StudyState
from tests.browser.conftest import free_port, started_server
from tests.people_cases import add_person, add_study, withdraw

# Who has an account at the provider, and which of their claims are unlike the others'.
EVERYBODY = {
    "pi": {}, "coordinator": {}, "annotator": {}, "reader": {}, "creator": {}, "no-role": {}, "stranger": {},
    "unverified": {"email_verified": False}, "impostor": {"email": "reader@example.org"},
}
ROLES = {"pi": Role.PI, "coordinator": Role.COORDINATOR, "annotator": Role.ANNOTATOR, "reader": Role.READER,
         "no-role": Role.READER, "unverified": Role.READER}
START_S = 180


@dataclass(frozen=True)
class Studio:
    """An installation whose server can be started again at the same address."""

    folder: Path
    port: int
    provider: str
    engine: Engine
    study_id: int

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @contextmanager
    def started(self) -> Iterator[str]:
        """The server, fresh. Its address names another site than the provider's."""
        variables = {
            "STREAMLIT_SECRETS_FILES": str(self.folder / "secrets.toml"), "LSS_DATA": str(self.folder / "data"),
            "DATABASE_URL": "", "LSS_HOSTS": "", "LSS_MODEL": "",
            "LSS_MODELS": str(self.folder / "no models"),       # nothing is graded here, and nothing to load
        }
        with started_server(self.log, environment=variables, port=self.port):
            yield self.address

    def without_roles(self, subject: str) -> None:
        """Take the roles of a person away behind the services' back, so that their session stays open."""
        withdraw(self.engine, f"{subject}@example.org")


@contextmanager
def installation(folder: Path) -> Iterator[Studio]:
    """A database with people, a running provider, and secrets.toml that names it."""
    port = free_port()
    engine = open_database(f"sqlite:///{folder / 'data' / 'studies.sqlite'}")
    study_id = add_study(engine, state=StudyState.DRAFT)
    for subject, role in ROLES.items():
        add_person(engine, f"{subject}@example.org", (study_id, role))
    people.allow_studies(engine, "creator@example.org")
    with provider_of(folder) as provider:
        (folder / "secrets.toml").write_text(secrets_toml(port=port, provider=provider), encoding="utf-8")
        yield Studio(folder, port, provider, engine, study_id)
    engine.dispose()


def secrets_toml(*, port: int, provider: str, cookie_secret: str = "c" * 48) -> str:
    return f"""[auth]
redirect_uri = "http://localhost:{port}/oauth2callback"
cookie_secret = "{cookie_secret}"
client_id = "studio"
client_secret = "made-up"
server_metadata_url = "{provider}/.well-known/openid-configuration"
"""


@contextmanager
def provider_of(folder: Path) -> Iterator[str]:
    """The address of a provider at which everybody has an account."""
    port = free_port()
    with _provider(port, folder / "provider.txt"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _provider(port: int, log: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true"]
    for subject, changed in EVERYBODY.items():
        claims = {"sub": subject, "email": f"{subject}@example.org", "email_verified": True, "name": subject}
        command += ["--user-claims", json.dumps(claims | changed)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/.well-known/openid-configuration", log)
            yield
        finally:
            process.terminate()


def _wait_for(address: str, log: Path) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s:
        try:
            httpx.get(address, timeout=2).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(f"The provider did not start: {log.read_text()}")
