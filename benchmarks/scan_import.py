"""Import of scans into a collection: time against reading and rewriting the same files, and memory over many files.

    python -m benchmarks.scan_import DIR [--repeat N]
    python -m benchmarks.scan_import --memory [--files 10000] [--files-each 10] [--side 64]

DIR holds the DICOM files of one or more series. Floors are measured in the same run, alternating with the import: to
copy the bytes; and to read each file with pydicom, decode it and write it again, uncompressed or deflated. The import
reads headers twice, decodes, looks for writing, compresses without loss, and keeps a row in SQLite; it is also measured
with the de-identified DICOM files written beside. The database and the collection are made before the clock runs.

For memory, small single-slice files are made, and the resident size of the process that imports them is read after
each tenth of the studies. Exit 0 within the limits, 1 beyond.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from sqlalchemy import Engine

from lss_core.curation import collections
from lss_core.imaging.pseudonyms import SiteKeys
from lss_core.imaging.store import ScanStore
from lss_core.import_report import ImportChoices, ImportSummary
from lss_core.scan_import import Progress, import_into
from lss_core.study import people
from lss_core.study.actors import Actor
from lss_core.study.connection import open_database
from tests import scans

MIB = 2**20
TIME_LIMIT = 6.0                # times reading, decoding and rewriting uncompressed
GROWTH_LIMIT_MIB = 16.0         # of resident memory, from a fifth of the studies to the end
SETTLED, TENTHS = 2, 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--repeat", type=int, default=3, help="the best of N counts (default %(default)s)")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--files-each", type=int, default=10, help="files of a series (default %(default)s)")
    parser.add_argument("--side", type=int, default=64, help="pixels (default %(default)s)")
    options = parser.parse_args()
    if options.memory == bool(options.folder):
        parser.error("give a folder, or --memory")
    with tempfile.TemporaryDirectory(prefix="lss-import-") as work:
        if options.memory:
            return 0 if measure_memory(Path(work), options.files, options.files_each, options.side) else 1
        return 0 if compare_time(options.folder, Path(work), options.repeat) else 1


def compare_time(folder: Path, work: Path, repeat: int) -> bool:
    """Alternate import and floors, so that all meet the same machine."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and looks_like_dicom(path)]
    ways: dict[str, Callable[[Place], object]] = {
        "import": lambda place: imported([folder], place),
        "import, DICOM too": lambda place: imported([folder], place, deidentified=place.folder / "dicom"),
        "rewrite deflated": lambda place: rewrite(files, place.folder, DeflatedExplicitVRLittleEndian),
        "rewrite": lambda place: rewrite(files, place.folder, ExplicitVRLittleEndian),
        "copy": lambda place: copy(files, place.folder),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeat):
        for way, act in ways.items():
            took[way].append(timed(act, work))
    best = {way: min(each) for way, each in took.items()}
    size = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {size / MIB:.0f} MiB; best of {repeat}:")
    for way, seconds in best.items():
        times = {floor: seconds / best[floor] for floor in ("rewrite", "rewrite deflated", "copy")}
        print(f"{way:18s} {seconds:7.2f} s {len(files) / seconds:6.0f} files/s, times",
              ", ".join(f"{floor} {ratio:.2f}" for floor, ratio in times.items()))
    ratio = best["import"] / best["rewrite"]
    print(f"ratio {ratio:.2f}, limit {TIME_LIMIT}")
    return ratio <= TIME_LIMIT


def looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


@dataclass(frozen=True)
class Place:
    """A folder with an empty collection on SQLite."""

    folder: Path
    engine: Engine
    actor: Actor
    collection_id: int


@contextmanager
def new_place(folder: Path) -> Iterator[Place]:
    """Made for one measurement, and removed after it."""
    folder.mkdir()
    engine = open_database(f"sqlite:///{folder / 'studies.sqlite'}")
    actor = people.local_account(engine)
    collection_id = collections.create(engine, actor, title="Benchmark").id
    assert collection_id is not None
    try:
        yield Place(folder, engine, actor, collection_id)
    finally:
        engine.dispose()
        shutil.rmtree(folder)


def timed(act: Callable[[Place], object], work: Path) -> float:
    with new_place(work / "out") as place:
        started = time.perf_counter()
        act(place)
        return time.perf_counter() - started


def imported(
    paths: list[Path], place: Place, *, deidentified: Path | None = None, progress: Progress | None = None
) -> ImportSummary:
    return import_into(
        place.engine, ScanStore(str(place.folder / "images")), place.actor, place.collection_id, paths,
        keys=SiteKeys.of(place.folder), choices=ImportChoices(least_mm=0), deidentified=deidentified, progress=progress,
    )


def rewrite(files: list[Path], out: Path, transfer_syntax: UID) -> None:
    """Read, decode and write again."""
    for number, path in enumerate(files):
        ds = dcmread(path)
        if ds.file_meta.TransferSyntaxUID.is_compressed:
            ds.decompress(generate_instance_uid=False)
        else:
            _ = ds.pixel_array
        ds.file_meta.TransferSyntaxUID = transfer_syntax
        dcmwrite(out / f"{number}.dcm", ds)


def copy(files: list[Path], out: Path) -> None:
    for number, path in enumerate(files):
        (out / f"{number}.dcm").write_bytes(path.read_bytes())


def measure_memory(work: Path, files: int, files_each: int, side: int) -> bool:
    """Print the resident size over the run; whether it stops growing."""
    write_many(work / "pile", files, files_each, side)
    curve: list[tuple[float, float]] = []

    def note(what: str, share: float) -> None:
        if what.startswith("Study") and share * TENTHS >= len(curve):
            curve.append((share, resident_mib()))

    before, started = resident_mib(), time.perf_counter()
    with new_place(work / "out") as place:
        summary = imported([work / "pile"], place, progress=note)
    took = time.perf_counter() - started
    curve.append((1.0, resident_mib()))
    print(f"{summary.files} files, {summary.added} scans in {took:.0f} s ({summary.files / took:.0f} files/s); "
          f"{before:.0f} MiB resident before")
    for share, mib in curve:
        print(f"{share:5.0%} {mib:8.1f} MiB")
    growth = curve[-1][1] - curve[SETTLED][1]
    print(f"from {SETTLED / TENTHS:.0%} to the end {growth:+.1f} MiB, limit {GROWTH_LIMIT_MIB}")
    return summary.added == files // files_each and growth <= GROWTH_LIMIT_MIB


def write_many(folder: Path, files: int, files_each: int, side: int) -> None:
    """Single-slice files of many series, a patient each, as cheaply as they can be made."""
    ds = scans.ct_slice(np.zeros((side, side)))
    for number in range(files):
        series, index = divmod(number, files_each)
        write_slice(ds, folder / f"{series // 100:04d}" / f"{number:06d}.dcm", series, index)


def write_slice(ds: FileDataset, path: Path, series: int, index: int) -> None:
    uid = f"1.2.826.0.1.3680043.8.498.{series + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID = f"{uid}.1", f"{uid}.2", f"MADE-{series}"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{uid}.2.{index + 1}")
    ds.ImagePositionPatient, ds.InstanceNumber = [-16.0, -16.0, 3.0 * index], index + 1
    pixels = np.random.default_rng(series).integers(1000, 1100, (ds.Rows, ds.Columns), np.uint16)
    ds.PixelData = pixels.tobytes()
    scans.save(ds, path)


def resident_mib() -> float:
    """This process's resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB


if __name__ == "__main__":
    sys.exit(main())
