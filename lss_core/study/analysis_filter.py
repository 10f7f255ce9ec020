"""A part of a study, chosen by reader, region and case; every figure names what it is of."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from lss_core.study.readings import StudyTables
from lss_core.vocabulary import Refusal

# A pd.DataFrame; the type checker takes a selection of its rows for a column or an array.
Frame = Any
FLAGGED, NOT_FLAGGED = "flagged", "not flagged"


@dataclass(frozen=True)
class StudyFilter:
    """What is kept; an empty tuple keeps everything.

    Attributes:
        grades: Of the reference.
        quality: "flagged" keeps the cases whose image quality at least one reader remarked on, "not flagged" the rest.
    """

    readers: tuple[str, ...] = ()
    experience: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    sessions: tuple[int, ...] = ()
    regions: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    grades: tuple[int, ...] = ()
    quality: str = ""
    versions: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As figures print it."""
        names = {"experience": "experience", "grades": "reference grade", "quality": "image quality"}
        parts = []
        for each in fields(self):
            if value := getattr(self, each.name):
                chosen = value if isinstance(value, str) else ", ".join(str(one).replace("_", " ") for one in value)
                parts.append(f"{names.get(each.name, each.name)} {chosen}")
        return "; ".join(parts) or "everything"


def apply_filter(tables: StudyTables, kept: StudyFilter) -> StudyTables:
    """The tables with what the filter keeps.

    Raises:
        Refusal: a value that the study does not have, or nothing is left.
    """
    readings: Frame = tables.readings
    reference: Frame = tables.reference
    for column, values in (("reader", kept.readers), ("experience", kept.experience), ("arm", kept.arms),
                           ("session", kept.sessions), ("region", kept.regions), ("level", kept.levels)):
        readings = _kept(readings, column, values)
    cases = _cases_of_quality(tables.readings, kept.quality)
    if cases is not None:
        readings = readings[readings["case"].isin(cases)]
    reference = _kept(_kept(reference, "region", kept.regions), "grade", kept.grades)
    if kept.grades:
        asked = pd.MultiIndex.from_frame(reference[["case", "region"]])
        readings = readings[pd.MultiIndex.from_frame(readings[["case", "region"]]).isin(asked)]
    if readings.empty:
        raise Refusal(f"No reading is left with the filter: {kept}. Widen it.")
    return replace(tables, readings=readings, reference=reference, model=_kept(tables.model, "version", kept.versions))


def _kept(table: Frame, column: str, values: tuple) -> Frame:
    if not values:
        return table
    known = set(table[column].dropna().tolist())
    unknown = [value for value in values if value not in known]
    if len(unknown) == len(values):
        raise Refusal(f"No {column} is {unknown[0]!r} in this study; {', '.join(map(str, sorted(known)))} are there.")
    return table[table[column].isin(values)]


def _cases_of_quality(readings: Frame, quality: str) -> set[str] | None:
    """Names of the cases to keep, by the flags of all readers; None keeps all."""
    if not quality:
        return None
    if quality not in (FLAGGED, NOT_FLAGGED):
        raise Refusal(f'Image quality "{quality}": "{FLAGGED}" and "{NOT_FLAGGED}" are known.')
    flagged = set(readings["case"][quality_flags(readings)])
    return flagged if quality == FLAGGED else set(readings["case"]) - flagged


def quality_flags(readings: Frame) -> np.ndarray:
    """bool [reading]: the reader remarked on the image quality."""
    if "image_quality" not in readings:
        return np.zeros(len(readings), bool)
    return np.asarray(readings["image_quality"].fillna("") != "", bool)
