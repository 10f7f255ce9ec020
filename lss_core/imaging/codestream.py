"""What a compressed frame says of its own size, read before any decoder sees it.

Decoders believe the frame: one of 65535 x 65535 pixels in a few hundred bytes makes them allocate gigabytes or run
for seconds. The DICOM header was checked already, so a frame that disagrees with it is corrupt.
Markers: ITU-T T.81 table B.1 (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, JPEG_LS_EXTENSION = 0xD8, 0xD9, 0xDA, 0xF8
START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
LENGTHLESS = {0x01, *range(0xD0, 0xD8)}
MAX_TILES = 4096
JPEG_FAMILY = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)


class CorruptFrame(ValueError):
    """The compressed frame is damaged, or describes another picture than the DICOM header."""


@dataclass(frozen=True)
class FrameSize:
    """Rows, columns, samples per pixel and bits per sample, as the compressed frame states them."""

    rows: int
    columns: int
    samples: int
    precision: int


def read_frame_size(frame: bytes, transfer_syntax: UID) -> FrameSize | None:
    """Read the size from the codestream's header; None for a transfer syntax without one (native, RLE).

    Raises:
        CorruptFrame: the header is damaged.
    """
    try:
        if transfer_syntax in JPEG_FAMILY:
            return _read_jpeg_size(frame)
        if transfer_syntax in JPEG2000TransferSyntaxes:
            return _read_jpeg2000_size(frame)
    except (struct.error, IndexError) as error:
        raise CorruptFrame("The compressed frame's header is cut short.") from error
    return None


def _read_jpeg_size(frame: bytes) -> FrameSize:
    size: FrameSize | None = None
    position = 2
    if frame[:2] != bytes([0xFF, START_OF_IMAGE]):
        raise CorruptFrame("The frame does not start as a JPEG does.")
    while True:
        marker, position = _next_marker(frame, position)
        if marker in LENGTHLESS:
            continue
        length = struct.unpack_from(">H", frame, position)[0]
        if marker in START_OF_FRAME:
            if size is not None:
                raise CorruptFrame("The frame holds two pictures.")
            precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, position + 2)
            size = FrameSize(rows, columns, samples, precision)
        if marker == JPEG_LS_EXTENSION and frame[position + 2] == 4:
            raise CorruptFrame("The frame redefines its own size.")
        if marker == START_OF_SCAN:
            if size is None:
                raise CorruptFrame("The frame has no size.")
            return size
        if length < 2 or marker in (END_OF_IMAGE, START_OF_IMAGE):
            raise CorruptFrame("The frame's markers are out of order.")
        position += length


def _next_marker(frame: bytes, position: int) -> tuple[int, int]:
    if frame[position] != 0xFF:
        raise CorruptFrame("A marker is missing.")
    while frame[position] == 0xFF:
        position += 1
    return frame[position], position + 1


def _read_jpeg2000_size(frame: bytes) -> FrameSize:
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)    # past JP2 boxes, which some writers leave in
    if start < 0:
        raise CorruptFrame("The frame does not start as a JPEG 2000 does.")
    x1, y1, x0, y0, tile_width, tile_height, tile_x0, tile_y0, samples = struct.unpack_from(
        ">8IH", frame, start + 8
    )
    if tile_width == 0 or tile_height == 0 or x1 <= x0 or y1 <= y0:
        raise CorruptFrame("The frame has no pixels.")
    tiles = -(-(x1 - tile_x0) // tile_width) * -(-(y1 - tile_y0) // tile_height)
    if not 0 < tiles <= MAX_TILES:
        raise CorruptFrame("The frame has too many tiles.")
    precision, step_x, step_y = frame[start + 42], frame[start + 43], frame[start + 44]
    if step_x != 1 or step_y != 1:
        raise CorruptFrame("The frame is subsampled.")
    return FrameSize(y1 - y0, x1 - x0, samples, (precision & 0x7F) + 1)
