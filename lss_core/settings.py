"""Configuration from the environment, read once where it is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

MIB = 1024 * 1024
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Settings:
    """What an installation may change, by an environment variable named in `from_environment`."""

    model_version: str | None = None        # wins over the default that was chosen on the Models page
    image_lifetime_s: float = 1800.0        # a scan that nobody looked at for so long is released
    image_memory_bytes: int = 2048 * MIB    # all sessions together; the longest unused is released first
    data: Path = ROOT / "data"              # what the installation keeps: its settings file and its logs
    models: Path = ROOT / "models"          # weights and cards
    runs: Path = ROOT / "runs"              # evaluations with the pictures of their failures; absent in a clone
    database_url: str = f"sqlite:///{ROOT / 'data' / 'studies.sqlite'}"     # SQLite in the data folder, or PostgreSQL
    image_store: str = str(ROOT / "data" / "images")    # folder or fsspec address (s3://...) of de-identified scans
    session_idle_s: float = 1800.0          # a signed-in browser that does nothing for so long is signed out
    session_lifetime_s: float = 12 * 3600.0     # and every one after so long, in use or not
    import_folder: Path | None = None       # below it, folders of this server may be imported from the page
    pacs_url: str = ""                      # the one DICOMweb address that scans are fetched from; empty: no PACS
    pacs_user: str = ""
    pacs_password: str = field(default="", repr=False)
    train_by_queue: bool = False            # a worker of the queue trains, not a process of this machine
    hosts: tuple[str, ...] = ()             # names under which the server answers, beside that of redirect_uri

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read LSS_MODEL, LSS_IMAGE_LIFETIME_S, LSS_IMAGE_MEMORY_MIB, LSS_DATA, LSS_MODELS, LSS_RUNS, DATABASE_URL,
        LSS_IMAGES, LSS_SESSION_IDLE_S, LSS_SESSION_LIFETIME_S, LSS_IMPORT_FOLDER, LSS_PACS_URL,
        LSS_PACS_USER, LSS_PACS_PASSWORD, LSS_TRAIN_BY_QUEUE (1) and LSS_HOSTS (names with commas between).

        Raises:
            ValueError: a number is not a positive number.
        """
        data = _folder(environment, "LSS_DATA", cls.data)
        return cls(
            model_version=environment.get("LSS_MODEL") or None,
            image_lifetime_s=_positive(environment, "LSS_IMAGE_LIFETIME_S", cls.image_lifetime_s),
            image_memory_bytes=int(
                _positive(environment, "LSS_IMAGE_MEMORY_MIB", cls.image_memory_bytes / MIB) * MIB
            ),
            data=data,
            models=_folder(environment, "LSS_MODELS", cls.models),
            runs=_folder(environment, "LSS_RUNS", cls.runs),
            database_url=environment.get("DATABASE_URL") or f"sqlite:///{data / 'studies.sqlite'}",
            image_store=environment.get("LSS_IMAGES") or str(data / "images"),
            session_idle_s=_positive(environment, "LSS_SESSION_IDLE_S", cls.session_idle_s),
            session_lifetime_s=_positive(environment, "LSS_SESSION_LIFETIME_S", cls.session_lifetime_s),
            import_folder=_folder(environment, "LSS_IMPORT_FOLDER", None),
            pacs_url=environment.get("LSS_PACS_URL", "").strip(),
            pacs_user=environment.get("LSS_PACS_USER", ""),
            pacs_password=environment.get("LSS_PACS_PASSWORD", ""),
            train_by_queue=environment.get("LSS_TRAIN_BY_QUEUE", "0") == "1",
            hosts=tuple(filter(None, map(str.strip, environment.get("LSS_HOSTS", "").lower().split(",")))),
        )


@overload
def _folder(environment: Mapping[str, str], name: str, default: Path) -> Path: ...
@overload
def _folder(environment: Mapping[str, str], name: str, default: None) -> Path | None: ...
def _folder(environment: Mapping[str, str], name: str, default: Path | None) -> Path | None:
    path = environment.get(name) or default
    return Path(path).expanduser().absolute() if path else None


def _positive(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}: set it to a positive number.") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} is {text!r}: set it to a positive number.")
    return value
