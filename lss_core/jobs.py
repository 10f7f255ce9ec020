"""Jobs that workers on many machines share, kept by procrastinate in the database of the studies (PostgreSQL).

A job is a row in a schema of its own, so it survives every process. A worker beats while it works; where it stops
beating, another worker takes the job again. Whatever a job does can be done twice and has its effect once: results are
files that appear whole, scans are known by their content, a training run holds a lock.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, JobAborted
from procrastinate.jobs import Job
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from lss_core.many.grading import ManyGrader
from lss_core.many.results import MOST_CRASHES, Model, set_aside
from lss_core.settings import ROOT, Settings
from lss_core.training.run_folder import LOG
from lss_core.vocabulary import Refusal

log = logging.getLogger(__name__)
SCHEMA = "lss_jobs"
GRADE, IMPORT, TRAIN = QUEUES = ("grade", "import", "train")
PREPARING, UPKEEP = 0x1C56, 0x1C57              # advisory locks
BEAT_S, STALLED_S = 10.0, 30.0                  # a worker beats so often, and is taken for dead after so long without
GRACE_S = 60.0                                  # that a worker which is told to end leaves the job it is at
ASK_S = 1.0


class Retries(BaseRetryStrategy):
    """Once more after a fault; as often as needed where a worker was told to end; never where the job was refused."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        again = isinstance(exception, JobAborted | asyncio.CancelledError) or (
            not isinstance(exception, Refusal) and job.attempts < MOST_CRASHES
        )
        return RetryDecision(retry_in={"seconds": 0}) if again else None


def queue_app(settings: Settings, *, worker: bool = False) -> App:
    """The queue in the database of the settings, with its tasks.

    Args:
        worker: For a worker's event loop; otherwise to put jobs in.

    Raises:
        Refusal: the database is not PostgreSQL.
    """
    connector = PsycopgConnector if worker else SyncPsycopgConnector
    app = App(connector=connector(conninfo=connection_info(settings.database_url)))
    app.task(name="grade_scan", queue=GRADE, pass_context=True, retry=Retries())(grade_scan)
    app.task(name="import_scans", queue=IMPORT, retry=Retries())(import_scans)
    app.task(name="train_version", queue=TRAIN, lock="training", pass_context=True, retry=Retries())(train_version)
    return app


