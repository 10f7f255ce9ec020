"""The tables of the reader study, the same on SQLite and PostgreSQL.

What a reader must never learn lies in tables of its own: `CaseOrigin` (patient, site), `Reference` (the truth) and
`ModelOutput`. The reading path asks only `Case`, `ReadingItem`, `Draft` and `Answer`, and `ModelOutput` only in an
aided arm. Rows of `APPEND_ONLY` tables are never updated or deleted: the database's triggers refuse it. A correction
is a new row.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Index, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator):
    """A moment in UTC. SQLite keeps no zone, so it is put back on reading; a moment without zone is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give it in UTC.")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: object) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value.astimezone(UTC) if value is not None else None
        return value.replace(tzinfo=UTC)


class Table(SQLModel, registry=registry()):
    """Base of all tables. Its own registry lets Streamlit import the module again."""


Table.metadata.naming_convention = NAMES


class StudyState(StrEnum):
    """What may happen in a study now."""

    DRAFT = "draft"             # the protocol may be changed; nobody reads
    OPEN = "open"               # the protocol is locked; readers read
    PAUSED = "paused"           # locked; readers are asked to wait
    CLOSED = "closed"           # no more answers; still blinded
    UNBLINDED = "unblinded"     # results may be seen


class StudyKind(StrEnum):
    """What people meet for; roles, invitations and the audit log are the same in both."""

    READER_STUDY = "reader_study"
    COLLECTION = "collection"   # of scans: imported, labelled by two, split (`curation_tables`)


class CaseKind(StrEnum):
    TEST = "test"               # counted
    TRAINING = "training"       # read before the first session, with feedback; never counted


class Arm(StrEnum):
    UNAIDED = "unaided"
    AIDED = "aided"             # the model's grades are shown


def own_id() -> Any:
    return Field(default=None, primary_key=True)


def moment(*, nullable: bool = False) -> Any:
    return Field(default=None, sa_type=UtcDateTime, nullable=nullable)


class Account(Table, table=True):
    """A person. Made by an invitation; `subject` (issuer and subject of the provider) is bound at the first sign-in."""

    id: int | None = own_id()
    email: str = Field(unique=True, index=True)         # lower case
    name: str = ""
    subject: str | None = Field(default=None, unique=True)
    specialty: str = ""
    years_of_experience: float | None = None
    lumbar_cts_a_year: int | None = None
    may_create_studies: bool = False
    is_demo: bool = False                               # a simulated person; can never sign in
    disabled: bool = False
    created_at: datetime = moment()


class SignIn(Table, table=True):
    """One signed-in browser, kept on the server. `key` is the SHA-256 of what the browser must bring."""

    id: int | None = own_id()
    key: str = Field(unique=True, index=True)           # of the browser's session cookie
    identity: str = Field(default="", index=True)       # of the provider's issuer, subject and time of issue; "" local
    account_id: int = Field(foreign_key="account.id", index=True)
    created_at: datetime = moment()
    last_seen_at: datetime = moment()
    revoked_at: datetime | None = moment(nullable=True)
    revoked_because: str = ""


def study_token() -> str:
    """A new random name of a study or collection: hexadecimal, so that no command takes it for an option."""
    return secrets.token_hex(12)


class Study(Table, table=True):
    id: int | None = own_id()
    token: str = Field(default_factory=study_token, unique=True, index=True)    # random, stands in addresses
    title: str
    kind: str = StudyKind.READER_STUDY
    state: str = StudyState.DRAFT
    collection_id: int | None = Field(default=None, foreign_key="study.id")   # where its cases came from
    is_demo: bool = False                               # simulated readers or cases: said on every page and export
    created_by: int = Field(foreign_key="account.id")
    created_at: datetime = moment()


class Membership(Table, table=True):
    """A role of a person in a study; removed by setting `removed_at`, so that who could do what when stays known."""

    __table_args__ = (UniqueConstraint("study_id", "account_id", "role"),)
    id: int | None = own_id()
    study_id: int = Field(foreign_key="study.id", index=True)
    account_id: int = Field(foreign_key="account.id", index=True)
    role: str
    invited_by: int | None = Field(default=None, foreign_key="account.id")
    invited_at: datetime = moment()
    removed_at: datetime | None = moment(nullable=True)


