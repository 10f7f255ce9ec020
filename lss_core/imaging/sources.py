"""Uploads to candidate files: a mix of files, folders and ZIP archives, within limits.

Archive members are read straight into memory, one at a time: nothing is unpacked to disk, so a member's path leads
nowhere and no copy of the patient's data stays behind.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lss_core.imaging.limits import Limits
from lss_core.vocabulary import Refusal

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
OTHER_ARCHIVES = {b"Rar!": "RAR", b"7z\xbc\xaf": "7z", b"\xfd7zX": "xz", b"BZh9": "bzip2"}
COST_OF_A_READ = 64             # bytes: a header of millions of empty elements costs time, too
LONGEST_NAME = 60
SYSTEM_FILES = {".ds_store", "thumbs.db", "desktop.ini"}
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, LookupError, ValueError, MemoryError,
)  # fmt: skip


def plain_name(name: str) -> str:
    """A file's name fit to be shown on one line: archives and DICOMDIRs may hold any characters, of any length."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 3] + "..."


class Unusable(Exception):
    """One file that is left out; the message is a reason without the file's name."""


@dataclass(frozen=True)
class LeftOut:
    """A file that is not part of any series, named by its own name without folders, and why."""

    name: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", plain_name(self.name))


@dataclass(frozen=True)
class Source:
    """One candidate file, on disk or in an archive."""

    name: str
    size: int                                                        # bytes, unpacked
    path: Path = field(repr=False)
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)
    member: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", plain_name(self.name))

    def open(self) -> BinaryIO:
        """Open for reading and seeking.

        Raises:
            Unusable: the file is gone, or the archive is damaged at this member.
        """
        try:
            if self.archive is None:
                return ClampedReader(self.path.open("rb"), self.size)  # type: ignore[return-value]
            return BytesIO(self.archive.read(self.member))  # type: ignore[arg-type]
        except FileNotFoundError as error:
            raise Unusable("it is no longer there; add it again") from error
        except ZIP_ERRORS as error:
            raise Unusable("it cannot be read; it is truncated or corrupt") from error

    def first_bytes(self, count: int) -> bytes:
        """Read the file's first bytes."""
        if self.archive is None:
            with self.open() as stream:
                return stream.read(count)
        try:
            with self.archive.open(self.member) as stream:  # type: ignore[arg-type]
                return stream.read(count)
        except ZIP_ERRORS as error:
            raise Unusable("it cannot be read; it is truncated or corrupt") from error


class ClampedReader:
    """A file that never asks for more memory than it has bytes: headers may claim elements of 4 GiB."""

    def __init__(self, stream: BinaryIO, size: int, *, budget: int | None = None) -> None:
        self._stream, self._size, self._budget = stream, size, budget

    def read(self, count: int | None = -1) -> bytes:
        left = max(self._size - self._stream.tell(), 0)
        data = self._stream.read(left if count is None or count < 0 else min(count, left))
        if self._budget is not None:
            self._budget -= len(data) + COST_OF_A_READ
            if self._budget < 0:
                raise Unusable("its header is larger than the limit")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> ClampedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Tally:
    """Counts what an upload unpacks to and refuses at the limit."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.files, self.bytes = limits, 0, 0

    def add(self, size: int) -> None:
        self.files += 1
        self.bytes += size
        if self.files > self.limits.files:
            raise Refusal(f"The upload holds more than {self.limits.files} files; add only the lumbar CT series.")
        if self.bytes > self.limits.total_bytes:
            limit_mib = self.limits.total_bytes >> 20
            raise Refusal(f"The upload unpacks to more than {limit_mib} MiB; add only the lumbar CT series.")


def expand(paths: Sequence[Path], *, limits: Limits) -> Iterator[Source | LeftOut]:
    """Yield every candidate file of an upload once, in the order of the names.

    Raises:
        Refusal: a path does not exist, a limit is passed, or an archive is encrypted, damaged or hostile.
    """
    tally, seen = _Tally(limits), set()
    for path in paths:
        for item in _expand_path(Path(path), tally):
            key = (item.path, item.member) if isinstance(item, Source) else item
            if key not in seen:
                seen.add(key)
                yield item


def _expand_path(path: Path, tally: _Tally) -> Iterator[Source | LeftOut]:
    if not path.exists():
        raise Refusal(f"{plain_name(path.name)} does not exist; check the path.")
    if path.is_dir():
        for file in walk(path):
            yield from _expand_file(file, tally)
    else:
        yield from _expand_file(path.resolve(), tally)


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders in order; linked folders are not entered."""
    for root, folders, files in os.walk(folder.resolve(), followlinks=False):
        folders.sort()
        for name in sorted(files):
            if name.lower() not in SYSTEM_FILES:
                yield Path(root, name)


