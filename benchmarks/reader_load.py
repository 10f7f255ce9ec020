"""From the submit of a case to the next one shown, with many readers at once, against one reader on the same server.

    python -m benchmarks.reader_load [--readers N] [--turns N] [--think S] [--spacing MM]

The real server, signed-in readers, 512 x 512 slices of noise. Each reader holds a websocket session, sends drafts and
signs of life while thinking, submits, asks for the next case, and has its images loaded ahead, as the browser does. The
protocol's pause between cases is left out. "Shown" is: the server has described the next case, and its pixels are
there; drawing is the browser's work. Readers and server share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from sqlalchemy import Engine
from sqlmodel import func, select
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from benchmarks.reading_browser import SLOW_S, Turn, open_desk
from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.permissions import Role
from lss_core.study import cases, desks, lifecycle, people, signins, studies
from lss_core.study.actors import Actor, actor_of
from lss_core.study.connection import open_database, reading
from lss_core.study.database import Answer
from lss_core.study.protocol import Protocol
from lss_core.vocabulary import DiscLevel, Region
from ui.access import SESSION_COOKIE
from ui.providers import DEFAULT, Provider

ROOT = Path(__file__).resolve().parents[1]
SIDE_PX = 512
AROUND_MM = 15.0
LIMIT_S = 1.0
COOKIE_SECRET = secrets.token_urlsafe(48)
SECRETS = """[auth]
redirect_uri = "{address}/oauth2callback"
cookie_secret = "{secret}"
client_id = "load"
client_secret = "load"
server_metadata_url = "http://127.0.0.1:9/never-asked"
"""


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        data, address = Path(folder), f"http://127.0.0.1:{_free_port()}"
        engine = open_database(f"sqlite:///{data / 'studies.sqlite'}")
        token, readers = _study(engine, data, arguments)
        browsers = [_cookies(engine, reader, address) for reader in readers]
        with _server(data, address) as pid:
            result = asyncio.run(_measure(address, token, browsers, pid, arguments))
        with reading(engine) as session:
            result["answers stored"] = session.exec(select(func.count()).select_from(Answer)).one()
        engine.dispose()
    print(json.dumps(result, indent=1))
    complete = result["answers stored"] == (arguments.readers + 1) * arguments.turns
    return int(not complete or bool(result["errors"]) or result["many"]["next case"]["p95_s"] > LIMIT_S)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--readers", type=int, default=30)
    parser.add_argument("--turns", type=int, default=20, help="cases that each reader submits")
    parser.add_argument("--think", type=float, default=10.0, help="mean seconds on a case; people take 30 and more")
    parser.add_argument("--spacing", type=float, default=3.0, help="mm between slices")
    return parser.parse_args()


async def _measure(address: str, token: str, browsers: list[dict], pid: int, arguments: argparse.Namespace) -> dict:
    """One reader alone, and then all others together."""
    await _read(address, token, browsers[0], 1, 1.0)
    alone, problems = await _all(address, token, browsers[:1], arguments.turns - 1, min(arguments.think, 1.0))
    memory, before_s, begin = [_resident_mib(pid)], _cpu_s(pid), time.perf_counter()
    watching = asyncio.create_task(_watch(pid, memory))
    many, more = await _all(address, token, browsers[1:], arguments.turns, arguments.think)
    used_s, took_s = _cpu_s(pid) - before_s, time.perf_counter() - begin
    watching.cancel()
    floor, shown = _spread(alone), _spread(many)
    return {
        "readers": arguments.readers, "think_s": arguments.think,
        "slab_slices": 2 * int(AROUND_MM // arguments.spacing) + 1,
        "cores": len(os.sched_getaffinity(0)), "load_average": [round(each, 1) for each in os.getloadavg()],
        "cases_a_second": round(len(many) / took_s, 2), "limit_p95_s": LIMIT_S, "one": floor, "many": shown,
        "p95_ratio": round(shown["next case"]["p95_s"] / floor["next case"]["p95_s"], 2) if alone and many else None,
        "server": {
            "cpu_ms_a_case": round(1000 * used_s / max(1, len(many))), "cores_used": round(used_s / took_s, 2),
            "mib_before": memory[0], "mib_most": max(memory), "mib_after": memory[-1],
            "mib_a_reader": round((max(memory) - memory[0]) / arguments.readers, 2),
        },
        "errors": [*problems, *more],
    }


async def _watch(pid: int, memory: list[float]) -> None:
    """Note the server's resident memory, in MiB, once a second."""
    while True:
        await asyncio.sleep(1)
        memory.append(_resident_mib(pid))


async def _all(
    address: str, token: str, browsers: list[dict], turns: int, think_s: float
) -> tuple[list[Turn], list[str]]:
    """What all readers measured, and a line for each who could not finish."""
    results = await asyncio.gather(*(_read(address, token, each, turns, think_s) for each in browsers),
                                   return_exceptions=True)
    failed = [f"{type(each).__name__}: {each}" for each in results if isinstance(each, BaseException)]
    return [turn for each in results if isinstance(each, list) for turn in each], failed


