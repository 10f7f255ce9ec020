"""Folders of this server from which a page may import: only those below the one that the operator set."""

from __future__ import annotations

from pathlib import Path

from lss_core.vocabulary import Refusal

NOT_SET = (
    "Importing a folder of this server is switched off. Whoever runs this installation can allow it for one folder and "
    "what lies below it: set LSS_IMPORT_FOLDER and restart."
)


def folder_below(root: Path | None, name: str) -> Path:
    """The folder that is called so, counted from the root; links are followed before it is judged.

    Args:
        root: Settings.import_folder.
        name: A path below the root; empty means the root itself.

    Raises:
        Refusal: no root is set, the path leads out of it, or there is no such folder.
    """
    if root is None:
        raise Refusal(NOT_SET)
    try:
        folder = (root / name.strip()).resolve()
        inside = folder.is_relative_to(root.resolve())
    except (OSError, ValueError) as error:
        raise Refusal(f"{name.strip()[:200]!r} is no folder name; write a path below the import folder.") from error
    if not inside or not folder.is_dir():       # told alike, so that nobody learns what lies elsewhere
        raise Refusal(f"There is no folder {name.strip()[:200]!r} below the import folder of this server.")
    return folder
