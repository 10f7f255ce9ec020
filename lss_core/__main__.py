"""The command line: grade, simulate, train, evaluate, evaluate-real, and what the `*_commands` add.

Exit 0 done, 3 refused, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from lss_core import (
    analyse_commands,
    demo_commands,
    export_commands,
    import_commands,
    many_commands,
    study_commands,
    training_commands,
    worker_commands,
)
from lss_core.settings import Settings
from lss_core.vocabulary import RESEARCH_USE, Refusal

DONE, USAGE, REFUSED = 0, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a refusal is one sentence on standard error."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except Refusal as refusal:
        print(f"Refused: {refusal}", file=sys.stderr)
        return REFUSED


def build_parser() -> argparse.ArgumentParser:
    """The commands and their flags; those of `train` are the fields of the configurations."""
    parser = argparse.ArgumentParser(prog="python -m lss_core", description=RESEARCH_USE)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    grade = commands.add_parser("grade", help="grade the stenosis in a CT scan")
    grade.add_argument("path", type=Path, help="DICOM files, a folder, ZIP, DICOMDIR, NIfTI, or one PNG or JPEG")
    grade.add_argument("--model", default="v1", help="model version (default %(default)s)")
    grade.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    grade.add_argument("--explain", type=Path, metavar="DIR", help="write a PNG with heat map per region there")
    grade.add_argument("--method", default="layercam", help="heat map method (default %(default)s)")
    grade.add_argument("--pixel-spacing-mm", type=_positive, nargs=2, metavar=("ROW", "COLUMN"),
                       help="of a PNG or JPEG")
    export_commands.add_report_flags(grade)
    many_commands.add_many_flags(grade, _count)
    grade.set_defaults(run=run_grade)
    simulate = commands.add_parser("simulate", help="write simulated DICOM series and reference.csv")
    simulate.add_argument("out", type=Path)
    simulate.add_argument("--patients", type=_count, required=True)
    simulate.add_argument("--seed", type=int, required=True)
    simulate.set_defaults(run=run_simulate)
    train = commands.add_parser("train", help="train a network")
    _add_training(train)
    evaluate = commands.add_parser("evaluate", help="evaluate from end to end against a reference")
    _add_evaluation(evaluate)
    real = commands.add_parser("evaluate-real", help="on outlined real scans: narrowing imposed, and as they are")
    real.add_argument("scans", type=Path, help="folder of outlined scans (docs/training.md)")
    real.add_argument("--model", default="v1", help="model version (default %(default)s)")
    real.add_argument("--models", type=Path, metavar="DIR", help="where the model lies (default the shipped ones)")
    real.add_argument("--left-out", type=Path, metavar="DIR", help="where MODEL-without-SCAN lie, one a scan")
    real.add_argument("--only", metavar="SCAN", help="this scan alone")
    real.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    real.add_argument("--record", action="store_true", help="write the figures into the model's card")
    real.set_defaults(run=run_evaluate_real)
    study_commands.add_commands(commands)
    import_commands.add_commands(commands)
    demo_commands.add_commands(commands)
    analyse_commands.add_commands(commands)
    training_commands.add_commands(commands)
    worker_commands.add_commands(commands)
    export_commands.add_commands(commands)
    return parser


def run_grade(options: argparse.Namespace) -> int:
    """Grade a scan; prints one line per level, or the JSON report into a file."""
    from lss_core.grading.pipeline import Grader, refused_as_json, result_as_json
    from lss_core.imaging.dicom import read_scan

    if not options.path.exists():
        print(f"There is no file or folder {options.path}.", file=sys.stderr)
        return USAGE
    if options.many:
        return many_commands.run_many(options)
    grader = Grader.load(options.model, models=_models())
    model = {"version": grader.version, "weights_sha256": grader.weights_sha256}
    started = time.perf_counter()
    series_uid, read_s = "", 0.0
    try:
        spacing = tuple(options.pixel_spacing_mm) if options.pixel_spacing_mm else None
        volume = read_scan(options.path, pixel_spacing_mm=spacing)
        series_uid, read_s = volume.series_uid, time.perf_counter() - started
        origin = export_commands.origin_of_options(options, volume)
        result = grader.grade(volume)
        result = replace(result, timings_s={**result.timings_s, "read": read_s})
        if options.explain is not None:
            result = _explain(grader, volume, result, folder=options.explain, method=options.method)
    except Refusal as refusal:
        read_s = read_s or time.perf_counter() - started
        _write_json(options.json, refused_as_json(str(refusal), model=model, series_uid=series_uid, read_s=read_s))
        raise
    export_commands.write_reports(options, grader, volume, result, origin)
    _write_json(options.json, result_as_json(result, volume))
    print("\n".join(_result_lines(result, [result.provenance, *volume.notes, *result.notes])))
    return DONE


def _explain(grader: Any, volume: Any, result: Any, *, folder: Path, method: str) -> Any:
    """Write a PNG per graded region; returns the result with the time it took."""
    from lss_core.figures import region_picture
    from lss_core.imaging.volume import window

    started = time.perf_counter()
    graded = [(report, region, g) for report in result.levels for region, g in report.regions.items() if g is not None]
    heats = grader.explain(volume, [(r.slice_index, region, g.box, g.grade) for r, region, g in graded], method=method)
    folder.mkdir(parents=True, exist_ok=True)
    for (report, region, each), heat in zip(graded, heats, strict=True):
        level = report.level.value if report.level else f"slice {report.slice_index + 1}"
        picture = region_picture(
            window(volume.hu[report.slice_index], width=400, level=40), pixel_spacing_mm=volume.pixel_spacing_mm,
            box=each.box, heat=heat.values, heat_box=heat.box,
            caption=[f"{level} {region.label.lower()}: grade {each.grade.value} ({each.grade.label}), "
                     f"probability {max(each.probabilities):.2f}", f"{method}, model {result.model_version}"],
        )
        name = f"{level}-{region.value}.png".replace("/", "-").replace(" ", "-")
        (folder / name).write_bytes(picture)
    return replace(result, timings_s={**result.timings_s, "explain": time.perf_counter() - started})


def _result_lines(result: Any, notes: Sequence[str]) -> list[str]:
    lines = [RESEARCH_USE, f"Model {result.model_version}"]
    for report in result.levels:
        cells = [
            f"{region.label.lower()} " + ("not found" if g is None else f"{int(g.grade)} ({max(g.probabilities):.2f})")
            for region, g in report.regions.items()
        ]
        lines.append(f"{report.level or 'level unknown':13s} slice {report.slice_index + 1:4d}: " + ", ".join(cells))
    return [*lines, *dict.fromkeys(notes)]


def run_simulate(options: argparse.Namespace) -> int:
    """Write simulated patients."""
    from lss_core.simulation.series import write_simulated

    print(write_simulated(options.out, patients=options.patients, seed=options.seed))
    return DONE


def _add_training(parser: argparse.ArgumentParser) -> None:
    """One subcommand per network; the recipes are read lazily, because they import torch."""
    parser.add_argument("network", choices=("detector", "levels", "classifier"))
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="`train NETWORK --help` lists them")
    parser.set_defaults(run=run_train)


def run_train(options: argparse.Namespace) -> int:
    """Train with the flags of this network's recipe; each configuration file is a run of its own, in their order."""
    chooser = argparse.ArgumentParser(add_help=False)
    chooser.add_argument("--config", type=Path, nargs="+", default=[None])
    config, flags = chooser.parse_known_args(options.flags)
    for path in config.config:
        print(_train_once(options.network, path, flags))
    return DONE


