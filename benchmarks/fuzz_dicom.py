"""Mutation fuzz over scan files: every mutant must give a Volume or a Refusal, soon and within bounded memory.

    python -m benchmarks.fuzz_dicom --mutants 20000 --seed 1

Exits 1 and names seed and number of the mutant where something else happens; the same seed makes the same mutants, and
`--only N` runs that one alone. A crash or hang inside a decoder is told by the last number in `--trail FILE`.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from lss_core.imaging.dicom import read_scan
from lss_core.vocabulary import Refusal
from tests import scans

ADDRESS_SPACE_BYTES = 3 << 30
SLOW_S = 5.0
INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
LENGTHS = (b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff", b"\x00\x00", b"\x01\x00")


@dataclass
class Report:
    """What the mutants gave."""

    seed: int
    volumes: int = 0
    refusals: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    growth_mib: float = 0.0         # of peak resident memory, from after the unharmed files were read
    wall_s: float = 0.0


def write_originals(folder: Path) -> list[Path]:
    """One small valid file of each kind that is read."""
    files = []
    for index, transfer_syntax in enumerate((*scans.LOSSLESS, *scans.LOSSY)):
        hu = scans.random_hu(index, shape=(32, 32))
        ds = scans.ct_slice(hu, transfer_syntax=transfer_syntax, planted=index % 2 == 0)
        files.append(scans.save(ds, folder / f"{index}.dcm"))
    for index, transfer_syntax in enumerate((ExplicitVRLittleEndian, RLELossless)):
        ds = scans.enhanced_ct(positions=[(0, 0, 3 * z) for z in range(4)], transfer_syntax=transfer_syntax)
        files.append(scans.save(ds, folder / f"enhanced{index}.dcm"))
    files.append(scans.save(scans.jpeg_baseline_ct(), folder / "baseline.dcm"))
    files.append(scans.write_dicomdir(folder, [("0.DCM",), ("1.DCM",)]))
    files.append(scans.write_zip(folder / "scan.zip", {path.name: path.read_bytes() for path in files[:2]}))
    affine = np.diag([2.0, 2.0, 2.0, 1.0]) - np.array([[0, 0, 0, 32.0]] * 3 + [[0, 0, 0, 0]])
    for name in ("a.nii", "a.nii.gz"):
        path = scans.write_nifti(folder / name, affine=affine, shape=(32, 32, 32), hu=lambda p: 4 * scans.phantom_hu(p))
        files.append(path)
    return files


def mutate(original: bytes, chance: random.Random) -> bytes:
    """Damage a file at one to eight places, more often near its start, where headers are."""
    data = bytearray(original)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        if not data:
            break
        end = len(data) if chance.random() < 0.5 else min(len(data), 1600)
        chance.choice(DAMAGES)(data, chance.randrange(end), chance)
    return bytes(data)


def _set_byte(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] = chance.randrange(256)


def _set_interesting(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] = chance.choice(INTERESTING)


def _flip_bit(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] ^= 1 << chance.randrange(8)


def _set_length(data: bytearray, at: int, chance: random.Random) -> None:
    length = chance.choice(LENGTHS)
    data[at : at + len(length)] = length


def _set_digit(data: bytearray, at: int, chance: random.Random) -> None:
    """Change a number written as text, found from `at` onwards."""
    while at < len(data) and not 0x30 <= data[at] <= 0x39:
        at += 1
    if at < len(data):
        data[at] = chance.choice(b"0123456789-+.eE\\ \x00")


def _delete(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at : at + chance.randrange(1, 40)]


def _insert(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = chance.randbytes(chance.randrange(1, 12))


def _repeat(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = data[at : at + chance.randrange(1, 200)] * chance.randrange(1, 4)


def _cut(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at:]


DAMAGES: tuple[Callable[[bytearray, int, random.Random], None], ...] = (
    _set_byte, _set_byte, _set_byte, _set_interesting, _flip_bit, _flip_bit, _set_length, _set_digit, _set_digit,
    _delete, _insert, _repeat, _cut,
)  # fmt: skip


def mutants(files: list[Path], *, count: int, seed: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield (number, file name, bytes), taking the originals in turn."""
    originals = [(path.name, path.read_bytes()) for path in files]
    for number in range(count):
        name, data = originals[number % len(originals)]
        yield number, name, mutate(data, random.Random(f"{seed}/{number}"))


def run(*, count: int, seed: int, only: int | None = None, trail: Path | None = None) -> Report:
    """Read every mutant and tell what came of it."""
    report, started = Report(seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        files = write_originals(Path(folder) / "originals")
        for path in files:
            read_scan(path)
        before = _peak_mib()
        target = Path(folder) / "mutant"
        target.mkdir()
        for number, name, data in mutants(files, count=count, seed=seed):
            if only is None or number == only:
                if trail is not None:
                    trail.write_text(f"{seed}/{number} {name}")
                _read_mutant(target / name, data, f"{seed}/{number} {name}", report)
        report.growth_mib = _peak_mib() - before
    report.wall_s = time.perf_counter() - started
    return report


def _read_mutant(path: Path, data: bytes, label: str, report: Report) -> None:
    path.write_bytes(data)
    started = time.perf_counter()
    try:
        volume = read_scan(path)
        assert volume.hu.dtype == np.int16 and len(volume.positions_mm) == len(volume.hu) > 0
        assert np.isfinite(volume.positions_mm).all() and bool((np.diff(volume.positions_mm) > 0).all())
        report.volumes += 1
    except Refusal as refusal:
        report.refusals += 1
        if "\n" in str(refusal) or len(str(refusal)) > 400:
            report.failures.append(f"{label}: not one clear sentence: {refusal}")
    except Exception:   # anything else is what this looks for
        report.failures.append(f"{label}: {traceback.format_exc(limit=-3)}")
    took = time.perf_counter() - started
    if took > report.slowest_s:
        report.slowest_s, report.slowest = took, label
    if took > SLOW_S:
        report.failures.append(f"{label}: took {took:.1f} s")
    path.unlink()


def _peak_mib() -> float:
    """Peak resident memory of this process; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="run this mutant alone")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--trail", type=Path, help="keep the current mutant's number here")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    report = run(count=options.mutants, seed=options.seed, only=options.only, trail=options.trail)
    if options.json:
        options.json.write_text(json.dumps(asdict(report)))
    print(json.dumps({**asdict(report), "failures": len(report.failures)}))
    for failure, times in Counter(report.failures).most_common(20):
        print(f"{times} x {failure}", file=sys.stderr)
    return 1 if report.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
