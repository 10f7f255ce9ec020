"""The one boundary to third-party parsers and decoders: what they raise becomes a reason in our words."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from lss_core.imaging.deidentify import silence_readers
from lss_core.imaging.limits import Limits
from lss_core.imaging.sources import ClampedReader, Source, Unusable
from lss_core.vocabulary import Refusal

CORRUPT = "it is truncated or corrupt; export it again"

silence_readers()


@contextmanager
def third_party(reason: str = CORRUPT) -> Iterator[None]:
    """Turn whatever a parser or decoder raises on hostile bytes into `Unusable(reason)`.

    The catch is broad on purpose: pydicom, its plugins, nibabel and Pillow raise some twenty kinds of exception
    between them. The cause is dropped, because their messages quote header values.
    """
    try:
        yield
    except (Unusable, Refusal):
        raise
    except Exception:
        raise Unusable(reason) from None


def parse_dicom(source: Source, *, keep: Sequence[str], limits: Limits, with_pixels: bool) -> FileDataset:
    """Parse the elements named in `keep`, nothing else.

    Raises:
        Unusable: not DICOM, corrupt, or larger than the limits.
    """
    with source.open() as stream, third_party():
        signature = stream.read(132)
        if not (signature[128:] == b"DICM" or signature[:2] == b"\x08\x00" or signature[:2] == b"\x02\x00"):
            raise Unusable("it is not a DICOM file")
        stream.seek(0)
        plain = _inflate(stream, limits) if signature[128:] == b"DICM" else stream
        bounded = ClampedReader(plain, source.size if plain is stream else limits.file_bytes,
                                budget=None if with_pixels else limits.header_bytes)  # fmt: skip
        return dcmread(
            bounded,  # type: ignore[arg-type]
            stop_before_pixels=not with_pixels,
            force=signature[128:] != b"DICM",
            specific_tags=list(keep),
        )


def _inflate(stream: BinaryIO, limits: Limits) -> BinaryIO:
    """Return the same file with a deflated data set inflated, or the stream itself, at its start.

    pydicom would inflate without a limit, so that a few megabytes could fill the memory.
    """
    read_preamble(ClampedReader(stream, 1 << 20), force=False)  # type: ignore[arg-type]
    meta = _read_file_meta_info(ClampedReader(stream, 1 << 20))  # type: ignore[arg-type]
    start = stream.tell()
    stream.seek(0)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return stream
    head = stream.read(start)
    inflator = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflator.decompress(stream.read(), limits.file_bytes)
    if not inflator.eof:
        raise Unusable("it is truncated or corrupt, or inflates over the limit")
    plain_uid = ExplicitVRLittleEndian.encode().ljust(len(DeflatedExplicitVRLittleEndian), b"\0")
    return BytesIO(head.replace(DeflatedExplicitVRLittleEndian.encode(), plain_uid, 1) + body)
