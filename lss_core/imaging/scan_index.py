"""Which file belongs to which series, for any number of files: on disk, so that memory does not grow with them.

The first pass of an import reads each header once and keeps a line a file: the file's place, and keyed digests of its
study, series and patient. The lines lie in a temporary SQLite file without a name, which is gone with the process.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from lss_core.imaging.deidentify import KEPT_FROM_HEADER, plain_uid
from lss_core.imaging.dicom import nifti_header
from lss_core.imaging.dicomdir import NAME as DICOMDIR
from lss_core.imaging.dicomdir import list_dicomdir
from lss_core.imaging.headers import slices_of
from lss_core.imaging.identity import IDENTIFYING, Identity, identity_of
from lss_core.imaging.limits import MIB, Limits
from lss_core.imaging.parsing import parse_dicom
from lss_core.imaging.pseudonyms import SiteKeys
from lss_core.imaging.sources import LeftOut, Source, Unusable, expand, plain_name, walk
from lss_core.vocabulary import Refusal

# The files of an import come one after the other, so their number costs nothing; a single file and volume do.
LIMITS = Limits(files=100_000_000, total_bytes=1 << 60)
SIMULATED = "SIMULATED"                         # manufacturer and method that simulated files state
CACHE_KIB = 4096
FILES_BETWEEN_SIGNALS = 50
BLOCK = MIB

Looked = Callable[[int], bool]                  # is told how many files were looked at; True stops


@dataclass(frozen=True)
class IndexedSeries:
    """One series of a study, as far as it is known without a second look at its files."""

    digest: str                                 # of the series and its instances, whatever their order and number
    patients: int                               # distinct ones under the one series UID; more than one is an error
    first_file: str                             # for the site's list alone
    says_written: bool                          # one of its files says that writing is burned into its pixels


class ScanIndexFile:
    """The files of an import by study and series. Use it as a context; leaving it frees the disk."""

    def __init__(self, keys: SiteKeys, *, limits: Limits = LIMITS) -> None:
        self._keys, self.limits = keys, limits
        self.left_out: Counter[str] = Counter()         # reason to number of files
        self.broken: list[tuple[Path, str]] = []        # archives and the like that could not be opened as a whole
        self.files = 0
        self._archive: zipfile.ZipFile | None = None
        self._lines = sqlite3.connect("")               # a private file, removed when it is closed or the process ends
        self._lines.execute("pragma journal_mode = off")
        self._lines.execute(f"pragma cache_size = -{CACHE_KIB}")
        self._lines.execute("create table file (study text, series text, patient text, instance text, "
                            "says_written integer, path text, member text, size integer)")

    def __enter__(self) -> ScanIndexFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        if self._archive is not None:
            self._archive.close()

    def add(self, paths: Sequence[Path], looked: Looked) -> bool:
        """Index every file of a mix of files, folders, archives and DICOMDIRs; False where it was told to stop."""
        for path in self._plain_files(paths):
            try:
                for found in expand([path], limits=self.limits):
                    self._add_found(found)
                    if self.files % FILES_BETWEEN_SIGNALS == 0 and looked(self.files):
                        return False
            except Refusal as refusal:
                self.broken.append((path, str(refusal).replace(plain_name(path.name), "The archive")))
        self._lines.execute("create index by_study on file (study, series)")
        return not looked(self.files)

    def studies(self) -> list[str]:
        """The digests of all studies, in an order that does not depend on where their files lie."""
        return [study for (study,) in self._lines.execute("select distinct study from file order by study")]

    def series_of(self, study: str) -> list[IndexedSeries]:
        """The series of a study."""
        rows = self._lines.execute(
            "select series, count(distinct patient), min(path), max(says_written) from file where study = ? "
            "group by series order by series", (study,),
        ).fetchall()
        return [IndexedSeries(self._series_digest(study, series), patients, first_file, bool(says_written))
                for series, patients, first_file, says_written in rows]

    def sources_of(self, study: str) -> Iterator[Source]:
        """The files of a study, under names that tell nothing; archives are open while they are asked for."""
        rows = self._lines.execute(
            "select path, member, size, min(rowid) as first from file where study = ? group by path, member, size "
            "order by path, first", (study,)
        ).fetchall()
        for number, (path, member, size, _) in enumerate(rows, start=1):
            archive = self._opened(path) if member else None
            yield Source(_plain_name(number, member or path), size, Path(path), archive, member)

    def series_digest_of(self, study: str, source: Source) -> str:
        """The digest of the series that a file belongs to."""
        (series,) = self._lines.execute(
            "select series from file where study = ? and path = ? and member is ?",
            (study, str(source.path), source.member),
        ).fetchone()
        return self._series_digest(study, series)

    def _opened(self, path: str) -> zipfile.ZipFile:
        """An archive, kept open until another one is asked for: its list of members may be long."""
        if self._archive is None or self._archive.filename != path:
            self._archive = zipfile.ZipFile(path)
        return self._archive

    def _series_digest(self, study: str, series: str) -> str:
        instances = self._lines.execute(
            "select distinct instance from file where study = ? and series = ? order by instance", (study, series)
        )
        return _of_instances(self._keys, series, (instance for (instance,) in instances))

    def _plain_files(self, paths: Sequence[Path]) -> Iterator[Path]:
        for path in paths:
            if path.name.upper() == DICOMDIR and path.is_file():
                found, missing = list_dicomdir(path, limits=self.limits)
                self.left_out.update(item.reason for item in missing)
                yield from found
            elif path.is_dir():
                yield from walk(path)
            elif path.exists():
                yield path
            else:
                raise Refusal(f"There is no file or folder {path}; check how it is written.")

    def _add_found(self, found: Source | LeftOut) -> None:
        self.files += 1
        if isinstance(found, LeftOut):
            self.left_out[found.reason] += 1
            return
        try:
            line = self._line(found)
        except Unusable as reason:
            self.left_out[str(reason)] += 1
        else:
            place = (str(found.path), found.member, found.size)
            self._lines.execute("insert into file values (?, ?, ?, ?, ?, ?, ?, ?)", (*line, *place))

    def _line(self, source: Source) -> tuple[str, str, str, str, bool]:
        """Digests of study, series, patient and instance, and whether the file says that it holds writing."""
        if nifti_header(source, self.limits) is not None:
            digest = self._keys.digest("file", content_digest(source))
            return digest, digest, digest, digest, False
        header = read_with_identity(source, self.limits)
        slices = slices_of(header, source, limits=self.limits)
        identity, first = identity_of(header), slices[0]
        study = self._keys.digest("study", identity.study_uid or first.series_uid)
        return (study, self._keys.digest("series", first.series_uid), identity.pseudonym(self._keys),
                self._keys.digest("instance", first.sop_instance_uid), identity.says_burned_in)


def digest_of_series(keys: SiteKeys, series_uid: str, instance_uids: Collection[str]) -> str:
    """The digest that a series will have in an index, from the UIDs that a PACS tells of it."""
    instances = sorted(keys.digest("instance", str(plain_uid(uid))) for uid in set(instance_uids))
    return _of_instances(keys, keys.digest("series", str(plain_uid(series_uid))), instances)


def _of_instances(keys: SiteKeys, series: str, instances: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for instance in instances:
        digest.update(instance.encode())
    return keys.digest("source", series, digest.hexdigest())


@dataclass(frozen=True)
class Whose:
    """Whose a series is, and what its first file says of how it was made."""

    identity: Identity
    is_simulated: bool


def whose(source: Source, limits: Limits) -> Whose | None:
    """What a DICOM file says of the patient; None for a NIfTI file, which says nothing."""
    if nifti_header(source, limits) is not None:
        return None
    header = read_with_identity(source, limits)
    return Whose(identity_of(header), str(header.get("Manufacturer", "")).strip() == SIMULATED)


def read_with_identity(source: Source, limits: Limits) -> Dataset:
    """A header with the elements that tell whose it is, for `identity_of` alone."""
    return parse_dicom(source, keep=(*KEPT_FROM_HEADER, *IDENTIFYING), limits=limits, with_pixels=False)


def content_digest(source: Source) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with source.open() as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _plain_name(number: int, place: str) -> str:
    """A file's name may be the patient's; only the ending that readers go by is kept."""
    ending = next((each for each in (".nii.gz", ".nii") if place.lower().endswith(each)), "")
    return f"file {number}{ending}"
