"""A study of made-up cases in a database of its own, made by the services as the study's page calls them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.permissions import Role
from lss_core.study import cases, people, studies
from lss_core.study.actors import Actor, actor_of
from lss_core.study.cases import NewCase, NewOutput, NewReference
from lss_core.study.connection import open_database, reading
from lss_core.study.database import CaseKind
from lss_core.study.protocol import Protocol
from lss_core.vocabulary import DiscLevel, Region

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WEIGHTS = "a" * 64
READERS = ("reader1@example.org", "reader2@example.org")
SECRET_SITE = "SITE-7Q"                         # must reach no reader


@dataclass(frozen=True)
class MadeUpStudy:
    """A study in draft with cases, and its people."""

    engine: Engine
    study_id: int
    token: str
    pi: Actor
    coordinator: Actor
    readers: tuple[Actor, ...]


def volume(*, seed: int = 0, slices: int = 9) -> Volume:
    """A few slices of noise."""
    hu = np.random.default_rng(seed).integers(-100, 300, (slices, 32, 32)).astype(np.int16)
    return Volume(
        hu=hu, positions_mm=np.arange(slices) * 3.0, pixel_spacing_mm=(1.0, 1.0), slice_thickness_mm=3.0,
        sop_instance_uids=tuple(f"1.2.{index}" for index in range(slices)), series_uid="1.2",
        stored=StoredPlane(shape=(32, 32)),
    )


def new_case(store: ScanStore, number: int, *, kind: CaseKind = CaseKind.TEST, simulated: bool = False) -> NewCase:
    """A case of a patient of its own, with reference and outputs of the model "v1"."""
    stored = store.put(volume(seed=number))
    return NewCase(
        scan_key=stored.key, scan_sha256=stored.sha256, simulated=simulated, level=DiscLevel.L4_5, slice_index=4,
        patient=f"P-{kind.value}-{number}", name=f"P-{kind.value}-{number} L4/5", kind=kind, site=SECRET_SITE,
        reference={region: NewReference(number % 4) for region in Region}, source="two surgeons, adjudicated",
        outputs=[NewOutput(version="v1", weights_sha256=WEIGHTS, region=region, grade=(number + 1) % 4,
                           probabilities=(0.25, 0.25, 0.25, 0.25)) for region in Region],
    )


def made_up_study(
    url: str, images: Path, *, protocol: Protocol | None = None, test: int = 4, training: int = 1,
    people_too: bool = True, title: str = "Made-up study",
) -> MadeUpStudy:
    """A draft by the local user, with so many cases, a coordinator and two readers who stated their experience."""
    engine, store = open_database(url), ScanStore(str(images))
    pi = people.local_account(engine)
    study = studies.create(engine, pi, title=title, protocol=protocol, now=NOW)
    assert study.id is not None
    kinds = [CaseKind.TEST] * test + [CaseKind.TRAINING] * training
    cases.add_cases(engine, pi, study.id, [new_case(store, n, kind=kind) for n, kind in enumerate(kinds)], now=NOW)
    people_of = _invited(engine, pi, study.id) if people_too else ()
    return MadeUpStudy(engine, study.id, study.token, pi, people_of[0] if people_of else pi, tuple(people_of[1:]))


def _invited(engine: Engine, pi: Actor, study_id: int) -> tuple[Actor, ...]:
    """The coordinator and the readers."""
    roles = {"coordinator@example.org": Role.COORDINATOR, **dict.fromkeys(READERS, Role.READER)}
    members = [people.invite(engine, pi, study_id, email=email, role=role, now=NOW) for email, role in roles.items()]
    actors = tuple(_actor(engine, member.account_id) for member in members)
    for years, actor in enumerate(actors[1:], 3):
        people.state_experience(engine, actor, name=f"Reader {years}", specialty="spine surgery",
                                years_of_experience=years * 4, lumbar_cts_a_year=100, now=NOW)
    return actors


def _actor(engine: Engine, account_id: int) -> Actor:
    with reading(engine) as session:
        return actor_of(session, account_id)
