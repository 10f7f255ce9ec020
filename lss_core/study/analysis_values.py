"""The complete analysis of a reader study as values; `report.analyse` makes it, `docs/statistics.md` explains it.

Regions are of two kinds, central canal and lateral recess (left and right together). A figure that the data do not
define is an Estimate that says why; a whole section that they do not define is empty and has its reason in
`StudyAnalysis.not_estimable`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lss_core.statistics.calibration import ReliabilityBin
from lss_core.statistics.estimate import Estimate
from lss_core.statistics.mrmc import ArmTest
from lss_core.statistics.mrmc_components import Components
from lss_core.statistics.mrmc_standalone import MarginTest
from lss_core.statistics.paired import ChiSquare
from lss_core.statistics.pairwise import RepeatAgreement
from lss_core.statistics.reader_rates import ReaderRates
from lss_core.study.analysis_filter import StudyFilter
from lss_core.study.protocol import AnalysisPlan


class RegionKind(StrEnum):
    CENTRAL_CANAL = "central_canal"
    LATERAL_RECESS = "lateral_recess"

    @property
    def label(self) -> str:
        return self.value.replace("_", " ").capitalize()


class RaterKind(StrEnum):
    READER = "reader"
    LEVEL = "experience"                # the readers of an experience level, their readings taken together
    READERS = "readers"                 # all readers, their readings taken together
    MODEL = "model"


@dataclass(frozen=True)
class Rater:
    """Who graded. `name` is a reader's code, an experience level, "all readers" or a model version."""

    kind: RaterKind
    name: str
    experience: str = ""                # of a reader
    readers: int = 1                    # of a level or of all; 0 for a model

    @property
    def label(self) -> str:
        if self.kind is RaterKind.READER and self.experience:
            return f"{self.name} ({self.experience})"
        if self.kind is RaterKind.LEVEL:
            return f"{self.name}, {self.readers} reader{'s' if self.readers != 1 else ''}"
        return f"model {self.name}" if self.kind is RaterKind.MODEL else self.name


@dataclass(frozen=True)
class Counts:
    """Regions, counted once for each reader who was asked."""

    asked: int                          # read, or put to the model, with a reference grade
    graded: int
    not_gradable: int                   # asked, and no grade was given
    by_grade: tuple[int, ...]           # asked, by reference grade 0-3
    missed_by_grade: tuple[int, ...]    # not gradable, by reference grade
    patients: int


@dataclass(frozen=True)
class RaterResult:
    """How one rater did on one kind of region in one arm ("" for a model).

    Attributes:
        accuracy: Of the regions asked; a region without a grade counts as not right. Bootstrap over patients.
        rates: All further figures, of the regions graded.
    """

    region: RegionKind
    arm: str
    rater: Rater
    counts: Counts
    accuracy: Estimate
    rates: ReaderRates


@dataclass(frozen=True)
class ReaderProgress:
    """What a reader has read in an arm, in regions of first showings.

    Attributes:
        offered: Regions that any reader has read in this arm.
    """

    reader: str
    experience: str
    arm: str
    offered: int
    read: int
    not_gradable: int
    missing: int
    repeats: int                        # readings of hidden repeats and second readings, kept out of the main analyses

    @property
    def finished(self) -> bool:
        return self.missing == 0


@dataclass(frozen=True)
class Scope:
    """On what everything rests.

    Attributes:
        main_arm: In which readers are compared with the model and with each other.
        without_reference: Regions read that have no reference grade, and are left out.
        never_read: Regions of the reference that nobody read, and are left out.
        patients, cases, regions: Of the reference, read by somebody.
        versions: Of the model.
    """

    readers: int
    by_level: tuple[tuple[str, int], ...]
    patients: int
    cases: int
    regions: int
    arms: tuple[str, ...]
    main_arm: str
    sessions: tuple[int, ...]
    readings: int                       # rows of first showings
    repeats: int                        # rows of repeats
    not_gradable: int                   # of the first showings
    without_reference: int
    never_read: int
    confidence_missing: int             # first showings without a confidence
    durations_missing: int              # first showings (case by case) without a time above 0
    versions: tuple[str, ...]
    model_without_grade: tuple[tuple[str, int], ...]
    prevalence: tuple[tuple[RegionKind, tuple[int, ...]], ...]      # regions by reference grade
    progress: tuple[ReaderProgress, ...]


