"""Work that goes on in this process while pages come and go."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lss_core.vocabulary import Refusal

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Progress = Callable[[str, float], None]


@dataclass
class Job(Generic[Result]):
    """One piece of work, running or last: what it does now, the share that is done, and how it ended."""

    name: str                           # of the thread
    broken: str                         # the sentence for a failure that nobody foresaw
    what: str = ""
    share: float = 0.0
    running: bool = False
    failed: str = ""
    report: Result | None = None        # what the work returned
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def start(self, work: Callable[[Progress], Result]) -> bool:
        """Begin in the background; False, and nothing is done, where it runs already."""
        with self.lock:
            if self.running:
                return False
            self.what, self.share, self.running, self.failed, self.report = "Starting", 0.0, True, "", None
        threading.Thread(target=self._run, args=(work,), name=self.name, daemon=True).start()
        return True

    def _run(self, work: Callable[[Progress], Result]) -> None:
        try:
            self.report = work(self._tell)
        except Refusal as refusal:
            self.failed = str(refusal)
        except Exception:
            log.exception(self.broken)
            self.failed = self.broken
        finally:
            self.running = False

    def _tell(self, what: str, share: float) -> None:
        self.what, self.share = what, share
