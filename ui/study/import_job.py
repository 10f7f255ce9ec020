"""Imports of scans that go on while pages come and go: one at a time for each study."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lss_core.control_set import ImportReport, Progress
from lss_core.vocabulary import Refusal
from ui.background import Job

BROKEN = "The import failed; the server's log says why. What was imported before stays."


class ImportJob(Job[ImportReport]):
    """The import into one study in this process, running or last."""

    def __init__(self) -> None:
        super().__init__("import", BROKEN)

    def start(self, work: Callable[[Progress], ImportReport]) -> bool:
        """Begin in the background.

        Raises:
            Refusal: an import into this study runs already.
        """
        if not super().start(work):
            raise Refusal("An import into this study runs already; wait until it is done.")
        return True


@st.cache_resource(show_spinner=False)
def _jobs() -> dict[tuple[str, int], ImportJob]:
    return {}


def job_of(database: str, study_id: int) -> ImportJob:
    """The import of a study; one that has not run where there was none.

    Args:
        database: The database's address, since studies of two databases may have one number.
    """
    return _jobs().setdefault((database, study_id), ImportJob())