class ProtocolVersion(Table, table=True):
    """A version of the protocol. `content` is canonical JSON; once `locked_at` is set the row never changes again."""

    __table_args__ = (UniqueConstraint("study_id", "number"),)
    id: int | None = own_id()
    study_id: int = Field(foreign_key="study.id", index=True)
    number: int                                         # from 1
    content: str = Field(sa_type=Text)
    sha256: str = ""                                    # of content and the list of cases, at the lock
    reason: str = ""                                    # of an amendment
    created_at: datetime = moment()
    locked_at: datetime | None = moment(nullable=True)


class Scan(Table, table=True):
    """A stored, de-identified volume."""

    id: int | None = own_id()
    key: str = Field(unique=True)                       # random name in the image store
    sha256: str                                         # of the stored bytes
    simulated: bool
    added_at: datetime = moment()


class Case(Table, table=True):
    """One disc level of one scan, as a reader sees it: nothing here tells patient, site, truth or model."""

    __table_args__ = (UniqueConstraint("study_id", "number"),)
    id: int | None = own_id()
    study_id: int = Field(foreign_key="study.id", index=True)
    number: int                                         # in the order of import, from 1
    scan_id: int = Field(foreign_key="scan.id")
    level: str                                          # DiscLevel
    slice_index: int                                    # of the stored volume
    kind: str = CaseKind.TEST
    cluster: int                                        # cases of one patient share it; 1, 2, ... within the study
    removed_at: datetime | None = moment(nullable=True)     # before the lock only


class CaseOrigin(Table, table=True):
    """Where a case came from. The reading path never asks this table."""

    case_id: int = Field(primary_key=True, foreign_key="case.id")
    patient: str = Field(index=True)                    # pseudonym; cases of one patient are one cluster
    name: str = ""                                      # the study's own name of the case
    site: str = ""
    scanner: str = ""
    slice_thickness_mm: float | None = None


class Reference(Table, table=True):
    """The reference standard of one region. Grade null: not gradable. Append-only; the last row counts."""

    __table_args__ = (CheckConstraint("grade between 0 and 3", name="grade"),)
    id: int | None = own_id()
    case_id: int = Field(foreign_key="case.id", index=True)
    region: str
    grade: int | None = None
    measure: float | None = None                        # mm2 or mm, where the reference was measured
    source: str                                         # "simulated", "two surgeons, adjudicated", ...
    added_at: datetime = moment()


class ModelOutput(Table, table=True):
    """What one model version found in one region. Grade null: not gradable or not found. Append-only."""

    __table_args__ = (
        UniqueConstraint("case_id", "version", "weights_sha256", "region"),
        CheckConstraint("grade between 0 and 3", name="grade"),
    )
    id: int | None = own_id()
    case_id: int = Field(foreign_key="case.id", index=True)
    version: str
    weights_sha256: str
    region: str
    grade: int | None = None
    p0: float | None = None
    p1: float | None = None
    p2: float | None = None
    p3: float | None = None
    slice_index: int | None = None                      # of the stored volume, on which it was graded
    box: str = ""                                       # JSON [row0, col0, row1, col1] in pixels of that slice
    measure: float | None = None                        # mm2 or mm, the measure that grades the region
    not_gradable: str = ""                              # the reason, where grade is null
    heat_map_key: str = ""                              # in the image store; "" where none was made
    heat_map_box: str = ""                              # JSON, the box that the heat map covers
    added_at: datetime = moment()


class ReadingSession(Table, table=True):
    """The cases that one reader reads in one go: session 1, 2, ... Its order is stored in its items."""

    __table_args__ = (UniqueConstraint("study_id", "account_id", "number"),)
    id: int | None = own_id()
    study_id: int = Field(foreign_key="study.id", index=True)
    account_id: int = Field(foreign_key="account.id", index=True)
    number: int
    seed: str                                           # from which the order was drawn
    protocol_version_id: int = Field(foreign_key="protocolversion.id")
    years_of_experience: float                          # as stated when it began: later changes move nobody's level
    begun_at: datetime = moment()
    completed_at: datetime | None = moment(nullable=True)


