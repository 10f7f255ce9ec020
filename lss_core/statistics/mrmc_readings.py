"""Who read what: scores of readers under study arms on cases, complete enough for an analysis of variance.

An arm is what is compared: unaided and aided reading, or two modalities. Readings come as a table or as arrays, and
`complete` makes of them what the analysis needs, saying by name which readers and cases it left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

THE_ARM = "all readings"        # the only arm of a table without arms


@dataclass(frozen=True)
class Readings:
    """Scores of readers on cases.

    Attributes:
        score: [arm, reader, case]; NaN where the reader did not read the case under the arm.
        truth: [case], the reference: 0 and 1, or a grade.
        clusters: [case], what belongs together and is drawn as one (the patient); the case itself where nothing does.
        readers_left_out: A sentence for each reader that `complete` left out.
        cases_left_out: Names of the cases of which it left out every reading.
        readings_left_out: How many scores it left out, those of such readers and cases included.
    """

    score: np.ndarray
    truth: np.ndarray
    arms: tuple[str, ...]
    readers: tuple[str, ...]
    cases: tuple[str, ...]
    clusters: np.ndarray
    readers_left_out: tuple[str, ...] = ()
    cases_left_out: tuple[str, ...] = ()
    readings_left_out: int = 0

    def __post_init__(self) -> None:
        named = (len(self.arms), len(self.readers), len(self.cases))
        if self.score.shape != named:
            raise ValueError(f"Scores of shape {self.score.shape} for {named} arms, readers and cases.")
        if not self.truth.shape == self.clusters.shape == (len(self.cases),):
            raise ValueError(f"{len(self.cases)} cases with {self.truth.shape} truths, {self.clusters.shape} clusters.")
        for kind, names in (("arm", self.arms), ("reader", self.readers), ("case", self.cases)):
            twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
            if twice:
                raise ValueError(f"The {kind} {twice[0]} is named twice: give each its own name.")
        unknown = [case for case, truth in zip(self.cases, self.truth, strict=True) if np.isnan(truth)]
        if unknown:
            raise ValueError(f"The reference of case {unknown[0]} is missing: leave the case out and report it.")
        if np.isinf(self.score).any():
            raise ValueError("A score is infinite: finite scores, or NaN for a case that was not read, are needed.")

    @cached_property
    def read(self) -> np.ndarray:
        """bool [arm, reader, case]."""
        return np.asarray(~np.isnan(self.score))

    @cached_property
    def reads_in(self) -> np.ndarray:
        """bool [arm, reader]: the reader read under the arm."""
        return np.any(self.read, axis=2)

    @property
    def readers_nested(self) -> bool:
        """Whether each reader reads under one arm only, in a study of several."""
        return len(self.arms) > 1 and bool((self.reads_in.sum(axis=0) <= 1).all())

    @cached_property
    def blocks(self) -> np.ndarray:
        """[reader], the reader's block: readers are in different blocks where no chain of shared cases joins them."""
        return _blocks(self.read)[: len(self.readers)]


def readings_from_arrays(
    score: np.ndarray, truth: np.ndarray, *, clusters: Sequence[str] | np.ndarray | None = None,
    arms: Sequence[str] | None = None, readers: Sequence[str] | None = None, cases: Sequence[str] | None = None,
) -> Readings:
    """Readings of scores [arm, reader, case], or [reader, case] of a single arm; names are numbers where not given."""
    score = np.asarray(score, float)
    score = score[None] if score.ndim == 2 else score
    if score.ndim != 3:
        raise ValueError(f"Scores of shape {score.shape}: [arm, reader, case] or [reader, case] is needed.")

    def named(names: Sequence[str] | None, axis: int) -> tuple[str, ...]:
        return tuple(str(each) for each in (range(1, score.shape[axis] + 1) if names is None else names))

    cases = named(cases, 2)
    together = np.asarray(cases if clusters is None else [str(each) for each in clusters])
    return Readings(score, np.asarray(truth, float), named(arms, 0), named(readers, 1), cases, together)


