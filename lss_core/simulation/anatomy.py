"""A simulated patient: the measurements of a lumbar spine, its degeneration and the body around it.

All anatomy is described in straightened spine coordinates, in mm: `s` along the posterior wall of the vertebral
bodies (0 at the L5/S1 disc, up to the head), `u` to the patient's left, `v` to the back (0 at the posterior wall).
A curve with lordosis, scoliosis and rotation bends them into the patient (x left, y back, z up).
Means by level are those of published morphometry (body, canal and interpedicular widths, facet angles, sac areas);
each is sampled around its mean. Degeneration changes shapes, never grades: what is graded is measured afterwards on
the rendered labels (`truth.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lss_core.vocabulary import DiscLevel

VERTEBRAE = ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2", "S3")
DISCS = ("T10/11", "T11/12", "T12/L1", "L1/2", "L2/3", "L3/4", "L4/5", "L5/S1", "S1/2", "S2/3")
DISC_INDEX = {level: DISCS.index(level.value) for level in DiscLevel}
STEP_MM = 0.5  # pitch of the tables along s

#                            T10   T11   T12   L1    L2    L3    L4    L5    S1    S2    S3
HALF_WIDTH = np.array([16.0, 17.5, 19.5, 21.0, 22.5, 23.0, 24.0, 24.5, 25.0, 18.0, 14.0])
DEPTH = np.array([30.0, 31.0, 32.5, 34.0, 35.0, 35.0, 35.0, 34.5, 29.0, 19.0, 14.0])
HEIGHT = np.array([22.5, 23.5, 25.5, 26.5, 27.5, 27.5, 27.5, 26.5, 28.0, 22.0, 20.0])
CANAL_AP = np.array([15.5, 15.8, 16.8, 17.0, 16.5, 16.0, 16.5, 16.5, 14.5, 10.5, 8.0])
INTERPEDICULAR = np.array([18.0, 19.0, 22.0, 23.0, 23.5, 24.0, 25.5, 28.0, 31.0, 27.0, 22.0])
PEDICLE_WIDTH = np.array([6.5, 8.0, 8.2, 8.6, 8.3, 10.2, 14.1, 16.1, 18.0, 16.0, 14.0])
#                  discs   T10/11 T11/12 T12/L1 L1/2 L2/3 L3/4  L4/5  L5/S1 S1/2 S2/3
DISC_HEIGHT = np.array([5.0, 5.5, 6.5, 8.0, 9.3, 10.3, 11.0, 10.0, 3.0, 1.5])
SAC_AREA = np.array([150.0, 165.0, 185.0, 195.0, 182.0, 172.0, 164.0, 150.0, 95.0, 50.0])
FACET_ANGLE = np.array([15.0, 18.0, 22.0, 27.0, 30.0, 37.0, 46.0, 52.0, 50.0, 50.0])  # degrees to the sagittal plane
FACET_OFFSET = np.array([6.2, 6.3, 6.5, 6.9, 7.1, 7.6, 8.8, 10.6, 11.5, 9.0])  # medial edge from the midline
RECESS_HEIGHT = np.array([6.6, 6.6, 7.0, 7.1, 6.8, 6.5, 6.1, 6.1, 6.6, 5.0])
SAC_ASPECT = np.array([1.1, 1.15, 1.2, 1.3, 1.28, 1.25, 1.2, 1.08, 1.0, 1.0])  # width / depth
ANTERIOR_FAT = np.array([0.2, 0.2, 0.2, 0.2, 0.25, 0.3, 0.5, 1.8, 4.0, 3.0])  # in front of the sac
FACET_SLOPE = np.array([0.0, 0.0, -0.05, -0.1, -0.15, -0.2, -0.3, -0.35, -0.2, 0.0])  # beyond the tip; < 0: forward
BETWEEN_DISCS_SLOPE, SLOPING_MM = 0.4, 6.0  # of the wall beside the lateral recess, and how far a facet's front slopes
DISC_CONCAVITY = np.array([1.0, 1.0, 1.2, 1.6, 1.6, 1.4, 0.8, 0.0, 0.0, 0.0])  # posterior margin, midline


@dataclass(frozen=True)
class Patient:
    """One simulated patient; arrays are what the renderer reads, their columns are named beside the writers."""

    age: float  # years
    sex: str  # "F" or "M"
    size: float  # 1 is an average adult
    curve: np.ndarray  # [n, 10] along s: s, x, y, z, sin/cos pitch, sin/cos roll, sin/cos rotation
    section: np.ndarray  # [n, SECTION_COLUMNS] canal cross-section along s
    vertebrae: np.ndarray  # [11, VERTEBRA_COLUMNS]
    joints: np.ndarray  # [10, 2, JOINT_COLUMNS] facet joints at each disc; side 0 is left (u > 0)
    discs: np.ndarray  # [10, DISC_COLUMNS]
    body: np.ndarray  # [BODY_COLUMNS] trunk and organs
    hu: np.ndarray  # [LABELS] mean attenuation of each label
    texture_seed: int
    lumbosacral_transition: bool  # L5 partly sacralised; levels are still counted from the first free disc

    @cached_property
    def curvature(self) -> np.ndarray:
        """Change of pitch along s, rad/mm; for each row of `curve`."""
        return np.gradient(np.arctan2(self.curve[:, 4], self.curve[:, 5]), self.curve[:, 0])

    @cached_property
    def heights(self) -> tuple[np.ndarray, float]:
        """s for each whole mm of z, and the first of these z."""
        s, z = self.curve[:, 0], self.curve[:, 3]
        lowest = float(np.floor(z[0]))
        return np.interp(np.arange(lowest, z[-1]), z, s), lowest

    def disc_position(self, level: DiscLevel) -> np.ndarray:
        """(x, y, z) mm of the posterior margin of a disc, 2 mm into the canal."""
        return self.point(self.discs[DISC_INDEX[level], 0], 0.0, 2.0)

    def point(self, s: float, u: float, v: float) -> np.ndarray:
        """Patient coordinates (x, y, z) mm of a point given in spine coordinates."""
        row = np.array([np.interp(s, self.curve[:, 0], self.curve[:, k]) for k in range(self.curve.shape[1])])
        _, x, y, z, sp, cp, sr, _, so, co = row
        a, b = co * u - so * v, so * u + co * v  # axial rotation
        return np.array([x + a, y + b * cp, z + b * sp - a * sr])


SECTION_COLUMNS = 26
# 0 canal apex v; per side (left 1..8, right 9..16): knot qm, vm, tip qt, vt, flavum T, lateral wall q,
# disc bulge there, foramen openness; 17 sac half width, 18 sac depth, 19 sac front gap, 20 sac blunt front exponent,
# 21 sac apex exponent, 22 sac shift u, 23 concavity of the front wall, 24 and 25 slope of the left and right facet's
# front beyond its tip, dv/dq
VERTEBRA_COLUMNS = 22
# 0 centre s, 1 height, 2 half width, 3 depth, 4 pedicle half width, 5 pedicle half height, 6 half interpedicular,
# 7 lamina low s, 8 lamina high s, 9 lamina thickness, 10 spinous low s, 11 spinous high s, 12 spinous length,
# 13 spinous half thickness, 14 transverse length, 15 waist, 16 dish, 17 cortex mm, 18 osteophyte mm, 19 apex v,
# 20 sacral wing half width (0: none), 21 sclerosis of endplates HU (drawn, not rendered: without
# the draw, a seed would give another patient)
JOINT_COLUMNS = 12
# 0 block centre q, 1 block centre v, 2 half size q, 3 half size v, 4 joint q, 5 joint v, 6 sin, 7 cos of facet angle,
# 8 gap mm, 9 low s, 10 high s, 11 vacuum (0/1)
DISC_COLUMNS = 14
# 0 centre s, 1 height, 2 overhang of the annulus mm, 3 vacuum amount, 4 vacuum u, 5 vacuum v, 6 herniation mm,
# 7 its u, 8 its half width, 9 its s offset, 10 calcified flavum amount, 11 slip mm, 12 root radius, 13 posterior spur


def sample_patient(rng: np.random.Generator) -> Patient:
    """Draw one patient: size, posture, anatomy and degeneration."""
    age = float(np.clip(rng.normal(58, 16), 18, 92))
    sex = "F" if rng.random() < 0.5 else "M"
    size = float(np.clip(rng.normal(0.96 if sex == "F" else 1.05, 0.06), 0.8, 1.2))
    wear = float(np.clip((age - 25) / 60 + rng.normal(0, 0.25), 0, 1))
    transition = bool(rng.random() < 0.08)
    half_width = size * HALF_WIDTH * rng.normal(1, 0.05) * rng.normal(1, 0.02, 11)
    depth = size * DEPTH * rng.normal(1, 0.06) * rng.normal(1, 0.02, 11)
    height = size * HEIGHT * rng.normal(1, 0.05) * rng.normal(1, 0.03, 11)
    discs = _discs(rng, wear, size, height)
    canal = _canal(rng, wear, size)
    vertebrae = _vertebrae(rng, wear, discs, half_width, depth, height, canal, transition, age)
    joints = _joints(rng, wear, size, discs, canal)
    curve = _curve(rng, vertebrae, discs)
    section = _section(curve[:, 0], vertebrae, discs, canal)
    patient = Patient(
        age=age,
        sex=sex,
        size=size,
        curve=curve,
        section=section,
        vertebrae=vertebrae,
        joints=joints,
        discs=discs,
        body=_body(rng, size, curve),
        hu=_attenuation(rng, age, wear),
        texture_seed=int(rng.integers(2**31)),
        lumbosacral_transition=transition,
    )
    return _with_sloping_facets(patient, rng)


def _with_sloping_facets(patient: Patient, rng: np.random.Generator) -> Patient:
    """Let the front of the facets slope forward or back beyond their tips, on both sides much alike.

    On real scans the gap between disc and facet mostly narrows from the tip of the facet into the foramen; the recess
    is measured at the tip.
    """
    slope = FACET_SLOPE[:, None] + rng.normal(0, 0.18, (10, 1)) + rng.normal(0, 0.1, (10, 2))
    slope = np.clip(slope, -0.65, 0.4)
    section, joints = patient.section.copy(), patient.joints.copy()
    for side in range(2):
        disc_weight = section[:, 8 + 8 * side]
        along = np.interp(-patient.curve[:, 0], -patient.discs[:, 0], slope[:, side])
        section[:, 24 + side] = disc_weight * along + (1 - disc_weight) * BETWEEN_DISCS_SLOPE
        forward = SLOPING_MM * np.maximum(0.0, -slope[:, side])
        joints[:, side, 1] -= forward / 2
        joints[:, side, 3] += forward / 2
    return replace(patient, section=section, joints=joints)


def worn(patient: Patient, rng: np.random.Generator) -> Patient:
    """The same patient with spondylosis: discs narrowed to a slit, dense endplates, osteophytes, vacuum."""
    vertebrae, discs, hu = patient.vertebrae.copy(), patient.discs.copy(), patient.hu.copy()
    lost = discs[:8, 1] * rng.uniform(0.0, 0.85, 8)  # of the discs from T10/11 to L5/S1
    top, bottom = vertebrae[:, 0] + vertebrae[:, 1] / 2, vertebrae[:, 0] - vertebrae[:, 1] / 2
    bottom[:8] -= lost / 2
    top[1:9] += lost / 2
    vertebrae[:, 0], vertebrae[:, 1] = (top + bottom) / 2, top - bottom
    vertebrae[:8, 18] += (rng.random(8) < 0.7) * rng.gamma(2.0, 1.6, 8)
    discs[:8, 1] -= lost
    vacuum = rng.random(8) < 0.4
    discs[:8, 3] = np.where(vacuum, rng.uniform(0.4, 1.6, 8), discs[:8, 3])
    hu[LABELS.index("endplate")] = rng.uniform(450, 1000)
    return replace(patient, vertebrae=vertebrae, discs=discs, hu=hu)


def _discs(rng: np.random.Generator, wear: float, size: float, height: np.ndarray) -> np.ndarray:
    """Place the discs along s and give each its own wear."""
    discs = np.zeros((10, DISC_COLUMNS))
    narrowing = np.clip(rng.beta(1.2, 3.5, 10) * (0.4 + wear), 0, 0.75)
    discs[:, 1] = size * DISC_HEIGHT * rng.normal(1, 0.08) * rng.normal(1, 0.1, 10) * (1 - narrowing)
    discs[:, 1] = np.maximum(discs[:, 1], 1.2)
    for k in range(6, -1, -1):  # upward from L5/S1, whose centre is s = 0
        discs[k, 0] = discs[k + 1, 0] + (discs[k, 1] + discs[k + 1, 1]) / 2 + height[k + 1]
    for k in (8, 9):
        discs[k, 0] = discs[k - 1, 0] - (discs[k, 1] + discs[k - 1, 1]) / 2 - height[k]
    discs[:, 2] = rng.uniform(0.3, 1.5, 10) + 1.5 * wear * rng.random(10)
    discs[:, 3] = (rng.random(10) < 0.25 * wear) * rng.uniform(0.3, 1, 10)
    discs[:, 4] = rng.normal(0, 6, 10)
    discs[:, 5] = rng.uniform(-22, -8, 10)
    herniated = rng.random(10) < 0.18
    discs[:, 6] = herniated * rng.gamma(3.0, 1.3, 10)
    discs[:, 7] = rng.normal(0, 5, 10)
    discs[:, 8] = rng.uniform(3, 7, 10)
    discs[:, 9] = rng.normal(-1, 2.5, 10)
    discs[:, 10] = (rng.random(10) < 0.12 * wear) * rng.random(10)
    slips = (rng.random(10) < np.array([0, 0, 0, 0.02, 0.03, 0.06, 0.14, 0.08, 0, 0])) * wear
    discs[:, 11] = np.where(slips > 0, rng.uniform(2, 8, 10), 0)
    discs[:, 12] = rng.uniform(1.6, 2.6, 10)
    discs[:, 13] = np.where(rng.random(10) < 0.3 * wear, rng.uniform(0, 2.5, 10), 0)
    return discs


@dataclass(frozen=True)
class _Canal:
    """Per-disc shape of the canal; left and right in the last axis where there are two."""

    apex: np.ndarray  # [11] midline depth at the vertebra
    pedicle: np.ndarray  # [11] half interpedicular width
    facet: np.ndarray  # [10, 2] medial edge of the facets, from the midline
    recess: np.ndarray  # [10, 2] gap between disc and superior facet
    flavum: np.ndarray  # [10, 2] thickness
    bulge: np.ndarray  # [10] mm of the whole posterior margin
    sac: np.ndarray  # [10, 5] half width, depth, front gap, front exponent, apex exponent
    shift: float
    concavity: np.ndarray  # [10]
    knot: np.ndarray  # [10] how far the facets' inner edge stands off the disc, beside the recess


def _canal(rng: np.random.Generator, wear: float, size: float) -> _Canal:
    """Draw canal, ligaments, facets and sac at each disc.

    Encroachment has a common part per level and parts of its own per mechanism and side, each continuous, so that
    measured areas and heights spread over every threshold.
    """
    congenital = np.clip(rng.normal(1, 0.07), 0.82, 1.18)
    apex = size * CANAL_AP * congenital * rng.normal(1, 0.04, 11)
    pedicle = size * INTERPEDICULAR / 2 * rng.normal(1, 0.06) * rng.normal(1, 0.02, 11)
    at_risk = np.array([0.1, 0.1, 0.3, 0.6, 0.85, 1.0, 1.0, 0.8, 0.1, 0.0])
    share = at_risk * (rng.random(10) < 0.44 + 0.43 * wear) * rng.beta(1.0, 1.1, 10)
    central = np.clip(share * rng.uniform(0.7, 1.35, 10), 0, 1.1)
    bulge = np.abs(rng.normal(0, 0.5, 10)) + 6.0 * central * rng.uniform(0.15, 1.0, 10)
    side = np.clip(share[:, None] * rng.uniform(0.1, 0.95, (10, 2)), 0, 1)
    alone = (rng.random((10, 2)) < 0.18) * rng.random((10, 2)) * at_risk[:, None]
    side = np.maximum(side, alone)
    flavum = (
        rng.uniform(2.0, 3.6, (10, 1))
        + rng.normal(0, 0.3, (10, 2))
        + 5.0 * central[:, None] * rng.uniform(0.2, 1.0, (10, 1))
    )
    facet = size * FACET_OFFSET[:, None] * rng.normal(1, 0.09) * rng.normal(1, 0.05, (10, 2))
    facet = facet - 3.2 * central[:, None] * rng.uniform(0.1, 1.0, (10, 2))
    recess = size * RECESS_HEIGHT[:, None] * rng.normal(1, 0.08) * rng.normal(1, 0.08, (10, 2))
    recess = np.maximum(recess * (1 - 0.95 * side), 0.15)
    area = SAC_AREA * size**2 * rng.normal(1, 0.08) * rng.normal(1, 0.07, 10)
    area = np.where(rng.random(10) < 0.1, area * rng.uniform(0.6, 1.0, 10), area)  # lipomatosis, small sacs
    area = np.clip(area * (1 - 0.6 * central * rng.uniform(0.3, 1.0, 10)), 30, 320)
    aspect = np.clip(SAC_ASPECT * rng.normal(1, 0.1, 10), 0.75, 1.7)
    front = rng.uniform(0.18, 0.42, 10)
    back = np.clip(np.array([0.5, 0.5, 0.5, 0.5, 0.55, 0.65, 0.72, 0.62, 0.6, 0.5]) + rng.normal(0, 0.1, 10), 0.4, 1.0)
    sac = np.zeros((10, 5))
    for k in range(10):
        sac[k, 1], sac[k, 0] = _sac_axes(area[k], aspect[k], front[k], back[k])
    sac[:, 2] = ANTERIOR_FAT * rng.lognormal(0, 0.35, 10)
    sac[:, 3], sac[:, 4] = front, back
    concavity = np.clip(DISC_CONCAVITY + rng.normal(0, 0.5, 10), -0.8, 3)
    return _Canal(
        apex,
        pedicle,
        facet,
        recess,
        np.maximum(flavum, 1.2),
        bulge,
        sac,
        float(rng.normal(0, 0.5)),
        concavity,
        np.clip(rng.normal(2.9, 0.8) + rng.normal(0, 0.5, 10), 1.2, 5.0),
    )


def _sac_axes(area: float, aspect: float, front: float, back: float) -> tuple[float, float]:
    """Depth and half width (mm) of the sac t^front (1-t)^back that has this area and width / depth ratio."""
    t = (np.arange(64) + 0.5) / 64
    profile = t**front * (1 - t) ** back
    fill = float(np.mean(profile / profile.max()))  # area = depth * width * fill
    depth = float(np.sqrt(area / (aspect * fill)))
    return depth, aspect * depth / 2


def _vertebrae(
    rng: np.random.Generator,
    wear: float,
    discs: np.ndarray,
    half_width: np.ndarray,
    depth: np.ndarray,
    height: np.ndarray,
    canal: _Canal,
    transition: bool,
    age: float,
) -> np.ndarray:
    out = np.zeros((11, VERTEBRA_COLUMNS))
    out[1:, 0] = discs[:, 0] - discs[:, 1] / 2 - height[1:] / 2
    out[0, 0] = discs[0, 0] + discs[0, 1] / 2 + height[0] / 2
    out[:, 1], out[:, 2], out[:, 3] = height, half_width, depth
    scale = half_width / HALF_WIDTH
    out[:, 4] = PEDICLE_WIDTH / 2 * scale * rng.normal(1, 0.08)
    out[:, 5] = 7.2 * scale * rng.normal(1, 0.06)
    out[:, 6] = canal.pedicle
    lower_disc = np.append(discs[:, 0], discs[-1, 0] - 20)
    out[:, 7] = lower_disc + rng.normal(0.5, 3.0, 11) + rng.normal(0, 2)
    out[:, 8] = out[:, 0] + 0.2 * height + rng.normal(0, 1.5, 11)
    out[:, 9] = rng.normal(6.9, 0.9) * scale
    out[:, 10] = out[:, 7] - rng.uniform(1, 7, 11)
    out[:, 11] = out[:, 0] + rng.normal(1, 2, 11)
    out[:, 12] = np.array([34, 30, 28, 29, 31, 31, 29, 22, 14, 8, 6]) * scale * rng.normal(1, 0.08)
    out[:, 13] = rng.uniform(2.2, 4.2, 11)
    out[:, 14] = np.array([8, 8, 10, 20, 25, 27, 22, 20, 0, 0, 0]) * scale * rng.normal(1, 0.1)
    out[:, 15] = rng.uniform(0.04, 0.12)
    out[:, 16] = rng.uniform(1.0, 3.2)
    out[:, 17] = np.clip(rng.normal(1.2 - 0.004 * age, 0.15), 0.6, 1.5)
    out[:, 18] = (rng.random(11) < 0.7 * wear) * rng.gamma(1.5, 2.0, 11)
    out[:, 19] = canal.apex
    out[8:, 20] = np.array([50, 43, 33]) * scale[8:] * rng.normal(1, 0.05)
    if transition:
        out[7, 20] = 44 * scale[7]
    out[:, 21] = (rng.random(11) < 0.3 * wear) * rng.uniform(100, 500, 11)
    return out


def _joints(rng: np.random.Generator, wear: float, size: float, discs: np.ndarray, canal: _Canal) -> np.ndarray:
    """Facet joints: a rounded block of bone cut by the joint line; hypertrophy makes it larger."""
    joints = np.zeros((10, 2, JOINT_COLUMNS))
    shared = rng.normal(0, 4, 10)
    growth = wear * rng.beta(1.2, 2.5, (10, 2))
    for side in range(2):
        angle = np.radians(FACET_ANGLE + shared + rng.normal(0, 5, 10))  # tropism: sides differ
        half = size * (8.6 + np.array([0, 0, 0, 0.2, 0.4, 0.8, 1.4, 1.8, 1, 0])) * rng.normal(1, 0.06)
        half_q = half + 2.0 * growth[:, side]
        half_v = half * rng.normal(1.06, 0.06) + 1.5 * growth[:, side]
        joints[:, side, 0] = canal.facet[:, side] + half_q - 0.3
        joints[:, side, 1] = canal.recess[:, side] + half_v - 0.6
        joints[:, side, 2], joints[:, side, 3] = half_q, half_v
        joints[:, side, 4] = joints[:, side, 0] - 0.12 * half_q
        joints[:, side, 5] = joints[:, side, 1] + 0.05 * half_v
        joints[:, side, 6], joints[:, side, 7] = np.sin(angle), np.cos(angle)
        joints[:, side, 8] = np.clip(rng.normal(1.7, 0.5, 10) * (1 - 0.6 * growth[:, side]), 0.3, 3.2)
        joints[:, side, 9] = discs[:, 0] - rng.uniform(9, 13, 10)
        joints[:, side, 10] = discs[:, 0] + discs[:, 1] / 2 + rng.uniform(1, 6, 10)
        joints[:, side, 11] = rng.random(10) < 0.15 * wear
    return joints


def _curve(rng: np.random.Generator, vertebrae: np.ndarray, discs: np.ndarray) -> np.ndarray:
    """Bend the spine: pitch by level (lordosis), roll (scoliosis) and axial rotation; integrate the axis."""
    s = np.arange(vertebrae[-1, 0] - 25, vertebrae[0, 0] + 25, STEP_MM)
    slope = np.clip(rng.normal(36, 9), 14, 60)  # sacral slope, degrees, supine
    lordosis = np.clip(rng.normal(0.0, 6), -12, 12)
    at = np.array(
        [
            vertebrae[10, 0],
            vertebrae[8, 0],
            discs[7, 0],
            vertebrae[7, 0],
            vertebrae[6, 0],
            vertebrae[5, 0],
            vertebrae[4, 0],
            vertebrae[3, 0],
            vertebrae[2, 0],
            vertebrae[0, 0],
        ]
    )
    pitch = np.array(
        [
            slope + 14,
            slope + 6,
            slope - 3,
            slope - 14,
            slope - 26,
            slope - 35 - lordosis / 2,
            slope - 40 - lordosis,
            slope - 43 - lordosis,
            slope - 44 - lordosis,
            slope - 40 - lordosis,
        ]
    )
    pitch_rad = _smooth(np.radians(np.interp(s, at[:], pitch)), 12 / STEP_MM)
    span = s[-1] - s[0]
    bend = np.clip(rng.normal(0, 5), -20, 20)
    roll_rad = np.radians(
        bend * np.sin(2 * np.pi * (s - s[0]) / span * rng.uniform(0.5, 1.1) + rng.uniform(0, 6)) + rng.normal(0, 1.5)
    )
    rotation_rad = np.radians(rng.normal(0, 2) + rng.normal(0, 0.4) * bend * np.cos(2 * np.pi * (s - s[0]) / span))
    x = np.cumsum(np.sin(roll_rad) * np.cos(pitch_rad)) * STEP_MM
    y = np.cumsum(-np.sin(pitch_rad)) * STEP_MM
    z = np.cumsum(np.cos(pitch_rad) * np.cos(roll_rad)) * STEP_MM
    zero = int(np.argmin(np.abs(s)))
    x, y, z = x - x[zero], y - y[zero], z - z[zero]
    for k in range(10):  # spondylolisthesis: all above slides forward
        if discs[k, 11] > 0:
            y -= discs[k, 11] / (1 + np.exp(-(s - discs[k, 0]) / 2.0))
    ones = np.ones_like(s)
    return np.stack(
        [
            s,
            x,
            y,
            z,
            np.sin(pitch_rad),
            np.cos(pitch_rad),
            np.sin(roll_rad),
            np.cos(roll_rad),
            np.sin(rotation_rad) * ones,
            np.cos(rotation_rad) * ones,
        ],
        axis=1,
    )


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    reach = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def _section(s: np.ndarray, vertebrae: np.ndarray, discs: np.ndarray, canal: _Canal) -> np.ndarray:
    """Blend the canal's cross-section along s between its shape at the pedicles and at the discs."""
    out = np.zeros((len(s), SECTION_COLUMNS))
    pedicle_s = vertebrae[:, 0] + 0.22 * vertebrae[:, 1]
    disc_weight = np.max(np.exp(-((np.abs(s[:, None] - (discs[None, :, 0] - 1.5)) / 10.0) ** 4)), axis=1)
    apex = np.interp(-s, -pedicle_s, canal.apex)
    half = np.interp(-s, -pedicle_s, canal.pedicle)
    out[:, 0] = apex + 1.5 * disc_weight  # between the laminae the apex lies deeper

    def along(values: np.ndarray) -> np.ndarray:
        return np.interp(-s, -discs[:, 0], values)

    flavum = np.stack([along(canal.flavum[:, side]) for side in range(2)], axis=1)
    growth = np.maximum(flavum - 3.2, 0) * disc_weight[:, None]
    out[:, 0] -= 1.5 * growth.mean(axis=1)  # a thick ligament grows into the canal
    narrowing = np.max(np.exp(-((np.abs(s[:, None] - discs[None, :, 0]) / 7.5) ** 4)), axis=1)
    for side in range(2):
        base = 1 + 8 * side
        facet, recess = along(canal.facet[:, side]), along(canal.recess[:, side])
        out[:, base] = disc_weight * facet + (1 - disc_weight) * 0.55 * half - 0.55 * growth[:, side]
        knot_v = disc_weight * (recess * 0.45 + along(canal.knot)) + (1 - disc_weight) * (apex - 0.5 * (apex - 8.0))
        out[:, base + 1] = knot_v - 0.5 * growth[:, side]
        out[:, base + 2] = disc_weight * (facet + 3.2) + (1 - disc_weight) * half
        out[:, base + 3] = disc_weight * recess + (1 - disc_weight) * 8.5
        out[:, base + 4] = along(canal.flavum[:, side]) * disc_weight + 0.3
        out[:, base + 5] = half
        out[:, base + 6] = along(canal.bulge) * narrowing
        out[:, base + 7] = disc_weight
    for column, values in (
        (17, canal.sac[:, 0]),
        (18, canal.sac[:, 1]),
        (19, canal.sac[:, 2]),
        (20, canal.sac[:, 3]),
        (21, canal.sac[:, 4]),
    ):
        out[:, column] = along(values)
    relief = 1 + 0.12 * (1 - narrowing)  # a little wider behind the bodies
    out[:, 17] *= relief
    out[:, 22] = canal.shift
    out[:, 23] = along(canal.concavity) * disc_weight + 1.0 * (1 - disc_weight)
    return out


