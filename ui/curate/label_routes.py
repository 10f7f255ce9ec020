"""What the annotator's desk asks for and sends: a case's pixels, drafts, the label.

The desk's code names a case by a token alone; that of a case to label begins with `PREFIX`, so that its requests come
here and not to the reading. What is not the annotator's own case is answered like what never existed.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lss_core.curation import labels
from lss_core.study.actors import Actor
from lss_core.study.entry import Entry
from ui import case_routes

PREFIX = "label-"


def send_slab(request: Request) -> Response:
    """GET /api/cases/label-{token}/slab: the slices around the level, nothing else of the scan."""

    def work(engine: Engine, actor: Actor) -> Response:
        return case_routes.slab_of(labels.label_images(engine, actor, _token(request)))

    return case_routes.answered(request, work)


async def take_draft(request: Request) -> Response:
    """POST /api/cases/label-{token}/draft {"change": 3, "entry": {...}}: the count of the draft that is now stored."""

    def work(engine: Engine, actor: Actor, body: dict[str, Any]) -> Response:
        entry = Entry.parse(json.dumps(body.get("entry")))
        change = case_routes.whole(body, "change")
        stored = labels.save_label_draft(engine, actor, _token(request), change=change, entry=entry)
        return case_routes.as_json({"change": stored})

    return await case_routes.posted(request, work)


async def take_label(request: Request) -> Response:
    """POST /api/cases/label-{token}/submit {"change": 4, "revision": 1, "entry": {...}}: the receipt. May be sent
    again."""

    def work(engine: Engine, actor: Actor, body: dict[str, Any]) -> Response:
        receipt = labels.submit_label(
            engine, actor, _token(request), change=case_routes.whole(body, "change"),
            revision=case_routes.whole(body, "revision"), entry=Entry.parse(json.dumps(body.get("entry"))),
        )
        return case_routes.as_json({"submitted_at": receipt.submitted_at.isoformat(), "already": receipt.already})

    return await case_routes.posted(request, work)


async def take_sign_of_life(request: Request) -> Response:
    """POST /api/cases/label-{token}/alive {}: whether the case still waits for this annotator's label."""

    def work(engine: Engine, actor: Actor, _: dict[str, Any]) -> Response:
        return case_routes.as_json({"open": labels.is_due(engine, actor, _token(request))})

    return await case_routes.posted(request, work)


def _token(request: Request) -> str:
    return request.path_params["token"]


ROUTES = [
    Route(f"/api/cases/{PREFIX}{{token}}/slab", send_slab, methods=["GET"]),
    Route(f"/api/cases/{PREFIX}{{token}}/draft", take_draft, methods=["POST"]),
    Route(f"/api/cases/{PREFIX}{{token}}/submit", take_label, methods=["POST"]),
    Route(f"/api/cases/{PREFIX}{{token}}/alive", take_sign_of_life, methods=["POST"]),
]
