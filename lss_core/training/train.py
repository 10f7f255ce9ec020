"""Training of the three networks: one loop, three tasks; the fields of the configurations are the command's flags."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, l1_loss, logsigmoid
from torch.utils.data import DataLoader, Dataset

from lss_core.grading.checkpoint import ATTRIBUTIONS, NETWORK_DEFINITIONS, load_checkpoint, save_checkpoint
from lss_core.grading.classifier import Classifier, ClassifierConfig, build_classifier
from lss_core.grading.detector import Detector, DetectorConfig, build_detector
from lss_core.grading.levels import ANY_DISC, TOWARD, LevelNetwork, LevelsConfig
from lss_core.training.bank import fill_bank
from lss_core.training.calibrate import fit_calibration
from lss_core.training.data import (
    TRAIN_STREAM,
    UNKNOWN_GRADE,
    VALIDATION_STREAM,
    CropStream,
    MixedSource,
    PatchSource,
    SagittalStream,
    Sample,
    SimulatedSource,
    SliceSource,
    SliceStream,
    joined,
)
from lss_core.training.imagenet import load_imagenet
from lss_core.training.outlined import NarrowedSource
from lss_core.training.reference import ReferenceSource
from lss_core.vocabulary import Refusal

SIMULATED_DATA = "trained on simulated CT (lss_core.simulation), no patient's images; stream and seed in `training`"
NARROWED_DATA = (
    "trained on simulated CT (lss_core.simulation) and on real scans with imposed narrowing "
    "(lss_core.simulation.narrowing); no scan carries a clinical grade"
)
OWN_DATA = "trained on de-identified scans of the training group with their reference standard"
NAN = float("nan")                  # what a batch does not show
VALIDATION_SAMPLES = 96
PLACE_WEIGHT = 0.3                  # of a disc's error in mm, beside the focal losses
MASK_WEIGHT = 4.0                   # cells are many and mostly easy: the mean of their losses is small
VALIDATION_PATCHES = 3072           # simulated ones in a bank
# Fields that decide no weight.
PLACES = ("out", "control", "start_in", "resume", "save_every_s", "report_every", "bank")


@dataclass(frozen=True)
class Training:
    """How a network is trained; every field is a flag of `python -m lss_core train`."""

    out: Path = Path("models")
    name: str = ""                  # of the files; "" takes the task's name
    data: Path | None = None        # folder of scans with reference.csv; none means simulated patients
    validation: Path | None = None  # the same, of other patients; calibrates a model of own scans
    control: Path | None = None     # a written control set, or its set.json, whose patients are refused
    bank: Path | None = None        # folder where rendered patches are kept; none renders each sample afresh
    patches: int = 14080            # simulated patches in the bank
    bank_seed: int = 1              # of those patches; `seed` draws among them
    scans: Path | None = None       # folder of outlined real scans on which narrowing is imposed; see docs/training.md
    scans_share: float = 0.3        # of the samples
    detector: str = ""              # of a classifier: the detector that grades with it; "" means the shared one
    simulated_share: float = 0.0    # of a detector's samples, beside the group's own
    without: str = ""               # a scan of that folder that is left out
    start: str = ""                 # name of a model to go on from, or "imagenet"; "" starts at random
    start_in: Path | None = None    # folder of that model; none means `out`
    label_noise: float = 0.0        # share of grades moved to a neighbouring grade, as two surgeons differ
    seed: int = 1
    steps: int = 4000
    batch: int = 16                 # samples a step
    views: int = 1                  # variations of each sample in a step
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 200               # steps
    average: float = 0.998          # decay of the averaged weights, which are the ones kept
    workers: int = 2                # rendering processes
    threads: int = 1                # of the training process
    bfloat16: bool = False          # forward passes in training only; fast on processors that have it
    save_every_s: float = 120.0
    report_every: int = 50          # steps
    validations: int = 6            # times that the validation loss is taken, the end included
    resume: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    step: int
    steps: int
    losses: Mapping[str, float]             # means of the steps since the last report
    validation: Mapping[str, float]         # of the averaged weights; empty but where the validation loss was taken
    samples_per_s: float
    left_s: float                           # until the last step, at this rate


class Stopped(Refusal):
    """A training that was asked to end, and has saved its state."""


@dataclass(frozen=True)
class Task:
    """A network, its samples and its loss."""

    kind: str
    network: nn.Module
    configuration: Any
    samples: Callable[[int, int], Dataset[Sample]]              # (stream, count)
    losses: Callable[[nn.Module, Sample], dict[str, torch.Tensor]]      # "loss" first, then what is reported
    data: str                                                   # what it learns from, for the card
    calibrate: Callable[[nn.Module], Mapping[str, Any]] = lambda network: {}    # after training, for the card
    attributions: tuple[str, ...] = ATTRIBUTIONS


def classifier_task(training: Training, network: ClassifierConfig) -> Task:
    """Grades and measures from crops: of simulated patients, of real scans with imposed narrowing, or of own scans."""
    graded = {stream: graded_source(training, stream) for stream in (TRAIN_STREAM, VALIDATION_STREAM)}
    sources = {stream: _with_narrowed(source, training) for stream, source in graded.items()}

    def samples(stream: int, count: int) -> Dataset[Sample]:
        return CropStream(
            sources[stream], network, views=training.views, seed=training.seed, stream=stream, count=count,
            label_noise=training.label_noise if stream == TRAIN_STREAM else 0.0,
        )

    torch.manual_seed(training.seed)                # of the weights that it begins with
    classifier = Classifier(network)
    attributions = _start_from(classifier, training)

    def calibrate(trained: nn.Module) -> Mapping[str, Any]:
        if training.data is not None and training.validation is None:
            return {}                       # on the scans that it learned from, a model looks surer than it is
        said = "simulated" if training.data is None else "the training group's"
        calibration = fit_calibration(
            trained, graded[VALIDATION_STREAM], seed=training.seed,  # type: ignore[arg-type]
            measured_on=f"{said} validation patches",
        )
        return calibration.as_card()

    return Task(
        "classifier", classifier, network, samples, classifier_losses, _described_data(training), calibrate,
        attributions,
    )


def graded_source(training: Training, stream: int) -> PatchSource:
    """Simulated patients or the group's own scans; simulated validation patients are others than those learned from."""
    if training.data is not None:
        own = training.data if stream == TRAIN_STREAM else training.validation or training.data
        return ReferenceSource(own, apart_from=training.control)
    if training.bank is None:
        return SimulatedSource()
    count = training.patches if stream == TRAIN_STREAM else VALIDATION_PATCHES
    workers = max(1, training.workers)
    return fill_bank(training.bank, seed=training.bank_seed, stream=stream, count=count, workers=workers)


