"""Marking levels, as a Streamlit component: what Python tells the browser of a scan, and what the browser asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamlit.components.v2 import component

from lss_core.imaging.volume import Volume
from lss_core.vocabulary import DiscLevel, Refusal
from ui import viewer

_component = component("lss_marking", js=viewer.loader("marking"), isolate_styles=False)


@dataclass(frozen=True)
class Mark:
    """One level of a scan: its slice, or None where the scan does not show it."""

    level: DiscLevel
    slice_index: int | None


@dataclass(frozen=True)
class Asked:
    """What the person asks of the scan: other marks, or that the levels are confirmed."""

    order: int                                  # counts what was asked since the scan was opened
    marks: Mapping[DiscLevel, int | None]
    confirm: bool


def show(
    marks: Sequence[Mark], token: str, volume: Volume, *, key: str, start: int, answered: int, confirmed: bool
) -> Asked | None:
    """Show the scan, and return what is asked now, if anything.

    Args:
        key: Names the scan; another one begins afresh.
        start: The slice to begin with.
        answered: The order of what was asked and answered last.

    Raises:
        Refusal: the browser sent what is no mark.
    """
    data = {
        "key": key, "volume": viewer.volume_data(token, volume), "slice": start, "answer": answered,
        "confirmed": confirmed,
        "marks": [{"level": each.level.value, "slice": each.slice_index} for each in marks],
    }
    told = _component(key="marking", data=data, on_marks_change=_rerun, on_confirm_change=_rerun)
    for name in ("marks", "confirm"):
        if (asked := told.get(name)) and asked.get("key") == key:
            return _asked(asked, name, slices=volume.shape[0])
    return None


def _rerun() -> None:
    """What is asked runs the page, which answers it."""


def _asked(told: Mapping[str, Any], name: str, *, slices: int) -> Asked:
    try:
        marks = {DiscLevel(each["level"]): _slice(each["slice"], slices) for each in told.get("marks", ())}
        return Asked(int(told["order"]), marks, confirm=name == "confirm")
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal("The browser sent marks that this page does not know; reload it.") from error


def _slice(index: object, slices: int) -> int | None:
    if index is None:
        return None
    if type(index) is not int or not 0 <= index < slices:
        raise ValueError(f"slice {index} of {slices}")
    return index