def connection_info(url: str) -> str:
    """How to reach the schema of the jobs in a database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise Refusal("The queue needs PostgreSQL, which many machines can reach; set DATABASE_URL to one.")
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    return make_conninfo(plain, options=f"-c search_path={SCHEMA}")


def prepare(settings: Settings) -> bool:
    """Make the schema of the jobs; False where it is there already.

    Raises:
        Refusal: as `queue_app`, or the database cannot be reached.
    """
    with _connected(settings) as connection, connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (PREPARING,))
        if is_prepared(connection):
            return False
        connection.execute(f"create schema if not exists {SCHEMA}")
        connection.execute(queue_app(settings).schema_manager.get_schema())    # type: ignore[arg-type]
        return True


def is_prepared(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("select to_regclass(%s)", (f"{SCHEMA}.procrastinate_jobs",)).fetchone()
    return row is not None and row[0] is not None


def check_prepared(settings: Settings) -> None:
    """Raise Refusal unless the queue can be used."""
    with _connected(settings) as connection:
        if not is_prepared(connection):
            raise Refusal("The database has no queue yet; run `python -m lss_core worker --prepare` once.")


def _connected(settings: Settings) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(connection_info(settings.database_url), autocommit=True)
    except psycopg.OperationalError as error:
        raise Refusal("The database of the queue cannot be reached; check DATABASE_URL and that it is up.") from error


def run_worker(
    settings: Settings, queues: Sequence[str] = QUEUES, *, until_empty: bool = False, beat_s: float = BEAT_S,
    stalled_s: float = STALLED_S, grace_s: float = GRACE_S,
) -> None:
    """Work until told to end (SIGTERM, or a keyboard's interrupt), one job at a time.

    Args:
        until_empty: End when no job waits.
        beat_s, stalled_s: The same for all workers of a database.
        grace_s: How long a job may go on once this worker is told to end.
    """
    check_prepared(settings)
    asyncio.run(_work(settings, queues, until_empty, beat_s, stalled_s, grace_s))


async def _work(
    settings: Settings, queues: Sequence[str], until_empty: bool, beat_s: float, stalled_s: float, grace_s: float
) -> None:
    app = queue_app(settings, worker=True)
    async with app.open_async():
        upkeep = asyncio.create_task(_take_up_stalled(app, settings, every_s=beat_s, stalled_s=stalled_s))
        try:
            await app.run_worker_async(
                queues=list(queues), concurrency=1, wait=not until_empty, update_heartbeat_interval=beat_s,
                stalled_worker_timeout=stalled_s, shutdown_graceful_timeout=grace_s,
                fetch_job_polling_interval=min(5.0, beat_s), additional_context={"settings": settings},
            )
        finally:
            upkeep.cancel()


async def _take_up_stalled(app: App, settings: Settings, *, every_s: float, stalled_s: float) -> None:
    """Put jobs whose worker no longer beats back in the queue; one worker at a time looks."""
    info = connection_info(settings.database_url)
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(info) as connection:
                await connection.execute("select pg_advisory_xact_lock(%s)", (UPKEEP,))
                for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=stalled_s):
                    await app.job_manager.retry_job(job)
        except (psycopg.OperationalError, ConnectorException):
            log.warning("The database could not be asked for stalled jobs; it is asked again in %g s.", every_s)
        await asyncio.sleep(every_s)


def grade_scan(context: JobContext, folder: str, out: str, scan: str, version: str, weights_sha256: str) -> None:
    """Grade one scan of many; one that has ended its worker before, or failed, so often is set aside."""
    settings = context.additional_context["settings"]
    model = Model(version, weights_sha256)
    grader = _grader(folder, out, settings.models, model)
    if context.job.attempts >= MOST_CRASHES and not grader.is_done(scan):
        set_aside(Path(out), grader.digest(scan), model, "see the logs of the workers")
    grader.grade(scan)


@lru_cache(maxsize=1)
def _grader(folder: str, out: str, models: Path, model: Model) -> ManyGrader:
    return ManyGrader(Path(folder), Path(out), models, model)


def import_scans(collection_id: int, account_id: int, paths: list[str], site: str) -> None:
    """Import what lies under some paths into a collection, in the name of a person; what is known is not taken twice.

    Raises:
        Refusal: the person may not, or no longer.
    """
    from lss_core.imaging.pseudonyms import SiteKeys
    from lss_core.imaging.store import ScanStore
    from lss_core.scan_import import import_into
    from lss_core.study.actors import actor_of
    from lss_core.study.connection import open_database, reading

    settings = Settings.from_environment()
    engine = open_database(settings.database_url)
    try:
        with reading(engine) as session:
            actor = actor_of(session, account_id)
        import_into(
            engine, ScanStore(settings.image_store), actor, collection_id, [Path(path) for path in paths],
            keys=SiteKeys.of(settings.data), site=site,
        )
    finally:
        engine.dispose()


def train_version(context: JobContext, runs: str, run_id: str) -> None:
    """Carry out a training run, in a process of its own; where this worker is told to end, the run goes on elsewhere.

    Raises:
        JobAborted: it goes back into the queue.
    """
    command = [sys.executable, "-m", "lss_core.training.run_process", runs, run_id]
    with (Path(runs) / run_id / LOG).open("ab") as log, subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    ) as process:
        while process.poll() is None:
            if context.should_abort():
                process.terminate()             # it saves its state
                process.wait()
                raise JobAborted
            time.sleep(ASK_S)


def defer_training(settings: Settings) -> Any:
    """A launcher of training runs that lets a worker carry them out."""
    def launch(runs: Path, run_id: str) -> None:
        with queue_app(settings).open() as app:
            app.tasks["train_version"].defer(runs=str(runs), run_id=run_id)

    check_prepared(settings)
    return launch


def defer_import(settings: Settings, *, collection_id: int, account_id: int, paths: Sequence[Path], site: str) -> int:
    """Let a worker import; returns the number of the job. The paths are those that the workers see."""
    check_prepared(settings)
    with queue_app(settings).open() as app:
        return app.tasks["import_scans"].defer(
            collection_id=collection_id, account_id=account_id, paths=[str(path.absolute()) for path in paths],
            site=site,
        )


def defer_grading(app: App, *, folder: Path, out: Path, scan: str, model: Model) -> int:
    """Put a scan in the queue, unless it waits there already; returns the number of the job."""
    lock = f"{out.absolute()}:{scan}"
    task = app.tasks["grade_scan"]
    try:
        return task.configure(queueing_lock=lock).defer(
            folder=str(folder.absolute()), out=str(out.absolute()), scan=scan, version=model.version,
            weights_sha256=model.weights_sha256,
        )
    except AlreadyEnqueued:
        (waiting,) = app.job_manager.list_jobs(queueing_lock=lock, status="todo")
        assert waiting.id is not None
        return waiting.id
