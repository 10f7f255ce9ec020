"""What whoever imports scans may choose, and what a run then says of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from lss_core.curation.scans import PossibleDuplicate
from lss_core.imaging.dicom import SOME_LEVELS_MM
from lss_core.vocabulary import Refusal, counted


class Take(StrEnum):
    """Which series of a study become scans."""

    BEST = "best"           # the one that `best_series` proposes; the next one where it is refused
    ALL = "all"             # every axial one that is long enough


@dataclass(frozen=True)
class ImportChoices:
    """What whoever imports may choose."""

    take: Take = Take.BEST
    least_mm: float = SOME_LEVELS_MM            # coverage from foot to head that a series must have
    again: bool = False                         # look anew at what was refused before

    def __post_init__(self) -> None:
        if not 0 <= self.least_mm <= 2000:
            raise Refusal(f"A least coverage of {self.least_mm:g} mm is impossible; give 0 to 2000 mm.")


@dataclass(frozen=True)
class Count:
    """How often something was said."""

    what: str
    number: int


@dataclass(frozen=True)
class ImportSummary:
    """The quality report of a run. What was refused is kept in the collection, source by source."""

    files: int = 0
    studies: int = 0
    added: int = 0                              # scans
    known: int = 0                              # series taken or refused before, studies of which one was taken
    refused: int = 0                            # series, archives
    not_taken: int = 0                          # series beside the one that was taken
    left_out: tuple[Count, ...] = ()            # files that are part of no series, by reason
    reasons: tuple[Count, ...] = ()             # of the refusals
    notes: tuple[Count, ...] = ()               # on the quality of what was added
    duplicates: tuple[PossibleDuplicate, ...] = ()
    stopped: bool = False

    def sentences(self) -> tuple[str, ...]:
        """The report in words."""
        said = [
            f"{counted(self.files, 'file')} of {counted(self.studies, 'study', 'studies')} looked at: "
            f"{counted(self.added, 'scan')} added, {self.known} known already, {self.refused} refused, "
            f"{self.not_taken} other series of the same studies not taken."
        ]
        said += [f"Refused ({each.number}): {each.what}" for each in self.reasons]
        said += [f"Left out ({counted(each.number, 'file')}): {each.what}." for each in self.left_out]
        said += [f"Note on {counted(each.number, 'scan')}: {each.what}" for each in self.notes]
        said += [f"{each.first} and {each.second} may be one patient: {each.reason}." for each in self.duplicates]
        return (*said, "Stopped before the end; begin again to go on.") if self.stopped else tuple(said)


@dataclass
class Tally:
    """Counts while a run goes on; as in ImportSummary."""

    files: int = 0
    studies: int = 0
    added: int = 0
    known: int = 0
    refused: int = 0
    not_taken: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def summary(self, duplicates: tuple[PossibleDuplicate, ...], *, stopped: bool) -> ImportSummary:
        """The report at the end."""
        return ImportSummary(
            files=self.files, studies=self.studies, added=self.added, known=self.known, refused=self.refused,
            not_taken=self.not_taken, left_out=_counts(self.left_out), reasons=_counts(self.reasons),
            notes=_counts(self.notes), duplicates=duplicates, stopped=stopped,
        )


def kind_of_note(note: str) -> str:
    """A note without its numbers, to count by."""
    return " ".join("…" if any(letter.isdigit() for letter in word) else word for word in note.split())


def _counts(counter: Counter[str]) -> tuple[Count, ...]:
    return tuple(Count(what, number) for what, number in counter.most_common())