BODY_COLUMNS = 24
# 0 half width, 1 half depth, 2 skin distance behind the canal, 3 subcutaneous fat mm (sides), 4 wall muscle mm,
# 5 fatty infiltration, 6 psoas radius, 7 muscle half width behind, 8 aorta radius, 9 aorta u, 10 cava u,
# 11 vessel contrast HU, 12 kidney radius, 13 bowel gas, 14 lung floor (vertebra units), 15 crest top mm above L5/S1,
# 16 oral contrast HU (0: none),
# 17 muscle bulk behind mm, 18 aortic calcification, 19 table distance, 20 organ HU, 21 visceral fat,
# 22 and 23 the trunk's own x and y


def _body(rng: np.random.Generator, size: float, curve: np.ndarray) -> np.ndarray:
    body = np.zeros(BODY_COLUMNS)
    weight = np.clip(rng.normal(1.02, 0.17), 0.72, 1.6)
    body[0] = 165 * size * weight
    body[1] = 112 * size * weight
    body[3] = np.clip(rng.gamma(3.0, 6.0) * weight, 4, 60)
    body[2] = 62 * size + np.clip(body[3], 4, 45)
    body[4] = rng.uniform(10, 22)
    body[5] = np.clip(rng.beta(1.5, 3.5), 0, 0.8)
    body[6] = rng.uniform(14, 24) * size
    body[7] = rng.uniform(58, 78) * size
    body[8] = rng.uniform(7, 11)
    body[9] = rng.uniform(6, 18)
    body[10] = rng.uniform(-24, -12)
    body[11] = rng.uniform(100, 260) if rng.random() < 0.5 else 0.0
    body[12] = rng.uniform(24, 32) * size
    body[13] = rng.random()
    body[14] = rng.uniform(-14, 30)
    body[15] = rng.uniform(22, 52) * size
    body[17] = rng.uniform(38, 50) * size
    body[16] = rng.uniform(120, 400) if rng.random() < 0.35 else 0.0
    body[18] = rng.random() < 0.4
    body[19] = rng.uniform(5, 40)
    body[20] = rng.uniform(30, 60) + (rng.uniform(30, 70) if body[11] > 0 else 0)
    body[21] = rng.uniform(0.1, 0.9)
    lumbar = (curve[:, 0] > 0) & (curve[:, 0] < 180)
    body[22:24] = curve[lumbar, 1:3].mean(axis=0)
    return body


