"""`python -m lss_core demo`: make the demo studies."""

from __future__ import annotations

import argparse
import sys

from lss_core.settings import Settings

DONE = 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `demo` to the command line."""
    demo = commands.add_parser("demo", help="make two studies of simulated cases and simulated readers")
    demo.add_argument("--patients", type=int, default=14, help="simulated patients (default %(default)s)")
    demo.add_argument("--readers", type=int, default=9, help="simulated readers, at most 9 (default %(default)s)")
    demo.add_argument("--model", nargs="+", default=["v1", "v2"],
                      help="model versions to compare; the first one is shown in the aided arm (default v1 v2)")
    demo.set_defaults(run=run_demo)


def run_demo(options: argparse.Namespace) -> int:
    """Make the demo in the database and the image store of the settings; tells how far it is."""
    from lss_core.demo.study import make_demo
    from lss_core.grading.pipeline import Grader
    from lss_core.imaging.store import ScanStore
    from lss_core.study.connection import open_database

    settings = Settings.from_environment()
    engine = open_database(settings.database_url)
    graders = [Grader.load(version, models=settings.models) for version in options.model]
    made = make_demo(
        engine, ScanStore(settings.image_store), graders, patients=options.patients, readers=options.readers,
        progress=lambda what, share: print(f"\r{share:4.0%} {what:<60}", end="", file=sys.stderr, flush=True),
    )
    print(file=sys.stderr)
    print(f"Made studies {made.finished} (finished) and {made.open} (open for reading): simulated cases, simulated "
          "readers. Start the app and act as the local user or as a demo reader.")
    return DONE
