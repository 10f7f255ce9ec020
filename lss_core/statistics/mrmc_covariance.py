"""Figures of merit of every reader under every arm, with their covariances over the cases.

All readers read the same cases, so that their figures vary together. The covariance is that over samples of cases
alone, with these readers; `mrmc` adds what the readers contribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lss_core.statistics.agreement import ratio
from lss_core.statistics.mrmc_merit import Kernel, Linear, Merit
from lss_core.statistics.mrmc_readings import Readings, design

METHODS = ("jackknife", "delong", "unbiased", "bootstrap")


@dataclass(frozen=True)
class ReaderMerits:
    """Figures of merit with covariances.

    Attributes:
        value: [arm, reader]; NaN where the reader does not read under the arm.
        covariance: [arm, reader, arm, reader], over cases; 0 between cells that share no case.
        blocks: [reader]; readers of different blocks share no case.
        n: Clusters (patients, or cases where nothing else was declared) that bear on the figure.
        undefined: Why the covariances, or a figure, are NaN; empty where all are defined.
    """

    merit: Merit
    method: str
    value: np.ndarray
    covariance: np.ndarray
    readings: Readings
    blocks: np.ndarray
    n: int
    design: str
    undefined: str = ""

    @property
    def arms(self) -> tuple[str, ...]:
        return self.readings.arms

    @property
    def readers(self) -> tuple[str, ...]:
        return self.readings.readers


@dataclass(frozen=True)
class _Cell:
    """The cases of a reader under an arm that bear on the figure."""

    arm: int
    reader: int
    score: np.ndarray           # [n]
    truth: np.ndarray           # [n]
    case: np.ndarray            # [n], places among the study's used cases
    cluster: np.ndarray         # [n], numbered among the study's used clusters


def reader_merits(
    readings: Readings, merit: Merit, *, method: str = "jackknife", resamples: int = 1000, seed: int = 0,
) -> ReaderMerits:
    """The figure of merit of each reader under each arm, with covariances.

    Args:
        readings: Complete ones, as from `mrmc_readings.complete`.
        method: "jackknife", (G - 1) / G sum of products of deviations when one of the study's G clusters is left out
            (Quenouille-Tukey; for MRMC: Hillis et al., Stat. Med. 2005;24:1579-1607), for any figure;
            "delong", from structural components (DeLong et al., Biometrics 1988;44:837-845; with clusters Obuchowski,
            Biometrics 1997;53:567-578), for areas and for means over cases, for which it is the sample covariance;
            "unbiased", the U-statistic (Gallas, Acad. Radiol. 2006;13:353-362), for the same without clusters;
            "bootstrap", over clusters, seeded, for any figure.
        resamples: Of the bootstrap. Those on which a figure is not defined are left out; more than half is an error.

    Raises:
        ValueError: readings with gaps, an unknown method, or one that the figure does not allow.
    """
    if method not in METHODS:
        raise ValueError(f'Covariance method "{method}": {", ".join(METHODS)} are known.')
    cells, clusters = _cells(readings, merit)
    value = np.full((len(readings.arms), len(readings.readers)), np.nan)
    for cell in cells:
        value[cell.arm, cell.reader] = merit.value(cell.score, cell.truth) if len(cell.truth) else np.nan
    undefined = _undefined_value(readings, merit, value, clusters)
    covariance = np.full((len(cells), len(cells)), np.nan)
    if not undefined:
        covariance = _covariance(cells, merit, clusters, method, resamples, seed)
        if np.isnan(covariance).any():
            undefined = f"{merit.name} has no {method} covariance: a class is in fewer than two cases or patients"
    text = f"{method}, {resamples} resamples, seed {seed}" if method == "bootstrap" else method
    return ReaderMerits(merit, text, value, _spread(covariance, cells, value.shape), readings, readings.blocks,
                        clusters, design(readings), undefined)


def _cells(readings: Readings, merit: Merit) -> tuple[list[_Cell], int]:
    used = merit.used(readings.truth)
    _, cluster = np.unique(readings.clusters[used], return_inverse=True)
    truth, read, score = readings.truth[used], readings.read[:, :, used], readings.score[:, :, used]
    cells = [
        _Cell(a, r, score[a, r, each], truth[each], np.flatnonzero(each), cluster[each])
        for a, r in np.argwhere(readings.reads_in) for each in [read[a, r]]
    ]
    _refuse_gaps(readings)
    return cells, int(cluster.max() + 1) if len(cluster) else 0


def _refuse_gaps(readings: Readings) -> None:
    read, reads_in = readings.read, readings.reads_in
    for block in np.unique(readings.blocks):
        members = readings.blocks == block
        for a, arm in enumerate(readings.arms):
            sets = read[a][members & reads_in[a]]
            if len(sets) and not (sets == sets[0]).all():
                raise ValueError(f"Under {arm} readers have read different cases: use mrmc_readings.complete first.")
    if not readings.readers_nested and not reads_in.all():
        a, r = np.argwhere(~reads_in)[0]
        raise ValueError(f"Reader {readings.readers[r]} read nothing under {readings.arms[a]}: use "
                         "mrmc_readings.complete first.")


def _undefined_value(readings: Readings, merit: Merit, value: np.ndarray, clusters: int) -> str:
    missing = np.argwhere(readings.reads_in & np.isnan(value))
    if len(missing):
        a, r = missing[0]
        return f"{merit.name} is not defined for reader {readings.readers[r]} under {readings.arms[a]} on these cases"
    return "" if clusters > 1 else "the cases are of a single patient or case"


def _covariance(
    cells: list[_Cell], merit: Merit, clusters: int, method: str, resamples: int, seed: int,
) -> np.ndarray:
    """[cell, cell]; NaN where it is not defined, as with a class in one cluster, whatever the method."""
    if merit.linear is not None and min(_clusters_of_parts(cells, merit.linear, clusters)) < 2:
        return np.full((len(cells), len(cells)), np.nan)
    if method == "jackknife":
        found = _jackknife(cells, merit, clusters)
    elif method == "bootstrap":
        found = _bootstrap(cells, merit, clusters, resamples, seed)
    elif merit.linear is None:
        raise ValueError(f"{merit.name} has no {method} covariance: use jackknife or bootstrap.")
    elif method == "delong" or merit.kernel is None:
        found = _structural(cells, merit.linear, clusters)
    else:
        found = _unbiased(cells, merit.kernel, merit.linear)
    seen = np.zeros((len(cells), clusters))
    for place, cell in enumerate(cells):
        seen[place, cell.cluster] = 1
    return np.where(seen @ seen.T > 0, found, 0.0)


def _spread(covariance: np.ndarray, cells: list[_Cell], shape: tuple[int, ...]) -> np.ndarray:
    """From [cell, cell] to [arm, reader, arm, reader]; 0 where there is no cell."""
    flat = np.ravel_multi_index(([cell.arm for cell in cells], [cell.reader for cell in cells]), shape)
    full = np.zeros((shape[0] * shape[1],) * 2)
    full[np.ix_(flat, flat)] = covariance
    return full.reshape(shape + shape)


def _jackknife(cells: list[_Cell], merit: Merit, clusters: int) -> np.ndarray:
    """A cluster that a cell does not hold leaves its figure as it is, and counts among the study's clusters."""
    without = np.stack([merit.left_out(cell.score, cell.truth, cell.cluster, clusters) for cell in cells])
    apart = without - without.mean(axis=1, keepdims=True)
    return (clusters - 1) / clusters * apart @ apart.T


