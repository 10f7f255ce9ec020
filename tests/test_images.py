"""Pixels are held for one session, for a limited time, within a limit of memory."""

import numpy as np
import pytest

from lss_core.imaging.volume import StoredPlane, Volume
from ui.images import ImageStore
from ui.resources import RECONNECT_S, Lease


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def tiny_volume(slices: int = 3) -> Volume:
    hu = np.arange(slices * 4 * 5, dtype=np.int16).reshape(slices, 4, 5) - 30
    return Volume(hu, np.arange(float(slices)), (0.8, 0.9), 1.0, tuple("abc"[:slices]), "1.2", StoredPlane((4, 5)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock) -> ImageStore:
    return ImageStore(lifetime_s=60, capacity_bytes=1000, clock=clock)


def test_the_owner_gets_back_what_was_put(store):
    volume = tiny_volume()
    assert store.volume(store.put(volume, owner="me"), owner="me") is volume


@pytest.mark.parametrize("owner", ["you", "", None])
def test_a_known_token_opens_nothing_for_another_session(store, owner):
    token = store.put(tiny_volume(), owner="me")
    assert store.volume(token, owner=owner) is None


def test_a_guessed_token_opens_nothing(store):
    token = store.put(tiny_volume(), owner="me")
    assert store.volume(token[:-1], owner="me") is None


def test_a_heat_map_is_no_volume(store):
    token = store.put(np.zeros((2, 2), np.uint8), owner="me")
    assert store.volume(token, owner="me") is None
    assert store.overlay(token, owner="me") is not None


def test_an_unused_image_expires(store, clock):
    token = store.put(tiny_volume(), owner="me")
    clock.now_s = 61
    assert store.volume(token, owner="me") is None
    assert store.nbytes == 0


def test_use_keeps_an_image_alive(store, clock):
    token = store.put(tiny_volume(), owner="me")
    for clock.now_s in (50, 100, 150):
        assert store.volume(token, owner="me") is not None


def test_the_longest_unused_image_makes_room(store, clock):
    tokens = []
    for clock.now_s in (1, 2):
        tokens.append(store.put(np.zeros((400,), np.uint8), owner="me"))
    clock.now_s = 3
    store.overlay(tokens[0], owner="me")
    store.put(np.zeros((400,), np.uint8), owner="me")
    assert [store.overlay(token, owner="me") is not None for token in tokens] == [True, False]
    assert store.nbytes <= 1000


def test_a_lease_releases_its_images(store):
    lease = Lease(store)
    token = lease.add(store.put(tiny_volume(), owner="me"))
    lease.release()
    assert store.volume(token, owner="me") is None


def test_a_tab_that_went_away_keeps_its_images_for_a_short_time_only(clock):
    store = ImageStore(lifetime_s=1000, capacity_bytes=1000, clock=clock)
    lease = Lease(store)
    lease.add(store.put(tiny_volume(), owner="me"))
    lease.abandon()
    clock.now_s = RECONNECT_S - 1
    assert store.nbytes > 0
    clock.now_s = RECONNECT_S + 1
    store.sweep()
    assert store.nbytes == 0


def test_a_tab_that_comes_back_keeps_its_images(clock):
    store = ImageStore(lifetime_s=1000, capacity_bytes=1000, clock=clock)
    lease = Lease(store)
    token = lease.add(store.put(tiny_volume(), owner="me"))
    lease.abandon()
    clock.now_s = RECONNECT_S / 2
    assert store.volume(token, owner="me") is not None
    clock.now_s = RECONNECT_S * 2
    assert store.volume(token, owner="me") is not None
