"""A folder or bucket of de-identified scans and heat maps under random names.

A scan is one object: a header (JSON) and its slices, each compressed for itself without loss, so that some slices open
without the rest. The header holds the geometry that measuring and displaying need, and the SHA-256 of each slice; the
scan's own SHA-256 is that of the header, and so vouches for every byte. Nothing else of a scan is kept: no UID, no
note, no manufacturer, and positions count from the first slice.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
from PIL import Image

from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.vocabulary import Refusal

MAGIC = b"LSS CT 1\n"
FIRST_READ = 64 * 1024                          # bytes; holds the header of some 600 slices
LEVEL = 4                                       # of zlib: 2.1 to 2.6 times smaller on real CT, 13 ms a slice
SCAN_KEY = re.compile(r"[0-9a-f]{32}")
HEAT_MAP_KEY = re.compile(r"[0-9a-f]{32}-[0-9a-f]{64}")     # the second part is the SHA-256 of the stored bytes
LOST = "The image store holds no such {}; restore it from a backup."
DAMAGED = "A stored {} does not match its SHA-256: it was damaged or altered; restore it from a backup."


@dataclass(frozen=True)
class StoredScan:
    """Where a scan lies, and the SHA-256 by which it is known to be unaltered."""

    key: str
    sha256: str


@dataclass(frozen=True)
class Geometry:
    """What is known of a stored scan without its pixels."""

    shape: tuple[int, int, int]                 # [slice, row, column]
    positions_mm: np.ndarray                    # float64 [slice], rising from 0 at the first slice
    pixel_spacing_mm: tuple[float, float]       # (row, column)
    slice_thickness_mm: float
    offsets_mm: np.ndarray | None               # float64 [slice, 2], as in Volume
    has_hounsfield: bool

    def around(self, index: int, distance_mm: float) -> tuple[int, int]:
        """First and last slice, both included, within a distance of a slice."""
        near = np.abs(self.positions_mm - self.positions_mm[index]) <= distance_mm + 1e-6
        return int(np.flatnonzero(near)[0]), int(np.flatnonzero(near)[-1])


@dataclass(frozen=True)
class _Header:
    geometry: Geometry
    lengths: tuple[int, ...]                    # compressed bytes of each slice
    digests: tuple[str, ...]                    # SHA-256 of each slice's compressed bytes
    begin: int                                  # where the first slice begins
    sha256: str


class ScanStore:
    """Scans and heat maps in one folder or bucket. Safe to use from several threads."""

    def __init__(self, address: str | Path) -> None:
        """Name the store; the folder is made at the first write.

        Args:
            address: A folder, or an address that fsspec knows (`s3://bucket/folder`).

        Raises:
            Refusal: fsspec does not know the address, or the package for it is not installed.
        """
        try:
            self._files, self._root = fsspec.core.url_to_fs(str(address))
        except (ValueError, ImportError) as error:
            raise Refusal(f"The image store {address} cannot be used: {error}. Correct LSS_IMAGES.") from error

    def put(self, volume: Volume, *, key: str | None = None) -> StoredScan:
        """Store a scan without its identity.

        Args:
            key: Where, instead of under a new random key: for work that may be interrupted and begun again. Whoever
                gives it must make it unguessable, and the same for the same volume alone.
        """
        if volume.hu.dtype != np.int16 or volume.hu.ndim != 3:
            raise ValueError(f"A scan is int16 [slice, row, column], not {volume.hu.dtype} {list(volume.hu.shape)}.")
        with ThreadPoolExecutor(os.cpu_count()) as threads:     # deflating runs outside the interpreter's lock
            slices = list(threads.map(_compress, volume.hu))
        header = _header_bytes(volume, slices)
        key = key or secrets.token_hex(16)
        self._write(_scan_name(key), b"".join([header, *slices]))
        return StoredScan(key, hashlib.sha256(header).hexdigest())

    def geometry(self, key: str) -> Geometry:
        """Shape, spacing and positions of a stored scan."""
        return self._header(key, None).geometry

    def slab(self, key: str, first: int, last: int, *, sha256: str | None = None) -> Volume:
        """The slices `first` to `last`, both included; only they are read.

        Args:
            sha256: Of the scan, as it was stored; without it, slices are held against the scan's own header.

        Raises:
            Refusal: no such scan, no such slice, or bytes that do not match their SHA-256.
        """
        header = self._header(key, sha256)
        count = header.geometry.shape[0]
        if not 0 <= first <= last < count:
            raise Refusal(f"Slices {first} to {last} were asked of a scan with slices 0 to {count - 1}.")
        begin = header.begin + sum(header.lengths[:first])
        lengths, digests = header.lengths[first : last + 1], header.digests[first : last + 1]
        content = self._read(_scan_name(key), "scan", begin, begin + sum(lengths))
        return _volume(key, header.geometry, first, _decompress(content, lengths, digests, header.geometry.shape[1:]))

    def open(self, key: str, *, sha256: str | None = None) -> Volume:
        """A whole scan; as `slab` otherwise."""
        return self.slab(key, 0, self._header(key, None).geometry.shape[0] - 1, sha256=sha256)

    def put_heat_map(self, heat_map: np.ndarray) -> str:
        """Store a heat map, uint8 [row, column], and return its key."""
        if heat_map.dtype != np.uint8 or heat_map.ndim != 2:
            raise ValueError(f"A heat map is uint8 [row, column], not {heat_map.dtype} {list(heat_map.shape)}.")
        png = io.BytesIO()
        Image.fromarray(heat_map).save(png, "png")
        key = f"{secrets.token_hex(16)}-{hashlib.sha256(png.getvalue()).hexdigest()}"
        self._write(f"{key}.png", png.getvalue())
        return key

    def heat_map(self, key: str) -> np.ndarray:
        """A stored heat map, uint8 [row, column]."""
        return np.array(Image.open(io.BytesIO(self.stored(key))))

    def stored(self, key: str, *, sha256: str | None = None) -> bytes:
        """The bytes of a scan or heat map as they are stored, all of them held against their SHA-256: for a backup."""
        if HEAT_MAP_KEY.fullmatch(key):
            content = self._read(f"{key}.png", "heat map")
            if hashlib.sha256(content).hexdigest() != key.partition("-")[2]:
                raise Refusal(DAMAGED.format("heat map"))
            return content
        header = self._header(key, sha256)
        content = self._read(_scan_name(key), "scan")
        if len(content) != header.begin + sum(header.lengths):
            raise Refusal(DAMAGED.format("scan"))
        _checked(content[header.begin :], header.lengths, header.digests)
        return content

    def restore(self, key: str, content: bytes) -> None:
        """Put back what `stored` returned, under the same key."""
        self._write(f"{key}.png" if HEAT_MAP_KEY.fullmatch(key) else _scan_name(key), content)

    def _header(self, key: str, sha256: str | None) -> _Header:
        start = self._read(_scan_name(key), "scan", 0, FIRST_READ)
        end = _header_end(start)
        if end > len(start):
            start = self._read(_scan_name(key), "scan", 0, end)
        header = _parse_header(start[:end])
        if sha256 is not None and header.sha256 != sha256:
            raise Refusal(DAMAGED.format("scan"))
        return header

    def _read(self, name: str, what: str, begin: int | None = None, end: int | None = None) -> bytes:
        try:
            return self._files.cat_file(f"{self._root}/{name}", start=begin, end=end)
        except FileNotFoundError as error:
            raise Refusal(LOST.format(what)) from error

    def _write(self, name: str, content: bytes) -> None:
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(f"{self._root}/{name}", content)


def _scan_name(key: str) -> str:
    """A key comes from the database, but is not trusted to stay inside the folder."""
    if not SCAN_KEY.fullmatch(key):
        raise Refusal(LOST.format("scan"))
    return f"{key}.ct"


def _compress(plane: np.ndarray) -> bytes:
    """Differences along the rows, low and high bytes apart, deflated: without loss, as int16 wraps around."""
    steps = np.diff(plane.astype("<i2"), axis=1, prepend=np.int16(0))
    return zlib.compress(np.ascontiguousarray(steps).view(np.uint8).reshape(-1, 2).T.tobytes(), LEVEL)


def _decompress(
    content: bytes, lengths: Sequence[int], digests: Sequence[str], shape: tuple[int, int]
) -> np.ndarray:
    hu = np.empty((len(lengths), *shape), np.int16)
    for plane, part in zip(hu, _checked(content, lengths, digests), strict=True):
        try:
            halves = np.frombuffer(zlib.decompress(part), np.uint8).reshape(2, -1)
            steps = np.ascontiguousarray(halves.T).view("<i2").reshape(shape)
        except (ValueError, zlib.error) as error:       # a header that was altered together with its digests
            raise Refusal(DAMAGED.format("scan")) from error
        np.cumsum(steps, axis=1, dtype=np.int16, out=plane)
    return hu


def _checked(content: bytes, lengths: Sequence[int], digests: Sequence[str]) -> list[bytes]:
    """The compressed slices, each held against its SHA-256."""
    ends = np.cumsum(lengths)
    parts = [content[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    if any(hashlib.sha256(part).hexdigest() != digest for part, digest in zip(parts, digests, strict=True)):
        raise Refusal(DAMAGED.format("scan"))
    return parts


def _header_bytes(volume: Volume, slices: Sequence[bytes]) -> bytes:
    content = {
        "shape": volume.shape,
        "positions_mm": (volume.positions_mm - volume.positions_mm[0]).tolist(),
        "pixel_spacing_mm": volume.pixel_spacing_mm,
        "slice_thickness_mm": volume.slice_thickness_mm,
        "offsets_mm": None if volume.offsets_mm is None else volume.offsets_mm.tolist(),
        "has_hounsfield": volume.has_hounsfield,
        "lengths": [len(each) for each in slices],
        "sha256": [hashlib.sha256(each).hexdigest() for each in slices],
    }
    text = json.dumps(content, allow_nan=False, default=float).encode()
    return MAGIC + struct.pack("<I", len(text)) + text


def _header_end(start: bytes) -> int:
    """Where the header ends, from the scan's first bytes."""
    fixed = len(MAGIC) + 4
    if len(start) < fixed or not start.startswith(MAGIC):
        raise Refusal(DAMAGED.format("scan"))
    return fixed + struct.unpack_from("<I", start, len(MAGIC))[0]


