"""A picture of real disc slices beside simulated ones of the same level, pixel and thickness, at one window.

    python -m benchmarks.beside_real SERIES_FOLDER ANNOTATIONS.json OUT.png [--seed 0]

The annotations say which slice is which disc; the picture shows real above simulated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from lss_core.imaging.dicom import read_scan
from lss_core.imaging.volume import Volume, crop, window
from lss_core.simulation.anatomy import sample_patient
from lss_core.simulation.render import Acquisition
from lss_core.simulation.samples import render_level
from lss_core.vocabulary import DiscLevel

FIELD_MM, TILE_PX = 60.0, 320


def _tile(plane: np.ndarray, pixel_mm: float, centre: tuple[float, float]) -> np.ndarray:
    patch = crop(plane, pixel_spacing_mm=(pixel_mm, pixel_mm), centre=centre, size_mm=FIELD_MM, size_px=TILE_PX)
    return (window(patch, width=350, level=45) * 255).astype(np.uint8)


def _noise_of(volume: Volume) -> float:
    """Median standard deviation of small soft-tissue patches."""
    plane = volume.hu[volume.shape[0] // 2].astype(float)
    tiles = plane[: plane.shape[0] // 8 * 8, : plane.shape[1] // 8 * 8].reshape(plane.shape[0] // 8, 8, -1, 8)
    mean, deviation = tiles.mean(axis=(1, 3)), tiles.std(axis=(1, 3))
    return float(np.median(deviation[(mean > 30) & (mean < 80)]))


def compare(series: Path, annotations: Path, out: Path, seed: int) -> None:
    volume = read_scan(series)
    pixel = volume.pixel_spacing_mm[0]
    scanner = Acquisition(
        pixel, volume.spacing_mm, volume.slice_thickness_mm, 0.6, 0.1, _noise_of(volume), 0.6, 2.0, 0.0, "SIM-SOFT"
    )
    columns = []
    for note in json.loads(annotations.read_text())["slices"]:
        if note["position"] != "disc" or note["level"] not in set(DiscLevel):
            continue
        index = volume.sop_instance_uids.index(note["sop_instance_uid"])
        rng = np.random.default_rng([seed, len(columns)])
        sample = render_level(sample_patient(rng), DiscLevel(note["level"]), scanner, rng)
        if sample is None:
            continue
        middle = (sample.hu.shape[1] - 1) / 2
        real = _tile(volume.hu[index], pixel, tuple(note["canal"]["centre"]))
        columns.append(np.vstack([real, _tile(sample.hu[1], sample.pixel_mm, (middle, middle))]))
    Image.fromarray(np.hstack(columns)).save(out)
    print(f"{out}: {len(columns)} levels, real above, simulated below.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    compare(args.series, args.annotations, args.out, args.seed)