def _train_once(name: str, config: Path | None, flags: Sequence[str]) -> Path:
    """Train one configuration; flags win over the file, and the file over the recipe."""
    from lss_core.training.configuration import read_configuration
    from lss_core.training.stopping import stop_on_sigterm
    from lss_core.training.train import RECIPES, train

    recipe = RECIPES[name]
    training, network = recipe.defaults, recipe.network()
    if config is not None:
        training, network = read_configuration(config, training=training, network=network)
    parser = argparse.ArgumentParser(prog=f"python -m lss_core train {name}")
    parser.add_argument("--config", type=Path, nargs="+", metavar="FILE", help="JSON that replaces the defaults below")
    _add_fields(parser.add_argument_group("training"), type(training), vars(training))
    _add_fields(parser.add_argument_group("network"), type(network), vars(network))
    values = vars(parser.parse_args(flags))
    training, network = _configured(training, values), _configured(network, values)
    return train(recipe.task(training, network), training, stop=stop_on_sigterm())


def _add_fields(group: Any, kind: type, defaults: Mapping[str, Any]) -> None:
    """A flag per field of a configuration dataclass."""
    hints = typing.get_type_hints(kind)
    for each in fields(kind):
        flag, default = "--" + each.name.replace("_", "-"), defaults.get(each.name, MISSING)
        described = f"default {default}"
        if hints[each.name] is bool:
            group.add_argument(flag, default=default, action=argparse.BooleanOptionalAction, help=described)
        else:
            group.add_argument(flag, default=default, type=_plain_type(hints[each.name]), help=described)


