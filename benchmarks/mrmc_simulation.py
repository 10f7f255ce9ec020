"""How often MRMC inference errs: studies are simulated with known variance components and analysed.

    python -m benchmarks.mrmc_simulation [--studies 2000] [--seed 1] [--only crossed,split_plot] [--json FILE]

Scores follow the model of Roe and Metz (Acad. Radiol. 1997;4:298-303): score = separation x truth + normal effects of
reader, case, arm x reader, arm x case, reader x case and a residual, the readers' effects drawn apart for positive and
negative cases. Grades are such scores cut at fixed thresholds. Each scenario has a true difference, most often 0;
printed are how often p < .05, how often the 95 % interval holds the true difference and the arm's true mean, and the
distance of the p-values' distribution from the uniform one with its Kolmogorov-Smirnov p-value.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import kstest, norm

from lss_core.statistics.mrmc import FIXED, RANDOM, Difference, obuchowski_rockette
from lss_core.statistics.mrmc_covariance import reader_merits
from lss_core.statistics.mrmc_levels import compare_levels
from lss_core.statistics.mrmc_merit import Merit, area, exact_accuracy, kappa, sensitivity
from lss_core.statistics.mrmc_readings import Readings, readings_from_arrays
from lss_core.statistics.mrmc_standalone import compare_with_readers
from lss_core.statistics.reading_time import compare_times

CUTS = (-0.3, 0.7, 1.6)             # of scores into grades 0 to 3


@dataclass(frozen=True)
class Spread:
    """Variances of the score's effects; by default of the order of Roe and Metz's high case, low reader variance."""

    reader: float = 0.0055
    arm_reader: float = 0.0055
    case: float = 0.3
    arm_case: float = 0.3
    reader_case: float = 0.2
    residual: float = 0.2
    patient: float = 0.0            # what the cases of a patient share
    arm_patient: float = 0.0

    @property
    def total(self) -> float:
        return sum(asdict(self).values())

    def area(self, separation: float) -> float:
        """Mean area under the ROC curve over readers."""
        return float(norm.cdf(separation / math.sqrt(2 * self.total)))


@dataclass(frozen=True)
class Outcome:
    """One analysis of one study; p and interval are NaN, and count as missing, where it is not estimable."""

    p_value: float
    low: float
    high: float
    true_difference: float
    mean_low: float = math.nan
    mean_high: float = math.nan
    true_mean: float = math.nan


@dataclass(frozen=True)
class Errors:
    """What the studies of a scenario came to."""

    scenario: str
    studies: int
    not_estimable: int
    rejected: float                 # share with p < .05
    coverage: float                 # of the difference
    mean_coverage: float            # of the first arm's mean; NaN where its truth is not known
    distance: float                 # Kolmogorov-Smirnov, of p-values from uniform
    distance_p: float
    seconds: float


def scores(
    rng: np.random.Generator, truth: np.ndarray, spread: Spread, *, arms: int, readers: int,
    separation: tuple[float, ...] | float = 1.5, patients: np.ndarray | None = None,
) -> np.ndarray:
    """Scores [arm, reader, case] of the model; patients are numbers from 0."""
    cases = len(truth)

    def effect(variance: float, *shape: int) -> np.ndarray:
        return rng.normal(0, math.sqrt(variance), shape)

    group = (truth > 0).astype(int)
    found = np.reshape(separation, (-1, 1, 1)) * truth + np.zeros((arms, 1, 1))
    found = found + effect(spread.reader, 1, readers, 2)[:, :, group]
    found = found + effect(spread.arm_reader, arms, readers, 2)[:, :, group]
    found = found + effect(spread.case, 1, 1, cases) + effect(spread.arm_case, arms, 1, cases)
    found = found + effect(spread.reader_case, 1, readers, cases) + effect(spread.residual, arms, readers, cases)
    if patients is not None:
        found = found + effect(spread.patient, 1, 1, patients.max() + 1)[:, :, patients]
        found = found + effect(spread.arm_patient, arms, 1, patients.max() + 1)[:, :, patients]
    return found


def grades(latent: np.ndarray) -> np.ndarray:
    return np.digitize(latent, CUTS).astype(float)


def halves(cases: int) -> np.ndarray:
    return (np.arange(cases) % 2).astype(float)


def outcome(difference: Difference, true_difference: float = 0.0) -> Outcome:
    return Outcome(difference.p_value, difference.estimate.low, difference.estimate.high, true_difference)


def analysed(
    readings: Readings, merit: Merit, *, method: str = "jackknife", readers: str = RANDOM, cases: str = RANDOM,
    true_difference: float = 0.0, true_mean: float = math.nan,
) -> Outcome:
    found = obuchowski_rockette(reader_merits(readings, merit, method=method), readers=readers, cases=cases)
    mean = found.means[0].estimate
    return replace(outcome(found.differences[0], true_difference), p_value=found.test.p_value, mean_low=mean.low,
                   mean_high=mean.high, true_mean=true_mean)


def crossed(rng: np.random.Generator, method: str = "jackknife", arms: int = 2, readers: int = 6) -> Outcome:
    spread, truth = Spread(), halves(100)
    made = readings_from_arrays(scores(rng, truth, spread, arms=arms, readers=readers), truth)
    return analysed(made, area(), method=method, true_mean=spread.area(1.5))


def different(rng: np.random.Generator) -> Outcome:
    """Arms that differ: the interval is to hold the true difference; the p-values are not to be uniform."""
    spread, truth = Spread(), halves(100)
    made = readings_from_arrays(scores(rng, truth, spread, arms=2, readers=6, separation=(1.8, 1.4)), truth)
    return analysed(made, area(), true_difference=spread.area(1.8) - spread.area(1.4), true_mean=spread.area(1.8))


def low_case_variance(rng: np.random.Generator) -> Outcome:
    spread = Spread(reader=0.03, arm_reader=0.03, case=0.1, arm_case=0.1, reader_case=0.2, residual=0.6)
    truth = halves(100)
    made = readings_from_arrays(scores(rng, truth, spread, arms=2, readers=5), truth)
    return analysed(made, area(), true_mean=spread.area(1.5))


def fixed_readers(rng: np.random.Generator) -> Outcome:
    """Without arm x reader effects the null is true for these readers too."""
    truth = halves(100)
    made = readings_from_arrays(scores(rng, truth, Spread(arm_reader=0), arms=2, readers=4), truth)
    return analysed(made, area(), readers=FIXED)


def fixed_cases(rng: np.random.Generator) -> Outcome:
    """Without effects of arm and case the null is true for these cases too."""
    truth = halves(100)
    made = readings_from_arrays(scores(rng, truth, Spread(case=0.6, arm_case=0), arms=2, readers=6), truth)
    return analysed(made, area(), cases=FIXED)


def of_sensitivity(rng: np.random.Generator) -> Outcome:
    spread, truth = Spread(), halves(120)
    made = readings_from_arrays(scores(rng, truth, spread, arms=2, readers=6), truth)
    return analysed(made, sensitivity(called_from=0.7), method="delong",
                    true_mean=float(norm.cdf(0.8 / math.sqrt(spread.total))))


def of_grades(rng: np.random.Generator, merit: Merit) -> Outcome:
    truth = (np.arange(120) % 4).astype(float)
    latent = scores(rng, truth / 1.5, Spread(), arms=2, readers=6, separation=1.0)
    return analysed(readings_from_arrays(grades(latent), truth), merit)


def clustered(rng: np.random.Generator, by_patient: bool = True) -> Outcome:
    """Three regions a patient, most of them positive or negative together; taken for independent they count too much.
    """
    patients = np.repeat(np.arange(60), 3)
    ill = np.arange(60) % 5 < 2
    truth = (rng.random(len(patients)) < np.where(ill, 0.9, 0.1)[patients]).astype(float)
    spread = Spread(case=0.1, arm_case=0.1, patient=0.3, arm_patient=0.3)
    latent = scores(rng, truth, spread, arms=2, readers=6, patients=patients)
    made = readings_from_arrays(latent, truth, clusters=patients if by_patient else None)
    return analysed(made, area())


def split_plot(rng: np.random.Generator, blocks: int = 2, readers: int = 8, cases: int = 200) -> Outcome:
    """Readers and cases in blocks; as many blocks as readers nests the cases in readers."""
    spread, truth = Spread(), halves(cases)
    latent = scores(rng, truth, spread, arms=2, readers=readers)
    apart = (np.arange(readers) * blocks // readers)[:, None] != np.arange(cases) * blocks // cases
    return analysed(readings_from_arrays(np.where(apart, np.nan, latent), truth), area(), true_mean=spread.area(1.5))


def nested_readers(rng: np.random.Generator) -> Outcome:
    spread, truth = Spread(), halves(100)
    latent = scores(rng, truth, spread, arms=2, readers=11)
    apart = (np.arange(11) < 5) != (np.arange(2) == 0)[:, None]
    return analysed(readings_from_arrays(np.where(apart[:, :, None], np.nan, latent), truth), area(),
                    true_mean=spread.area(1.5))


def nested_cases(rng: np.random.Generator) -> Outcome:
    spread, truth = Spread(), halves(200)
    latent = scores(rng, truth, spread, arms=2, readers=6)
    apart = (np.arange(200) < 100) != (np.arange(2) == 0)[:, None]
    return analysed(readings_from_arrays(np.where(apart[:, None], np.nan, latent), truth), area(),
                    true_mean=spread.area(1.5))


def model_and_readers(rng: np.random.Generator, cases: str = RANDOM) -> Outcome:
    """A model without reader effects that is as good as the average reader, on the same cases."""
    spread, truth = Spread(reader=0.011, arm_reader=0.0), halves(100)
    own = math.sqrt(spread.case + 0.5)
    latent = scores(rng, truth, replace(spread, case=0), arms=1, readers=6)
    shared = rng.normal(0, math.sqrt(spread.case), len(truth))
    model = 1.5 * own / math.sqrt(spread.total) * truth + shared + rng.normal(0, math.sqrt(0.5), len(truth))
    made = readings_from_arrays(latent + shared, truth)
    found = compare_with_readers(made, dict(zip(made.cases, model, strict=True)), area(), cases=cases)
    return replace(outcome(found.difference), mean_low=found.readers.low, mean_high=found.readers.high,
                   true_mean=spread.area(1.5))


def levels(rng: np.random.Generator, wild: float = 0.03) -> Outcome:
    """Four juniors against six seniors, equal on average; juniors differ among themselves by `wild` more."""
    spread, truth = Spread(), halves(100)
    latent = scores(rng, truth, spread, arms=2, readers=10)
    apart = rng.normal(0, math.sqrt(wild), (10, 2))[:, truth.astype(int)]
    apart = apart + 1.5 * (math.sqrt(1 + wild / spread.total) - 1) * truth        # keeps the mean area
    junior = np.arange(10) < 4
    latent = latent + np.where(junior[:, None], apart, 0)
    made = readings_from_arrays(latent, truth)
    level = {reader: "junior" if young else "senior" for reader, young in zip(made.readers, junior, strict=True)}
    found = compare_levels(reader_merits(made, area()), level, "junior", "senior")
    return outcome(found[0].difference)


def reading_times(rng: np.random.Generator, crossover: bool = False) -> Outcome:
    """Equal times in both arms; in a crossover the second session is a fifth faster."""
    logs = 4 + scores(rng, np.zeros(60), Spread(reader=0.1, arm_reader=0.02, case=0.1, arm_case=0.02,
                                                reader_case=0.05, residual=0.2), arms=2, readers=8)
    first = {str(r + 1): "12"[r % 2] for r in range(8)}
    if crossover:
        second = np.array([[first[str(r + 1)] != arm for r in range(8)] for arm in "12"])
        logs = logs - math.log(1.25) * second[:, :, None]
    found = compare_times(readings_from_arrays(np.exp(logs), np.zeros(60)), first_arm=first if crossover else None)
    return Outcome(found.ratios[0].p_value, found.ratios[0].ratio.low, found.ratios[0].ratio.high, 1.0)


SCENARIOS: dict[str, Callable[[np.random.Generator], Outcome]] = {
    "crossed": crossed,
    "crossed_delong": lambda rng: crossed(rng, "delong"),
    "crossed_unbiased": lambda rng: crossed(rng, "unbiased"),
    "crossed_bootstrap": lambda rng: crossed(rng, "bootstrap"),
    "crossed_three_arms": lambda rng: crossed(rng, arms=3),
    "crossed_three_readers": lambda rng: crossed(rng, readers=3),
    "crossed_arms_differ": different,
    "low_case_variance": low_case_variance,
    "fixed_readers": fixed_readers,
    "fixed_cases": fixed_cases,
    "sensitivity": of_sensitivity,
    "accuracy_of_grades": lambda rng: of_grades(rng, exact_accuracy()),
    "kappa_of_grades": lambda rng: of_grades(rng, kappa(categories=range(4))),
    "clustered_by_patient": clustered,
    "clustered_but_ignored": lambda rng: clustered(rng, by_patient=False),
    "split_plot": split_plot,
    "cases_nested_in_readers": lambda rng: split_plot(rng, 6, 6, 360),
    "readers_nested_in_arms": nested_readers,
    "cases_nested_in_arms": nested_cases,
    "model_and_readers": model_and_readers,
    "model_and_readers_t_test": lambda rng: model_and_readers(rng, FIXED),
    "levels": levels,
    "levels_very_unequal": lambda rng: levels(rng, 0.1),
    "reading_times": reading_times,
    "reading_times_crossover": lambda rng: reading_times(rng, True),
}


def run(scenario: str, *, studies: int, seed: int) -> Errors:
    """Simulate and analyse; each scenario has a stream of its own, whatever others there are."""
    began = time.perf_counter()
    streams = np.random.default_rng([seed, zlib.crc32(scenario.encode())]).spawn(studies)
    found = [SCENARIOS[scenario](rng) for rng in streams]
    usable = [each for each in found if not math.isnan(each.p_value + each.low)]
    p = np.array([each.p_value for each in usable])
    distance = kstest(p, "uniform")
    means = [each.mean_low <= each.true_mean <= each.mean_high for each in usable if not math.isnan(each.true_mean)]
    return Errors(
        scenario, studies, studies - len(usable), float((p < 0.05).mean()),
        float(np.mean([each.low <= each.true_difference <= each.high for each in usable])),
        float(np.mean(means)) if means else math.nan, float(distance.statistic), float(distance.pvalue),
        time.perf_counter() - began,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = []
    print(f"{'scenario':26}{'p<.05':>8}{'cover':>8}{'mean':>8}{'KS':>8}{'KS p':>8}{'NA':>5}{'s':>7}")
    for scenario in chosen.only.split(","):
        each = run(scenario, studies=chosen.studies, seed=chosen.seed)
        found.append(each)
        print(f"{scenario:26}{each.rejected:8.3f}{each.coverage:8.3f}{each.mean_coverage:8.3f}{each.distance:8.3f}"
              f"{each.distance_p:8.3f}{each.not_estimable:5}{each.seconds:7.1f}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
