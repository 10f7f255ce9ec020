"""What the reading page's browser asks for and sends: a case's pixels, drafts and answer, the aid of an aided arm.

A token is the only name of a case here. What is not the reader's own case, now, is answered like what never existed,
and the services note it in the audit log.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lss_core.imaging.store import ScanStore
from lss_core.study import reading, submitting
from lss_core.study.actors import Actor
from lss_core.study.entry import Entry
from lss_core.study.places import UNKNOWN_CASE, AlreadySubmitted, Denied
from lss_core.study.reading import AidedRegion, ScanPlace
from lss_core.vocabulary import Refusal
from ui import access, resources

SLABS_KEPT = 16                                 # some 6 MB each at 3 mm; readers who meet the same case share it
LARGEST_BODY = 64 * 1024
# Content-Encoding is stated so that nothing compresses the pixels again, which would cost more than it saves.
PRIVATE = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
Work = Callable[[Engine, Actor], Response]


@dataclass(frozen=True)
class Slab:
    """The slices around a level as they are sent."""

    pixels: bytes                               # int16 little-endian [slice, row, column]
    description: str                            # JSON: what the viewer needs to show them
    first: int                                  # the slab's first slice, counted in the stored scan


def send_slab(request: Request) -> Response:
    """GET /api/cases/{token}/slab: the pixels, and in the header X-Slab their geometry; nothing else of the scan."""

    def work(engine: Engine, actor: Actor) -> Response:
        return slab_of(reading.case_images(engine, actor, _token(request)))

    return answered(request, work)


def slab_of(place: ScanPlace) -> Response:
    """The pixels around a place, with their geometry."""
    slab = _slab(resources.scans(), place.scan_key, place.slice_index, place.slices_around_mm)
    headers = PRIVATE | {"X-Slab": slab.description}
    return Response(slab.pixels, media_type="application/octet-stream", headers=headers)


def send_aid(request: Request) -> Response:
    """GET /api/cases/{token}/aid: what the protocol shows of the model in an aided arm."""

    def work(engine: Engine, actor: Actor) -> Response:
        view = reading.aid(engine, actor, _token(request))
        place = reading.case_images(engine, actor, _token(request))
        first = _slab(resources.scans(), place.scan_key, place.slice_index, place.slices_around_mm).first
        slices = [each.slice_index for each in view.regions.values() if each.slice_index is not None]
        regions = {region.value: _aid_json(each) for region, each in view.regions.items()}
        shown = (slices[0] if slices else place.slice_index) - first
        return as_json({"version": view.version, "slice": shown, "regions": regions})

    return answered(request, work)


def send_feedback(request: Request) -> Response:
    """GET /api/cases/{token}/feedback: the reference of a training case, once it was submitted."""

    def work(engine: Engine, actor: Actor) -> Response:
        told = reading.feedback(engine, actor, _token(request))
        return as_json({
            region.value: {"own": each.own, "reference": each.reference, "source": each.source}
            for region, each in told.items()
        })

    return answered(request, work)


async def take_draft(request: Request) -> Response:
    """POST /api/cases/{token}/draft {"change": 3, "entry": {...}}: the count of the draft that is now stored."""

    def work(engine: Engine, actor: Actor, body: dict[str, Any]) -> Response:
        entry = Entry.parse(json.dumps(body.get("entry")))
        stored = submitting.save_draft(engine, actor, _token(request), change=whole(body, "change"), entry=entry)
        return as_json({"change": stored})

    return await posted(request, work)


async def take_answer(request: Request) -> Response:
    """POST /api/cases/{token}/submit {"change": 4, "revision": 1, "entry": {...}}: the receipt. May be sent again."""

    def work(engine: Engine, actor: Actor, body: dict[str, Any]) -> Response:
        receipt = submitting.submit(
            engine, actor, _token(request), change=whole(body, "change"), revision=whole(body, "revision"),
            entry=Entry.parse(json.dumps(body.get("entry"))),
        )
        return as_json({"submitted_at": receipt.submitted_at.isoformat(), "already": receipt.already})

    return await posted(request, work)


async def take_sign_of_life(request: Request) -> Response:
    """POST /api/cases/{token}/alive {}: whether the case is still to be submitted."""

    def work(engine: Engine, actor: Actor, _: dict[str, Any]) -> Response:
        return as_json({"open": submitting.touch(engine, actor, _token(request))})

    return await posted(request, work)


def answered(request: Request, work: Work) -> Response:
    """Do what was asked for whoever asks, and turn what the services raise into a status."""
    try:
        actor = access.actor_of_request(request)
        if actor is None:
            return _text(401, "Sign in first.")
        return work(resources.studies(), actor)
    except Denied as denied:
        return _text(404 if str(denied) == UNKNOWN_CASE else 403, str(denied))
    except AlreadySubmitted as told:
        return _text(409, str(told))
    except Refusal as refusal:
        return _text(422, str(refusal))


async def posted(request: Request, work: Callable[[Engine, Actor, dict[str, Any]], Response]) -> Response:
    """As `answered`, with a JSON body, for what changes something."""
    if not access.same_origin(request):
        return _text(403, "This was not sent by a page of this server.")
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_BODY:
            return _text(413, f"The request is larger than {LARGEST_BODY} bytes.")
    try:
        body = json.loads(bytes(content))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return _text(422, "The request is not a JSON object.")
    return await run_in_threadpool(answered, request, lambda engine, actor: work(engine, actor, body))


@lru_cache(maxsize=SLABS_KEPT)
def _slab(store: ScanStore, key: str, slice_index: int, around_mm: float) -> Slab:
    first, last = store.geometry(key).around(slice_index, around_mm)
    volume = store.slab(key, first, last)
    slices, rows, columns = volume.shape
    positions = volume.positions_mm - volume.positions_mm[0]
    description = {
        "slices": slices, "rows": rows, "columns": columns, "middle": slice_index - first,
        "spacing": [float(spacing) for spacing in volume.pixel_spacing_mm],
        "positions": np.round(positions, 3).tolist(), "hounsfield": volume.has_hounsfield,
    }
    return Slab(volume.hu.astype("<i2", copy=False).tobytes(), json.dumps(description), first)


def _aid_json(aided: AidedRegion) -> dict[str, Any]:
    return {
        "grade": aided.grade, "probabilities": aided.probabilities, "not_gradable": aided.not_gradable,
        "box": aided.box.as_list() if aided.box else None, "heat_map": _heat_map_json(aided),
    }


def _heat_map_json(aided: AidedRegion) -> dict[str, Any] | None:
    """With its values, uint8 [row, column] in base64: all that an aided case needs is asked for once."""
    if aided.heat_map_key is None or aided.heat_map_box is None:
        return None
    heat = resources.scans().heat_map(aided.heat_map_key)
    values = base64.b64encode(heat.tobytes()).decode("ascii")
    return {"rows": heat.shape[0], "columns": heat.shape[1], "box": aided.heat_map_box.as_list(), "values": values}


def _token(request: Request) -> str:
    return request.path_params["token"]


def whole(body: dict[str, Any], name: str) -> int:
    """A whole number from 0 that a body must hold.

    Raises:
        Refusal: it is not there, or another thing.
    """
    value = body.get(name)
    if type(value) is not int or not 0 <= value < 2**31:
        raise Refusal(f"The {name} {value!r} is not a whole number from 0.")
    return value


def as_json(content: dict[str, Any]) -> Response:
    """An answer that no browser keeps."""
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


def _text(status: int, sentence: str) -> Response:
    return PlainTextResponse(sentence, status_code=status, headers={"Cache-Control": "no-store"})


ROUTES = [
    Route("/api/cases/{token}/slab", send_slab, methods=["GET"]),
    Route("/api/cases/{token}/aid", send_aid, methods=["GET"]),
    Route("/api/cases/{token}/feedback", send_feedback, methods=["GET"]),
    Route("/api/cases/{token}/draft", take_draft, methods=["POST"]),
    Route("/api/cases/{token}/submit", take_answer, methods=["POST"]),
    Route("/api/cases/{token}/alive", take_sign_of_life, methods=["POST"]),
]
