"""The second and third locked set: narrowing imposed on real scans, and the same scans as they are.

Every scan is graded by a model that never saw it (leave one scan out): `graders` names the model for each scan. On an
imposed case the true measure is known, because the walls were moved by a known distance. On the untouched scans nothing
is known but places and, where outlined, sac areas; grades there are described, not scored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from lss_core.grading.checkpoint import Card
from lss_core.grading.pipeline import Grader
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.simulation.narrowing import Family, Level, graded_regions, measures_of_walls, strength_for
from lss_core.training.known import KnownPatch
from lss_core.training.outlined import NEIGHBOUR_MM, OutlinedScan, narrowed_patch
from lss_core.vocabulary import SAC_AREA, Box, Grade, LevelReport, Refusal, Region, grade_of_measure, measure_of

DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)
SEVEREST = {True: 60.0, False: 1.2}             # measure at dose 1: sac mm2, recess mm
LEAST_ROOM = {True: 100.0, False: 3.6}          # measure at dose 0 that leaves a grade to rise by
SHAM_HU = 25.0                                  # the sac made as dense as ligament, its shape kept
BOX_MM = {True: (15.0, 21.0), False: (11.0, 11.0)}
AREA_TOLERANCE_MM2 = 20.0
SHIFT_PX = 0.5
NOT_CLINICAL = "Grades of real scans are described, not scored: no scan carries a clinical grade."
ATTRIBUTION_NOTE = "Real scans: public de-identified series; carry their attribution where results on them are shown."
Grading = Callable[[KnownPatch], LevelReport]


@dataclass(frozen=True)
class ImposedCase:
    """One family on one level of one scan: what the model said at each dose."""

    scan: str
    level: str
    family: Family
    region: Region                              # that is narrowed
    imposed: tuple[float, ...]                  # its measure at each dose
    measured: tuple[float, ...]                 # by the model
    expected: tuple[float, ...]                 # expected grade of the region at each dose
    beside: tuple[float, ...]                   # of the other side's recess; () for families that narrow both sides
    untouched: float                            # expected grade of the scan as it is
    sham: float | None                          # with the sac made denser; None for recesses
    refused: int                                # doses at which the model did not grade


def evaluate_outlined(
    scans: Sequence[OutlinedScan], version: str, *, models: Path, left_out: Path | None
) -> dict[str, Any]:
    """Both sets on these scans, as plain JSON values, each with the statement of what it was measured on.

    Args:
        left_out: Folder of models `VERSION-without-SCAN` trained without that scan; None takes the version itself,
            which may have learned from the scans, and says so.
    """
    if left_out is None:
        own = Grader.load(version, models=models)
        graders = {scan.name: own for scan in scans}
        seen = f"by {version} itself, which may have learned from these scans"
    else:
        graders = {
            scan.name: Grader.load(f"{version}-without-{scan.name}", models=left_out, locators=models) for scan in scans
        }
        for scan in scans:
            if not _never_saw(graders[scan.name].card, scan):
                raise Refusal(f"The card of {version}-without-{scan.name} does not say that it was trained without it.")
        steps = sorted({int(grader.card.training["steps_done"]) for grader in graders.values()})
        seen = f"each scan by a model that never saw it, trained for {' to '.join(map(str, steps))} steps"
    names = ", ".join(scan.name for scan in scans)
    imposed = imposed_figures(list(imposed_cases(scans, graders)))
    return {
        "imposed": {
            "statement": f"Narrowing imposed on {len(scans)} real scans ({names}), graded {seen}. The narrowing is "
                         f"computed, not a patient's. {ATTRIBUTION_NOTE}", **imposed,
        },
        "untouched": {
            "statement": f"{len(scans)} real scans as they are ({names}), graded {seen}. {NOT_CLINICAL} "
                         f"{ATTRIBUTION_NOTE}", **untouched_figures(scans, graders),
        },
    }


def _never_saw(card: Card, scan: OutlinedScan) -> bool:
    """Whether a card says that its model was trained without a scan, or on no real scan at all."""
    simulated = card.training.get("scans") is None and card.training.get("data") is None
    return simulated or card.training.get("without") == scan.name


def figures_as_text(figures: Mapping[str, Any]) -> str:
    """Both sets for the terminal."""
    imposed, untouched = figures["imposed"], figures["untouched"]
    lines = [imposed["statement"], f"{'family':32s} cases  expected grade by dose {imposed['doses']}  rise  Spearman  "
             "dose 0 - untouched  sham/rise  other side"]
    for name, found in imposed["families"].items():
        curve = " ".join(f"{value:.2f}" for value in found["expected_by_dose"])
        lines.append(
            f"{name:32s} {found['cases']:5d}  {curve:32s} {found['rise']:5.2f}  {found['spearman_pooled']:.2f} / "
            f"{found['spearman_within_case_mean']:.2f}  {found['dose0_against_untouched']:.2f}  "
            f"{found['sham_share_of_rise']}  {found['other_side_moves']}  refused {found['refused']}"
        )
    lines += [f"{kind}: {values}" for kind, values in imposed["graded_as_imposed"].items()]
    lines += ["", untouched["statement"],
              f"sac area within the outline's range or {AREA_TOLERANCE_MM2:.0f} mm2 of it on "
              f"{untouched['area_within']} of {untouched['area_slices']} slices whose outline is sure or fair"]
    for each in untouched["slices"]:
        mark = "" if each["within"] else "  <- outside"
        lines.append(f"  {each['scan']:26s} {each['level']:8s} {each['position']:6s} outlined {each['outlined_mm2']} "
                     f"measured {each['measured_mm2']}{mark}")
    lines += [f"  {scan}: {counts}" for scan, counts in untouched["grades"].items()]
    return "\n".join(lines)


def imposed_cases(scans: Sequence[OutlinedScan], graders: Mapping[str, Grader]) -> Iterator[ImposedCase]:
    """Impose every family on every outlined disc that leaves room for it, at rising doses."""
    for scan in scans:
        grade = _grading(graders[scan.name])
        for level in scan.levels:
            for family in Family:
                case = _case(scan, level, family, grade)
                if case is not None:
                    yield case


def _case(scan: OutlinedScan, level: Level, family: Family, grade: Grading) -> ImposedCase | None:
    region, *others = graded_regions(family)
    index = next(i for i, outlined in level.outlined.items() if outlined.position == "disc")
    central, name = region is Region.CENTRAL_CANAL, measure_of(region)
    start = measures_of_walls(level.walls[index]).get(region, {}).get(name)
    if start is None or start < LEAST_ROOM[central]:
        return None
    wanted = [start + dose * (SEVEREST[central] - start) for dose in DOSES]
    strengths = [0.0, *(strength_for(level, family, region, w, slice_index=index) for w in wanted[1:])]
    if None in strengths:
        return None
    patches = [
        narrowed_patch(scan.volume, level, index, family, float(s or 0.0), shift_px=SHIFT_PX) for s in strengths
    ]
    reports = [grade(patch) for patch in patches]
    other = None if others else _other_side(region)
    return ImposedCase(
        scan.name, level.level.value if level.level else f"slice {index + 1}", family, region,
        imposed=tuple(patch.regions[region].measures[name] for patch in patches),
        measured=tuple(_of(report, region, lambda g: g.measures.get(name, np.nan)) for report in reports),
        expected=tuple(_of(report, region, lambda g: g.expected_grade) for report in reports),
        beside=() if other is None else tuple(_of(r, other, lambda g: g.expected_grade) for r in reports),
        untouched=_of(grade(untouched_patch(scan, level, index)), region, lambda g: g.expected_grade),
        sham=_of(grade(sham_patch(scan, level, index)), region, lambda g: g.expected_grade) if central else None,
        refused=sum(report.regions.get(region) is None for report in reports),
    )


def _other_side(region: Region) -> Region | None:
    sides = (Region.LEFT_LATERAL_RECESS, Region.RIGHT_LATERAL_RECESS)
    return sides[1 - sides.index(region)] if region in sides else None


def _of(report: LevelReport, region: Region, read: Callable[[Any], float]) -> float:
    graded = report.regions.get(region)
    return float("nan") if graded is None else float(read(graded))


def _grading(grader: Grader) -> Grading:
    def grade(patch: KnownPatch) -> LevelReport:
        boxes = {}
        for region, known in patch.regions.items():
            height, width = BOX_MM[region is Region.CENTRAL_CANAL]
            boxes[region] = Box.around(
                known.centre, (height / patch.pixel_spacing_mm[0], width / patch.pixel_spacing_mm[1])
            )
        return grader.regrade(patch_volume(patch), 1, boxes, level=None)

    return grade


def patch_volume(patch: KnownPatch) -> Volume:
    """A patch as a volume of three slices."""
    hu = np.rint(patch.planes).clip(-1024, 3071).astype(np.int16)
    return Volume(
        hu=hu, positions_mm=np.arange(3) * NEIGHBOUR_MM, pixel_spacing_mm=patch.pixel_spacing_mm,
        slice_thickness_mm=NEIGHBOUR_MM, sop_instance_uids=("1", "2", "3"), series_uid="0",
        stored=StoredPlane((hu.shape[1], hu.shape[2])),
    )


def untouched_patch(scan: OutlinedScan, level: Level, index: int) -> KnownPatch:
    """The patch as it is in the scan: not moved, not resampled."""
    return narrowed_patch(scan.volume, level, index, Family.BULGE, 0.0, shift_px=0.0)


def sham_patch(scan: OutlinedScan, level: Level, index: int) -> KnownPatch:
    """Dose 0 with the sac made denser and its shape kept: narrowing only to a network that reads grey values."""
    patch = narrowed_patch(scan.volume, level, index, Family.BULGE, 0.0, shift_px=SHIFT_PX)
    centre, outlined = patch.regions[Region.CENTRAL_CANAL].centre, level.outlined[index]
    outline = outlined.sac - np.array(level.walls[index].centre) + np.array(centre)
    picture = Image.new("F", patch.planes.shape[:0:-1])
    ImageDraw.Draw(picture).polygon([(col, row) for row, col in outline], fill=SHAM_HU)
    return replace(patch, planes=patch.planes + gaussian_filter(np.asarray(picture), 0.6))


def imposed_figures(cases: Sequence[ImposedCase]) -> dict[str, Any]:
    """What the set must show, by family: rise with dose, no rise without one, one side at a time; plain JSON values.

    Raises:
        Refusal: no case could be made of these scans.
    """
    if not cases:
        raise Refusal("No outlined level leaves room for narrowing; give scans with wider canals.")
    by_family: dict[Family, list[ImposedCase]] = defaultdict(list)
    for case in cases:
        by_family[case.family].append(case)
    return {
        "doses": list(DOSES),
        "families": {family.value: _family_figures(group) for family, group in by_family.items()},
        "graded_as_imposed": _graded_as_imposed(cases),
    }


def _family_figures(cases: Sequence[ImposedCase]) -> dict[str, Any]:
    expected = np.array([case.expected for case in cases])
    imposed = np.array([case.imposed for case in cases])
    rises = expected[:, -1] - expected[:, 0]
    measure, doses = measure_of(cases[0].region), np.tile(DOSES, len(cases))
    truth = np.array([int(grade_of_measure(measure, value)) for value in imposed.ravel()])
    each = [_rank_correlation(np.array(DOSES), row) for row in expected]
    shams = np.array([np.nan if case.sham is None else case.sham for case in cases]) - expected[:, 0]
    beside = np.array([case.beside for case in cases if case.beside])
    return {
        "cases": len(cases), "scans": len({case.scan for case in cases}),
        "refused": sum(case.refused for case in cases),
        "expected_by_dose": [_rounded(value) for value in np.nanmean(expected, axis=0)],
        "spearman_pooled": _rounded(_rank_correlation(doses, expected.ravel())),
        "spearman_pooled_of_imposed_measure": _rounded(_rank_correlation(doses, -imposed.ravel())),
        "spearman_pooled_of_imposed_grade": _rounded(_rank_correlation(doses, truth)),
        "spearman_within_case_mean": _rounded(np.nanmean(each)),
        "rise": _rounded(np.nanmean(rises)), "least_rise": _rounded(np.nanmin(rises)),
        "dose0_against_untouched": _rounded(np.nanmean(np.abs(expected[:, 0] - [case.untouched for case in cases]))),
        "sham_share_of_rise": _rounded(np.nanmean(shams) / np.nanmean(rises)) if not np.isnan(shams).all() else None,
        "other_side_moves": _rounded(np.nanmean(np.abs(beside[:, -1] - beside[:, 0]))) if beside.size else None,
    }


def _graded_as_imposed(cases: Sequence[ImposedCase]) -> dict[str, Any]:
    """The model's measure and expected grade against the imposed measure, by kind of region."""
    out = {}
    for name, central in (("central_canal", True), ("lateral_recess", False)):
        chosen = [case for case in cases if (case.region is Region.CENTRAL_CANAL) == central]
        if not chosen:
            continue
        imposed = np.array([case.imposed for case in chosen]).ravel()
        measured = np.array([case.measured for case in chosen]).ravel()
        expected = np.array([case.expected for case in chosen]).ravel()
        truth = np.array([int(grade_of_measure(measure_of(chosen[0].region), value)) for value in imposed])
        found = ~np.isnan(expected)
        apart = np.abs(expected - truth)[found]
        out[name] = {
            "graded": int(found.sum()), "not_graded": int((~found).sum()),
            "median_measurement_error": _median(np.abs(measured - imposed)),
            "measurement_bias": _median(measured - imposed),
            "rounded_grade_right": _rounded(np.mean(np.rint(expected[found]) == truth[found])),
            "within_one_grade": _rounded(np.mean(apart <= 1.0)),
        }
    return out


