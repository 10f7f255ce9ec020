"""The collection that a page has open, and what its visitor may do in it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from lss_core.permissions import OF_ROLE, Permission, Role
from lss_core.study.actors import Actor
from ui.access import Visitor


@dataclass(frozen=True)
class OpenCollection:
    """What every tab works on. The services ask for the permission again, on the database as it is then."""

    engine: Engine
    actor: Actor
    visitor: Visitor                            # whose browser gets the images
    collection_id: int
    token: str                                  # stands in addresses
    title: str
    is_demo: bool
    roles: frozenset[Role]

    @property
    def study_id(self) -> int:
        """A collection is kept as a study is: people, roles and the audit log know it by the same number."""
        return self.collection_id

    @property
    def may(self) -> frozenset[Permission]:
        """What the visitor may do in this collection."""
        return frozenset(permission for role in self.roles for permission in OF_ROLE[role])

    @property
    def is_pi(self) -> bool:
        return Role.PI in self.roles
