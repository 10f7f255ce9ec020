"""The tables that an analysis starts from: readings, reference standard, model grades; read from CSV and checked.

Readings: reader, experience, patient, case, level, region, arm, session, grade, confidence, duration_s; an empty grade
is "not gradable". Optional: position, is_repeat, idle_s, image_quality, not_gradable. Reference: patient, case, region,
grade (empty: not gradable). Model: version, case, region, grade (empty: not found or refused), p0, p1, p2, p3. Further
columns are kept and not used.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lss_core.study.database import Arm
from lss_core.vocabulary import DiscLevel, Grade, Refusal, Region

READING_COLUMNS = (
    "reader", "experience", "patient", "case", "level", "region", "arm", "session", "grade", "confidence", "duration_s",
)
REFERENCE_COLUMNS = ("patient", "case", "region", "grade")
MODEL_COLUMNS = ("version", "case", "region", "grade", "p0", "p1", "p2", "p3")
PROBABILITIES = ("p0", "p1", "p2", "p3")
SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class StudyTables:
    """Checked tables. Grades are floats 0..3, NaN where not gradable; `is_repeat` and `position` are always there.

    `readings` has one row a reader, case, region and showing; `reference` one a case and region; `model` one a version,
    case and region (no rows where there is no model).
    """

    readings: pd.DataFrame
    reference: pd.DataFrame
    model: pd.DataFrame


def read_tables(readings: Path, reference: Path, model: Path | None = None) -> StudyTables:
    """Read and check the CSV files of a study.

    Raises:
        Refusal: a file, column or value that cannot be used, named with its row.
    """
    return check_tables(
        _read_csv(readings, READING_COLUMNS), _read_csv(reference, REFERENCE_COLUMNS),
        _read_csv(model, MODEL_COLUMNS) if model else None,
        names=(readings.name, reference.name, model.name if model else "the model table"),
    )


def check_tables(
    readings: pd.DataFrame, reference: pd.DataFrame, model: pd.DataFrame | None = None, *,
    names: Sequence[str] = ("the readings", "the reference", "the model table"),
) -> StudyTables:
    """Check tables of texts, as they come from CSV files or from a study's database.

    Raises:
        Refusal: as `read_tables`.
    """
    reference = _checked_reference(reference, names[1])
    readings = _checked_readings(readings, reference, names)
    empty = pd.DataFrame(columns=pd.Index([*MODEL_COLUMNS]))
    return StudyTables(readings, reference, empty if model is None else _checked_model(model, reference, names))


def _read_csv(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """All values as texts, so that nothing is guessed; the index is the row of the file, the heading being row 1."""
    if not path.is_file():
        raise Refusal(f"There is no file {path.name}; give the path of a CSV file.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(
            f"{path.name} is not UTF-8 (byte {error.start + 1}); save it as CSV UTF-8 and try again."
        ) from error
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise Refusal(f"{path.name} is not a CSV table ({str(error).strip()}); save it with commas.") from error
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise Refusal(f"{path.name} lacks the column {', '.join(missing)}; it has {', '.join(table.columns)}.")
    if table.empty:
        raise Refusal(f"{path.name} holds no rows.")
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table.assign(**{str(column): table[column].str.strip() for column in table.columns})


def _checked_reference(table: pd.DataFrame, name: str) -> pd.DataFrame:
    _refuse_empty(table, ("patient", "case", "region"), name)
    _refuse_unknown(table, "region", [region.value for region in Region], name)
    _refuse_repeated(table, ("case", "region"), name, "has two reference grades")
    if case := _ambiguous(table, "case", "patient"):
        raise Refusal(f"{name} gives case {case} to several patients; a case is of one patient.")
    return table.assign(grade=_grades(table, "grade", name)).reset_index(drop=True)


def _checked_readings(table: pd.DataFrame, reference: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    name = names[0]
    _refuse_empty(table, ("reader", "patient", "case", "region"), name)
    _refuse_unknown(table, "region", [region.value for region in Region], name)
    _refuse_unknown(table, "arm", [arm.value for arm in Arm], name)
    _refuse_unknown(table, "level", ["", *(level.value for level in DiscLevel)], name)
    table = table.assign(
        grade=_grades(table, "grade", name), confidence=_numbers(table, "confidence", name, (0.0, 100.0)),
        duration_s=_numbers(table, "duration_s", name, (0.0, np.inf)), session=_whole(table, "session", name),
        is_repeat=_flags(table, "is_repeat", name),
        position=_numbers(table, "position", name, (1.0, np.inf)) if "position" in table else np.nan,
    )
    _refuse_repeated(
        table, ("reader", "case", "region", "session", "arm", "is_repeat"), name, "is read twice by the same reader"
    )
    if reader := _ambiguous(table, "reader", "experience"):
        raise Refusal(f"{name} gives reader {reader} several experience levels; a reader has one.")
    return _with_reference(table, reference, names).reset_index(drop=True)


def _with_reference(table: pd.DataFrame, reference: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Refuse readings of what has no reference, or of another patient than the reference says."""
    _refuse_without_reference(table, reference, names[0], names[1])
    patients = dict(zip(reference["case"], reference["patient"], strict=True))
    if (row := _first(table, table["patient"] != [patients[case] for case in table["case"]])) is not None:
        raise Refusal(
            f"Row {row.name} of {names[0]}, column patient: {row['patient']!r} is not the patient of case "
            f"{row['case']} in {names[1]}."
        )
    return table


