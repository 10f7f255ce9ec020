"""The evaluations on model cards, and how their figures are printed."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from lss_core.grading.checkpoint import Card
from lss_core.registry import ModelVersion, Stamp, files_stamp
from lss_core.settings import Settings
from lss_core.statistics.estimate import Estimate
from lss_core.training.evaluation import Evaluation, Performance, evaluation_from_json

# In the order in which the page offers them; the keys are those of a card's metrics["evaluation"].
SETS = {"simulated": "Simulated CT", "imposed": "Narrowing imposed on real CT", "real": "Real CT"}
KINDS = {"central": "Central canal", "recess": "Lateral recess"}
CAUTIONS = {
    "simulated": "Simulated CT: these figures say nothing about patients.",
    "imposed": "Narrowing drawn by software into real CT, which no patient has: these figures are not clinical.",
    "real": "Real CT against the reference that its data set states; not a clinical validation.",
}
SCANS = {                                       # flags of the command that evaluates on a set
    "simulated": "--simulated {patients} --seed {seed}", "imposed": "--data DIR --scans imposed",
    "real": "--data DIR --scans real",
}
EVALUATION_SEED = re.compile(r"evaluation seed (\d+)")


@dataclass(frozen=True)
class Measured:
    """One version on one set; `evaluation` is None where none was made, or where `problem` says why it is not shown."""

    version: str
    set_name: str
    evaluation: Evaluation | None
    problem: str = ""


def command(set_name: str, versions: Sequence[str], *, patients: int = 200, seed: str = "1000002") -> str:
    """What evaluates versions on a set, keeps the outcomes and the pictures of failures, and fills the cards."""
    scans = SCANS[set_name].format(patients=patients, seed=seed)
    return f"python -m lss_core evaluate {scans} --model {' '.join(versions)} --resume runs/{set_name} --record"


def same_again(found: Sequence[Evaluation]) -> str:
    """The command that these evaluations came from, as far as they say it."""
    seed = EVALUATION_SEED.search(found[0].statement)
    return command(
        found[0].set_name, [each.model_version for each in found], patients=found[0].patients,
        seed=seed.group(1) if seed else "SEED",
    )


def measured(version: ModelVersion, set_name: str) -> Measured:
    """What a version's card holds about a set, read once for as long as the card stays the same."""
    models = Settings.from_environment().models
    return _measured(version, set_name, version.name, models, files_stamp(models, version.name))


@st.cache_resource(show_spinner=False, max_entries=64)
def _measured(_version: ModelVersion, set_name: str, name: str, models: Path, files: Stamp) -> Measured:
    version, card = _version, _version.card
    if card is None:
        return Measured(version.name, set_name, None, version.refusal)
    recorded = card.metrics.get("evaluation", {})
    if set_name not in recorded:
        return Measured(version.name, set_name, None)
    try:
        evaluation = evaluation_from_json(recorded[set_name])
    except ValueError as error:
        return Measured(version.name, set_name, None, f"The evaluation on the card of {version.name}: {error}")
    if evaluation.weights_sha256 != card.weights_sha256:
        return Measured(version.name, set_name, None, _other_weights(card, evaluation))
    return Measured(version.name, set_name, replace(evaluation, model_version=version.name))     # it may be a copy


def _other_weights(card: Card, evaluation: Evaluation) -> str:
    return (
        f"The figures of {card.name} were measured on other weights ({evaluation.weights_sha256[:12]}) than those on "
        f"its card ({card.weights_sha256[:12]}), so they are not shown; evaluate again."
    )


def evaluated_sets(versions: Sequence[ModelVersion]) -> list[str]:
    """The sets on which any version was evaluated."""
    return [name for name in SETS if any(measured(version, name).evaluation for version in versions)]


def parts(found: Sequence[Evaluation], kind: str) -> Iterator[tuple[Evaluation, Performance]]:
    """The evaluations whose reference has this kind of region."""
    for evaluation in found:
        part = evaluation.central if kind == "central" else evaluation.recess
        if part is not None:
            yield evaluation, part


def printed(estimate: Estimate, *, digits: int = 3, unit: str = "") -> str:
    """HTML: the figure with its interval, or why there is none."""
    if math.isnan(estimate.value):
        return f"not defined <small>{html.escape(estimate.undefined)}</small>"
    value = f"{estimate.value:.{digits}f}{unit}"
    if math.isnan(estimate.low + estimate.high):
        return f"{value} <small>no interval: {html.escape(estimate.undefined)}</small>"
    dash = " to " if estimate.low < 0 else "–"
    return f"{value} <small class='interval'>({estimate.low:.{digits}f}{dash}{estimate.high:.{digits}f})</small>"


def p_value(p: float) -> str:
    """'0.034', '< 0.001', or that it is not defined."""
    if math.isnan(p):
        return "not defined"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
