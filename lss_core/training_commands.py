"""The operator's command on training runs: `train-set start|list|stop|resume`."""

from __future__ import annotations

import argparse
from pathlib import Path

from lss_core.settings import Settings
from lss_core.training.run_folder import TrainingRun
from lss_core.vocabulary import Refusal

DONE = 0


def run_start(options: argparse.Namespace) -> int:
    """Begin a run; it goes on without this command."""
    from lss_core.training.reference import read_rows
    from lss_core.training_runs import FINE_TUNE, NewRun, default_configuration, start_by_operator

    configuration: str | Path = options.config or FINE_TUNE
    if options.config is None and options.network == "classifier":
        advice = default_configuration(len({row.patient for row in read_rows(options.data)}))
        configuration = advice.configuration
        print(f"Configuration {configuration}. {advice.why}")
    elif options.config is not None and options.config.endswith(".json"):
        configuration = Path(options.config)
    wanted = NewRun(
        options.name, options.data, options.validation, network=options.network, configuration=configuration,
        steps=options.steps, detector=options.detector,
    )
    run_id = start_by_operator(_settings(), wanted)
    print(f"Training {run_id} has begun, or waits behind another; see `python -m lss_core train-set list`.")
    return DONE


def run_list(_: argparse.Namespace) -> int:
    """One line a run, newest first."""
    from lss_core.training_runs import every_run

    runs = every_run(_settings())
    print("\n".join(map(_line, runs)) if runs else "There is no training run.")
    return DONE


def run_stop(options: argparse.Namespace) -> int:
    """Let a run save its state and end."""
    from lss_core.training_runs import stop_by_operator

    stop_by_operator(_settings(), options.run_id)
    print(f"Training {options.run_id} stops after the step it is at.")
    return DONE


def run_resume(options: argparse.Namespace) -> int:
    """Let a run go on from its last saved state."""
    from lss_core.training_runs import resume_by_operator

    resume_by_operator(_settings(), options.run_id)
    print(f"Training {options.run_id} goes on, or waits behind another.")
    return DONE


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    described = "train a version on a curated set, in the background"
    parsers = commands.add_parser("train-set", help=described).add_subparsers(required=True, metavar="COMMAND")
    start = parsers.add_parser("start", help="begin a run")
    start.add_argument("name", help="of the new version")
    start.add_argument("--data", type=Path, required=True, metavar="DIR", help="training part, with reference.csv")
    start.add_argument("--validation", type=Path, metavar="DIR", help="validation part; calibrates the version")
    start.add_argument("--network", choices=("classifier", "detector"), default="classifier")
    start.add_argument("--config", metavar="NAME", help="one of configurations/, or a file that ends in .json; "
                                                        "by default what fits the number of patients")
    start.add_argument("--steps", type=int, help="instead of the configuration's")
    start.add_argument("--detector", default="", metavar="NAME", help="that grades with the new classifier, instead "
                                                                      "of the shared one")
    start.set_defaults(run=run_start)
    parsers.add_parser("list", help="the runs of this installation").set_defaults(run=run_list)
    for name, run, told in (("stop", run_stop, "save the state and end"), ("resume", run_resume, "go on")):
        parser = parsers.add_parser(name, help=told)
        parser.add_argument("run_id", metavar="RUN", help="as `list` prints it")
        parser.set_defaults(run=run)


def _line(run: TrainingRun) -> str:
    left = "" if run.left_s is None else f", {run.left_s / 60:.0f} min left"
    return f"{run.id}  {run.state}  step {run.step} of {run.steps}{left}  {run.reason}".rstrip()


def _settings() -> Settings:
    try:
        return Settings.from_environment()
    except ValueError as error:
        raise Refusal(str(error)) from error
