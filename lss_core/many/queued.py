"""Grading many scans by the workers of the queue, which see the same folders."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from procrastinate import App

from lss_core.held_lock import holding
from lss_core.jobs import check_prepared, defer_grading, queue_app
from lss_core.many.found import Found, content_digest
from lss_core.many.results import LOCK, Done, Model, begin, status_of
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal

ASK_S = 1.0
STATES = "select id, status from procrastinate_jobs where id = any(%(ids)s)"


def grade_by_queue(
    settings: Settings, found: Found, out: Path, model: Model, *, report: Callable[[Done], None] = lambda done: None
) -> list[Done]:
    """Put every scan in the queue and wait until the workers are done with all.

    This command may be killed and started again: what waits is not put in twice, what is graded is not graded again.

    Raises:
        Refusal: another process grades into this folder, a worker refused, or as `begin` and `queue_app`.
    """
    check_prepared(settings)
    begin(out, model)
    with holding(out / LOCK, give_up=lambda: True) as mine, queue_app(settings).open() as app:
        if not mine:
            raise Refusal(f"Another process grades into {out}; wait until it is done.")
        jobs = {
            defer_grading(app, folder=found.folder, out=out, scan=scan, model=model): scan for scan in found.scans
        }
        done = []
        for job_id in _finished(app, set(jobs)):
            scan = jobs[job_id]
            sha256 = content_digest(found.path(scan))
            done.append(Done(scan, sha256, status_of(out, sha256) or ""))
            report(done[-1])
    if missing := [each.scan for each in done if not each.status]:
        raise Refusal(f"The workers could not grade {len(missing)} scans, the first of them {missing[0]}; "
                      "their logs say why.")
    return sorted(done, key=lambda each: each.scan)


def _finished(app: App, ids: set[int]) -> Iterator[int]:
    """The jobs, each as soon as a worker is done with it, whether it succeeded or failed."""
    waiting = set(ids)
    while waiting:
        rows = app.connector.get_sync_connector().execute_query_all(STATES, ids=list(waiting))
        over = sorted(row["id"] for row in rows if row["status"] not in ("todo", "doing"))
        gone = waiting - {row["id"] for row in rows}
        if gone:
            raise Refusal("The queue was emptied meanwhile; run the command again.")
        yield from over
        waiting -= set(over)
        if waiting:
            time.sleep(ASK_S)


def states(app: App) -> Counter[tuple[str, str]]:
    """How many jobs of each queue are in which state."""
    rows = app.connector.get_sync_connector().execute_query_all(
        "select queue_name, status, count(*) as jobs from procrastinate_jobs group by queue_name, status"
    )
    return Counter({(row["queue_name"], row["status"]): row["jobs"] for row in rows})
