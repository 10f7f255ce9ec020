"""Training runs of an installation: start, watch, stop and resume them, from the page of a collection or by command.

One trains at a time; others wait. A run is a process of its own and a folder (`lss_core.training.run_folder`), so
neither ends with the app. Its finished version lies among the installation's models, beside the shipped ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from lss_core.curation.parts import Purpose
from lss_core.curation.split import cases_for, split_of
from lss_core.permissions import Permission
from lss_core.settings import ROOT, Settings
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.clock import utc_now
from lss_core.study.connection import reading, transaction
from lss_core.training import run_folder
from lss_core.training.run_folder import NAME, STOP, Asked, CurvePoint, RunState, TrainingRun
from lss_core.vocabulary import Refusal

__all__ = ["Advice", "CurvePoint", "NewRun", "RunState", "TrainingRun"]

CONFIGURATIONS = ROOT / "configurations"
NETWORKS = ("classifier", "detector")           # that learn from a group's own scans
RESERVED = ("detector", "levels", "imagenet")
FINE_TUNE, OWN_SCANS = "fine-tune", "own-scans"
MANY_PATIENTS = 200
Launch = Callable[[Path, str], None]


@dataclass(frozen=True)
class NewRun:
    """What to train. The folders hold scans with `reference.csv`, as `lss_core.curated_folder` exports them."""

    name: str                                   # of the new version
    data: Path                                  # training part
    validation: Path | None                     # validation part; without it the version is not calibrated
    network: str = "classifier"                 # or "detector"
    configuration: str | Path = FINE_TUNE       # one of `configurations(network)`, or a file
    steps: int | None = None                    # None: as the configuration says
    detector: str = ""                          # that grades with a new classifier; "" means the shared one


@dataclass(frozen=True)
class Advice:
    """The configuration that is proposed for a set, and why."""

    configuration: str
    why: str


def default_configuration(patients: int) -> Advice:
    """What is proposed for a training part of so many patients.

    The bound is a rule of caution, not a measurement: the shipped classifier learned from 14,080 patches, and 200
    patients with five levels each give 1,000, of which few are severe.
    """
    if patients < MANY_PATIENTS:
        return Advice(FINE_TUNE, f"{patients} patients are fewer than {MANY_PATIENTS}: the shipped weights are changed "
                                 "in few steps at a low rate, because a longer training would learn them by heart.")
    return Advice(OWN_SCANS, f"{patients} patients are at least {MANY_PATIENTS}: training goes on from the shipped "
                             "weights at the full rate.")


def configurations(settings: Settings, network: str = "classifier") -> tuple[str, ...]:
    """Names of the configurations that can be run here: what they go on from is installed."""
    folder = CONFIGURATIONS if network == "classifier" else CONFIGURATIONS / network
    return tuple(
        path.stem for path in sorted(folder.glob("*.json"))
        if (settings.models / f"{json.loads(path.read_text('utf-8'))['training'].get('start')}.json").is_file()
    )


def start(
    engine: Engine, actor: Actor, collection_id: int, settings: Settings, wanted: NewRun, *,
    now: datetime | None = None,
) -> TrainingRun:
    """Begin a run, or let it wait behind the one that trains.

    Raises:
        Refusal: not permitted, the split is not locked, a patient of its control set is in a folder; or as
            `start_by_operator`.
    """
    now = now or utc_now()
    _check_control(engine, actor, collection_id, wanted)
    with transaction(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.TRAIN)
        run_id = _new(settings, wanted, who=actor.email, collection_id=collection_id, now=now)
        asked = run_folder.read_asked(runs_folder(settings), run_id)
        _audit(session, actor, collection_id, "start training", run_id, now, {
            "name": asked.name, "network": asked.network, "configuration": asked.configuration, "steps": asked.steps,
        })
    launcher(settings)(runs_folder(settings), run_id)
    return run_folder.read_run(runs_folder(settings), run_id, now=now)


def runs(
    engine: Engine, actor: Actor, collection_id: int, settings: Settings, *, now: datetime | None = None
) -> tuple[TrainingRun, ...]:
    """The runs of a collection, newest first."""
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.TRAIN)
    return tuple(run for run in every_run(settings, now=now) if run.asked.collection_id == collection_id)


def stop(
    engine: Engine, actor: Actor, collection_id: int, settings: Settings, run_id: str, *, now: datetime | None = None
) -> None:
    """Let a run save its state and end, after the step it is at; it can be resumed.

    Raises:
        Refusal: not permitted, not a run of the collection, or it does not run.
    """
    _act(engine, actor, collection_id, settings, run_id, "stop training", stop_by_operator, now)


def resume(
    engine: Engine, actor: Actor, collection_id: int, settings: Settings, run_id: str, *, now: datetime | None = None
) -> None:
    """Let a run go on from its last saved state; it ends with the weights that it would have had unbroken.

    Raises:
        Refusal: not permitted, not a run of the collection, or it runs or is done.
    """
    _act(engine, actor, collection_id, settings, run_id, "resume training", resume_by_operator, now)


def _act(
    engine: Engine, actor: Actor, collection_id: int, settings: Settings, run_id: str, action: str,
    do: Callable[..., None], now: datetime | None,
) -> None:
    now = now or utc_now()
    with transaction(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.TRAIN)
        if run_folder.read_asked(runs_folder(settings), run_id).collection_id != collection_id:
            raise Refusal("This training run is not of this collection; choose one of its list.")
        do(settings, run_id, now=now)
        _audit(session, actor, collection_id, action, run_id, now, None)


def _audit(
    session: Session, actor: Actor, collection_id: int, action: str, run_id: str, now: datetime, new: Any
) -> None:
    audit.append(session, at=now, actor=actor.email, action=action, study_id=collection_id, subject=run_id, new=new)


def _check_control(engine: Engine, actor: Actor, collection_id: int, wanted: NewRun) -> None:
    """Refuse folders with patients of the collection that are for something else, whatever the folders say."""
    from lss_core.training.reference import read_rows

    usable = {Purpose.TRAIN: wanted.data, Purpose.CALIBRATE: wanted.validation}
    split = split_of(engine, actor, collection_id)
    for purpose, folder in usable.items():
        allowed = {case.patient for case in cases_for(engine, actor, collection_id, purpose)}
        known = set(split.assignment if split else ()) - allowed
        if folder is not None and (foreign := sorted(known & {row.patient for row in read_rows(folder)})):
            raise Refusal(f"{folder.name} holds patient {foreign[0]}, who belongs to another part of the locked split; "
                          "export the part again.")


def launcher(settings: Settings) -> Launch:
    """What starts the process of a run: this machine, or a worker of the queue."""
    if not settings.train_by_queue:
        return run_folder.launch
    from lss_core.jobs import defer_training

    return defer_training(settings)


def runs_folder(settings: Settings) -> Path:
    """Where the runs of an installation lie."""
    return settings.runs / "training"


def every_run(settings: Settings, *, now: datetime | None = None) -> tuple[TrainingRun, ...]:
    """The runs of all collections and of the operator, newest first."""
    return run_folder.all_runs(runs_folder(settings), now=now or utc_now())


def start_by_operator(
    settings: Settings, wanted: NewRun, *, who: str = "operator", now: datetime | None = None,
    launch: Launch | None = None,
) -> str:
    """Begin a run; returns its id.

    Args:
        launch: Starts the process, in place of what the settings say.

    Raises:
        Refusal: the name is not usable or taken, the configuration or a folder cannot be read, a folder must not be
            trained on, or a patient is in both.
    """
    run_id = _new(settings, wanted, who=who, collection_id=None, now=now or utc_now())
    (launch or launcher(settings))(runs_folder(settings), run_id)
    return run_id


def stop_by_operator(settings: Settings, run_id: str, *, now: datetime | None = None) -> None:
    """As `stop`, without a person to ask for permission."""
    folder = runs_folder(settings)
    run = run_folder.read_run(folder, run_id, now=now or utc_now())
    if run.state.ended:
        raise Refusal(f"The training of {run.name} is {run.state}; there is nothing to stop.")
    run_folder.ask_to_stop(folder, run_id, now=now or utc_now())


def resume_by_operator(
    settings: Settings, run_id: str, *, now: datetime | None = None, launch: Launch | None = None
) -> None:
    """As `resume`, without a person to ask for permission."""
    folder, now = runs_folder(settings), now or utc_now()
    run = run_folder.read_run(folder, run_id, now=now)
    if not run.state.resumable:
        raise Refusal(f"The training of {run.name} is {run.state}; there is nothing to resume.")
    (folder / run_id / STOP).unlink(missing_ok=True)
    run_folder.note(folder / run_id, RunState.QUEUED, now=now)
    (launch or launcher(settings))(folder, run_id)


def _new(settings: Settings, wanted: NewRun, *, who: str, collection_id: int | None, now: datetime) -> str:
    """Check what is wanted and make its folder."""
    if wanted.network not in NETWORKS:
        raise Refusal(f"There is no training of a {wanted.network} on own scans; choose {' or '.join(NETWORKS)}.")
    _check_name(settings, wanted.name, now)
    _check_detector(settings, wanted)
    _check_folders(wanted)
    configuration = _configuration_file(wanted)
    asked = Asked(
        name=wanted.name, network=wanted.network, configuration=configuration.stem,
        data=str(wanted.data.absolute()), validation=str(wanted.validation.absolute()) if wanted.validation else "",
        models=str(settings.models), steps=_steps(configuration, wanted), who=who, created_at=now.isoformat(),
        collection_id=collection_id, detector=wanted.detector, by_queue=settings.train_by_queue,
    )
    return run_folder.new_run(runs_folder(settings), asked, configuration, now=now)


def _check_name(settings: Settings, name: str, now: datetime) -> None:
    if not NAME.fullmatch(name):
        raise Refusal(f"{name!r} cannot name a version: use up to 40 letters, digits, - and _, no - or _ first.")
    taken = name in RESERVED or any((settings.models / f"{name}.{end}").exists() for end in ("json", "safetensors"))
    unfinished = any(run.name == name and not run.state.ended for run in every_run(settings, now=now))
    if taken or unfinished:
        raise Refusal(f"There is a model {name!r} already, or one in the making; choose another name.")


def _check_detector(settings: Settings, wanted: NewRun) -> None:
    from lss_core.grading.checkpoint import read_card

    if wanted.detector and wanted.network != "classifier":
        raise Refusal("Only a classifier is graded with another detector; leave the detector out.")
    if wanted.detector and (kind := read_card(settings.models, wanted.detector).network) != "detector":
        raise Refusal(f"{wanted.detector!r} is a {kind}, not a detector; choose another.")


def _check_folders(wanted: NewRun) -> None:
    """Refuse what cannot be trained on before a process starts."""
    from lss_core.training.reference import check_trainable, read_rows

    patients = Counter()
    for folder in filter(None, (wanted.data, wanted.validation)):
        check_trainable(folder)
        patients.update({row.patient for row in read_rows(folder)})
    if both := sorted(patient for patient, count in patients.items() if count > 1):
        raise Refusal(f"Patient {both[0]} is in the training and the validation part; split by patient.")


def _configuration_file(wanted: NewRun) -> Path:
    if isinstance(wanted.configuration, Path):
        return wanted.configuration
    folder = CONFIGURATIONS if wanted.network == "classifier" else CONFIGURATIONS / wanted.network
    path = folder / f"{wanted.configuration}.json"
    if Path(wanted.configuration).name != wanted.configuration or not path.is_file():
        raise Refusal(f"There is no configuration {wanted.configuration!r} for a {wanted.network}; see the list.")
    return path


def _steps(configuration: Path, wanted: NewRun) -> int:
    """How many; the whole configuration is read, so that a wrong one is refused before a process starts."""
    from lss_core.training.configuration import read_configuration
    from lss_core.training.train import RECIPES

    recipe = RECIPES[wanted.network]
    training, _ = read_configuration(configuration, training=recipe.defaults, network=recipe.network())
    steps = training.steps if wanted.steps is None else wanted.steps
    if steps < 1:
        raise Refusal(f"A training needs at least one step; {steps} was given.")
    return steps
