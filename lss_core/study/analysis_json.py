"""The analysis as JSON and back: the same text for the same analysis, bit by bit."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from lss_core.study.analysis_values import StudyAnalysis
from lss_core.vocabulary import RESEARCH_USE, Refusal

FORMAT = "lumbar-stenosis-analysis 1"
SIMULATED = "SIMULATED: the readers or cases of this study are simulated; no figure of it is clinical. "
INFINITE = {"Infinity": math.inf, "-Infinity": -math.inf}


def note_of(analysis: StudyAnalysis) -> str:
    """What must stand on everything that shows the analysis."""
    return (SIMULATED if analysis.simulated else "") + RESEARCH_USE


def analysis_as_json(analysis: StudyAnalysis) -> str:
    """JSON text: what is not defined is null, an infinite number "Infinity"; all digits are kept."""
    content = {"format": FORMAT, "note": note_of(analysis), "analysis": _plain(analysis)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def analysis_from_json(text: str) -> StudyAnalysis:
    """The inverse of `analysis_as_json`.

    Raises:
        Refusal: it is not an analysis as this version of the software writes it.
    """
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise Refusal(f"The analysis has the format {content['format']!r}, not {FORMAT!r}; make it again.")
        return _built(StudyAnalysis, content["analysis"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal(f"This is not an analysis as this version of the software writes it ({error}).") from error


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        hints = _hints(type(value))
        return {
            each.name: _plain(float(own) if hints[each.name] is float else own)     # a whole one too
            for each in fields(value) for own in [getattr(value, each.name)]
        }
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return None if math.isnan(value) else value if math.isfinite(value) else ("-" * (value < 0) + "Infinity")
    return value


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _built(hint: Any, value: Any) -> Any:
    """A value of the annotated type; a null number is NaN."""
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return None if value is None else _built(next(a for a in arguments if a is not types.NoneType), value)
    if is_dataclass(hint):
        hints = _hints(hint)
        return hint(**{each.name: _built(hints[each.name], value[each.name]) for each in fields(hint)})  # type: ignore[operator]
    if typing.get_origin(hint) is tuple:
        kinds = [arguments[0]] * len(value) if Ellipsis in arguments else arguments
        return tuple(_built(kind, each) for kind, each in zip(kinds, value, strict=True))
    if typing.get_origin(hint) is Mapping:
        return {key: _built(arguments[1], each) for key, each in value.items()}
    if hint is float:
        return math.nan if value is None else INFINITE[value] if isinstance(value, str) else float(value)
    return hint(value)
