"""Grading one scan of many, and keeping its result; safe to be killed at any moment and to be asked twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lss_core.many.found import content_digest
from lss_core.many.results import Done, Model, keep, status_of
from lss_core.vocabulary import Refusal


@dataclass(frozen=True)
class ManyGrader:
    """Grades scans of a folder into a folder of results; the networks are loaded when the first scan needs them."""

    folder: Path
    out: Path
    models: Path
    model: Model
    begun: Callable[[str], None] = field(default=lambda sha256: None)      # told of a scan's digest before it is graded

    def grade(self, scan: str) -> Done:
        """Grade a scan, unless its result is there.

        Raises:
            Refusal: the networks cannot be loaded, or are not those that the folder of results was begun with.
        """
        sha256 = self.digest(scan)
        status = status_of(self.out, sha256)
        if status is None:
            self.begun(sha256)
            report = self._report(scan)
            keep(self.out, sha256, report)
            status = str(report["status"])
        return Done(scan, sha256, status)

    def digest(self, scan: str) -> str:
        """What names the result of a scan."""
        return content_digest(self.folder / scan)

    def is_done(self, scan: str) -> bool:
        """Whether a scan has its result."""
        return status_of(self.out, self.digest(scan)) is not None

    @cached_property
    def _grader(self) -> Any:
        from lss_core.grading.pipeline import Grader

        grader = Grader.load(self.model.version, models=self.models)
        if grader.weights_sha256 != self.model.weights_sha256:
            raise Refusal(f"Model {grader.version} has other weights than at the beginning; choose a new folder.")
        return grader

    def _report(self, scan: str) -> dict[str, Any]:
        from lss_core.grading.pipeline import refused_as_json, result_as_json
        from lss_core.imaging.dicom import read_scan

        grader, started, series_uid = self._grader, time.perf_counter(), ""
        try:
            volume = read_scan(self.folder / scan)
            series_uid, read_s = volume.series_uid, time.perf_counter() - started
            result = grader.grade(volume)
        except Refusal as refusal:
            return refused_as_json(str(refusal), model=self.model.as_json(), series_uid=series_uid)
        return result_as_json(replace(result, timings_s={**result.timings_s, "read": read_s}), volume)


