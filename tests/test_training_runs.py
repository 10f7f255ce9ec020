import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sqlmodel import select

from lss_core import registry, training_runs
from lss_core.__main__ import DONE, REFUSED, main
from lss_core.curation.parts import Part
from lss_core.curation.split import split_of
from lss_core.grading.checkpoint import read_card
from lss_core.grading.pipeline import Grader
from lss_core.held_lock import holding, is_held
from lss_core.permissions import Permission
from lss_core.settings import Settings
from lss_core.study.connection import reading
from lss_core.study.database import AuditEvent
from lss_core.training import run_folder
from lss_core.training.evaluate import ModelFolder
from lss_core.training.run_folder import LOCK, RunState
from lss_core.training.run_process import carry_out
from lss_core.training.set_mark import WHAT, SetMark, write_mark
from lss_core.training_runs import (
    FINE_TUNE,
    MANY_PATIENTS,
    OWN_SCANS,
    NewRun,
    configurations,
    default_configuration,
    every_run,
    resume_by_operator,
    runs_folder,
    start_by_operator,
    stop_by_operator,
)
from lss_core.vocabulary import Refusal
from tests.curated import Curated, curated, locked_split
from tests.model_folders import SHIPPED, add_shared_networks
from tests.trainable import add_base, write_configuration, write_graded

