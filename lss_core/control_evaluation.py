"""Versions evaluated on the locked control set of a collection, with the figures kept in their cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from lss_core.curated_parts import folder_of_split, write_parts
from lss_core.curation import split
from lss_core.curation.parts import Part
from lss_core.grading.checkpoint import replace_file
from lss_core.handing_over import control_cases
from lss_core.imaging.store import ScanStore
from lss_core.settings import Settings
from lss_core.study.actors import Actor
from lss_core.training.evaluate import ModelFolder
from lss_core.training.evaluation_run import Outputs, run_evaluation
from lss_core.training.run_folder import RunState
from lss_core.training.scan_sets import ReferenceSet, SetKind
from lss_core.training_runs import every_run
from lss_core.vocabulary import Refusal

Progress = Callable[[str, float], None]
MIXED = (
    "The control set holds simulated scans beside real ones; figures of both together would mean nothing. Make two "
    "collections."
)
PAGE, FIGURES = "evaluation.html", "evaluation.txt"
EXPORTED = 0.2                                  # share of the work that writing the folder is


@dataclass(frozen=True)
class LastEvaluation:
    """What the last evaluation on a control set found."""

    figures: str                                # as text
    page: bytes                                 # HTML


def evaluate_control(
    engine: Engine, store: ScanStore, actor: Actor, collection_id: int, settings: Settings, *,
    versions: Sequence[str], progress: Progress | None = None,
) -> str:
    """Grade the control set end to end with each version; the figures of versions that were trained here go into their
    cards, and the shipped versions keep theirs.

    A run that was stopped goes on where it was: the exported scans and the outcomes are kept beside the other parts of
    the split.

    Args:
        progress: Called with what is being done and the share that is done.

    Returns:
        The figures as text.

    Raises:
        Refusal: not permitted, no locked control set, mixed with simulated scans, or a version that cannot be loaded.
    """
    tell = progress or (lambda what, share: None)
    patients = len({case.patient for case in control_cases(engine, actor, collection_id)})
    kind = _kind(engine, actor, collection_id)
    written = write_parts(engine, store, actor, collection_id, settings, (Part.CONTROL,),
                          progress=lambda what, share: tell(what, EXPORTED * share))
    folder = folder_of_split(engine, actor, collection_id, settings)
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        done = min(len(lines), patients)
        tell(f"Scan {done} of {patients} is graded", EXPORTED + (1 - EXPORTED) * done / patients)

    tell("Loading the models", EXPORTED)
    own = tuple(run.name for run in every_run(settings) if run.state is RunState.DONE)
    figures = run_evaluation(
        ReferenceSet.open(written[Part.CONTROL], kind), ModelFolder(tuple(versions), settings.models),
        Outputs(folder=folder / "evaluation", html=folder / PAGE, record=True, only=own),
        report=report,
    )
    replace_file(folder / FIGURES, figures.encode())
    return figures


def last_evaluation(engine: Engine, actor: Actor, collection_id: int, settings: Settings) -> LastEvaluation | None:
    """The figures of the last evaluation on the control set as it is locked now; None where there was none.

    Raises:
        Refusal: not permitted, or no locked control set.
    """
    control_cases(engine, actor, collection_id)
    folder = folder_of_split(engine, actor, collection_id, settings)
    if not (folder / FIGURES).is_file():
        return None
    return LastEvaluation((folder / FIGURES).read_text("utf-8"), (folder / PAGE).read_bytes())


def _kind(engine: Engine, actor: Actor, collection_id: int) -> SetKind:
    """Real, or simulated; a mixture is refused."""
    simulated = split.simulated_in(engine, actor, collection_id, Part.CONTROL)
    if len(simulated) > 1:
        raise Refusal(MIXED)
    return SetKind.SIMULATED if True in simulated else SetKind.REAL
