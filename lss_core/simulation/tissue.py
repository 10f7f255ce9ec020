"""Which tissue lies at a point of a simulated patient, compiled with numba: the shapes behind every simulated pixel.

`trace_plane` walks an axial plane, carries each point into spine coordinates (s up, u left, v back; see `anatomy.py`)
and asks `spine_label`; what the spine does not claim belongs to the trunk (`trunk_label`).
"""

# numba compiles these loops; the type checker cannot follow variables that only a loop assigns.
# pyright: reportOperatorIssue=false

from __future__ import annotations

import math

import numpy as np
from numba import njit

from lss_core.simulation.anatomy import LABELS, SLOPING_MM

(
    AIR,
    FAT,
    MUSCLE,
    CANCELLOUS,
    CORTEX,
    DISC,
    FLAVUM,
    SAC,
    EPIDURAL_FAT,
    ROOT,
    VESSEL,
    ORGAN,
    LUNG,
    GAS,
    JOINT,
    CALCIFIED,
    SKIN,
    TABLE,
    FORAMEN_FAT,
    VEIN,
    ENDPLATE,
    BOWEL,
    VACUUM,
) = range(len(LABELS))
NONE = -1
HERNIATED_MM = 0.5  # of disc beyond its margin is drawn as such
TEXTURE = 64  # edge of the periodic texture block, a power of two


@njit(cache=True, nogil=True, fastmath=True)
def _front_wall(s, u, q, sec, base, disc):
    """v of the posterior margin of body or disc, with bulge and herniation."""
    near = min(q, 15.0)
    wall = sec[23] * ((near / 12.0) ** 2 - 1.0)
    wall += sec[base + 6] * math.exp(-((q / 17.0) ** 4))
    return wall + _herniation(s, u, disc)


@njit(cache=True, nogil=True, fastmath=True)
def _herniation(s, u, disc):
    """How far a herniation stands out of the disc's posterior margin, in mm."""
    if disc[6] <= 0:
        return 0.0
    ds = (s - disc[0] - disc[9]) / 5.5
    du = (u - disc[7]) / disc[8]
    return disc[6] * math.exp(-ds * ds * ds * ds - du * du)


