"""A worker process of `grade --many`: takes names of scans from its standard input, one a line, until that ends.

It ends with its input, so it never outlives the process that feeds it by more than the scan it is at. A fault ends it
too: whoever feeds it sees that, and starts another. Networks that cannot be loaded are no fault of a scan: it says so.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from lss_core.many.grading import ManyGrader
from lss_core.many.results import Model
from lss_core.vocabulary import Refusal

BEGUN, DONE, REFUSED = "begun", "done", "refused"


def serve(folder: Path, out: Path, models: Path, model: Model, *, threads: int) -> None:
    """Answer each name with the digest when grading begins, where it does, and with what became of the scan."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())          # what a library prints is not taken for a reply
    os.environ["OMP_NUM_THREADS"] = str(threads)

    def reply(**values: str) -> None:
        print(json.dumps(values), file=replies, flush=True)

    grader = ManyGrader(folder, out, models, model, begun=lambda sha256: reply(kind=BEGUN, sha256=sha256))
    with replies:
        for line in sys.stdin:
            try:
                done = grader.grade(json.loads(line))
            except Refusal as refusal:
                reply(kind=REFUSED, reason=str(refusal))
                return
            reply(kind=DONE, **asdict(done))


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    serve(Path(asked["folder"]), Path(asked["out"]), Path(asked["models"]), Model(**asked["model"]),
          threads=asked["threads"])
