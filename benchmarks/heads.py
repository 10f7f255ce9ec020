"""How much the measurement head should count in a canal's grade, on the bank's validation patches.

    python -m benchmarks.heads [--bank runs/bank] [--patches 600] [--models v1 v2]

Grades are pooled over views as in grading, at the temperature that suits each weight; `ClassifierConfig` says which
weight is used, and 0.5 is what cards without one have. The bank is rendered where there is none.
Simulated: nothing is said of patients.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lss_core.grading.checkpoint import load_checkpoint
from lss_core.grading.classifier import build_classifier
from lss_core.grading.doubt import KINDS, tempered
from lss_core.grading.pipeline import MODELS
from lss_core.statistics.calibration import fit_temperature, log_loss
from lss_core.training.calibrate import judged_patches
from lss_core.training.data import VALIDATION_STREAM
from lss_core.training.train import Training, graded_source

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
CANAL = KINDS[0]
SEED = 77                           # of box errors and noise; calibration draws others


def line(weight: float, logs: np.ndarray, truth: np.ndarray) -> str:
    """Accuracy, log loss and sensitivities of pooled log-probabilities [n, 4]."""
    right = logs.argmax(axis=1) == truth
    loss = log_loss(tempered(logs, fit_temperature(logs, truth)), truth)
    each = " ".join(f"{right[truth == grade].mean():.3f}" for grade in range(4))
    return f"  {weight:.2f}: right {right.mean():.4f}, log loss {loss:.4f}, by grade {each}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--bank", type=Path, default=Path("runs/bank"), metavar="FOLDER")
    parser.add_argument("--patches", type=int, default=600)
    parser.add_argument("--models", nargs="+", default=["v1", "v2"], metavar="VERSION")
    options = parser.parse_args()
    torch.set_num_threads(2)
    source = graded_source(Training(bank=options.bank), VALIDATION_STREAM)
    for version in options.models:
        network, _ = load_checkpoint(MODELS, version, kind="classifier", build=build_classifier)
        alone = []                      # each head by itself: pooled logarithms of any weight lie between the two
        for weight in (0.0, 1.0):
            network.config = replace(network.config, canal_measured_weight=weight)
            logs, truth = judged_patches(network, source, seed=SEED, patches=options.patches)
            alone.append(logs[CANAL])
        print(f"{version}, SIMULATED canals of {options.patches} patches, by the measurement head's weight:")
        for weight in WEIGHTS:
            print(line(weight, (1 - weight) * alone[0] + weight * alone[1], truth[CANAL]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
