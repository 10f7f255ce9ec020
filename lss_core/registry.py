"""The classifier versions of an installation, which one is its default, and the log of who changed that."""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from lss_core.grading.checkpoint import Card, load_checkpoint, read_card
from lss_core.grading.classifier import build_classifier
from lss_core.grading.detector import build_detector
from lss_core.grading.doubt import calibration_of
from lss_core.grading.levels import build_level_network
from lss_core.grading.pipeline import SHARED_DETECTOR, detector_of
from lss_core.json_lines import append_line
from lss_core.permissions import Permission, check
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal

SHIPPED_DEFAULT = "v1"
SHARED = {"detector": build_detector, "levels": build_level_network}    # networks that all versions use
SETTINGS_FILE, LOG_FILE = "settings.json", "default_model.log.jsonl"

Stamp = tuple[tuple[str, int, int], ...]         # of files: name, time of change (ns) and size of each

_one_writer = threading.Lock()


@dataclass(frozen=True)
class ModelVersion:
    """One version of the classifier, as its files are on disk."""

    name: str
    card: Card | None           # None where it cannot be read
    refusal: str = ""           # the sentence that says why it cannot be used; empty where it can

    @property
    def usable(self) -> bool:
        return not self.refusal


class Source(StrEnum):
    """Who says which version is the default."""

    ENVIRONMENT = "LSS_MODEL"
    CHOSEN = "chosen"           # on the Models page
    SHIPPED = "shipped"         # nobody has chosen yet


@dataclass(frozen=True)
class DefaultModel:
    """The version that grades where the user names none; `weights_sha256` is that of the weights when it was chosen."""

    version: str
    source: Source
    weights_sha256: str | None = None


@dataclass(frozen=True)
class DefaultChange:
    """One line of the log."""

    at: str                     # UTC, ISO 8601
    who: str
    before: str
    after: str
    weights_sha256: str


@dataclass(frozen=True)
class ChangeLog:
    """The changes that could be read, oldest first, and the numbers of the lines that could not."""

    changes: tuple[DefaultChange, ...] = ()
    unreadable_lines: tuple[int, ...] = ()


def list_versions(models: Path) -> tuple[ModelVersion, ...]:
    """Every classifier in a folder, in the order of its name (v2 before v10), each loaded once to see that it works."""
    names = {path.stem for ending in ("json", "safetensors") for path in models.glob(f"*.{ending}")}
    versions = [read_version(models, name) for name in sorted(names - set(SHARED), key=_natural)]
    return tuple(version for version in versions if version.card is None or version.card.network == "classifier")


def list_detectors(models: Path) -> tuple[str, ...]:
    """Names of the usable region detectors in a folder, which a classifier may grade with; the shared one first."""
    own = []
    for path in sorted(models.glob("*.json"), key=lambda path: _natural(path.stem)):
        try:
            _, card = load_checkpoint(models, path.stem, kind="detector", build=build_detector)
        except Refusal:
            continue                            # another network, or a damaged one, which cannot grade
        if card.name != SHARED_DETECTOR:
            own.append(card.name)
    return SHARED_DETECTOR, *own


def read_version(models: Path, name: str) -> ModelVersion:
    """The card of one version, and whether its files are whole and fit this software."""
    try:
        card = read_card(models, name)
    except Refusal as refusal:
        return ModelVersion(name, None, str(refusal))
    try:
        _check(models, name, card)
    except Refusal as refusal:
        return ModelVersion(name, card, str(refusal))
    return ModelVersion(name, card)


def _check(models: Path, name: str, card: Card) -> None:
    """Raise Refusal unless a card is its file's, its calibration can be read, and its weights load into its network."""
    if card.name != name:
        raise Refusal(f"The card {name}.json is that of model {card.name!r}; rename both files or restore them.")
    load_checkpoint(models, name, kind="classifier", build=build_classifier)
    if (detector := detector_of(card)) != SHARED_DETECTOR:
        load_checkpoint(models, detector, kind="detector", build=build_detector)
    try:
        calibration_of(card.calibration)
    except TypeError as error:
        raise Refusal(f"The calibration on the card {name}.json is not readable ({error}); restore it.") from error