def _with_narrowed(source: PatchSource, training: Training) -> PatchSource:
    """The source mixed with narrowing imposed on real scans, where such scans are given."""
    if training.scans is None:
        return source
    narrowed = NarrowedSource(training.scans, without=training.without)
    return MixedSource((1 - training.scans_share, source), (training.scans_share, narrowed))


def _start_from(classifier: Classifier, training: Training) -> tuple[str, ...]:
    """Take over weights where the configuration says so; returns what the card must say of their origin."""
    if training.start == "imagenet":
        return NETWORK_DEFINITIONS, load_imagenet(classifier)
    if training.start:
        network, card = load_checkpoint(
            training.start_in or training.out, training.start, kind="classifier", build=build_classifier
        )
        _take_weights(classifier, network, training.start)
        return card.attributions
    return ATTRIBUTIONS


def _take_weights(network: nn.Module, other: nn.Module, name: str) -> None:
    try:
        network.load_state_dict(other.state_dict())
    except RuntimeError as error:
        raise Refusal(
            f"The weights of {name!r} do not fit the configured network; configure the network on its card."
        ) from error


def _described_data(training: Training) -> str:
    if training.data is not None:
        return OWN_DATA
    return SIMULATED_DATA if training.scans is None else NARROWED_DATA


def detector_task(training: Training, network: DetectorConfig, *, field_mm: float = 288.0) -> Task:
    """Region centres and boxes from axial slices."""
    learned: SliceSource = SimulatedSource() if training.data is None else _with_simulated(training)
    validated = learned
    if training.validation is not None:
        validated = ReferenceSource(training.validation, apart_from=training.control)

    def samples(stream: int, count: int) -> Dataset[Sample]:
        source = learned if stream == TRAIN_STREAM else validated
        return SliceStream(source, network, field_mm=field_mm, seed=training.seed, stream=stream, count=count)

    torch.manual_seed(training.seed)
    detector, attributions = Detector(network), ATTRIBUTIONS
    if training.start:
        folder = training.start_in or training.out
        begun, card = load_checkpoint(folder, training.start, kind="detector", build=build_detector)
        _take_weights(detector, begun, training.start)
        attributions = card.attributions
    said = SIMULATED_DATA if training.data is None else OWN_DATA
    return Task("detector", detector, network, samples, detector_losses, said, attributions=attributions)