def untouched_figures(scans: Sequence[OutlinedScan], graders: Mapping[str, Grader]) -> dict[str, Any]:
    """Real scans as they are: sac areas against their outlines, and the grades that come out, described only."""
    slices, grades = [], {}
    for scan in scans:
        grader, counts = graders[scan.name], Counter()
        for outlined in scan.outlined:
            if not outlined.trusted:
                continue
            measured = _measured_area(grader, scan, outlined)
            low, high = outlined.area_range_mm2
            slices.append({
                "scan": scan.name, "slice": outlined.slice_index + 1, "position": outlined.position,
                "level": outlined.level.value if outlined.level else "unknown", "outlined_mm2": [low, high],
                "measured_mm2": None if measured is None else _rounded(measured, 1),
                "within": measured is not None and low - AREA_TOLERANCE_MM2 <= measured <= high + AREA_TOLERANCE_MM2,
            })
        for report in grader.grade(scan.volume).levels:
            for region, graded in report.regions.items():
                kind = "central_canal" if region is Region.CENTRAL_CANAL else "lateral_recess"
                counts[kind, "not graded" if graded is None else str(int(graded.grade))] += 1
        grades[scan.name] = {
            kind: {key: counts[kind, key] for key in (*(str(int(g)) for g in Grade), "not graded")}
            for kind in ("central_canal", "lateral_recess")
        }
    within = [each["within"] for each in slices]
    return {"area_within": int(sum(within)), "area_slices": len(within), "slices": slices, "grades": grades}


def _measured_area(grader: Grader, scan: OutlinedScan, outlined: Any) -> float | None:
    """The model's sac area on an outlined slice, its box around the outlined canal's centre."""
    height, width = BOX_MM[True]
    spacing = scan.volume.pixel_spacing_mm
    box = Box.around(outlined.centre, (height / spacing[0], width / spacing[1]))
    measured = grader.measure(scan.volume, outlined.slice_index, {Region.CENTRAL_CANAL: box})
    return measured[Region.CENTRAL_CANAL].get(SAC_AREA)


def _median(values: np.ndarray) -> float | None:
    """Of what is known; None where the model measures nothing."""
    known = values[~np.isnan(values)]
    return _rounded(np.median(known)) if known.size else None


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, over what is known of both."""
    kept = ~np.isnan(first) & ~np.isnan(second)
    return float(spearmanr(first[kept], second[kept])[0])  # type: ignore[arg-type]


def _rounded(value: float | np.floating, digits: int = 3) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)
