"""Ending a training in good order when its process is told to end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path


def stop_on_sigterm(word: Path | None = None) -> Callable[[], bool]:
    """Take SIGTERM, which a service or a machine that goes down sends, as the wish to save the state and end.

    Args:
        word: A file whose presence says the same.

    Returns:
        Whether to end, to be asked after every step.
    """
    told: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    return lambda: bool(told) or (word is not None and word.exists())
