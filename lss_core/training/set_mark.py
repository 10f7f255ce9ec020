"""`set.json` of a folder of curated scans: which part of which locked split it is, and what it may be used for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lss_core.vocabulary import Refusal

NAME = "set.json"
WHAT = "a part of a curated set, written by Lumbar Stenosis Studio"
TRAINABLE = frozenset({"training", "validation"})
UNREADABLE = "set.json in {} cannot be read ({}); write the set again."


@dataclass(frozen=True)
class SetMark:
    """What a written set says of itself."""

    what: str
    collection: str                             # token
    parts: tuple[str, ...]
    reference_number: int
    reference_sha256: str
    split_number: int
    split_sha256: str
    simulated: bool                             # all scans are
    patients: Mapping[str, str]                 # folder to patient: a patient's second scan has a folder of its own
    control_patients: tuple[str, ...]           # of the whole split: no training may see them
    control_series: tuple[str, ...]             # the series UIDs that their scans have, or would have, when written
    software_version: str
    complete: bool = False

    def digest(self) -> str:
        """SHA-256 of what makes the set: not of how far it is written, nor by which version of the software."""
        content = asdict(self)
        del content["complete"], content["software_version"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_mark(folder: Path) -> SetMark | None:
    """The mark of a folder, or of a `set.json` itself; None where there is none.

    Raises:
        Refusal: it is damaged, or of something else: nothing is allowed on the strength of it.
    """
    path = folder / NAME if folder.is_dir() else folder
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {each.name: content[each.name] for each in fields(SetMark)}
        if values["what"] != WHAT:
            raise ValueError("it is of something else")
        for name in ("parts", "control_patients", "control_series"):
            values[name] = _texts(values[name])
        values["patients"] = dict(values["patients"])
        return SetMark(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(UNREADABLE.format(path.parent.name, error)) from error


def write_mark(folder: Path, mark: SetMark) -> None:
    """Write the mark in one step, so that a folder never holds half of it."""
    temporary = folder / f".{NAME}-{os.getpid()}"
    temporary.write_text(json.dumps(asdict(mark), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, folder / NAME)


def check_part(folder: Path, mark: SetMark | None) -> None:
    """Raise Refusal for a set that is kept from training."""
    kept = [part for part in mark.parts if part not in TRAINABLE] if mark else []
    if kept:
        raise Refusal(
            f"{folder.name} is the {' and '.join(kept)} part of a locked split (set.json): it is for evaluation "
            "alone, and nothing is trained on it. Name the folder of the training part."
        )


def check_apart(mark: SetMark, *, patients: Sequence[str], series: Sequence[str]) -> None:
    """Raise Refusal where patients or series of a folder are those of a control set."""
    for found, kept, what in ((patients, mark.control_patients, "patient"), (series, mark.control_series, "series")):
        if both := sorted(set(found) & set(kept)):
            raise Refusal(
                f"reference.csv names {what} {both[0]}, which belongs to the control set: nothing is trained on it. "
                "Take its rows and its folder out."
            )


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise ValueError("a list of texts is expected")
    return tuple(values)
