"""What the command line writes for others: the DICOM report of a graded scan, and the parts of a curated set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lss_core.settings import Settings
from lss_core.vocabulary import Refusal

DONE = 0

if TYPE_CHECKING:                               # imported where they are used: other commands need neither
    from pydicom.dataset import Dataset

    from lss_core.grading.pipeline import Grader, GradingResult
    from lss_core.imaging.origin import Origin
    from lss_core.imaging.volume import Volume


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `export-set` to the command line."""
    parser = commands.add_parser("export-set", help="write a part of a curated set: DICOM, reference.csv, set.json")
    parser.add_argument("collection", help="number of the collection, or the token in its address")
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=("training", "validation", "control", "external"), required=True,
                        help="of the locked split; the control set is for `evaluate` alone, and `train` refuses it")
    parser.set_defaults(run=run_export_set)


def run_export_set(options: argparse.Namespace) -> int:
    """Write a part in the name of the principal investigator; a writing that was stopped goes on where it ended."""
    from lss_core.curated_folder import export_set
    from lss_core.curation.collections import collection_named, principal_of
    from lss_core.curation.parts import Part
    from lss_core.imaging.store import ScanStore
    from lss_core.study_commands import opened_database

    with opened_database() as engine:
        collection = collection_named(engine, options.collection)
        assert collection.id is not None
        written = export_set(
            engine, ScanStore(Settings.from_environment().image_store), principal_of(engine, collection.id),
            collection.id, (Part(options.part),), options.out,
            lambda what, share: print(f"\r{share:4.0%} {what:<50}", end="", file=sys.stderr, flush=True),
        )
    print(file=sys.stderr)
    print(f"Wrote the {options.part} part: {written}")
    return DONE


def add_report_flags(grade: argparse.ArgumentParser) -> None:
    """The flags of `grade` that write DICOM."""
    grade.add_argument("--sr", type=Path, metavar="FILE", help="write a DICOM Structured Report there, with the "
                       "patient and study of the scan's own files")
    grade.add_argument("--capture", type=Path, metavar="DIR",
                       help="write a DICOM Secondary Capture picture per level there, with patient and study")


def origin_of_options(options: argparse.Namespace, volume: Volume) -> Origin | None:
    """The patient and study of a scan, where a report is asked for: before it is graded, so that refusals come early.

    Raises:
        Refusal: the scan has no DICOM files to refer to, or a file is in the way.
    """
    if options.sr is None and options.capture is None:
        return None
    for path in (options.sr, options.capture):
        if path is not None and path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise Refusal(f"{path} exists already; name another place, or remove it.")
    from lss_core.imaging.origin import read_origin

    return read_origin(options.path, volume)


def write_reports(
    options: argparse.Namespace, grader: Grader, volume: Volume, result: GradingResult, origin: Origin | None
) -> None:
    """Write what the flags ask for."""
    if origin is None:
        return
    if options.sr is not None:
        from lss_core.export.structured_report import structured_report

        _save(structured_report(result, volume, origin), options.sr)
    if options.capture is not None:
        from lss_core.export.secondary_capture import captures, heat_maps_of

        heats = heat_maps_of(grader, volume, result, method=options.method)
        for number, image in enumerate(captures(result, volume, origin, heats), start=1):
            _save(image, options.capture / f"level-{number}.dcm")


def _save(dataset: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
