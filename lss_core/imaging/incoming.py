"""A private place for files that still carry names: uploads, and what is fetched from the PACS."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

INCOMING = "incoming"                           # in the site's folder


@contextmanager
def private_folder(site: Path) -> Iterator[Path]:
    """A folder for files that still carry names, open to nobody else, and gone afterwards.

    Folders that a killed process left behind are removed first; those of a living one are locked.
    """
    incoming = site / INCOMING
    incoming.mkdir(mode=0o700, exist_ok=True)
    for left in incoming.iterdir():
        with suppress(BlockingIOError, FileNotFoundError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=incoming))
    with _locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