def _with_simulated(training: Training) -> SliceSource:
    """The group's own slices, each of which holds a canal, mixed with simulated ones, of which some hold none."""
    share, folder = training.simulated_share, training.data
    own = ReferenceSource(folder, apart_from=training.control)  # type: ignore[arg-type]
    return MixedSource((1 - share, own), (share, SimulatedSource()))


def levels_task(training: Training, network: LevelsConfig, *, rows: int = 160) -> Task:
    """Discs along straightened sagittal slabs; learned from simulated volumes only."""
    if training.data is not None:
        raise Refusal("The level network learns from simulated volumes only: a reference.csv names no thoracic discs.")

    def samples(stream: int, count: int) -> Dataset[Sample]:
        return SagittalStream(rows=rows, views=training.views, seed=training.seed, stream=stream, count=count)

    torch.manual_seed(training.seed)
    return Task("levels", LevelNetwork(network), network, samples, levels_losses, SIMULATED_DATA)


def classifier_losses(network: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
    """Likelihood of the grade by each head, of the measures, and of being gradable, each where it is known.

    The measurement head learns the grade too: the measure is then censored to an interval. Masks are learned where they
    are known, which is on simulated patches.
    """
    output = network(batch["crops"], batch["recess"])
    graded = batch["grades"] != UNKNOWN_GRADE
    count = graded.sum().clamp_min(1)
    grades = batch["grades"].clamp_min(0)[:, None]

    def likelihood(log_probabilities: torch.Tensor) -> torch.Tensor:
        return (-log_probabilities.clamp_min(-12.0).gather(1, grades)[:, 0] * graded).sum() / count

    ordinal = likelihood(output.ordinal_log_probabilities())
    gradable = binary_cross_entropy_with_logits(output.gradable_logit, batch["gradable"])
    losses = {"loss": ordinal + 0.3 * gradable, "grade": ordinal, "gradable": gradable}
    if output.measures_count:
        known = ~batch["measures"].isnan()
        density = (output.negative_log_density(batch["measures"].nan_to_num()) * known).sum() / known.sum().clamp_min(1)
        measured = likelihood(output.measured_log_probabilities())
        losses |= {"loss": losses["loss"] + 0.5 * measured + 0.7 * density}
        losses |= {"measure": density if known.any() else density * NAN}
    if output.mask_logits is not None:
        losses |= _mask_loss(output.mask_logits, batch["masks"], losses["loss"])
    right = (output.grade_log_probabilities().argmax(1) == batch["grades"]).float()
    for name, kind in (("central", ~batch["recess"]), ("recess", batch["recess"])):
        losses[name] = right[kind & graded].mean()
    return losses


def _mask_loss(logits: torch.Tensor, masks: torch.Tensor, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Cross-entropy of the masks, per cell, where they are known; added to the loss."""
    known = ~masks[:, 0, 0, 0].isnan()
    if not known.any():
        return {"mask": logits.new_tensor(NAN)}
    drawn = interpolate(logits[known], size=masks.shape[-2:], mode="bilinear")
    mask = binary_cross_entropy_with_logits(drawn, masks[known])
    return {"loss": loss + MASK_WEIGHT * mask, "mask": mask}


def detector_losses(network: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
    """Focal loss of the centres, L1 of offsets and sizes near them, cross-entropy of gradable slices."""
    maps = network(batch["image"])
    heat_loss = focal_loss(maps.heat, batch["heat"])
    geometry = torch.cat([maps.offset, maps.size], dim=2)
    learned = batch["learned"][:, :, None].expand_as(geometry)
    geometry_loss = l1_loss(geometry[learned], batch["geometry"][learned]) if learned.any() else geometry.sum() * 0
    gradable_loss = binary_cross_entropy_with_logits(maps.gradable, batch["gradable"])
    return {
        "loss": heat_loss + geometry_loss + 0.5 * gradable_loss, "heat": heat_loss, "geometry": geometry_loss,
        "gradable": gradable_loss,
    }


def levels_losses(network: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
    """Focal loss of the three kinds of disc, and the error in mm of their places, learned near each disc."""
    maps, counted = network(batch["image"]), batch["counted"][:, None, :, None]
    parts = [focal_loss(maps[:, k : k + 1], batch["heat"][:, k : k + 1], counted) for k in range(TOWARD)]
    near = batch["heat"][:, ANY_DISC] > 0.5
    wanted = batch["toward"][:, :, None].expand_as(near)
    place = (maps[:, TOWARD] - wanted)[near].abs().mean() if near.any() else maps.sum() * 0
    return {
        "loss": parts[0] + parts[1] + parts[2] + PLACE_WEIGHT * place,
        "any": parts[0], "l5s1": parts[1], "thoracic": parts[2], "place": place,
    }


def focal_loss(logits: torch.Tensor, target: torch.Tensor, counted: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Penalty-reduced focal loss of heat maps whose centres are exactly 1 (Zhou 2019, CenterNet), per centre."""
    p = logits.sigmoid()
    centre = target == 1.0
    rewarded = centre * (1 - p) ** 2 * -logsigmoid(logits)
    punished = ~centre * (1 - target) ** 4 * p**2 * -logsigmoid(-logits)
    return ((rewarded + punished) * counted).sum() / centre.sum().clamp_min(1)


class AverageWeights:
    """An exponential moving average of weights and running statistics; young averages forget faster."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.tensors = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                self.tensors[key].lerp_(value, 1 - decay)
            else:
                self.tensors[key].copy_(value)


def train(
    task: Task, training: Training, *, report: Callable[[str], None] = print,
    follow: Callable[[Progress], None] = lambda progress: None, stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train, and write weights, card and resumable state into `training.out`; returns the path of the weights.

    The same configuration and seed give the same weights on the same processor, resumed or not.

    Args:
        follow: Told every `report_every` steps, and where the validation loss is taken.
        stop: Asked after every step.

    Raises:
        Stopped: `stop` said so; the state is saved, and `resume` goes on from it.
    """
    torch.set_num_threads(training.threads)
    network = task.network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    average = AverageWeights(network, training.average)
    run = _Run(task, training, network, optimizer, average)
    torch.manual_seed(training.seed)
    step = run.restore() if training.resume else 0
    if step == 0 and training.start not in ("", "imagenet"):
        begun = run.follow(step, [])            # so that the curve shows whether going on made the model better
        follow(Progress(step, training.steps, {}, begun, 0.0, float("nan")))
    random = torch.get_rng_state()
    batches = _batches(task.samples(TRAIN_STREAM, training.steps * training.batch), training, first=step)
    if training.resume:
        torch.set_rng_state(random)             # opening the loader has drawn, as it had before the state was saved
    validate_at = {round(training.steps * k / training.validations) for k in range(1, training.validations)}
    recent: list[dict[str, float]] = []
    started = reported = saved = time.monotonic()
    rate = 0.0
    for batch in batches:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, training)
        with torch.autocast("cpu", torch.bfloat16, enabled=training.bfloat16):
            losses = task.losses(network, batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update(network)
        step += 1
        recent.append({name: float(value.detach()) for name, value in losses.items()})
        reporting = step % training.report_every == 0 or step in validate_at
        means = _means(recent[-training.report_every :]) if reporting else {}
        validated = run.follow(step, recent) if step in validate_at else {}
        if validated:
            recent.clear()
        now = time.monotonic()
        if step % training.report_every == 0:
            rate = training.report_every * training.batch / (now - reported)
            report(f"step {step}/{training.steps}  {_shown(losses)}  {rate:.1f} samples/s  {now - started:.0f} s")
            reported = now
        if reporting:
            follow(Progress(step, training.steps, means, validated, rate, _left_s(step, training, rate)))
        if stop() and step < training.steps:
            run.save(step)
            raise Stopped(f"Training was stopped after step {step} of {training.steps}; resume it to go on from there.")
        if now - saved >= training.save_every_s:
            run.save(step)
            saved = now
    return run.finish(step, report)


def _means(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each loss over some steps; a loss of which no step knew the value is left out."""
    values = {name: [each[name] for each in losses] for name in (losses[0] if losses else {})}
    return {name: float(np.nanmean(each)) for name, each in values.items() if not np.isnan(each).all()}


def _left_s(step: int, training: Training, samples_per_s: float) -> float:
    return (training.steps - step) * training.batch / samples_per_s if samples_per_s else float("nan")


def learning_rate_at(step: int, training: Training) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    done = (step - training.warmup) / max(training.steps - training.warmup, 1)
    return training.learning_rate * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * min(done, 1.0)))))


def _batches(samples: Dataset[Sample], training: Training, *, first: int) -> Iterator[Sample]:
    """Batches from step `first` on, in order, rendered by worker processes."""
    order = range(first * training.batch, training.steps * training.batch)
    loader = DataLoader(
        samples, batch_size=training.batch, sampler=order, collate_fn=joined, num_workers=training.workers,
        prefetch_factor=4 if training.workers else None, worker_init_fn=_begin_worker,
    )
    return iter(loader)


def _begin_worker(_: int) -> None:
    """One thread; where all processes are told to end, the trainer does so first and needs its samples until then."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _shown(losses: Mapping[str, torch.Tensor]) -> str:
    return "  ".join(f"{name} {float(value.detach()):.3f}" for name, value in losses.items())


@dataclass(frozen=True)
class _Run:
    """What a training run keeps on disk."""

    task: Task
    training: Training
    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: AverageWeights
    curve: list[dict[str, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.training.name or self.task.kind

    @property
    def state_path(self) -> Path:
        return self.training.out / f"{self.name}.resume.pt"

    def _described(self) -> dict[str, Any]:
        """The fields that decide the weights, as JSON values."""
        kept = asdict(self.training)
        for where in PLACES:
            del kept[where]
        folders = {name: getattr(self.training, name) for name in ("data", "validation", "scans")}
        return kept | {name: None if path is None else path.name for name, path in folders.items()}

    def save(self, step: int) -> None:
        """Write the state from which `restore` goes on exactly."""
        self.training.out.mkdir(parents=True, exist_ok=True)
        partial_path = self.state_path.with_suffix(".partial")
        torch.save({
            "step": step, "described": self._described(), "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(), "average": self.average.tensors,
            "average_steps": self.average.steps, "random": torch.get_rng_state(), "curve": self.curve,
        }, partial_path)
        partial_path.replace(self.state_path)

    def restore(self) -> int:
        """Take up a saved state; returns the steps done. Refuses a state of another configuration."""
        if not self.state_path.is_file():
            raise Refusal(f"There is nothing to resume: {self.state_path} is missing; train without --resume.")
        state = torch.load(self.state_path, weights_only=True)
        if state["described"] != self._described():
            changed = [k for k, v in self._described().items() if state["described"].get(k) != v]
            raise Refusal(f"Cannot resume with another configuration ({', '.join(changed)}); repeat the first flags.")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.tensors, self.average.steps = state["average"], state["average_steps"]
        torch.set_rng_state(state["random"])
        self.curve.extend(state["curve"])
        return int(state["step"])

    def follow(self, step: int, recent: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Note the mean training losses of the latest steps and the validation losses of the averaged weights, which
        are returned."""
        own = {key: value.clone() for key, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.tensors)
        validated = validate(self.task, self.network, self.training)
        self.network.load_state_dict(own)
        self.network.train()
        self._note(step, validated, _means(recent))
        return validated

    def _note(self, step: int, validated: Mapping[str, float], trained: Mapping[str, float] | None = None) -> None:
        point = {"step": step} | {f"validation_{name}": value for name, value in validated.items()}
        self.curve.append(point | {f"training_{name}": value for name, value in (trained or {}).items()})

    def finish(self, step: int, report: Callable[[str], None]) -> Path:
        """Keep the averaged weights, measured on fresh validation samples, and drop the resumable state."""
        self.network.load_state_dict(self.average.tensors)
        metrics = validate(self.task, self.network, self.training)
        self._note(step, metrics)
        report("validation  " + "  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
        report("calibrating and writing")       # takes minutes where there is a validation part
        save_checkpoint(
            self.training.out, self.network, name=self.name, kind=self.task.kind, configuration=self.task.configuration,
            training=self._described() | {"steps_done": step},
            data=self.task.data, metrics={"validation": metrics, "curve": self.curve},
            created=datetime.now(UTC).date().isoformat(), calibration=self.task.calibrate(self.network),
            attributions=self.task.attributions,
        )
        self.state_path.unlink(missing_ok=True)
        return self.training.out / f"{self.name}.safetensors"


def validate(task: Task, network: nn.Module, training: Training) -> dict[str, float]:
    """Mean of the losses over samples of the validation stream, in float32."""
    network.eval()
    steps = max(1, VALIDATION_SAMPLES // training.batch)
    short = replace(training, steps=steps)
    with torch.inference_mode():
        totals = [
            {name: float(value) for name, value in task.losses(network, batch).items()}
            for batch in _batches(task.samples(VALIDATION_STREAM, steps * training.batch), short, first=0)
        ]
    return _means(totals)


@dataclass(frozen=True)
class Recipe:
    """A trainable network: its configuration, its task and the defaults that the shipped weights come from."""

    network: type
    task: Callable[[Training, Any], Task]
    defaults: Training


RECIPES: dict[str, Recipe] = {
    "classifier": Recipe(
        ClassifierConfig, classifier_task,
        Training(name="new", bank=Path("runs/bank"), steps=1800, batch=16, warmup=100, learning_rate=2e-3),
    ),
    "detector": Recipe(
        DetectorConfig, detector_task, Training(name="detector", steps=1200, batch=16, learning_rate=3e-3),
    ),
    "levels": Recipe(
        LevelsConfig, levels_task,
        Training(name="levels", steps=1000, batch=4, views=3, learning_rate=2e-3, bfloat16=True),
    ),
}