def readings_from_frame(
    frame: pd.DataFrame, *, reader: str = "reader", case: str = "case", score: str = "score", truth: str = "truth",
    arm: str | None = None, cluster: str | None = None,
) -> Readings:
    """Readings of a table with a row for each reading; the arguments name its columns.

    Args:
        frame: An empty score says that the case was not graded; it counts as not read.
        arm: Without it all readings are of one arm.
        cluster: Column of what belongs together, such as the patient.

    Raises:
        ValueError: a column is missing, a name is empty, a score or truth is no number, a reading is there twice, or
            a case has two truths or clusters; the message names the row, the first being row 1.
    """
    columns = [each for each in (reader, case, score, truth, arm, cluster) if each is not None]
    absent = [each for each in columns if each not in frame.columns]
    if absent:
        raise ValueError(f"Column {absent[0]} is missing: the table has {', '.join(map(str, frame.columns))}.")
    if frame.empty:
        raise ValueError("The table holds no reading.")
    place = [each for each in (arm, reader, case) if each is not None]
    for each in place if cluster is None else [*place, cluster]:
        _refuse_row(np.asarray(frame[each].isna()), f"column {each} is empty")
    _refuse_row(frame.duplicated(subset=place).to_numpy(), f"the same {', '.join(place)} stand in an earlier row")
    scores, truths = _numbers(frame, score), _numbers(frame, truth)
    _refuse_row(np.isnan(truths), f"column {truth} is empty")
    names = frame[place].astype(str)
    codes = [pd.factorize(names[each], sort=True) for each in (reader, case)]
    (of_reader, readers), (of_case, cases) = codes
    of_arm, arms = (np.zeros(len(frame), int), [THE_ARM]) if arm is None else pd.factorize(names[arm])
    filled = np.full((len(arms), len(readers), len(cases)), np.nan)
    filled[of_arm, of_reader, of_case] = scores
    together = names[case] if cluster is None else frame[cluster].astype(str)
    return Readings(
        filled, _one_per_case(truths, of_case, "truths", len(cases)), tuple(arms), tuple(readers), tuple(cases),
        _one_per_case(np.asarray(together, str), of_case, "clusters", len(cases)),
    )


def _numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    values = np.asarray(pd.to_numeric(frame[column], errors="coerce"), float)
    _refuse_row(np.isnan(values) & ~np.asarray(frame[column].isna()), f"column {column} holds no number")
    return values


