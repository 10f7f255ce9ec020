"""The operator's commands on studies: audit verify, export, import (of a bundle), backup, restore, invite, disable."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lss_core.settings import Settings
from lss_core.vocabulary import Refusal

if TYPE_CHECKING:                               # imported where they are used: the other commands need no database
    from sqlalchemy import Engine

    from lss_core.imaging.store import ScanStore
    from lss_core.study.verification import LastLine

DONE, REFUSED = 0, 3


def run_verify(options: argparse.Namespace) -> int:
    """Name whatever was altered; exit 3 where something was. Prints the last line, to be noted elsewhere."""
    from lss_core.study.verification import check_records, last_line

    with opened_database() as engine:
        problems, end = check_records(engine, noted=options.noted), last_line(engine)
    for problem in problems:
        print(problem)
    print(f"{end.number} lines, {len(problems)} problems. Last line, to be noted elsewhere: {end.number}:{end.hash}")
    return REFUSED if problems else DONE


def run_export(options: argparse.Namespace) -> int:
    """Write the files of a study into a new folder."""
    from lss_core.study.export import check_new_folder, export_by_operator, write_files

    check_new_folder(options.out)
    with opened_database() as engine:
        files = export_by_operator(engine, options.study)
    write_files(files, options.out)
    print(f"Wrote {', '.join(files)} into {options.out}.")
    return DONE


def run_import(options: argparse.Namespace) -> int:
    """Bring a study in, and tell which of its scans the image store lacks."""
    from lss_core.study.importing import import_bundle

    content = _content(options.bundle)
    with opened_database() as engine:
        imported = import_bundle(engine, content)
    print(f"Study {imported.study_id}: {imported.title}, with {imported.lines} lines of its audit log.")
    store = _store()
    lacking = [key for key, sha256 in imported.scans if not _holds(store, key, sha256)]
    if lacking:
        print(f"The image store lacks {len(lacking)} of its {len(imported.scans)} scans: its figures can be seen, its "
              "cases cannot be read. Copy the image store from where the study was made.")
    return DONE


def run_backup(options: argparse.Namespace) -> int:
    """Write an archive of everything; exit 3 where a scan could not be saved."""
    from lss_core.study.backup import back_up

    with opened_database() as engine:
        made = back_up(engine, _store(), options.file)
    print(f"Wrote {options.file}: {sum(made.rows.values())} rows, {made.images} scans and heat maps, "
          f"SHA-256 {made.sha256}.")
    return _tell_lost(made.lost, "The backup is not complete")


def run_restore(options: argparse.Namespace) -> int:
    """Bring an archive back into an empty place, and verify what came back."""
    from lss_core.study.backup import restore
    from lss_core.study.verification import check_records

    with opened_database() as engine:
        restored, problems = restore(engine, _store(), options.file), check_records(engine)
    print(f"Restored {sum(restored.rows.values())} rows, {restored.images} scans and heat maps. All are signed out.")
    for problem in problems:
        print(problem, file=sys.stderr)
    return max(_tell_lost(restored.lost, "The backup was not complete"), REFUSED if problems else DONE)


def run_invite(options: argparse.Namespace) -> int:
    """Let a person sign in and make studies of their own."""
    from lss_core.study.people import allow_studies

    with opened_database() as engine:
        address = allow_studies(engine, options.email)
    print(f"{address} may sign in and create studies.")
    return DONE


def run_disable(options: argparse.Namespace) -> int:
    """Shut a person out of everything at once; what they did stays."""
    from lss_core.study.people import disable

    with opened_database() as engine:
        address = disable(engine, options.email, reason=options.reason)
    print(f"{address} is signed out everywhere and cannot sign in again.")
    return DONE


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the command line."""
    audit = commands.add_parser("audit", help="the audit log").add_subparsers(required=True, metavar="COMMAND")
    verify = audit.add_parser("verify", help="name whatever line or record was altered, removed or moved")
    verify.add_argument("--noted", type=_last_line, metavar="NUMBER:HASH",
                        help="the last line as an earlier `audit verify` printed it; the log must still hold it")
    verify.set_defaults(run=run_verify)
    out = commands.add_parser("export", help="a study as CSV, codebook and JSON bundle")
    out.add_argument("study", help="number of the study, or the token in its address")
    out.add_argument("out", type=Path, help="a new folder")
    out.set_defaults(run=run_export)
    for name, run, told in (("backup", run_backup, "write database and images into one archive"),
                            ("restore", run_restore, "bring an archive back into an empty place")):
        parser = commands.add_parser(name, help=told)
        parser.add_argument("file", type=Path)
        parser.set_defaults(run=run)
    invite = commands.add_parser("invite", help="let a person sign in and create studies")
    invite.add_argument("email")
    invite.set_defaults(run=run_invite)
    disable = commands.add_parser("disable", help="sign a person out everywhere and let them in no more")
    disable.add_argument("email")
    disable.add_argument("--reason", required=True, help="kept in the audit log")
    disable.set_defaults(run=run_disable)


@contextmanager
def opened_database() -> Iterator[Engine]:
    """The database of the settings, closed at the end."""
    from lss_core.study.connection import open_database

    engine = open_database(settings().database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def _store() -> ScanStore:
    from lss_core.imaging.store import ScanStore

    return ScanStore(settings().image_store)


def settings() -> Settings:
    """What the environment sets.

    Raises:
        Refusal: a wrong value, named.
    """
    try:
        return Settings.from_environment()
    except ValueError as error:
        raise Refusal(str(error)) from error


def _content(bundle: Path) -> bytes:
    file = bundle / "bundle.json" if bundle.is_dir() else bundle
    if not file.is_file():
        raise Refusal(f"There is no file {file}; give the bundle.json of an export.")
    return file.read_bytes()


def _holds(store: ScanStore, key: str, sha256: str) -> bool:
    try:
        store.stored(key, sha256=sha256)
    except Refusal:
        return False
    return True


def _tell_lost(lost: tuple[str, ...], what: str) -> int:
    for each in lost:
        print(f"Lost: {each}", file=sys.stderr)
    if lost:
        print(f"{what}: {len(lost)} scans or heat maps were missing or damaged in the image store.", file=sys.stderr)
    return REFUSED if lost else DONE


def _last_line(text: str) -> LastLine:
    from lss_core.study.verification import LastLine

    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not NUMBER:HASH as `audit verify` prints it")
    return LastLine(int(number), digest)
