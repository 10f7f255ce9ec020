"""Scans into a collection: from folders, archives or a PACS, without their identity, each series once.

    files -> imaging.scan_index (headers, by study) -> imaging.dicom (series -> Volume) -> imaging.burned_in ->
    imaging.store -> curation.scans

One series is in memory at a time. A run that was stopped or killed is simply begun again: a series is known by a keyed
digest of its UIDs, its stored scan lies under a key made from that digest, and it counts once its row is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from lss_core.curation import scans
from lss_core.curation.scans import NewScan
from lss_core.imaging.burned_in import SAID, find_writing
from lss_core.imaging.confidentiality import write_deidentified
from lss_core.imaging.dicom import LUMBAR_MM, SOME_LEVELS_MM, SeriesInfo, index_sources, read_series, sources_of_series
from lss_core.imaging.incoming import private_folder
from lss_core.imaging.kernels import SHARP, kernel_class
from lss_core.imaging.pacs import Pacs, PacsQuery, PacsStudy
from lss_core.imaging.pseudonyms import PatientList, SiteKeys
from lss_core.imaging.scan_index import IndexedSeries, ScanIndexFile, Whose, digest_of_series, whose
from lss_core.imaging.sources import Source, Unusable
from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import Volume
from lss_core.import_report import ImportChoices, ImportSummary, Take, Tally, kind_of_note
from lss_core.study import audit
from lss_core.study.actors import Actor
from lss_core.study.clock import utc_now
from lss_core.study.connection import transaction
from lss_core.study.people import OPERATOR
from lss_core.vocabulary import Refusal

Progress = Callable[[str, float], None]
Stop = Callable[[], bool]
THICK_MM = 3.5                                  # from here on a recess of 2 to 5 mm is blurred across the slice
KEY_LETTERS = 32                                # of a key in the image store
MOST_PARTS = 16                                 # of one series that are told apart when it is met again
MIXED = "Its files are of {} patients under one series UID; give each patient's files on their own."
TOO_SHORT = "It covers {:.0f} mm from foot to head, and {:.0f} mm are asked for; add the whole series."


def import_into(
    engine: Engine, store: ScanStore, actor: Actor, collection_id: int, paths: Sequence[Path], *, keys: SiteKeys,
    site: str = "", choices: ImportChoices | None = None, progress: Progress | None = None, stop: Stop | None = None,
    deidentified: Path | None = None,
) -> ImportSummary:
    """Bring the CT series below these paths into a collection.

    Args:
        paths: A mix of files, folders, ZIP archives and DICOMDIRs.
        site: Where the scans come from; external sets of a split are chosen by it.
        progress: Is told what is being done, and the share of the studies that are done.
        stop: Is asked between files and between series; what was added stays.
        deidentified: Also write the DICOM files of each added series there, by the confidentiality table.

    Raises:
        Refusal: not permitted, or a path does not exist.
    """
    run = _Run(engine, store, actor, collection_id, keys, site, choices or ImportChoices(), deidentified, origin="file")
    tell = progress or (lambda what, share: None)
    whole = run.take_paths(paths, tell, stop or (lambda: False))
    tell("Imported" if whole else "Stopped", 1.0)
    return run.summary(stopped=not whole)


def import_from_pacs(
    engine: Engine, store: ScanStore, actor: Actor, collection_id: int, pacs: Pacs, query: PacsQuery, *,
    keys: SiteKeys, site: str = "", choices: ImportChoices | None = None, progress: Progress | None = None,
    stop: Stop | None = None, deidentified: Path | None = None,
) -> ImportSummary:
    """Bring what a search in the PACS finds into a collection, one study after the other; as `import_into` otherwise.

    A study lies on this machine's disk while it is read, in the site's own folder, which others cannot open. A study
    of which a scan was taken is not fetched again, unless all series are asked for.

    Raises:
        Refusal: not permitted, or the PACS does not answer as it should; what was added before stays.
    """
    run = _Run(engine, store, actor, collection_id, keys, site, choices or ImportChoices(), deidentified, origin="PACS")
    tell, halt = progress or (lambda what, share: None), stop or (lambda: False)
    whole = True
    tell("Searching the PACS", 0.0)
    found = pacs.find(query)
    for done, study in enumerate(found):
        tell(f"Study {done + 1} of {len(found)}", done / len(found))
        if halt() or not _fetch_and_take(run, pacs, study, halt):
            whole = False
            break
    tell("Imported" if whole else "Stopped", 1.0)
    return run.summary(stopped=not whole)


def look_up(engine: Engine, keys: SiteKeys, name: str, *, now: datetime | None = None) -> dict[str, str]:
    """Who is behind a pseudonym, or which file behind a source's name; the audit log keeps that it was asked.

    Raises:
        Refusal: the site's list holds no such name.
    """
    who = keys.patient_list().who(name)
    with transaction(engine) as session:
        audit.append(session, at=now or utc_now(), actor=OPERATOR, action="look up pseudonym", subject=name)
    return who


def _fetch_and_take(run: _Run, pacs: Pacs, study: PacsStudy, halt: Stop) -> bool:
    """False where told to stop."""
    if run.is_done({each.series_uid: pacs.instance_uids(study, each) for each in study.series}):
        return True
    with private_folder(run.keys.folder) as folder:
        if not pacs.fetch(study, folder, fetched=lambda count: halt()):
            return False
        return run.take_paths([folder], lambda what, share: None, halt)


class _Run:
    """One run into one collection."""

    def __init__(
        self, engine: Engine, store: ScanStore, actor: Actor, collection_id: int, keys: SiteKeys, site: str,
        choices: ImportChoices, deidentified: Path | None, *, origin: str,
    ) -> None:
        self._into = (engine, actor, collection_id)
        self.keys, self._store, self._site, self._choices = keys, store, site, choices
        self._deidentified, self._origin = deidentified, origin
        self._patients: PatientList = keys.patient_list()
        self._added = set(scans.known_sources(*self._into, refused_too=False))
        self._refused = set() if choices.again else set(scans.known_sources(*self._into)) - self._added
        self.tally = Tally()

    def take_paths(self, paths: Sequence[Path], tell: Progress, halt: Stop) -> bool:
        """All studies below these paths; False where told to stop."""
        with ScanIndexFile(self.keys) as index:
            whole = index.add(paths, partial(_looked, tell, halt))
            self.tally.files += index.files
            self.tally.left_out.update(index.left_out)
            for path, reason in index.broken:
                self.refuse(self.keys.digest("archive", str(path)), reason, {"file": str(path)})
            studies = index.studies() if whole else []
            self.tally.studies += len(studies)
            for done, study in enumerate(studies):
                tell(f"Study {done + 1} of {len(studies)}", done / len(studies))
                if halt():
                    return False
                self.take_study(index, study)
        return whole

    def is_done(self, series: Mapping[str, Collection[str]]) -> bool:
        """Whether nothing of a study in the PACS needs to be fetched; series UIDs to their instances' UIDs."""
        digests = [digest_of_series(self.keys, uid, instances) for uid, instances in series.items()]
        done = self._choices.take is Take.BEST and any(map(self._is_added, digests))
        self.tally.studies += done
        self.tally.known += done
        return done

    def summary(self, *, stopped: bool) -> ImportSummary:
        return self.tally.summary(scans.possible_duplicates(*self._into), stopped=stopped)

    def take_study(self, index: ScanIndexFile, study: str) -> None:
        """The scans of a study; what is refused is noted with its reason."""
        listed = index.series_of(study)
        unfit = {each.digest: each for each in listed if _why_unfit(each)}
        for digest, each in unfit.items():
            self.refuse(_part(self.keys, digest, 1), str(_why_unfit(each)), {"file": each.first_file})
        if self._choices.take is Take.BEST and any(self._is_added(each.digest) for each in listed):
            self.tally.known += 1
            return
        try:
            found = index_sources(list(index.sources_of(study)), limits=index.limits).series
        except Refusal as refusal:              # readable a moment ago
            _check_there(index.sources_of(study))
            self.refuse(self.keys.digest("study source", study), str(refusal), {})
            return
        candidates = [_Candidate.of(info, index, study, self.keys) for info in found]
        self._take(index, [each for each in candidates if each.series_digest not in unfit])

    def refuse(self, digest: str, reason: str, who: Mapping[str, str]) -> None:
        """Note a refusal under a name that the site alone can look up."""
        if digest in self._refused:
            self.tally.known += 1
            return
        self._refused.add(digest)
        self.tally.refused += 1
        self.tally.reasons[reason] += 1
        name = self.keys.name("S", digest)
        if who:
            self._patients.add(name, who)
        scans.note_refused(*self._into, name=name, reason=reason, source_digest=digest)

    def _take(self, index: ScanIndexFile, candidates: Sequence[_Candidate]) -> None:
        """In the order of preference: all that will do, or the first of them."""
        wanted = [each for each in candidates if each.why_not(self._choices) is None]
        for each in candidates:
            if each not in wanted and (self._choices.take is Take.ALL or each is candidates[0]):
                self.refuse(each.digest, str(each.why_not(self._choices)), self._place(each))
        for number, each in enumerate(wanted):
            if self._add(index, each) and self._choices.take is Take.BEST:
                self.tally.not_taken += len(wanted) - number - 1
                return

    def _add(self, index: ScanIndexFile, candidate: _Candidate) -> bool:
        """Whether the series is in the collection now."""
        if candidate.digest in self._added:
            self.tally.known += 1
            return True
        if candidate.digest in self._refused:
            self.tally.known += 1
            return False
        try:
            self._add_new(index, candidate)
        except (Refusal, Unusable) as reason:
            _check_there(candidate.sources)
            self.refuse(candidate.digest, str(reason), self._place(candidate))
            return False
        return True

    def _add_new(self, index: ScanIndexFile, candidate: _Candidate) -> None:
        who = whose(candidate.sources[0], index.limits)
        volume = read_series(candidate.info)
        if (writing := find_writing(volume)) is not None:
            raise Refusal(writing)
        patient, name = self._name(who, candidate)
        if self._deidentified is not None and who is not None:
            write_deidentified(candidate.sources, self._deidentified / patient / name, keys=self.keys, patient=patient,
                               limits=index.limits)
        key = self.keys.digest("stored", str(self._into[2]), candidate.digest)[:KEY_LETTERS]
        stored = self._store.put(volume, key=key)
        new = NewScan(
            scan_key=stored.key, scan_sha256=stored.sha256, simulated=who is not None and who.is_simulated,
            patient=patient, source_digest=candidate.digest, slices=len(volume.hu),
            slice_thickness_mm=volume.slice_thickness_mm, site=self._site, name=name,
            manufacturer=candidate.info.manufacturer or "", kernel=candidate.info.kernel or "",
            sex=who.identity.sex if who else "", age_years=who.identity.age_years if who else None,
            notes=quality_notes(candidate.info, volume, who),
            identity_digest=who.identity.person_digest(self.keys) if who else "",
        )
        scans.add_scan(*self._into, new)
        self._added.add(candidate.digest)
        self.tally.added += 1
        self.tally.notes.update(kind_of_note(note) for note in new.notes)

    def _name(self, who: Whose | None, candidate: _Candidate) -> tuple[str, str]:
        """Pseudonyms of patient and source, on the site's list before anything carries them."""
        name = self.keys.name("S", candidate.digest)
        patient = who.identity.pseudonym(self.keys) if who else self.keys.name("P", "file", candidate.digest)
        self._patients.add(patient, who.identity.for_the_list() if who else self._place(candidate))
        self._patients.add(name, {"patient": patient, **self._place(candidate)})
        return patient, name

    def _place(self, candidate: _Candidate) -> dict[str, str]:
        """Where a series came from, for the site's list."""
        first, series = candidate.sources[0], {"series": candidate.info.series_uid}
        if self._origin == "PACS":
            return {"from": "the PACS", **series}
        return {"file": str(first.path), **({"member": first.member} if first.member else {}), **series}

    def _is_added(self, series_digest: str) -> bool:
        return any(_part(self.keys, series_digest, part) in self._added for part in range(1, MOST_PARTS + 1))


