"""From a volume to grades: find the canal, the discs and their regions, grade them, explain them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_fill_holes

from lss_core.grading.checkpoint import Card, load_checkpoint
from lss_core.grading.classifier import (
    Classifier,
    build_classifier,
    field_mm,
    neighbours,
    region_crop,
)
from lss_core.grading.detector import Detection, Detector, SliceFinding, build_detector, find_regions
from lss_core.grading.doubt import LEAST_GRADABLE, Judgement, calibration_of, grade_views, judge, region_views
from lss_core.grading.explain import DEFAULT_METHOD, HeatMap, heat_maps
from lss_core.grading.levels import (
    MIN_EXTENT_MM,
    DiscFinding,
    LevelNetwork,
    build_level_network,
    find_levels,
    one_spine,
    trace_canal,
)
from lss_core.grading.refusal import implausible, oddly_placed, region_refusal
from lss_core.imaging.straighten import CanalLine, in_plane_pixels
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Box, DiscLevel, Grade, LevelReport, Refusal, Region, RegionGrade

MODELS = Path(__file__).resolve().parents[2] / "models"
SHARED_DETECTOR = "detector"
SEARCH_PITCH_MM = 2.0               # thinner slices are searched at about this distance
BONE_HU = 200
LUNG_HU = (-950, -300)               # gas in bowel is darker
LUNG_SHARE = 0.06                   # of the body's cross-section; the bases of the lungs at L1 stay below 0.03
NO_LUMBAR_SPINE = "This scan shows no lumbar spine: {}. Choose an axial series through the lumbar discs."
NOT_FOUND = "The {} was not found on this slice; place a box on it to have it graded."
NUMBERING_DOUBTED = (
    "The numbering of the levels is in doubt: counted from the sacrum, the first thoracic disc does not lie just above "
    "L1/2. There may be a vertebra more or less than usual; check which disc each level is."
)
NOT_AT_A_DISC = "This does not look like the {} at a lumbar disc; choose a slice through the disc, or move the box."
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class GradingResult:
    """Everything that grading a volume gives; levels run from the head down."""

    levels: tuple[LevelReport, ...]
    series_uid: str
    model_version: str
    weights_sha256: str
    timings_s: Mapping[str, float]
    notes: tuple[str, ...]          # about this scan
    provenance: str                 # what the model's grades rest on
    set_coverage: float | None = None   # share of true grades that `grade_set` is made to hold; None: no sets


@dataclass(frozen=True)
class Located:
    """The regions of one disc, before they are graded."""

    level: DiscLevel | None
    slice_index: int
    regions: dict[Region, Detection | None]
    level_doubted: bool = False         # thoracic discs contradict the level

    @property
    def boxes(self) -> dict[Region, Box]:
        """Of the regions that were found."""
        return {region: detection.box for region, detection in self.regions.items() if detection is not None}


class Grader:
    """The networks of one model version. It holds no state besides them, so threads may share it."""

    def __init__(
        self, detector: Detector, level_network: LevelNetwork, classifier: Classifier, card: Card, *, locator: str = ""
    ) -> None:
        """Put networks together.

        Args:
            locator: Names what locates the regions; graders of one name locate them alike.
        """
        self._detector, self._level_network, self._classifier = detector, level_network, classifier
        self.card, self.locator = card, locator
        self._calibration = calibration_of(card.calibration)

    @classmethod
    def load(cls, version: str = "v1", *, models: Path = MODELS, locators: Path | None = None) -> Grader:
        """Load the detector, the level network and one version of the classifier.

        Args:
            models: Folder of the classifier.
            locators: Folder of the detector and the level network; None means the same.

        Raises:
            Refusal: a file is missing or is not what its card says.
        """
        beside = locators or models
        classifier, card = load_checkpoint(models, version, kind="classifier", build=build_classifier)
        detector, found_by = load_checkpoint(beside, detector_of(card), kind="detector", build=build_detector)
        level_network, counted_by = load_checkpoint(beside, "levels", kind="levels", build=build_level_network)
        locator = f"{found_by.weights_sha256} {counted_by.weights_sha256}"
        return cls(detector, level_network, classifier, card, locator=locator)

    @property
    def version(self) -> str:
        return self.card.name

    @property
    def weights_sha256(self) -> str:
        return self.card.weights_sha256

    @property
    def networks(self) -> tuple[Detector, LevelNetwork, Classifier]:
        return self._detector, self._level_network, self._classifier

    def grade(
        self, volume: Volume, *, progress: Progress | None = None, located: Sequence[Located] | None = None
    ) -> GradingResult:
        """Find and grade the disc levels of a volume.

        Args:
            progress: Called with what is being done and the share of all work done, 0..1.
            located: What `locate` gave for this volume, where another version of the model has looked already.

        Raises:
            Refusal: no lumbar spine, or no disc, is to be seen.
        """
        tell = progress or (lambda what, share: None)
        started = time.perf_counter()
        if located is None:
            located = self.locate(volume, progress=lambda share: tell("Locating the discs", 0.85 * share))
        found = time.perf_counter()
        tell("Grading", 0.85)
        levels = self._graded(volume, located)
        tell("Graded", 1.0)
        return GradingResult(
            levels=levels, series_uid=volume.series_uid, model_version=self.version, weights_sha256=self.weights_sha256,
            timings_s={"read": 0.0, "locate": found - started, "grade": time.perf_counter() - found, "explain": 0.0},
            notes=tuple(notes_on(volume, levels)), provenance=_provenance(self.card),
            set_coverage=None if self._calibration is None else self._calibration.coverage,
        )

    def locate(self, volume: Volume, *, progress: Callable[[float], None] | None = None) -> list[Located]:
        """The disc levels of a volume with their regions, from the head down."""
        _refuse_unlike_ct(volume)
        findings = self._search(volume, progress or (lambda share: None))
        lumbar = [f for f in findings if f.regions[Region.CENTRAL_CANAL] is not None]
        if not lumbar:
            raise Refusal(NO_LUMBAR_SPINE.format("no lumbar spinal canal was found on any slice"))
        lumbar = [f for f in lumbar if lung_share(volume.hu[f.slice_index], volume.pixel_spacing_mm) < LUNG_SHARE]
        if not lumbar:
            raise Refusal(NO_LUMBAR_SPINE.format("the lungs lie beside the spine"))
        extent = float(volume.positions_mm[-1] - volume.positions_mm[0])
        line = trace_canal(findings, volume)
        if extent < MIN_EXTENT_MM or line is None:
            best = max(lumbar, key=_total_confidence)
            return [Located(None, best.slice_index, best.regions)]
        return self._locate_discs(volume, line, lumbar)

    def regrade(
        self,
        volume: Volume,
        slice_index: int,
        boxes: Mapping[Region, Box],
        *,
        level: DiscLevel | None,
        level_doubted: bool = False,
    ) -> LevelReport:
        """Grade boxes that a person placed on a slice.

        Args:
            level_doubted: Whether the numbering of the levels was in doubt when `level` was found.

        Raises:
            Refusal: the slice does not exist, or the centre of a box lies outside it.
        """
        if not 0 <= slice_index < volume.shape[0]:
            raise Refusal(f"There is no slice {slice_index + 1} in this scan of {volume.shape[0]} slices.")
        for region, box in boxes.items():
            _refuse_outside(volume, region, box)
        placed = {region: Detection(boxes[region], 1.0) if region in boxes else None for region in Region}
        return self._graded(volume, [Located(level, slice_index, placed, level_doubted)])[0]

    def measure(
        self, volume: Volume, slice_index: int, boxes: Mapping[Region, Box]
    ) -> dict[Region, Mapping[str, float]]:
        """The measures (mm2 or mm by name) of boxes on any slice, at a disc or not, without grading them."""
        judged = self._judged(volume, [(slice_index, region, box) for region, box in boxes.items()])
        return {region: judgement.measures for region, judgement in zip(boxes, judged, strict=True)}

    def heat_map(
        self, volume: Volume, slice_index: int, region: Region, box: Box, *, target: Grade,
        method: str = DEFAULT_METHOD
    ) -> HeatMap:
        """What in the crop around a box speaks for a grade."""
        return self.explain(volume, [(slice_index, region, box, target)], method=method)[0]

    def explain(
        self, volume: Volume, wanted: Sequence[tuple[int, Region, Box, Grade]], *, method: str = DEFAULT_METHOD
    ) -> list[HeatMap]:
        """Heat maps of several (slice index, region, box, target grade) in one pass."""
        if not wanted:
            return []
        config = self._classifier.config
        crops = np.stack([region_crop(volume, index, region, box, config) for index, region, box, _ in wanted])
        values = heat_maps(
            self._classifier, crops, [region for _, region, _, _ in wanted], [target for *_, target in wanted],
            method=method,
        )
        return [
            HeatMap(each, _crop_box(volume, box, field_mm(region, config)))
            for each, (_, region, box, _) in zip(values, wanted, strict=True)
        ]

    def _search(self, volume: Volume, progress: Callable[[float], None]) -> list[SliceFinding]:
        """Run the detector over the volume, some slices at a time, to tell how far it is."""
        step = max(1, round(SEARCH_PITCH_MM / volume.spacing_mm)) if volume.shape[0] > 1 else 1
        indices, stack = range(0, volume.shape[0], step), self._detector.config.stack
        findings: list[SliceFinding] = []
        for start in range(0, len(indices), stack):
            findings += find_regions(self._detector, volume, indices[start : start + stack])
            progress(min(1.0, (start + stack) / len(indices)))
        return findings

    def _locate_discs(self, volume: Volume, line: CanalLine, lumbar: Sequence[SliceFinding]) -> list[Located]:
        discs = find_levels(self._level_network, volume, line)
        if not discs:
            raise Refusal("A lumbar canal is in view but no disc was recognised; choose a series through the discs.")
        near = {disc.slice_index: _canal_pixel(volume, line, disc) for disc in discs}
        findings = {f.slice_index: f for f in find_regions(self._detector, volume, list(near), near=near)}
        reach = _reach(volume, lumbar)
        believed = [
            disc for disc in discs
            if disc.level is not None
            or (reach[0] <= disc.position_mm <= reach[1] and self._is_lumbar(findings[disc.slice_index]))
        ]
        if not believed:
            raise Refusal(NO_LUMBAR_SPINE.format("the discs in view are not lumbar"))
        return [
            Located(disc.level, disc.slice_index, findings[disc.slice_index].regions, disc.level_doubted)
            for disc in reversed(one_spine(believed))
        ]

    def _is_lumbar(self, finding: SliceFinding) -> bool:
        """Whether the detector itself vouches for a disc that could not be counted."""
        config, canal = self._detector.config, finding.regions[Region.CENTRAL_CANAL]
        sure = canal is not None and canal.confidence >= config.threshold
        return sure and finding.gradable >= config.gradable_threshold

    def _graded(self, volume: Volume, located: Sequence[Located]) -> tuple[LevelReport, ...]:
        refused = [_refused(volume, place) for place in located]
        wanted = [
            (place, region, detection)
            for place, reasons in zip(located, refused, strict=True)
            for region, detection in place.regions.items() if detection is not None and region not in reasons
        ]
        judgements = iter(self._judged(volume, [(p.slice_index, region, d.box) for p, region, d in wanted]))
        reports = []
        for place, reasons in zip(located, refused, strict=True):
            regions: dict[Region, RegionGrade | None] = {}
            odd = oddly_placed(volume, place.boxes)
            for region, detection in place.regions.items():
                judged = None if detection is None or region in reasons else next(judgements)
                if judged is not None and judged.gradable < LEAST_GRADABLE:
                    reasons[region] = NOT_AT_A_DISC.format(region.label.lower())
                    judged = None
                regions[region] = None if judged is None or detection is None else RegionGrade(
                    detection.box, detection.confidence, judged.probabilities, judged.measures, judged.grade_set,
                    (*judged.doubts, *odd.get(region, ())),
                )
            uid = volume.sop_instance_uids[place.slice_index]
            reports.append(LevelReport(place.level, place.slice_index, uid, regions, reasons, place.level_doubted))
        return tuple(reports)

    def _judged(self, volume: Volume, wanted: Sequence[tuple[int, Region, Box]]) -> list[Judgement]:
        """Grade (slice index, region, box), all views together."""
        if not wanted:
            return []
        config = self._classifier.config
        crops = [
            region_views(
                neighbours(volume, index, config), pixel_spacing_mm=volume.pixel_spacing_mm, region=region,
                centre=box.centre, config=config,
            )
            for index, region, box in wanted
        ]
        regions = [region for _, region, _ in wanted]
        graded = grade_views(self._classifier, crops, regions)
        return [judge(views, region, self._calibration) for views, region in zip(graded, regions, strict=True)]


def detector_of(card: Card) -> str:
    """Name of the detector that grades with a version: the shared one, unless it was trained for another."""
    return card.training.get("detector") or SHARED_DETECTOR


def located_by(graders: Iterable[Grader], volume: Volume) -> Iterator[tuple[Grader, list[Located] | Refusal]]:
    """Each grader with what it locates in a volume, or why it refuses it; those that locate alike look once."""
    found: dict[str, list[Located] | Refusal] = {}
    for grader in graders:
        if grader.locator not in found:
            try:
                found[grader.locator] = grader.locate(volume)
            except Refusal as refusal:
                found[grader.locator] = refusal
        yield grader, found[grader.locator]


def _refused(volume: Volume, place: Located) -> dict[Region, str]:
    """Why regions of a level must not be graded, by what can be seen without the classifier."""
    boxes = place.boxes
    reasons = {region: NOT_FOUND.format(region.label.lower()) for region in place.regions if region not in boxes}
    reasons |= implausible(volume, boxes)
    for region, box in boxes.items():
        reason = None if region in reasons else region_refusal(volume, place.slice_index, region, box)
        if reason is not None:
            reasons[region] = reason
    return reasons


def _total_confidence(finding: SliceFinding) -> float:
    return sum(detection.confidence for detection in finding.regions.values() if detection is not None)


def _canal_pixel(volume: Volume, line: CanalLine, disc: DiscFinding) -> tuple[float, float]:
    row_mm, col_mm = line.at(disc.position_mm)
    return in_plane_pixels(volume, disc.slice_index, float(row_mm), float(col_mm))


def _reach(volume: Volume, lumbar: Sequence[SliceFinding], margin_mm: float = 6.0) -> tuple[float, float]:
    """Lowest and highest position at which the lumbar canal was seen."""
    positions = [float(volume.positions_mm[f.slice_index]) for f in lumbar]
    return min(positions) - margin_mm, max(positions) + margin_mm


def _crop_box(volume: Volume, box: Box, size_mm: float) -> Box:
    return Box.around(box.centre, (size_mm / volume.pixel_spacing_mm[0], size_mm / volume.pixel_spacing_mm[1]))


def _refuse_outside(volume: Volume, region: Region, box: Box) -> None:
    row, col = box.centre
    if not (0 <= row <= volume.shape[1] - 1 and 0 <= col <= volume.shape[2] - 1):
        raise Refusal(f"The box of the {region.label.lower()} lies outside the slice; move it onto the spine.")


def _refuse_unlike_ct(volume: Volume) -> None:
    if volume.has_hounsfield and int(volume.hu.max()) < BONE_HU:
        raise Refusal(f"This scan holds no bone (nothing above {BONE_HU} HU); choose a CT series of the lumbar spine.")


def lung_share(plane: np.ndarray, pixel_spacing_mm: tuple[float, float], pitch_mm: float = 4.0) -> float:
    """Share of the body's cross-section that has the density of lung, 0..1."""
    down, right = (max(1, round(pitch_mm / mm)) for mm in pixel_spacing_mm)
    rows, cols = plane.shape[0] // down, plane.shape[1] // right
    coarse = plane[: rows * down, : cols * right].reshape(rows, down, cols, right).mean(axis=(1, 3))
    body = np.asarray(binary_fill_holes(coarse > -300))
    lung = body & (coarse > LUNG_HU[0]) & (coarse < LUNG_HU[1])
    return float(lung.sum() / max(int(body.sum()), 1))


