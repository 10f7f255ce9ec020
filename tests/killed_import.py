"""The import command killed again and again: `python -m tests.killed_import FOLDER COLLECTION` prints how often, and
the exit code of the last one, which was left to end.

The modules are imported once, before each command forks off, so that each is at work at once.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from lss_core.__main__ import main

NEW_SCANS = (0, 2)                              # in the image store, before a kill that follows within the delay
LONGEST_DELAY_S = 0.06                          # about what a small series takes
PATIENCE_S = 30.0


def killed_until_done(arguments: list[str], images: Path) -> tuple[int, int]:
    """How often a run was killed, and the exit code of the one that ended before."""
    moments, kills = random.Random(1), 0
    while True:
        child = os.fork()
        if child == 0:
            os._exit(main(arguments))
        status = _wait_for(child, images, _count(images) + moments.randint(*NEW_SCANS))
        if status is not None:
            return kills, os.waitstatus_to_exitcode(status)
        time.sleep(moments.choice([0.0, moments.uniform(0, LONGEST_DELAY_S)]))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return kills, os.waitstatus_to_exitcode(status)
        kills += 1


def _wait_for(child: int, images: Path, scans: int) -> int | None:
    """Until so many scans are stored; the status of a run that ended before."""
    for _ in range(int(PATIENCE_S / 0.002)):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if _count(images) >= scans:
            return None
        time.sleep(0.002)
    raise TimeoutError(f"{scans} scans were not stored within {PATIENCE_S} s")


def _count(images: Path) -> int:
    return len(list(images.iterdir())) if images.is_dir() else 0


if __name__ == "__main__":
    for module in ("lss_core.scan_import", "lss_core.curation.collections", "lss_core.imaging.store"):
        importlib.import_module(module)
    print(*killed_until_done(["import", sys.argv[1], f"--collection={sys.argv[2]}"], Path(os.environ["LSS_IMAGES"])))
