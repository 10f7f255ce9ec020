"""What there is to grade in a folder, and what names its result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lss_core.imaging.sources import ZIP_MAGIC, walk
from lss_core.vocabulary import Refusal

NIFTI = (".nii", ".nii.gz")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Found:
    """The scans of a folder by their names in it, in order; and files that are no scan of their own."""

    folder: Path
    scans: tuple[str, ...]
    left_out: tuple[str, ...]

    def path(self, scan: str) -> Path:
        return self.folder / scan


def find_scans(folder: Path) -> Found:
    """Each subfolder with all that is in it, each ZIP archive and each NIfTI file is one scan.

    A folder that holds none of these is one scan itself, named ".". Other files beside scans are left out. Of a scan
    with several series the best one is graded, as `grade PATH` does.

    Raises:
        Refusal: the folder is missing, or holds nothing.
    """
    if not folder.is_dir():
        raise Refusal(f"There is no folder {folder}; name the one that holds the scans.")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and not entry.is_symlink())
    scans = tuple(entry.name for entry in entries if entry.is_dir() or _is_scan(entry))
    others = tuple(entry.name for entry in entries if entry.name not in scans)
    if scans:
        return Found(folder, scans, others)
    if not others:
        raise Refusal(f"{folder} is empty; put each scan into a folder, a ZIP archive or a NIfTI file in it.")
    return Found(folder, (".",), ())


def _is_scan(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.name.lower().endswith(NIFTI):
        return True
    with path.open("rb") as stream:
        return stream.read(4) in ZIP_MAGIC


def content_digest(scan: Path) -> str:
    """SHA-256 of the content of a scan's files, whatever their names and order: the same scan twice is one scan."""
    digests = sorted(_file_digest(path) for path in _files(scan))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _files(scan: Path) -> Iterator[Path]:
    return walk(scan) if scan.is_dir() else iter((scan,))


def _file_digest(path: Path) -> str:
    if not path.is_file() or path.is_symlink():
        return f"not a regular file: {path.name}"
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