STEPS = 90                                      # of the run that is broken off twice


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """Few validation samples; and whatever a run in this process does to SIGTERM is undone."""
    monkeypatch.setattr("lss_core.training.train.VALIDATION_SAMPLES", 4)
    monkeypatch.setattr("lss_core.training.calibrate.PATCHES", 6)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A training and a validation part."""
    folder = tmp_path_factory.mktemp("parts")
    return write_graded(folder / "training", ["P1", "P2", "P3"]), write_graded(folder / "validation", ["P4"])


@pytest.fixture
def settings(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    add_base(models)
    return Settings(data=tmp_path / "data", models=models, runs=tmp_path / "runs")


@pytest.fixture
def wanted(folders, tmp_path):
    return NewRun("ours", *folders, configuration=write_configuration(tmp_path / "tiny.json"))


def here(runs: Path, run_id: str) -> None:
    """Carry a run out in this process, instead of one of its own."""
    carry_out(runs, run_id)


def only(settings: Settings) -> training_runs.TrainingRun:
    (run,) = every_run(settings)
    return run


def weights(settings: Settings, name: str) -> dict[str, torch.Tensor]:
    return load_file(settings.models / f"{name}.safetensors")


def until(true, *, seconds: float = 90.0) -> None:
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it did not come about in time")


def test_a_run_ends_as_a_version_beside_the_shipped_ones(settings, wanted):
    start_by_operator(settings, wanted, launch=here)
    run = only(settings)
    assert (run.state, run.step, run.steps, run.name) == (RunState.DONE, 6, 6, "ours")
    assert run.created_at <= run.started_at <= run.ended_at and run.pid == os.getpid()
    card = read_card(settings.models, "ours")
    assert card.calibration["measured_on"] == "the training group's validation patches"
    assert str(settings.models) not in str(card)
    assert [version.name for version in registry.list_versions(settings.models) if version.usable] == ["base", "ours"]
    registry.set_default(settings, "ours", who="me", permissions={Permission.SET_DEFAULT_MODEL})
    assert registry.default_model(settings).version == "ours"
    add_shared_networks(settings.models)
    assert Grader.load("ours", models=settings.models).version == "ours"


def test_the_curve_begins_with_the_version_that_it_goes_on_from(settings, wanted, tmp_path):
    file = write_configuration(tmp_path / "more.json", start="base", steps=20, validations=2)
    start_by_operator(settings, replace(wanted, configuration=file), launch=here)
    curve = only(settings).curve
    assert [(point.step, bool(point.training), bool(point.validation)) for point in curve] == [
        (0, False, True), (10, True, True), (20, True, False)
    ]
    assert curve[1].validation["loss"] > 0 and read_card(settings.models, "ours").training["start"] == "base"


def test_a_killed_run_goes_on_and_ends_with_the_weights_of_an_unbroken_one(settings, wanted, tmp_path):
    file = write_configuration(tmp_path / "long.json", start="base", steps=STEPS, save_every_s=0.2, workers=1)
    unbroken = replace(settings, runs=tmp_path / "other")
    start_by_operator(unbroken, replace(wanted, name="unbroken", configuration=file), launch=here)
    run_id = start_by_operator(settings, replace(wanted, configuration=file))           # a process of its own
    saved = runs_folder(settings) / run_id / "ours.resume.pt"
    until(lambda: (only(settings).step >= 10 and saved.is_file()) or only(settings).state.ended)
    run = only(settings)
    assert run.state is RunState.RUNNING and is_held(runs_folder(settings) / run_id / LOCK), run.log_tail
    assert os.getsid(run.pid) != os.getsid(0)                   # it would outlive the app
    os.kill(run.pid, signal.SIGKILL)
    until(lambda: only(settings).state is RunState.INTERRUPTED)
    assert only(settings).step < STEPS and not (settings.models / "ours.json").exists()

    killed_at = only(settings).step
    stopper = threading.Thread(target=stop_at, args=(settings, killed_at + 10))
    stopper.start()
    resume_by_operator(settings, run_id, launch=here)
    stopper.join()
    stopped = only(settings)
    assert stopped.state is RunState.STOPPED and killed_at <= stopped.step < STEPS and "resume" in stopped.reason

    resume_by_operator(settings, run_id, launch=here)
    assert only(settings).state is RunState.DONE
    assert [point.step for point in only(settings).curve] == [0, *range(10, STEPS + 1, 10)]
    expected, found = weights(settings, "unbroken"), weights(settings, "ours")
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def stop_at(settings: Settings, step: int) -> None:
    """Tell this process to end, as a service that is stopped is told, once a run is that far."""
    until(lambda: only(settings).step >= step)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_detector_learned_from_own_boxes_grades_with_the_version_that_names_it(settings, wanted, tmp_path):
    add_shared_networks(settings.models)
    file = write_configuration(tmp_path / "detector.json", network={"width": 8}, steps=2, simulated_share=0.5)
    start_by_operator(settings, replace(wanted, name="finder", network="detector", configuration=file), launch=here)
    assert read_card(settings.models, "finder").network == "detector", only(settings).log_tail
    with pytest.raises(Refusal, match="not a detector"):
        start_by_operator(settings, replace(wanted, detector="base"))
    start_by_operator(settings, replace(wanted, detector="finder"), launch=here)
    graders = [Grader.load(name, models=settings.models) for name in ("base", "ours")]
    assert graders[0].locator != graders[1].locator and graders[1].networks[0].config.width == 8
    models = ModelFolder(("base", "ours"), settings.models)
    assert models.header("base", "").model_sha256 != models.header("ours", "").model_sha256
    assert [version.name for version in registry.list_versions(settings.models)] == ["base", "ours"]
    assert registry.list_detectors(settings.models) == ("detector", "finder")
    (settings.models / "finder.safetensors").unlink()
    usable = {version.name: version.usable for version in registry.list_versions(settings.models)}
    assert usable == {"base": True, "ours": False}
    assert registry.list_detectors(settings.models) == ("detector",)


def test_one_run_trains_at_a_time_and_a_waiting_one_can_be_stopped(settings, wanted):
    with holding(runs_folder(settings) / run_folder.TURN):      # in this process, so a real other one must wait
        run_id = start_by_operator(settings, wanted)
        until(lambda: is_held(runs_folder(settings) / run_id / LOCK))
        assert only(settings).state is RunState.QUEUED
        with pytest.raises(Refusal, match="in the making"):
            start_by_operator(settings, wanted)
        with pytest.raises(Refusal, match="nothing to resume"):
            resume_by_operator(settings, run_id)
        stop_by_operator(settings, run_id)
        until(lambda: only(settings).state is RunState.STOPPED)
    with pytest.raises(Refusal, match="nothing to stop"):
        stop_by_operator(settings, run_id)


def test_a_process_that_never_came_up_is_told_of(settings, wanted):
    start_by_operator(settings, wanted, launch=lambda runs, run_id: None)
    assert only(settings).state is RunState.QUEUED
    (late,) = every_run(settings, now=datetime.now(UTC) + timedelta(minutes=5))
    assert late.state is RunState.INTERRUPTED and "Resume it" in late.reason


def test_a_run_that_fails_says_why_and_leaves_the_models_alone(settings, wanted, tmp_path):
    data = write_graded(tmp_path / "broken", ["P1"])
    for file in (data / "P1").iterdir():
        file.unlink()
    start_by_operator(settings, replace(wanted, data=data), launch=here)
    assert only(settings).state is RunState.FAILED and only(settings).reason.endswith(".")
    assert sorted(path.name for path in settings.models.iterdir()) == ["base.json", "base.safetensors"]


@pytest.mark.parametrize(("change", "said"), [
    ({"name": "../ours"}, "cannot name"), ({"name": "base"}, "already"), ({"name": "detector"}, "already"),
    ({"network": "levels"}, "no training of a levels"), ({"configuration": "no-such"}, "no configuration"),
    ({"configuration": "../fine-tune"}, "no configuration"), ({"steps": 0}, "at least one step"),
    ({"data": Path("nowhere")}, "no reference.csv"),
])
def test_what_cannot_be_trained_is_refused_before_a_process_starts(settings, wanted, change, said):
    with pytest.raises(Refusal, match=said):
        start_by_operator(settings, replace(wanted, **change))
    assert every_run(settings) == ()


def test_a_patient_of_both_parts_is_refused(settings, wanted):
    with pytest.raises(Refusal, match="P1 is in the training and the validation part"):
        start_by_operator(settings, replace(wanted, validation=wanted.data))


@pytest.mark.parametrize("part", ["data", "validation"])
def test_a_folder_that_is_marked_as_the_control_set_is_refused(settings, wanted, tmp_path, part):
    marked = write_graded(tmp_path / "renamed", ["P8"])
    write_mark(marked, SetMark(
        WHAT, collection="t", parts=("control",), reference_number=1, reference_sha256="", split_number=1,
        split_sha256="", simulated=True, patients={"P8": "P8"}, control_patients=("P8",), control_series=(),
        software_version="", complete=True,
    ))
    with pytest.raises(Refusal, match="control part of a locked split"):
        start_by_operator(settings, replace(wanted, **{part: marked}))
    assert every_run(settings) == ()


def test_small_sets_are_fine_tuned_from_the_shipped_weights():
    small, large = default_configuration(MANY_PATIENTS - 1), default_configuration(MANY_PATIENTS)
    assert (small.configuration, large.configuration) == (FINE_TUNE, OWN_SCANS)
    assert str(MANY_PATIENTS) in small.why
    shipped = Settings(models=SHIPPED)
    assert configurations(shipped) == (FINE_TUNE, OWN_SCANS) and configurations(shipped, "detector") == (FINE_TUNE,)


def test_the_shipped_weights_fit_the_fine_tuning_configurations(folders, tmp_path):
    from lss_core.training.configuration import read_configuration
    from lss_core.training.train import RECIPES

    for network, file in (("classifier", "fine-tune"), ("classifier", "own-scans"), ("detector", "detector/fine-tune")):
        recipe = RECIPES[network]
        training, configured = read_configuration(
            training_runs.CONFIGURATIONS / f"{file}.json", training=recipe.defaults, network=recipe.network()
        )
        task = recipe.task(replace(training, data=folders[0], out=tmp_path, start_in=SHIPPED), configured)
        shipped = load_file(SHIPPED / f"{training.start}.safetensors")
        assert all(torch.equal(value.half() if value.is_floating_point() else value, shipped[key])
                   for key, value in task.network.state_dict().items())


def test_the_command_starts_lists_and_stops(settings, wanted, monkeypatch, capsys):
    monkeypatch.setattr(run_folder, "launch", lambda runs, run_id: None)
    for name, folder in (("LSS_MODELS", settings.models), ("LSS_RUNS", settings.runs), ("LSS_DATA", settings.data)):
        monkeypatch.setenv(name, str(folder))
    assert main(["train-set", "list"]) == DONE and "no training run" in capsys.readouterr().out
    arguments = ["train-set", "start", "ours", "--data", str(wanted.data), "--validation", str(wanted.validation)]
    assert main([*arguments, "--config", str(wanted.configuration)]) == DONE
    assert main(["train-set", "list"]) == DONE
    run = only(settings)
    assert f"{run.id}  queued  step 0 of 6" in capsys.readouterr().out
    assert main(["train-set", "resume", run.id]) == REFUSED
    assert main(["train-set", "stop", run.id]) == DONE
    assert main([*arguments, "--config", "no-such"]) == REFUSED


@pytest.fixture
def made(databases, tmp_path):
    """A collection whose split is locked."""
    made = curated(databases.new("sqlite"), tmp_path / "images", patients=12)
    locked_split(made)
    yield made
    made.engine.dispose()


def patients_of(made: Curated, part: Part) -> list[str]:
    split = split_of(made.engine, made.pi, made.collection_id)
    return [patient for patient, each in split.assignment.items() if each is part]


@pytest.fixture
def launched(monkeypatch):
    """Runs that would have been started."""
    started = []
    monkeypatch.setattr(run_folder, "launch", lambda runs, run_id: started.append(run_id))
    return started


def test_only_who_may_train_in_a_collection_reaches_its_runs(made, settings, wanted, launched, tmp_path):
    inside = replace(wanted, data=write_graded(tmp_path / "part", patients_of(made, Part.TRAINING)), validation=None)
    run = training_runs.start(made.engine, made.coordinator, made.collection_id, settings, inside)
    assert launched == [run.id] and (run.who, run.state) == (made.coordinator.email, RunState.QUEUED)
    for actor in (made.first, made.third, made.outsider):
        reach = (made.engine, actor, made.collection_id, settings)
        for attempt in (
            lambda reach=reach: training_runs.start(*reach, replace(inside, name="other")),
            lambda reach=reach: training_runs.runs(*reach),
            lambda reach=reach: training_runs.stop(*reach, run.id),
            lambda reach=reach: training_runs.resume(*reach, run.id),
        ):
            with pytest.raises(Refusal, match="permits"):
                attempt()
    assert training_runs.runs(made.engine, made.pi, made.collection_id, settings) == (run,)


def test_what_people_do_to_runs_is_in_the_audit_log(made, settings, wanted, launched, tmp_path):
    inside = replace(wanted, data=write_graded(tmp_path / "part", patients_of(made, Part.TRAINING)), validation=None)
    reach = (made.engine, made.pi, made.collection_id, settings)
    run = training_runs.start(*reach, inside)
    training_runs.stop(*reach, run.id)
    run_folder.note(runs_folder(settings) / run.id, RunState.STOPPED, now=datetime.now(UTC))
    training_runs.resume(*reach, run.id)
    assert launched == [run.id] * 2
    with reading(made.engine) as session:
        lines = session.exec(select(AuditEvent).where(AuditEvent.subject == run.id)).all()
    assert [(line.action, line.study_id) for line in lines] == [
        (f"{action} training", made.collection_id) for action in ("start", "stop", "resume")
    ]


def test_a_collection_sees_and_stops_its_own_runs_alone(made, settings, wanted, launched):
    start_by_operator(settings, wanted)
    (of_operator,) = every_run(settings)
    reach = (made.engine, made.pi, made.collection_id, settings)
    assert training_runs.runs(*reach) == ()
    with pytest.raises(Refusal, match="not of this collection"):
        training_runs.stop(*reach, of_operator.id)


def test_nothing_of_another_part_is_trained_or_calibrated_on_though_its_folder_says_nothing(
    made, settings, wanted, launched, tmp_path
):
    folder = {part: write_graded(tmp_path / part, patients_of(made, part))
              for part in (Part.TRAINING, Part.VALIDATION, Part.CONTROL)}
    for data, validation in (
        (folder[Part.CONTROL], None), (folder[Part.VALIDATION], None), (folder[Part.TRAINING], folder[Part.CONTROL]),
    ):
        with pytest.raises(Refusal, match="belongs to another part"):
            training_runs.start(made.engine, made.pi, made.collection_id, settings,
                                replace(wanted, data=data, validation=validation))
    training_runs.start(made.engine, made.pi, made.collection_id, settings,
                        replace(wanted, data=folder[Part.TRAINING], validation=folder[Part.VALIDATION]))
    assert len(launched) == 1


def test_nothing_is_trained_before_the_split_is_locked(databases, settings, wanted, launched, tmp_path):
    made = curated(databases.new("sqlite"), tmp_path / "images", patients=2)
    with pytest.raises(Refusal, match="split"):
        training_runs.start(made.engine, made.pi, made.collection_id, settings, wanted)
    assert launched == [] and every_run(settings) == ()
    made.engine.dispose()
