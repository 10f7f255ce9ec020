"""Figures of merit of every reader under every arm, with their covariances over the cases.

All readers read the same cases, so that their figures vary together. The covariance is that over samples of cases
alone, with these readers; `mrmc` adds what the readers contribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lss_core.statistics.mrmc_merit import Merit
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
    """[cell, cell]; NaN where it is not defined."""
    if method == "jackknife":
        found = _jackknife(cells, merit, clusters)
    elif method == "bootstrap":
        found = _bootstrap(cells, merit, clusters, resamples, seed)
    elif merit.linear is None:
        raise ValueError(f"{merit.name} has no {method} covariance: use jackknife or bootstrap.")
    elif method == "delong" or merit.kernel is None:
        found = _structural(cells, merit, clusters)
    else:
        found = _unbiased(cells, merit)
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


def _structural(cells: list[_Cell], merit: Merit, clusters: int) -> np.ndarray:
    """Sums of structural components within clusters: Obuchowski 1997, and with a case to a cluster DeLong 1988."""
    assert merit.linear is not None
    split = [merit.linear(cell.score, cell.truth) for cell in cells]
    sums, held = [], []
    for part in range(len(split[0])):
        each = np.zeros((len(cells), clusters))
        holds = np.zeros(clusters, bool)
        for place, (cell, parts) in enumerate(zip(cells, split, strict=True)):
            member, components = parts[part]
            cluster, apart = cell.cluster[member], (components - components.mean()) / len(components)
            each[place] = np.bincount(cluster, weights=apart, minlength=clusters)
            holds[cluster] = True
        sums.append(each)
        held.append(int(holds.sum()))
    if min(held) < 2:
        return np.full((len(cells), len(cells)), np.nan)
    own = sum(n / (n - 1) * each @ each.T for n, each in zip(held, sums, strict=True))
    cross = sums[0] @ sums[1].T if len(sums) == 2 else np.zeros((len(cells), len(cells)))
    return np.asarray(own + clusters / (clusters - 1) * (cross + cross.T))


def _unbiased(cells: list[_Cell], merit: Merit) -> np.ndarray:
    """A a B minus its part from pairs that share no case, which estimates the product of the two expectations.

    For areas A = sum k_ij / (n1 n0) the sum of k_ij k'_i'j' over i != i' and j != j' is the product of the totals less
    the products of the rows' and of the columns' totals plus the sum of k_ij k'_ij (inclusion and exclusion).
    """
    assert merit.kernel is not None and merit.linear is not None
    if any(len(np.unique(cell.cluster)) < len(cell.cluster) for cell in cells):
        raise ValueError('The covariance "unbiased" takes cases for independent: with clusters use jackknife or delong.')
    up = merit.linear(cells[0].score, cells[0].truth)[0][0]
    size = 1 + max(int(cell.case.max()) for cell in cells)
    flat, rows, columns, held = [], [], [], []
    for cell in cells:
        up = merit.linear(cell.score, cell.truth)[0][0]
        kernel = np.zeros((size, size), np.float32)             # 0, 1/2 and 1: exact
        kernel[np.ix_(cell.case[up], cell.case[~up])] = merit.kernel(cell.score, cell.truth)
        flat.append(kernel)
        rows.append(kernel.sum(axis=1, dtype=float))
        columns.append(kernel.sum(axis=0, dtype=float))
        held.append((np.isin(np.arange(size), cell.case[up]), np.isin(np.arange(size), cell.case[~up])))
    return _from_pairs(np.stack(flat), np.stack(rows), np.stack(columns), np.array(held, float))


def _from_pairs(kernel: np.ndarray, rows: np.ndarray, columns: np.ndarray, held: np.ndarray) -> np.ndarray:
    """kernel [cell, case, case], its totals [cell, case], and held [cell, class, case]."""
    total = rows.sum(axis=1)
    both = sum((kernel[:, i].astype(float) @ kernel[:, i].T.astype(float) for i in range(kernel.shape[1])),
               np.zeros((len(kernel), len(kernel))))
    n = held.sum(axis=2)                                                        # [cell, class]
    shared = np.einsum("apc,bpc->pab", held, held)                              # [class, cell, cell]
    apart = (np.outer(n[:, 0], n[:, 0]) - shared[0]) * (np.outer(n[:, 1], n[:, 1]) - shared[1])
    pairs = np.outer(n[:, 0] * n[:, 1], n[:, 0] * n[:, 1])
    product = np.outer(total, total) - rows @ rows.T - columns @ columns.T + both
    return np.outer(total, total) / pairs - np.divide(
        product, apart, out=np.full(product.shape, np.nan), where=apart > 0)