@njit(cache=True, nogil=True, fastmath=True)
def _back_wall(q, sec, base):
    """v of the inner surface of the ligament in the midline, and of the superior facet's bone from its tip outward."""
    qm, vm, qt, vt = sec[base], sec[base + 1], sec[base + 2], sec[base + 3]
    if q < qm:
        r = q / qm
        return sec[0] + (vm - sec[0]) * (0.8 * r + 0.2 * r * r)
    if q < qt:
        r = (q - qm) / (qt - qm)
        return vm + (vt - vm) * r * (2 - r)
    return vt + sec[24 + base // 8] * min(q - qt, SLOPING_MM)


@njit(cache=True, nogil=True, fastmath=True)
def _owner(s, discs):
    """Index of the vertebra between the discs that enclose s."""
    k = 0
    while k < discs.shape[0] and s < discs[k, 0]:
        k += 1
    return k


@njit(cache=True, nogil=True, fastmath=True)
def _bone(distance, shell):
    return CORTEX if distance < shell else CANCELLOUS


@njit(cache=True, nogil=True, fastmath=True)
def _column_label(s, u, v, q, k, wall, vertebra, disc_near):
    """Vertebral body or disc."""
    depth, width = vertebra[3], vertebra[2]
    tau = (s - vertebra[0]) / (vertebra[1] / 2)
    flat = min(abs(tau), 1.0)
    if k >= 8:  # the sacrum is one wedge that narrows downward
        depth *= 1.11 - 0.36 * (0.5 - tau / 2)
        width *= 1.06 - 0.24 * (0.5 - tau / 2)
        flat = 1.0
    lip = max(0.0, (abs(tau) - 0.72) / 0.28)
    grow = vertebra[18] * min(lip, 1.3)
    semi_u = width * (1 - vertebra[15] * (1 - flat * flat)) + grow * (0.7 if v > -8 else 1.0)
    semi_v = depth / 2 * (1 - 0.6 * vertebra[15] * (1 - flat * flat)) + 0.8 + 0.5 * grow
    offset = (v + depth / 2 - 0.8) / semi_v
    a, b = abs(u / semi_u), abs(offset)
    if a > 1.2 or b > 1.2:
        return NONE
    radius = (a * a * math.sqrt(a) + b * b * math.sqrt(b)) ** 0.4
    if radius > 1.25:
        return NONE
    middle = max(0.0, 1 - radius * radius)
    half = vertebra[1] / 2 - vertebra[16] * middle
    if abs(s - vertebra[0]) < half:
        body_wall = wall if flat > 0.86 and disc_near[13] > 0 else min(wall, 0.35 + 0.3 * (q > 12))
        if radius >= 1 or v > body_wall:
            if v <= wall and radius < 1.05 and v > body_wall:
                return DISC
            return NONE
        edge = min((1 - radius) * min(semi_u, semi_v), body_wall - v)
        if k < 8 and abs(tau) < 0.14 and q < 3.0 and v > -9:
            return VEIN
        if edge < vertebra[17]:
            return CORTEX
        return ENDPLATE if half - abs(s - vertebra[0]) < 1.3 else CANCELLOUS
    if k >= 9 or (k == 8 and tau < 0):  # sacral discs are fused but for a remnant
        if radius >= 1 or v > 0.4:
            return NONE
        if radius < 0.5 and k < 10:
            return DISC
        return _bone(min((1 - radius) * min(semi_u, semi_v), 0.4 - v), vertebra[17])
    reach = 1 + disc_near[2] / semi_u
    if radius < reach and v <= wall:
        if disc_near[3] > 0:
            du, dv = (u - disc_near[4]) / 9.0, (v - disc_near[5]) / 4.5
            if du * du + dv * dv < disc_near[3] and abs(s - disc_near[0]) < 0.22 * disc_near[1]:
                return VACUUM
        return DISC
    return NONE


@njit(cache=True, nogil=True, fastmath=True)
def _facet_label(s, q, v, inner, joint):
    """Facet block at a disc, cut by its joint."""
    if s <= joint[9] or s >= joint[10]:
        return NONE
    middle, span = (joint[9] + joint[10]) / 2, (joint[10] - joint[9]) / 2
    t = abs(s - middle) / span
    shrink = 1 - 0.35 * t * t * t
    a, b = (q - joint[0]) / (joint[2] * shrink), (v - joint[1]) / (joint[3] * shrink)
    radius = math.sqrt(math.sqrt(a * a * a * a + b * b * b * b))
    if radius >= 1 or v < inner:
        return NONE
    along = joint[6] * (q - joint[4]) + joint[7] * (v - joint[5])
    across = joint[7] * (q - joint[4]) - joint[6] * (v - joint[5]) + 0.022 * along * along - 0.6
    if s > joint[10] - 4 and across < -1:
        return NONE  # above, only the superior process remains
    if abs(across) < joint[8] / 2:
        return VACUUM if joint[11] > 0 and abs(along) < 4 else JOINT
    edge = min((1 - radius) * joint[2], abs(across) - joint[8] / 2)
    return CORTEX if min(edge, v - inner + 0.6) < 2.1 else ENDPLATE  # facets are dense throughout


@njit(cache=True, nogil=True, fastmath=True)
def _arch_label(s, u, q, v, inner, apex, vertebra, k):
    """Pedicle, pars, lamina, spinous and transverse process of one vertebra; sacral wings."""
    centre, height, half_pedicle, half_height, wall = vertebra[0], vertebra[1], vertebra[4], vertebra[5], vertebra[6]
    pedicle_s = centre + 0.22 * height
    a, b = (s - pedicle_s) / half_height, (q - wall - half_pedicle) / half_pedicle
    r = a * a + b * b
    if r < 1 and -7 < v < 13:
        return _bone((1 - math.sqrt(r)) * half_pedicle, 1.6)
    if vertebra[20] > 0:
        label = _wing_label(s, q, v, vertebra, k)
        if label != NONE:
            return label
    dq, dv = (q - wall - 1.5) / 6.5, (v - 13.5) / 6.5
    r = dq * dq + dv * dv
    if r < 1 and vertebra[7] + 3 < s < pedicle_s + half_height and v > inner - 1.0:
        return _bone((1 - math.sqrt(r)) * 6, 2.0)
    low, high = vertebra[7], vertebra[8]
    if k >= 8:
        low, high = centre - 0.75 * height, centre + 0.3 * height
    taper = min(s - low, high - s)
    if taper > 0 and q < wall + 4:
        thick = vertebra[9] * min(1.0, 0.45 + taper / 8.0) * (0.75 + 0.35 * q / wall)
        if inner < v < inner + thick:
            return _bone(min(min(v - inner, inner + thick - v), taper), 1.9)
    slope = s + 0.22 * (v - apex)
    length = vertebra[12]
    if v > apex and v < apex + length and vertebra[10] < slope < vertebra[11]:
        half = vertebra[13] * (0.85 + 0.5 * max(0.0, (v - apex) / length - 0.55)) + max(0.0, 3.0 - (v - apex) * 0.6)
        half *= min(1.0, 0.5 + min(slope - vertebra[10], vertebra[11] - slope) / 5.0)
        if q < half:
            return _bone(min(half - q, apex + length - v), 1.2)
    reach = wall + 2 * half_pedicle
    if vertebra[14] > 0 and reach - 2 < q < reach + vertebra[14]:
        axis = 7.0 + 0.12 * (q - reach)
        ds, dv = (s - pedicle_s - 0.05 * (q - reach)) / 5.2, (v - axis) / 3.9
        r = ds * ds + dv * dv
        if r < 1:
            return _bone((1 - math.sqrt(r)) * 4, 1.4)
    return NONE


@njit(cache=True, nogil=True, fastmath=True)
def _wing_label(s, q, v, vertebra, k):
    """Lateral mass of a sacral (or transitional) vertebra, with its foramina."""
    half, width = vertebra[20], vertebra[2]
    centre, height = vertebra[0], vertebra[1]
    if (
        q < width * 0.6
        or q > half + 3
        or s > centre + 0.5 * height + (2 if k == 8 else 12)
        or s < centre - 0.62 * height
    ):
        return NONE
    if k == 7 and s > centre + 0.35 * height:
        return NONE
    front = -vertebra[3] * 0.78 + 0.3 * (q - 0.6 * width) + (8 if k == 7 else 0)
    if k >= 8:
        front += 0.22 * (centre - s) + (max(0.0, s - centre - 0.15 * height) * 0.6 if k == 8 else 0.0)
    back = 12.0 + 0.15 * (q - width) if q < half - 12 else 12.0 - 0.4 * (q - half + 12)
    hole = s - (centre - 0.5 * height)
    dq = q - 0.72 * width
    if k >= 8 and abs(hole) < 6 and dq * dq / 30 + hole * hole / 36 < 1 and v > -20 and v < 8:
        return ROOT if dq * dq + hole * hole < 8 and abs(v + 6) < 8 else FORAMEN_FAT
    if v <= front or v >= back or q > half:
        return NONE
    return _bone(min(min(v - front, back - v), half - q), 1.7)


@njit(cache=True, nogil=True, fastmath=True)
def spine_label(s, u, v, section, s0, step, vertebrae, joints, discs):
    """Label of a point in spine coordinates, or NONE where the trunk has it."""
    index = int((s - s0) / step + 0.5)
    if index < 0 or index >= section.shape[0]:
        return NONE
    sec = section[index]
    side = 0 if u >= 0 else 1
    q = abs(u)
    base = 1 + 8 * side
    k = _owner(s, discs)
    near = k
    if k > 0 and (k == discs.shape[0] or discs[k - 1, 0] - s < s - discs[k, 0]):
        near = k - 1
    disc = discs[near]
    wall = _front_wall(s, u, q, sec, base, disc)
    if v < wall + 0.5 and q < 1.3 * vertebrae[k, 2] + 8:
        label = _column_label(s, u, v, q, k, wall, vertebrae[k], disc)
        if label != NONE:
            return label
    openness = sec[base + 7]
    in_front = openness > 0.15 and -9 < v <= wall and v < _back_wall(q, sec, base)
    if in_front and (q < sec[base + 2] + 1.5 or _herniation(s, u, disc) > HERNIATED_MM):
        return DISC  # what bulges or herniates past the disc's outline; a facet stops it
    apex = sec[0]
    flavum = sec[base + 4] * (1.0 if q < sec[base + 2] else max(0.0, 1 - (q - sec[base + 2]) / 3))
    incline = (apex - sec[base + 1]) / sec[base]  # along v, a slanted sheet looks thicker
    flavum *= math.sqrt(1 + incline * incline) if q < sec[base] else 1.0
    # The ligament lies behind the canal's surface in the midline, and before the facet, within the recess, at its tip.
    beside = min(1.0, max(0.0, (q - sec[base]) / max(0.5, sec[base + 2] - sec[base])))
    flavum *= 1 - 0.6 * beside
    inner = _back_wall(q, sec, base) + (1 - beside) * flavum
    back = max(inner - flavum, min(wall, inner))
    if v > -9:
        if v > back or q > sec[base + 5] - 3.5:
            label = _facet_label(s, q, v, inner, joints[near, side])
            if label == NONE:
                label = _arch_label(s, u, q, v, max(inner, back), apex, vertebrae[k], k)
            if label == NONE and k > 0:
                label = _arch_label(s, u, q, v, max(inner, back), apex, vertebrae[k - 1], k - 1)
            if label != NONE and not (v < back and q < sec[base + 2] - 0.5):
                return label
        if back <= v < inner and openness > 0.15 and q < sec[base + 2] + 2.5:
            if disc[10] > 0 and q > 3 and (v - back) > (1 - disc[10]) * flavum:
                return CALCIFIED
            return FLAVUM
    limit = sec[base + 5] if openness < 0.5 else sec[base + 2] + 0.8
    if v > wall and v < back:
        if q < limit:
            return _canal_label(s, u, v, q, wall, back, sec, base, disc, near, openness, vertebrae[k], k)
        if q < limit + 10 and v < 13:
            return _foramen_label(s, q, v, vertebrae[k], k)
    elif v > -6 and v <= wall + 12 and q > vertebrae[k, 2] * 0.55 and q < vertebrae[k, 6] + 9 and k < 8:
        return _foramen_label(s, q, v, vertebrae[k], k)
    return NONE


@njit(cache=True, nogil=True, fastmath=True)
def _canal_label(s, u, v, q, wall, back, sec, base, disc, near, openness, vertebra, k):
    """Sac, root, vein or fat within the canal."""
    front = -sec[23] + 0.55 * sec[base + 6] + sec[19]
    t = (v - front) / sec[18]
    alpha, beta = sec[20], sec[21]
    if 0 < t < 1 and v > wall + 0.45 and v < back - 0.45:
        peak = alpha / (alpha + beta)
        norm = peak**alpha * (1 - peak) ** beta
        width = sec[17] * t**alpha * (1 - t) ** beta / norm
        if abs(u - sec[22]) < width:
            return SAC
    gap = back - wall
    root_q = sec[base + 2] - 1.2
    root_v = wall + 0.48 * gap
    below = s - disc[0]
    if near >= 2 and -15 < below < 3 and gap > 0.6:
        dq, dv = (q - root_q) / disc[12], (v - root_v) / min(disc[12], 0.46 * gap)
        if dq * dq + dv * dv < 1:
            return ROOT
    if openness < 0.45 and v < wall + 2.2 and 1.2 < q < 9:
        return VEIN
    return EPIDURAL_FAT


@njit(cache=True, nogil=True, fastmath=True)
def _foramen_label(s, q, v, vertebra, k):
    """Fat of the neural foramen with the ganglion under the pedicle."""
    under = s - (vertebra[0] + 0.22 * vertebra[1] - vertebra[5] - 4.5)
    dq, dv = q - vertebra[6] - 4.5, v - 4.0
    if dq * dq / 22 + dv * dv / 10 + under * under / 18 < 1:
        return ROOT
    return FORAMEN_FAT


@njit(cache=True, nogil=True, fastmath=True)
def _ellipse(x, y, cx, cy, rx, ry):
    a, b = (x - cx) / rx, (y - cy) / ry
    return a * a + b * b


@njit(cache=True, nogil=True, fastmath=True)
def trunk_label(x, y, xt, yt, rise, body, noise):
    """Label outside the spine. x, y: mm from the posterior wall of the spine at this height; xt, yt: from the trunk's
    own axis; rise: z above L5/S1."""
    half_w, half_d = body[0], body[1]
    centre_y = body[2] - half_d
    q, qt = abs(x), abs(xt)
    a, b = qt / half_w, abs(yt - centre_y) / half_d
    hull = (a * a * math.sqrt(a) + b * b * math.sqrt(b)) ** 0.4
    if hull > 1:
        if body[2] + body[19] < yt < body[2] + body[19] + 14 and qt < 200:
            return TABLE
        return AIR
    if (1 - hull) * half_d < 1.6:
        return SKIN
    inner_w, inner_d = half_w - body[3], half_d - 0.8 * body[3]
    a, b = qt / inner_w, abs(yt - centre_y) / inner_d
    hull_in = (a * a * math.sqrt(a) + b * b) ** 0.45
    back_end = body[17] + 9
    bulk = _ellipse(q, y, 0.47 * body[7], 20.0, 0.55 * body[7], body[17] - 4.0)
    if y > 6 and bulk < 1 and y < back_end:
        if q < 1.2 or (abs(bulk - 0.42) < 0.035 and q > 18):
            return FAT
        return MUSCLE
    iliac = _iliac_label(q, y, rise, body)
    if iliac != NONE:
        return iliac
    if hull_in > 1 or y > back_end:
        return FAT
    level = rise / 36.0  # roughly: 1 L4/5, 2 L3/4, 3 L2/3, 4 L1/2
    near = _near_spine_label(q, y, level, body, noise)
    if near != NONE:
        return near
    vessel = _vessel_label(x, y, level, body, noise)
    if vessel != NONE:
        return vessel
    floor = body[14] + 172
    if rise > floor - 0.35 * max(0.0, qt - 40) and q > 21 and hull_in < 0.9 and y > -95:
        return LUNG
    ring = (1 - hull_in) * inner_d
    if ring < body[4]:
        rib = _rib_label(qt, yt, rise, centre_y, inner_w, inner_d, ring)
        return rib if rib != NONE else (MUSCLE if ring > 1.5 else FAT)
    if 2.4 < level < 5.2 and _ellipse(q, y, 60, -26, body[12] * 0.9, body[12]) < 1 - 0.25 * abs(level - 3.8):
        return ORGAN
    if level > 3.2 and (xt < -38 or xt > 66) and hull_in < 0.86 and yt < 10:
        return ORGAN
    if noise > 1.1 - 1.4 * (1 - body[21]) and y < -52:
        return GAS if noise > 1.6 and y < -90 and body[13] > 0.4 else BOWEL
    return FAT


@njit(cache=True, nogil=True, fastmath=True)
def _near_spine_label(q, y, level, body, noise):
    """Psoas, quadratus lumborum, deep back muscles and, behind the pelvis, the gluteal mass."""
    psoas = body[6] * min(1.15, max(0.0, 1.12 - 0.2 * max(level - 0.8, 0.0)))
    if psoas > 4 and level > -1.5:
        cx = 21 + 0.8 * psoas + max(0.0, -level) * 14
        if _ellipse(q, y, cx, -12 - max(0.0, -level) * 18, 0.85 * psoas, 1.05 * psoas) < 1:
            return MUSCLE
    if _ellipse(q, y, 62, 4, 17, 9) < 1 and 0.3 < level < 4:
        return MUSCLE
    if 22 < q < 60 and 2 < y < 22 and level < 4.5:
        return FAT if abs(q - 44) < 1.0 or noise > 1.6 else MUSCLE
    if q < 10 + 0.6 * body[0] and y > 12 and level < -0.3:
        return MUSCLE
    return NONE


@njit(cache=True, nogil=True, fastmath=True)
def _vessel_label(x, y, level, body, noise):
    r = body[8]
    if level > 0.9:
        d = _ellipse(x, y, body[9], -42 - r, r, r)
        if d < 1:
            return CALCIFIED if body[18] > 0 and d > 0.72 and noise > 0.75 else VESSEL
        if _ellipse(x, y, body[10], -40 - r, 1.15 * r, 0.85 * r) < 1:
            return VESSEL
        return NONE
    spread = 14 + 22 * (0.9 - level)
    for sign in (-1, 1):
        if _ellipse(x, y, sign * spread, -42 - r + 8 * (0.9 - level), 0.6 * r, 0.6 * r) < 1:
            return VESSEL
        if _ellipse(x, y, sign * (spread - 4), -32 - r + 10 * (0.9 - level), 0.65 * r, 0.6 * r) < 1:
            return VESSEL
    return NONE


@njit(cache=True, nogil=True, fastmath=True)
def _iliac_label(q, y, rise, body):
    """Iliac wing: a bowed plate from the sacroiliac joint forward and outward, up to its crest."""
    along = (35.0 - y) / 95.0
    if along < 0 or along > 1:
        return NONE
    low = max(0.0, -rise - 10) / 70.0
    axis = 43 + 14 * along + (66 - 30 * low) * along**3
    crest = body[15] - 90 * (along - 0.45) ** 2 - 25 * max(0.0, 0.2 - along)
    thick = 4.0 + 5.5 * (1 - along) * min(1.0, max(0.0, crest - rise) / 25) + (2.0 if crest - rise < 10 else 0.0)
    if rise > crest or rise < -95:
        return NONE
    d = abs(q - axis)
    if d < thick:
        return CORTEX if thick - d < 1.5 or crest - rise < 1.5 else CANCELLOUS
    if q > axis and q < axis + 34 and along > 0.12:
        return MUSCLE
    if q < axis and q > axis - 12 and along > 0.45:
        return MUSCLE
    return NONE


@njit(cache=True, nogil=True, fastmath=True)
def _rib_label(q, y, rise, centre_y, inner_w, inner_d, ring):
    angle = math.atan2(q / inner_w, (y - centre_y) / inner_d) / math.pi  # 0 at the back, 1 in front
    if ring > 9 or ring < 1.5:
        return NONE
    for rib in range(4):
        length = 0.34 + 0.16 * rib
        start = 158 + 33 * rib
        axis = start - 150 * (angle - 0.1)
        d = abs(rise - axis)
        if 0.1 < angle < length and d < 7.5:
            return CORTEX if d > 5 or ring > 7 or ring < 3.2 else CANCELLOUS
    return NONE


@njit(cache=True, nogil=True, fastmath=True)
def trace_plane(
    z, ys, xs, curve, kappa, guess, z0, section, vertebrae, joints, discs, body, mean, texture, cloud, labels, hu
):
    """Fill `labels` (int8) and `hu` (float32) [row, column] of the axial plane at z for the given y and x (mm).

    `guess` holds s for heights z0, z0 + 1, ... ; `texture` is
    fine and `cloud` broad periodic noise of unit variance [64, 64, 64].
    """
    n = curve.shape[0]
    s_first, step = curve[0, 0], curve[1, 0] - curve[0, 0]
    zi = min(max(int(z - z0), 0), guess.shape[0] - 1)
    start = guess[zi]
    mid = min(max(int((start - s_first) / step), 0), n - 2)
    spine_x, spine_y = curve[mid, 1], curve[mid, 2]
    iz, iz2 = int(z * 0.7 + 4096), int(z * 0.8 + 4096)
    row_start = start
    for r in range(ys.shape[0]):
        y = ys[r]
        s = row_start
        fresh = True
        for c in range(xs.shape[0]):
            x = xs[c]
            label = NONE
            fine = texture[iz & 63, int(y * 1.35 + 4096) & 63, int(x * 1.35 + 4096) & 63]
            broad = cloud[iz2 & 63, int(y * 0.9 + 4096) & 63, int(x * 0.9 + 4096) & 63]
            if abs(x - spine_x) < 62 and -62 < y - spine_y < 72:
                for _ in range(3):
                    f = (s - s_first) / step
                    i = min(max(int(f), 0), n - 2)
                    w = f - i
                    cx = curve[i, 1] + w * (curve[i + 1, 1] - curve[i, 1])
                    cy = curve[i, 2] + w * (curve[i + 1, 2] - curve[i, 2])
                    cz = curve[i, 3] + w * (curve[i + 1, 3] - curve[i, 3])
                    sp, cp, sr = curve[i, 4], curve[i, 5], curve[i, 6]
                    dx, dy, dz = x - cx, y - cy, z - cz
                    v = dy * cp + dz * sp
                    miss = dx * sr * cp - dy * sp + dz * cp
                    s += miss / max(0.35, 1 + kappa[i] * v)
                    if abs(miss) < 0.05:
                        break
                if fresh:
                    row_start, fresh = s, False
                so, co = curve[i, 8], curve[i, 9]
                a = dx - dz * sr
                u0 = co * a + so * v
                v0 = co * v - so * a
                label = spine_label(s, u0, v0, section, s_first, step, vertebrae, joints, discs)
            if label == NONE:
                label = trunk_label(x - spine_x, y - spine_y, x - body[22], y - body[23], z, body, broad)
            value = mean[label]
            if label == CANCELLOUS:
                value += 38 * fine + 18 * broad
            elif label == CORTEX:
                value += 60 * fine
            elif label == MUSCLE:
                streak = 0.6 * fine + 0.9 * broad
                if streak > 1.9 - 2.2 * body[5]:
                    value -= 120 * min(1.0, 0.4 + 0.6 * body[5])
                else:
                    value += 4 * fine - 30 * body[5]
            elif label == VESSEL:
                if body[11] > 0:
                    value = body[11]
            elif label == ORGAN:
                value = body[20] + 14 * broad
            elif label == BOWEL:
                value += 14 * fine
                if body[16] > 0 and broad > 1.0:
                    value = body[16] + 20 * fine
            elif label == LUNG:
                value += 60 * fine
            elif label == FAT:
                value += 5 * fine + (25 if fine > 2.0 else 0)
            elif label in (DISC, FLAVUM):
                value += 5 * fine + 4 * broad
            elif label == SAC:
                value += 3 * fine
            elif label in (EPIDURAL_FAT, FORAMEN_FAT):
                value += 10 * fine
            labels[r, c] = label
            hu[r, c] = value


def make_texture(seed: int, *, spread: float) -> np.ndarray:
    """Periodic noise of unit variance [64, 64, 64] float32, correlated over about `spread` voxels."""
    white = np.random.default_rng(seed).standard_normal((TEXTURE,) * 3)
    spectrum = np.fft.rfftn(white)
    f, half = np.fft.fftfreq(TEXTURE), np.fft.rfftfreq(TEXTURE)
    squared = f[:, None, None] ** 2 + f[None, :, None] ** 2 + half**2
    smooth = np.fft.irfftn(spectrum * np.exp(-2 * (np.pi * spread) ** 2 * squared), s=white.shape, axes=(0, 1, 2))
    return (smooth / smooth.std()).astype(np.float32)