def refused_shared_networks(models: Path) -> tuple[str, ...]:
    """A sentence for each of the networks that all versions need and that cannot be loaded."""
    refusals = []
    for name, build in SHARED.items():
        try:
            load_checkpoint(models, name, kind=name, build=build)
        except Refusal as refusal:
            refusals.append(str(refusal))
    return tuple(refusals)


def files_stamp(models: Path, *names: str) -> Stamp:
    """The stamp of the files of these models (no name: of all), to see when they change."""
    paths = [models / f"{name}.{ending}" for name in names for ending in ("json", "safetensors")] or [
        path for ending in ("json", "safetensors") for path in models.glob(f"*.{ending}")
    ]
    stats = [(path.name, path.stat()) for path in sorted(paths) if path.is_file()]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


def default_model(settings: Settings) -> DefaultModel:
    """The default version: LSS_MODEL, or else the chosen one, or else the shipped one.

    Raises:
        Refusal: the settings file cannot be read; nothing is assumed in its place.
    """
    if settings.model_version:
        return DefaultModel(settings.model_version, Source.ENVIRONMENT)
    path = settings.data / SETTINGS_FILE
    if not path.exists():
        return DefaultModel(SHIPPED_DEFAULT, Source.SHIPPED)
    try:
        chosen = json.loads(path.read_text("utf-8"))["default_model"]
        return DefaultModel(str(chosen["version"]), Source.CHOSEN, str(chosen["weights_sha256"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"The settings file {path.name} in the data folder is not readable ({type(error).__name__}); correct it, "
            "or delete it to return to the shipped default."
        ) from error


def set_default(settings: Settings, version: str, *, who: str, permissions: Collection[Permission]) -> DefaultChange:
    """Make a version the default, on disk, and log it.

    The settings file is replaced whole, after the log has its line: a reader meets the old or the new one, and no
    change goes unlogged.

    Raises:
        Refusal: not permitted, LSS_MODEL decides, the version is missing or damaged or the default already, or a file
            cannot be written.
    """
    check(permissions, Permission.SET_DEFAULT_MODEL)
    if settings.model_version:
        raise Refusal(
            f"LSS_MODEL is set to {settings.model_version}, which wins over any choice made here; unset it first."
        )
    found = read_version(settings.models, version)
    if found.card is None or not found.usable:
        raise Refusal(f"Model {version} cannot be made the default. {found.refusal}")
    with _one_writer:
        before = default_model(settings)
        sha256 = found.card.weights_sha256
        if (before.version, before.weights_sha256) == (version, sha256):
            raise Refusal(f"Model {version} is the default already.")
        change = DefaultChange(datetime.now(UTC).isoformat(timespec="seconds"), who, before.version, version, sha256)
        try:
            _write(settings.data, change)
        except OSError as error:
            raise Refusal(f"The data folder cannot be written ({error.strerror}); the default is unchanged.") from error
    return change


def _write(data: Path, change: DefaultChange) -> None:
    """Log the change and put it in force."""
    data.mkdir(parents=True, exist_ok=True)
    chosen = {"default_model": {"version": change.after, "weights_sha256": change.weights_sha256}}
    descriptor, partial = tempfile.mkstemp(prefix=f".{SETTINGS_FILE}.", dir=data)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(chosen, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        append_line(data / LOG_FILE, asdict(change))
        os.replace(partial, data / SETTINGS_FILE)
    finally:
        Path(partial).unlink(missing_ok=True)


def read_log(data: Path) -> ChangeLog:
    """Who made which version the default, and when."""
    path = data / LOG_FILE
    if not path.exists():
        return ChangeLog()
    changes, unreadable = [], []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
        try:
            changes.append(DefaultChange(**json.loads(line)))
        except (ValueError, TypeError):
            unreadable.append(number)
    return ChangeLog(tuple(changes), tuple(unreadable))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts v10 after v2."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
