"""`python -m lss_core grade --many FOLDER`: every scan of a folder, by this machine's processes or by the queue."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lss_core.settings import Settings
from lss_core.vocabulary import Refusal

if TYPE_CHECKING:
    from lss_core.many.results import Done

DONE, USAGE = 0, 2
FOR_ONE_SCAN = ("json", "explain", "pixel_spacing_mm", "sr", "capture")


def add_many_flags(grade: argparse.ArgumentParser, count: Callable[[str], int]) -> None:
    """Add the flags to `grade`."""
    grade.add_argument("--many", action="store_true", help="PATH is a folder of scans; see docs/deploy.md")
    grade.add_argument("--workers", type=count, default=1, metavar="N",
                       help="processes of --many (default %(default)s)")
    grade.add_argument("--out", type=Path, metavar="DIR", help="results of --many (default runs/many/FOLDER-MODEL)")
    grade.add_argument("--queue", action="store_true", help="let the workers of the queue grade --many")


def run_many(options: argparse.Namespace) -> int:
    """Grade what has no result yet; tell of each scan, and write the summary at the end."""
    from lss_core.grading.checkpoint import read_card
    from lss_core.many.found import find_scans
    from lss_core.many.local import grade_many
    from lss_core.many.results import Model, write_summary

    if given := [name for name in FOR_ONE_SCAN if getattr(options, name, None)]:
        print(f"--{given[0].replace('_', '-')} is for one scan; leave it out with --many.", file=sys.stderr)
        return USAGE
    settings = _settings()
    found = find_scans(options.path)
    model = Model(options.model, read_card(settings.models, options.model).weights_sha256)
    out = options.out or settings.runs / "many" / f"{options.path.absolute().name}-{model.version}"
    if found.left_out:
        print(f"Left out, since it is no scan of its own: {', '.join(found.left_out)}.", flush=True)
    if options.queue:
        from lss_core.many.queued import grade_by_queue

        done = grade_by_queue(settings, found, out, model, report=_tell)
    else:
        done = grade_many(found, out, settings.models, model, workers=options.workers, report=_tell)
    counts = write_summary(out, done)
    print(f"{', '.join(f'{number} {status}' for status, number in sorted(counts.items()))}; see {out / 'summary.csv'}.")
    return DONE


def _tell(done: Done) -> None:
    print(f"{done.status}: {done.scan}", flush=True)


def _settings() -> Settings:
    try:
        return Settings.from_environment()
    except ValueError as error:
        raise Refusal(str(error)) from error
