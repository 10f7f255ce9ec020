"""Files to Volume: find the series in an upload, propose one, read it.

`find_series` reads headers only; `read_series` decodes slice by slice into one int16 array.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lss_core.imaging.assemble import (
    Progress,
    grid_of,
    height_mm,
    list_names,
    read_axial,
    read_reformatted,
    why_not_axial,
)
from lss_core.imaging.dicomdir import NAME as DICOMDIR
from lss_core.imaging.dicomdir import list_dicomdir
from lss_core.imaging.geometry import turn_axial
from lss_core.imaging.headers import SliceHeader, read_slices
from lss_core.imaging.kernels import SHARP, SOFT, kernel_class
from lss_core.imaging.limits import Limits
from lss_core.imaging.nifti import NiftiHeader, looks_like_nifti, read_nifti, read_nifti_header
from lss_core.imaging.picture import read_picture
from lss_core.imaging.sources import OTHER_ARCHIVES, ZIP_MAGIC, LeftOut, Source, Unusable, expand
from lss_core.imaging.stack import Stack, build_stack, group_parallel
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Refusal

LUMBAR_MM, SOME_LEVELS_MM = 150.0, 60.0        # L1 to S1 of a small adult; one level with its neighbours
PICTURES = (".png", ".jpg", ".jpeg")
PICTURE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff")


@dataclass(frozen=True)
class SeriesInfo:
    """One series as the user chooses from it; nothing in it identifies the patient."""

    series_uid: str                             # of a series in several parts, "UID#2" is the second part
    description: str                            # from acquisition facts, never the header's free text
    orientation: str                            # "axial" | "coronal" | "sagittal" | "oblique"
    slices: int
    thickness_mm: float
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]       # (row, column)
    kernel: str | None
    manufacturer: str | None
    coverage_mm: float
    gradable: bool
    reason: str | None                          # one sentence, where it cannot be read as axial
    _content: Stack | NiftiHeader = field(repr=False, compare=False)
    _limits: Limits = field(repr=False, compare=False)


@dataclass(frozen=True)
class ScanIndex:
    """What an upload holds."""

    series: tuple[SeriesInfo, ...]
    left_out: tuple[LeftOut, ...]


def find_series(
    paths: Sequence[Path], *, limits: Limits | None = None, progress: Progress | None = None
) -> ScanIndex:
    """Sort a mix of files, folders, ZIP archives and DICOMDIRs into series, reading headers only.

    Raises:
        Refusal: nothing in it is a CT, or the upload is hostile, encrypted or over a limit.
    """
    limits = limits or Limits()
    if not paths:
        raise Refusal("Nothing was given; add DICOM files, a folder, a ZIP archive or a NIfTI file.")
    sources, left_out = _list_sources([Path(path) for path in paths], limits)
    return index_sources(sources, limits=limits, left_out=left_out, progress=progress)


def index_sources(
    sources: Sequence[Source], *, limits: Limits, left_out: Sequence[LeftOut] = (), progress: Progress | None = None
) -> ScanIndex:
    """Sort candidate files into series, reading headers only; as `find_series` otherwise."""
    by_series: dict[str, list[SliceHeader]] = defaultdict(list)
    volumes: list[NiftiHeader] = []
    left = list(left_out)
    for done, source in enumerate(sources, start=1):
        try:
            content = _read_header(source, limits)
        except Unusable as reason:
            left.append(LeftOut(source.name, str(reason)))
        else:
            if isinstance(content, NiftiHeader):
                volumes.append(content)
            else:
                by_series[content[0].series_uid].extend(content)
        if progress is not None:
            progress(done / len(sources))
    series = [info for slices in by_series.values() for info in _describe_series(slices, limits)]
    series += [_describe_nifti(header) for header in volumes]
    if not series:
        raise Refusal(_why_nothing(left))
    return ScanIndex(tuple(sorted(series, key=_preference, reverse=True)), tuple(left))


def best_series(index: ScanIndex) -> SeriesInfo:
    """Propose the series to grade: axial, covering the lumbar spine, soft kernel, thinnest.

    Raises:
        Refusal: none can be read as axial.
    """
    best = max(index.series, key=_preference, default=None)
    if best is None:
        raise Refusal("There is no CT series to grade; add the axial series of a lumbar CT.")
    if not best.gradable:
        raise Refusal(best.reason or "The series cannot be read as axial slices; add the axial series.")
    return best


def read_series(series: SeriesInfo, *, progress: Progress | None = None) -> Volume:
    """Decode a series into a Volume.

    Raises:
        Refusal: not readable as axial, files that are truncated or corrupt (named), or over the limit.
    """
    if not series.gradable:
        raise Refusal(series.reason or "The series cannot be read as axial slices; add the axial series.")
    content = series._content
    if isinstance(content, NiftiHeader):
        try:
            return read_nifti(content)
        except Unusable as reason:
            raise Refusal(f"{content.source.name} cannot be read: {reason}.") from None
    if len(content.slices) * series.rows * series.columns > series._limits.voxels:
        raise Refusal(
            f"The series of {len(content.slices)} slices of {series.rows} x {series.columns} pixels is over the "
            "limit; add only the lumbar part."
        )
    if content.orientation == "axial":
        return read_axial(content, series._limits, progress)
    return read_reformatted(content, series._limits, progress)


def sources_of_series(series: SeriesInfo) -> tuple[Source, ...]:
    """The files that a series is read from, in the order of its slices."""
    content = series._content
    if isinstance(content, NiftiHeader):
        return (content.source,)
    return tuple(dict.fromkeys(header.source for header in content.slices))


def read_scan(path: Path, *, pixel_spacing_mm: tuple[float, float] | None = None) -> Volume:
    """Read the best series of a file, folder or archive; a PNG or JPEG needs its pixel spacing (row, column).

    Raises:
        Refusal: as `find_series`, `best_series` and `read_series`.
    """
    path = Path(path)
    if path.suffix.lower() in PICTURES and path.is_file():
        if pixel_spacing_mm is None:
            raise Refusal(f"{path.name} is a picture; give its pixel spacing in mm with it.")
        return read_picture(path, pixel_spacing_mm=pixel_spacing_mm)
    return read_series(best_series(find_series([path])))


def _list_sources(paths: Sequence[Path], limits: Limits) -> tuple[list[Source], list[LeftOut]]:
    left_out: list[LeftOut] = []
    plain = [path for path in paths if path.name.upper() != DICOMDIR or not path.is_file()]
    for path in paths:
        if path not in plain:
            found, missing = list_dicomdir(path, limits=limits)
            plain.extend(found)
            # Browsers flatten folders, so that listed files may be here under their bare names.
            there = {other.name.casefold() for other in paths}
            left_out.extend(item for item in missing if item.name.casefold() not in there)
    sources: list[Source] = []
    for item in expand(plain, limits=limits):
        if isinstance(item, Source):
            sources.append(item)
        else:
            left_out.append(item)
    return sources, left_out


def _read_header(source: Source, limits: Limits) -> list[SliceHeader] | NiftiHeader:
    return nifti_header(source, limits) or read_slices(source, limits=limits)


def nifti_header(source: Source, limits: Limits) -> NiftiHeader | None:
    """The header of a NIfTI file; None where the file may be DICOM.

    Raises:
        Unusable: a picture, an archive, empty, or a NIfTI file that cannot be read.
    """
    first = source.first_bytes(352)
    if looks_like_nifti(source.name, first):
        return read_nifti_header(source, limits=limits)
    if first.startswith(PICTURE_MAGIC):
        raise Unusable("it is a picture, which is read alone, with its pixel spacing typed in")
    if first.startswith(ZIP_MAGIC):
        raise Unusable("it is an archive inside an archive; unpack it first")
    other = next((kind for magic, kind in OTHER_ARCHIVES.items() if first.startswith(magic)), None)
    if other:
        raise Unusable(f"it is a {other} archive; unpack it, or pack it as ZIP")
    if source.size == 0:
        raise Unusable("it is empty")
    return None


def _describe_series(slices: list[SliceHeader], limits: Limits) -> list[SeriesInfo]:
    stacks = [build_stack(group) for group in group_parallel(slices)]
    infos = [_describe_stack(stack, limits) for stack in stacks]
    return [
        replace(info, series_uid=f"{info.series_uid}#{part}") if part > 1 else info
        for part, info in enumerate(infos, start=1)
    ]


def _describe_stack(stack: Stack, limits: Limits) -> SeriesInfo:
    first = stack.first
    axial = stack.orientation == "axial"
    reason = None if axial else why_not_axial(stack)
    coverage = stack.coverage_mm if axial else height_mm(grid_of(stack))
    spacing = first.pixel_spacing_mm
    if axial and turn_axial(first.along_row, first.along_column).transposed:
        spacing = (spacing[1], spacing[0])
    return SeriesInfo(
        series_uid=first.series_uid,
        description=_describe(stack, coverage, reformatted=not axial and reason is None),
        orientation=stack.orientation,
        slices=len(stack.slices),
        thickness_mm=stack.thickness_mm,
        rows=first.rows,
        columns=first.columns,
        pixel_spacing_mm=spacing,
        kernel=first.kernel,
        manufacturer=first.manufacturer,
        coverage_mm=coverage,
        gradable=reason is None,
        reason=reason,
        _content=stack,
        _limits=limits,
    )


def _describe(stack: Stack, coverage_mm: float, *, reformatted: bool) -> str:
    kernel = stack.first.kernel
    facts = [
        stack.orientation.capitalize() + " (to be reformatted to axial)" * reformatted,
        f"{kernel_class(kernel, stack.first.manufacturer)} kernel" + (f" ({kernel})" if kernel else ""),
        f"{len(stack.slices)} slice{'s' * (len(stack.slices) != 1)}",
        f"{stack.thickness_mm:g} mm thick",
        f"{coverage_mm:.0f} mm from foot to head",
    ]
    return ", ".join(facts)


def _describe_nifti(header: NiftiHeader) -> SeriesInfo:
    step = header.stepped_axis
    left, back, _ = (header.axis_towards(axis) for axis in range(3))
    size, spacing = header.grid.shape, header.grid.spacing_mm
    thickness = round(float(spacing[step]), 3)
    return SeriesInfo(
        series_uid=header.uid,
        description=f"NIfTI, {header.orientation}, {size[step]} slices, {thickness:g} mm apart, "
        f"{header.coverage_mm:.0f} mm from foot to head",
        orientation=header.orientation,
        slices=size[step],
        thickness_mm=thickness,
        rows=size[back],
        columns=size[left],
        pixel_spacing_mm=(float(spacing[back]), float(spacing[left])),
        kernel=None,
        manufacturer=None,
        coverage_mm=header.coverage_mm,
        gradable=header.why_not is None,
        reason=header.why_not,
        _content=header,
        _limits=header.limits,
    )


def _preference(info: SeriesInfo) -> tuple[float, ...]:
    """Larger is better. Coverage counts in two steps, so that a longer scan does not beat a thinner one."""
    covered = (info.coverage_mm >= LUMBAR_MM) + (info.coverage_mm >= SOME_LEVELS_MM)
    kernel_rank = {SOFT: 2, SHARP: 0}.get(kernel_class(info.kernel, info.manufacturer), 1)
    return info.gradable, info.orientation == "axial", covered, kernel_rank, -info.thickness_mm, info.coverage_mm


def _why_nothing(left_out: Sequence[LeftOut]) -> str:
    """One sentence with the most common reason and some names."""
    if not left_out:
        return "There are no files in it; add the axial series of a lumbar CT."
    (reason, count), *others = Counter(item.reason for item in left_out).most_common()
    names = list_names([item.name for item in left_out if item.reason == reason])
    more = f" ({len(left_out) - count} others were left out for other reasons)" if others else ""
    return f"No CT series was found: {names} left out because {reason}{more}."
