"""The grading criteria in words and example pictures, the same in the instructions and beside each case.

Central canal after Lee 2011 (Skeletal Radiol 40:1033), lateral recess after Bartynski and Lin 2003 (AJNR 24:348) and
Splettstoesser 2017, both adapted to CT, on which nerve roots are hardly visible without contrast.
"""

from __future__ import annotations

from pathlib import Path

from lss_core.vocabulary import Grade, Region

_CANAL = {
    Grade.NORMAL: "The space in front of the sac is kept, the sac is convex, fat is seen in front of it and behind.",
    Grade.MILD: "The space in front is lost or the sac slightly flattened; the fat behind is kept.",
    Grade.MODERATE: "The sac is clearly narrowed (triangle or trefoil), with little fat left.",
    Grade.SEVERE: "The sac is a slit, and no fat is left around it.",
}
_RECESS = {
    Grade.NORMAL: "The recess is open, with fat around the root.",
    Grade.MILD: "The recess is narrowed; the root is neither moved nor flattened.",
    Grade.MODERATE: "The root is moved or flattened, with some space left.",
    Grade.SEVERE: "The recess is closed and the root compressed.",
}
NOT_GRADABLE_REASONS = (
    "Metal or other artifact", "Noise too strong", "Level not in the slices shown", "Earlier surgery here",
    "Anatomy unusual or transitional", "Other (say in the comment)",
)
QUALITY_REASONS = (
    "Noisy", "Artifacts", "Motion", "Slices too thick", "Field of view cut off", "Other (say in the comment)",
)
EXAMPLES = tuple(
    (region, grade) for region in (Region.CENTRAL_CANAL, Region.LEFT_LATERAL_RECESS) for grade in Grade
)
# Seen from below, as CT is shown: the patient's right is on the left of the picture.
SIDES = {
    Region.LEFT_LATERAL_RECESS: "on the right of the image",
    Region.RIGHT_LATERAL_RECESS: "on the left of the image",
}


def criterion(region: Region, grade: Grade) -> str:
    """One sentence on what makes a region this grade."""
    return (_CANAL if region is Region.CENTRAL_CANAL else _RECESS)[grade]


def example_path(region: Region, grade: Grade) -> Path:
    """A simulated picture of a grade; both recesses share the left one's."""
    kind = "canal" if region is Region.CENTRAL_CANAL else "recess"
    return Path(__file__).parent / "examples" / f"{kind}-{int(grade)}.png"
