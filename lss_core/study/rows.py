"""Rows of the tables as plain values that JSON holds, and back: what export, import, backup and restore share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column
from sqlalchemy import Table as SqlTable

from lss_core.vocabulary import Refusal


def encode(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as JSON holds it; moments become ISO 8601 in UTC with microseconds."""
    return {name: _encoded(value) for name, value in row.items()}


def decode(table: SqlTable, values: Mapping[str, Any], *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A row as the database takes it.

    Args:
        without: Columns that are left out of the row.

    Raises:
        Refusal: a column is missing or unknown, or a value is not of the column's type.
    """
    wanted = [column for column in table.columns if column.name not in without]
    if not isinstance(values, Mapping):
        raise Refusal(f"A row of {table.name} is {values!r}, not a set of named values.")
    if odd := sorted(set(values) ^ {column.name for column in wanted}):
        raise Refusal(f"A row of {table.name} has other columns than this software knows: {', '.join(odd)}.")
    return {column.name: _decoded(table, column, values[column.name]) for column in wanted}


def _encoded(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value


def _decoded(table: SqlTable, column: Column[Any], value: Any) -> Any:
    kind = getattr(column.type, "impl_instance", column.type).python_type
    try:
        if value is None and column.nullable:
            return None
        if kind is datetime and isinstance(value, str):
            return _moment(value)
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is kind:
            return value
    except ValueError:
        pass                                    # told below, together with values of another type
    raise Refusal(f"A row of {table.name} holds {value!r} in column {column.name}, which is not a {kind.__name__}.")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment
