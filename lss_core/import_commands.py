"""`python -m lss_core import`: a study's bundle, or scans into a collection; the de-identification table; who is who.

Scans name the collection; without one, the path is a bundle that `export` wrote.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from lss_core import study_commands
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal

if TYPE_CHECKING:                               # imported where they are used: the other commands need none of it
    from lss_core.imaging.pacs import Pacs, PacsQuery
    from lss_core.import_report import ImportSummary

DONE = 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `import` to the command line."""
    parser = commands.add_parser(
        "import", help="scans into a collection, or a study of an exported bundle", description=__doc__
    )
    parser.add_argument("paths", type=Path, nargs="*", metavar="PATH",
                        help="with --collection: DICOM files, folders, ZIPs, DICOMDIRs; without: bundle.json, or the "
                             "folder of an export")
    parser.add_argument("--collection", metavar="TOKEN", help="number of the collection, or the token in its address")
    parser.add_argument("--site", default="", help="where the scans come from; external sets are chosen by it")
    parser.add_argument("--all", action="store_true",
                        help="every axial series that is long enough; else the best one of each study")
    parser.add_argument("--least-mm", type=float, default=60.0, metavar="MM",
                        help="coverage from foot to head that a series must have (default %(default)g)")
    parser.add_argument("--again", action="store_true", help="look anew at what was refused before")
    parser.add_argument("--deidentified", type=Path, metavar="DIR", help="also write the de-identified DICOM there")
    _add_pacs(parser.add_argument_group("from the PACS of LSS_PACS_URL (DICOMweb), with --collection"))
    other = parser.add_argument_group("de-identification")
    other.add_argument("--profile", nargs="?", const="markdown", choices=("markdown", "csv"),
                       help="print the table of what is removed, changed and kept, and end")
    other.add_argument("--who", metavar="NAME", help="print who is behind a pseudonym (P-...), or which source behind "
                                                     "a name (S-...); the audit log keeps that it was asked")
    parser.set_defaults(run=run_import, wrong_usage=parser.error)


def _add_pacs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--pacs", action="store_true", help="fetch from the PACS what these narrow down")
    group.add_argument("--patient-id", default="", metavar="ID")
    group.add_argument("--from", dest="first_date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="study date")
    group.add_argument("--to", dest="last_date", type=date.fromisoformat, metavar="YYYY-MM-DD")
    group.add_argument("--body-part", default="", help="as the scanner writes it, such as LSPINE")
    group.add_argument("--study-uid", default="", metavar="UID")


def run_import(options: argparse.Namespace) -> int:
    """Do the one of the four things that the flags ask for."""
    if options.profile:
        return _print_profile(options.profile)
    if options.who:
        return _print_who(options.who)
    if options.collection:
        return _import_scans(options)
    if len(options.paths) != 1 or options.pacs:
        options.wrong_usage("name the collection of the scans with --collection, or one bundle of an exported study")
    options.bundle = options.paths[0]
    return study_commands.run_import(options)


def _print_profile(form: str) -> int:
    from lss_core.imaging import confidentiality_table

    print(confidentiality_table.as_csv() if form == "csv" else confidentiality_table.as_markdown())
    return DONE


def _print_who(name: str) -> int:
    from lss_core.imaging.pseudonyms import SiteKeys
    from lss_core.scan_import import look_up

    with study_commands.opened_database() as engine:
        who = look_up(engine, SiteKeys.of(study_commands.settings().data), name)
    for what, text in who.items():
        print(f"{what}: {text}")
    return DONE


def _import_scans(options: argparse.Namespace) -> int:
    from lss_core.curation.collections import collection_named, principal_of
    from lss_core.imaging.pseudonyms import SiteKeys
    from lss_core.imaging.store import ScanStore
    from lss_core.import_report import ImportChoices, Take
    from lss_core.scan_import import import_from_pacs, import_into

    if options.pacs == bool(options.paths):
        options.wrong_usage("give the paths of the scans, or --pacs; not both")
    settings = study_commands.settings()
    pacs, query = _asked_of_pacs(options, settings) if options.pacs else (None, None)
    choices = ImportChoices(Take.ALL if options.all else Take.BEST, options.least_mm, options.again)
    with study_commands.opened_database() as engine:
        collection_id = collection_named(engine, options.collection).id
        assert collection_id is not None
        into = (engine, ScanStore(settings.image_store), principal_of(engine, collection_id), collection_id)
        told = {"keys": SiteKeys.of(settings.data), "site": options.site, "choices": choices, "progress": _tell,
                "deidentified": options.deidentified}
        if pacs is not None and query is not None:
            summary = import_from_pacs(*into, pacs, query, **told)
        else:
            summary = import_into(*into, options.paths, **told)
    print(file=sys.stderr)
    return _print_summary(summary)


def _asked_of_pacs(options: argparse.Namespace, settings: Settings) -> tuple[Pacs, PacsQuery]:
    from lss_core.imaging.pacs import Pacs, PacsQuery

    pacs = Pacs.from_settings(settings)
    if pacs is None:
        raise Refusal("No PACS is named; set LSS_PACS_URL to its DICOMweb address.")
    return pacs, PacsQuery(options.patient_id, options.first_date, options.last_date, options.body_part,
                           options.study_uid)


def _tell(what: str, share: float) -> None:
    print(f"\r{share:4.0%} {what:<60}", end="", file=sys.stderr, flush=True)


def _print_summary(summary: ImportSummary) -> int:
    print("\n".join(summary.sentences()))
    return DONE
