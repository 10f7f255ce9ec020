"""Whether a reconstruction kernel is soft or sharp, by each maker's naming."""

from __future__ import annotations

import re

SOFT, SHARP, UNKNOWN = "soft", "sharp", "unnamed"
GE_SOFT = {"STANDARD", "STND", "SOFT", "SOFT TISSUE", "CHST", "DETAIL"}
GE_SHARP = {"BONE", "BONEPLUS", "BONE PLUS", "LUNG", "EDGE", "ULTRA"}
PHILIPS_SOFT = {"A", "B", "C", "SA", "SB", "SC", "UA", "UB", "UC", "IPSC"}
PHILIPS_SHARP = {"D", "E", "F", "L", "YA", "YB", "YC", "YD"}
SIEMENS_SHARP_FROM = 50        # B30f, Br40, I31f are soft; B60f, Hr59, B70s are sharp
CANON_SHARP_FROM = 30          # FC01-29 body and brain; FC30 bone, FC50 lung, FC80 high resolution


def kernel_class(kernel: str | None, manufacturer: str | None) -> str:
    """Return "soft", "sharp", or "unnamed" where the name is missing or unknown."""
    name = (kernel or "").upper()
    if name in GE_SOFT or (name in PHILIPS_SOFT and manufacturer in (None, "Philips")):
        return SOFT
    if name in GE_SHARP or (name in PHILIPS_SHARP and manufacturer in (None, "Philips")):
        return SHARP
    canon = re.fullmatch(r"FC(\d{2}).?", name)
    if canon:
        return SHARP if int(canon[1]) >= CANON_SHARP_FROM else SOFT
    siemens = re.fullmatch(r"[A-Z]{1,2}(\d{2})[A-Z]?", name)
    if siemens:
        return SHARP if int(siemens[1]) >= SIEMENS_SHARP_FROM else SOFT
    return UNKNOWN