LABELS = (
    "air",
    "fat",
    "muscle",
    "cancellous",
    "cortex",
    "disc",
    "flavum",
    "sac",
    "epidural_fat",
    "root",
    "vessel",
    "organ",
    "lung",
    "gas",
    "joint",
    "calcified",
    "skin",
    "table",
    "foramen_fat",
    "vein",
    "endplate",
    "bowel",
    "vacuum",
)


def _attenuation(rng: np.random.Generator, age: float, wear: float) -> np.ndarray:
    """Mean HU of each label at 120 kVp, drawn around published means."""
    mean = dict(zip(LABELS, [0.0] * len(LABELS), strict=True))
    mean |= {
        "air": -1000.0,
        "fat": rng.normal(-100, 8),
        "muscle": rng.normal(55, 6),
        "cancellous": np.clip(rng.normal(190 - 1.2 * (age - 30), 45), 20, 330),
        "cortex": rng.uniform(550, 1000),
        "disc": rng.normal(78, 9),
        "flavum": rng.normal(68, 9),
        "sac": rng.normal(20, 6),
        "epidural_fat": rng.normal(-85, 12),
        "root": rng.normal(32, 6),
        "vessel": rng.normal(42, 5),
        "organ": 50.0,
        "lung": rng.uniform(-880, -780),
        "gas": -950.0,
        "joint": rng.uniform(40, 110),
        "calcified": rng.uniform(200, 600),
        "skin": rng.normal(30, 15),
        "table": rng.uniform(-700, -300),
        "foramen_fat": rng.normal(-88, 12),
        "vein": rng.uniform(15, 60),
        "bowel": 40.0,
        "vacuum": rng.uniform(-900, -300),
        "endplate": rng.uniform(300, 620),
    }
    return np.array([mean[name] for name in LABELS])
