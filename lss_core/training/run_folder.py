"""Training runs of an installation, a folder each: what was asked, what happened, how far it is.

`runs/training/ID/` holds `run.json` and `configuration.json` (what was asked), `events.jsonl` (what happened),
`progress.jsonl`, `log.txt`, the state from which a run goes on, and in the end weights and card. The process of a run
holds a lock in its folder, and one that trains holds the lock of the installation as well: one trains at a time, the
others wait. Nothing here is lost or left running where the app is started again.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from lss_core.held_lock import is_held
from lss_core.json_lines import append_line, read_lines, replace_json
from lss_core.settings import ROOT
from lss_core.vocabulary import Refusal

RUN, CONFIGURATION, LOG = "run.json", "configuration.json", "log.txt"
EVENTS, PROGRESS = "events.jsonl", "progress.jsonl"
LOCK, TURN, STOP = "lock", "turn.lock", "stop"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
LOG_TAIL_BYTES = 4000
START_S = 60.0                                  # in which a new process must have taken its lock


class RunState(StrEnum):
    """Where a training run stands."""

    QUEUED = "queued"                           # its process waits until no other trains
    RUNNING = "running"
    STOPPED = "stopped"                         # asked to; its state is saved
    INTERRUPTED = "interrupted"                 # its process ended without a word: killed, or the machine went down
    FAILED = "failed"
    DONE = "done"                               # the version is installed

    @property
    def ended(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING)

    @property
    def resumable(self) -> bool:
        return self in (RunState.STOPPED, RunState.INTERRUPTED, RunState.FAILED)


@dataclass(frozen=True)
class Asked:
    """What a run was asked for; paths are absolute."""

    name: str                                   # of the new version
    network: str                                # "classifier" or "detector"
    configuration: str                          # name of the configuration
    data: str
    validation: str                             # "" for none
    models: str                                 # where the version to go on from lies, and the new one is installed
    steps: int
    who: str
    created_at: str                             # ISO 8601, UTC
    collection_id: int | None = None            # None: started by the operator
    detector: str = ""                          # that grades with the new version; "" means the shared one
    by_queue: bool = False                      # a worker of the queue carries it out, whenever one is free


@dataclass(frozen=True)
class CurvePoint:
    """Mean losses of the steps before one, and the validation losses of the averaged weights where they were taken."""

    step: int
    training: Mapping[str, float]
    validation: Mapping[str, float]


@dataclass(frozen=True)
class TrainingRun:
    """One run as it stands."""

    id: str
    asked: Asked
    state: RunState
    step: int = 0
    samples_per_s: float | None = None
    left_s: float | None = None                 # None where it does not run, or nobody knows yet
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""                            # why it stopped or failed, one sentence
    curve: tuple[CurvePoint, ...] = ()
    log_tail: str = field(default="", repr=False)
    pid: int | None = None                      # of its latest process, on that process's machine

    @property
    def name(self) -> str:
        return self.asked.name

    @property
    def network(self) -> str:
        return self.asked.network

    @property
    def configuration(self) -> str:
        return self.asked.configuration

    @property
    def who(self) -> str:
        return self.asked.who

    @property
    def steps(self) -> int:
        return self.asked.steps

    @property
    def created_at(self) -> datetime:
        return datetime.fromisoformat(self.asked.created_at)


def new_run(runs: Path, asked: Asked, configuration: Path, *, now: datetime) -> str:
    """Make the folder of a run, queued; returns its id."""
    run_id = f"{now:%Y%m%d-%H%M%S}-{asked.name}"
    folder = runs / run_id
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise Refusal(f"A training of {asked.name!r} was asked for in this very second; see the list.") from error
    shutil.copyfile(configuration, folder / CONFIGURATION)
    note(folder, RunState.QUEUED, now=now)
    replace_json(folder / RUN, asdict(asked))
    return run_id


def note(folder: Path, state: RunState, *, now: datetime, reason: str = "", pid: int | None = None) -> None:
    """Add to what happened to a run."""
    append_line(folder / EVENTS, {"at": now.isoformat(), "state": state.value, "reason": reason, "pid": pid})


def note_progress(folder: Path, progress: Mapping[str, Any]) -> None:
    """Add how far a run is; what is not known (NaN) is null."""
    append_line(folder / PROGRESS, _without_nan(progress))


def launch(runs: Path, run_id: str) -> None:
    """Start the process of a run, in a session of its own and adopted by the system: it outlives who started it."""
    log = runs / run_id / LOG
    command = [sys.executable, "-m", "lss_core.training.run_process", str(runs), run_id]
    subprocess.run(
        ["sh", "-c", 'log=$1; shift; "$@" >>"$log" 2>&1 </dev/null &', "sh", str(log), *command], cwd=ROOT, check=True,
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def ask_to_stop(runs: Path, run_id: str, *, now: datetime) -> None:
    """Leave word for a run's process, on whatever machine it is; it ends after the step it is at."""
    folder = runs / run_id
    (folder / STOP).touch()
    if noted_state(folder) is RunState.QUEUED and not is_held(folder / LOCK):
        note(folder, RunState.STOPPED, now=now, reason="It was stopped before a worker took it.")


