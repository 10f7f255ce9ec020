"""A single axial picture (8-bit PNG or JPEG) with typed pixel spacing to a one-slice Volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFile
from pydicom.uid import generate_uid

from lss_core.imaging.limits import Limits
from lss_core.imaging.parsing import third_party
from lss_core.imaging.sources import Unusable, plain_name
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.vocabulary import Refusal

ASSUMED_WIDTH_HU, ASSUMED_LEVEL_HU = 400.0, 40.0     # the soft-tissue window in which such pictures are exported
ASSUMED_THICKNESS_MM = 3.0
SMALLEST_SIDE_PX = 64
SPACING_MM = (0.1, 3.0)
COLOURED = 12               # grey levels between channels; JPEG alone makes a few
ORIENTATION_TAG = 0x0112
NOTE = (
    "A picture, with no Hounsfield units: values are guessed from the grey levels, and grades are of lower "
    "confidence. It is taken to be axial, seen from below, with the patient's left on its right side."
)


def read_picture(path: Path, *, pixel_spacing_mm: tuple[float, float]) -> Volume:
    """Read one axial picture.

    Args:
        path: an 8-bit grey PNG or JPEG.
        pixel_spacing_mm: (row, column), as typed by the user.

    Raises:
        Refusal: not such a picture, damaged, too large or small, or an impossible spacing.
    """
    if not all(SPACING_MM[0] <= spacing <= SPACING_MM[1] for spacing in pixel_spacing_mm):
        raise Refusal(f"A pixel spacing of {pixel_spacing_mm[0]:g} x {pixel_spacing_mm[1]:g} mm is not that of a CT; "
                      f"type one from {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm.")  # fmt: skip
    try:
        with third_party("it is not a whole PNG or JPEG picture; export it again"):
            grey = _read_grey(Path(path))
    except Unusable as reason:
        raise Refusal(f"{plain_name(Path(path).name)} cannot be read: {reason}.") from None
    hu = ASSUMED_LEVEL_HU + (grey.astype(np.float32) / 255 - 0.5) * ASSUMED_WIDTH_HU
    uid = str(generate_uid(entropy_srcs=[grey.tobytes().hex()]))
    return Volume(
        hu=np.rint(hu).astype(np.int16)[None],
        positions_mm=np.zeros(1),
        pixel_spacing_mm=pixel_spacing_mm,
        slice_thickness_mm=ASSUMED_THICKNESS_MM,
        sop_instance_uids=(uid,),
        series_uid=uid,
        stored=StoredPlane((grey.shape[0], grey.shape[1])),
        is_dicom=False,
        has_hounsfield=False,
        notes=(NOTE,),
    )


def _read_grey(path: Path) -> np.ndarray:
    """Read uint8 [row, column]."""
    limits = Limits()
    if path.stat().st_size > limits.file_bytes:
        raise Unusable("it is larger than the limit")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise Unusable("this process lets truncated pictures pass; set ImageFile.LOAD_TRUNCATED_IMAGES to False")
    with Image.open(path, formats=["PNG", "JPEG"]) as picture:
        columns, rows = picture.size
        if max(columns, rows) > limits.side_px or min(columns, rows) < SMALLEST_SIDE_PX:
            raise Unusable(f"its {rows} x {columns} pixels are outside {SMALLEST_SIDE_PX} to {limits.side_px} a side")
        if getattr(picture, "n_frames", 1) != 1:
            raise Unusable("it is animated; give a single picture")
        if picture.getexif().get(ORIENTATION_TAG, 1) != 1:
            raise Unusable("it is rotated by a camera's tag; save it upright")
        if picture.mode not in ("L", "LA", "P", "RGB", "RGBA", "1"):
            raise Unusable("it is not an 8-bit picture; export it as 8-bit grey")
        return _to_grey(np.asarray(picture.convert("RGB")))


def _to_grey(colours: np.ndarray) -> np.ndarray:
    """Take the grey of [row, column, 3], where it is grey all over."""
    apart = np.ptp(colours, axis=2)
    if float(np.mean(apart > COLOURED)) > 0.002:
        raise Unusable("it is in colour (drawn on, or a heat map); export the plain grey image")
    return np.ascontiguousarray(colours[:, :, 1])
