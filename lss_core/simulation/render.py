"""A simulated patient through a simulated scanner: HU slices with partial volume, kernel, noise and streaks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from lss_core.simulation import tissue
from lss_core.simulation.anatomy import Patient


@dataclass(frozen=True)
class Acquisition:
    """How a simulated scan is made. Lengths in mm, noise in HU."""

    pixel_mm: float
    slice_spacing_mm: float
    slice_thickness_mm: float
    blur_mm: float  # sigma of the in-plane point spread
    sharpen: float  # 0 soft kernel; above 0 the edge enhancement of a bone kernel
    noise_hu: float  # standard deviation in soft tissue at the centre
    noise_blur_mm: float  # correlation of the noise
    streaks_hu: float  # amplitude of horizontal streaks (pelvis, shoulders)
    hu_offset: float  # calibration error of the scanner
    kernel_name: str


THICKNESS_MM = (0.6, 1.0, 1.25, 2.0, 2.5, 3.0, 4.0, 5.0)
THICKNESS_SHARE = (0.06, 0.14, 0.1, 0.12, 0.1, 0.2, 0.08, 0.2)


def sample_acquisition(rng: np.random.Generator, patient: Patient) -> Acquisition:
    """Draw a scanner setting: field of view 120-500 mm, slices 0.6-5 mm, soft to bone kernel, noise with body size."""
    thickness = float(rng.choice(THICKNESS_MM, p=THICKNESS_SHARE))
    spacing = thickness * float(rng.choice([0.5, 0.8, 1.0], p=[0.12, 0.13, 0.75]))
    trunk = 2 * patient.body[0]
    field = float(np.clip(rng.choice([rng.uniform(120, 240), trunk * rng.uniform(0.9, 1.4)], p=[0.45, 0.55]), 120, 550))
    bone = rng.random() < 0.15
    dose = rng.lognormal(0.05, 0.38)  # down to low-dose protocols
    noise = (rng.uniform(30, 75) if bone else rng.uniform(8, 15)) * np.sqrt(3.0 / max(thickness, 0.8)) ** 0.8
    noise = float(np.clip(noise * dose * (patient.body[0] / 165) ** 1.5, 5, 120))
    return Acquisition(
        pixel_mm=max(field / 512, 0.23),
        slice_spacing_mm=max(spacing, 0.5),
        slice_thickness_mm=thickness,
        blur_mm=float(rng.uniform(0.3, 0.42) if bone else rng.uniform(0.42, 0.72)),
        sharpen=float(rng.uniform(0.4, 1.0) if bone else rng.uniform(0, 0.25)),
        noise_hu=noise,
        noise_blur_mm=float(rng.uniform(0.25, 0.35) if bone else rng.uniform(0.4, 0.95)),  # iterative: coarse
        streaks_hu=float(rng.exponential(4.0)),
        hu_offset=float(rng.normal(0, 4)),
        kernel_name="SIM-BONE" if bone else "SIM-SOFT",
    )


@lru_cache(maxsize=16)
def _textures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return tissue.make_texture(seed, spread=0.95), tissue.make_texture(seed + 1000, spread=2.8)


def trace(patient: Patient, z_mm: float, ys_mm: np.ndarray, xs_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (int8) and noise-free HU (float32) [row, column] of an infinitely thin axial plane."""
    labels = np.empty((len(ys_mm), len(xs_mm)), np.int8)
    hu = np.empty(labels.shape, np.float32)
    tissue.trace_plane(
        float(z_mm),
        ys_mm.astype(np.float64),
        xs_mm.astype(np.float64),
        patient.curve,
        patient.curvature,
        *patient.heights,
        patient.section,
        patient.vertebrae,
        patient.joints,
        patient.discs,
        patient.body,
        patient.hu,
        *_textures(patient.texture_seed % 16),
        labels,
        hu,
    )
    return labels, hu