@dataclass(frozen=True)
class ReaderDifference:
    """First minus second, of one reader."""

    reader: str
    experience: str
    estimate: Estimate
    p_value: float


@dataclass(frozen=True)
class MrmcResult:
    """One figure of merit compared for readers and cases like these: model minus readers, or aided minus unaided.

    Attributes:
        figure: "accuracy", "sensitivity", "specificity", "kappa" (quadratic) or "auc".
        level: Experience level of the readers; "" for all.
        first, second: What is compared.
        readers_are: "random" speaks of readers like these, "fixed" of these alone.
        means: Of each, with its interval.
        left_out: A sentence for each reader who is left out, and for what was done with regions without a grade.
        cases_left_out: Regions left out because a reader did not read (or, for kappa and AUC, grade) them.
    """

    region: RegionKind
    figure: str
    level: str
    first: str
    second: str
    readers: int
    regions: int
    patients: int
    readers_are: str
    design: str
    covariance: str
    first_mean: Estimate
    second_mean: Estimate
    difference: Estimate
    se: float
    df: float
    p_value: float
    margin: MarginTest | None
    test: ArmTest
    components: Components
    by_reader: tuple[ReaderDifference, ...]
    left_out: tuple[str, ...] = ()
    cases_left_out: int = 0


@dataclass(frozen=True)
class LevelGap:
    """First minus second experience level in one arm, or in what the aid adds ("aided - unaided")."""

    region: RegionKind
    of: str
    first: str
    second: str
    difference: Estimate
    p_value: float


@dataclass(frozen=True)
class VersionPair:
    """Accuracy of two model versions on the same regions, first minus second; a region without a grade is not right."""

    region: RegionKind
    first: str
    second: str
    regions: int
    difference: Estimate
    p_value: float                      # McNemar, clustered by patient
    p_unclustered: float
    method: str


@dataclass(frozen=True)
class Curve:
    """An operating curve. `name` is a model version, a reader, or "average reader"."""

    kind: RaterKind
    name: str
    arm: str
    false_positive_rate: tuple[float, ...]
    sensitivity: tuple[float, ...]
    area: Estimate
    n: int                              # regions


@dataclass(frozen=True)
class OperatingPoint:
    """A reader's grades at the cut."""

    rater: Rater
    arm: str
    sensitivity: Estimate
    specificity: Estimate
    n: int


@dataclass(frozen=True)
class RocPanel:
    region: RegionKind
    cut: int                            # grade >= cut is positive
    positives: int
    negatives: int
    curves: tuple[Curve, ...]
    points: tuple[OperatingPoint, ...]


@dataclass(frozen=True)
class PairAgreement:
    first: str
    second: str
    kappa: Estimate


@dataclass(frozen=True)
class NamedEstimate:
    name: str
    estimate: Estimate


@dataclass(frozen=True)
class AgreementPanel:
    """Agreement in one arm. Kappas have quadratic weights over the four declared grades.

    Attributes:
        raters: Readers, then models, then "reference": the order of a heat map.
        pairs: Every two of them.
        groups: Mean kappa of pairs of readers within and between experience levels.
        among: Coefficients over all readers at once.
        readers_differ: Cochran's Q of right and wrong over the readers, on regions that all graded.
    """

    region: RegionKind
    arm: str
    raters: tuple[str, ...]
    pairs: tuple[PairAgreement, ...]
    groups: tuple[PairAgreement, ...]
    among: tuple[NamedEstimate, ...]
    readers_differ: ChiSquare


@dataclass(frozen=True)
class Subgroup:
    """Accuracy of a rater in a part of the regions, in the main arm; a region without a grade counts as not right."""

    region: RegionKind
    attribute: str                      # "level", "reference grade" or "image quality"
    value: str
    rater: Rater
    accuracy: Estimate
    n: int                              # regions asked, once for each reader