def _plain_type(hint: Any) -> Any:
    """`Path | None` parses as Path."""
    if isinstance(hint, types.UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    return hint


def _configured(defaults: Any, values: Mapping[str, Any]) -> Any:
    return replace(defaults, **{each.name: values[each.name] for each in fields(defaults)})


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    """What is evaluated on what, and where the figures go."""
    scans = parser.add_mutually_exclusive_group(required=True)
    scans.add_argument("--simulated", type=_count, metavar="N", help="N patients rendered in memory")
    scans.add_argument("--data", type=Path, metavar="DIR", help="scans with reference.csv")
    parser.add_argument("--seed", type=int, default=1_000_000, help="of simulated patients, kept from training")
    parser.add_argument("--scans", choices=("simulated", "imposed", "real"), help="what the scans of --data are")
    parser.add_argument("--model", nargs="+", default=["v1"], metavar="VERSION", help="several are compared in pairs")
    parser.add_argument("--models", type=Path, metavar="DIR", help="where the models lie")
    parser.add_argument("--workers", type=_count, default=1, metavar="N", help="processes (default %(default)s)")
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help="keep outcomes there, and go on where they end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the model card there")
    parser.add_argument("--record", action="store_true", help="write the figures into the model's card")
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate, print the figures, and keep them where asked."""
    from lss_core.training.evaluate import ModelFolder
    from lss_core.training.evaluation_run import Outputs, run_evaluation
    from lss_core.training.scan_sets import ReferenceSet, SetKind, SimulatedSet

    if options.data is None:
        scans = SimulatedSet(options.simulated, options.seed)
    else:
        scans = ReferenceSet.open(options.data, SetKind(options.scans) if options.scans else None)
    models = ModelFolder(tuple(dict.fromkeys(options.model)), options.models or _models())
    outputs = Outputs(folder=options.resume, json=options.json, html=options.html, record=options.record)
    text = run_evaluation(
        scans, models, outputs, workers=options.workers, report=lambda line: print(line, flush=True)
    )
    print(text)
    return DONE


def run_evaluate_real(options: argparse.Namespace) -> int:
    """Evaluate on outlined real scans, print the figures, and keep them where asked."""
    from lss_core.grading.checkpoint import record_metrics
    from lss_core.training.imposed import evaluate_outlined, figures_as_text
    from lss_core.training.outlined import read_outlined_scans

    folder = options.models or _models()
    scans = [scan for scan in read_outlined_scans(options.scans) if options.only in (None, scan.name)]
    if not scans:
        raise Refusal(f"There is no outlined scan {options.only!r} in {options.scans.name}; name one of its folders.")
    figures = evaluate_outlined(scans, options.model, models=folder, left_out=options.left_out)
    print(figures_as_text(figures))
    _write_json(options.json, figures)
    if options.record:
        for name in ("imposed", "untouched"):
            record_metrics(folder, options.model, name, figures[name])
    return DONE


def _models() -> Path:
    """Where this installation's models lie."""
    try:
        return Settings.from_environment().models
    except ValueError as error:
        raise Refusal(str(error)) from error


def _write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


if __name__ == "__main__":
    sys.exit(main())
