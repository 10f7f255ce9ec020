"""A models folder with tiny classifiers, to try what happens to model versions without training any."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lss_core.grading.checkpoint import Card, save_checkpoint
from lss_core.grading.classifier import GRADABLE, Classifier, ClassifierConfig
from lss_core.grading.detector import Detector, DetectorConfig
from lss_core.grading.doubt import KINDS, grade_set
from lss_core.settings import Settings
from lss_core.training.evaluation import evaluation_as_json
from lss_core.training.outcomes import Missed, Outcome, RunHeader, ScanOutcomes
from lss_core.training.performance import compare_versions, evaluation_of
from lss_core.vocabulary import (
    CANAL_AP,
    RECESS_HEIGHT,
    SAC_AREA,
    Box,
    DiscLevel,
    Region,
    RegionGrade,
    grade_of_measure,
    measure_of,
    measures_of,
)

TINY = ClassifierConfig(backbone="test_resnet", hidden=16, dropout=0.0)
SHIPPED = Settings().models
RANGES = {SAC_AREA: (40.0, 200.0), CANAL_AP: (6.0, 20.0), RECESS_HEIGHT: (0.5, 8.0)}
# Not fitted on anything: values with which sets of more than one grade come about.
CALIBRATION = {
    "temperature": dict.fromkeys(KINDS, 1.0), "set_threshold": dict.fromkeys(KINDS, 0.6), "coverage": 0.9,
    "measured_on": "nothing: a version made for tests",
}


def add_version(
    folder: Path, name: str, *, seed: int = 0, metrics: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
) -> Card:
    """Save an untrained classifier that takes every crop for gradable."""
    torch.manual_seed(seed)
    classifier = Classifier(TINY)
    with torch.no_grad():
        for head in (classifier.canal_head, classifier.recess_head):
            head[-1].bias[GRADABLE] = 5.0
            head[-1].weight.mul_(100)           # so that versions and crops differ
            head[-1].weight[GRADABLE] = 0.0
    return save_checkpoint(
        folder, classifier, name=name, kind="classifier", configuration=classifier.config,
        training={"name": name, "data": None, "seed": seed, "steps": 0}, data="not trained: made for tests",
        metrics=metrics or {}, created="2026-01-01", calibration=calibration,
    )


def add_shared_networks(folder: Path) -> None:
    """Copy the shipped detector and level network."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("detector", "levels"):
        for ending in ("json", "safetensors"):
            shutil.copy(SHIPPED / f"{name}.{ending}", folder)


def add_detector(folder: Path, name: str) -> Card:
    """Save an untrained region detector."""
    torch.manual_seed(0)
    configuration = DetectorConfig(width=8)
    return save_checkpoint(
        folder, Detector(configuration), name=name, kind="detector", configuration=configuration,
        training={"name": name, "data": None, "seed": 0, "steps": 0}, data="not trained: made for tests",
        metrics={}, created="2026-01-01",
    )


def damage(folder: Path, name: str) -> None:
    """Change one byte in the middle of a version's weights."""
    path = folder / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def made_up_outcomes(version: str, *, patients: int = 12, seed: int = 0) -> list[ScanOutcomes]:
    """Outcomes drawn at random: as wrong as one likes, and complete enough for every figure."""
    rng = np.random.default_rng(seed)
    scans = []
    for patient in range(patients):
        truth = np.random.default_rng(patient)              # the same reference for every version
        name = f"P{patient:03d}"
        subgroups = {"kernel": str(truth.choice(["soft", "bone"])), "slice thickness": "up to 1.25 mm"}
        outcomes = [
            _made_up(name, level, region, truth, rng, subgroups) for level in DiscLevel for region in Region
        ]
        scans.append(ScanOutcomes(name, "", CALIBRATION["coverage"], tuple(outcomes)))
    return scans


def _made_up(
    patient: str, level: DiscLevel, region: Region, truth: np.random.Generator, rng: np.random.Generator,
    subgroups: Mapping[str, str],
) -> Outcome:
    known = {name: float(truth.uniform(*RANGES[name])) for name in measures_of(region)}
    grade = grade_of_measure(measure_of(region), known[measure_of(region)])
    missed, graded = None, None
    if rng.random() < 0.03:
        missed = Missed.NOT_FOUND
    else:
        measured = {name: value + float(rng.normal(0, 0.06 * RANGES[name][1])) for name, value in known.items()}
        logits = -np.abs(np.arange(4) - int(grade) - rng.normal(0, 0.5)) * 2
        first, second, third, fourth = (np.exp(logits) / np.exp(logits).sum()).tolist()
        probabilities = (first, second, third, fourth)
        graded = RegionGrade(
            Box(1, 1, 9, 9), 0.9, probabilities, measured, grade_set(np.array(probabilities), 0.8),
            ("A doubt.",) if rng.random() < 0.1 else (),
        )
    return Outcome(
        patient, level, region, grade, graded, missed, "The disc was not found." if missed else "",
        None if missed else 3, known, 0.4, subgroups,
    )


def made_up_evaluations(cards: Sequence[Card], *, set_name: str = "simulated") -> dict[str, dict[str, Any]]:
    """By version, the evaluation as a card holds it, with the versions compared in pairs."""
    scans = {card.name: made_up_outcomes(card.name, seed=k) for k, card in enumerate(cards)}
    tests = compare_versions({name: [o for scan in each for o in scan.outcomes] for name, each in scans.items()})
    return {
        card.name: evaluation_as_json(replace(
            evaluation_of(
                scans[card.name], statement=f"Numbers drawn at random for tests ({set_name}); nothing was measured.",
                set_name=set_name, header=RunHeader("0" * 64, card.name, card.weights_sha256, "0" * 64), named=True,
            ),
            comparisons=tuple(test for test in tests if card.name in (test.first, test.second)),
        ))
        for card in cards
    }


def made_up_run(folder: Path, evaluations: Mapping[str, Mapping[str, Any]]) -> None:
    """What a run leaves beside its figures, as far as the pages read it: two grey pictures a version."""
    (folder / "failures").mkdir(parents=True)
    failures = []
    for version, evaluation in evaluations.items():
        header = RunHeader(evaluation["set_sha256"], version, evaluation["weights_sha256"], "0" * 64)
        (folder / f"outcomes-{version}.jsonl").write_text(json.dumps(asdict(header)) + "\n")
        for number, level in enumerate(("L4/5", "L5/S1")):
            picture = f"{number}-{version}.png"
            Image.new("L", (660, 700), 60 + 40 * number).save(folder / "failures" / picture)
            failures.append({
                "picture": picture, "model_version": version, "patient": "P001", "level": level,
                "region": "central_canal", "reference": 3, "predicted": 1,
            })
    (folder / "failures" / "failures.json").write_text(json.dumps({"statement": "made up", "failures": failures}))
