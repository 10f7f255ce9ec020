"""The study that a page has open, and what its visitor may do in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Engine

from lss_core.permissions import OF_ROLE, Permission, Role
from lss_core.study.actors import Actor
from lss_core.study.database import StudyState


class Place(Protocol):
    """Where people have roles: a study, or a collection, which is kept as a study is."""

    @property
    def engine(self) -> Engine: ...

    @property
    def actor(self) -> Actor: ...

    @property
    def study_id(self) -> int: ...


@dataclass(frozen=True)
class OpenStudy:
    """What every tab works on. The services ask for the permission again, on the database as it is then."""

    engine: Engine
    actor: Actor
    study_id: int
    token: str                                  # stands in addresses
    title: str
    state: StudyState
    is_demo: bool
    roles: frozenset[Role]

    @property
    def may(self) -> frozenset[Permission]:
        """What the visitor may do in this study."""
        return frozenset(permission for role in self.roles for permission in OF_ROLE[role])

    @property
    def is_pi(self) -> bool:
        return Role.PI in self.roles

    @property
    def is_draft(self) -> bool:
        return self.state is StudyState.DRAFT
