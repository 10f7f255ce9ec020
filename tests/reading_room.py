"""A study with real pixels that a reader can open in the browser: locked, of phantom scans, made by the services."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from sqlalchemy import Engine
from sqlmodel import select

from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.permissions import Role
from lss_core.study import acting, cases, lifecycle, people, studies
from lss_core.study.actors import Actor, actor_of
from lss_core.study.clock import utc_now
from lss_core.study.connection import reading
from lss_core.study.database import Account, CaseKind
from lss_core.study.protocol import Aid, Protocol
from lss_core.vocabulary import Box, DiscLevel, Grade, Region

SIDE_PX = 96
SLICES = 15
MIDDLE = 7                                      # the level's slice of every scan
WEIGHTS = "f00d" * 16
AID = Aid("planted-version", WEIGHTS)
PI = "pi@planted.example"
READERS = ("reader1@planted.example", "reader2@planted.example")
# What must never reach a reader's browser in the unaided arm.
PLANTED = (
    "PLANTEDPATIENT", "PLANTEDNAME", "PLANTEDSITE", "PLANTEDSCANNER", "PLANTEDSOURCE", "planted-version", WEIGHTS, PI,
    "77.125", "51.25",
)
HEAT = np.arange(20 * 24, dtype=np.uint8).reshape(20, 24) % 251
BOXES = {
    Region.CENTRAL_CANAL: Box(50, 40, 66, 56), Region.LEFT_LATERAL_RECESS: Box(50, 58, 60, 68),
    Region.RIGHT_LATERAL_RECESS: Box(50, 28, 60, 38),
}
QUICK = Protocol(pause_s=0.2, seed="a seed", slices_around_mm=9.0)


@dataclass
class Room:
    """The study, its people, and where its scans lie."""

    engine: Engine
    store: ScanStore
    study_id: int
    token: str
    pi: Actor
    readers: tuple[Actor, ...]
    scan_keys: list[str] = field(default_factory=list)

    def enter(self, cookie: str, reader: int = 0) -> Actor:
        """Let a browser with this cookie act as a reader."""
        return acting.act_as(self.engine, cookie=cookie, account_id=self.readers[reader].account_id)


def person(engine: Engine, email: str) -> Actor:
    """The actor of an account that is there already."""
    with reading(engine) as session:
        account = session.exec(select(Account).where(Account.email == email)).one()
        return actor_of(session, account.id or 0)


def phantom(number: int) -> Volume:
    """A trunk with a vertebra, a canal and some noise; every number makes another one."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    hu = np.full((SLICES, SIDE_PX, SIDE_PX), -1000.0)
    hu[:, np.hypot((rows - 50) / 40, (columns - 48) / 46) < 1] = 50
    hu[:, np.hypot((rows - 38) / 13, (columns - 48) / 17) < 1] = 400
    hu[:, np.hypot((rows - 58) / 7, (columns - 48) / 8) < 1] = 15
    hu += rng.normal(0, 12, hu.shape)
    return Volume(
        hu=np.round(hu).astype(np.int16), positions_mm=100 + np.arange(SLICES) * 3.0, pixel_spacing_mm=(3.0, 3.0),
        slice_thickness_mm=3.0, sop_instance_uids=("1.2",) * SLICES, series_uid="1.2",
        stored=StoredPlane((SIDE_PX, SIDE_PX)),
    )


def make_room(
    engine: Engine, images: Path, *, protocol: Protocol = QUICK, test: int = 3, training: int = 0,
    experienced: bool = True, scans: Sequence[tuple[Volume, DiscLevel, int]] = (),
    truth: Callable[[int], Grade] = lambda number: Grade.MODERATE, now: datetime | None = None,
) -> Room:
    """A study that is open for two readers.

    Args:
        experienced: Whether the readers have stated their experience.
        scans: Volumes, levels and slices to take instead of phantoms.
        truth: The reference grade of the n-th case, from 0.
    """
    now = now or utc_now()
    store = ScanStore(images)
    people.allow_studies(engine, PI, now=now)
    pi = person(engine, PI)
    people.state_experience(engine, pi, name="Petra Planted", specialty="spine surgery", years_of_experience=20,
                            lumbar_cts_a_year=500, now=now)
    study = studies.create(engine, pi, title="Canal study", protocol=protocol, now=now)
    assert study.id is not None
    for email in READERS:
        people.invite(engine, pi, study.id, email=email, role=Role.READER, now=now)
    readers = tuple(person(engine, email) for email in READERS)
    for number, reader in enumerate(readers, 1):
        if experienced:
            people.state_experience(engine, reader, name=f"Rhea Reader{number}", specialty="radiology",
                                    years_of_experience=6, lumbar_cts_a_year=300, now=now)
    chosen = scans or [(phantom(number), DiscLevel.L4_5, MIDDLE) for number in range(test + training)]
    made = [_case(store, *scan, number, CaseKind.TRAINING if number < training else CaseKind.TEST, truth(number))
            for number, scan in enumerate(chosen)]
    cases.add_cases(engine, pi, study.id, made, now=now)
    lifecycle.lock(engine, pi, study.id, typed_name="Petra Planted", meaning="I approve", now=now)
    return Room(engine, store, study.id, study.token, pi, readers, [each.scan_key for each in made])


def _case(
    store: ScanStore, volume: Volume, level: DiscLevel, slice_index: int, number: int, kind: CaseKind, truth: Grade
) -> cases.NewCase:
    stored = store.put(volume)
    heat = store.put_heat_map(HEAT)
    scale = volume.shape[1] / SIDE_PX
    boxes = {region: Box(*(scale * value for value in box.as_list())) for region, box in BOXES.items()}
    outputs = [
        cases.NewOutput(AID.version, WEIGHTS, region, grade=3, probabilities=(0.0, 0.0625, 0.0625, 0.875),
                        slice_index=slice_index, box=box, measure=51.25, heat_map_key=heat, heat_map_box=box)
        for region, box in boxes.items()
    ]
    return cases.NewCase(
        scan_key=stored.key, scan_sha256=stored.sha256, simulated=False, level=level, slice_index=slice_index,
        patient=f"PLANTEDPATIENT-{number}", kind=kind, name=f"PLANTEDNAME-{number}", site="PLANTEDSITE",
        scanner="PLANTEDSCANNER", slice_thickness_mm=3.0, source="PLANTEDSOURCE", outputs=outputs,
        reference={region: cases.NewReference(truth, 77.125) for region in Region},
    )


def aided(design, **changes) -> Protocol:
    """A protocol with the planted model shown."""
    return replace(QUICK, design=design, aid=AID, **changes)
