"""The protocol of a study as a value: what is asked, of whom, in which order and arms, and how it is analysed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lss_core.study.database import Arm
from lss_core.vocabulary import Refusal, Region

SCHEME = "Central canal: Lee 2011; lateral recess: Bartynski and Lin 2003; grades 0 (normal) to 3 (severe)"


class Design(StrEnum):
    """Which arm a reader reads when."""

    UNAIDED = "unaided"                                 # every session without the model
    AIDED = "aided"                                     # every session with the model's grades
    UNAIDED_THEN_AIDED = "unaided_then_aided"           # session 1 without, session 2 with; the same for all readers
    CROSSOVER_SESSIONS = "crossover_sessions"           # two sessions; which comes first alternates over the readers
    CROSSOVER_CASES = "crossover_cases"                 # half of the cases aided in session 1, the other half in 2


TWO_SESSIONS = (Design.UNAIDED_THEN_AIDED, Design.CROSSOVER_SESSIONS, Design.CROSSOVER_CASES)


class OrderRule(StrEnum):
    RANDOM = "random"                                   # cases shuffled, anew for each reader and session
    PATIENT_BLOCKS = "patient_blocks"                   # patients shuffled, the levels of a patient one after another


class Revisit(StrEnum):
    FORWARD_ONLY = "forward_only"
    UNTIL_SIGNED = "until_signed"                       # a reader may answer again until the session is signed


class Experience(StrEnum):
    JUNIOR = "junior"
    INTERMEDIATE = "intermediate"
    SENIOR = "senior"


@dataclass(frozen=True)
class Aid:
    """What an aided reader sees of the model. Its grades and probabilities always; heat maps where wanted."""

    version: str
    weights_sha256: str
    heat_map: bool = True


@dataclass(frozen=True)
class AnalysisPlan:
    """What is fixed before anybody reads."""

    primary: str = "Accuracy of the four grades, central canal and lateral recess apart"
    cut: int = 2                                        # binary analyses: grade >= cut is positive
    alpha: float = 0.05
    non_inferiority_margin: float | None = 0.05         # of accuracy; None: superiority only
    bootstraps: int = 2000
    seed: int = 1
    text: str = ""


@dataclass(frozen=True)
class Protocol:
    """Everything that is locked. `canonical` is what is hashed."""

    instructions: str = ""                              # Markdown, before the first case
    scheme: str = SCHEME
    regions: tuple[Region, ...] = tuple(Region)
    ask_confidence: bool = True
    design: Design = Design.UNAIDED
    sessions: int = 1
    washout_days: int = 28                              # between the end of a session and the start of the next
    aid: Aid | None = None
    repeats: int = 0                                    # hidden repeats in each session
    order: OrderRule = OrderRule.RANDOM
    seed: str = ""                                      # of all orders; random unless given
    revisit: Revisit = Revisit.FORWARD_ONLY
    training_feedback: bool = True                      # the reference is shown after each training case
    slices_around_mm: float = 15.0                      # what is shown to each side of the level's slice
    pause_s: float = 1.0                                # neutral pause between cases
    idle_after_s: float = 60.0                          # without a sign of the reader, time counts as idle
    junior_below_years: float = 5.0
    senior_above_years: float = 10.0
    versions: tuple[str, ...] = ()                      # model versions compared with the readers
    own_result: bool = False                            # readers see their own result after unblinding
    analysis: AnalysisPlan = field(default_factory=AnalysisPlan)

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise Refusal(problem)

    def experience(self, years: float) -> Experience:
        """The experience level that years of practice make."""
        if years < self.junior_below_years:
            return Experience.JUNIOR
        return Experience.SENIOR if years > self.senior_above_years else Experience.INTERMEDIATE

    @property
    def canonical(self) -> str:
        """JSON with sorted keys and no spaces: equal protocols give equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @classmethod
    def parse(cls, text: str) -> Protocol:
        """The protocol of canonical (or any) JSON.

        Raises:
            Refusal: not JSON, an unknown or missing field, or a value that cannot be.
        """
        try:
            values = json.loads(text)
            values["regions"] = tuple(map(Region, values["regions"]))
            values["versions"] = tuple(values["versions"])
            for name, kind in (("design", Design), ("order", OrderRule), ("revisit", Revisit)):
                values[name] = kind(values[name])
            values["aid"] = Aid(**values["aid"]) if values["aid"] else None
            values["analysis"] = AnalysisPlan(**values["analysis"])
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(f"This is not a protocol that this software can read: {error}.") from error


