"""The process of one training run: waits for its turn, trains, and installs the new version.

`python -m lss_core.training.run_process RUNS ID` is started by `run_folder.launch` or by a worker of the queue.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from lss_core.held_lock import holding
from lss_core.training.run_folder import (
    CONFIGURATION,
    LOCK,
    STOP,
    TURN,
    Asked,
    RunState,
    note,
    note_progress,
    noted_state,
    read_asked,
)
from lss_core.training.stopping import stop_on_sigterm
from lss_core.vocabulary import Refusal

BROKEN = "The training failed; its log says why."
REPORT_EVERY, SAVE_EVERY_S = 10, 60.0           # steps; seconds
ENDINGS = ("safetensors", "json")


def carry_out(runs: Path, run_id: str) -> RunState:
    """Take a run to its end, or to where it is stopped; returns how it ended.

    What happened stands in the run's folder. A second process of the same run waits for the first, and then finds it
    done.
    """
    folder = runs / run_id
    with holding(folder / LOCK):
        asked = read_asked(runs, run_id)
        if noted_state(folder) is RunState.DONE:
            return RunState.DONE
        stop = stop_on_sigterm(folder / STOP)
        with holding(runs / TURN, give_up=stop) as mine:
            if not mine or stop():
                return _noted(folder, RunState.STOPPED, "It was stopped before its turn came.")
            _noted(folder, RunState.RUNNING, "", pid=os.getpid())
            return _end(folder, asked, stop)


def _end(folder: Path, asked: Asked, stop: Callable[[], bool]) -> RunState:
    """Train, install and note how it went."""
    from lss_core.training.train import Stopped  # torch takes seconds: a run that waits for its turn needs none

    try:
        if not _is_trained(folder, asked.name):
            _train(folder, asked, stop)
        install(folder, Path(asked.models), asked.name)
    except Stopped as stopped:
        return _noted(folder, RunState.STOPPED, str(stopped))
    except Refusal as refusal:
        return _noted(folder, RunState.FAILED, str(refusal))
    except Exception:
        traceback.print_exc()
        return _noted(folder, RunState.FAILED, BROKEN)
    return _noted(folder, RunState.DONE, "")


def _noted(folder: Path, state: RunState, reason: str, *, pid: int | None = None) -> RunState:
    note(folder, state, now=datetime.now(UTC), reason=reason, pid=pid)
    return state


def _train(folder: Path, asked: Asked, stop: Callable[[], bool]) -> None:
    """Train into the run's folder, from its saved state where there is one."""
    from lss_core.training.configuration import read_configuration
    from lss_core.training.train import RECIPES, train

    recipe = RECIPES[asked.network]
    training, network = read_configuration(
        folder / CONFIGURATION, training=recipe.defaults, network=recipe.network()
    )
    training = replace(
        training, name=asked.name, out=folder, start_in=Path(asked.models), data=Path(asked.data),
        validation=Path(asked.validation) if asked.validation else None, detector=asked.detector, steps=asked.steps,
        report_every=REPORT_EVERY,
        save_every_s=min(training.save_every_s, SAVE_EVERY_S), resume=(folder / f"{asked.name}.resume.pt").is_file(),
    )
    train(
        recipe.task(training, network), training, report=lambda line: print(line, flush=True),
        follow=lambda progress: note_progress(folder, asdict(progress)), stop=stop,
    )


def _is_trained(folder: Path, name: str) -> bool:
    """Whether weights and card are complete: the state goes last."""
    complete = all((folder / f"{name}.{ending}").is_file() for ending in ENDINGS)
    return complete and not (folder / f"{name}.resume.pt").exists()


def install(folder: Path, models: Path, name: str) -> None:
    """Copy weights and card among the installation's models, the card last; again is no harm.

    Raises:
        Refusal: other files have the name.
    """
    from lss_core.grading.checkpoint import replace_file

    contents = {ending: (folder / f"{name}.{ending}").read_bytes() for ending in ENDINGS}
    for ending, content in contents.items():
        path = models / f"{name}.{ending}"
        if path.exists() and path.read_bytes() != content:
            raise Refusal(f"There is another model {name!r} by now; the new one lies in {folder.name} of the runs.")
    models.mkdir(parents=True, exist_ok=True)
    for ending, content in contents.items():
        replace_file(models / f"{name}.{ending}", content)


if __name__ == "__main__":
    carry_out(Path(sys.argv[1]), sys.argv[2])
