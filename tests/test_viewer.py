"""The viewer's bundle, and what passes between Python and the browser."""

import hashlib
import json
from pathlib import Path

import pytest

from lss_core.vocabulary import Box, Region
from ui import viewer
from ui.viewer import Scene, View

VIEWER = Path(viewer.__file__).parent
FRONTEND = VIEWER / "frontend"
LARGEST_BUNDLE = 6_000_000
CANAL = Box(10, 20, 30, 44)


def source_digest() -> str:
    """As vite.config.js computes it: every source file's name, length and bytes, sorted by name."""
    names = [f"src/{path.name}" for path in (FRONTEND / "src").iterdir()]
    digest = hashlib.sha256()
    for name in sorted([*names, "package.json", "package-lock.json", "vite.config.js"]):
        content = (FRONTEND / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def scene(**changes) -> Scene:
    values = {
        "token": "t", "slice_index": 7, "jump": "j", "boxes_key": "k", "boxes_slice": 7,
        "boxes": {Region.CENTRAL_CANAL: CANAL, Region.LEFT_LATERAL_RECESS: None},
        "grades": {}, "selected": Region.CENTRAL_CANAL, "levels": [],
    }
    return Scene(**(values | changes))


def test_the_bundle_was_built_from_the_source_beside_it():
    manifest = json.loads((VIEWER / "bundle" / "manifest.json").read_text())
    assert manifest["source_sha256"] == source_digest(), "run `npm ci && npm run build` in ui/viewer/frontend"


def test_the_bundle_is_the_one_that_was_built():
    manifest = json.loads((VIEWER / "bundle" / "manifest.json").read_text())
    assert manifest["bundle_sha256"] == hashlib.sha256(viewer.BUNDLE.read_bytes()).hexdigest()


def test_the_bundle_is_small_enough_for_a_clinic_network():
    assert viewer.BUNDLE.stat().st_size < LARGEST_BUNDLE


def test_the_lock_file_pins_every_package_by_digest_and_names_no_registry():
    packages = json.loads((FRONTEND / "package-lock.json").read_text())["packages"]
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for name, package in packages.items() if name)


def test_the_loader_imports_the_bundle_by_its_digest_from_its_own_server():
    digest = hashlib.sha256(viewer.BUNDLE.read_bytes()).hexdigest()
    assert f'new URL("/api/viewer/{digest[:16]}.js", window.location.origin)' in viewer.LOADER


def test_before_the_browser_answers_the_view_is_the_scene():
    assert viewer._as_view(None, scene()) == View(7, {Region.CENTRAL_CANAL: CANAL})


def test_an_answer_about_boxes_that_are_no_longer_shown_is_ignored():
    state = {"key": "other", "slice": 3, "boxes": {"central_canal": [1, 2, 3, 4]}, "moved": ["central_canal"]}
    assert viewer._as_view(state, scene()) == View(7, {Region.CENTRAL_CANAL: CANAL})


def test_a_moved_box_comes_back_with_its_slice():
    state = {"key": "k", "slice": 3, "boxes": {"left_lateral_recess": [1, 2, 3, 4]}, "moved": ["left_lateral_recess"]}
    moved = viewer._as_view(state, scene())
    assert moved == View(3, {Region.LEFT_LATERAL_RECESS: Box(1, 2, 3, 4)}, frozenset({Region.LEFT_LATERAL_RECESS}))


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [1, 2, 3], ["a", 1, 2, 3]])
def test_a_box_that_is_none_is_refused(box):
    state = {"key": "k", "slice": 3, "boxes": {"central_canal": box}, "moved": []}
    with pytest.raises((ValueError, TypeError)):
        viewer._as_view(state, scene())