def _checked_model(table: pd.DataFrame, reference: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    name = names[2]
    _refuse_empty(table, ("version", "case", "region"), name)
    _refuse_unknown(table, "region", [region.value for region in Region], name)
    _refuse_repeated(table, ("version", "case", "region"), name, "is graded twice by the same version")
    table = table.assign(
        grade=_grades(table, "grade", name), **{p: _numbers(table, p, name, (0.0, 1.0)) for p in PROBABILITIES}
    )
    total = table[list(PROBABILITIES)].sum(axis=1, skipna=False)
    if (row := _first(table, total.notna() & ((total - 1).abs() > SUM_TOLERANCE))) is not None:
        raise Refusal(f"Row {row.name} of {name}: p0 to p3 add up to {total[row.name]:.3f}, not 1.")
    _refuse_without_reference(table, reference, name, names[1])
    return table.reset_index(drop=True)


def _refuse_without_reference(table: pd.DataFrame, reference: pd.DataFrame, name: str, reference_name: str) -> None:
    known = set(zip(reference["case"], reference["region"], strict=True))
    unknown = [key not in known for key in zip(table["case"], table["region"], strict=True)]
    if (row := _first(table, unknown)) is not None:
        raise Refusal(
            f"Row {row.name} of {name}: case {row['case']}, region {row['region']} has no grade in {reference_name}; "
            "add it, or remove the row."
        )


def _grades(table: pd.DataFrame, column: str, name: str) -> pd.Series:
    _refuse_unknown(table, column, ["", *(str(int(grade)) for grade in Grade)], name)
    return _as_numbers(table[column])


def _numbers(table: pd.DataFrame, column: str, name: str, bounds: tuple[float, float]) -> pd.Series:
    values = _as_numbers(table[column])
    if (row := _first(table, (table[column] != "") & ~values.between(*bounds))) is not None:
        raise Refusal(
            f"Row {row.name} of {name}, column {column}: {row[column]!r} is not a number from {bounds[0]:g} to "
            f"{bounds[1]:g}."
        )
    return values


def _whole(table: pd.DataFrame, column: str, name: str) -> pd.Series:
    values = _numbers(table, column, name, (1.0, 1000.0))
    if (row := _first(table, values.isna() | (values % 1 != 0))) is not None:
        raise Refusal(f"Row {row.name} of {name}, column {column}: {row[column]!r} is not a whole number from 1.")
    return values.astype(int)


def _flags(table: pd.DataFrame, column: str, name: str) -> pd.Series:
    if column not in table:
        return pd.Series(False, index=table.index)
    meaning: Mapping[str, bool] = {"": False, "0": False, "false": False, "1": True, "true": True}
    lower = table[column].str.lower()
    _refuse_unknown(table.assign(**{column: lower}), column, list(meaning), name)
    return lower.map(meaning).astype(bool)


def _as_numbers(texts: Any) -> pd.Series:
    """NaN for what is empty or no number."""
    return pd.Series(pd.to_numeric(texts, errors="coerce"), index=texts.index, dtype=float)


def _first(table: pd.DataFrame, wrong: Any) -> pd.Series | None:
    """The first row where `wrong` (booleans, one a row) holds; its name is its row in the file."""
    places = np.flatnonzero(np.asarray(wrong))
    return None if places.size == 0 else table.iloc[int(places[0])]


def _ambiguous(table: pd.DataFrame, key: str, value: str) -> str | None:
    """The first key that has several values."""
    pairs = table.drop_duplicates([key, value])
    row = _first(pairs, pairs.duplicated([key]))
    return None if row is None else str(row[key])


def _refuse_unknown(table: pd.DataFrame, column: str, allowed: Sequence[str], name: str) -> None:
    if (row := _first(table, ~table[column].isin(allowed))) is not None:
        shown = ", ".join(value or "empty" for value in allowed)
        raise Refusal(f"Row {row.name} of {name}, column {column}: {row[column]!r} is not one of {shown}.")


def _refuse_empty(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    for column in columns:
        if (row := _first(table, table[column] == "")) is not None:
            raise Refusal(f"Row {row.name} of {name}, column {column} is empty; fill it in.")


def _refuse_repeated(table: pd.DataFrame, columns: Sequence[str], name: str, what: str) -> None:
    if (row := _first(table, table.duplicated(list(columns)))) is not None:
        same = (table[list(columns)] == row[list(columns)]).all(axis=1)
        first = table.index[np.flatnonzero(same)[0]]
        raise Refusal(
            f"Row {row.name} of {name}: case {row['case']}, region {row['region']} {what} (first in row {first}); keep "
            "one."
        )
