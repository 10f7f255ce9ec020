"""`python -m lss_core worker` and `queue`: work over many machines; see docs/deploy.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from lss_core.settings import Settings
from lss_core.vocabulary import Refusal

DONE = 0
QUEUES = ("grade", "import", "train")


def run_worker(options: argparse.Namespace) -> int:
    """Make the queue, or work on it until told to end."""
    from lss_core import jobs

    if options.prepare:
        made = jobs.prepare(_settings())
        print("The queue is ready." if made else "The queue was there already.")
        return DONE
    jobs.run_worker(
        _settings(), options.queue or QUEUES, until_empty=options.until_empty, beat_s=options.beat_s,
        stalled_s=options.stalled_s, grace_s=options.grace_s,
    )
    return DONE


def run_status(_: argparse.Namespace) -> int:
    """How many jobs wait, run and are done."""
    from lss_core.jobs import check_prepared, queue_app
    from lss_core.many.queued import states

    settings = _settings()
    check_prepared(settings)
    with queue_app(settings).open() as app:
        counts = states(app)
    print("\n".join(f"{queue}: {number} {status}" for (queue, status), number in sorted(counts.items()))
          or "There is no job.")
    return DONE


def run_import(options: argparse.Namespace) -> int:
    """Let a worker import scans into a collection, in the name of its principal investigator."""
    from lss_core.curation.collections import collection_named, principal_of
    from lss_core.jobs import defer_import
    from lss_core.study.connection import open_database

    settings = _settings()
    engine = open_database(settings.database_url)
    try:
        collection_id = collection_named(engine, options.collection).id
        assert collection_id is not None
        account_id = principal_of(engine, collection_id).account_id
    finally:
        engine.dispose()
    job = defer_import(settings, collection_id=collection_id, account_id=account_id, paths=options.paths,
                       site=options.site)
    print(f"Job {job} will import; see `python -m lss_core queue status`.")
    return DONE


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the command line."""
    worker = commands.add_parser("worker", help="work on the queue in PostgreSQL, one job at a time")
    worker.add_argument("--prepare", action="store_true", help="make the queue in the database, and end")
    worker.add_argument("--queue", nargs="+", choices=QUEUES, help="only these (default all)")
    worker.add_argument("--until-empty", action="store_true", help="end when no job waits")
    worker.add_argument("--beat-s", type=float, default=10.0, metavar="S",
                        help="seconds between signs of life, the same for all workers (default %(default)g)")
    worker.add_argument("--stalled-s", type=float, default=30.0, metavar="S",
                        help="a worker without a sign of life for so long is taken for dead (default %(default)g)")
    worker.add_argument("--grace-s", type=float, default=60.0, metavar="S",
                        help="what a job is left when the worker is told to end (default %(default)g)")
    worker.set_defaults(run=run_worker)
    queue = commands.add_parser("queue", help="the queue of the workers").add_subparsers(required=True,
                                                                                        metavar="COMMAND")
    queue.add_parser("status", help="how many jobs wait, run and are done").set_defaults(run=run_status)
    into = queue.add_parser("import", help="let a worker import scans into a collection")
    into.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="as the workers see it")
    into.add_argument("--collection", required=True, metavar="TOKEN", help="number, or the token in its address")
    into.add_argument("--site", default="", help="where the scans come from")
    into.set_defaults(run=run_import)


def _settings() -> Settings:
    try:
        return Settings.from_environment()
    except ValueError as error:
        raise Refusal(str(error)) from error