@dataclass(frozen=True)
class HardCase:
    """A region and how many readers graded it as the reference does, in the main arm."""

    case: str
    region: str
    level: str
    reference: int
    readers: int
    right: int
    not_gradable: int
    mean_distance: float                # grades from the reference, of the readers who gave one
    given: tuple[int, ...]              # readers who gave grade 0-3
    models: tuple[tuple[str, int], ...] # version, grade; -1 without one


@dataclass(frozen=True)
class TimeOfLevel:
    """Geometric mean seconds of a case."""

    level: str                          # "" for all readers
    arm: str
    seconds: Estimate
    readings: int


@dataclass(frozen=True)
class TimeRatioOfLevel:
    """Time aided as a multiple of unaided."""

    level: str
    ratio: Estimate
    p_value: float
    adjusted: bool                      # for the order of the arms
    second_session: Estimate | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionTrend:
    """Time as a multiple when the place in the session doubles: below 1 learning, above 1 fatigue."""

    session: int
    arm: str
    per_doubling: Estimate
    p_value: float


@dataclass(frozen=True)
class Bin:
    """Readings of one part of a session, or of one part of each reader's times."""

    by: str                             # "place in session" or "time of the reader"
    arm: str
    session: int                        # 0 for all
    part: int                           # from 1
    parts: int
    accuracy: Estimate                  # both kinds of region
    median_s: float
    readings: int                       # regions


@dataclass(frozen=True)
class Times:
    seconds: tuple[TimeOfLevel, ...] = ()
    ratios: tuple[TimeRatioOfLevel, ...] = ()
    trends: tuple[SessionTrend, ...] = ()
    bins: tuple[Bin, ...] = ()


@dataclass(frozen=True)
class RepeatPanel:
    """Readers against themselves; kappas have quadratic weights."""

    region: RegionKind
    kind: str                           # "hidden repeat" in the same session, or "second session" of the same arm
    of_readers: tuple[RepeatAgreement, ...]
    everybody: RepeatAgreement


@dataclass(frozen=True)
class CalibrationPanel:
    """Whether a model's probabilities mean what they say."""

    region: RegionKind
    version: str
    regions: int
    without_probabilities: int
    bins: tuple[ReliabilityBin, ...]
    expected_error: Estimate
    brier: Estimate
    log_loss: Estimate


@dataclass(frozen=True)
class TestRow:
    """A test, and its p-value after Holm within its family."""

    __test__ = False                    # not a test of pytest

    family: str                         # "primary" or "secondary"
    name: str
    region: str
    difference: Estimate
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class NotEstimable:
    section: str                        # field of StudyAnalysis
    region: str                         # "" for both kinds
    reason: str


@dataclass(frozen=True)
class StudyAnalysis:
    """Everything that the dashboard and the report show."""

    plan: AnalysisPlan
    filter: StudyFilter
    simulated: bool
    statement: str                      # on what, printed with every figure
    scope: Scope
    results: tuple[RaterResult, ...]
    against_readers: tuple[MrmcResult, ...]     # model minus average reader in the main arm
    aided: tuple[MrmcResult, ...]               # aided minus unaided
    level_gaps: tuple[LevelGap, ...]
    versions: tuple[VersionPair, ...]
    roc: tuple[RocPanel, ...]
    agreement: tuple[AgreementPanel, ...]
    subgroups: tuple[Subgroup, ...]
    hardest: tuple[HardCase, ...]
    times: Times
    repeats: tuple[RepeatPanel, ...]
    calibration: tuple[CalibrationPanel, ...]
    tests: tuple[TestRow, ...]
    not_estimable: tuple[NotEstimable, ...]
    environment: tuple[tuple[str, str], ...] = field(default=())    # software and libraries, with versions

    def result(self, region: RegionKind, rater: str, *, arm: str | None = None) -> RaterResult | None:
        """That of a rater by name, in an arm (the main one unless given); None where there is none."""
        wanted = self.scope.main_arm if arm is None else arm
        for each in self.results:
            if each.region is region and each.rater.name == rater and each.arm in ("", wanted):
                return each
        return None

    def why_not(self, section: str, region: str = "") -> str:
        """Why a section, or a kind of region in it, is not estimable; "" where it is."""
        reasons = [each.reason for each in self.not_estimable
                   if each.section == section and (not each.region or region in ("", each.region))]
        return " ".join(dict.fromkeys(reasons))