class ReadingItem(Table, table=True):
    """One place in a reader's order. The order never changes once it is drawn."""

    __table_args__ = (UniqueConstraint("session_id", "position"), Index("ix_item_case", "case_id"))
    id: int | None = own_id()
    token: str = Field(unique=True, index=True)         # random; the only name of a case that reaches a browser
    session_id: int = Field(foreign_key="readingsession.id", index=True)
    position: int                                       # from 1; training cases first
    case_id: int = Field(foreign_key="case.id")
    kind: str                                           # CaseKind
    arm: str                                            # Arm
    is_repeat: bool = False                             # a hidden repeat, for intra-reader agreement


class Draft(Table, table=True):
    """What a reader has entered and not submitted, and the server's clock on it. One row an item."""

    item_id: int = Field(primary_key=True, foreign_key="readingitem.id")
    revision: int = 1                                   # of the answer that is being made
    change: int = 0                                     # counts the reader's changes; an older one never overwrites
    content: str = Field(default="", sa_type=Text)      # JSON of reading.Entry; "" before the first input
    shown_at: datetime = moment()
    first_input_at: datetime | None = moment(nullable=True)
    last_seen_at: datetime = moment()
    idle_s: float = 0.0                                 # seconds without a sign of the reader
    updated_at: datetime = moment()


class Answer(Table, table=True):
    """One submitted case. Append-only; of several revisions of an item the last counts, and the former stay."""

    __table_args__ = (UniqueConstraint("item_id", "revision"), CheckConstraint("revision >= 1", name="revision"))
    id: int | None = own_id()
    item_id: int = Field(foreign_key="readingitem.id", index=True)
    revision: int
    image_quality: str = ""                             # "" good; else what is wrong with the image
    comment: str = Field(default="", sa_type=Text)
    shown_at: datetime = moment()
    first_input_at: datetime | None = moment(nullable=True)
    submitted_at: datetime = moment()
    idle_s: float = 0.0
    protocol_version_id: int = Field(foreign_key="protocolversion.id")
    software_version: str
    sha256: str                                         # of the answer's canonical JSON; also in the audit log


class RegionAnswer(Table, table=True):
    """The grade of one region in a submitted case. Grade null: not gradable, with the reason. Append-only."""

    __table_args__ = (
        UniqueConstraint("answer_id", "region"),
        CheckConstraint("grade between 0 and 3", name="grade"),
        CheckConstraint("confidence between 0 and 100", name="confidence"),
        CheckConstraint("(grade is null) = (not_gradable <> '')", name="grade_or_reason"),
    )
    id: int | None = own_id()
    answer_id: int = Field(foreign_key="answer.id", index=True)
    region: str
    grade: int | None = None
    confidence: int | None = None                       # 0-100; null where the protocol does not ask it
    not_gradable: str = ""


class Reopening(Table, table=True):
    """The PI gives a submitted case back to its reader. Append-only: the former answer stays."""

    id: int | None = own_id()
    item_id: int = Field(foreign_key="readingitem.id", index=True)
    revision: int                                       # the new revision that it asks for
    reopened_by: int = Field(foreign_key="account.id")
    reason: str
    at: datetime = moment()


class Signature(Table, table=True):
    """A signature: who, what it means, when. Append-only."""

    id: int | None = own_id()
    study_id: int = Field(foreign_key="study.id", index=True)
    account_id: int = Field(foreign_key="account.id")
    typed_name: str
    meaning: str
    what: str                                           # "protocol 1", "session 2"
    sha256: str = ""                                    # of what was signed
    at: datetime = moment()


class AuditEvent(Table, table=True):
    """One line of the audit log. `hash` covers the row and `previous_hash`; `study_id` null: not of one study."""

    id: int | None = own_id()                              # 1, 2, 3, ... without gap
    at: datetime = moment()
    actor: str                                          # e-mail, or "system"
    action: str
    study_id: int | None = Field(default=None, index=True)
    subject: str = ""                                   # what it was done to: "answer 12", "reader x@y.org"
    old: str = Field(default="", sa_type=Text)          # canonical JSON
    new: str = Field(default="", sa_type=Text)
    reason: str = ""
    previous_hash: str
    hash: str


APPEND_ONLY = (ReadingItem, Answer, RegionAnswer, AuditEvent, Reference, ModelOutput, Reopening, Signature)
