"""The tables of curation: scans of a collection, their levels, regions, labels, reference versions and split.

A collection is a row of `study` of its own kind, so that people, roles and the audit log are shared. What one
annotator must not learn of another lies in `Label` and `LabelGrade`, which the labelling path asks for the actor's own
rows alone. Rows of `APPEND_ONLY` tables are never updated or deleted: the database's triggers refuse it. A correction
is a new row.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Text, UniqueConstraint
from sqlmodel import Field

from lss_core.study.database import Table, moment, own_id


class CuratedScan(Table, table=True):
    """A scan of a collection, and what is known of it beside its pixels."""

    __table_args__ = (UniqueConstraint("collection_id", "source_digest"),)
    id: int | None = own_id()
    collection_id: int = Field(foreign_key="study.id", index=True)
    scan_id: int = Field(foreign_key="scan.id")
    source_digest: str                                  # of the source files: the same series is brought in once
    identity_digest: str = ""                           # keyed, of name, birth date and sex; "" where they were missing
    patient: str = Field(index=True)                    # pseudonym; changes where two turn out to be one person
    imported_as: str                                    # the pseudonym that the source gave
    site: str = ""
    name: str = ""                                      # the group's own name of the scan
    manufacturer: str = ""
    kernel: str = ""
    slice_thickness_mm: float
    slices: int
    sex: str = ""                                       # DICOM's F, M, O; "" unknown
    age_years: float | None = None
    notes: str = Field(default="[]", sa_type=Text)      # JSON, a sentence each
    added_at: datetime = moment()
    levels_confirmed_at: datetime | None = moment(nullable=True)
    removed_at: datetime | None = moment(nullable=True)
    removed_because: str = ""


class RefusedScan(Table, table=True):
    """A source that could not become a scan, with the sentence that says why."""

    __table_args__ = (UniqueConstraint("collection_id", "source_digest"),)
    id: int | None = own_id()
    collection_id: int = Field(foreign_key="study.id", index=True)
    source_digest: str
    name: str
    reason: str = Field(sa_type=Text)
    at: datetime = moment()


class CuratedLevel(Table, table=True):
    """One disc level of one scan: a case. `slice_index` is that of the last mark; null: not in this scan."""

    __table_args__ = (UniqueConstraint("curated_scan_id", "level"),)
    id: int | None = own_id()
    collection_id: int = Field(foreign_key="study.id", index=True)
    curated_scan_id: int = Field(foreign_key="curatedscan.id", index=True)
    level: str                                          # DiscLevel
    slice_index: int | None = None                      # of the stored volume


class LevelMark(Table, table=True):
    """Where somebody, or the software, put a level. Append-only; the last one counts."""

    id: int | None = own_id()
    case_id: int = Field(foreign_key="curatedlevel.id", index=True)
    slice_index: int | None = None
    account_id: int | None = Field(default=None, foreign_key="account.id")     # null: the software
    version: str = ""                                   # of the software's network
    at: datetime = moment()


class ProposedBox(Table, table=True):
    """A region that the detector found. Append-only; the last one of a slice and region counts."""

    __table_args__ = (Index("ix_proposedbox_case", "case_id", "slice_index"),)
    id: int | None = own_id()
    case_id: int = Field(foreign_key="curatedlevel.id")
    slice_index: int
    region: str
    box: str                                            # JSON [row0, col0, row1, col1] in pixels of the slice
    version: str
    at: datetime = moment()


class RegionBox(Table, table=True):
    """A region as one annotator left it. Append-only; the last one of an annotator, slice and region counts."""

    __table_args__ = (Index("ix_regionbox_case", "case_id", "slice_index"),)
    id: int | None = own_id()
    case_id: int = Field(foreign_key="curatedlevel.id")
    slice_index: int
    region: str
    account_id: int = Field(foreign_key="account.id")
    box: str                                            # JSON, as in ProposedBox; "" where it was taken away
    origin: str                                         # BoxOrigin
    copied_from: int | None = None                      # slice index, where it was copied
    proposal_id: int | None = Field(default=None, foreign_key="proposedbox.id")    # what it was held against
    at: datetime = moment()


class LabelPlan(Table, table=True):
    """Who labels and who adjudicates. Append-only; the last one counts."""

    id: int | None = own_id()
    collection_id: int = Field(foreign_key="study.id", index=True)
    first: int = Field(foreign_key="account.id")
    second: int = Field(foreign_key="account.id")
    adjudicator: int | None = Field(default=None, foreign_key="account.id")
    seed: str                                           # from which each annotator's order is drawn; stays in new plans
    set_by: int = Field(foreign_key="account.id")
    at: datetime = moment()


class LabelPlace(Table, table=True):
    """One place in an annotator's order. Places are added, and never move."""

    __table_args__ = (
        UniqueConstraint("account_id", "case_id"), UniqueConstraint("collection_id", "account_id", "position"),
    )
    id: int | None = own_id()
    token: str = Field(unique=True, index=True)         # random; names the case to the annotator's browser
    collection_id: int = Field(foreign_key="study.id", index=True)
    account_id: int = Field(foreign_key="account.id")
    case_id: int = Field(foreign_key="curatedlevel.id")
    position: int                                       # from 1


