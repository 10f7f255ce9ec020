"""A protocol in words, for reading: before an amendment, after the lock."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from lss_core.study.database import Arm
from lss_core.study.protocol import Aid, AnalysisPlan, Protocol, arms_of
from ui.study.wording import DESIGNS, ORDERS, REVISITS
from ui.tables import table

NAMES = {
    "instructions": "Instructions", "scheme": "Grading scheme", "regions": "Regions", "ask_confidence": "Confidence",
    "design": "Design", "sessions": "Sessions", "washout_days": "Washout", "aid": "Aid", "repeats": "Hidden repeats",
    "order": "Order", "seed": "Seed of all orders", "revisit": "Going back", "training_feedback": "Training feedback",
    "slices_around_mm": "Slices around", "pause_s": "Pause between cases", "idle_after_s": "Idle after",
    "junior_below_years": "Junior below", "senior_above_years": "Senior above", "versions": "Models compared",
    "own_result": "Own result", "analysis": "Analysis plan",
}


def as_table(protocol: Protocol) -> str:
    """HTML: a row for each field."""
    rows = [[html.escape(name), text] for name, text in _rows(protocol)]
    return table(["", "As locked"], rows, label="Protocol")


def _rows(protocol: Protocol) -> Iterator[tuple[str, str]]:
    for field, name in NAMES.items():
        if field == "aid" and Arm.AIDED not in arms_of(protocol.design):
            continue
        yield name, in_words(field, getattr(protocol, field))


def in_words(field: str, value: Any) -> str:
    """A field's value as HTML."""
    if field == "design":
        return _named(DESIGNS[value])
    if field in ("order", "revisit"):
        return _named((ORDERS if field == "order" else REVISITS)[value])
    if isinstance(value, AnalysisPlan):
        return _plan(value)
    if isinstance(value, Aid):
        heat = "with heat maps" if value.heat_map else "without heat maps"
        return f"model {html.escape(value.version)} ({heat})<br><small><code>{value.weights_sha256}</code></small>"
    if field == "regions":
        return ", ".join(region.label.lower() for region in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return html.escape(", ".join(value)) or "none"
    unit = UNITS.get(field, "")
    return f"{value:g} {unit}".strip() if isinstance(value, int | float) else _text(value)


UNITS = {
    "washout_days": "days", "slices_around_mm": "mm to each side", "pause_s": "s", "idle_after_s": "s",
    "junior_below_years": "years", "senior_above_years": "years",
}


def _named(pair: tuple[str, str]) -> str:
    return f"{html.escape(pair[0])}<br><small>{html.escape(pair[1])}</small>"


def _text(value: str) -> str:
    return html.escape(value).replace("\n", "<br>") or "none"


def _plan(plan: AnalysisPlan) -> str:
    margin = "none: superiority only" if plan.non_inferiority_margin is None else f"{plan.non_inferiority_margin:g}"
    facts = [
        html.escape(plan.primary), f"positive from grade {plan.cut}", f"alpha {plan.alpha:g}",
        f"non-inferiority margin {margin}", f"{plan.bootstraps} bootstrap samples, seed {plan.seed}",
    ]
    return "<br>".join([*facts, *([_text(plan.text)] if plan.text else [])])
