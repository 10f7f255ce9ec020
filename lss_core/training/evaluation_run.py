"""One run of `python -m lss_core evaluate`: outcomes, figures, pictures of failures, and where they are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lss_core.grading.checkpoint import read_card, record_metrics, replace_file
from lss_core.training.evaluate import ModelFolder, evaluate
from lss_core.training.evaluation import Evaluation, evaluation_as_json
from lss_core.training.evaluation_text import comparisons_as_text, evaluation_as_text
from lss_core.training.failures import write_failures
from lss_core.training.model_card import model_card_html
from lss_core.training.performance import compare_versions, evaluation_of
from lss_core.training.scan_sets import ScanSet, SetKind
from lss_core.vocabulary import Refusal

RECORDED = (SetKind.SIMULATED, SetKind.IMPOSED, SetKind.REAL)


@dataclass(frozen=True)
class Outputs:
    """Where to keep what; None for nowhere."""

    folder: Path | None = None          # outcomes and failures, from which a killed run goes on
    json: Path | None = None
    html: Path | None = None
    record: bool = False                # write the evaluations into the cards of the models
    only: tuple[str, ...] | None = None     # of these versions; None: of all


def run_evaluation(
    scans: ScanSet, models: ModelFolder, outputs: Outputs, *, workers: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> str:
    """Evaluate versions on scans, keep what is asked for, and return the figures as text.

    Raises:
        Refusal: as `evaluate`; or figures are to be recorded of scans whose kind is not stated.
    """
    if outputs.record and scans.kind not in RECORDED:
        raise Refusal("Say with --scans whether the scans are real, imposed or simulated, so that the card can say it.")
    with _folder(outputs.folder) as folder:
        graded = evaluate(scans, models, folder=folder, workers=workers, report=report)
        outcomes = {version: [o for scan in each for o in scan.outcomes] for version, each in graded.items()}
        comparisons = compare_versions(outcomes)
        evaluations = [
            replace(
                evaluation_of(
                    each, statement=scans.statement(), set_name=scans.kind.value, named=scans.kind is SetKind.SIMULATED,
                    header=models.header(version, scans.sha256()),
                ),
                comparisons=tuple(test for test in comparisons if version in (test.first, test.second)),
            )
            for version, each in graded.items()
        ]
        _write_json(outputs.json, evaluations)
        if outputs.record:
            kept = [each for each in evaluations if outputs.only is None or each.model_version in outputs.only]
            _record(models, kept, scans.kind)
        if outputs.folder is not None or outputs.html is not None:
            pictures = folder / "failures"
            failures = write_failures(
                scans, models, outcomes, folder=pictures, statement=scans.statement(), report=report
            )
            if outputs.html is not None:
                cards = {version: models.card(version) for version in models.versions}
                page = model_card_html(evaluations, cards, failures=failures, pictures=pictures)
                outputs.html.parent.mkdir(parents=True, exist_ok=True)
                replace_file(outputs.html, page.encode())
    return "\n\n".join(filter(None, [*map(evaluation_as_text, evaluations), comparisons_as_text(comparisons)]))


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)


def _write_json(path: Path | None, evaluations: Sequence[Evaluation]) -> None:
    if path is None:
        return
    content = {"evaluations": [evaluation_as_json(evaluation) for evaluation in evaluations]}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _record(models: ModelFolder, evaluations: Sequence[Evaluation], kind: SetKind) -> None:
    """Each into its card, beside those on other kinds of scans."""
    for evaluation in evaluations:
        before = read_card(models.folder, evaluation.model_version).metrics.get("evaluation", {})
        kept = {name: value for name, value in before.items() if name in RECORDED}
        recorded = {**kept, kind.value: evaluation_as_json(evaluation)}
        record_metrics(models.folder, evaluation.model_version, "evaluation", recorded)
