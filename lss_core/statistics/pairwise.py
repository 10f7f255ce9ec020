"""Kappa between every two readers, within and between groups of readers, and of readers with themselves.

Intervals are Student's with the standard error from each case's influence on kappa, summed within clusters such as
patients (Yang and Zhou, Stat. Med. 2014;33:2612-2633): for hundreds of pairs in milliseconds. Without clusters each
case is its own. A reference standard or a model is one more rater.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from lss_core.statistics.agreement import (
    POWERS,
    Weights,
    agreement_weights,
    coded,
    confusion,
    kappa_scores,
    weighted_kappa,
    weights_name,
)
from lss_core.statistics.bootstrap import bootstrap_figures
from lss_core.statistics.estimate import Estimate, without_figure
from lss_core.statistics.influence import clusters_of, from_influence, share_in_clusters, sums_in_clusters

Pair = tuple[str, str]


@dataclass(frozen=True)
class RepeatAgreement:
    """A reader against himself.

    Attributes:
        repeats: Cases that the reader graded both times.
        missing: Cases shown twice that were not graded both times.
        equal: Share of the repeats with the same grade.
    """

    reader: str
    repeats: int
    missing: int
    equal: Estimate
    kappa: Estimate


@dataclass(frozen=True)
class _Influence:
    """Kappa of two ratings and what each case [case] adds to its deviation; or why it is undefined."""

    kappa: float
    of_case: np.ndarray
    used: np.ndarray        # [case], rated by both
    undefined: str = ""


def pairwise_kappa(
    ratings: ArrayLike, *, raters: Sequence[str], categories: Sequence[int], weights: Weights = "none",
    clusters: ArrayLike | None = None, confidence: float = 0.95,
) -> dict[Pair, Estimate]:
    """Cohen's kappa over the declared categories of every two raters, on the cases that both rated.

    Args:
        ratings: [case, rater], NaN or None where missing.
        raters: Their names; in a key the earlier one is first.
        weights: As in `agreement_weights`.

    Returns:
        Undefined with the reason where the two have no case in common or use a single category.

    Raises:
        ValueError: names that do not fit or repeat, an undeclared category, clusters that do not fit.
    """
    codes, cluster = _checked(ratings, raters, categories, clusters)
    table, method = agreement_weights(len(categories), weights), f"Cohen's kappa, {weights_name(weights)}, clustered"
    return {
        (raters[a], raters[b]): _mean([_influence(codes[:, a], codes[:, b], table)], cluster, method, confidence)
        for a, b in combinations(range(len(raters)), 2)
    }


def bootstrap_pairwise_kappa(
    ratings: ArrayLike, *, raters: Sequence[str], categories: Sequence[int], weights: str = "none",
    clusters: ArrayLike | None = None, resamples: int = 2000, seed: int = 0, confidence: float = 0.95,
) -> dict[Pair, Estimate]:
    """`pairwise_kappa` with the percentile interval of the bootstrap over clusters; "none", "linear" or "quadratic"."""
    if weights not in POWERS:
        raise ValueError(f'Weights "{weights}": {", ".join(POWERS)} are known here.')
    codes, cluster = _checked(ratings, raters, categories, clusters)
    pairs, k = list(combinations(range(len(raters)), 2)), len(categories)
    sums = np.stack([_tables(codes[:, a], codes[:, b], cluster, k) for a, b in pairs], axis=1)
    of_pairs = bootstrap_figures(
        sums, lambda total: weighted_kappa(total.reshape(*total.shape[:2], k, k), power=POWERS[weights])[..., None],
        resamples=resamples, seed=seed, confidence=confidence,
    )
    return {
        (raters[a], raters[b]): replace(one, method=f"Cohen's kappa, {weights_name(weights)}, {one.method}")
        for (a, b), (one,) in zip(pairs, of_pairs, strict=True)
    }


def kappa_by_group(
    ratings: ArrayLike, *, groups: Sequence[str], categories: Sequence[int], weights: Weights = "none",
    clusters: ArrayLike | None = None, confidence: float = 0.95,
) -> dict[Pair, Estimate]:
    """Mean kappa of the pairs of raters within each group and between every two groups, such as experience levels.

    Light's kappa (Psychol. Bull. 1971;76:365-377) of each group, with cases taken for random and raters for fixed.
    Pairs without a kappa are left out of the mean and counted in `method`.

    Args:
        ratings: [case, rater], NaN or None where missing.
        groups: One name per rater.

    Returns:
        By (group, group) in the order of first appearance; undefined where a group has a single rater, or no pair has
        a kappa.
    """
    codes, cluster = _checked(ratings, [str(k) for k in range(len(groups))], categories, clusters)
    table, method = agreement_weights(len(categories), weights), f"mean of Cohen's kappas, {weights_name(weights)}"
    pairs: dict[Pair, list[_Influence]] = {}
    names = list(dict.fromkeys(groups))
    for k, first in enumerate(names):
        pairs |= {(first, second): [] for second in names[k:]}
    for a, b in combinations(range(len(groups)), 2):
        first, second = sorted((groups[a], groups[b]), key=names.index)
        pairs[first, second].append(_influence(codes[:, a], codes[:, b], table))
    return {key: _mean(each, cluster, method, confidence) for key, each in pairs.items()}


def repeat_agreement(
    first: ArrayLike, second: ArrayLike, *, readers: Sequence[str], categories: Sequence[int],
    weights: Weights = "none", clusters: ArrayLike | None = None, confidence: float = 0.95,
) -> tuple[tuple[RepeatAgreement, ...], RepeatAgreement]:
    """Intra-reader agreement from cases that were read twice.

    Args:
        first: [repeat], the grade of the first reading; NaN or None where not gradable.
        second: [repeat], that of the second.
        readers: [repeat], who read.
        clusters: [repeat], the patient, also across readers.

    Returns:
        One for each reader in sorted order, and "all readers": the share over all repeats, and the mean of the
        readers' kappas with their number in its `method`.
    """
    once, again = coded(first, categories), coded(second, categories)
    if once.shape != again.shape or once.ndim != 1:
        raise ValueError(f"{once.shape} first and {again.shape} second grades: one of each per repeat is needed.")
    pairs = np.column_stack([once, again])
    names, cluster = np.asarray(readers), clusters_of(clusters, len(pairs))
    if names.shape != (len(pairs),):
        raise ValueError(f"{names.size} readers for {len(pairs)} repeats: one reader per repeat is needed.")
    table, method = agreement_weights(len(categories), weights), f"Cohen's kappa, {weights_name(weights)}, clustered"
    of_readers = {
        str(name): _influence(*(np.where(names == name, column, -1) for column in pairs.T), weights=table)
        for name in np.unique(names)
    }

    def agreement(reader: str, shown: np.ndarray, parts: list[_Influence], method: str) -> RepeatAgreement:
        graded = shown & (pairs >= 0).all(axis=1)
        equal = share_in_clusters((pairs[:, 0] == pairs[:, 1])[graded], cluster[graded], confidence=confidence)
        kappa = _mean(parts, cluster, method, confidence)
        return RepeatAgreement(reader, int(graded.sum()), int((shown & ~graded).sum()), equal, kappa)

    everybody = agreement(
        "all readers", np.ones(len(pairs), bool), list(of_readers.values()), f"mean of readers' kappas, {method}",
    )
    return tuple(agreement(name, names == name, [part], method) for name, part in of_readers.items()), everybody


def _checked(
    ratings: ArrayLike, raters: Sequence[str], categories: Sequence[int], clusters: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    codes = coded(ratings, categories)
    if codes.ndim != 2 or codes.shape[1] != len(raters):
        raise ValueError(f"{len(raters)} raters for ratings of shape {codes.shape}: one name per column is needed.")
    if len(raters) < 2:
        raise ValueError(f"Raters {list(raters)}: pairs need at least two raters.")
    if len(set(raters)) < len(raters):
        raise ValueError(f"Raters {sorted({r for r in raters if list(raters).count(r) > 1})}: named more than once.")
    return codes, clusters_of(clusters, len(codes))


def _influence(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> _Influence:
    used = (first >= 0) & (second >= 0)
    parts = kappa_scores(confusion(first[used], second[used], len(weights)), weights)
    if isinstance(parts, str):
        return _Influence(np.nan, np.zeros(len(used)), used, parts)
    kappa, _, _, scores = parts
    return _Influence(kappa, np.where(used, scores[first, second], 0.0) / used.sum(), used)


def _mean(parts: Sequence[_Influence], cluster: np.ndarray, method: str, confidence: float) -> Estimate:
    """Mean kappa of pairs of ratings of the same cases."""
    if not parts:
        return without_figure("no pair of raters", n=0, method=method)
    defined = [part for part in parts if not part.undefined]
    if len(parts) > 1:
        method += f", {len(defined)} of {len(parts)}"
    used = np.logical_or.reduce([part.used for part in defined or parts])
    if not defined:
        return without_figure(parts[0].undefined, n=len(np.unique(cluster[used])), method=method)
    value, influence = np.mean([part.kappa for part in defined]), np.mean([part.of_case for part in defined], axis=0)
    return from_influence(float(value), influence[used], cluster[used], method=method, confidence=confidence)[0]


def _tables(first: np.ndarray, second: np.ndarray, cluster: np.ndarray, categories: int) -> np.ndarray:
    """Confusion matrices by cluster, flattened [cluster, K * K]; a cluster without a common case has zeros."""
    used = (first >= 0) & (second >= 0)
    cell = np.eye(categories**2)[np.where(used, first * categories + second, 0)] * used[:, None]
    return sums_in_clusters(cell, cluster)
