"""The annotator's desk: the reading desk with a case to label."""

from __future__ import annotations

import json
from typing import Any

from lss_core.curation.labels import LabelTask
from lss_core.vocabulary import Region
from ui.curate.label_routes import PREFIX
from ui.reading import desk

PAUSE_S = 0.3


def show(task: LabelTask, *, key: str, may_go_back: bool, note: str) -> tuple[str, str] | None:
    """Show the desk, and return what it asks now with the task's token: one of `ui.reading.desk.ASKS`."""
    asked = desk.show(as_data(task, may_go_back=may_go_back, note=note), key=key)
    return (asked[0], asked[1].removeprefix(PREFIX)) if asked else None


def as_data(task: LabelTask, *, may_go_back: bool, note: str) -> dict[str, Any]:
    """A case as the desk takes it. The scan's key and the case's id stay behind."""
    return {
        "token": PREFIX + task.token, "number": task.number, "total": task.total, "kind": "test",
        "level": task.level.value, "aided": False, "entry": json.loads(task.entry.canonical), "change": task.change,
        "revision": task.revision, "mayGoBack": may_go_back, "next": None, "feedback": False, "pauseS": PAUSE_S,
        "note": note, **desk.asked_of(tuple(Region), ask_confidence=False),
    }
