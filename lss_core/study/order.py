"""The order in which one reader sees the cases of one session, and in which arm: pure, and drawn from a seed alone.

Shuffling is sorting by SHA-256(seed, case): uniform over all orders, and the same on every machine and in every version
of Python, so that anybody can draw a recorded order again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from lss_core.study.database import Arm, CaseKind
from lss_core.study.protocol import Design, OrderRule, Protocol
from lss_core.vocabulary import Refusal


@dataclass(frozen=True)
class OrderedCase:
    """What the order depends on. `number` names the case within its study, `cluster` its patient."""

    number: int
    cluster: int
    kind: CaseKind


@dataclass(frozen=True)
class Place:
    """One place of an order."""

    number: int
    kind: CaseKind
    arm: Arm
    is_repeat: bool = False


def seed_of(protocol: Protocol, *, study_token: str, reader: str, session_number: int) -> str:
    """The seed of one order: another one for each study, reader and session.

    Args:
        reader: What names the reader wherever the study is stored: the e-mail.
    """
    return _hash(protocol.seed, study_token, reader, session_number)


def draw_order(
    cases: Sequence[OrderedCase], *, protocol: Protocol, study_token: str, seed: str, session_number: int,
    starts_aided: bool,
) -> tuple[Place, ...]:
    """Training cases in the order of their numbers (first session only), then the test cases with hidden repeats.

    Args:
        seed: From `seed_of`.
        starts_aided: Of `begins_aided`; only crossover designs ask it.
    """
    test = [case for case in cases if case.kind is CaseKind.TEST]
    arm_of = _arms(cases, protocol=protocol, study_token=study_token, session_number=session_number,
                   starts_aided=starts_aided)
    training = [case for case in cases if case.kind is CaseKind.TRAINING] if session_number == 1 else []
    taught = [Place(case.number, case.kind, arm_of(case)) for case in sorted(training, key=lambda case: case.number)]
    shuffled = _shuffled(test, seed, protocol.order)
    return (*taught, *(
        Place(case.number, case.kind, arm_of(case), is_repeat)
        for case, is_repeat in _with_repeats(shuffled, protocol.repeats, seed, protocol.order)
    ))


def most_repeats(test_cases: int) -> int:
    """How many hidden repeats fit in a session, with half of the cases between the two showings."""
    return test_cases // 2


def _shuffled(cases: Sequence[OrderedCase], seed: str, rule: OrderRule) -> list[OrderedCase]:
    by_case = sorted(cases, key=lambda case: _hash(seed, "case", case.number))
    if rule is OrderRule.RANDOM:
        return by_case
    return sorted(by_case, key=lambda case: _hash(seed, "patient", case.cluster))


def _with_repeats(
    order: list[OrderedCase], repeats: int, seed: str, rule: OrderRule,
) -> list[tuple[OrderedCase, bool]]:
    """The order with some cases of its first half shown again, at least half of the session later."""
    most = most_repeats(len(order))
    if repeats > most:
        raise Refusal(f"{repeats} repeats do not fit among {len(order)} test cases; at most {most}.")
    gap = max(2, len(order) // 2)
    first_half = list(enumerate(order[:most]))
    chosen = sorted(first_half, key=lambda each: _hash(seed, "repeat", each[1].number))[:repeats]
    ends = _ends_of_blocks(order) if rule is OrderRule.PATIENT_BLOCKS else list(range(len(order)))
    after: dict[int, list[OrderedCase]] = {}
    for index, case in chosen:
        earliest = index + gap - 1
        drawn = earliest + int(_hash(seed, "place", case.number), 16) % (len(order) - earliest)
        after.setdefault(ends[drawn], []).append(case)
    return [
        each for index, case in enumerate(order)
        for each in ((case, False), *((again, True) for again in after.get(index, ())))
    ]


def _ends_of_blocks(order: list[OrderedCase]) -> list[int]:
    """For each index, the last index of its patient's block: a repeat never comes between two levels of a patient."""
    ends: list[int] = []
    for _, block in groupby(order, key=lambda case: case.cluster):
        size = len(list(block))
        ends += [len(ends) + size - 1] * size
    return ends


def begins_aided(levels: Sequence[str]) -> list[bool]:
    """Which readers of a crossover begin with the aided side, in the order in which they began.

    Minimisation (Taves 1974) without chance: each goes to the side with fewer readers of the same experience level,
    among equals to the one with fewer readers, and then to the unaided one.
    """
    sides: list[bool] = []
    for number, level in enumerate(levels):
        before = list(zip(levels[:number], sides, strict=True))
        taken = [(before.count((level, side)), sides.count(side), side) for side in (False, True)]
        sides.append(min(taken)[2])
    return sides


def _arms(
    cases: Sequence[OrderedCase], *, protocol: Protocol, study_token: str, session_number: int, starts_aided: bool,
) -> Callable[[OrderedCase], Arm]:
    """Which arm a case is read in. Crossover designs are 2 x 2 Latin squares: what is aided in the first
    session is unaided in the other; `starts_aided` says which side a reader begins with."""
    if protocol.design in (Design.UNAIDED, Design.AIDED):
        return lambda case: Arm(protocol.design.value)
    if protocol.design is Design.UNAIDED_THEN_AIDED:
        return lambda case: Arm.AIDED if session_number == 2 else Arm.UNAIDED
    odd = (starts_aided + session_number - 1) % 2
    if protocol.design is Design.CROSSOVER_SESSIONS:
        return lambda case: Arm.AIDED if odd else Arm.UNAIDED
    seed = _hash(protocol.seed, study_token, "halves")
    half = {cluster: side for kind in CaseKind
            for cluster, side in _halves([case for case in cases if case.kind is kind], seed).items()}
    return lambda case: Arm.AIDED if (half[case.cluster] + odd) % 2 else Arm.UNAIDED


def _halves(cases: Sequence[OrderedCase], seed: str) -> dict[int, int]:
    """Cluster to 0 or 1, the same for all readers: whole patients, as even in cases as they allow."""
    sizes = {cluster: sum(case.cluster == cluster for case in cases) for cluster in {case.cluster for case in cases}}
    counts, half = [0, 0], {}
    for cluster in sorted(sizes, key=lambda cluster: (-sizes[cluster], _hash(seed, cluster))):
        half[cluster] = int(counts[1] < counts[0])
        counts[half[cluster]] += sizes[cluster]
    return half


def _hash(*parts: object) -> str:
    """SHA-256 of the parts, in hexadecimal; the separator keeps (1, 23) and (12, 3) apart."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
