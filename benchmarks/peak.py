"""Peak memory of this process."""

from __future__ import annotations

import json
from pathlib import Path


def report_peak() -> None:
    """Print the peak resident size as JSON.

    Read from /proc (Linux): unlike getrusage, it does not count what the parent held when it started this process.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            print(json.dumps({"peak_kib": int(line.split()[1])}))