def _refuse_row(wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise ValueError(f"Row {int(np.flatnonzero(wrong)[0]) + 1}: {what}.")


def _one_per_case(values: np.ndarray, of_case: np.ndarray, what: str, cases: int) -> np.ndarray:
    each = np.empty(cases, values.dtype)
    each[of_case[::-1]] = values[::-1]
    _refuse_row(values != each[of_case], f"its case has two {what}")
    return each


def _blocks(read: np.ndarray) -> np.ndarray:
    """Connected components of readers and cases, [reader + case]."""
    reader, case = np.nonzero(read.any(axis=0))
    size = read.shape[1] + read.shape[2]
    links = coo_array((np.ones(len(reader)), (reader, read.shape[1] + case)), shape=(size, size))
    return connected_components(links, directed=False)[1]


def complete(readings: Readings, *, least_share: float = 0.5, common_cases: bool = True) -> Readings:
    """The readings without gaps: within a block, every reader has read every case that is left.

    A reader who read less than `least_share` of the cases under an arm, or who lacks an arm that others of the study
    read under, is left out first, so that one who stopped early does not cost the others their cases. A case that
    any remaining reader of its block lacks is left out next, in all arms. A reader must lack no arm, or every reader
    must have exactly one (readers nested in arms).

    Args:
        common_cases: False keeps for each arm the cases that all its readers read, also where the arms hold different
            patients (unpaired or partly paired cases).

    Raises:
        ValueError: no reader or no case is left; or a share outside 0..1.
    """
    if not 0 <= least_share <= 1:
        raise ValueError(f"Least share {least_share}: a number from 0 to 1 is needed.")
    kept, sentences = _finished(readings, least_share)
    if not kept.any():
        raise ValueError("No reader is left: " + " ".join(sentences))
    score = np.where(kept[None, :, None], readings.score, np.nan)
    score = np.where(_shared(score, readings.reads_in & kept, common_cases), score, np.nan)
    cases = np.asarray(~np.isnan(score).all(axis=(0, 1)))
    if not cases.any():
        raise ValueError("No case was read by every reader under every arm"
                         + (": common_cases=False keeps each arm's own cases." if common_cases else "."))
    return replace(
        readings, score=score[:, kept][:, :, cases], truth=readings.truth[cases], clusters=readings.clusters[cases],
        readers=tuple(np.array(readings.readers)[kept].tolist()), cases=tuple(np.array(readings.cases)[cases].tolist()),
        readers_left_out=readings.readers_left_out + tuple(sentences),
        cases_left_out=readings.cases_left_out + tuple(np.array(readings.cases)[~cases].tolist()),
        readings_left_out=readings.readings_left_out + int(readings.read.sum() - (~np.isnan(score)).sum()),
    )


def _finished(readings: Readings, least_share: float) -> tuple[np.ndarray, list[str]]:
    """bool [reader] of those who read enough, and a sentence for each other."""
    read, reads_in, nested = readings.read, readings.reads_in, readings.readers_nested
    block = _blocks(read)
    same_block = np.equal.outer(block[: len(readings.readers)], block[len(readings.readers):])    # [reader, case]
    offered = (np.any(read, axis=1)[:, None] & same_block).sum(axis=2)                                # [arm, reader]
    share = np.divide(read.sum(axis=2), offered, out=np.zeros(offered.shape), where=offered > 0)
    sentences = {}
    for r, reader in enumerate(readings.readers):
        for a, arm in enumerate(readings.arms):
            if not reads_in[a, r] and not (nested and reads_in[:, r].any()):
                sentences[r] = f"Reader {reader} read no case under {arm}."
            elif reads_in[a, r] and share[a, r] < least_share:
                sentences[r] = f"Reader {reader} read {read[a, r].sum()} of {offered[a, r]} cases under {arm}."
    kept = np.array([r not in sentences for r in range(len(readings.readers))])
    return kept, list(sentences.values())


def _shared(score: np.ndarray, reads_in: np.ndarray, common_cases: bool) -> np.ndarray:
    """bool [arm, reader, case]: every reader of the block who reads under the arm (any arm, if common) has read it."""
    read = np.asarray(~np.isnan(score))
    of_readers = _blocks(read)[: score.shape[1]]
    shared = np.zeros(score.shape, bool)
    for block in np.unique(of_readers[reads_in.any(axis=0)]):
        members = np.equal(of_readers, block)[None, :, None] & reads_in[:, :, None]
        lacking = np.any(members & ~read, axis=1)                                                 # [arm, case]
        lacking = np.broadcast_to(np.any(lacking, axis=0), lacking.shape) if common_cases else lacking
        shared |= members & ~lacking[:, None]
    return shared


def design(readings: Readings) -> str:
    """The design of complete readings in words."""
    blocks = len(np.unique(readings.blocks))
    seen = np.any(readings.read, axis=1)
    paired = bool((seen == seen[0]).all())
    if readings.readers_nested:
        return "readers nested in arms, " + ("the same cases" if paired else "cases of each arm their own in part")
    if blocks == len(readings.readers) > 1:
        return "cases nested in readers"
    if blocks > 1:
        return f"split-plot, {blocks} blocks of readers and cases"
    if paired:
        return "fully crossed"
    return "cases nested in arms" if (seen.sum(axis=0) <= 1).all() else "partly paired cases"