def _expand_file(path: Path, tally: _Tally) -> Iterator[Source | LeftOut]:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            yield LeftOut(path.name, "it is a link, which is not followed")
        elif not stat.S_ISREG(status.st_mode):
            yield LeftOut(path.name, "it is not a regular file")
        elif status.st_size > tally.limits.file_bytes:
            yield LeftOut(path.name, f"it is larger than the limit of {tally.limits.file_bytes >> 20} MiB")
        else:
            with path.open("rb") as stream:
                is_zip = stream.read(4) in ZIP_MAGIC
            if is_zip:
                yield from _expand_zip(path, tally)
            else:
                tally.add(status.st_size)
                yield Source(path.name, status.st_size, path)
    except OSError:
        yield LeftOut(path.name, "it cannot be opened")


def _expand_zip(path: Path, tally: _Tally) -> Iterator[Source | LeftOut]:
    archive = _open_zip(path)
    members = [info for info in archive.infolist() if not info.is_dir()]
    for info in members:
        _refuse_hostile_member(plain_name(path.name), info)
    _refuse_zip_bomb(path, members, tally.limits)
    for info in members:
        name = PurePosixPath(info.filename.replace("\\", "/")).name
        if name.lower() in SYSTEM_FILES or info.filename.startswith("__MACOSX/"):
            continue
        tally.add(info.file_size)
        if info.file_size > tally.limits.file_bytes:
            yield LeftOut(name, f"it is larger than the limit of {tally.limits.file_bytes >> 20} MiB")
        else:
            yield _member_source(path, archive, info, name)


def _member_source(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Source | LeftOut:
    if name.lower().endswith(".zip"):
        return LeftOut(name, "it is an archive inside an archive; unpack it first")
    return Source(name, info.file_size, path, archive, info.filename)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
        if not all(info.filename for info in archive.infolist()):
            raise zipfile.BadZipFile
        return archive
    except ZIP_ERRORS:
        raise Refusal(f"{plain_name(path.name)} is a truncated or corrupt ZIP archive; pack it again.") from None


def _refuse_hostile_member(archive_name: str, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x1:
        raise Refusal(f"{archive_name} is an encrypted ZIP archive; unpack it and upload its files.")
    name = info.orig_filename.replace("\\", "/")
    leaves = name.startswith("/") or ".." in name.split("/") or name[1:2] == ":" or "\0" in name
    if leaves or stat.S_ISLNK(info.external_attr >> 16):
        raise Refusal(f"{archive_name} holds a path that leads out of the archive; pack the plain files again.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refusal(f"{archive_name} is packed by a method other than deflate; pack it as an ordinary ZIP.")


def _refuse_zip_bomb(path: Path, members: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
    name = plain_name(path.name)
    unpacked = sum(info.file_size for info in members)
    packed = min(sum(info.compress_size for info in members), path.stat().st_size)
    if unpacked > limits.zip_ratio_from_bytes and unpacked > limits.zip_ratio * packed:
        raise Refusal(f"{name} unpacks to over {limits.zip_ratio:g} times its size, as no CT does; it is not opened.")
    if unpacked > limits.total_bytes or len(members) > limits.files:
        raise Refusal(
            f"{name} unpacks to more than {limits.total_bytes >> 20} MiB or {limits.files} files; "
            "add only the lumbar CT series."
        )