def expose(
    patient: Patient,
    acquisition: Acquisition,
    z_mm: float,
    ys_mm: np.ndarray,
    xs_mm: np.ndarray,
    *,
    most_planes: int = 4,
) -> np.ndarray:
    """Noise-free float32 HU [row, column] of one slice: tissue averaged over its thickness and over the pixel."""
    planes = int(np.clip(np.ceil(acquisition.slice_thickness_mm / 1.1), 2, most_planes))
    pitch = ys_mm[1] - ys_mm[0]
    shifts = ((-0.25, -0.25), (0.25, 0.25), (0.25, -0.25), (-0.25, 0.25))
    total = np.zeros((len(ys_mm), len(xs_mm)), np.float32)
    for plane in range(planes):
        dz = ((plane + 0.5) / planes - 0.5) * acquisition.slice_thickness_mm
        dy, dx = shifts[plane % 4]
        total += trace(patient, z_mm + dz, ys_mm + dy * pitch, xs_mm + dx * pitch)[1]
    return total / planes


def detect(clean: np.ndarray, acquisition: Acquisition, pitch_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Blur, sharpen and add correlated noise and streaks to slices [..., row, column]; float32 HU.

    Noise has the ramp-filtered spectrum of filtered back projection. Where the pitch is coarser than the scanner's
    pixel, noise falls as averaging would have it.
    """
    rows, cols = clean.shape[-2:]
    shape = (int(fft.next_fast_len(rows + 8, real=True)), int(fft.next_fast_len(cols + 8, real=True)))  # type: ignore[arg-type]
    padded = np.pad(clean, [(0, 0)] * (clean.ndim - 2) + [(0, shape[0] - rows), (0, shape[1] - cols)], mode="edge")
    fy, fx = fft.fftfreq(shape[0], pitch_mm)[:, None], fft.rfftfreq(shape[1], pitch_mm)[None, :]
    squared = fy**2 + fx**2
    blur = np.exp(-2 * np.pi**2 * acquisition.blur_mm**2 * squared)
    transfer = (blur * (1 + acquisition.sharpen * 6 * squared * np.exp(-1.2 * squared))).astype(np.float32)
    sharp = np.asarray(fft.irfft2(np.asarray(fft.rfft2(padded)) * transfer, s=shape))[..., :rows, :cols]
    return sharp + _noise(clean.shape, shape, squared, acquisition, pitch_mm, rng) + np.float32(acquisition.hu_offset)


def _noise(
    out: tuple[int, ...],
    shape: tuple[int, int],
    squared: np.ndarray,
    acquisition: Acquisition,
    pitch_mm: float,
    rng: np.random.Generator,
) -> np.ndarray:
    white = rng.standard_normal((*out[:-2], *shape), dtype=np.float32)
    ramp = np.sqrt(squared) * np.exp(-2 * np.pi**2 * acquisition.noise_blur_mm**2 * squared)
    fine = _noise_power(acquisition.noise_blur_mm, min(pitch_mm, acquisition.pixel_mm))
    kept = float(np.sqrt(np.mean(np.concatenate([ramp, ramp[:, 1:-1]], axis=1) ** 2)))
    coarse = _noise_power(acquisition.noise_blur_mm, pitch_mm)
    scale = acquisition.noise_hu / kept * coarse / fine
    noise = np.asarray(fft.irfft2(np.asarray(fft.rfft2(white)) * (ramp * scale).astype(np.float32), s=shape))[
        ..., : out[-2], : out[-1]
    ]
    if acquisition.streaks_hu > 1:
        smooth = np.exp(-((np.arange(shape[0] // 2 + 1) * 9 / shape[0]) ** 2))
        spectrum = np.asarray(fft.rfft(rng.standard_normal((*out[:-2], shape[0]))))
        lines = np.asarray(fft.irfft(spectrum * smooth, n=shape[0]))
        lines = lines[..., : out[-2]] / max(lines.std(), 1e-6) * acquisition.streaks_hu * 0.5
        noise = noise + lines[..., None].astype(np.float32)
    return noise


@lru_cache(maxsize=512)
def _noise_power(blur_mm: float, pitch_mm: float) -> float:
    """Root mean square of the noise that a grid of this pitch can carry, in arbitrary units."""
    limit = 0.5 / pitch_mm
    f = np.linspace(0, limit, 256)
    power = f**2 * np.exp(-4 * np.pi**2 * blur_mm**2 * f**2) * 2 * np.pi * f
    return float(np.sqrt(np.trapezoid(power, f)))
