"""Weights on disk: `NAME.safetensors` (half precision) beside `NAME.json`, the card that says what they are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from lss_core.vocabulary import RESEARCH_USE, Refusal

LICENCE = "Apache-2.0"
NETWORK_DEFINITIONS = "Network definitions: timm (Apache-2.0)."
ATTRIBUTIONS = (NETWORK_DEFINITIONS, "Weights initialised at random; no pretrained weights are contained.")
Configuration = TypeVar("Configuration")
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Card:
    """What weights are: enough to rebuild the network, to cite it and to distrust it."""

    name: str                               # "v1", "detector"
    network: str                            # "detector", "levels" or "classifier"
    configuration: Mapping[str, Any]        # fields of the network's configuration
    training: Mapping[str, Any]             # fields of the training configuration
    data: str                               # what it was trained on
    metrics: Mapping[str, Any]
    weights_sha256: str
    created: str                            # ISO date
    calibration: Mapping[str, Any] = field(default_factory=dict)    # see lss_core.grading.doubt; {}: not calibrated
    licence: str = LICENCE
    attributions: tuple[str, ...] = ATTRIBUTIONS
    intended_use: str = RESEARCH_USE


def configuration_from(kind: type[Configuration], values: Mapping[str, Any]) -> Configuration:
    """Rebuild a configuration dataclass from a card's JSON fields; refuse unknown and missing ones."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if known != set(values):
        differing = ", ".join(sorted(known ^ set(values)))
        raise Refusal(f"The model card does not fit this version of the software ({differing}); retrain or update.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def save_checkpoint(
    folder: Path, network: nn.Module, *, name: str, kind: str, configuration: Any, training: Mapping[str, Any],
    data: str, metrics: Mapping[str, Any], created: str, calibration: Mapping[str, Any] | None = None,
    attributions: tuple[str, ...] = ATTRIBUTIONS,
) -> Card:
    """Write weights (floating point as float16) and card into `folder`, each complete or not at all."""
    tensors = {key: _halved(key, value) for key, value in network.state_dict().items()}
    weights = save_tensors(tensors)
    card = Card(
        name=name, network=kind, configuration=asdict(configuration), training=dict(training), data=data,
        metrics=dict(metrics), weights_sha256=hashlib.sha256(weights).hexdigest(), created=created,
        calibration=dict(calibration or {}), attributions=attributions,
    )
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{name}.safetensors", weights)
    replace_file(folder / f"{name}.json", (json.dumps(asdict(card), indent=2) + "\n").encode())
    return card


def _halved(key: str, tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor.detach().cpu().contiguous()
    half = tensor.detach().to("cpu", torch.float16).contiguous()
    if not torch.isfinite(half).all():
        raise ValueError(f"Weights {key} do not fit half precision (training has diverged).")
    return half


def replace_file(path: Path, content: bytes) -> None:
    """Write beside `path` and rename, so that a reader never meets half a file."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def read_card(folder: Path, name: str) -> Card:
    """Read `NAME.json`; refuse a missing or malformed one."""
    path = folder / f"{name}.json"
    if not path.is_file():
        raise Refusal(f"There is no model named {name!r} (no file {path.name}); choose one that is listed.")
    try:
        return configuration_from(Card, json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise Refusal(f"The model card {path.name} is not readable ({error}); restore it.") from error


def load_checkpoint(
    folder: Path, name: str, *, kind: str, build: Callable[[Mapping[str, Any]], Network]
) -> tuple[Network, Card]:
    """Rebuild a network from its card and load its weights as float32, in evaluation mode.

    Raises:
        Refusal: a file is missing, the SHA-256 differs from the card's, or configuration and weights do not fit.
    """
    card = read_card(folder, name)
    if card.network != kind:
        raise Refusal(f"Model {name!r} is a {card.network}, not a {kind}; choose another.")
    tensors = _verified_weights(folder / f"{name}.safetensors", card)
    network = build(card.configuration)
    try:
        network.load_state_dict({key: _widened(value) for key, value in tensors.items()}, strict=True)
    except RuntimeError as error:
        raise Refusal(f"The weights of model {name!r} do not fit the network on its card; restore both.") from error
    return network.eval().requires_grad_(False), card


def _verified_weights(path: Path, card: Card) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise Refusal(f"The weights file {path.name} is missing; restore it beside its card.")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != card.weights_sha256:
        raise Refusal(f"The weights file {path.name} is not the one on its card (SHA-256 differs); restore both.")
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise Refusal(f"The weights file {path.name} is not a safetensors file; restore it.") from error


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def record_metrics(folder: Path, name: str, key: str, metrics: Mapping[str, Any]) -> Card:
    """Add figures to a card; the weights and their SHA-256 stay as they are."""
    card = read_card(folder, name)
    recorded = replace(card, metrics={**card.metrics, key: dict(metrics)})
    replace_file(folder / f"{name}.json", (json.dumps(asdict(recorded), indent=2) + "\n").encode())
    return recorded
