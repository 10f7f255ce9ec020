"""How long the analysis of a study takes: `python -m benchmarks.analysis`.

One run prints, with the machine's load beside them: the whole analysis of 30 readers x 500 cases x 3 regions with 2,000
bootstraps of patients (asked: below 5 s), of 100,000 readings (below 20 s), how the time grows with the readings (at
most linear: the ratio of times over the ratio of readings is at most 1), and the bootstrap of kappa, balanced accuracy
and macro-F1 against a plain loop over scikit-learn's functions (at least 20 times faster). Times are of the processor,
with one thread for linear algebra, so that other programs on the machine count less; the wall's are beside them.
"""

from __future__ import annotations

import argparse
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score  # noqa: E402

from lss_core.statistics.agreement import confusion_by_cluster  # noqa: E402
from lss_core.statistics.reader_rates import rates_of_readers  # noqa: E402
from lss_core.study.protocol import AnalysisPlan  # noqa: E402
from lss_core.study.readings import StudyTables, check_tables  # noqa: E402
from lss_core.study.report import analyse  # noqa: E402
from lss_core.vocabulary import DiscLevel, Region  # noqa: E402

LEVELS = ("junior", "intermediate", "senior")
CASES_OF_PATIENT = 5
LOOPED = 20                     # resamples of the plain loop; its time is scaled up


def tables_of(readers: int, cases: int, *, arms: tuple[str, ...] = ("unaided",), seed: int = 0) -> StudyTables:
    """Readings of invented readers: the reference, one grade off at random, with confidence, time and place."""
    rng = np.random.default_rng(seed)
    regions = [region.value for region in Region]
    case = np.repeat(np.arange(cases), len(regions))
    truth = rng.integers(0, 4, len(case))
    reference = pd.DataFrame({
        "patient": [f"P{each // CASES_OF_PATIENT:05}" for each in case], "case": case.astype(str),
        "region": np.tile(regions, cases), "grade": truth.astype(str),
    })
    levels = np.array([level.value for level in DiscLevel])
    readings = pd.concat([
        reference.assign(
            reader=f"R{r:02}", experience=LEVELS[r % 3], arm=arm, session=str(1 + (k + r) % len(arms)),
            level=levels[case % len(levels)], confidence=rng.integers(40, 101, len(case)).astype(str),
            grade=_near(truth, rng, 0.25).astype(str), position=(1 + rng.permutation(cases))[case].astype(str),
            duration_s=np.round(rng.lognormal(3.5, 0.3, cases), 3)[case].astype(str), is_repeat="0", image_quality="",
        ) for r in range(readers) for k, arm in enumerate(arms)
    ], ignore_index=True)
    chances = rng.dirichlet(np.ones(4), len(case)) * 0.4 + 0.6 * np.eye(4)[_near(truth, rng, 0.2)]
    model = reference.assign(version="v1", grade=chances.argmax(axis=1).astype(str),
                             **{f"p{k}": np.round(chances[:, k], 5).astype(str) for k in range(4)})
    return check_tables(readings, reference, model)


def _near(truth: np.ndarray, rng: np.random.Generator, wrong: float) -> np.ndarray:
    step = np.where(rng.random(len(truth)) < wrong, rng.choice([-1, 1], len(truth)), 0)
    return np.clip(truth + step, 0, 3)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """(processor, wall) seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def bootstrap_against_loop(bootstraps: int) -> float:
    """How many times faster the bootstrap of ten readers' rates is than scikit-learn called for each resample."""
    rng = np.random.default_rng(1)
    cases, readers = 500, 10
    truth = rng.integers(0, 4, cases)
    patients = np.arange(cases) // CASES_OF_PATIENT
    grades = np.stack([_near(truth, rng, 0.25) for _ in range(readers)])
    rows = [np.flatnonzero(patients == each) for each in range(patients.max() + 1)]

    def loop() -> None:
        for _ in range(LOOPED):
            drawn = np.concatenate([rows[each] for each in rng.integers(0, len(rows), len(rows))])
            for grade in grades:
                cohen_kappa_score(truth[drawn], grade[drawn], weights="quadratic", labels=range(4))
                balanced_accuracy_score(truth[drawn], grade[drawn])
                f1_score(truth[drawn], grade[drawn], average="macro")

    def vectorised() -> None:
        matrices = [confusion_by_cluster(truth, grade, patients, categories=range(4)) for grade in grades]
        rates_of_readers(np.stack(matrices, axis=1), resamples=bootstraps)

    return timed(loop)[0] / LOOPED * bootstraps / timed(vectorised)[0]


def main() -> None:
    """Print the times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--bootstraps", type=int, default=2000)
    options = parser.parse_args()
    plan = AnalysisPlan(bootstraps=options.bootstraps)
    analyse(tables_of(4, 10), AnalysisPlan(bootstraps=10))                  # imports and caches
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    seconds = {}
    for readers, cases in ((30, 250), (30, 500), (30, 1112)):
        tables = tables_of(readers, cases)
        cpu, wall = timed(lambda tables=tables: analyse(tables, plan))
        seconds[cases] = cpu
        print(f"{readers} readers x {cases} cases x 3 regions = {len(tables.readings)} readings: {cpu:.2f} s of the "
              f"processor, {wall:.2f} s on the wall")
    for less, more in ((250, 500), (500, 1112)):
        print(f"growth from {less} to {more} cases: {seconds[more] / seconds[less] / (more / less):.2f} of linear")
    small = tables_of(9, 42, arms=("unaided", "aided"))
    cpu, wall = timed(lambda: analyse(small, plan))
    print(f"9 readers x 42 cases x 3 regions x 2 arms: {cpu:.2f} s of the processor, {wall:.2f} s on the wall")
    print(f"bootstrap of all rates against a loop over scikit-learn for three of them: "
          f"{bootstrap_against_loop(options.bootstraps):.0f} times faster")


if __name__ == "__main__":
    main()
