"""Whether heat maps say what the network looks at: pointing, deletion, insertion, and the check with random weights.

    python -m benchmarks.heat_maps [--model v1] [--patients 30] [--seed 1000500] [--json FILE]

Simulated discs of evaluation seeds, each region in a crop around its reference box, moved by a detector's error. The
map explains the grade that the network gives this crop. Four figures a map:

- pointing: the map's maximum lies in the reference box (Zhang 2016, arXiv 1608.00507); heat within: share of the map's
  sum that does. Chance is the box's share of the crop's area.
- deletion and insertion (Petsiuk 2018, arXiv 1806.07421): area under the probability of the explained grade while the
  hottest pixels first are blurred, or brought back into a blurred crop. A faithful map has low deletion and high
  insertion; `faithfulness` is insertion less deletion, and methods are ranked by it.

Two maps that know nothing stand beside the methods: smooth noise, as coarse as a feature map, and a Gaussian at the
crop's centre, which is strong because crops are made around the region. The check with random weights (Adebayo 2018,
arXiv 1810.03292) compares maps with those of networks whose weights are shuffled within each tensor, from the heads
down; maps that stay alike do not show what was learned. Intervals are bootstraps over patients.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.stats import rankdata
from torch import nn

from lss_core.grading.checkpoint import load_checkpoint
from lss_core.grading.classifier import Classifier, ClassifierConfig, build_classifier, crop_stack, field_mm, is_recess
from lss_core.grading.explain import METHODS, heat_maps
from lss_core.grading.pipeline import MODELS
from lss_core.simulation.anatomy import sample_patient
from lss_core.simulation.render import sample_acquisition
from lss_core.simulation.samples import LevelSample, render_level
from lss_core.simulation.series import patient_seed
from lss_core.statistics.estimate import Estimate, bootstrap_sums
from lss_core.training.data import check_evaluation_seed
from lss_core.vocabulary import Box, DiscLevel, Grade, Region

MOVED_MM = 2.0              # each way: a detector's error
BLUR_MM = 5.0               # removes the sac's outline and the facet's edge
STEPS = 10
BATCH = 30                  # maps made at once
CENTRE_SHARE = 1 / 6        # standard deviation of the centre map, of the crop's side
COARSE_PX = 16              # cell of the smooth noise: stride of the feature maps
FIGURES = ("pointing", "heat within", "deletion", "insertion", "faithfulness")
KNOWING_NOTHING = ("centre", "noise")
ANOTHER = "another crop"    # similarity of maps of two crops, same weights: what resemblance means nothing
KINDS = {"central_canal": False, "lateral_recess": True}
Probability = Callable[[np.ndarray], np.ndarray]        # crops [n, 5, px, px] to the explained grade's probability [n]


@dataclass(frozen=True)
class Case:
    """One region's crop as the network sees it (right sides mirrored), with the reference box and what is explained."""

    patient: str
    region: Region
    crop: np.ndarray            # float32 [5, px, px]
    inside: np.ndarray          # bool [px, px]
    explained: Grade


def box_mask(
    box: Box, *, centre: tuple[float, float], pixel_spacing_mm: tuple[float, float], size_mm: float, size_px: int
) -> np.ndarray:
    """Bool [size_px, size_px]: pixels of a crop around `centre` whose middle lies in the box; see `crop`."""
    offsets_mm = (np.arange(size_px) - (size_px - 1) / 2) * size_mm / size_px
    rows, cols = (offsets_mm / mm + at for mm, at in zip(pixel_spacing_mm, centre, strict=True))
    down, across = (rows >= box.row0) & (rows <= box.row1), (cols >= box.col0) & (cols <= box.col1)
    return down[:, None] & across[None, :]


def points_into(heat: np.ndarray, inside: np.ndarray) -> float:
    """1 where the map's maximum lies inside, else 0; an empty map points nowhere."""
    return float(heat.max() > 0 and inside.flat[int(heat.argmax())])


