"""Locks that a process holds for as long as it lives: the system lets go of them however it ends.

A process id says less: it is used again after a while, and means nothing on another machine or in another container
that shares the folder. POSIX record locks are not inherited by processes that are forked off, so what a killed process
leaves behind holds nothing.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ASK_AGAIN_S = 0.2


@contextmanager
def holding(path: Path, *, give_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Hold a lock, once nobody else does; False where `give_up` said so before.

    Never to be asked for a lock that this process holds already: that would succeed, and let go of it at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not (taken := _take(descriptor)) and not give_up():
            time.sleep(ASK_AGAIN_S)
        yield taken
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a living process, other than this one, holds a lock."""
    if not path.exists():
        return False
    with holding(path, give_up=lambda: True) as taken:
        return not taken


def _take(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
