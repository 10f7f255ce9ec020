"""The locked control set of a collection becomes a reader study: graded by each version, then opened as a draft."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from lss_core.control_set import outputs_of_levels
from lss_core.curation import handover, split
from lss_core.curation.levels import CuratedCase
from lss_core.curation.parts import Part, Purpose
from lss_core.grading.pipeline import Grader
from lss_core.imaging.store import ScanStore
from lss_core.study.actors import Actor
from lss_core.study.database import Study
from lss_core.study.new_cases import NewOutput
from lss_core.vocabulary import Refusal

Progress = Callable[[str, float], None]
NO_CONTROL = "The locked split has no control case; draw another split with a share of control patients."


def hand_over(
    engine: Engine, store: ScanStore, actor: Actor, collection_id: int, *, title: str, graders: Sequence[Grader],
    progress: Progress | None = None,
) -> Study:
    """Open a draft of a reader study on the control set, scan by scan graded by each version.

    Nothing is made until every scan is graded, so a stopped hand-over leaves no half study behind.

    Args:
        graders: The versions whose grades and heat maps are kept beside each case; none for readers alone.
        progress: Called with what is being done and the share that is done.

    Raises:
        Refusal: not permitted, no locked split or reference, no control case, or a stored scan that is damaged.
    """
    tell = progress or (lambda what, share: None)
    cases = control_cases(engine, actor, collection_id)
    by_scan: dict[str, list[CuratedCase]] = defaultdict(list)
    for case in cases:
        by_scan[case.scan_key].append(case)
    outputs: dict[int, Sequence[NewOutput]] = {}
    for number, (key, of_scan) in enumerate(by_scan.items()):
        tell(f"Scan {number + 1} of {len(by_scan)}", number / len(by_scan))
        slices = {case.level: case.slice_index for case in of_scan}
        found = outputs_of_levels(store, store.open(key), slices, graders=graders)
        outputs |= {case.case_id: found[case.level] for case in of_scan}
    tell("Opening the study", 1.0)
    return handover.open_reader_study(engine, actor, collection_id, title=title, outputs=outputs)


def control_cases(engine: Engine, actor: Actor, collection_id: int) -> tuple[CuratedCase, ...]:
    """The cases of the locked control set.

    Raises:
        Refusal: not permitted, or there is none.
    """
    cases = split.cases_for(engine, actor, collection_id, Purpose.EVALUATE)
    control = tuple(case for case in cases if case.part is Part.CONTROL)
    if not control:
        raise Refusal(NO_CONTROL)
    return control