def all_runs(runs: Path, *, now: datetime) -> tuple[TrainingRun, ...]:
    """Every run, newest first."""
    found = sorted((path.parent.name for path in runs.glob(f"*/{RUN}")), reverse=True)
    return tuple(read_run(runs, run_id, now=now) for run_id in found)


def read_run(runs: Path, run_id: str, *, now: datetime) -> TrainingRun:
    """One run as it stands.

    Raises:
        Refusal: there is none with this id.
    """
    folder = runs / run_id
    asked = read_asked(runs, run_id)
    events = list(read_lines(folder / EVENTS))
    last = events[-1]
    state = _state(folder, last, now, by_queue=asked.by_queue)
    progress = _kept(list(read_lines(folder / PROGRESS)))
    latest = progress[-1] if progress else {}
    running = state is RunState.RUNNING
    return TrainingRun(
        run_id, asked, state, step=asked.steps if state is RunState.DONE else latest.get("step", 0),
        samples_per_s=latest.get("samples_per_s") if running else None,
        left_s=latest.get("left_s") if running else None,
        started_at=next((_at(event) for event in events if event["state"] == RunState.RUNNING), None),
        ended_at=_at(last) if RunState(last["state"]).ended else None,
        reason=_reason(state, last), curve=_curve(progress), log_tail=_tail(folder / LOG),
        pid=next((event["pid"] for event in reversed(events) if event["pid"]), None),
    )


def read_asked(runs: Path, run_id: str) -> Asked:
    """What a run was asked for.

    Raises:
        Refusal: there is none with this id.
    """
    if Path(run_id).name != run_id or not (runs / run_id / RUN).is_file():
        raise Refusal(f"There is no training run {run_id!r}; choose one of the list.")
    return Asked(**json.loads((runs / run_id / RUN).read_text("utf-8")))


def noted_state(folder: Path) -> RunState:
    """The latest that was noted of a run; whether its process lives is not looked at."""
    return RunState(list(read_lines(folder / EVENTS))[-1]["state"])


def _state(folder: Path, last: Mapping[str, Any], now: datetime, *, by_queue: bool) -> RunState:
    """The latest that was noted, unless it says that a process lives which does not."""
    noted = RunState(last["state"])
    if noted.ended or is_held(folder / LOCK):
        return noted
    begins = noted is RunState.QUEUED and (by_queue or now - _at(last) < timedelta(seconds=START_S))
    return noted if begins else RunState.INTERRUPTED


def _reason(state: RunState, last: Mapping[str, Any]) -> str:
    if state is RunState.INTERRUPTED:
        return "Its process ended without a word: it was killed, or the machine went down. Resume it."
    return last["reason"]


def _at(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def _kept(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the steps that were done again after an interruption."""
    kept: list[dict[str, Any]] = []
    for line in lines:
        while kept and kept[-1]["step"] >= line["step"]:
            kept.pop()
        kept.append(line)
    return kept


def _curve(progress: Sequence[Mapping[str, Any]]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(each["step"], _known(each["losses"]), _known(each["validation"])) for each in progress)


def _known(losses: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in losses.items() if value is not None}


def _tail(log: Path) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
