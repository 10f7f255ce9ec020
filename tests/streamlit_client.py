"""A browser's conversation with a running server, without a browser: cookies, the websocket, clicks, the sign-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
from google.protobuf.message import Message
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.Navigation_pb2 import Navigation
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

SLOW_S = 60
XSRF_COOKIE = "_streamlit_xsrf"


def visitor(address: str, cookies: dict[str, str] | None = None) -> httpx.Client:
    """A browser profile: what it is given it keeps, and redirects are left to the caller."""
    nothing_open = httpx.Limits(max_keepalive_connections=0)
    client = httpx.Client(base_url=address, timeout=SLOW_S, cookies=cookies, limits=nothing_open)
    client.get("/_stcore/health")               # brings the cookie against forged requests
    return client


class Tab:
    """One open page."""

    def __init__(self, socket: ClientConnection, page: str) -> None:
        self._socket = socket
        self._page = page
        self.messages: list[ForwardMsg] = []

    def run(self, *, click: str | None = None) -> Tab:
        """Run the page, with a button of the last run clicked, until it is shown whole."""
        message = BackMsg()
        message.rerun_script.page_name = self._page
        if click is not None:
            state = message.rerun_script.widget_states.widgets.add()
            state.id, state.trigger_value = self._button(click), True
        self._socket.send(message.SerializeToString())
        self.messages = list(self._answers())
        return self

    def _answers(self) -> Iterator[ForwardMsg]:
        while True:
            frame = self._socket.recv(timeout=SLOW_S)
            message = ForwardMsg.FromString(frame if isinstance(frame, bytes) else frame.encode())
            yield message
            is_end = message.WhichOneof("type") == "script_finished"
            if is_end and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return

    def _button(self, label: str) -> str:
        return next(
            message.delta.new_element.button.id for message in self.messages
            if message.delta.new_element.button.label == label
        )

    @property
    def text(self) -> str:
        """Every word of the last run."""
        return "\n".join(words for message in self.messages for words in _words(message))

    @property
    def menu(self) -> list[str]:
        """Addresses of the pages in the menu."""
        found = [message.navigation for message in self.messages if message.WhichOneof("type") == "navigation"]
        if not found or found[-1].position == Navigation.HIDDEN:
            return []
        return [page.url_pathname for page in found[-1].app_pages if not page.is_hidden]

    @property
    def redirect(self) -> str:
        """Where the page sends the browser, or an empty text."""
        found = [each.auth_redirect.url for each in self.messages if each.WhichOneof("type") == "auth_redirect"]
        return found[-1] if found else ""


@contextmanager
def open_tab(client: httpx.Client, page: str, *, origin: str | None = None) -> Iterator[Tab]:
    """A page of the server in this browser profile."""
    address = str(client.base_url).rstrip("/")
    words = {"Cookie": "; ".join(f"{each.name}={each.value}" for each in client.cookies.jar)}
    protocols = [Subprotocol("streamlit"), Subprotocol(client.cookies[XSRF_COOKIE])]
    with connect(
        f"{address.replace('http', 'ws', 1)}/_stcore/stream", additional_headers=words, origin=origin or address,
        subprotocols=protocols, max_size=None, open_timeout=SLOW_S,
    ) as socket:
        yield Tab(socket, page)


def page_text(client: httpx.Client, page: str) -> str:
    with open_tab(client, page) as tab:
        return tab.run().text


def sign_in(client: httpx.Client, subject: str, *, button: str = "Sign in") -> httpx.Response:
    """Go to the provider and back as `subject`; returns the server's answer to the way back."""
    answer = to_provider(client, button=button)
    back = httpx.post(answer, data={"sub": subject}, timeout=SLOW_S).headers["location"]
    return client.get(back)


def to_provider(client: httpx.Client, *, button: str = "Sign in") -> str:
    """Click on the sign-in button; returns the address at the provider."""
    with open_tab(client, "about") as tab:
        asked = tab.run().run(click=button).redirect
    location = client.get(asked).headers["location"]
    assert urlsplit(location).netloc != client.base_url.netloc.decode()
    return location


def _words(message: Message) -> Iterator[str]:
    """Every text in a message, however deep."""
    for field, value in message.ListFields():
        for each in value if field.is_repeated and not isinstance(value, dict) else [value]:
            if isinstance(each, Message):
                yield from _words(each)
            elif isinstance(each, str):
                yield each
