"""Forward time of a classifier in several runtimes, as ratios to eager torch with channels_last in the same process.

    python -m benchmarks.classifier_speed [--model v2] [--crops 45] [--backbones resnet18,tf_efficientnet_lite0]

Every runtime computes in float32 and takes any batch size. ONNX Runtime (onnxruntime, onnx, onnxscript) and OpenVINO
are no dependencies of the project: what is not installed is said and left out. Times are medians of interleaved
repeats on random crops; the largest difference of a grade's probability to eager torch stands beside them.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lss_core.grading.checkpoint import load_checkpoint
from lss_core.grading.classifier import CROP_CHANNELS, Classifier, ClassifierConfig, CropOutput, build_classifier
from lss_core.grading.pipeline import MODELS

Forward = Callable[[np.ndarray, np.ndarray], np.ndarray]    # crops, is_recess to (B, OUTPUTS)
SETTLE_S = 0.02             # lets the threads of the last runtime stop spinning


@dataclass(frozen=True)
class Runtime:
    """A way to run a classifier."""

    name: str
    needs: tuple[str, ...]                                  # modules beside torch
    prepare: Callable[[RawModel, int], Forward]           # from the model and a number of threads

    def missing(self) -> list[str]:
        return [module for module in self.needs if importlib.util.find_spec(module) is None]


@dataclass(frozen=True)
class Timing:
    """One runtime of one network: seconds as medians, `ratio` to eager torch; below 1 is faster."""

    network: str
    runtime: str
    threads: int
    crops: int
    median_s: float
    ratio: float
    slowest_ratio: float        # median of the slower half of the repeats over that of eager torch
    probability_difference: float
    prepare_s: float


class RawModel(nn.Module):
    """A classifier from crops and sides to its raw (B, OUTPUTS) numbers.

    What follows them stays in torch: ONNX has no expm1, without which small masses between thresholds lose digits.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, crops: torch.Tensor, is_recess: torch.Tensor) -> torch.Tensor:
        return self.classifier.outputs(crops, is_recess)


def example(config: ClassifierConfig, crops: int) -> tuple[np.ndarray, np.ndarray]:
    """Random crops and which of them are recesses: one canal, then two recesses, as at a level."""
    rng = np.random.default_rng(0)
    images = rng.random((crops, CROP_CHANNELS, config.crop_px, config.crop_px), np.float32)
    return images, np.arange(crops) % 3 > 0


