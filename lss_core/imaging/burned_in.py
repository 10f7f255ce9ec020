"""Writing in the pixels: rows of small bright shapes that stand in the air around the body.

What is looked for is what scanners and viewers burn in: letters and digits in the air around the body, and such of
the brightest value of all anywhere. Smoothed or grey letters over the body are not found; a file that says of itself
that it holds writing is refused without a look.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from lss_core.imaging.volume import Volume

BRIGHT_HU, AIR_HU = -200, -500
SATURATED_HU = 1500                 # the least of a value that writing over the body would have
LETTER_PX = (5, 48)                 # height; a letter is at most that wide, and may be as narrow as a stroke
LEAST_LETTERS = 4                   # in a row: beads, wires and the edge of the table do not make so many
SAME_LINE = 0.35                    # of a letter's height: how far apart the tops and bottoms of a row may lie
GAP = 2.5                           # times a letter's height: how far apart the letters of a row may lie
FLAGGED = ("Something like writing stands in the picture (slice {}): look at it outside this software, and give the "
           "series without it.")
SAID = "The files say that writing is burned into their pixels; give the series without it."

Extent = tuple[int, int, int, int]  # row0, row1, col0, col1, the ends excluded


def find_writing(volume: Volume) -> str | None:
    """A sentence that names the first slice with something like writing on it, counted from the foot; None where
    there is none."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(has_writing, volume.hu))
    return FLAGGED.format(found.index(True) + 1) if True in found else None


def has_writing(plane: np.ndarray) -> bool:
    """Whether a slice, int16 HU [row, column], holds a row of letters in the air."""
    in_air = [extent for extent in _letters(plane >= BRIGHT_HU) if _stands_in_air(plane, extent)]
    return _has_row(in_air) or _has_row(_letters(plane == max(int(plane.max()), SATURATED_HU)))


def _letters(bright: np.ndarray) -> list[Extent]:
    """Connected shapes of a letter's size."""
    if not bright.any():
        return []
    shapes = np.zeros(bright.shape, np.int32)
    ndimage.label(bright, structure=np.ones((3, 3), int), output=shapes)
    extents = [(rows.start, rows.stop, cols.start, cols.stop) for rows, cols in ndimage.find_objects(shapes)]
    return [extent for extent in extents if _has_letter_size(extent)]


def _has_row(letters: Sequence[Extent]) -> bool:
    ordered = sorted(letters, key=lambda extent: extent[2])
    return any(_row_length(letter, ordered) >= LEAST_LETTERS for letter in ordered)


def _has_letter_size(extent: Extent) -> bool:
    row0, row1, col0, col1 = extent
    return LETTER_PX[0] <= row1 - row0 <= LETTER_PX[1] and col1 - col0 <= LETTER_PX[1]


def _stands_in_air(plane: np.ndarray, extent: Extent) -> bool:
    """Whether the pixels just around a shape are air; letters are smoothed, so one pixel in between may be grey."""
    row0, row1, col0, col1 = extent
    around = plane[max(row0 - 2, 0) : row1 + 2, max(col0 - 2, 0) : col1 + 2]
    edge = np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
    return float(np.mean(edge < AIR_HU)) > 0.8


def _row_length(first: Extent, letters: Sequence[Extent]) -> int:
    """How many letters follow each other on the line that begins with this one, itself included."""
    height, end, count = first[1] - first[0], first[3], 1
    for letter in letters:
        on_line = abs(letter[0] - first[0]) <= SAME_LINE * height and abs(letter[1] - first[1]) <= SAME_LINE * height
        if on_line and first[3] <= letter[2] and letter[2] - end <= GAP * height:
            end, count = letter[3], count + 1
    return count
