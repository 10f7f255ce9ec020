"""Imports of scans that go on while pages come and go: one at a time for each study."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import streamlit as st

from lss_core.control_set import ImportReport, Progress
from lss_core.vocabulary import Refusal

log = logging.getLogger(__name__)


@dataclass
class ImportJob:
    """The import into one study in this process, running or last."""

    what: str = ""
    share: float = 0.0
    running: bool = False
    failed: str = ""
    report: ImportReport | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def start(self, work: Callable[[Progress], ImportReport]) -> None:
        """Begin in the background.

        Raises:
            Refusal: an import into this study runs already.
        """
        with self.lock:
            if self.running:
                raise Refusal("An import into this study runs already; wait until it is done.")
            self.what, self.share, self.running, self.failed, self.report = "Starting", 0.0, True, "", None
        threading.Thread(target=self._run, args=(work,), name="import", daemon=True).start()

    def _run(self, work: Callable[[Progress], ImportReport]) -> None:
        try:
            self.report = work(self._tell)
        except Refusal as refusal:
            self.failed = str(refusal)
        except Exception:
            log.exception("An import into a study failed")
            self.failed = "The import failed; the server's log says why. What was imported before stays."
        finally:
            self.running = False

    def _tell(self, what: str, share: float) -> None:
        self.what, self.share = what, share


@st.cache_resource(show_spinner=False)
def _jobs() -> dict[tuple[str, int], ImportJob]:
    return {}


def job_of(database: str, study_id: int) -> ImportJob:
    """The import of a study; one that has not run where there was none.

    Args:
        database: The database's address, since studies of two databases may have one number.
    """
    return _jobs().setdefault((database, study_id), ImportJob())
