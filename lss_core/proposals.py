"""The software looks at the scans of a collection: which slice is which disc, and where the three regions lie.

A person corrects and confirms what it proposes. Grades are never proposed: annotators stay blind to the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from lss_core import registry
from lss_core.curation.levels import ProposedLevel, propose_levels
from lss_core.curation.proposing import ScanToPropose, propose_boxes, scans_to_propose
from lss_core.grading.checkpoint import read_card
from lss_core.grading.detector import Detection, find_regions
from lss_core.grading.pipeline import MODELS, NUMBERING_DOUBTED, Grader
from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import Volume
from lss_core.study.actors import Actor
from lss_core.vocabulary import Box, Refusal, Region

Progress = Callable[[str, float], None]
UNCOUNTED = "no disc whose level can be counted; place the levels by hand."


@dataclass(frozen=True)
class Locator:
    """The networks that find discs and regions, and their name in the record."""

    grader: Grader
    version: str

    @classmethod
    def load(cls, models: Path) -> Locator:
        """The shared detector and level network of a folder of models.

        Raises:
            Refusal: a file is missing or is not what its card says.
        """
        usable = next((each.name for each in registry.list_versions(models) if each.usable), None)
        if usable is None:
            raise Refusal(f"The folder {models} holds no usable model; set LSS_MODELS to one that does.")
        names = [f"{name} {read_card(models, name).weights_sha256[:12]}" for name in registry.SHARED]
        return cls(Grader.load(usable, models=models), ", ".join(names))


@dataclass(frozen=True)
class ProposalReport:
    """What was looked at. `stopped`: somebody stopped it; what was proposed until then stays."""

    scans: int
    refused: tuple[str, ...]                    # a sentence for each scan in which nothing could be proposed
    doubted: tuple[str, ...]                    # and for each whose levels may be numbered wrongly
    stopped: bool


def propose_all(
    engine: Engine, store: ScanStore, actor: Actor, collection_id: int, *, locator: Locator | None = None,
    models: Path = MODELS, progress: Progress | None = None, stop: Callable[[], bool] | None = None,
) -> ProposalReport:
    """Propose levels where there are none, and regions on the slices of levels that have none, scan by scan.

    What is proposed is kept at once, so that a stopped run goes on where it was. Scans of a locked control set are not
    even opened.

    Args:
        locator: The networks; None loads those of `models`.
        progress: Called with what is being done and the share of the scans that are done.
        stop: Asked before each scan.

    Raises:
        Refusal: not permitted, or the networks cannot be loaded.
    """
    tell = progress or (lambda what, share: None)
    wanted = scans_to_propose(engine, actor, collection_id)
    if wanted and locator is None:
        locator = Locator.load(models)
    done, refused, doubted = 0, [], []
    for number, scan in enumerate(wanted):
        if stop is not None and stop():
            return ProposalReport(done, tuple(refused), tuple(doubted), stopped=True)
        tell(f"Scan {number + 1} of {len(wanted)}", number / len(wanted))
        assert locator is not None
        try:
            if propose_scan(engine, store, actor, collection_id, scan, locator):
                doubted.append(f"Scan {scan.scan_id}: {NUMBERING_DOUBTED}")
        except Refusal as refusal:
            refused.append(f"Scan {scan.scan_id}: {refusal}")
        done += 1
    tell("Proposed", 1.0)
    return ProposalReport(done, tuple(refused), tuple(doubted), stopped=False)


def propose_scan(
    engine: Engine, store: ScanStore, actor: Actor, collection_id: int, scan: ScanToPropose, locator: Locator
) -> bool:
    """Propose what is missing in one scan; returns whether the numbering of its levels is in doubt.

    Raises:
        Refusal: not permitted, a scan of the control set, damaged bytes, or nothing was found.
    """
    volume = store.open(scan.scan_key, sha256=scan.scan_sha256)
    if not scan.has_levels:
        found, doubted = find_proposals(volume, locator)
        propose_levels(engine, actor, collection_id, scan.scan_id, found)
        return doubted
    for case_id, slice_index in scan.bare.items():
        finding = find_regions(locator.grader.networks[0], volume, [slice_index])[0]
        propose_boxes(engine, actor, collection_id, case_id, slice_index, _boxes(finding.regions),
                      version=locator.version)
    return False


def find_proposals(volume: Volume, locator: Locator) -> tuple[list[ProposedLevel], bool]:
    """The counted disc levels of a volume with the regions found on them, and whether their numbering is in doubt.

    Raises:
        Refusal: no lumbar spine, or no level that can be counted.
    """
    located = locator.grader.locate(volume)
    found = [
        ProposedLevel(place.level, place.slice_index, _boxes(place.regions), locator.version)
        for place in located if place.level is not None
    ]
    if not found:
        raise Refusal(UNCOUNTED)
    return found, any(place.level_doubted for place in located)


def _boxes(regions: dict[Region, Detection | None]) -> dict[Region, Box]:
    return {region: detection.box for region, detection in regions.items() if detection is not None}
