"""What benchmarks on simulated patients, or on outlined scans instead, share: their options, the processes, and v1."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch

from lss_core.grading.pipeline import MODELS, Grader
from lss_core.training.data import check_evaluation_seed

Result = TypeVar("Result")


def patient_options(description: str, *, patients: int) -> argparse.ArgumentParser:
    """A parser with --patients, --seed, --workers and --scans."""
    parser = argparse.ArgumentParser(description=description.split("\n\n")[0])
    parser.add_argument("--patients", type=int, default=patients)
    parser.add_argument("--seed", type=int, default=1_900_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scans", type=Path, metavar="DIR", help="folder of outlined scans, instead of patients")
    return parser


def over_patients(work: Callable[[int], list[Result]], options: argparse.Namespace) -> list[Result]:
    """What `work` (which must be importable, or a partial of what is) finds in each patient's number, in their order.

    Raises:
        Refusal: the seed is one that training uses.
    """
    check_evaluation_seed(options.seed)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        found = [each for of_one in pool.map(work, range(options.patients)) for each in of_one]
    print(f"SIMULATED, seed {options.seed}, {options.patients} patients")
    return found


@cache
def grader(models: Path = MODELS) -> Grader:
    """v1, loaded once in each process, which it keeps to one thread."""
    torch.set_num_threads(1)
    return Grader.load("v1", models=models)
