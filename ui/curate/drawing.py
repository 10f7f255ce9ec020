"""Drawing regions, as a Streamlit component: what Python tells the browser of a case, and what it is to save."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamlit.components.v2 import component

from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region
from ui import viewer

Boxes = Mapping[int, Mapping[Region, Box]]      # by slice
_component = component("lss_drawing", js=viewer.loader("drawing"), isolate_styles=False)


@dataclass(frozen=True)
class Drawn:
    """All boxes of one slice as they are to be saved."""

    slice_index: int
    boxes: Mapping[Region, Box]
    copied_from: int | None                     # the slice whose boxes were copied here, if any


@dataclass(frozen=True)
class Work:
    """What a person hands in: the slices that changed, and whether the next case is wanted."""

    answer: str                                 # names this very handing-in
    slices: Sequence[Drawn]
    go_on: bool

    def check_inside(self, rows: int, columns: int) -> None:
        """Raise Refusal where a box reaches beyond the last row or column; the services know no pixels."""
        for each in self.slices:
            for region, box in each.boxes.items():
                if box.row1 > rows or box.col1 > columns:
                    raise Refusal(f"The box of the {region.label.lower()} on slice {each.slice_index + 1} lies outside "
                                  "the slice; move it onto the spine.")


@dataclass(frozen=True)
class Answer:
    """What became of the work that was handed in last. `saved` is the case's key; `problem` says why it was not."""

    answer: str = ""
    saved: str = ""
    problem: str = ""


def show(
    token: str, volume: Volume, *, key: str, level: DiscLevel, slice_index: int, proposed: Boxes, mine: Boxes,
    last: Answer,
) -> Work | None:
    """Show a case, and return what is to be saved now, if anything.

    Args:
        key: Names the case, and the person.

    Raises:
        Refusal: the browser sent what is no box.
    """
    data = {
        "key": key, "volume": viewer.volume_data(token, volume), "slice": slice_index,
        "levels": [{"label": level.value, "slice": slice_index}],
        "regions": [{"region": region.value, "label": region.label} for region in Region],
        "proposed": _as_data(proposed), "mine": _as_data(mine), "revision": _revision(mine),
        "answer": last.answer, "saved": last.saved, "problem": last.problem,
    }
    told = _component(key="drawing", data=data, on_work_change=_rerun).get("work")
    return _work(told, volume.shape[0]) if told and told.get("key") == key else None


def _rerun() -> None:
    """Work that is handed in runs the page, which saves it."""


def _as_data(boxes: Boxes) -> dict[str, dict[str, list[float]]]:
    return {
        str(index): {region.value: box.as_list() for region, box in regions.items()} for index, regions in boxes.items()
    }


def _revision(mine: Boxes) -> str:
    """Another text whenever other boxes are saved."""
    return json.dumps(_as_data(mine), sort_keys=True)


def _work(told: Mapping[str, Any], slices: int) -> Work:
    try:
        drawn = [_drawn(each, slices) for each in told["slices"]]
        return Work(str(told["answer"]), drawn, bool(told["next"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal("The browser sent boxes that this page does not know; reload it and draw again.") from error


def _drawn(told: Mapping[str, Any], slices: int) -> Drawn:
    index, copied = told["slice"], told["copied_from"]
    for each in (index, *([copied] if copied is not None else [])):
        if type(each) is not int or not 0 <= each < slices:
            raise ValueError(f"slice {each} of {slices}")
    boxes = {Region(name): Box(*map(float, box)) for name, box in told["boxes"].items()}
    return Drawn(index, boxes, copied)
