"""The pictures of an evaluation's worst errors, where its run left them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lss_core.training.evaluation import Evaluation
from lss_core.vocabulary import Refusal

LIST = Path("failures") / "failures.json"       # in the folder of a run


@dataclass(frozen=True)
class FailurePicture:
    """One wrong grade, drawn."""

    path: Path
    caption: str


def pictures_of(evaluation: Evaluation, runs: Path) -> list[FailurePicture]:
    """The pictures of one version, from the first run of `runs` that graded the same scans with the same weights.

    Raises:
        Refusal: its list cannot be read.
    """
    for listed in sorted(runs.glob(f"*/{LIST}")):
        if _is_of(evaluation, listed.parent.parent):
            try:
                return list(_pictures(listed, evaluation.model_version))
            except (ValueError, KeyError, TypeError) as error:
                raise Refusal(f"The list of failures {listed.parent.parent.name}/{LIST} is not readable.") from error
    return []


def _is_of(evaluation: Evaluation, run: Path) -> bool:
    """Whether a run's outcomes rest on the scans and weights of an evaluation; their file begins with both."""
    path = run / f"outcomes-{evaluation.model_version}.jsonl"
    try:
        with path.open(encoding="utf-8") as file:
            header = json.loads(file.readline())
        return (header["set_sha256"], header["weights_sha256"]) == (evaluation.set_sha256, evaluation.weights_sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _pictures(listed: Path, version: str) -> Iterator[FailurePicture]:
    for failure in json.loads(listed.read_text("utf-8"))["failures"]:
        path = listed.parent / Path(failure["picture"]).name
        if failure["model_version"] == version and path.is_file():
            region = failure["region"].replace("_", " ")
            yield FailurePicture(
                path,
                f"{failure['level']} {region}: reference {failure['reference']}, {version} says {failure['predicted']} "
                f"({failure['patient']})",
            )
