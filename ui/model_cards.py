"""What model versions are: their cards side by side, how they were trained, and their files."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from lss_core.grading.checkpoint import Card
from lss_core.registry import ModelVersion
from lss_core.settings import Settings
from lss_core.vocabulary import counted
from ui import model_charts
from ui.evaluations import CAUTIONS, KINDS, SETS, evaluated_sets, measured, parts, printed
from ui.tables import table

SHOWN_AT_FIRST = 3
Cell = Callable[[ModelVersion], str]           # HTML
UNITS = {"mm": "mm", "px": "px", "hu": "HU", "s": "s"}     # of a configuration's field, by the end of its name
EMPTY = """
There is no model version in the models folder. Train one, then open this page again:

```
python -m lss_core train classifier --out models
```
"""


def choose(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """The versions to show side by side; a menu where there are more than fit."""
    if not versions:
        st.info(EMPTY, icon=":material/deployed_code:")
        return []
    if len(versions) <= SHOWN_AT_FIRST:
        return list(versions)
    by_name = {version.name: version for version in versions}
    names = st.multiselect("Versions to compare", list(by_name), default=list(by_name)[-SHOWN_AT_FIRST:])
    return [by_name[name] for name in names]


def show(versions: Sequence[ModelVersion]) -> None:
    """The cards with their headline figures, and the files behind them."""
    rows = [[label, *[cell(version) for version in versions]] for label, cell in (*ROWS, *_headline_rows(versions))]
    st.html(table(["", *[version.name for version in versions]], rows, label="Model cards"))
    if sets := evaluated_sets(versions):
        st.caption(f"Headline figures with 95 % intervals by patient. {' '.join(CAUTIONS[name] for name in sets)}")
    for version in versions:
        _show_files(version)


def _headline_rows(versions: Sequence[ModelVersion]) -> Iterator[tuple[str, Cell]]:
    """A row for each evaluated set and kind of region."""
    for set_name in evaluated_sets(versions):
        for kind, title in KINDS.items():
            yield f"{title}<br><small>{SETS[set_name]}</small>", partial(_headline, set_name=set_name, kind=kind)


def _headline(version: ModelVersion, *, set_name: str, kind: str) -> str:
    evaluation = measured(version, set_name).evaluation
    part = next((part for _, part in parts([evaluation] if evaluation else [], kind)), None)
    if part is None:
        return "not evaluated"
    return (
        f"accuracy {printed(part.accuracy)}<br>quadratic kappa {printed(part.quadratic_kappa)}<br>"
        f"<small>{part.regions} regions ({part.missed} missed) of {counted(part.patients, 'patient')}</small>"
    )


def _status(version: ModelVersion) -> str:
    if version.usable:
        return "complete and usable"
    return f"<strong>cannot be used.</strong> {html.escape(version.refusal)}"


def _of_card(text: Callable[[Card], str]) -> Cell:
    """A cell from a card; empty where the card cannot be read."""
    return lambda version: "" if version.card is None else text(version.card)


def _list(values: Sequence[str]) -> str:
    return "<br>".join(html.escape(value) for value in values)


ROWS: tuple[tuple[str, Cell], ...] = (
    ("Files", _status),
    ("Network", _of_card(lambda card: html.escape(str(card.configuration.get("backbone", "not stated"))))),
    ("Trained on", _of_card(lambda card: html.escape(card.data))),
    ("Calibrated on", _of_card(lambda card: html.escape(str(card.calibration.get("measured_on", "not calibrated"))))),
    ("Made on", _of_card(lambda card: html.escape(card.created))),
    ("Weights (SHA-256)", _of_card(lambda card: f"<code>{html.escape(card.weights_sha256)}</code>")),
    ("Licence", _of_card(lambda card: html.escape(card.licence))),
    ("Attributions", _of_card(lambda card: _list(card.attributions))),
    ("Intended use", _of_card(lambda card: html.escape(card.intended_use))),
)


def _show_files(version: ModelVersion) -> None:
    """Downloads of what there is on disk; weights that are not those of the card are not handed out."""
    models = Settings.from_environment().models
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{version.name}**", width="content")
        for label, path, mime in (
            ("Card (JSON)", models / f"{version.name}.json", "application/json"),
            ("Weights (safetensors)", models / f"{version.name}.safetensors", "application/octet-stream"),
            ("Card (HTML)", models / f"{version.name}.html", "text/html"),
        ):
            if path.is_file() and (version.usable or path.suffix == ".json"):
                st.download_button(
                    label, path.read_bytes, path.name, mime, icon=":material/download:", on_click="ignore",
                    key=f"download-{path.name}",
                )


def show_training(versions: Sequence[ModelVersion]) -> None:
    """How each version was trained, side by side, and how its losses fell."""
    cards = [version.card for version in versions if version.card is not None]
    for title, fields_of in (("Network", lambda card: card.configuration), ("Training", lambda card: card.training)):
        st.subheader(title, anchor=False)
        rows = list(_fields([fields_of(card) for card in cards]))
        st.html(table(["", *[card.name for card in cards]], rows, label=f"{title} configuration"))
    st.subheader("Training curve", anchor=False)
    model_charts.curves(versions)
    st.caption("Losses of training and validation data of the run. They say nothing about patients.")


def _fields(values: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """A row for each field that any version has, in the order of the cards."""
    for name in dict.fromkeys(name for each in values for name in each):
        yield [html.escape(field_in_words(name)), *[html.escape(_value(each.get(name, "—"))) for each in values]]


def field_in_words(name: str) -> str:
    """'Canal (mm)' for canal_mm."""
    *words, last = name.split("_")
    if words and last in UNITS:
        return f"{' '.join(words).capitalize()} ({UNITS[last]})"
    return " ".join([*words, last]).capitalize()


def _value(value: Any) -> str:
    if value is None or value in ("", []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)
