"""What a person may do: in the installation, and by a role in a study. Pages ask first; the services ask again."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from lss_core.vocabulary import Refusal


class Permission(StrEnum):
    """One thing that a person may or may not do."""

    GRADE = "grade"
    READ_ABOUT = "read_about"
    READ_MODELS = "read_models"
    SET_DEFAULT_MODEL = "set_default_model"
    CREATE_STUDY = "create_study"
    # In a study, by a role in it:
    MANAGE_STUDY = "manage_study"               # see the study's page
    EDIT_PROTOCOL = "edit_protocol"             # while it is a draft; also its cases
    LOCK_PROTOCOL = "lock_protocol"             # and amend it
    INVITE = "invite"                           # and remove
    SEE_PROGRESS = "see_progress"
    PAUSE = "pause"                             # and resume
    REOPEN_CASE = "reopen_case"
    CLOSE_STUDY = "close_study"
    UNBLIND = "unblind"
    SEE_RESULTS = "see_results"                 # after unblinding
    SEE_AUDIT = "see_audit"
    EXPORT = "export"
    ANNOTATE = "annotate"                       # draw regions and label cases of a collection
    READ_CASES = "read_cases"
    # In a collection of scans, by a role in it:
    CURATE = "curate"                           # see the collection's page
    IMPORT_SCANS = "import_scans"               # also remove them, and find their levels
    ADJUDICATE = "adjudicate"                   # whom the plan names; the principal investigator chairs a joint session
    LOCK_REFERENCE = "lock_reference"           # and name who labels
    SPLIT = "split"
    TRAIN = "train"


class Role(StrEnum):
    """What a person is in one study."""

    PI = "pi"
    COORDINATOR = "coordinator"
    ANNOTATOR = "annotator"                     # sets the reference standard
    READER = "reader"

    @property
    def label(self) -> str:
        return "principal investigator" if self is Role.PI else self.value


EVERYBODY = frozenset({Permission.GRADE, Permission.READ_ABOUT, Permission.READ_MODELS})
CREATOR = frozenset({Permission.CREATE_STUDY, Permission.MANAGE_STUDY, Permission.SET_DEFAULT_MODEL, Permission.CURATE})
_COORDINATOR = frozenset(
    {
        Permission.MANAGE_STUDY, Permission.EDIT_PROTOCOL, Permission.INVITE, Permission.SEE_PROGRESS,
        Permission.PAUSE, Permission.SEE_RESULTS, Permission.SEE_AUDIT, Permission.CURATE, Permission.IMPORT_SCANS,
        Permission.TRAIN,
    }
)
_PI = _COORDINATOR | {
    Permission.LOCK_PROTOCOL, Permission.REOPEN_CASE, Permission.CLOSE_STUDY, Permission.UNBLIND, Permission.EXPORT,
    Permission.ADJUDICATE, Permission.LOCK_REFERENCE, Permission.SPLIT,
}
OF_ROLE = {
    Role.PI: frozenset(_PI),
    Role.COORDINATOR: _COORDINATOR,
    Role.ANNOTATOR: frozenset({Permission.ANNOTATE, Permission.CURATE, Permission.ADJUDICATE}),
    Role.READER: frozenset({Permission.READ_CASES}),
}
# Who knows or sets the truth, or steers the study, must not read in it.
NOT_TOGETHER = (frozenset({Role.READER, Role.PI}), frozenset({Role.READER, Role.ANNOTATOR}),
                frozenset({Role.READER, Role.COORDINATOR}))


def check(permissions: Collection[Permission], needed: Permission) -> None:
    """Raise Refusal unless `needed` is among `permissions`."""
    if needed not in permissions:
        raise Refusal(f"This needs the permission to {needed.value.replace('_', ' ')}, which you do not have.")
