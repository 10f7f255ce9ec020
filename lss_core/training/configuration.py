"""A model version as a file: `{"training": {...}, "network": {...}}`, fields of the configurations by name."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from lss_core.vocabulary import Refusal

Configuration = TypeVar("Configuration")
Network = TypeVar("Network")


def read_configuration(
    path: Path, *, training: Configuration, network: Network
) -> tuple[Configuration, Network]:
    """Replace the defaults' fields by those that a file names.

    Raises:
        Refusal: the file cannot be read, or names what is not a field or has another type.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        parts = {name: dict(given.pop(name, {})) for name in ("training", "network")}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise Refusal(f"The configuration {path.name} cannot be read ({error}); write it as JSON.") from error
    if given:
        raise Refusal(f"{path.name} holds {', '.join(given)}; only `training` and `network` are known.")
    return _replaced(training, parts["training"], path), _replaced(network, parts["network"], path)


def _replaced(defaults: Configuration, values: dict[str, Any], path: Path) -> Configuration:
    known = {field.name: getattr(defaults, field.name) for field in fields(defaults)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise Refusal(f"{path.name} names {name!r}, which is no field; known are {', '.join(known)}.")
        if isinstance(known[name], Path) or (known[name] is None and isinstance(value, str)):
            values[name] = Path(value)
        elif known[name] is not None and not isinstance(value, type(known[name])) and not (
            isinstance(known[name], float) and isinstance(value, int) and not isinstance(value, bool)
        ):
            raise Refusal(f"{path.name} gives {name} as {value!r}; it is a {type(known[name]).__name__}.")
    return replace(defaults, **values)  # type: ignore[type-var]
