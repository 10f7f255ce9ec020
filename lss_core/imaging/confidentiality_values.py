"""The checks that a value must pass to stay: known words, numbers in a range, shifted dates. What fails is dropped.

A check never trusts the type that a file states for a value: a file may say that Rows is a person's name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from pydicom.uid import UID

from lss_core.imaging.deidentify import known_kernel, known_manufacturer

OLDEST_YEARS = 89
MOST_VALUES = 8                                     # of one attribute; the widest kept one has six
DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
AGE = re.compile(r"(\d{3})([DWMY])")
WORDS = {
    "image-type": {"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "AXIAL", "MPR", "REFORMATTED", "AVERAGE", "HELICAL",
                   "VOLUME", "NONE", "RESAMPLED", "CT_SOM5 SPI"},
    "modality": {"CT"},
    "sex": {"M", "F", "O"},
    "body-part": {"LSPINE", "SPINE", "LSSPINE", "TLSPINE", "TSPINE", "CSPINE", "SSPINE", "SACRUM", "PELVIS", "ABDOMEN",
                  "ABDOMENPELVIS", "CHESTABDPELVIS", "CHEST", "HIP"},
    "patient-position": {"HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"},
    "rotation": {"CW", "CC"},
    "lossy": {"00", "01"},
    "rescale-type": {"HU", "US"},
    "photometric": {"MONOCHROME1", "MONOCHROME2"},
}
ONE_OF_A_KIND: dict[str, Callable[[str], str | None]] = {
    "manufacturer": known_manufacturer, "kernel": known_kernel,
}


def checked(values: Sequence[Any], how: str, *, shift_days: int) -> list[Any] | None:
    """What may stay of an attribute's values by the check `how`; None where nothing may."""
    if not 0 < len(values) <= MOST_VALUES:
        return None
    kind, *bounds = how.split()
    kept = [_one(value, kind, bounds, shift_days) for value in values]
    if kind == "image-type":
        kept = [word for word in kept if word is not None]
    return kept if kept and None not in kept else None


def _one(value: Any, kind: str, bounds: Sequence[str], shift_days: int) -> Any:
    if kind == "number":
        return _number(value, *map(float, bounds))
    text = str(value).strip()
    if kind in WORDS:
        return text.upper() if text.upper() in WORDS[kind] else None
    if kind in ONE_OF_A_KIND:
        return ONE_OF_A_KIND[kind](text)
    return {"date": lambda: shifted(text, shift_days), "age": lambda: capped_age(text),
            "standard-uid": lambda: text if UID(text).name != text else None}[kind]()


def _number(value: Any, low: float, high: float, decimals: float) -> float | int | None:
    """Rounded, so that no number rides along behind the decimals that have a meaning."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number) or not low <= number <= high:
        return None
    return round(number, int(decimals)) if decimals else round(number)


def shifted(text: str, days: int) -> str | None:
    """A DICOM date so many days earlier; None where it is no date."""
    found = DATE.fullmatch(text)
    try:
        return (date(*map(int, found.groups())) - timedelta(days)).strftime("%Y%m%d") if found else None
    except (ValueError, OverflowError):
        return None


def capped_age(text: str) -> str | None:
    """A DICOM age in whole years, at most 89 (of a very old person the age alone can tell who it is)."""
    years = age_years(text)
    return None if years is None else f"{years:03d}Y"


def age_years(text: str) -> int | None:
    """Whole years of a DICOM age, at most 89; None where it is none."""
    found = AGE.fullmatch(text.strip())
    if not found:
        return None
    in_a_year = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[found[2]]
    return min(int(int(found[1]) / in_a_year), OLDEST_YEARS)
