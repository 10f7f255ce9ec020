"""Damaged files: no crash, no hang, no unbounded memory. More mutants by `python -m benchmarks.fuzz_dicom`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.fuzz_dicom import mutants, write_originals
from lss_core.imaging.dicom import find_series, read_scan
from lss_core.vocabulary import Refusal
from tests import scans

ROOT = Path(__file__).parents[1]
MUTANTS = 2400
MEMORY_GROWTH_MIB = 64      # the originals are a few kilobytes each


def test_thousands_of_mutants_give_a_volume_or_a_refusal(tmp_path: Path) -> None:
    """In a process of its own with 3 GiB of address space, so that a crash in a decoder is a failure and not an end."""
    trail, result = tmp_path / "trail", tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.fuzz_dicom", "--mutants", str(MUTANTS), "--seed", "20241",
               "--json", str(result), "--trail", str(trail)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    last = trail.read_text() if trail.exists() else "before the first mutant"
    assert done.returncode == 0, f"ended with {done.returncode} at {last}: {done.stderr[-2000:]}"
    report = json.loads(result.read_text())
    assert report["volumes"] + report["refusals"] == MUTANTS and not report["failures"]
    assert report["volumes"] > 200 and report["refusals"] > 200       # the damage is neither too light nor too heavy
    assert report["growth_mib"] < MEMORY_GROWTH_MIB
    assert [secret for secret in scans.SECRETS if secret in done.stdout + done.stderr] == []


def test_the_same_seed_makes_the_same_mutants(tmp_path: Path) -> None:
    files = write_originals(tmp_path)
    first, again, other = (list(mutants(files, count=40, seed=seed)) for seed in (5, 5, 6))
    assert first == again and first != other


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr + len(value).to_bytes(2, "little") + value


def with_header(tmp_path: Path, extra: bytes) -> Path:
    """A valid slice with raw bytes put before its first element."""
    path = scans.save(scans.ct_slice(np.zeros((32, 32))), tmp_path / "a.dcm")
    data = path.read_bytes()
    start = data.index(b"\x08\x00\x08\x00CS")
    path.write_bytes(data[:start] + extra + data[start:])
    return path


def test_a_header_of_millions_of_elements_is_refused_soon(tmp_path: Path) -> None:
    path = with_header(tmp_path, element(8, 5, b"CS", b"") * 1_000_000)
    started = time.perf_counter()
    with pytest.raises(Refusal, match="its header is larger than the limit"):
        read_scan(path)
    assert time.perf_counter() - started < 30


@pytest.mark.parametrize("depth", [50, 2_000, 50_000])
def test_deeply_nested_sequences_end(depth: int, tmp_path: Path) -> None:
    sequence = b"\x00\x52\x29\x92SQ\x00\x00\xff\xff\xff\xff"      # shared functional groups, length unknown
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path = scans.save(scans.ct_slice(np.zeros((32, 32))), tmp_path / "a.dcm")
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(data[:at] + (sequence + item) * depth + data[at:])
    with pytest.raises(Refusal, match=r"a\.dcm"):
        read_scan(path)


def test_an_element_that_claims_four_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    claim = b"\x08\x00\x08\x00UT\x00\x00\xf0\xff\xff\xff"         # ImageType, 4 GiB of text
    path = with_header(tmp_path, claim)
    tracemalloc.start()
    with pytest.raises(Refusal, match=r"a\.dcm"):
        read_scan(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_reading_takes_little_more_memory_than_the_volume(tmp_path: Path) -> None:
    scans.write_series(tmp_path, slices=48, shape=(256, 256), hu=lambda p: np.zeros(p.shape[:-1]),
                       transfer_syntax=ExplicitVRLittleEndian)  # fmt: skip
    read_scan(tmp_path / "000.dcm")
    tracemalloc.start()
    volume = read_scan(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * volume.hu.nbytes


def test_finding_series_reads_no_pixels(tmp_path: Path) -> None:
    scans.write_series(tmp_path, slices=24, shape=(512, 512), hu=lambda p: np.zeros(p.shape[:-1]))
    tracemalloc.start()
    find_series([tmp_path])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20       # six of the slices' pixels would be that much