def _provenance(card: Card) -> str:
    """What the grades rest on, said beside every result."""
    if card.training.get("data") is not None:
        return f"Model {card.name} was trained on scans of the group that made it; see its card for what was measured."
    what = "simulated CT alone" if card.training.get("scans") is None else (
        "simulated CT and on narrowing imposed by software on real scans"
    )
    return f"Model {card.name} was trained on {what}; how well it grades patients is not known."


def notes_on(volume: Volume, levels: Sequence[LevelReport]) -> Iterable[str]:
    """What the reader of these levels should know, a sentence each."""
    if all(report.level is None for report in levels):
        yield "The level of the discs is unknown: the sacrum, from which levels are counted, is not recognised in view."
    if any(report.level_doubted for report in levels):
        yield NUMBERING_DOUBTED
    missing = [f"{report.level or 'slice ' + str(report.slice_index + 1)}: {region.label.lower()}"
               for report in levels for region, graded in report.regions.items() if graded is None]
    if missing:
        yield f"Not gradable: {'; '.join(missing)}. Choose the cell to read why."
    named = {report.level for report in levels} - {None}
    inside = [level for level in DiscLevel if named and min(_order(n) for n in named) < _order(level)
              and level not in named]
    if inside:
        yield f"Not recognised between the other discs: {', '.join(inside)}."
    if not volume.has_hounsfield:
        yield "A picture holds no Hounsfield units: its grades deserve less confidence."


