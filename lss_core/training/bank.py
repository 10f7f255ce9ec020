"""Rendered patches kept on disk, so that several networks learn from one rendering.

A bank holds what `SimulatedSource.patch` gives for (stream, seed, i), i = 0 .. count - 1, in shards that are written
whole or not at all: an interrupted rendering goes on where it stopped, and the same seed gives the same bank whatever
the number of workers.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from lss_core import simulation
from lss_core.grading.checkpoint import replace_file
from lss_core.training.data import SimulatedSource, check_training_seed
from lss_core.training.known import KnownPatch, KnownRegion
from lss_core.vocabulary import Grade, Refusal, Region

SHARD = 128
RENDERING = ("anatomy", "render", "samples", "tissue", "truth")     # modules that decide what a patch looks like


def fill_bank(
    folder: Path, *, seed: int, stream: int, count: int, workers: int, report: Callable[[str], None] = print
) -> PatchBank:
    """Render what is missing of a bank and open it.

    Raises:
        Refusal: the folder holds a bank of another version of the simulation.
    """
    check_training_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    _check_version(folder)
    paths = [folder / f"{stream}-{seed}-{k:04d}.npz" for k in range(-(-count // SHARD))]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        report(f"rendering {len(missing)} of {len(paths)} shards of {SHARD} patches into {folder}")
        render = partial(_render_shard, seed=seed, stream=stream)
        if workers < 2:
            _follow(map(render, missing), len(missing), report)
        else:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                _follow(pool.map(render, missing), len(missing), report)
    return PatchBank(paths, count)


def _follow(done: Any, total: int, report: Callable[[str], None]) -> None:
    for number, _ in enumerate(done, start=1):
        if number % 8 == 0 or number == total:
            report(f"rendered {number} of {total} shards")


def _check_version(folder: Path) -> None:
    """A bank and the code that rendered it belong together."""
    sources = [Path(simulation.__path__[0]) / f"{name}.py" for name in RENDERING]
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    path = folder / "simulation.sha256"
    if not path.is_file():
        replace_file(path, version.encode())
    elif path.read_text() != version:
        raise Refusal(f"{folder} was rendered by another version of the simulation; name an empty folder.")


def _render_shard(path: Path, *, seed: int, stream: int) -> None:
    first = int(path.stem.rpartition("-")[2]) * SHARD
    source = SimulatedSource()
    patches = [source.patch(np.random.default_rng([stream, seed, first + k])) for k in range(SHARD)]
    planes = [np.rint(patch.planes).clip(-1024, 3071).astype(np.int16) for patch in patches]
    masks = [patch.masks.ravel() for patch in patches if patch.masks is not None]
    file = io.BytesIO()
    np.savez(
        file, planes=np.concatenate([p.ravel() for p in planes]), shapes=np.array([p.shape for p in planes]),
        masks=np.concatenate([np.zeros(0, np.uint8), *masks]),
        described=np.array([json.dumps(_described(patch)) for patch in patches]),
    )
    replace_file(path, file.getvalue())


def _described(patch: KnownPatch) -> dict[str, Any]:
    return {
        "spacing": patch.pixel_spacing_mm, "gradable": patch.gradable, "masks": patch.masks is not None,
        "regions": {
            region.value: [known.centre, None if known.grade is None else int(known.grade), dict(known.measures)]
            for region, known in patch.regions.items()
        },
    }


class PatchBank:
    """Patches of a bank, in memory; a source of classifier samples."""

    def __init__(self, paths: Sequence[Path], count: int) -> None:
        self._patches = [patch for path in paths for patch in _read_shard(path)][:count]

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, index: int) -> KnownPatch:
        return self._patches[index]

    def patch(self, rng: np.random.Generator) -> KnownPatch:
        """One of the patches at random."""
        return self._patches[int(rng.integers(len(self._patches)))]


def _read_shard(path: Path) -> list[KnownPatch]:
    with np.load(path) as shard:
        planes, masks, shapes = shard["planes"], shard["masks"], shard["shapes"]
        described = [json.loads(text) for text in shard["described"]]
    patches, plane, mask = [], 0, 0
    for shape, values in zip(shapes, described, strict=True):
        size, masked = shape.prod(), 2 * shape[1:].prod() if values["masks"] else 0
        own = masks[mask : mask + masked].reshape(2, *shape[1:]) if masked else None
        patches.append(_patch(planes[plane : plane + size].reshape(shape), own, values))
        plane, mask = plane + size, mask + masked
    return patches


def _patch(planes: np.ndarray, masks: np.ndarray | None, values: dict[str, Any]) -> KnownPatch:
    regions = {
        Region(name): KnownRegion(tuple(centre), None if grade is None else Grade(grade), measures)
        for name, (centre, grade, measures) in values["regions"].items()
    }
    return KnownPatch(planes, tuple(values["spacing"]), regions, values["gradable"], masks)
