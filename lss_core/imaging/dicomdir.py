"""A DICOMDIR to the files that it lists (PS3.10 section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lss_core.imaging.limits import Limits
from lss_core.imaging.parsing import parse_dicom, third_party
from lss_core.imaging.sources import LeftOut, Source, Unusable, walk
from lss_core.vocabulary import Refusal

NAME = "DICOMDIR"
LISTED_ELEMENTS = ("DirectoryRecordSequence",)


def list_dicomdir(path: Path, *, limits: Limits) -> tuple[list[Path], list[LeftOut]]:
    """Find the listed files in the DICOMDIR's folder.

    Only files found by walking that folder are returned, so a listed path cannot lead anywhere else.

    Raises:
        Refusal: the DICOMDIR is damaged, or a path in it leads out of its folder.
    """
    try:
        listed = _read_listed(path, limits)
    except Unusable:
        raise Refusal(f"{path.name} is a truncated or corrupt DICOMDIR; add the folder with the images.") from None
    root = path.resolve().parent
    there = {}
    for count, file in enumerate(walk(root)):
        if count >= limits.files:
            raise Refusal(f"The DICOMDIR's folder holds over {limits.files} files; add only the lumbar CT series.")
        there[file.relative_to(root).as_posix().casefold()] = file
    found, missing = [], []
    for parts in listed:
        file = there.get("/".join(parts).casefold())
        if file is None:
            missing.append(LeftOut(parts[-1], "the DICOMDIR lists it, but it was not added"))
        else:
            found.append(file)
    return found, missing


def _read_listed(path: Path, limits: Limits) -> list[tuple[str, ...]]:
    """Read the file ids, each as its path components."""
    source = Source(path.name, min(path.stat().st_size, limits.file_bytes), path)
    index = parse_dicom(source, keep=LISTED_ELEMENTS, limits=limits, with_pixels=False)
    listed = []
    with third_party():
        for record in index.DirectoryRecordSequence:
            if record.get("ReferencedFileID"):
                listed.append(_components(record["ReferencedFileID"].value, path.name))
    return listed


def _components(value: str | Sequence[str], name: str) -> tuple[str, ...]:
    parts = (value,) if isinstance(value, str) else tuple(map(str, value))
    parts = tuple(piece for part in parts for piece in part.replace("\\", "/").split("/"))
    if any(part in ("", "..", ".") or ":" in part for part in parts):
        raise Refusal(f"{name} lists a path that leads out of its folder; add the folder with the images instead.")
    return parts
