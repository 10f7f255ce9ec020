"""Stored frames to HU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    RLELossless,
)

from lss_core.imaging.codestream import JPEG_FAMILY, CorruptFrame, FrameSize, read_frame_size
from lss_core.imaging.deidentify import KEPT_WITH_PIXELS
from lss_core.imaging.headers import SliceHeader
from lss_core.imaging.limits import Limits
from lss_core.imaging.parsing import CORRUPT, parse_dicom, third_party
from lss_core.imaging.sources import Source, Unusable

PADDING_HU = -1024
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
# One decoder each, chosen by mutation fuzzing. pyjpegls is three times faster on JPEG-LS, but CharLS counts through
# 2**31 bits (10 s, holding the interpreter lock) when the data end early; pylibjpeg-rle prints a Rust backtrace.
PLUGINS = {
    **{uid: "pylibjpeg" for uid in (*JPEG_FAMILY, *JPEG2000TransferSyntaxes)},
    RLELossless: "pydicom",
}
END_OF_CODESTREAM = b"\xff\xd9"     # of JPEG, JPEG-LS and JPEG 2000 alike


def read_hu(source: Source, slices: Sequence[SliceHeader], *, limits: Limits) -> Iterator[np.ndarray]:
    """Decode the wanted frames of one file, one at a time, to int16 HU [row, column] as stored.

    Padding and everything below -1024 HU is -1024.

    Raises:
        Unusable: truncated or corrupt, or encoded in a way that no decoder here reads.
    """
    stored = parse_dicom(source, keep=KEPT_WITH_PIXELS, limits=limits, with_pixels=True)
    wanted = [header.frame for header in slices]
    shapes = {(header.rows, header.columns) for header in slices}
    for shape in shapes:                        # one, as all frames of a file share their size
        for frame, header in zip(decode_frames(stored, wanted, shape=shape), slices, strict=True):
            with third_party():
                hu = to_hu(frame, header)
            yield hu


def decode_frames(stored: FileDataset, wanted: Iterable[int], *, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Decode frames of a parsed file, by their 0-based index, to arrays [row, column] of stored values.

    Bits that no value uses are cleared: old files keep drawings and names in them (PS3.5 8.1.1).

    Raises:
        Unusable: truncated or corrupt, of another shape, or encoded in a way that no decoder here reads.
    """
    with third_party():
        transfer_syntax = stored.file_meta.get("TransferSyntaxUID") or _guess_transfer_syntax(stored)
        plugin = _choose_plugin(transfer_syntax)
        decoder = get_decoder(transfer_syntax)
    for index in wanted:
        with third_party():
            size = _check_frame(stored, transfer_syntax, index, shape)
        twelve_bit_lossy = transfer_syntax == JPEGExtended12Bit and size is not None and size.precision > 8
        reason = "it is 12-bit lossy JPEG, which no decoder here reads; export it uncompressed"
        with third_party(reason if twelve_bit_lossy else CORRUPT):
            frame, _ = decoder.as_array(
                stored, index=index, raw=True, decoding_plugin=plugin,
                correct_unused_bits=True,  # type: ignore[arg-type]  # its options are annotated as one of them
            )
            if frame.shape != shape:
                raise Unusable(CORRUPT)
        yield frame


def to_hu(frame: np.ndarray, header: SliceHeader) -> np.ndarray:
    """Rescale stored values to int16 HU; padding becomes -1024."""
    hu = np.rint(frame.astype(np.float32) * np.float32(header.slope) + np.float32(header.intercept))
    np.clip(hu, PADDING_HU, np.iinfo(np.int16).max, out=hu)
    if header.padding is not None:
        hu[(frame >= header.padding[0]) & (frame <= header.padding[1])] = PADDING_HU
    return hu.astype(np.int16)


def _guess_transfer_syntax(stored: FileDataset) -> UID:
    """For a file without meta information: how its elements were parsed."""
    implicit, little = stored.original_encoding
    return UID(NATIVE[0] if implicit else NATIVE[1] if little else NATIVE[2])


def _choose_plugin(transfer_syntax: UID) -> str:
    if transfer_syntax in NATIVE:
        return ""
    if transfer_syntax not in PLUGINS:
        raise Unusable("its compression is not one that is read here; export it uncompressed")
    return PLUGINS[transfer_syntax]


def _check_frame(
    stored: FileDataset, transfer_syntax: UID, index: int, shape: tuple[int, int]
) -> FrameSize | None:
    """Check that the pixel data are whole and of the header's size before a decoder believes them."""
    frames = int(stored.get("NumberOfFrames") or 1)
    data = stored.PixelData
    if transfer_syntax in NATIVE:
        if len(data) < frames * shape[0] * shape[1] * stored.BitsAllocated // 8:
            raise Unusable(CORRUPT)
        return None
    frame = get_frame(data, index, number_of_frames=frames)
    try:
        size = read_frame_size(frame, transfer_syntax)
    except CorruptFrame:
        raise Unusable(CORRUPT) from None
    if size is None:
        return None
    if (size.rows, size.columns, size.samples) != (*shape, 1) or size.precision > 16:
        raise Unusable(CORRUPT)
    if END_OF_CODESTREAM not in frame[-16:]:
        raise Unusable(CORRUPT)
    return size
