"""Configuration from the environment, read once where it is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    hosts: tuple[str, ...] = ()             # names under which the server answers, beside that of redirect_uri

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read LSS_MODEL, LSS_IMAGE_LIFETIME_S, LSS_IMAGE_MEMORY_MIB, LSS_DATA, LSS_MODELS, LSS_RUNS, DATABASE_URL,
        LSS_IMAGES, LSS_SESSION_IDLE_S, LSS_SESSION_LIFETIME_S and LSS_HOSTS (names with commas between).

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
            hosts=tuple(filter(None, map(str.strip, environment.get("LSS_HOSTS", "").lower().split(",")))),
        )


def _folder(environment: Mapping[str, str], name: str, default: Path) -> Path:
    return Path(environment.get(name) or default).expanduser().absolute()


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