@dataclass(frozen=True)
class _Candidate:
    """A series that may become a scan, or a part of one."""

    info: SeriesInfo
    series_digest: str
    digest: str
    sources: tuple[Source, ...]

    @classmethod
    def of(cls, info: SeriesInfo, index: ScanIndexFile, study: str, keys: SiteKeys) -> _Candidate:
        sources = sources_of_series(info)
        series = index.series_digest_of(study, sources[0])
        part = int(info.series_uid.partition("#")[2] or 1)
        return cls(info, series, _part(keys, series, part), sources)

    def why_not(self, choices: ImportChoices) -> str | None:
        """The reason why it cannot be taken, from its headers alone."""
        if not self.info.gradable:
            return self.info.reason
        if self.info.coverage_mm < choices.least_mm:
            return TOO_SHORT.format(self.info.coverage_mm, choices.least_mm)
        return None


def quality_notes(info: SeriesInfo, volume: Volume, who: Whose | None) -> tuple[str, ...]:
    """What may lower the quality of labels and grades on a scan, a sentence each."""
    notes = list(volume.notes)                                  # gaps, tilt, duplicates, reformatting
    if volume.slice_thickness_mm > THICK_MM:
        notes.append(f"Thick slices: {volume.slice_thickness_mm:g} mm; small recesses are blurred.")
    if kernel_class(info.kernel, info.manufacturer) == SHARP:
        notes.append(f"Sharp kernel: {info.kernel}; soft tissue is noisy.")
    if SOME_LEVELS_MM <= info.coverage_mm < LUMBAR_MM:
        notes.append(f"Short: {info.coverage_mm:.0f} mm from foot to head, not all five levels.")
    if who is not None and who.identity.is_lossy:
        notes.append("Lossy compression: fine structures may be artefacts.")
    return tuple(notes)


def _why_unfit(series: IndexedSeries) -> str | None:
    """The reason why no part of a series can be taken, as all of its files tell together."""
    if series.patients > 1:
        return MIXED.format(series.patients)
    return SAID if series.says_written else None


def _check_there(sources: Iterable[Source]) -> None:
    """Stop where the disk went away: what could not be read then is not to be refused for good.

    Raises:
        Refusal: a file is gone.
    """
    if not all(source.path.exists() for source in sources):
        raise Refusal("Files went away while they were read; begin again when they are there, and the import goes on.")


def _part(keys: SiteKeys, series_digest: str, part: int) -> str:
    return keys.digest("part", series_digest, str(part))


def _looked(tell: Progress, halt: Stop, files: int) -> bool:
    tell(f"{files} files looked at", 0.0)
    return halt()


