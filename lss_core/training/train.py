"""Training of the three networks: one loop, three tasks; the fields of the configurations are the command's flags."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, logsigmoid
from torch.utils.data import DataLoader, Dataset

from lss_core.grading.checkpoint import save_checkpoint
from lss_core.grading.classifier import Classifier, ClassifierConfig
from lss_core.grading.detector import Detector, DetectorConfig
from lss_core.grading.levels import LevelNetwork, LevelsConfig
from lss_core.training.data import (
    TRAIN_STREAM,
    VALIDATION_STREAM,
    CropStream,
    PatchSource,
    SagittalStream,
    Sample,
    SimulatedSource,
    SliceSource,
    SliceStream,
    joined,
)
from lss_core.training.reference import ReferenceSource
from lss_core.vocabulary import Refusal

SIMULATED_DATA = "trained on simulated CT (lss_core.simulation), no patient's images; stream and seed in `training`"
OWN_DATA = "trained on de-identified scans of the training group with their reference standard"
VALIDATION_SAMPLES = 96


@dataclass(frozen=True)
class Training:
    """How a network is trained; every field is a flag of `python -m lss_core train`."""

    out: Path = Path("models")
    name: str = ""                  # of the files; "" takes the task's name
    data: Path | None = None        # folder of scans with reference.csv; none means simulated patients
    seed: int = 1
    steps: int = 4000
    batch: int = 16                 # rendered samples a step
    views: int = 1                  # variations of each rendered sample
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 200               # steps
    average: float = 0.998          # decay of the averaged weights, which are the ones kept
    workers: int = 2                # rendering processes
    threads: int = 1                # of the training process
    bfloat16: bool = True           # forward passes in training only; grading is always float32
    save_every_s: float = 120.0
    report_every: int = 50          # steps
    resume: bool = False


@dataclass(frozen=True)
class Task:
    """A network, its samples and its loss."""

    kind: str
    network: nn.Module
    configuration: Any
    samples: Callable[[int, int], Dataset[Sample]]              # (stream, count)
    losses: Callable[[nn.Module, Sample], dict[str, torch.Tensor]]      # "loss" first, then what is reported


def classifier_task(training: Training, network: ClassifierConfig) -> Task:
    """Grades and measures from crops."""
    source: PatchSource = SimulatedSource() if training.data is None else ReferenceSource(training.data)

    def samples(stream: int, count: int) -> Dataset[Sample]:
        return CropStream(source, network, views=training.views, seed=training.seed, stream=stream, count=count)

    return Task("classifier", Classifier(network), network, samples, classifier_losses)


def detector_task(training: Training, network: DetectorConfig, *, field_mm: float = 288.0) -> Task:
    """Region centres and boxes from axial slices."""
    source: SliceSource = SimulatedSource() if training.data is None else ReferenceSource(training.data)

    def samples(stream: int, count: int) -> Dataset[Sample]:
        return SliceStream(source, network, field_mm=field_mm, seed=training.seed, stream=stream, count=count)

    return Task("detector", Detector(network), network, samples, detector_losses)


def levels_task(training: Training, network: LevelsConfig, *, rows: int = 160) -> Task:
    """Discs along straightened sagittal slabs; learned from simulated volumes only."""
    if training.data is not None:
        raise Refusal("The level network learns from simulated volumes only: a reference.csv names no thoracic discs.")

    def samples(stream: int, count: int) -> Dataset[Sample]:
        return SagittalStream(rows=rows, views=training.views, seed=training.seed, stream=stream, count=count)

    return Task("levels", LevelNetwork(network), network, samples, levels_losses)


def classifier_losses(network: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
    """Likelihood of the grade (the measure is censored to an interval) plus that of the measure where it is known."""
    distribution = network(batch["crops"], batch["recess"])
    log_probabilities = distribution.grade_log_probabilities().clamp_min(-12.0)
    grade_loss = -log_probabilities.gather(1, batch["grades"][:, None]).mean()
    known = ~batch["measures"].isnan()
    density = distribution.negative_log_density(batch["measures"].nan_to_num())
    measure_loss = (density * known).sum() / known.sum().clamp_min(1)
    right = (log_probabilities.argmax(1) == batch["grades"]).float()
    return {
        "loss": grade_loss + 0.5 * measure_loss, "grade": grade_loss, "measure": measure_loss,
        "central": right[~batch["recess"]].mean(), "recess": right[batch["recess"]].mean(),
    }


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
    """Focal loss of the three kinds of disc."""
    logits, counted = network(batch["image"]), batch["counted"][:, None, :, None]
    parts = [focal_loss(logits[:, k : k + 1], batch["heat"][:, k : k + 1], counted) for k in range(3)]
    return {"loss": parts[0] + parts[1] + parts[2], "any": parts[0], "l5s1": parts[1], "thoracic": parts[2]}


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


def train(task: Task, training: Training, *, report: Callable[[str], None] = print) -> Path:
    """Train, and write weights, card and resumable state into `training.out`; returns the path of the weights.

    The same configuration and seed give the same weights on the same processor, resumed or not.
    """
    torch.set_num_threads(training.threads)
    network = task.network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    average = AverageWeights(network, training.average)
    run = _Run(task, training, network, optimizer, average)
    torch.manual_seed(training.seed)
    step = run.restore() if training.resume else 0
    batches = _batches(task.samples(TRAIN_STREAM, training.steps * training.batch), training, first=step)
    started = reported = saved = time.monotonic()
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
        now = time.monotonic()
        if step % training.report_every == 0:
            rate = training.report_every * training.batch / (now - reported)
            report(f"step {step}/{training.steps}  {_shown(losses)}  {rate:.1f} samples/s  {now - started:.0f} s")
            reported = now
        if now - saved >= training.save_every_s:
            run.save(step)
            saved = now
    return run.finish(step, report)


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
        prefetch_factor=4 if training.workers else None, worker_init_fn=_one_thread,
    )
    return iter(loader)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


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

    @property
    def name(self) -> str:
        return self.training.name or self.task.kind

    @property
    def state_path(self) -> Path:
        return self.training.out / f"{self.name}.resume.pt"

    def _described(self) -> dict[str, Any]:
        """The fields that decide the weights, as JSON values."""
        kept = asdict(self.training)
        for where in ("out", "resume", "save_every_s", "report_every"):
            del kept[where]
        return kept | {"data": None if self.training.data is None else self.training.data.name}

    def save(self, step: int) -> None:
        """Write the state from which `restore` goes on exactly."""
        self.training.out.mkdir(parents=True, exist_ok=True)
        partial_path = self.state_path.with_suffix(".partial")
        torch.save({
            "step": step, "described": self._described(), "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(), "average": self.average.tensors,
            "average_steps": self.average.steps, "random": torch.get_rng_state(),
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
        return int(state["step"])

    def finish(self, step: int, report: Callable[[str], None]) -> Path:
        """Keep the averaged weights, measured on fresh validation samples, and drop the resumable state."""
        self.network.load_state_dict(self.average.tensors)
        metrics = validate(self.task, self.network, self.training)
        report("validation  " + "  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
        save_checkpoint(
            self.training.out, self.network, name=self.name, kind=self.task.kind, configuration=self.task.configuration,
            training=self._described() | {"steps_done": step},
            data=SIMULATED_DATA if self.training.data is None else OWN_DATA, metrics={"validation": metrics},
            created=datetime.now(UTC).date().isoformat(),
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
    return {name: float(np.nanmean([total[name] for total in totals])) for name in totals[0]}


@dataclass(frozen=True)
class Recipe:
    """A trainable network: its configuration, its task and the defaults that the shipped weights come from."""

    network: type
    task: Callable[[Training, Any], Task]
    defaults: Training


RECIPES: dict[str, Recipe] = {
    "classifier": Recipe(
        ClassifierConfig, classifier_task, Training(name="v1", steps=1400, batch=16, views=2, learning_rate=1.5e-3)
    ),
    "detector": Recipe(
        DetectorConfig, detector_task,
        Training(name="detector", steps=1200, batch=16, learning_rate=3e-3, bfloat16=False),
    ),
    "levels": Recipe(
        LevelsConfig, levels_task, Training(name="levels", steps=500, batch=4, views=3, learning_rate=2e-3)
    ),
}