async def _read(address: str, token: str, cookies: dict[str, str], turns: int, think_s: float) -> list[Turn]:
    """A reader comes within the time of one case, and reads some."""
    await asyncio.sleep(random.uniform(0, think_s))
    async with open_desk(address, token, cookies) as desk:
        return [await desk.turn(random.uniform(0.5, 1.5) * think_s) for _ in range(turns)]


def _spread(turns: list[Turn]) -> dict:
    """Median and 95th percentile of each part, in seconds."""
    parts = {"next case": [turn.whole_s for turn in turns], "submit": [turn.submit_s for turn in turns],
             "describe": [turn.describe_s for turn in turns], "pixels": [turn.pixels_s for turn in turns]}
    return {"turns": len(turns)} | {
        name: {f"p{share}_s": round(float(np.percentile(values, share)), 3) for share in (50, 95)} | {
            "max_s": round(max(values), 3)}
        for name, values in parts.items() if values
    }


def _study(engine: Engine, data: Path, arguments: argparse.Namespace) -> tuple[str, list[Actor]]:
    """A locked study, and its readers, one more than are to read at once; all have begun."""
    pi, store = people.local_account(engine), ScanStore(data / "images")
    study = studies.create(engine, pi, title="Load", protocol=Protocol(pause_s=0.0, slices_around_mm=AROUND_MM))
    assert study.id is not None
    scans = [_case(store, number, arguments.spacing) for number in range(arguments.turns + 1)]
    cases.add_cases(engine, pi, study.id, scans)
    readers = [_reader(engine, pi, study.id, number) for number in range(arguments.readers + 1)]
    lifecycle.lock(engine, pi, study.id, typed_name=pi.name, meaning="load")
    for reader in readers:
        desks.begin_session(engine, reader, study.id)
    return study.token, readers


def _case(store: ScanStore, number: int, spacing_mm: float) -> cases.NewCase:
    """Noise, which is decoded slower than a CT."""
    middle = int(AROUND_MM // spacing_mm) + 2
    shape = (2 * middle + 1, SIDE_PX, SIDE_PX)
    stored = store.put(Volume(
        hu=np.random.default_rng(number).normal(40, 12, shape).astype(np.int16),
        positions_mm=np.arange(shape[0]) * spacing_mm, pixel_spacing_mm=(0.45, 0.45), slice_thickness_mm=spacing_mm,
        sop_instance_uids=("1.2",) * shape[0], series_uid="1.2", stored=StoredPlane(shape[1:]),
    ))
    return cases.NewCase(
        scan_key=stored.key, scan_sha256=stored.sha256, simulated=True, level=DiscLevel.L4_5, slice_index=middle,
        patient=f"P{number}", source="noise", reference={region: cases.NewReference(number % 4) for region in Region},
    )


def _reader(engine: Engine, pi: Actor, study_id: int, number: int) -> Actor:
    member = people.invite(engine, pi, study_id, email=f"reader{number}@example.org", role=Role.READER)
    with reading(engine) as session:
        reader = actor_of(session, member.account_id)
    people.state_experience(engine, reader, name=f"Reader {number}", specialty="radiology", years_of_experience=6,
                            lumbar_cts_a_year=100)
    return reader


def _cookies(engine: Engine, reader: Actor, address: str) -> dict[str, str]:
    """Of a browser that has signed in."""
    claims = {"iss": "load", "sub": reader.email, "iat": 1, "nonce": secrets.token_hex(8), "email": reader.email,
              "email_verified": True, "name": reader.email, "provider": DEFAULT, "is_logged_in": True,
              "origin": address}
    cookie = secrets.token_urlsafe(32)
    signins.sign_in(engine, Provider(DEFAULT, "").identity(claims), cookie=cookie)
    signed = create_signed_value(COOKIE_SECRET, "_streamlit_user", json.dumps(claims)).decode()
    return {SESSION_COOKIE: cookie, "_streamlit_user": signed}


@contextmanager
def _server(data: Path, address: str) -> Iterator[int]:
    """The server over a data folder, without models; yields its process id."""
    (data / "secrets.toml").write_text(SECRETS.format(address=address, secret=COOKIE_SECRET), encoding="utf-8")
    variables = {"STREAMLIT_SECRETS_FILES": str(data / "secrets.toml"), "LSS_DATA": str(data), "DATABASE_URL": "",
                 "LSS_IMAGES": "", "LSS_HOSTS": "", "LSS_MODEL": "", "LSS_MODELS": str(data / "no models")}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", address.rpartition(":")[2]]
    log = data / "log.txt"
    with log.open("wb") as output, subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output,
                                                    env=os.environ | variables) as server:
        try:
            _wait_for(address, log)
            yield server.pid
        finally:
            server.terminate()


def _wait_for(address: str, log: Path) -> None:
    end_s = time.monotonic() + SLOW_S
    while time.monotonic() < end_s:
        try:
            httpx.get(f"{address}/_stcore/health", timeout=2).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"The server did not start: {log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _resident_mib(pid: int) -> float:
    """Of a process, from /proc (Linux)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1024, 1)


def _cpu_s(pid: int) -> float:
    """What a process has used of all cores, from /proc (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