def _tensors(crops: np.ndarray, is_recess: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    batch = torch.from_numpy(crops).contiguous(memory_format=torch.channels_last)
    return batch, torch.from_numpy(is_recess)


def eager(model: RawModel, threads: int) -> Forward:
    """Torch as the grader runs it."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(crops: np.ndarray, is_recess: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(*_tensors(crops, is_recess)).numpy()

    return forward


def eager_cut(model: RawModel, threads: int) -> Forward:
    """Torch without the blocks behind the last feature map, which timm runs for nothing in EfficientNets."""
    backbone: Any = model.classifier.backbone
    kind, _, last = backbone.feature_info.module_name()[-1].partition(".")
    if kind == "blocks" and last.isdigit():
        backbone.blocks = backbone.blocks[: int(last) + 1]
    return eager(model, threads)


def torchscript(model: RawModel, threads: int) -> Forward:
    """torch.jit: traced, frozen, optimised for inference."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")                     # traces warn of constants, which are meant
        traced = torch.jit.trace(model, _tensors(*example(model.classifier.config, 6)), check_trace=False)
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def forward(crops: np.ndarray, is_recess: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return frozen(*_tensors(crops, is_recess)).numpy()

    return forward


def onnx_runtime(model: RawModel, threads: int) -> Forward:
    """ONNX Runtime on the processor, from torch's exporter."""
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(exported(model), options, providers=["CPUExecutionProvider"])

    def forward(crops: np.ndarray, is_recess: np.ndarray) -> np.ndarray:
        return session.run(None, {"crops": crops, "is_recess": is_recess})[0]

    return forward


def exported(model: RawModel) -> bytes:
    """The model in ONNX with a free batch size."""
    batch = torch.export.Dim("batch", min=2, max=256)
    program = torch.onnx.export(
        model, _tensors(*example(model.classifier.config, 6)), dynamo=True, verbose=False,
        input_names=["crops", "is_recess"], dynamic_shapes={"crops": {0: batch}, "is_recess": {0: batch}},
    )
    if program is None:
        raise SystemExit("torch.onnx.export gave no program; update torch or onnxscript.")
    return program.model_proto.SerializeToString()


def openvino(model: RawModel, threads: int) -> Forward:
    """OpenVINO on the processor, held at float32."""
    ov = importlib.import_module("openvino")
    config = model.classifier.config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = ov.convert_model(
            model, example_input=_tensors(*example(config, 6)),
            input=[("crops", [-1, CROP_CHANNELS, config.crop_px, config.crop_px]), ("is_recess", [-1])],
        )
    compiled = ov.Core().compile_model(converted, "CPU", {
        "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
    })
    request = compiled.create_infer_request()

    def forward(crops: np.ndarray, is_recess: np.ndarray) -> np.ndarray:
        return request.infer({0: crops, 1: is_recess})[0].copy()

    return forward


RUNTIMES = (
    Runtime("torch eager", (), eager),
    Runtime("torch cut", (), eager_cut),
    Runtime("torchscript", (), torchscript),
    Runtime("onnxruntime", ("onnxruntime", "onnx", "onnxscript"), onnx_runtime),
    Runtime("openvino f32", ("openvino",), openvino),
)


def compare(network: str, build: Callable[[], Classifier], *, crops: int, threads: int, repeats: int) -> list[Timing]:
    """Time every installed runtime on one network, taking turns."""
    torch.set_num_threads(threads)
    runtimes = [runtime for runtime in RUNTIMES if not runtime.missing()]
    forwards, prepare_s = [], []
    for runtime in runtimes:
        started = time.perf_counter()
        forwards.append(runtime.prepare(RawModel(build()).eval().requires_grad_(False), threads))
        prepare_s.append(time.perf_counter() - started)
    inputs = example(build().config, crops)
    outputs = [[forward(*inputs) for _ in range(3)][-1] for forward in forwards]    # also warms up
    grades = [grade_probabilities(output, inputs[1]) for output in outputs]
    took = interleaved([lambda f=f: f(*inputs) for f in forwards], repeats)
    medians, slow = np.median(took, axis=0), np.quantile(took, 0.75, axis=0)
    return [
        Timing(
            network, runtime.name, threads, crops, float(medians[k]), float(medians[k] / medians[0]),
            float(slow[k] / slow[0]), float(np.abs(grades[k] - grades[0]).max()), prepare_s[k],
        )
        for k, runtime in enumerate(runtimes)
    ]


def grade_probabilities(raw: np.ndarray, is_recess: np.ndarray) -> np.ndarray:
    """[B, 4] of raw outputs."""
    return CropOutput(torch.from_numpy(raw), torch.from_numpy(is_recess)).grade_log_probabilities().exp().numpy()


def interleaved(actions: Sequence[Callable[[], object]], repeats: int) -> np.ndarray:
    """Seconds [repeat, action], the actions taking turns in an order that rotates."""
    took = np.empty((repeats, len(actions)))
    for repeat in range(repeats):
        for turn in range(len(actions)):
            k = (turn + repeat) % len(actions)
            time.sleep(SETTLE_S)
            started = time.perf_counter()
            actions[k]()
            took[repeat, k] = time.perf_counter() - started
    return took


def networks(model: str | None, backbones: Sequence[str]) -> Mapping[str, Callable[[], Classifier]]:
    """The shipped model, if named, and untrained classifiers on other backbones at stride 16 with crops of 96 px."""
    out: dict[str, Callable[[], Classifier]] = {}
    if model is not None:
        out[f"model {model}"] = lambda: load_checkpoint(MODELS, model, kind="classifier", build=build_classifier)[0]
    for backbone in backbones:
        out[backbone] = lambda name=backbone: _untrained(name)
    return out


def _untrained(backbone: str) -> Classifier:
    """The same random weights at every call, normalised on random crops, with heads whose grades tell crops apart."""
    torch.manual_seed(0)
    classifier = Classifier(ClassifierConfig(backbone=backbone, feature_level=3, crop_px=96))
    for module in classifier.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.2)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None                          # the average over the crops seen
    with torch.no_grad():
        classifier.train()(*_tensors(*example(classifier.config, 12)))
    return classifier.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a shipped classifier; beside the backbones")
    parser.add_argument("--backbones", default="", help="timm names with commas between; random weights")
    parser.add_argument("--crops", type=int, default=45)
    parser.add_argument("--threads", default="1,2", help="numbers with commas between")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the timings here")
    options = parser.parse_args()
    backbones = [name for name in options.backbones.split(",") if name]
    for runtime in RUNTIMES:
        if runtime.missing():
            print(f"{runtime.name} is left out: {', '.join(runtime.missing())} not installed")
    print(f"{platform.machine()}, torch {torch.__version__}; medians of {options.repeats} interleaved repeats on "
          f"{options.crops} crops; ratios are to eager torch with channels_last")
    timings: list[Timing] = []
    for name, build in networks(options.model if options.model or backbones else "v1", backbones).items():
        for threads in map(int, options.threads.split(",")):
            timings += compare(name, build, crops=options.crops, threads=threads, repeats=options.repeats)
            for t in timings[-sum(not r.missing() for r in RUNTIMES):]:
                print(f"{t.network:28} {t.threads} thr  {t.runtime:14} {t.median_s * 1000:8.1f} ms  "
                      f"ratio {t.ratio:.2f} (slow quarter {t.slowest_ratio:.2f})  "
                      f"largest difference {t.probability_difference:.1e}  ready in {t.prepare_s:.1f} s", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(timing) for timing in timings], indent=1) + "\n")


if __name__ == "__main__":
    main()
