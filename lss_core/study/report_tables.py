"""The report as sections of plain text and tables, for HTML and PDF alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lss_core.statistics.mrmc_components import Components
from lss_core.study.analysis_values import MrmcResult, RaterKind, RaterResult, RegionKind, StudyAnalysis
from lss_core.study.report_items import checklist
from lss_core.study.report_text import methods_text

FIGURES = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity",
           "kappa": "kappa, quadratic", "auc": "AUC from confidence"}
HARDEST_SHOWN = 15
LEAST_SHOWN = 1e-12         # of variances; below it is rounding


@dataclass(frozen=True)
class Table:
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """`key` names what belongs here to those who add figures."""

    key: str
    title: str
    paragraphs: tuple[str, ...]
    tables: tuple[Table, ...] = ()


def sections(analysis: StudyAnalysis) -> tuple[Section, ...]:
    """The whole report in its order; what is not estimable is said where it would stand."""
    why = analysis.why_not
    return (
        Section("methods", "Methods", (methods_text(analysis), analysis.plan.text)),
        Section("scope", "Readers, cases and what is missing", (), tuple(_scope(analysis))),
        Section("accuracy", "Accuracy of models and readers", (why("results"),), tuple(_accuracy(analysis))),
        Section("against_readers", "Model against the average reader",
                (why("against_readers"), why("versions")), tuple(_mrmc(analysis, "against_readers"))),
        Section("aided", "Aided against unaided reading", (why("aided"), why("level_gaps")),
                tuple(_mrmc(analysis, "aided"))),
        Section("tests", "Tests, adjusted by Holm", (), tuple(_tests(analysis))),
        Section("roc", "Operating curves", (why("roc"),), tuple(_roc(analysis))),
        Section("agreement", "Agreement", (why("agreement"),), tuple(_agreement(analysis))),
        Section("subgroups", "Parts of the study and hardest regions", (why("subgroups"),), tuple(_parts(analysis))),
        Section("times", "Time, learning and fatigue", (why("times"),), tuple(_times(analysis))),
        Section("repeats", "Readers with themselves", (why("repeats"),), tuple(_repeats(analysis))),
        Section("calibration", "Calibration of the model", (why("calibration"),), tuple(_calibration(analysis))),
        Section("items", "Reporting guidelines", (), tuple(_items(analysis))),
    )


def _scope(analysis: StudyAnalysis) -> Iterator[Table]:
    rows = tuple(
        (each.reader, each.experience, each.arm, str(each.offered), str(each.read), str(each.missing),
         str(each.not_gradable), str(each.repeats), "yes" if each.finished else "no")
        for each in analysis.scope.progress
    )
    yield Table("Readers, in regions of first showings",
                ("reader", "experience", "arm", "offered", "read", "missing", "not gradable", "repeats", "finished"),
                rows)


def _accuracy(analysis: StudyAnalysis) -> Iterator[Table]:
    head = ("rater", "arm", "n", "no grade", "accuracy", "balanced", "macro-F1", "off by one", "off by two",
            "kappa, quadratic", "AC2")
    cut = analysis.plan.cut
    for region in RegionKind:
        own = [each for each in analysis.results if each.region is region]
        if own:
            yield Table(f"{region.label}: all rates with {_level(analysis)} intervals by patient", head,
                        tuple(_rates_row(each) for each in own))
            yield Table(
                f"{region.label}: grade >= {cut}, of the regions graded",
                ("rater", "arm", "positives", "sensitivity", "specificity", "positive value", "negative value"),
                tuple(_cut_row(each, cut) for each in own),
            )


def _level(analysis: StudyAnalysis) -> str:
    return f"{100 * (1 - analysis.plan.alpha):g} %"


def _rates_row(each: RaterResult) -> tuple[str, ...]:
    rates = each.rates
    return (each.rater.label, each.arm or "-", str(each.counts.asked), str(each.counts.not_gradable),
            str(each.accuracy), str(rates.balanced_accuracy), str(rates.macro_f1), str(rates.off_by_one),
            str(rates.off_by_two), str(rates.quadratic_kappa), str(rates.gwet_ac2))


def _cut_row(each: RaterResult, cut: int) -> tuple[str, ...]:
    rates = each.rates.cuts[cut - 1]
    return (each.rater.label, each.arm or "-", f"{rates.positives} of {rates.positives + rates.negatives}",
            str(rates.sensitivity), str(rates.specificity), str(rates.positive_value), str(rates.negative_value))


def _mrmc(analysis: StudyAnalysis, section: str) -> Iterator[Table]:
    found: Sequence[MrmcResult] = getattr(analysis, section)
    head = ("figure", "first", "second", "readers", "regions", "mean of first", "mean of second", "difference", "df",
            "p", "non-inferior", "readers taken for", "left out")
    for region in RegionKind:
        own = [each for each in found if each.region is region]
        if own:
            yield Table(f"{region.label}: first minus second", head, tuple(_mrmc_row(each) for each in own))
            yield Table(
                f"{region.label}: variance components and covariances (x 10 000)",
                ("figure", "first", "readers", "reader", "arm x reader", "error", "Cov1", "Cov2", "Cov3", "F or chi2"),
                tuple(_components_row(each) for each in own if not each.level),
            )
    if section == "aided" and analysis.level_gaps:
        yield Table("Experience levels compared: accuracy, first minus second",
                    ("region", "of", "first", "second", "difference", "p"),
                    tuple((each.region.label, each.of, each.first, each.second, str(each.difference),
                           number(each.p_value)) for each in analysis.level_gaps))
    if section == "against_readers" and analysis.versions:
        yield Table("Model versions compared on the same regions: accuracy, first minus second",
                    ("region", "first", "second", "regions", "difference", "p, clustered", "p, exact McNemar"),
                    tuple((each.region.label, each.first, each.second, str(each.regions), str(each.difference),
                           number(each.p_value), number(each.p_unclustered)) for each in analysis.versions))


def _mrmc_row(each: MrmcResult) -> tuple[str, ...]:
    margin = "-"
    if each.margin is not None:
        shown = "yes" if each.margin.shown else "not shown"
        margin = f"{shown}, margin {each.margin.margin:g}, p {number(each.margin.p_value)}"
    left = " ".join((*each.left_out, f"{each.cases_left_out} regions." if each.cases_left_out else "")).strip()
    return (FIGURES[each.figure], each.first, each.second, f"{each.readers} {each.level}".strip(),
            f"{each.regions} of {each.patients} patients", str(each.first_mean), str(each.second_mean),
            str(each.difference), number(each.df), number(each.p_value), margin, each.readers_are, left or "-")


def _components_row(each: MrmcResult) -> tuple[str, ...]:
    parts: Components = each.components
    values = (parts.var_reader, parts.var_interaction, parts.var_error, parts.cov1, parts.cov2, parts.cov3)
    return (FIGURES[each.figure], each.first, str(each.readers),
            *(number(1e4 * _unless_rounding(value)) for value in values),
            each.test.undefined or f"{each.test.name} {number(each.test.statistic)} "
                                   f"({number(each.test.df1)}, {number(each.test.df2)})")


def _unless_rounding(value: float) -> float:
    return 0.0 if abs(value) < LEAST_SHOWN else value


def number(value: float) -> str:
    """Three significant digits."""
    if math.isnan(value):
        return "not estimable"
    return "inf" if math.isinf(value) else f"{value:.3g}"


def _tests(analysis: StudyAnalysis) -> Iterator[Table]:
    for family in ("primary", "secondary"):
        rows = tuple(
            (each.name, each.region.replace("_", " ") or "both", str(each.difference), number(each.p_value),
             number(each.p_holm)) for each in analysis.tests if each.family == family
        )
        if rows:
            yield Table(f"{len(rows)} {family} tests", ("test", "region", "estimate", "p", "p after Holm"), rows)


def _roc(analysis: StudyAnalysis) -> Iterator[Table]:
    rows = tuple(
        (panel.region.label, f"grade >= {panel.cut}", f"{panel.positives} of {panel.positives + panel.negatives}",
         each.name, each.arm or "-", str(each.n), str(each.area))
        for panel in analysis.roc for each in panel.curves if each.kind is not RaterKind.READER
    )
    if rows:
        head = ("region", "positive", "positives", "curve", "arm", "regions", "AUC")
        yield Table("Areas under the curves", head, rows)


def _agreement(analysis: StudyAnalysis) -> Iterator[Table]:
    for panel in analysis.agreement:
        rows = [(f"{each.first} with {each.second}" if each.first != each.second else f"within {each.first}",
                 str(each.kappa)) for each in panel.groups]
        rows += [(each.name, str(each.estimate)) for each in panel.among]
        rows += [(f"{each.first} with the reference", str(each.kappa)) for each in panel.pairs
                 if each.second == panel.raters[-1]]
        rows.append(("readers differ in accuracy (Cochran's Q, regions taken for independent)",
                     str(panel.readers_differ)))
        yield Table(f"{panel.region.label}, {panel.arm}", ("agreement", "estimate"), tuple(rows))


def _parts(analysis: StudyAnalysis) -> Iterator[Table]:
    rows = tuple((each.region.label, each.attribute, each.value, each.rater.label, str(each.n), str(each.accuracy))
                 for each in analysis.subgroups)
    if rows:
        yield Table(f"Accuracy in parts of the study, {analysis.scope.main_arm}",
                    ("region", "attribute", "value", "rater", "n", "accuracy"), rows)
    hard = tuple(
        (each.case, each.region.replace("_", " "), each.level, str(each.reference), f"{each.right} of {each.readers}",
         ", ".join(map(str, each.given)), str(each.not_gradable),
         ", ".join(f"{name} {grade if grade >= 0 else 'no grade'}" for name, grade in each.models) or "-")
        for each in analysis.hardest[:HARDEST_SHOWN]
    )
    if hard:
        yield Table(f"Hardest regions, {analysis.scope.main_arm}",
                    ("case", "region", "level", "reference", "readers right", "gave 0, 1, 2, 3", "not gradable",
                     "models"), hard)


def _times(analysis: StudyAnalysis) -> Iterator[Table]:
    times = analysis.times
    if times.seconds:
        yield Table("Seconds of a case, geometric mean", ("readers", "arm", "readings", "seconds"),
                    tuple((each.level or "all", each.arm, str(each.readings), str(each.seconds))
                          for each in times.seconds))
    rows = [("aided / unaided", each.level or "all", str(each.ratio), number(each.p_value),
             "adjusted for order; " + f"second / first session {each.second_session}" if each.adjusted
             else " ".join(each.left_out) or "-") for each in times.ratios]
    rows += [("place in session x 2", f"session {each.session}, {each.arm}", str(each.per_doubling),
              number(each.p_value), "below 1 learning, above 1 fatigue") for each in times.trends]
    if rows:
        yield Table("Time as a multiple", ("what", "of", "multiple", "p", "note"), tuple(rows))
    if times.bins:
        yield Table("Accuracy along a session, and against the reader's own time, in quarters",
                    ("by", "session", "arm", "quarter", "median s", "regions", "accuracy"),
                    tuple((each.by, str(each.session or "all"), each.arm, str(each.part), f"{each.median_s:.1f}",
                           str(each.readings), str(each.accuracy)) for each in times.bins))


def _repeats(analysis: StudyAnalysis) -> Iterator[Table]:
    for panel in analysis.repeats:
        rows = tuple((each.reader, str(each.repeats), str(each.missing), str(each.equal), str(each.kappa))
                     for each in (*panel.of_readers, panel.everybody))
        yield Table(f"{panel.region.label}, {panel.kind}",
                    ("reader", "repeats", "not graded twice", "share equal", "kappa, quadratic"), rows)


def _calibration(analysis: StudyAnalysis) -> Iterator[Table]:
    rows = tuple((each.region.label, each.version, str(each.regions), str(each.without_probabilities),
                  str(each.expected_error), str(each.brier), str(each.log_loss)) for each in analysis.calibration)
    if rows:
        yield Table("Probabilities against the reference",
                    ("region", "version", "regions", "without probabilities", "expected calibration error",
                     "Brier score (0 to 2)", "log loss (nats)"), rows)


def _items(analysis: StudyAnalysis) -> Iterator[Table]:
    rows = tuple((each.guideline, each.item or "-", each.topic, each.answer) for each in checklist(analysis))
    yield Table("What the record answers, and what the authors must", ("guideline", "item", "topic", "answer"), rows)