def _bootstrap(cells: list[_Cell], merit: Merit, clusters: int, resamples: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    drawn = drawn.astype(float)
    figures = np.stack([merit.figures(cell.score, cell.truth, drawn[:, cell.cluster]) for cell in cells])
    usable = figures[:, ~np.isnan(figures).any(axis=0)]
    if 2 * usable.shape[1] <= resamples:
        return np.full((len(cells), len(cells)), np.nan)
    return np.atleast_2d(np.cov(usable))


def _clusters_of_parts(cells: list[_Cell], linear: Linear, clusters: int) -> list[int]:
    """In how many of the study's clusters each part (class) of a linear figure has a case."""
    split = [linear(cell.score, cell.truth) for cell in cells]
    held = np.zeros((len(split[0]), clusters), bool)
    for cell, parts in zip(cells, split, strict=True):
        for part, (member, _) in enumerate(parts):
            held[part, cell.cluster[member]] = True
    return held.sum(axis=1).tolist()


def _structural(cells: list[_Cell], linear: Linear, clusters: int) -> np.ndarray:
    """Sums of structural components within clusters: Obuchowski 1997, and with a case to a cluster DeLong 1988."""
    split = [linear(cell.score, cell.truth) for cell in cells]
    sums = np.zeros((len(split[0]), len(cells), clusters))                      # [part, cell, cluster]
    for place, (cell, parts) in enumerate(zip(cells, split, strict=True)):
        for part, (member, components) in enumerate(parts):
            apart = (components - components.mean()) / len(components)
            sums[part, place] = np.bincount(cell.cluster[member], weights=apart, minlength=clusters)
    held = _clusters_of_parts(cells, linear, clusters)
    found = sum((n / (n - 1) * each @ each.T for n, each in zip(held, sums, strict=True)), np.zeros(1))
    if len(sums) == 2:
        cross = sums[0] @ sums[1].T
        found = found + clusters / (clusters - 1) * (cross + cross.T)
    return found


def _unbiased(cells: list[_Cell], kernel: Kernel, linear: Linear) -> np.ndarray:
    """A A' minus its part from pairs that share no case, which estimates the product of the two expectations.

    For areas A = sum k_ij / (n1 n0) the sum of k_ij k'_i'j' over i != i' and j != j' is the product of the totals less
    the products of the rows' and of the columns' totals plus the sum of k_ij k'_ij (inclusion and exclusion).
    """
    if any(len(np.unique(cell.cluster)) < len(cell.cluster) for cell in cells):
        raise ValueError('"unbiased" takes the cases for independent: with clusters use jackknife or delong.')
    pairs = [kernel(cell.score, cell.truth) for cell in cells]
    positive = [linear(cell.score, cell.truth)[0][0] for cell in cells]
    above = [cell.case[up] for cell, up in zip(cells, positive, strict=True)]
    below = [cell.case[~up] for cell, up in zip(cells, positive, strict=True)]
    places = [np.unique(np.concatenate(each), return_inverse=True)[1] for each in (above, below)]
    held = np.zeros((2, len(cells), max(each.max() for each in places) + 1))    # [class, cell, case of the class]
    full = np.zeros((len(cells), places[0].max() + 1, places[1].max() + 1), np.float32)     # 0, 1/2 and 1: exact
    ends = [np.cumsum([len(each) for each in side])[:-1] for side in (above, below)]
    for c, (i, j) in enumerate(zip(np.split(places[0], ends[0]), np.split(places[1], ends[1]), strict=True)):
        held[0, c, i] = held[1, c, j] = 1
        full[c][np.ix_(i, j)] = pairs[c]
    rows, columns = full.sum(axis=2, dtype=float), full.sum(axis=1, dtype=float)
    total, n = rows.sum(axis=1), held.sum(axis=2)
    both = sum((full[:, i].astype(float) @ full[:, i].T.astype(float) for i in range(full.shape[1])), np.zeros(1))
    apart = np.prod([np.outer(each, each) - has @ has.T for each, has in zip(n, held, strict=True)], axis=0)
    product = np.outer(total, total) - rows @ rows.T - columns @ columns.T + both
    return np.outer(total, total) / np.outer(n[0] * n[1], n[0] * n[1]) - ratio(product, apart)
