"""Two replicas of the app behind the proxy of `deploy/nginx.conf`: each browser stays with one, and outlives it.

    python -m benchmarks.replicas [--nginx PATH] [--visitors N]

Starts PostgreSQL, an OpenID provider made for tests, two servers and nginx on the loopback. N people sign in through
the proxy and open pages; then one replica is killed, and those whom it served go on signed in at the other. The proxy's
file is the shipped one but for TLS, the ports and the replicas' addresses. Exit 1 where anything is not so.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from lss_core.permissions import Role
from lss_core.study.connection import open_database
from lss_core.study.database import StudyState
from tests.browser.conftest import free_port, launch
from tests.databases import Databases
from tests.people_cases import add_person, add_study
from tests.sign_in_server import ROLES, provider_of, secrets_toml
from tests.streamlit_client import open_tab, sign_in, visitor

SHIPPED = Path(__file__).resolve().parents[1] / "deploy" / "nginx.conf"
PEOPLE = ("pi", "coordinator", "reader", "annotator")


def main() -> int:
    """Print what was seen; exit 0 where it is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nginx", default=shutil.which("nginx"), help="the proxy's program")
    parser.add_argument("--visitors", type=int, default=8)
    options = parser.parse_args()
    if not options.nginx:
        raise SystemExit("nginx is not installed; name it with --nginx.")
    folder = Path(tempfile.mkdtemp(prefix="lss-replicas-"))
    with ExitStack() as stack:
        return try_replicas(stack, folder, options.nginx, options.visitors)


def try_replicas(stack: ExitStack, folder: Path, nginx: str, visitors: int) -> int:
    port, ports = free_port(), (free_port(), free_port())
    databases = Databases(folder, stack)
    url = databases.new("postgresql")
    _people(url)
    provider = stack.enter_context(provider_of(folder))
    (folder / "secrets.toml").write_text(secrets_toml(port=port, provider=provider), encoding="utf-8")
    environment = {
        "STREAMLIT_SECRETS_FILES": str(folder / "secrets.toml"), "LSS_DATA": str(folder / "data"), "LSS_HOSTS": "",
        "DATABASE_URL": url, "LSS_MODEL": "", "LSS_MODELS": str(folder / "no models"),
    }
    servers = {each: launch(folder / f"{each}.log", port=each, environment=environment) for each in ports}
    try:
        stack.enter_context(proxy(nginx, folder, port, ports))
        return watch(f"http://localhost:{port}", visitors, servers, folder / "access.log")
    finally:
        for server in servers.values():
            server.kill()
            server.wait()


def watch(address: str, visitors: int, servers: Mapping[int, subprocess.Popen], log: Path) -> int:
    """Sign in, open pages, kill one replica, open pages again."""
    clients = [visitor(address) for _ in range(visitors)]
    for number, client in enumerate(clients):
        sign_in(client, PEOPLE[number % len(PEOPLE)])
    opened = [_signed_in(client) for client in clients for _ in range(3)]
    homes = _seen(log)
    strayed = [place for place, replicas in homes.items() if len(replicas) > 1]
    spread = sorted(sum(port in replicas for replicas in homes.values()) for port in servers)
    print(f"{visitors} browsers, {len(homes)} places, {spread} by replica; {len(strayed)} met both replicas; "
          f"{sum(opened)} of {len(opened)} pages were shown signed in")
    doomed = next(port for port in servers if any(port in replicas for replicas in homes.values()))
    servers[doomed].kill()
    servers[doomed].wait()
    after = [_signed_in(client) for client in clients]
    print(f"one replica killed: {sum(after)} of {len(after)} pages were shown signed in")
    return 0 if all(opened) and all(after) and not strayed and spread[0] > 0 and len(homes) == visitors else 1


def _signed_in(client: httpx.Client) -> bool:
    """Whether the account page is shown, over a websocket of its own."""
    client.get("/account")
    with open_tab(client, "account") as tab:
        return "Sign out everywhere" in tab.run().text


def _seen(log: Path) -> dict[str, set[int]]:
    """Which replicas answered each place; of an attempt that was passed on the last. A first request has no place."""
    seen: dict[str, set[int]] = {}
    for line in log.read_text().splitlines():
        place, upstream = line.split(" ", 1)
        if place == "-":
            continue
        seen.setdefault(place, set()).add(int(upstream.rsplit(":", 1)[1]))
    return seen


@contextmanager
def proxy(nginx: str, folder: Path, port: int, ports: tuple[int, int]) -> Iterator[None]:
    """nginx with the shipped configuration, on the loopback and without TLS."""
    (folder / "nginx.conf").write_text(configuration(folder, port, ports), encoding="utf-8")
    command = [nginx, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def configuration(folder: Path, port: int, ports: tuple[int, int]) -> str:
    """The shipped file, with what is of another machine replaced."""
    text = SHIPPED.read_text(encoding="utf-8")
    for name, each in zip(("app-1", "app-2"), ports, strict=True):
        text = text.replace(f"server {name}:8501", f"server 127.0.0.1:{each}")
    text = re.sub(r"ssl_certificate.*\n", "\n", text).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = text.replace(" Secure;", "")
    places = "".join(f"{name}_temp_path {folder}/{name};\n"
                     for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    own = f"{places}log_format places '$cookie_lss_place $upstream_addr';\naccess_log {folder}/access.log places;\n"
    return f"daemon off;\npid {folder}/pid;\n" + text.replace("http {", "http {\n" + own, 1)


def _people(url: str) -> None:
    engine = open_database(url)
    study_id = add_study(engine, state=StudyState.DRAFT)
    for subject in PEOPLE:
        add_person(engine, f"{subject}@example.org", (study_id, Role(ROLES[subject])))
    engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