class LabelDraft(Table, table=True):
    """What an annotator has entered and not submitted."""

    place_id: int = Field(primary_key=True, foreign_key="labelplace.id")
    change: int = 0                                     # counts the changes; an older one never overwrites
    content: str = Field(default="", sa_type=Text)      # JSON of study.entry.Entry
    updated_at: datetime = moment()


class Label(Table, table=True):
    """One case labelled by one annotator. Append-only; of several revisions the last counts, the former stay."""

    __table_args__ = (UniqueConstraint("place_id", "revision"), CheckConstraint("revision >= 1", name="revision"))
    id: int | None = own_id()
    collection_id: int = Field(foreign_key="study.id", index=True)
    place_id: int = Field(foreign_key="labelplace.id")
    case_id: int = Field(foreign_key="curatedlevel.id", index=True)
    account_id: int = Field(foreign_key="account.id")
    revision: int
    slice_index: int                                    # that was labelled
    image_quality: str = ""                             # "" good; else what is wrong with the image
    comment: str = Field(default="", sa_type=Text)
    submitted_at: datetime = moment()
    software_version: str
    sha256: str                                         # of the label's canonical JSON; also in the audit log


class LabelGrade(Table, table=True):
    """The grade of one region in a label. Grade null: not gradable, with the reason. Append-only."""

    __table_args__ = (
        UniqueConstraint("label_id", "region"), CheckConstraint("grade between 0 and 3", name="grade"),
        CheckConstraint("(grade is null) = (not_gradable <> '')", name="grade_or_reason"),
    )
    id: int | None = own_id()
    label_id: int = Field(foreign_key="label.id", index=True)
    region: str
    grade: int | None = None
    not_gradable: str = ""


class Adjudication(Table, table=True):
    """The decision on a region on which the two disagree. Append-only; the last one counts."""

    __table_args__ = (
        CheckConstraint("grade between 0 and 3", name="grade"),
        CheckConstraint("(grade is null) = (not_gradable <> '')", name="grade_or_reason"),
    )
    id: int | None = own_id()
    case_id: int = Field(foreign_key="curatedlevel.id", index=True)
    region: str
    first_label_id: int = Field(foreign_key="label.id")     # the labels that it decides between
    second_label_id: int = Field(foreign_key="label.id")
    grade: int | None = None
    not_gradable: str = ""
    reason: str = Field(sa_type=Text)
    joint: bool                                         # in a session of several, not by a third alone
    present: str = "[]"                                 # JSON, account ids of those who were there
    account_id: int = Field(foreign_key="account.id")
    at: datetime = moment()
    sha256: str                                         # of the decision's canonical JSON; also in the audit log


class ReferenceVersion(Table, table=True):
    """A locked version of the reference standard. Append-only."""

    __table_args__ = (UniqueConstraint("collection_id", "number"),)
    id: int | None = own_id()
    collection_id: int = Field(foreign_key="study.id", index=True)
    number: int                                         # from 1
    reason: str                                         # of every version after the first
    sha256: str                                         # of its rows as canonical JSON; also in the audit log
    locked_by: int = Field(foreign_key="account.id")
    locked_at: datetime = moment()


class ReferenceRow(Table, table=True):
    """The reference of one region in one version. Grade null: not gradable. Append-only."""

    __table_args__ = (
        UniqueConstraint("version_id", "case_id", "region"), CheckConstraint("grade between 0 and 3", name="grade"),
        CheckConstraint("(grade is null) = (not_gradable <> '')", name="grade_or_reason"),
    )
    id: int | None = own_id()
    version_id: int = Field(foreign_key="referenceversion.id", index=True)
    case_id: int = Field(foreign_key="curatedlevel.id")
    slice_index: int
    region: str
    grade: int | None = None
    not_gradable: str = ""
    provenance: str                                     # Provenance
    first_label_id: int = Field(foreign_key="label.id")
    second_label_id: int = Field(foreign_key="label.id")
    adjudication_id: int | None = Field(default=None, foreign_key="adjudication.id")
    box: str = ""                                       # JSON; "" where nobody drew one


class SplitVersion(Table, table=True):
    """A locked division of the patients. Append-only; patients keep their part in later versions."""

    __table_args__ = (UniqueConstraint("collection_id", "number"),)
    id: int | None = own_id()
    collection_id: int = Field(foreign_key="study.id", index=True)
    number: int                                         # from 1
    reference_version_id: int = Field(foreign_key="referenceversion.id")
    content: str = Field(sa_type=Text)                  # canonical JSON of the plan
    reason: str                                         # of every version after the first
    sha256: str                                         # of plan, patients and reference; also in the audit log
    control_sha256: str                                 # of the control set's patients, cases and their reference
    locked_by: int = Field(foreign_key="account.id")
    locked_at: datetime = moment()


class SplitRow(Table, table=True):
    """Where one patient belongs in one version. Append-only."""

    __table_args__ = (UniqueConstraint("version_id", "patient"),)
    id: int | None = own_id()
    version_id: int = Field(foreign_key="splitversion.id", index=True)
    patient: str
    part: str                                           # Part


APPEND_ONLY = (LevelMark, ProposedBox, RegionBox, LabelPlan, LabelPlace, Label, LabelGrade, Adjudication,
               ReferenceVersion, ReferenceRow, SplitVersion, SplitRow)
TABLES = (CuratedScan, RefusedScan, CuratedLevel, LabelDraft, *APPEND_ONLY)
