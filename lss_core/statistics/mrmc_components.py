"""Mean squares, variance components and error covariances of readers' figures of merit (formulas in `mrmc`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lss_core.statistics.mrmc_covariance import ReaderMerits


@dataclass(frozen=True)
class Components:
    """Mean squares, variance components and error covariances; NaN where the design has none.

    Attributes:
        ms_interaction: MS(A*R), or MS(R(A)) where readers are nested in arms.
        var_reader, var_interaction: Between readers, and arms by readers; estimates can be negative.
        cases: Clusters that they were estimated from; the covariances fall as 1 / cases.
    """

    ms_arm: float
    ms_reader: float
    ms_interaction: float
    var_reader: float
    var_interaction: float
    var_error: float
    cov1: float
    cov2: float
    cov3: float
    cases: int


def components_of(merits: ReaderMerits) -> Components:
    """The components; without arms to compare those of the arms are NaN, with a single reader the mean squares."""
    held, arms = merits.readings.reads_in, len(merits.arms)
    means = np.array([row[has].mean() if has.any() else math.nan for row, has in zip(merits.value, held, strict=True)])
    var, cov1, cov2, cov3 = _mean_covariances(merits)
    ms_arm = counting_readers(merits, range(arms)) * float(means.var(ddof=1)) if arms > 1 else math.nan
    if merits.readings.readers_nested:
        ms = _per_degree((merits.value - means[:, None])[held], int(held.sum()) - arms)
        return Components(ms_arm, math.nan, ms, ms - var + cov2, math.nan, var, math.nan, cov2, cov3, merits.n)
    centred, degrees = centred_in_blocks(merits.value, merits.blocks), degrees_between(merits.blocks)
    ms_reader = arms * _per_degree(centred.mean(axis=0), degrees)
    ms_interaction = _per_degree(centred - centred.mean(axis=0), degrees * (arms - 1))
    if arms == 1:
        return Components(ms_arm, ms_reader, math.nan, ms_reader - var + cov2, math.nan, var, cov1, cov2, cov3,
                          merits.n)
    return Components(ms_arm, ms_reader, ms_interaction, (ms_reader - ms_interaction) / arms - cov1 + cov3,
                      ms_interaction - var + cov1 + cov2 - cov3, var, cov1, cov2, cov3, merits.n)


def _per_degree(apart: np.ndarray, degrees: int) -> float:
    return float((apart**2).sum()) / degrees if degrees > 0 else math.nan


def _mean_covariances(merits: ReaderMerits) -> tuple[float, float, float, float]:
    """(Var, Cov1, Cov2, Cov3), averaged over pairs of cells; other readers are those of the same block.

    Cov2 and Cov3 are 0 where no two readers share a block, and Cov1 NaN where no reader reads under two arms.
    """
    held = merits.readings.reads_in
    arm, reader = np.nonzero(held)
    covariance = merits.covariance[arm, reader][:, arm, reader]
    same_arm, same_reader = arm[:, None] == arm, reader[:, None] == reader
    near = np.ones_like(same_arm) if merits.readings.readers_nested else (
        merits.blocks[reader][:, None] == merits.blocks[reader])

    def mean(pairs: np.ndarray, otherwise: float) -> float:
        return float(covariance[pairs].mean()) if pairs.any() else otherwise

    several = len(merits.arms) > 1
    return (mean(same_arm & same_reader, math.nan), mean(~same_arm & same_reader, math.nan),
            mean(same_arm & ~same_reader & near, 0.0),
            mean(~same_arm & ~same_reader & near, 0.0 if several else math.nan))


def _groups(blocks: np.ndarray) -> np.ndarray:
    """[reader], within which mean squares are taken: the blocks, or all readers where each block is of one."""
    return blocks if len(np.unique(blocks)) < len(blocks) else np.zeros(len(blocks), int)


def centred_in_blocks(value: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """[arm, reader] less the means of the arm within `_groups`."""
    groups, centred = _groups(blocks), value.copy()
    for name in np.unique(groups):
        centred[:, groups == name] -= value[:, groups == name].mean(axis=1, keepdims=True)
    return centred


def degrees_between(blocks: np.ndarray) -> int:
    """Degrees of freedom of a mean square between readers."""
    return len(blocks) - len(np.unique(_groups(blocks)))


def counting_readers(merits: ReaderMerits, arms: Sequence[int]) -> float:
    """r, or the harmonic mean of these arms' numbers of readers where they are nested."""
    each = merits.readings.reads_in[list(arms)].sum(axis=1)
    return float(len(each) / (1 / each).sum()) if each.all() else math.nan


def shared_weight(blocks: np.ndarray) -> float:
    """c = sum r_g^2 / r."""
    sizes = np.unique(blocks, return_counts=True)[1]
    return float((sizes**2).sum() / sizes.sum())
