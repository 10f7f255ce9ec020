"""What was measured of model versions, side by side; every block says on what."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import streamlit as st

from lss_core.registry import ModelVersion
from lss_core.training.evaluation import Evaluation, PairedTest, Performance
from lss_core.vocabulary import counted, unit_of
from ui import model_charts, model_failures, wording
from ui.evaluations import CAUTIONS, KINDS, SETS, Measured, command, evaluated_sets, measured, p_value, parts, printed
from ui.tables import table

INTERVALS = (
    "In brackets 95 % intervals by a bootstrap over patients. A missed region counts as wrong in accuracy, balanced "
    "accuracy, macro F1, sensitivity and specificity; everything else is of the regions found."
)
CEILING = "Score of an observer who measures without bias but errs by half a pixel: a scale, not a bound."


def choose_set(versions: Sequence[ModelVersion]) -> str:
    """The set of scans whose figures are shown; the first on which a version was evaluated."""
    sets = evaluated_sets(versions)
    if not sets:
        return next(iter(SETS))
    return st.radio(
        "Figures measured on", list(SETS), index=list(SETS).index(sets[0]), horizontal=True,
        format_func=SETS.__getitem__, key="evaluated-set",
    )


def show(versions: Sequence[ModelVersion], set_name: str, tab: str) -> None:
    """One tab of figures, headed by what they were measured on."""
    results = [measured(version, set_name) for version in versions]
    found = [each.evaluation for each in results if each.evaluation is not None]
    if found:
        st.html(model_charts.LAYOUT)
        st.warning(_statement(found), icon=":material/science:")
    _show_missing(results)
    for title, block in TABS[tab].items() if found else ():
        st.subheader(title, anchor=False)
        st.caption(CAUTIONS[set_name])
        block(found)


def _show_missing(results: Sequence[Measured]) -> None:
    """Which versions have no figures on this set, and the command that makes them."""
    for each in results:
        if each.problem:
            st.warning(each.problem, icon=":material/warning:")
    missing = [each for each in results if each.evaluation is None and not each.problem]
    if missing:
        names = [each.version for each in missing]
        st.info(
            f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} not evaluated on "
            f"{_inside_a_sentence(SETS[missing[0].set_name])}. To fill this place:\n```\n"
            f"{command(missing[0].set_name, names)}\n```\nSeveral versions named in one run are compared in pairs.",
            icon=":material/query_stats:",
        )


def _inside_a_sentence(title: str) -> str:
    return title[0].lower() + title[1:]


def _statement(found: Sequence[Evaluation]) -> str:
    """On what the figures were measured, once where all versions saw the same scans."""
    by_statement: dict[str, list[str]] = {}
    for each in found:
        by_statement.setdefault(each.statement, []).append(each.model_version)
    if len(by_statement) == 1:
        return next(iter(by_statement))
    return "\n\n".join(f"**{', '.join(names)}:** {statement}" for statement, names in by_statement.items())


def _compared(found: Sequence[Evaluation], rows: dict[str, Callable[[Performance], str]], *, label: str) -> None:
    """A table for each kind of region: a row for each figure, a column for each version."""
    for kind, title in KINDS.items():
        having = list(parts(found, kind))
        if having:
            cells = [[html.escape(name), *[of(part) for _, part in having]] for name, of in rows.items()]
            st.html(table([title, *[each.model_version for each, _ in having]], cells, label=f"{label}, {title}"))


def _regions(part: Performance) -> str:
    return f"{part.regions} <small>of {counted(part.patients, 'patient')}</small>"


def _missed(part: Performance) -> str:
    return f"{part.missed} <small>·</small> {printed(part.missed_share)}"


def _ceiling(part: Performance) -> str:
    if part.ceiling is None:
        return "not known"
    return f"{part.ceiling.accuracy:.3f} <small>·</small> {part.ceiling.quadratic_kappa:.3f}"


HEADLINE: dict[str, Callable[[Performance], str]] = {
    "Regions": _regions,
    "Missed, share": _missed,
    "Accuracy": lambda part: printed(part.accuracy),
    "Balanced accuracy": lambda part: printed(part.balanced_accuracy),
    "Macro F1": lambda part: printed(part.macro_f1),
    "Quadratic kappa": lambda part: printed(part.quadratic_kappa),
    "Linear kappa": lambda part: printed(part.linear_kappa),
    "Gwet's AC2": lambda part: printed(part.gwet_ac2),
    "Off by one grade": lambda part: printed(part.off_by_one),
    "Off by two or more": lambda part: printed(part.off_by_two),
    "Ceiling: accuracy · kappa": _ceiling,
}


def _headline(found: Sequence[Evaluation]) -> None:
    _compared(found, HEADLINE, label="Headline figures")
    st.caption(f"{INTERVALS} Ceiling: {CEILING}")


def _cuts(found: Sequence[Evaluation]) -> None:
    rows: dict[str, Callable[[Performance], str]] = {}
    for place, cut in enumerate(("≥ 1", "≥ 2", "= 3")):
        rows[f"Grade {cut}: regions"] = lambda part, i=place: str(part.cuts[i].positives)
        rows[f"Grade {cut}: sensitivity"] = lambda part, i=place: printed(part.cuts[i].sensitivity)
        rows[f"Grade {cut}: specificity"] = lambda part, i=place: printed(part.cuts[i].specificity)
        rows[f"Grade {cut}: area under the curve"] = lambda part, i=place: printed(part.cuts[i].auc)
    _compared(found, rows, label="Sensitivity and specificity")


def _sets_and_doubts(found: Sequence[Evaluation]) -> None:
    _compared(found, {
        "Set made to hold": lambda part: "no sets" if part.sets is None else f"{part.sets.stated:.0%} of true grades",
        "Set holds": lambda part: "no sets" if part.sets is None else printed(part.sets.coverage),
        "Grades in a set": lambda part: "no sets" if part.sets is None else printed(part.sets.mean_size, digits=2),
        "Regions with a doubt": lambda part: f"{part.doubts.regions} <small>·</small> {printed(part.doubts.share)}",
        "Accuracy with a doubt": lambda part: printed(part.doubts.accuracy_with),
        "Accuracy without": lambda part: printed(part.doubts.accuracy_without),
    }, label="Sets and doubts")


def _comparisons(found: Sequence[Evaluation]) -> None:
    tests = list(dict.fromkeys(test for each in found for test in each.comparisons))
    if not tests:
        st.info(
            "No two of these versions were compared on the same scans. Name both in one run, for example:\n```\n"
            f"{command(found[0].set_name, ['v1', 'v2'])}\n```", icon=":material/compare_arrows:",
        )
        return
    head = ("Region", "Versions", "Regions", "Only one right", "Accuracy difference", "p (Holm)", "Method")
    st.html(table(head, [_test_row(test) for test in tests], label="Paired comparison"))
    st.caption(
        "Accuracy of the first version minus that of the second on exactly the same regions; a missed region is wrong. "
        "p is clustered by patient and corrected for all comparisons of the run."
    )


def _test_row(test: PairedTest) -> list[str]:
    first, second = html.escape(test.first), html.escape(test.second)
    return [
        KINDS[test.kind], f"{first} − {second}", str(test.regions),
        f"{first}: {test.only_first_right}, {second}: {test.only_second_right}", printed(test.difference),
        p_value(test.p_holm), f"<small>{html.escape(test.method)}</small>",
    ]


def _measure_errors(found: Sequence[Evaluation]) -> None:
    """Table and charts of measured minus known."""
    rows = []
    for kind, title in KINDS.items():
        for each, part in parts(found, kind):
            for name, error in part.measures.items():
                unit = f" {unit_of(name)}"
                rows.append([
                    f"{title}, {wording.MEASURE_NAMES[name]}", html.escape(each.model_version), str(error.regions),
                    *[printed(value, digits=2, unit=unit) for value in (
                        error.median_absolute, error.p90_absolute, error.bias, error.lower_limit, error.upper_limit
                    )],
                ])
    if not rows:
        st.info("No measurement was evaluated: the reference or the model holds none.", icon=":material/straighten:")
        return
    head = (
        "Measurement", "Version", "Regions", "Median error", "90 % of errors below", "Bias", "Lower limit",
        "Upper limit",
    )
    st.html(table(head, sorted(rows), label="Measurement error"))
    for name in wording.MEASURE_NAMES:
        model_charts.of_evaluations(found, name)


def _calibration(found: Sequence[Evaluation]) -> None:
    _compared(found, {
        "Expected calibration error": lambda part: printed(part.calibration.expected_error),
        "Brier score (0 to 2)": lambda part: printed(part.calibration.brier),
    }, label="Calibration")
    model_charts.of_evaluations(found, "reliability")


Block = Callable[[Sequence[Evaluation]], None]
TABS: dict[str, dict[str, Block]] = {
    "Accuracy": {
        "Headline figures": _headline, "Confusion": model_charts.confusions, "From a grade upwards": _cuts,
        "Subgroups": model_charts.subgroups,
    },
    "Calibration": {
        "Probabilities": _calibration, "Sets of grades and doubts": _sets_and_doubts,
    },
    "Measurement": {"Measured minus known": _measure_errors},
    "Comparison": {"Versions compared in pairs": _comparisons},
    "Failures": {"Where the versions failed": model_failures.show},
}
