"""Grading many scans by worker processes of this machine.

Each worker is fed by a thread. A worker that ends while it is at a scan is replaced, and the scan is tried once more;
one that ends its worker again is set aside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from lss_core.held_lock import holding
from lss_core.many.found import Found, content_digest
from lss_core.many.results import LOCK, MOST_CRASHES, SET_ASIDE, Done, Model, begin, note_crash, set_aside, status_of
from lss_core.many.worker import DONE, REFUSED
from lss_core.settings import ROOT
from lss_core.vocabulary import Refusal

LONGEST_S = 3600.0                              # that a scan may take; then its worker is ended
Begun = Callable[[str, int], None]              # (scan, process id of its worker)


def grade_many(
    found: Found, out: Path, models: Path, model: Model, *, workers: int,
    report: Callable[[Done], None] = lambda done: None, begun: Begun = lambda scan, pid: None,
) -> list[Done]:
    """Grade every scan into `out` and tell what became of each, in the order of their names.

    Args:
        report: Told of each scan when it is done.
        begun: Told of each scan when its grading begins.

    Raises:
        Refusal: another process grades into this folder, or as `begin`; or a worker refuses to begin.
    """
    begin(out, model)
    with holding(out / LOCK, give_up=lambda: True) as mine:
        if not mine:
            raise Refusal(f"Another process grades into {out}; wait until it is done.")
        crew = _Crew(found, out, models, model, workers, report, begun)
        return crew.grade_all(found.scans)


class _Crew:
    """The workers of one run, and the scans that wait for them."""

    def __init__(
        self, found: Found, out: Path, models: Path, model: Model, workers: int, report: Callable[[Done], None],
        begun: Begun,
    ) -> None:
        self._found, self._out, self._models, self._model = found, out, models, model
        self._workers, self._report, self._begun = workers, report, begun
        self._waiting: deque[str] = deque()
        self._done: list[Done] = []
        self._lock = threading.Lock()

    def grade_all(self, scans: Sequence[str]) -> list[Done]:
        self._waiting.extend(scans)
        with ThreadPoolExecutor(self._workers) as threads:
            feeders = [threads.submit(self._feed) for _ in range(self._workers)]
            try:
                for feeder in feeders:
                    feeder.result()
            except BaseException:
                self._waiting.clear()           # the others end after the scan they are at
                raise
        return sorted(self._done, key=lambda done: done.scan)

    def _feed(self) -> None:
        """Keep one worker busy until no scan waits."""
        while (scan := self._next()) is not None:
            with self._worker() as worker:
                while scan is not None:
                    done = self._ask(worker, scan)
                    if done is None:
                        self._waiting.appendleft(scan)
                        break
                    with self._lock:
                        self._done.append(done)
                        self._report(done)
                    scan = self._next()

    def _next(self) -> str | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _ask(self, worker: subprocess.Popen[str], scan: str) -> Done | None:
        """What became of a scan; None where its worker ended and the scan is to be tried again."""
        timer = threading.Timer(LONGEST_S, worker.kill)
        timer.start()
        try:
            done = self._answer(worker, scan)
        finally:
            timer.cancel()
        return done or self._crashed(worker, scan)

    def _answer(self, worker: subprocess.Popen[str], scan: str) -> Done | None:
        assert worker.stdin is not None and worker.stdout is not None
        try:
            print(json.dumps(scan), file=worker.stdin, flush=True)
        except BrokenPipeError:
            return None
        for line in worker.stdout:
            reply = json.loads(line)
            kind = reply.pop("kind")
            if kind == REFUSED:
                raise Refusal(reply["reason"])
            if kind == DONE:
                return Done(**reply)
            self._begun(scan, worker.pid)
        return None

    def _crashed(self, worker: subprocess.Popen[str], scan: str) -> Done | None:
        """Count it; set the scan aside where it is the last time, unless its result was written just before."""
        how = f"exit status {worker.wait()}"
        sha256 = content_digest(self._found.path(scan))
        if (status := status_of(self._out, sha256)) is not None:
            return Done(scan, sha256, status)
        if note_crash(self._out, sha256, how) < MOST_CRASHES:
            return None
        set_aside(self._out, sha256, self._model, how)
        return Done(scan, sha256, SET_ASIDE)

    @contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[str]]:
        """A worker process, in a session of its own: a keyboard's interrupt is not taken for a fault of the scan."""
        threads = max(1, (os.cpu_count() or 1) // self._workers)
        asked = json.dumps({
            "folder": str(self._found.folder.absolute()), "out": str(self._out.absolute()),
            "models": str(self._models), "model": self._model.as_json(), "threads": threads,
        })
        command = [sys.executable, "-m", "lss_core.many.worker", asked]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        ) as worker:
            yield worker
            with suppress(BrokenPipeError):
                if worker.stdin is not None:
                    worker.stdin.close()
