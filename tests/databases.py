"""The two databases that the reader study runs on: a fresh one for each test, on SQLite and on a real PostgreSQL.

PostgreSQL is started once a session from its own binaries, found on PATH or where Debian puts them. It listens on a
private socket alone, and ends with the tests, also where they are killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy.engine import make_url

KINDS = ("sqlite", "postgresql")
USER = "lss"
# The shell holds the server and reads its standard input, which closes with the tests, however they end.
GUARD = 'folder=$1; shift; "$@" & server=$!; cat > /dev/null; kill -INT $server; wait $server; rm -rf "$folder"'


class Databases:
    """Makes, copies and drops databases; PostgreSQL is started where the first one of its kind is asked."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._socket: Path | None = None
        self._number = count(1)

    def new(self, kind: str, *, template: str = "template1") -> str:
        """URL of an empty database."""
        name = f"test_{next(self._number)}"
        if kind == "sqlite":
            return f"sqlite:///{self._folder / name}.sqlite"
        self._administer(SQL("create database {} template {}").format(Identifier(name), Identifier(template)))
        return f"postgresql://{USER}@/{name}?host={self._socket}"

    def copy(self, url: str) -> str:
        """URL of a copy of a database to which nobody is connected."""
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            return self.new("postgresql", template=parsed.database or "")
        copied = self.new("sqlite")
        paths = parsed.database or "", make_url(copied).database or ""
        with closing(sqlite3.connect(paths[0])) as source, closing(sqlite3.connect(paths[1])) as target:
            source.backup(target)
        return copied

    def drop(self, url: str) -> None:
        """Remove a database with whatever is still connected to it."""
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            self._administer(SQL("drop database {} with (force)").format(Identifier(parsed.database or "")))

    def _administer(self, statement: Composed) -> None:
        self._socket = self._socket or self._stack.enter_context(_postgresql())
        with psycopg.connect(host=str(self._socket), user=USER, dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with ExitStack() as stack:
        yield Databases(tmp_path_factory.mktemp("databases"), stack)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """URL of an empty database, once on SQLite and once on PostgreSQL."""
    url = databases.new(request.param)
    yield url
    databases.drop(url)


@pytest.fixture
def another_database(database: str, databases: Databases) -> Iterator[str]:
    """URL of a second empty database of the same kind."""
    url = databases.new(make_url(database).get_backend_name())
    yield url
    databases.drop(url)


@contextmanager
def _postgresql() -> Iterator[Path]:
    """The folder of the socket of a running server; leaving the block stops it."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's binaries initdb and postgres are not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="lss-postgresql-"))
    owner = "postgres" if os.geteuid() == 0 else None    # PostgreSQL refuses to run as root
    if owner:
        os.chown(folder, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)
    subprocess.run(
        [binaries / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
        user=owner, group=owner, cwd=folder, check=True, capture_output=True,
    )
    options = ["-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["sh", "-c", GUARD, "sh", folder, binaries / "postgres", *options],
            stdin=subprocess.PIPE, stdout=log, stderr=log, user=owner, group=owner, cwd=folder,
        )
    try:
        _wait_for(folder)
        yield folder
    finally:
        shell.communicate(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest of Debian's first."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)
    found = shutil.which("initdb")
    folders = [*debian, *([Path(found).resolve().parent] if found else [])]
    return next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)


def _wait_for(socket: Path) -> None:
    for _ in range(600):
        try:
            psycopg.connect(host=str(socket), user=USER, dbname="postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    pytest.fail(f"PostgreSQL did not start:\n{(socket / 'log').read_text(errors='replace')}")
