"""A case as a page may have it open: one level, one region sure, one in doubt, one not gradable."""

from __future__ import annotations

from dataclasses import replace

from lss_core.grading.detector import Detection
from lss_core.grading.pipeline import GradingResult, Located
from lss_core.vocabulary import (
    CANAL_AP,
    RECESS_HEIGHT,
    SAC_AREA,
    Box,
    DiscLevel,
    Grade,
    LevelReport,
    Region,
    RegionGrade,
)
from ui.cases import Case, Graded

REASON = "Metal lies within 32 mm of the left lateral recess; its shadows hide the anatomy."
DOUBT = "Moving the box by a millimetre changes the grade (2, 1, 2)."
MEASURED_ON = "400 simulated patients, seed 7"
IN_DOUBT = RegionGrade(
    Box(10, 20, 30, 44), 0.91, (0.02, 0.31, 0.62, 0.05), {SAC_AREA: 88.4, CANAL_AP: 11.26},
    (Grade.MILD, Grade.MODERATE), (DOUBT,),
)
SURE = RegionGrade(Box(12, 4, 22, 14), 0.8, (0.97, 0.02, 0.01, 0.0), {RECESS_HEIGHT: 5.81}, (Grade.NORMAL,))
LEVEL = LevelReport(
    DiscLevel.L4_5, 7, "1.2.7",
    {Region.CENTRAL_CANAL: IN_DOUBT, Region.LEFT_LATERAL_RECESS: None, Region.RIGHT_LATERAL_RECESS: SURE},
    {Region.LEFT_LATERAL_RECESS: REASON},
)
LOCATED = Located(
    DiscLevel.L4_5, 7,
    {
        Region.CENTRAL_CANAL: Detection(IN_DOUBT.box, 0.91),
        Region.LEFT_LATERAL_RECESS: Detection(Box(12, 50, 22, 60), 0.7),
        Region.RIGHT_LATERAL_RECESS: Detection(SURE.box, 0.8),
    },
)
RESULT = GradingResult(
    levels=(LEVEL,), series_uid="1.2", model_version="v2", weights_sha256="2" * 64,
    timings_s={"read": 1.0, "locate": 2.0, "grade": 0.5, "explain": 0.0}, notes=("A note about this scan.",),
    provenance="Model v2 was trained on simulated CT alone; how well it grades patients is not known.",
    set_coverage=0.9,
)
# As the first version graded it: the canal one grade milder, and without calibration.
OTHER_RESULT = replace(
    RESULT, model_version="v1", weights_sha256="1" * 64, set_coverage=None,
    levels=(
        replace(
            LEVEL,
            regions=LEVEL.regions | {
                Region.CENTRAL_CANAL: replace(
                    IN_DOUBT, probabilities=(0.05, 0.8, 0.1, 0.05), grade_set=(), doubts=(), measures={SAC_AREA: 104.0}
                )
            },
        ),
    ),
)


def case(*, first: Region = Region.CENTRAL_CANAL, both: bool = False, token: str = "released") -> Case:
    """Graded by v2, and by v1 too where `both`."""
    graded = {"v2": Graded(RESULT, '{"status": "graded"}', MEASURED_ON)}
    if both:
        graded["v1"] = Graded(OTHER_RESULT, "{}", "")
    return Case("Case ABC123", token, (LOCATED,), graded, "v2", (0, first))
