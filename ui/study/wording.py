"""What designs, rules, states and roles are called on the study's page, one sentence each."""

from __future__ import annotations

from datetime import datetime

from lss_core.permissions import Role
from lss_core.study.database import StudyState
from lss_core.study.protocol import Design, OrderRule, Revisit

DESIGNS = {
    Design.UNAIDED: ("Unaided", "Every case is read without the model; readers and model are compared afterwards."),
    Design.AIDED: ("Aided", "Every case is read with the model's grades on the screen."),
    Design.UNAIDED_THEN_AIDED: (
        "Unaided, then aided",
        "All cases without the model, and after the washout again with it. What the second look teaches counts as the "
        "model's help.",
    ),
    Design.CROSSOVER_SESSIONS: (
        "Crossover of sessions",
        "All cases twice, once with and once without the model. Half of the readers begin with it, so that learning "
        "evens out.",
    ),
    Design.CROSSOVER_CASES: (
        "Crossover of cases",
        "All cases in both sessions: the half that is aided in session 1 is unaided in session 2. Every session holds "
        "both arms.",
    ),
}
TWO_SESSIONS = (Design.UNAIDED_THEN_AIDED, Design.CROSSOVER_SESSIONS, Design.CROSSOVER_CASES)
ORDERS = {
    OrderRule.RANDOM: ("Shuffled", "Cases in random order, anew for each reader and session."),
    OrderRule.PATIENT_BLOCKS: ("By patient", "Patients in random order, the levels of a patient one after another."),
}
REVISITS = {
    Revisit.FORWARD_ONLY: ("Forward only", "A submitted case is final; only the principal investigator can reopen it."),
    Revisit.UNTIL_SIGNED: ("Until signed", "A reader may go back and answer again until the session is signed."),
}
ROLES = {
    Role.PI: "Runs the study and sees the reference standard; locks, closes, unblinds, exports.",
    Role.COORDINATOR: "Prepares cases, invites people, follows the progress; cannot lock or unblind.",
    Role.ANNOTATOR: "Sets the reference standard. Cannot be a reader of the same study.",
    Role.READER: "Reads the cases, blinded. Sees nothing of the study but the own cases.",
}
STATES = {
    StudyState.DRAFT: "The protocol can be changed; nobody reads yet.",
    StudyState.OPEN: "The protocol is locked and readers can read.",
    StudyState.PAUSED: "Readers are asked to wait; nothing is lost.",
    StudyState.CLOSED: "No more answers are taken. Everything is still blinded.",
    StudyState.UNBLINDED: "Results may be seen and exported.",
}


def moment(at: datetime | None) -> str:
    """'2026-03-01 14:05 UTC'; a dash where there is none."""
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "—"
