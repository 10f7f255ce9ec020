"""Where the parts of a locked split lie on this installation, written as the folders that training reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Engine

from lss_core.curated_folder import export_set, set_digest
from lss_core.curation import collections, reference, split
from lss_core.curation.parts import Part
from lss_core.imaging.store import ScanStore
from lss_core.settings import Settings
from lss_core.study.actors import Actor
from lss_core.vocabulary import Refusal

Progress = Callable[[str, float], None]


def folder_of_split(engine: Engine, actor: Actor, collection_id: int, settings: Settings) -> Path:
    """The folder of the newest locked split and reference; others have another one.

    Raises:
        Refusal: no role in the collection, or its split is not locked.
    """
    locked = split.split_of(engine, actor, collection_id)
    if locked is None:
        raise Refusal("The split is not locked yet; lock it first.")
    token = collections.collection_of(engine, actor, collection_id).token
    newest = reference.reference_versions(engine, actor, collection_id)[-1]
    name = f"split-{locked.number}-{locked.sha256[:8]}-reference-{newest.number}-{newest.sha256[:8]}"
    return settings.runs / "collections" / token / name


def write_parts(
    engine: Engine, store: ScanStore, actor: Actor, collection_id: int, settings: Settings, parts: Sequence[Part], *,
    progress: Progress,
) -> dict[Part, Path]:
    """Write each part into a folder of its own; what is written already stays, so that a stopped writing goes on.

    Raises:
        Refusal: not permitted, or no locked split.
    """
    place = folder_of_split(engine, actor, collection_id, settings)
    written = {}
    for number, part in enumerate(parts):
        digest = set_digest(engine, actor, collection_id, (part,))
        written[part] = place / f"{part.value}-{digest[:12]}"      # after a scan was removed, another folder
        export_set(engine, store, actor, collection_id, (part,), written[part],
                   lambda what, share, n=number: progress(what, (n + share) / len(parts)))
    return written
