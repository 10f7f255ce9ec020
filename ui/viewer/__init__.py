"""The CT viewer, one Streamlit component for all pages. Source in frontend/, built by `npm run build` into bundle/."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamlit.components.v2 import component

from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Box, Grade, Region

BUNDLE = Path(__file__).parent / "bundle" / "viewer.js"
DIGEST = hashlib.sha256(BUNDLE.read_bytes()).hexdigest()[:16]


def loader(export: str) -> str:
    """The script of a component that the bundle exports. Streamlit runs it from a blob, where an import needs an
    absolute address."""
    return f"""
let ready;
export default function (place) {{
  ready ??= import(new URL("/api/viewer/{DIGEST}.js", window.location.origin).href);
  let closed = false, close = () => {{}};
  ready.then(({{ {export}: mount }}) => {{ if (!closed) close = mount(place); }});
  return () => {{ closed = true; close(); }};
}}
"""


LOADER = loader("default")
_component = component("lss_ct_viewer", js=LOADER, isolate_styles=False)


@dataclass(frozen=True)
class Overlay:
    """A heat map: a token in the image store, its rows and columns, and the box (volume pixels) that it covers."""

    token: str
    shape: tuple[int, int]
    box: Box


@dataclass(frozen=True)
class Scene:
    """What the viewer shows.

    The viewer scrolls to `slice_index` when `jump` changes, and takes the boxes afresh when `boxes_key` changes;
    otherwise the user's own scrolling and moved boxes stay.
    """

    token: str                                  # of the volume in the image store
    slice_index: int
    jump: str
    boxes_key: str
    boxes_slice: int                            # the slice on which the boxes were found
    boxes: Mapping[Region, Box | None]
    grades: Mapping[Region, Grade | None]
    selected: Region
    levels: Sequence[tuple[str, int]]           # (name, slice) of every level
    overlay: Overlay | None = None


@dataclass(frozen=True)
class View:
    """What the user has in view: the slice, and every box as it now lies."""

    slice_index: int
    boxes: dict[Region, Box]
    moved: frozenset[Region] = field(default=frozenset())


def show(scene: Scene, volume: Volume, *, key: str) -> View:
    """Show the viewer and return what is in view once the user has stopped scrolling or dragging."""
    result = _component(key=key, data=_as_data(scene, volume), default={"view": None}, on_view_change=lambda: None)
    return _as_view(result.view, scene)


def volume_data(token: str, volume: Volume) -> dict[str, Any]:
    """A volume of the image store as the browser takes it: its address and its geometry."""
    slices, rows, columns = volume.shape
    return {
        "url": f"/api/volumes/{token}",
        "slices": slices,
        "rows": rows,
        "columns": columns,
        "spacing": [float(spacing) for spacing in volume.pixel_spacing_mm],
        "positions": [float(position) for position in volume.positions_mm],
        "hounsfield": volume.has_hounsfield,
    }


def _as_data(scene: Scene, volume: Volume) -> dict[str, Any]:
    regions = [
        {
            "region": region.value,
            "label": region.label,
            "box": box.as_list() if box else None,
            "grade": scene.grades.get(region),
        }
        for region, box in scene.boxes.items()
    ]
    return {
        "volume": volume_data(scene.token, volume),
        "slice": scene.slice_index,
        "jump": scene.jump,
        "boxes": {"key": scene.boxes_key, "slice": scene.boxes_slice, "regions": regions},
        "selected": scene.selected.value,
        "levels": [{"label": name, "slice": index} for name, index in scene.levels],
        "overlay": _overlay_data(scene.overlay),
    }


def _overlay_data(overlay: Overlay | None) -> dict[str, Any] | None:
    if overlay is None:
        return None
    rows, columns = overlay.shape
    url = f"/api/overlays/{overlay.token}"
    return {"url": url, "rows": rows, "columns": columns, "box": overlay.box.as_list()}


def _as_view(state: Mapping[str, Any] | None, scene: Scene) -> View:
    """The browser's state, or the scene itself where the browser has said nothing about these boxes yet."""
    if state is None or state["key"] != scene.boxes_key:
        return View(scene.slice_index, {region: box for region, box in scene.boxes.items() if box})
    boxes = {Region(name): Box(*map(float, box)) for name, box in state["boxes"].items()}
    return View(int(state["slice"]), boxes, frozenset(map(Region, state["moved"])))
