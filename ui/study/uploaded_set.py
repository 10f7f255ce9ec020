"""An uploaded control set in a folder of its own: `reference.csv` and one folder of DICOM files for each patient."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from streamlit.runtime.uploaded_file_manager import UploadedFile

from lss_core.imaging.limits import Limits
from lss_core.imaging.sources import LeftOut, Source, Unusable, expand, plain_name
from lss_core.vocabulary import Refusal

REFERENCE = "reference.csv"


def unpack(files: Sequence[UploadedFile], folder: Path) -> Path:
    """Write an upload (the files of a folder, or one ZIP) under `folder` and give the place of its `reference.csv`.

    Raises:
        Refusal: a hostile or damaged archive, too much of it, or not exactly one reference.csv.
    """
    for number, file in enumerate(files):
        if file.name.lower().endswith(".zip"):
            archive = folder / f"upload-{number}.zip"
            archive.write_bytes(file.getbuffer())
            _unzip(archive, folder)
        else:
            place_in(folder, file.name).write_bytes(file.getbuffer())
    return set_in(folder)


def set_in(folder: Path) -> Path:
    """The folder, at or below the given one, that holds `reference.csv`.

    Raises:
        Refusal: there is none, or more than one.
    """
    found = sorted(folder.rglob(REFERENCE)) if folder.is_dir() else []
    if len(found) != 1:
        how_many = "no" if not found else str(len(found))
        raise Refusal(
            f"There is {how_many} reference.csv in it; a control set is one folder with reference.csv and a folder of "
            "DICOM files for each patient, as `python -m lss_core simulate` writes it."
        )
    return found[0].parent


def _unzip(archive: Path, folder: Path) -> None:
    """Write an archive's files, which `expand` has checked, and drop the archive."""
    for source in expand([archive], limits=Limits()):
        if isinstance(source, LeftOut):
            raise Refusal(f"{source.name}: {source.reason}.")
        if source.member is None:
            raise Refusal("The upload is named as a ZIP archive and is none; pack the control set as an ordinary ZIP.")
        _write(source, place_in(folder, source.member))
    archive.unlink()


def _write(source: Source, path: Path) -> None:
    try:
        with source.open() as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file)
    except Unusable as reason:
        raise Refusal(f"{source.name}: {reason}.") from reason


def place_in(folder: Path, name: str) -> Path:
    """Where a file of an upload goes: its own folders are kept, and it stays inside `folder`."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    path = folder.joinpath(*parts)
    try:
        if not parts or path.exists() or not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise Refusal(
            f"{plain_name(ascii(name))} cannot be kept beside the other files; rename it and upload again."
        ) from error
    return path