def arms_of(design: Design) -> tuple[Arm, ...]:
    """The arms that occur in a design."""
    return {Design.UNAIDED: (Arm.UNAIDED,), Design.AIDED: (Arm.AIDED,)}.get(design, (Arm.UNAIDED, Arm.AIDED))


def digest(protocol: Protocol, cases: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of a protocol together with the facts of its cases, each in canonical JSON.

    Args:
        cases: As `readiness.locked_facts` gives them.
    """
    content = {"protocol": json.loads(protocol.canonical), "cases": list(cases)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def changes(before: Protocol, after: Protocol) -> dict[str, tuple[Any, Any]]:
    """What an amendment changed: field name to its old and new value, as JSON values."""
    old, new = json.loads(before.canonical), json.loads(after.canonical)
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


def _problems(protocol: Protocol) -> Iterator[str]:
    """A sentence for each value that cannot be."""
    yield from _problems_of_questions(protocol)
    yield from _problems_of_design(protocol)
    yield from _problems_of_analysis(protocol.analysis)


def _problems_of_questions(protocol: Protocol) -> Iterator[str]:
    if not protocol.regions:
        yield "No region is asked; choose at least one."
    if len(set(protocol.regions)) < len(protocol.regions):
        yield "A region is asked twice; name each once."
    if not (protocol.slices_around_mm >= 0 and protocol.pause_s >= 0 and protocol.idle_after_s > 0):
        yield "Slices around (mm) and pause (s) must be 0 or more, and the idle limit (s) above 0."
    if not 0 < protocol.junior_below_years <= protocol.senior_above_years:
        yield (f"Junior below {protocol.junior_below_years:g} years and senior above {protocol.senior_above_years:g} "
               "cannot be; the first must be positive and not above the second.")


def _problems_of_design(protocol: Protocol) -> Iterator[str]:
    if protocol.sessions < 1:
        yield f"{protocol.sessions} sessions are planned; at least one is needed."
    if protocol.design in TWO_SESSIONS and protocol.sessions != 2:
        yield f"The design {protocol.design.value} has two sessions, not {protocol.sessions}."
    if Arm.AIDED in arms_of(protocol.design) and protocol.aid is None:
        yield f"The design {protocol.design.value} shows a model's grades; name the model version."
    if Arm.AIDED not in arms_of(protocol.design) and protocol.aid is not None:
        yield "An aid is named, but no arm of the design is aided; remove it or choose an aided design."
    if protocol.aid is not None and not (protocol.aid.version and protocol.aid.weights_sha256):
        yield "The aid needs its model version and the hash of its weights; choose a version that has graded the cases."
    if protocol.washout_days < 0:
        yield f"A washout of {protocol.washout_days} days cannot be; give 0 or more."
    if protocol.repeats < 0:
        yield f"{protocol.repeats} repeats cannot be; give 0 or more."


def _problems_of_analysis(plan: AnalysisPlan) -> Iterator[str]:
    if not 1 <= plan.cut <= 3:
        yield f"The cut {plan.cut} is not a grade from 1 to 3."
    if not 0 < plan.alpha < 0.5:
        yield f"alpha {plan.alpha:g} is not between 0 and 0.5."
    if plan.non_inferiority_margin is not None and not 0 < plan.non_inferiority_margin < 1:
        yield f"The non-inferiority margin {plan.non_inferiority_margin:g} is not between 0 and 1."
    if plan.bootstraps < 1:
        yield f"{plan.bootstraps} bootstraps cannot be; give 1 or more."
