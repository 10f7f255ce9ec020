"""Opening the study's database, bringing it to this software's schema, and transactions on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import RLock

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from lss_core.vocabulary import Refusal

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_S = 20                                     # how long one SQLite writer waits for another
_TURNS: dict[str, AbstractContextManager] = {}  # of SQLite writers, by the address of the database
ADVISORY_LOCK = 0x1C55                          # of PostgreSQL, taken by whoever writes the audit log or migrates


def open_database(url: str) -> Engine:
    """Connect to a database and upgrade its schema.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME` (any form that SQLAlchemy reads).

    Raises:
        Refusal: not one of the two, not reachable, or made by newer software.
    """
    engine = connect(url)
    try:
        _upgrade(engine)
    except Refusal:
        engine.dispose()
        raise
    except SQLAlchemyError as error:
        engine.dispose()
        raise Refusal(
            f"The database {engine.url.render_as_string(hide_password=True)} cannot be opened "
            f"({type(error).__name__}); check DATABASE_URL and that the server is up."
        ) from error
    return engine


def connect(url: str) -> Engine:
    """An engine for a database, which is left as it is."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, pool_size=20)
    if parsed.get_backend_name() != "sqlite":
        raise Refusal(f"DATABASE_URL names {parsed.get_backend_name()}; SQLite and PostgreSQL are supported.")
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_S, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits at the end, or not at all. On SQLite its writers queue; objects stay usable after it."""
    writing = engine.execution_options(writes=True)
    with _turn(engine), Session(writing, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that only reads: it never waits for a writer."""
    with Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def snapshot(engine: Engine) -> Iterator[Session]:
    """A session that only reads, and sees one state of the database throughout, whatever others write meanwhile."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with reading(engine) as session:            # SQLite in WAL mode does so by itself
        yield session


def lock_writers(session: Session) -> None:
    """Let only this transaction write from here on, until it ends: what reads the last row and adds one needs it."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(text("select pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})


def _turn(engine: Engine) -> AbstractContextManager:
    """The turn of one SQLite writer of this process. SQLite itself lets writers poll, and under load some starve."""
    return nullcontext() if engine.dialect.name != "sqlite" else _TURNS.setdefault(str(engine.url), RLock())


def _prepare_sqlite(connection, _) -> None:
    connection.isolation_level = None           # SQLAlchemy's own BEGIN below decides the kind
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin_sqlite(connection) -> None:
    """A writer takes the lock at once: upgrading from a read would fail where another writer came between."""
    kind = "immediate" if connection.get_execution_options().get("writes") else "deferred"
    connection.exec_driver_sql(f"begin {kind}")


def _upgrade(engine: Engine) -> None:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(configuration)
    with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return
        if current is not None and current not in {each.revision for each in scripts.walk_revisions()}:
            raise Refusal(f"The database has schema {current}, which this software does not know; update the software.")
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
