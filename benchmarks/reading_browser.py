"""A reader's browser without its screen: the websocket of the reading page, its requests, and what they took."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

DRAFTS = 6                                      # a grade and a confidence for each region
SLOW_S = 120.0


@dataclass(frozen=True)
class Turn:
    """Seconds from one case to the next: until the answer is stored, the next case described, its pixels there."""

    submit_s: float
    describe_s: float
    pixels_s: float

    @property
    def whole_s(self) -> float:
        return self.submit_s + self.describe_s + self.pixels_s


class Desk:
    """The reading page of one reader: what the browser's part of it holds."""

    def __init__(self, client: httpx.AsyncClient, socket: ClientConnection, query: str) -> None:
        self.client, self.socket, self.query = client, socket, query
        self.component, self.case = "", {}
        self.pixels: dict[str, asyncio.Task[float]] = {}

    async def begin(self) -> None:
        await self._ask(None)
        await self._load(self.case["token"])

    async def turn(self, think_s: float) -> Turn:
        """Think about the case, submit it, and wait for the next."""
        case = self.case
        if case["next"]:
            self._load(case["next"])
        entry: dict = {"regions": {}, "image_quality": "", "comment": ""}
        for number in range(DRAFTS):
            await asyncio.sleep(think_s / (DRAFTS + 1))
            region = case["regions"][number // 2 % len(case["regions"])]["region"]
            entry["regions"][region] = {"grade": number // 2, "confidence": 50 if number % 2 else None,
                                        "not_gradable": ""}
            await self._post("draft", {"change": case["change"] + 1 + number, "entry": entry})
        await self._post("alive", {})
        await asyncio.sleep(think_s / (DRAFTS + 1))
        moments = [time.perf_counter()]
        await self._post("submit", {"change": case["change"] + 1 + DRAFTS, "revision": case["revision"],
                                    "entry": entry})
        moments.append(time.perf_counter())
        moments.append(await self._ask(case["token"]))
        moments.append(max(moments[-1], await self._load(self.case["token"])))
        self.pixels.pop(case["token"])
        return Turn(*np.diff(moments).tolist())

    async def _ask(self, done: str | None) -> float:
        """Run the page, and read on to its end; returns the moment at which the case was described."""
        message = BackMsg()
        message.rerun_script.page_name, message.rerun_script.query_string = "read", self.query
        if done is not None:
            state = message.rerun_script.widget_states.widgets.add()
            state.id = f"$$STREAMLIT_INTERNAL_KEY_{self.component}__events"
            state.json_trigger_value = json.dumps([{"event": "done", "value": done}])
        await self.socket.send(message.SerializeToString())
        shown_at = math.nan
        while True:
            answer = ForwardMsg.FromString(await asyncio.wait_for(self.socket.recv(decode=False), SLOW_S))
            found = answer.delta.new_element.bidi_component
            if found.component_name == "lss_reading_desk" and found.json and json.loads(found.json)["token"] != done:
                self.component, self.case, shown_at = found.id, json.loads(found.json), time.perf_counter()
                self._load(self.case["token"])
            ended = answer.WhichOneof("type") == "script_finished"
            if ended and answer.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                break
        if math.isnan(shown_at):
            raise RuntimeError("The page ran without showing a new case.")
        return shown_at

    def _load(self, token: str) -> asyncio.Task[float]:
        if token not in self.pixels:
            self.pixels[token] = asyncio.create_task(self._fetch(token))
        return self.pixels[token]

    async def _fetch(self, token: str) -> float:
        """Returns the moment at which the pixels are there."""
        async with self.client.stream("GET", f"/api/cases/{token}/slab") as answer:
            answer.raise_for_status()
            described = json.loads(answer.headers["X-Slab"])
            size = sum([len(part) async for part in answer.aiter_raw()])
        if size != 2 * math.prod(described[side] for side in ("slices", "rows", "columns")):
            raise RuntimeError(f"A slab came with {size} bytes, and says {described}.")
        return time.perf_counter()

    async def _post(self, what: str, body: dict) -> None:
        answer = await self.client.post(f"/api/cases/{self.case['token']}/{what}", json=body)
        if answer.status_code != 200:
            raise RuntimeError(f"{what}: {answer.status_code} {answer.text}")


@asynccontextmanager
async def open_desk(address: str, token: str, cookies: dict[str, str]) -> AsyncIterator[Desk]:
    """The reading page of a study, with its first case shown."""
    async with httpx.AsyncClient(base_url=address, cookies=cookies, timeout=SLOW_S,
                                 headers={"Origin": address}) as client:
        for path in ("/read", "/_stcore/health"):       # the second brings the cookie against forged requests
            (await client.get(path)).raise_for_status()
        words = {"Cookie": "; ".join(f"{each.name}={each.value}" for each in client.cookies.jar)}
        protocols = [Subprotocol("streamlit"), Subprotocol(client.cookies["_streamlit_xsrf"])]
        stream = f"{address.replace('http', 'ws', 1)}/_stcore/stream"
        async with connect(stream, additional_headers=words, origin=Origin(address), subprotocols=protocols,
                           max_size=None, open_timeout=SLOW_S) as socket:
            desk = Desk(client, socket, f"study={token}")
            await desk.begin()
            yield desk
