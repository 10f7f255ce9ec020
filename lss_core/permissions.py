"""What a visitor may be allowed to do. The pages ask first; the services below them ask again."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from lss_core.vocabulary import Refusal


class Permission(StrEnum):
    """One thing that a visitor may or may not do."""

    GRADE = "grade"
    READ_ABOUT = "read_about"
    READ_MODELS = "read_models"
    SET_DEFAULT_MODEL = "set_default_model"


def check(permissions: Collection[Permission], needed: Permission) -> None:
    """Raise Refusal unless `needed` is among `permissions`."""
    if needed not in permissions:
        raise Refusal(f"This needs the permission to {needed.value.replace('_', ' ')}, which you do not have.")
