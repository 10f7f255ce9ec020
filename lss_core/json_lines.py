"""Files that grow by a line of JSON, and that a crash may cut short."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add a line in one write, on disk; one that a crash cut short is closed first, so that it spoils no other."""
    torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("ab", buffering=0) as file:
        file.write(("\n" * torn + json.dumps(value, allow_nan=False) + "\n").encode())
        os.fsync(file.fileno())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that are whole, in order; none where there is no file."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue                            # cut short by a crash
        if isinstance(value, dict):
            yield value


def replace_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file of JSON whole or not at all, whoever else writes it at the same time."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
