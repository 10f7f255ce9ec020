"""The desk as a Streamlit component: what Python tells the browser of a case, and what the browser asks of Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from streamlit.components.v2 import component

from lss_core.study.database import Arm, CaseKind
from lss_core.study.desks import ProtocolView
from lss_core.study.reading import BlindedCase
from lss_core.vocabulary import Grade, Region
from ui import viewer
from ui.reading.criteria import NOT_GRADABLE_REASONS, QUALITY_REASONS, SIDES, criterion

ASKS = ("done", "rest", "back", "leave", "reload")

_component = component("lss_reading_desk", js=viewer.loader("desk"), isolate_styles=False)


def show(data: dict[str, Any], *, key: str) -> tuple[str, str] | None:
    """Show the desk, and return what it asks now with the token of the case that it had: one of `ASKS`."""
    result = _component(
        key=key, data=data, on_done_change=_rerun, on_rest_change=_rerun, on_back_change=_rerun,
        on_leave_change=_rerun, on_reload_change=_rerun,
    )
    return next(((name, result[name]) for name in ASKS if result.get(name)), None)


def _rerun() -> None:
    """A question of the desk runs the page, which answers it."""


def as_data(case: BlindedCase, view: ProtocolView, *, following: str | None) -> dict[str, Any]:
    """A case as the desk takes it. Nothing here tells more than `BlindedCase`, and the scan's key stays behind.

    Args:
        following: Token of the case after it, whose images are loaded ahead.
    """
    return {
        "token": case.token, "number": case.number, "total": case.total, "kind": case.kind.value,
        "level": case.level.value, "aided": case.arm is Arm.AIDED, "entry": json.loads(case.entry.canonical),
        "change": case.change, "revision": case.revision, "mayGoBack": case.may_go_back, "next": following,
        "feedback": case.kind is CaseKind.TRAINING and view.training_feedback, "pauseS": view.pause_s,
        **asked_of(case.regions, ask_confidence=case.ask_confidence),
    }


def asked_of(regions: Sequence[Region], *, ask_confidence: bool) -> dict[str, Any]:
    """What the form asks, and the words beside it."""
    return {
        "regions": [
            {"region": region.value, "label": region.label, "side": SIDES.get(region, "")} for region in regions
        ],
        "askConfidence": ask_confidence,
        "criteria": {region.value: [criterion(region, grade) for grade in Grade] for region in regions},
        "notGradableReasons": list(NOT_GRADABLE_REASONS), "qualityReasons": list(QUALITY_REASONS),
    }
