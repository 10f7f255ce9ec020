"""Pixels held for the viewer: in memory, under unguessable tokens, for one session, for a limited time."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lss_core.imaging.volume import Volume

Image = Volume | np.ndarray                     # a scan, or a heat map: uint8 [row, column]


@dataclass
class _Held:
    image: Image
    owner: str
    used_s: float                               # when it was last asked for, on the store's clock
    expires_s: float                            # unless it is asked for before

    @property
    def nbytes(self) -> int:
        return self.image.hu.nbytes if isinstance(self.image, Volume) else self.image.nbytes


class ImageStore:
    """Images by token. Safe to use from several threads.

    A token opens its image only together with its owner (the secret of a browser's session cookie), so that a token
    that leaks through a log or a copied address opens nothing.
    """

    def __init__(
        self, *, lifetime_s: float, capacity_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lifetime_s = lifetime_s
        self._capacity_bytes = capacity_bytes
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def put(self, image: Image, *, owner: str) -> str:
        """Hold an image and return its token. The longest unused images make room where memory is short."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._drop_expired()
            self._held[token] = _Held(image, owner, self._clock(), self._clock() + self._lifetime_s)
            self._make_room(keep=token)
        return token

    def volume(self, token: str, *, owner: str | None) -> Volume | None:
        """The scan under a token, or None where there is none for this owner (any more)."""
        image = self._find(token, owner)
        return image if isinstance(image, Volume) else None

    def overlay(self, token: str, *, owner: str | None) -> np.ndarray | None:
        """The heat map under a token, uint8 [row, column], or None where there is none for this owner (any more)."""
        image = self._find(token, owner)
        return image if isinstance(image, np.ndarray) else None

    def release(self, *tokens: str) -> None:
        with self._lock:
            for token in tokens:
                self._held.pop(token, None)

    def abandon(self, *tokens: str, grace_s: float) -> None:
        """Let images expire after a short time, unless they are asked for before."""
        with self._lock:
            for token in tokens:
                if held := self._held.get(token):
                    held.expires_s = min(held.expires_s, self._clock() + grace_s)

    def sweep(self) -> None:
        """Let go of what has expired."""
        with self._lock:
            self._drop_expired()

    @property
    def nbytes(self) -> int:
        """Bytes of pixels held now."""
        with self._lock:
            self._drop_expired()
            return sum(held.nbytes for held in self._held.values())

    def _find(self, token: str, owner: str | None) -> Image | None:
        with self._lock:
            self._drop_expired()
            held = self._held.get(token)
            if held is None or owner is None or not hmac.compare_digest(held.owner.encode(), owner.encode()):
                return None
            held.used_s = self._clock()
            held.expires_s = held.used_s + self._lifetime_s
            return held.image

    def _drop_expired(self) -> None:
        now_s = self._clock()
        self._held = {token: held for token, held in self._held.items() if held.expires_s >= now_s}

    def _make_room(self, *, keep: str) -> None:
        total = sum(held.nbytes for held in self._held.values())
        for token in sorted(self._held, key=lambda token: self._held[token].used_s):
            if total <= self._capacity_bytes:
                return
            if token != keep:
                total -= self._held.pop(token).nbytes