def _parse_header(header: bytes) -> _Header:
    try:
        content = json.loads(header[len(MAGIC) + 4 :])
        offsets = content["offsets_mm"]
        geometry = Geometry(
            tuple(content["shape"]), np.array(content["positions_mm"], float), tuple(content["pixel_spacing_mm"]),
            content["slice_thickness_mm"], None if offsets is None else np.array(offsets, float),
            content["has_hounsfield"],
        )
        lengths, digests = tuple(content["lengths"]), tuple(content["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(DAMAGED.format("scan")) from error
    return _Header(geometry, lengths, digests, len(header), hashlib.sha256(header).hexdigest())


def _volume(key: str, geometry: Geometry, first: int, hu: np.ndarray) -> Volume:
    """A volume whose UIDs are made from the random key, as it has none of its own."""
    part = slice(first, first + len(hu))
    return Volume(
        hu=hu, positions_mm=geometry.positions_mm[part], pixel_spacing_mm=geometry.pixel_spacing_mm,
        slice_thickness_mm=geometry.slice_thickness_mm,
        sop_instance_uids=tuple(f"{key}.{index}" for index in range(part.start, part.stop)), series_uid=key,
        stored=StoredPlane(shape=hu.shape[1:]),
        offsets_mm=None if geometry.offsets_mm is None else geometry.offsets_mm[part],
        is_dicom=False, has_hounsfield=geometry.has_hounsfield,
    )
