"""Configuration from the environment, read once where it is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """What an installation may change, by an environment variable named in `from_environment`."""

    model_version: str = "v1"
    image_lifetime_s: float = 1800.0        # a scan that nobody looked at for so long is released
    image_memory_bytes: int = 2048 * MIB    # all sessions together; the longest unused is released first

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read LSS_MODEL, LSS_IMAGE_LIFETIME_S and LSS_IMAGE_MEMORY_MIB.

        Raises:
            ValueError: a number is not a positive number.
        """
        return cls(
            model_version=environment.get("LSS_MODEL", cls.model_version),
            image_lifetime_s=_positive(environment, "LSS_IMAGE_LIFETIME_S", cls.image_lifetime_s),
            image_memory_bytes=int(
                _positive(environment, "LSS_IMAGE_MEMORY_MIB", cls.image_memory_bytes / MIB) * MIB
            ),
        )


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
