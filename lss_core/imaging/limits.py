"""How much one upload may ask of the machine."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds checked before memory is taken; a lumbar CT stays far below all of them."""

    files: int = 20_000                  # files in one upload, after unpacking
    file_bytes: int = 512 * MIB          # one file, after unpacking
    total_bytes: int = 4096 * MIB        # all files together, after unpacking
    zip_ratio: float = 100.0             # unpacked to packed bytes of a whole archive above `zip_ratio_from_bytes`
    zip_ratio_from_bytes: int = 64 * MIB
    header_bytes: int = 32 * MIB         # parsed before the pixels, 64 added for each read; bounds its time
    side_px: int = 4096                  # rows or columns
    voxels: int = 512 * 512 * 2000       # of one volume: 1 GiB as int16
