"""Which slices are discs, and which disc each is: the canal is followed, the spine straightened, discs are counted.

Levels are counted upward from the L5/S1 disc: the one above the sacral wings. The wings are measured on the bone, since
a network trained on simulated sacra does not know every real one: it is believed only where there are wings, or where
the first disc that it calls thoracic lies just as many discs above. Where the sacrum is not in view, levels stay
unknown; they are never guessed from the top. Where thoracic discs contradict the count, the numbering is in doubt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate, pad

from lss_core.grading.checkpoint import configuration_from
from lss_core.grading.detector import SliceFinding
from lss_core.grading.sacrum import ABOVE_SACRUM_MM, sacrum_top, wing_share, wings_below
from lss_core.imaging.straighten import (
    DEPTHS_MM,
    PITCH_MM,
    SLAB_OFFSETS_MM,
    CanalLine,
    Straightened,
    extend_line,
    in_plane_mm,
    straighten,
)
from lss_core.imaging.volume import Volume, window
from lss_core.vocabulary import DiscLevel

ANY_DISC, LUMBOSACRAL, THORACIC = 0, 1, 2           # heat map channels
TOWARD = 3                                          # channel of the distance to the disc, mm headward
WIDEST_GAP_MM = 80.0                                # between discs of one spine, two of them unseen
NEAR_MM = 4.0                                       # rows this close to a peak say together where its disc is
LEVELS_UPWARD = tuple(reversed(DiscLevel))          # L5/S1 first
LEAST_LIKELIHOOD = 0.05                             # so that one disc seen wrongly does not outvote all others
CANDIDATE = 0.2                                     # least lumbosacral heat of a disc for which other signs speak
WINGS_SAY = 2.0                                     # log-likelihood that a disc at the top of the wings gains
MIN_EXTENT_MM = 30.0                                # shorter volumes hold too little spine to look for discs along it


@dataclass(frozen=True)
class LevelsConfig:
    """Fields of a level network's card."""

    width: int = 24
    depth: int = 4                          # halvings
    threshold: float = 0.3                  # least heat of a reported disc
    faint_threshold: float = 0.1            # the same just above the sacral wings, where a disc must be
    lumbosacral_threshold: float = 0.8      # least heat at which the network alone names the L5/S1 disc
    least_wings: float = 0.04               # below this share of bone under a disc, its opinion needs thoracic discs
    thoracic_threshold: float = 0.5
    nearest_mm: float = 18.0                # discs closer than this are one
    farthest_mm: float = 52.0               # a wider gap holds a disc that was not seen