def share_within(heat: np.ndarray, inside: np.ndarray) -> float:
    """Share of the map's sum that lies inside, 0 for an empty map."""
    total = float(heat.sum())
    return float(heat[inside].sum()) / total if total > 0 else 0.0


def removal_ranks(heat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place of each pixel, 0..1, when the hottest go first; pixels of one heat go in random order."""
    order = np.lexsort((rng.random(heat.size), -heat.ravel()))
    ranks = np.empty(heat.size)
    ranks[order] = (np.arange(heat.size) + 0.5) / heat.size
    return ranks.reshape(heat.shape)


def deletion_and_insertion(
    probability: Probability, crop: np.ndarray, blurred: np.ndarray, ranks: np.ndarray, *, steps: int = STEPS
) -> tuple[float, float]:
    """Areas under the probability while pixels are blurred, and while they are brought back; each 0..1.

    Args:
        crop: [channel, row, column], as `blurred`, which holds nothing that a grade could rest on.
        ranks: [row, column] of `removal_ranks`.
    """
    shares = np.linspace(0, 1, steps + 1)
    gone = (ranks[None] < shares[:, None, None])[:, None]
    p = probability(np.concatenate([np.where(gone, blurred, crop), np.where(gone, crop, blurred)]))
    return float(np.trapezoid(p[: steps + 1], shares)), float(np.trapezoid(p[steps + 1 :], shares))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of two maps; 0 where one is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def structural_similarity(a: np.ndarray, b: np.ndarray, *, window_px: int = 7) -> float:
    """Mean SSIM of two maps in 0..1 over uniform windows (Wang, IEEE Trans. Image Process. 2004;13:600-612)."""
    a, b = a.astype(np.float64), b.astype(np.float64)

    def mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, window_px)

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    brightness, contrast = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + brightness) * (2 * covariance + contrast)
    return float((similarity / ((mean_a**2 + mean_b**2 + brightness) * (variance_a + variance_b + contrast))).mean())


def centre_map(size_px: int) -> np.ndarray:
    """A Gaussian at the middle of the crop."""
    offsets = (np.arange(size_px) - (size_px - 1) / 2) / (CENTRE_SHARE * size_px)
    return np.exp(-0.5 * (offsets[:, None] ** 2 + offsets[None, :] ** 2)).astype(np.float32)


def noise_map(size_px: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in 0..1, as coarse as a feature map."""
    cells = Image.fromarray(rng.random((size_px // COARSE_PX,) * 2, np.float32), mode="F")
    return np.asarray(cells.resize((size_px, size_px), Image.Resampling.BILINEAR))


def simulated_cases(classifier: Classifier, *, patients: int, seed: int) -> Iterator[Case]:
    """Every region of every disc of patients whom training never saw."""
    check_evaluation_seed(seed)
    for number in range(patients):
        rng = np.random.default_rng(patient_seed(seed, number))
        patient = sample_patient(rng)
        acquisition = sample_acquisition(rng, patient)
        for level in DiscLevel:
            sample = render_level(patient, level, acquisition, rng)
            if sample is not None:
                for region in sample.regions:
                    yield _case(classifier, f"SIM-{seed}-{number:04d}", sample, region, rng)


def _case(
    classifier: Classifier, patient: str, sample: LevelSample, region: Region, rng: np.random.Generator
) -> Case:
    config, box, spacing = classifier.config, sample.regions[region].box, (sample.pixel_mm, sample.pixel_mm)
    down, across = rng.uniform(-MOVED_MM, MOVED_MM, 2) / sample.pixel_mm
    centre = (box.centre[0] + float(down), box.centre[1] + float(across))
    crop = crop_stack(sample.hu, pixel_spacing_mm=spacing, region=region, centre=centre, config=config)
    mask = box_mask(
        box, centre=centre, pixel_spacing_mm=spacing, size_mm=field_mm(region, config), size_px=config.crop_px
    )
    grade = Grade(int(grade_probabilities(classifier, crop[None], region)[0].argmax()))
    return Case(patient, region, crop, as_seen(mask, region), grade)


def as_seen(picture: np.ndarray, region: Region) -> np.ndarray:
    """From the patient's sides to the network's, and back: right recesses are mirrored."""
    return np.ascontiguousarray(picture[:, ::-1]) if region is Region.RIGHT_LATERAL_RECESS else picture


def grade_probabilities(classifier: Classifier, crops: np.ndarray, region: Region) -> np.ndarray:
    """[n, 4] for crops of one region, one view each, not calibrated."""
    batch = torch.from_numpy(crops).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        output = classifier(batch, torch.full((len(crops),), is_recess(region)))
        return output.grade_log_probabilities().exp().numpy()


def blurred_crop(crop: np.ndarray, region: Region, config: ClassifierConfig) -> np.ndarray:
    """A crop without the detail that grades rest on."""
    sigma_px = BLUR_MM / field_mm(region, config) * config.crop_px
    return gaussian_filter(crop, (0, sigma_px, sigma_px), mode="nearest")


def maps_of(classifier: Classifier, cases: Sequence[Case], method: str) -> np.ndarray:
    """A method's maps [case, px, px], as the network sees the crops."""
    regions = [case.region for case in cases]
    maps = heat_maps(
        classifier, np.stack([case.crop for case in cases]), regions, [case.explained for case in cases], method=method
    )
    return np.stack([as_seen(each, region) for each, region in zip(maps, regions, strict=True)])


def scores(classifier: Classifier, case: Case, heat: np.ndarray, rng: np.random.Generator) -> list[float]:
    """The FIGURES of one map."""
    deletion, insertion = deletion_and_insertion(
        lambda crops: grade_probabilities(classifier, crops, case.region)[:, case.explained],
        case.crop, blurred_crop(case.crop, case.region, classifier.config), removal_ranks(heat, rng),
    )
    return [
        points_into(heat, case.inside), share_within(heat, case.inside), deletion, insertion, insertion - deletion
    ]


def shuffled_from_the_heads(classifier: Classifier, seed: int) -> Iterator[tuple[str, Classifier]]:
    """Copies of a network with ever more of its weights shuffled within each tensor, which keeps their scale."""
    rng, copied = np.random.default_rng(seed), copy.deepcopy(classifier)
    backbone = [(name, [part]) for name, part in _blocks(copied.backbone) if list(part.parameters())]
    masks = [] if copied.masks is None else [("masks", [copied.masks])]
    parts = [("heads", [copied.canal_head, copied.recess_head]), *masks, *backbone[::-1]]
    for number, (name, modules) in enumerate(parts):
        for module in modules:
            _shuffle(module, rng)
        yield ("all" if number == len(parts) - 1 else name), copied


def _blocks(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A backbone's parts from the input to its last feature map, sequences of blocks one by one."""
    last = backbone.feature_info.module_name()[-1]  # type: ignore[union-attr, operator]
    for name, part in backbone.named_children():
        inner = part.named_children() if isinstance(part, nn.Sequential) else [("", part)]
        for number, block in inner:
            full = f"{name}.{number}" if number else name
            yield full, block
            if full == last:
                return
        if name == last:
            return


def _shuffle(module: nn.Module, rng: np.random.Generator) -> None:
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.flatten()[torch.from_numpy(rng.permutation(tensor.numel()))].view_as(tensor))


@dataclass(frozen=True)
class Similarities:
    """How alike maps are to those of one stage of shuffling: [case, (Spearman, SSIM)]."""

    stage: str
    values: np.ndarray


def similarities(a: np.ndarray, b: np.ndarray) -> list[list[float]]:
    """Spearman and SSIM of each pair of maps."""
    return [[rank_correlation(p, q), structural_similarity(p, q)] for p, q in zip(a, b, strict=True)]


def weight_check(classifier: Classifier, cases: Sequence[Case], method: str, seed: int) -> list[Similarities]:
    """Compare maps with those of shuffled networks, drawn anew for each patient, and with another crop's."""
    by_stage: dict[str, list[list[float]]] = {}
    for number, patient in enumerate(dict.fromkeys(case.patient for case in cases)):
        own = [case for case in cases if case.patient == patient]
        maps = maps_of(classifier, own, method)
        by_stage.setdefault(ANOTHER, []).extend(similarities(maps, np.roll(maps, len(Region), axis=0)))
        for stage, shuffled in shuffled_from_the_heads(classifier, seed + number):
            by_stage.setdefault(stage, []).extend(similarities(maps, maps_of(shuffled, own, method)))
    return [Similarities(stage, np.array(values)) for stage, values in by_stage.items()]


def patient_mean(values: np.ndarray, patients: Sequence[str]) -> Estimate:
    """Mean over observations with a bootstrap over patients."""
    names, cluster = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.zeros((len(names), 2))
    np.add.at(sums, cluster, np.stack([values, np.ones(len(values))], axis=1))
    return bootstrap_sums(sums, lambda total: total[:, 0] / total[:, 1])


def measure(
    classifier: Classifier, cases: Sequence[Case], *, methods: Sequence[str], report: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """FIGURES [case, figure] of every method and of the maps that know nothing."""
    out: dict[str, np.ndarray] = {}
    size_px, rng = classifier.config.crop_px, np.random.default_rng(0)
    for method in (*methods, *KNOWING_NOTHING):
        if method == "centre":
            maps = [centre_map(size_px)] * len(cases)
        elif method == "noise":
            maps = [noise_map(size_px, rng) for _ in cases]
        else:
            batches = (cases[k : k + BATCH] for k in range(0, len(cases), BATCH))
            maps = [heat for batch in batches for heat in maps_of(classifier, batch, method)]
        out[method] = np.array([scores(classifier, c, heat, rng) for c, heat in zip(cases, maps, strict=True)])
        report(f"{method}: {len(cases)} maps measured")
    return out


def summary(
    cases: Sequence[Case], figures: Mapping[str, np.ndarray], checks: Mapping[str, Sequence[Similarities]]
) -> dict[str, Any]:
    """Estimates by kind of region; differences are paired, method less the map that knows nothing or less gradcam."""
    out: dict[str, Any] = {}
    for kind, recess in KINDS.items():
        of_kind = np.array([is_recess(case.region) == recess for case in cases])
        chosen = [case for case in cases if is_recess(case.region) == recess]
        patients = [case.patient for case in chosen]
        kept = {method: values[of_kind] for method, values in figures.items()}
        out[kind] = {
            "crops": len(patients),
            "box_share_of_area": float(np.mean([case.inside.mean() for case in chosen])),
            "methods": {method: _by_figure(values, patients) for method, values in kept.items()},
            "differences": {
                f"{method} - {other}": _by_figure(values - kept[other], patients)
                for method, values in kept.items() if method not in KNOWING_NOTHING
                for other in ("gradcam", *KNOWING_NOTHING) if other != method and other in kept
            },
            "random_weights": {
                method: {s.stage: _by_similarity(s, of_kind, patients) for s in stages}
                for method, stages in checks.items()
            },
        }
    return out


def _by_figure(values: np.ndarray, patients: Sequence[str]) -> dict[str, Estimate]:
    return {name: patient_mean(values[:, k], patients) for k, name in enumerate(FIGURES)}


def _by_similarity(stage: Similarities, of_kind: np.ndarray, patients: Sequence[str]) -> dict[str, Estimate]:
    values = stage.values[of_kind[: len(stage.values)]]
    return {name: patient_mean(values[:, k], patients[: len(values)]) for k, name in enumerate(("spearman", "ssim"))}


def as_lines(statement: str, results: Mapping[str, Any]) -> Iterator[str]:
    """The table for a terminal."""
    yield statement
    for kind, part in results.items():
        yield f"\n{kind}: {part['crops']} crops; the box is {part['box_share_of_area']:.3f} of the crop (chance level)"
        yield f"  {'':12}" + "".join(f"{name:>23}" for name in FIGURES)
        for method, estimates in part["methods"].items():
            yield f"  {method:12}" + "".join(f"{_cell(estimates[name]):>23}" for name in FIGURES)
        yield "  faithfulness, paired differences"
        for pair, estimates in part["differences"].items():
            yield f"    {pair:24} {estimates['faithfulness']}"
        yield "  likeness to maps of shuffled weights, Spearman (SSIM); it should fall to that of another crop's map"
        for method, stages in part["random_weights"].items():
            shown = ", ".join(
                f"{stage} {each['spearman'].value:.2f} ({each['ssim'].value:.2f})" for stage, each in stages.items()
            )
            yield f"    {method:12} {shown}"
        yield f"  {verdict(part)}"


def _cell(estimate: Estimate) -> str:
    """An estimate in a table's width; a figure that no resample moves has no interval."""
    if np.isnan(estimate.low):
        return f"{estimate.value:.3f} (no interval)"
    return f"{estimate.value:.3f} ({estimate.low:.3f}, {estimate.high:.3f})"


def verdict(part: Mapping[str, Any]) -> str:
    """Which method is the most faithful, and whether it differs from gradcam beyond chance."""
    names = [name for name in part["methods"] if name not in KNOWING_NOTHING]
    best = max(names, key=lambda name: part["methods"][name]["faithfulness"].value)
    if best == "gradcam" or f"{best} - gradcam" not in part["differences"]:
        return f"Most faithful: {best}."
    difference = part["differences"][f"{best} - gradcam"]["faithfulness"]
    sure = "beyond chance" if difference.low > 0 else "within chance"
    return f"Most faithful: {best}; over gradcam by {difference}, {sure}."


def statement_of(model: str, sha256: str, cases: Sequence[Case], *, seed: int, checked: int) -> str:
    patients = len({case.patient for case in cases})
    return (
        f"Measured on SIMULATED CT, which says nothing about patients: model {model} (weights {sha256[:12]}), "
        f"{len(cases)} crops of {patients} patients of evaluation seed {seed}, boxes of the simulation moved by up to "
        f"{MOVED_MM:g} mm each way, one view, not calibrated; random weights on {checked} of the patients."
    )


def plain(value: Any) -> Any:
    """Estimates as JSON values, NaN as null."""
    if isinstance(value, Estimate):
        return {key: None if isinstance(v, float) and np.isnan(v) else v for key, v in asdict(value).items()}
    return {key: plain(each) for key, each in value.items()} if isinstance(value, Mapping) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="v1")
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--check-patients", type=int, default=8, help="of these, for the check with random weights")
    parser.add_argument("--seed", type=int, default=1_000_500)
    parser.add_argument("--methods", default=",".join(METHODS), help="names with commas between")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    classifier, card = load_checkpoint(MODELS, options.model, kind="classifier", build=build_classifier)
    methods = [name for name in options.methods.split(",") if name]
    cases = list(simulated_cases(classifier, patients=options.patients, seed=options.seed))
    checked = list(dict.fromkeys(case.patient for case in cases))[: options.check_patients]
    first = [case for case in cases if case.patient in checked]
    figures = measure(classifier, cases, methods=methods, report=lambda line: print(line, flush=True))
    checks = {method: weight_check(classifier, first, method, options.seed) for method in methods}
    results = summary(cases, figures, checks)
    statement = statement_of(options.model, card.weights_sha256, cases, seed=options.seed, checked=len(checked))
    print("\n".join(as_lines(statement, results)))
    if options.json:
        report = {
            "statement": statement, "model": options.model, "weights_sha256": card.weights_sha256,
            "seed": options.seed, "patients": options.patients, "check_patients": len(checked), "steps": STEPS,
            "blur_mm": BLUR_MM, "moved_mm": MOVED_MM, "results": plain(results),
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
