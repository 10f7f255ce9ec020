"""Time and memory of a whole series: read, locate, grade, every heat map; against what cannot be saved.

    python -m benchmarks.whole_series DIR [--model v1 v2] [--repeat N]

The floor is decoding the same files and running the bare networks on inputs that are ready, in the same run. Of two
versions the classifiers' bare passes over all views are compared, and grading as a whole. Memory is
the peak of a fresh process over that of one that has only imported the same libraries. DIR holds the DICOM files of one
series: a real one, or a patient written by `python -m lss_core simulate`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import torch

from benchmarks.peak import report_peak
from lss_core.grading.classifier import is_recess, neighbours
from lss_core.grading.detector import find_regions, slice_frame, slice_image
from lss_core.grading.doubt import region_views
from lss_core.grading.explain import load_methods
from lss_core.grading.levels import level_image, trace_canal
from lss_core.grading.pipeline import Grader
from lss_core.imaging.dicom import read_scan
from lss_core.imaging.straighten import straighten

TORCH_ALONE = "import torch; from benchmarks.peak import report_peak; report_peak()"
TIME_LIMIT, MEMORY_LIMIT = 2.5, 4.0         # times the floor; times the volume in float32


def main() -> int:
    """Print the figures; exit 0 within both limits, 1 beyond."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", default=["v1", "v2"], help="versions; memory is that of the first")
    parser.add_argument("--repeat", type=int, default=3, help="the best of N counts")
    parser.add_argument("--only", choices=("imports", "whole"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    load_methods()
    importlib.import_module("timm")
    if options.only:
        if options.only == "whole":
            run_whole(Grader.load(options.model[0]), options.folder)
        report_peak()
        return 0
    graders = [Grader.load(version) for version in options.model]
    within_time = all([compare_time(grader, options.folder, options.repeat) for grader in graders])
    if len(graders) > 1:
        compare_versions(graders, options.folder, options.repeat)
    within_memory = compare_memory(options.folder, options.model[0])
    return 0 if within_time and within_memory else 1


def run_whole(grader: Grader, folder: Path) -> int:
    """Everything that a user waits for; returns the number of heat maps."""
    volume = read_scan(folder)
    result = grader.grade(volume)
    wanted = [
        (report.slice_index, region, graded.box, graded.grade)
        for report in result.levels for region, graded in report.regions.items() if graded is not None
    ]
    return len(grader.explain(volume, wanted))


def compare_time(grader: Grader, folder: Path, repeat: int) -> bool:
    """Alternate whole and floor, so that both meet the same machine."""
    forwards = bare_forwards(grader, folder)
    maps = run_whole(grader, folder)                                # warms both up
    whole_s, decode_s, forward_s = [], [], []
    for _ in range(repeat):
        whole_s.append(timed(lambda: run_whole(grader, folder)))
        decode_s.append(timed(lambda: decode(folder)))
        forward_s.append(timed(forwards))
    floor = min(decode_s) + min(forward_s)
    ratio = min(whole_s) / floor
    print(f"{grader.version}: whole series with {maps} heat maps {min(whole_s):.2f} s; floor {floor:.2f} s "
          f"(decoding {min(decode_s):.2f}, networks {min(forward_s):.2f}); ratio {ratio:.2f}, limit {TIME_LIMIT}")
    return ratio <= TIME_LIMIT


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def decode(folder: Path) -> None:
    """Decode every file, and no more."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".dcm":
            _ = pydicom.dcmread(path).pixel_array


def bare_forwards(grader: Grader, folder: Path) -> Callable[[], None]:
    """The networks' forward passes of this series, their inputs made beforehand."""
    volume = read_scan(folder)
    detector, level_network, classifier = grader.networks
    frames = [slice_frame(plane, volume.pixel_spacing_mm, detector.config) for plane in volume.hu]
    images = [slice_image(plane, frame, detector.config) for plane, frame in zip(volume.hu, frames, strict=True)]
    stacks = [
        torch.from_numpy(np.stack(images[k : k + detector.config.stack])).contiguous(memory_format=torch.channels_last)
        for k in range(0, len(images), detector.config.stack)
    ]
    line = trace_canal(find_regions(detector, volume, range(volume.shape[0])), volume)
    if line is None:
        raise SystemExit("No canal was found in this series; give another.")
    slabs = torch.from_numpy(level_image(straighten(volume, line)))[None]
    crops, recess = classifier_inputs(grader, folder)

    def run() -> None:
        with torch.inference_mode():
            for stack in stacks:
                detector(stack)
            level_network(slabs)
            classifier(crops, recess)

    return run


def classifier_inputs(grader: Grader, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All views of all regions of a series, as one batch, and which of them are recesses."""
    volume, config = read_scan(folder), grader.networks[2].config
    found = [
        (report.slice_index, region, graded.box) for report in grader.grade(volume).levels
        for region, graded in report.regions.items() if graded is not None
    ]
    views = [
        region_views(
            neighbours(volume, index, config), pixel_spacing_mm=volume.pixel_spacing_mm, region=region,
            centre=box.centre, config=config,
        )
        for index, region, box in found
    ]
    regions = [region for _, region, _ in found]
    recess = torch.tensor([is_recess(region) for crops, region in zip(views, regions, strict=True) for _ in crops])
    return torch.from_numpy(np.concatenate(views)).contiguous(memory_format=torch.channels_last), recess


def compare_versions(graders: list[Grader], folder: Path, repeat: int) -> None:
    """Bare classifier passes and grading of located discs, alternating, as ratios to the first version."""
    volume = read_scan(folder)
    located = graders[0].locate(volume)
    forward_s: dict[str, list[float]] = {grader.version: [] for grader in graders}
    grade_s: dict[str, list[float]] = {grader.version: [] for grader in graders}
    inputs = {grader.version: classifier_inputs(grader, folder) for grader in graders}
    for _ in range(repeat + 1):
        for grader in graders:
            with torch.inference_mode():
                forward_s[grader.version].append(timed(lambda: grader.networks[2](*inputs[grader.version])))  # noqa: B023
            grade_s[grader.version].append(timed(lambda: grader.grade(volume, located=located)))  # noqa: B023
    first = graders[0].version
    for version in forward_s:
        bare, whole = min(forward_s[version]), min(grade_s[version])
        print(f"{version}: bare pass over {len(inputs[version][0])} views {bare * 1000:.0f} ms "
              f"({bare / min(forward_s[first]):.2f} of {first}); grading located discs {whole / bare:.2f} x its bare "
              f"pass, {whole / min(grade_s[first]):.2f} of {first}")


def compare_memory(folder: Path, version: str) -> bool:
    """Peak resident memory of fresh processes."""
    torch_alone, imports, whole = (peak_bytes(folder, only, version) for only in ("torch", "imports", "whole"))
    volume = read_scan(folder)
    in_float32 = volume.hu.size * 4
    ratio = (whole - imports) / in_float32
    print(f"peak memory {whole / 2**20:.0f} MiB, of which the interpreter with torch and the libraries "
          f"{imports / 2**20:.0f}; the rest is {ratio:.2f} x the volume in float32 ({in_float32 / 2**20:.0f} MiB), "
          f"limit {MEMORY_LIMIT}")
    over_torch = (whole - torch_alone) / in_float32
    print(f"over an interpreter with torch alone ({torch_alone / 2**20:.0f} MiB): {over_torch:.2f} x the volume")
    return ratio <= MEMORY_LIMIT


def peak_bytes(folder: Path, only: str, version: str) -> int:
    """Peak resident memory of this benchmark in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.whole_series", str(folder), "--only", only, "--model", version]
    if only == "torch":
        command = [sys.executable, "-c", TORCH_ALONE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1])["peak_kib"]) * 1024


if __name__ == "__main__":
    sys.exit(main())