def _order(level: DiscLevel | None) -> int:
    return list(DiscLevel).index(level) if level is not None else -1


def result_as_json(result: GradingResult, volume: Volume) -> dict[str, Any]:
    """The report as plain JSON values; boxes are in pixels of the stored images."""
    return _as_json(
        status="graded", reason=None, series_uid=result.series_uid,
        levels=[_level_as_json(report, volume) for report in result.levels],
        model={"version": result.model_version, "weights_sha256": result.weights_sha256,
               "set_coverage": result.set_coverage},
        timings_s={name: round(seconds, 3) for name, seconds in result.timings_s.items()},
    )


def refused_as_json(
    reason: str, *, model: Mapping[str, str], series_uid: str = "", read_s: float = 0.0
) -> dict[str, Any]:
    """The report of a scan that was not graded."""
    timings = {"read": round(read_s, 3), "locate": 0.0, "grade": 0.0, "explain": 0.0}
    return _as_json(status="refused", reason=reason, series_uid=series_uid, levels=[], model=model, timings_s=timings)


def _as_json(
    *, status: str, reason: str | None, series_uid: str, levels: list[dict[str, Any]], model: Mapping[str, Any],
    timings_s: Mapping[str, float],
) -> dict[str, Any]:
    return {
        "status": status, "reason": reason, "series_uid": series_uid, "levels": levels, "model": dict(model),
        "timings_s": dict(timings_s),
    }


def _level_as_json(report: LevelReport, volume: Volume) -> dict[str, Any]:
    return {
        "level": report.level.value if report.level is not None else None,
        "sop_instance_uid": report.sop_instance_uid,
        "slice_index": report.slice_index,
        "regions": {
            region.value: None if graded is None else _region_as_json(graded, volume)
            for region, graded in report.regions.items()
        },
        "not_gradable": {region.value: reason for region, reason in report.not_gradable.items()},
    }


def _region_as_json(graded: RegionGrade, volume: Volume) -> dict[str, Any]:
    return {
        "box": [round(edge, 2) for edge in volume.stored.box_to_stored(graded.box).as_list()],
        "grade": int(graded.grade),
        "probabilities": [round(p, 6) for p in graded.probabilities],
        "expected_grade": round(graded.expected_grade, 4),
        "measures": {name: round(value, 2) for name, value in graded.measures.items()},
        "grade_set": [int(grade) for grade in graded.grade_set],
        "doubts": list(graded.doubts),
    }
