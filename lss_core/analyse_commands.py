"""`python -m lss_core analyse`: the complete analysis of a reader study from CSV files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lss_core.vocabulary import Refusal

if TYPE_CHECKING:                               # imported where they are used: the other commands need no statistics
    from lss_core.study.analysis_values import StudyAnalysis
    from lss_core.study.protocol import AnalysisPlan

DONE = 0
MOST_LINES = 12                                 # of what is not estimable, on the screen


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `analyse` to the command line."""
    parser = commands.add_parser("analyse", help="statistics of a reader study from its CSV files")
    parser.add_argument("readings", type=Path, metavar="READINGS.csv")
    parser.add_argument("reference", type=Path, metavar="REFERENCE.csv")
    parser.add_argument("--model", type=Path, metavar="MODEL.csv", help="grades and probabilities of model versions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="write the report as a PDF supplement there")
    parser.add_argument("--cut", type=int, default=2, help="grade >= CUT is positive (default %(default)s)")
    parser.add_argument("--margin", type=float, default=0.05,
                        help="non-inferiority margin of accuracy, 0 for none (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap (default %(default)s)")
    parser.add_argument("--bootstraps", type=int, default=2000, help="resamples of patients (default %(default)s)")
    parser.add_argument("--simulated", action="store_true", help="readers or cases are simulated: say so everywhere")
    parser.set_defaults(run=run_analyse)


def run_analyse(options: argparse.Namespace) -> int:
    """Analyse, write what was asked for, and print a summary."""
    from lss_core.study.readings import read_tables
    from lss_core.study.report import analyse

    plan = _plan(options)
    tables = read_tables(options.readings, options.reference, options.model)
    analysis = analyse(tables, plan, simulated=options.simulated)
    _write(options, analysis)
    print("\n".join(summary_lines(analysis)))
    return DONE


def _plan(options: argparse.Namespace) -> AnalysisPlan:
    """The analysis plan of the flags, checked as a protocol checks it."""
    from lss_core.study.protocol import AnalysisPlan, Protocol

    if options.seed < 0:
        raise Refusal(f"The seed {options.seed} is negative; give 0 or more.")
    plan = AnalysisPlan(cut=options.cut, non_inferiority_margin=options.margin or None, seed=options.seed,
                        bootstraps=options.bootstraps)
    return Protocol(analysis=plan).analysis


def _write(options: argparse.Namespace, analysis: StudyAnalysis) -> None:
    from lss_core.study.analysis_json import analysis_as_json

    if options.json is not None:
        _put(options.json, analysis_as_json(analysis).encode())
    if options.html is not None:
        from lss_core.study.report_html import report_html

        _put(options.html, report_html(analysis).encode())
    if options.pdf is not None:
        from lss_core.study.report_pdf import report_pdf

        _put(options.pdf, report_pdf(analysis))


def _put(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise Refusal(f"{path} cannot be written ({error.strerror}); choose another file.") from error


def summary_lines(analysis: StudyAnalysis) -> Iterator[str]:
    """One screen: what was read, accuracies, the primary tests, and what is not estimable."""
    from lss_core.study.analysis_values import RaterKind
    from lss_core.study.report_tables import number

    yield analysis.statement
    unfinished = [each for each in analysis.scope.progress if each.missing]
    names = ", ".join(sorted({each.reader for each in unfinished}))
    missing = f"{sum(each.missing for each in unfinished)} not read by {names}" if unfinished else "none missing"
    yield f"{analysis.scope.readings} readings of regions: {analysis.scope.not_gradable} not gradable, {missing}."
    for each in analysis.results:
        if each.rater.kind is not RaterKind.READER:
            name = f"{each.rater.label}{f', {each.arm}' if each.arm else ''}"
            yield f"{each.region.label:15s} {name:34s} accuracy {each.accuracy}, n = {each.counts.asked}"
    for test in analysis.tests:
        if test.family == "primary":
            yield f"{test.region.replace('_', ' ').capitalize():15s} {test.name:44s} {test.difference}, " \
                  f"p {number(test.p_value)}, after Holm {number(test.p_holm)}"
    for lacking in analysis.not_estimable[:MOST_LINES]:
        region = f" ({lacking.region.replace('_', ' ')})" if lacking.region else ""
        yield f"Not estimable: {lacking.section.replace('_', ' ')}{region}: {lacking.reason}"
    if (more := len(analysis.not_estimable) - MOST_LINES) > 0:
        yield f"... and {more} more that are not estimable: see the report."