class LevelNetwork(nn.Module):
    """A small U-Net over the straightened sagittal slabs; a head of its own says where exactly each disc lies."""

    def __init__(self, config: LevelsConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2 ** min(k, 3) for k in range(config.depth + 1)]
        inputs = [len(SLAB_OFFSETS_MM), *widths[:-1]]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip(inputs, widths, strict=True))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(widths))
        self.heat = nn.Conv2d(config.width, 3, 1)
        nn.init.constant_(self.heat.bias, -4.0)  # type: ignore[arg-type]
        self.toward = nn.Sequential(_block(config.width, config.width), nn.Conv2d(config.width, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 5, Z, D) of any size to (B, 4, Z, D): three heat logits, and mm from each row up to its disc."""
        rows, cols = images.shape[2:]
        multiple = 2**self.config.depth
        x = pad(images, (0, -cols % multiple, 0, -rows % multiple), mode="replicate")
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = block(torch.cat([skip, interpolate(x, scale_factor=2.0, mode="nearest")], dim=1))
        return torch.cat([self.heat(x), self.toward(x)], dim=1).float()[:, :, :rows, :cols]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((inputs, outputs), (outputs, outputs)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def build_level_network(configuration: Mapping[str, Any]) -> LevelNetwork:
    """From the fields of a card."""
    return LevelNetwork(configuration_from(LevelsConfig, configuration))


@dataclass(frozen=True)
class DiscFinding:
    """A disc where it meets the canal; `level` is None where it cannot be counted."""

    position_mm: float
    slice_index: int
    confidence: float
    level: DiscLevel | None
    level_doubted: bool = False     # thoracic discs contradict it


def level_image(straightened: Straightened) -> np.ndarray:
    """The network's input: float32 [5, z, depth] in 0..1."""
    return window(straightened.hu, width=700, level=150)


def find_levels(network: LevelNetwork, volume: Volume, line: CanalLine) -> list[DiscFinding]:
    """The lumbar discs of a volume, from foot to head."""
    straightened = straighten(volume, line)
    with torch.inference_mode():
        maps = network(torch.from_numpy(level_image(straightened))[None])[0]
    heat, toward_mm = maps[:TOWARD].sigmoid().numpy(), maps[TOWARD].numpy()
    shares = wing_share(volume, line)
    top = sacrum_top(shares, volume.positions_mm)
    window_mm = None if top is None else (top - ABOVE_SACRUM_MM[0], top + ABOVE_SACRUM_MM[1])
    discs = find_discs(heat, toward_mm, straightened.positions_mm, network.config, window_mm)
    discs = [replace(disc, wings=wings_below(shares, volume.positions_mm, disc.position_mm)) for disc in discs]
    doubted = numbering_doubted(discs, network.config, window_mm)
    return [
        DiscFinding(
            disc.position_mm, int(np.argmin(np.abs(volume.positions_mm - disc.position_mm))), disc.heat, level, doubted
        )
        for disc, level in name_discs(discs, network.config, window_mm)
    ]


@dataclass(frozen=True)
class DiscPeak:
    """A peak of the heat along the canal, with what speaks for its being L5/S1 or thoracic."""

    position_mm: float
    heat: float
    lumbosacral: float
    thoracic: float
    wings: float = 0.0          # share of bone where sacral wings would lie, under this disc


def find_discs(
    heat: np.ndarray, toward_mm: np.ndarray, positions_mm: np.ndarray, config: LevelsConfig,
    window_mm: tuple[float, float] | None = None,
) -> list[DiscPeak]:
    """Read heat [3, z, depth]: the chain of peaks along the canal that best agrees with the spacing of discs.

    Args:
        toward_mm: [z, depth], how far headward of each row the disc lies that is hot there.
        window_mm: Where the L5/S1 disc must lie by the sacral wings; fainter heat is enough there.
    """
    read = (DEPTHS_MM > -22.0) & (DEPTHS_MM < 6.0)
    along = heat[:, :, read].max(axis=2)                                            # [3, z]
    profile = along[ANY_DISC]
    inner = np.pad(profile, 1, constant_values=-1.0)
    least = np.full(len(profile), config.threshold)
    if window_mm is not None:
        least[(positions_mm >= window_mm[0]) & (positions_mm <= window_mm[1])] = config.faint_threshold
    rows = np.flatnonzero((profile >= least) & (profile > inner[:-2]) & (profile >= inner[2:]))
    reach = max(1, round(6.0 / PITCH_MM))
    peaks = []
    for row in rows:
        beside = along[:, max(row - reach, 0) : row + reach + 1].max(axis=1)
        peaks.append(DiscPeak(
            _place(heat[ANY_DISC][:, read], toward_mm[:, read], positions_mm, int(row)), float(profile[row]),
            float(beside[LUMBOSACRAL]), float(beside[THORACIC]),
        ))
    return _best_chain(peaks, config)


def _place(heat: np.ndarray, toward_mm: np.ndarray, positions_mm: np.ndarray, row: int) -> float:
    """Where the rows about a peak say that its disc is, each as far as it is hot."""
    reach = round(NEAR_MM / PITCH_MM)
    near = slice(max(row - reach, 0), row + reach + 1)
    said = positions_mm[near, None] + toward_mm[near]
    return float(np.average(said, weights=heat[near]))


def _best_chain(peaks: Sequence[DiscPeak], config: LevelsConfig) -> list[DiscPeak]:
    """The subset of greatest summed heat in which no two discs are closer than `nearest_mm`."""
    best: list[tuple[float, int | None]] = []
    for k, peak in enumerate(peaks):
        earlier = [
            (best[j][0], j) for j in range(k) if peak.position_mm - peaks[j].position_mm >= config.nearest_mm
        ]
        score, previous = max(earlier, default=(0.0, None), key=lambda item: item[0])
        best.append((score + peak.heat, previous))
    chain: list[DiscPeak] = []
    at: int | None = max(range(len(best)), key=lambda k: best[k][0], default=None)
    while at is not None:
        chain.append(peaks[at])
        at = best[at][1]
    return chain[::-1]


def _lumbosacral(discs: Sequence[DiscPeak], config: LevelsConfig, window: tuple[float, float] | None) -> int | None:
    """Index of the L5/S1 disc: the likeliest, if one is recognised or lies at the top of the wings."""
    at_wings = [window is not None and window[0] <= disc.position_mm <= window[1] for disc in discs]
    signs = [
        (disc.wings >= config.least_wings) + (_first_thoracic(discs, k, config) == len(LEVELS_UPWARD))
        for k, disc in enumerate(discs)
    ]
    enough = (np.inf, config.lumbosacral_threshold, CANDIDATE)      # of the network's heat, by how much agrees with it
    recognised = [disc.lumbosacral >= enough[n] for disc, n in zip(discs, signs, strict=True)]
    if not any(at_wings) and not any(recognised):
        return None
    candidates = [
        k for k, disc in enumerate(discs) if at_wings[k] or (signs[k] and disc.lumbosacral >= CANDIDATE)
    ]
    return max(candidates, key=lambda k: _log_likelihood(discs, k, config) + WINGS_SAY * at_wings[k])


def _first_thoracic(discs: Sequence[DiscPeak], start: int, config: LevelsConfig) -> int | None:
    """How many discs the first thoracic one lies above the disc at `start`; None where none is seen."""
    counted = _counted(discs, start, config)
    return next((count for disc, count in counted if disc.thoracic >= config.thoracic_threshold), None)


def _log_likelihood(discs: Sequence[DiscPeak], start: int, config: LevelsConfig) -> float:
    """Of what the network says of every disc, if the disc at `start` is L5/S1 and those from the sixth on thoracic."""
    agree = [disc.lumbosacral if k == start else 1.0 - disc.lumbosacral for k, disc in enumerate(discs)]
    agree += [
        disc.thoracic if count >= len(LEVELS_UPWARD) else 1.0 - disc.thoracic
        for disc, count in _counted(discs, start, config)
    ]
    return float(np.log(np.maximum(agree, LEAST_LIKELIHOOD)).sum())


def _counted(discs: Sequence[DiscPeak], start: int, config: LevelsConfig) -> Iterator[tuple[DiscPeak, int]]:
    """Discs from `start` on with their number above it; a gap wider than `farthest_mm` holds one unseen disc."""
    count = 0
    for k in range(start, len(discs)):
        if k > start:
            count += 2 if discs[k].position_mm - discs[k - 1].position_mm > config.farthest_mm else 1
        yield discs[k], count


def name_discs(
    discs: Sequence[DiscPeak], config: LevelsConfig, window_mm: tuple[float, float] | None = None
) -> list[tuple[DiscPeak, DiscLevel | None]]:
    """Count upward from L5/S1 where it is recognised; otherwise leave out thoracic discs and name none.

    A gap wider than `farthest_mm` counts as one unseen disc, so that those above it keep their names.

    Args:
        window_mm: Where the L5/S1 disc must lie by the sacral wings, if they are in view.
    """
    start = _lumbosacral(discs, config, window_mm)
    if start is None:
        return [(disc, None) for disc in discs if disc.thoracic < config.thoracic_threshold]
    counted = _counted(discs, start, config)
    return [(disc, LEVELS_UPWARD[count]) for disc, count in counted if count < len(LEVELS_UPWARD)]


def numbering_doubted(
    discs: Sequence[DiscPeak], config: LevelsConfig, window_mm: tuple[float, float] | None = None
) -> bool:
    """Whether `name_discs` counts from a disc above which the first thoracic one lies at an unusual place."""
    start = _lumbosacral(discs, config, window_mm)
    return start is not None and _first_thoracic(discs, start, config) not in (None, len(LEVELS_UPWARD))


def one_spine(discs: Sequence[DiscFinding]) -> list[DiscFinding]:
    """The discs, from foot to head, without those beyond a gap that no spine has: a canal traced into a hip ends there.

    Of the parts that such gaps leave, the one with most discs stays; of equal ones that nearer to the head.
    """
    parts: list[list[DiscFinding]] = []
    for disc in discs:
        if parts and disc.position_mm - parts[-1][-1].position_mm <= WIDEST_GAP_MM:
            parts[-1].append(disc)
        else:
            parts.append([disc])
    return max(reversed(parts), key=len, default=[])


STEP_PENALTY_PER_MM = 0.04          # of canal shift beyond what the spine's curve allows
FREE_SLOPE = 1.0                    # mm of in-plane shift per mm along the spine that cost nothing (sacrum)
SKIP_SCORE = 0.12                   # a slice without a trusted peak scores this


def trace_canal(findings: Sequence[SliceFinding], volume: Volume) -> CanalLine | None:
    """Join canal peaks of neighbouring slices into one smooth line; None where no slice has a trusted peak.

    Dynamic programming over each slice's candidates: heat is gained, jumps that a spine does not make cost. A peak that
    no neighbour continues is passed over, and the line is interpolated there.
    """
    nodes = [
        (float(volume.positions_mm[f.slice_index]), *in_plane_mm(volume, f.slice_index, *c.box.centre), c.confidence)
        for f in findings if f.gradable > 0.1 for c in f.canal_candidates if c.confidence > SKIP_SCORE
    ]
    if not nodes:
        return None
    path = np.array(_best_path(nodes))
    positions = volume.positions_mm
    traced = positions[(positions >= path[0, 0]) & (positions <= path[-1, 0])]
    rows, cols = (_smoothed(traced, np.interp(traced, path[:, 0], path[:, k])) for k in (1, 2))
    return extend_line(positions, CanalLine(traced, rows, cols))


def _best_path(nodes: Sequence[tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    """Nodes (position, row, column, heat), in order of position, to the path of the greatest score."""
    table = np.array(nodes)
    score, previous = table[:, 3] - SKIP_SCORE, np.full(len(nodes), -1)
    for k in range(1, len(nodes)):
        first = max(0, k - 40)
        rise = table[k, 0] - table[first:k, 0]
        shift = np.hypot(table[k, 1] - table[first:k, 1], table[k, 2] - table[first:k, 2])
        cost = STEP_PENALTY_PER_MM * np.maximum(shift - FREE_SLOPE * rise, 0) + np.where(rise > 0, 0, np.inf)
        cost = np.where(shift > 2.0 * rise + 8.0, np.inf, cost)
        gain = score[first:k] - cost
        best = int(gain.argmax())
        if gain[best] > 0:
            previous[k] = first + best
            score[k] += gain[best]
    path, at = [], int(score.argmax())
    while at >= 0:
        path.append(nodes[at])
        at = int(previous[at])
    return path[::-1]


def _smoothed(positions: np.ndarray, values_mm: np.ndarray, sigma_mm: float = 6.0) -> np.ndarray:
    """Gaussian average along the slice positions, straight lines kept at the ends."""
    weights = np.exp(-0.5 * ((positions[:, None] - positions[None, :]) / sigma_mm) ** 2)
    mean = weights @ np.stack([positions, values_mm, positions**2, positions * values_mm, np.ones_like(positions)], 1)
    mean /= mean[:, 4:]
    variance = np.maximum(mean[:, 2] - mean[:, 0] ** 2, 1e-9)
    slope = np.where(variance > 1e-6, (mean[:, 3] - mean[:, 0] * mean[:, 1]) / variance, 0.0)
    return mean[:, 1] + slope * (positions - mean[:, 0])
