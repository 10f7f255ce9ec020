"""A group's own scans with their reference standard: `DIR/reference.csv` and one folder of DICOM files a patient.

The columns are those that `python -m lss_core simulate` writes: patient, series_uid, level, region, grade,
measure_name, measure_value, sop_instance_uid, row0, col0, row1, col1, and optionally canal_ap_mm. Measures and boxes
may be empty; boxes are in pixels of the stored image. A `set.json` beside it says which part of a locked split the
folder is; on a control set nothing is trained.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lss_core.imaging.dicom import SeriesInfo, find_series, read_series
from lss_core.imaging.dicom_out import is_marked_control
from lss_core.imaging.volume import Volume, crop
from lss_core.simulation.series import CANAL_AP_COLUMN, REFERENCE_COLUMNS
from lss_core.training.known import KnownPatch, KnownRegion, KnownSlice
from lss_core.training.set_mark import check_apart, check_part, read_mark
from lss_core.vocabulary import CANAL_AP, Box, DiscLevel, Grade, Refusal, Region, measure_of

PATCH_MM = 72.0
SLICE_PIXEL_MM = 1.5
SLICE_FIELD_MM = 480.0


@dataclass(frozen=True)
class ReferenceRow:
    """One graded region; `box` is in pixels of the stored image."""

    patient: str
    series_uid: str
    level: DiscLevel
    region: Region
    grade: Grade
    measures: Mapping[str, float]           # mm2 or mm by name; empty where not known
    sop_instance_uid: str
    box: Box | None


@dataclass(frozen=True)
class ReferenceCase:
    """One patient's scan with its rows."""

    patient: str
    volume: Volume
    rows: tuple[ReferenceRow, ...]

    def by_slice(self) -> dict[int, list[ReferenceRow]]:
        """Rows by slice index; refuses a row whose slice is not in the scan."""
        out: dict[int, list[ReferenceRow]] = defaultdict(list)
        for row in self.rows:
            if row.sop_instance_uid not in self.volume.sop_instance_uids:
                raise Refusal(f"reference.csv names a slice of patient {row.patient} that the scan does not hold.")
            out[self.volume.sop_instance_uids.index(row.sop_instance_uid)].append(row)
        return out


def read_rows(folder: Path) -> list[ReferenceRow]:
    """Read and check `reference.csv`; refuses missing columns and values outside the vocabulary, with the line."""
    path = folder / "reference.csv"
    if not path.is_file():
        raise Refusal(f"{folder.name} holds no reference.csv; see `python -m lss_core simulate` for its columns.")
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        missing = [name for name in REFERENCE_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise Refusal(f"reference.csv lacks the column {', '.join(missing)}; add it.")
        rows = [_row(values, line) for line, values in enumerate(reader, start=2)]
    if not rows:
        raise Refusal("reference.csv holds no rows; add one per graded region.")
    return rows


def _row(values: Mapping[str, str], line: int) -> ReferenceRow:
    try:
        region = Region(values["region"])
        if values["measure_value"].strip() and values["measure_name"] != measure_of(region):
            raise ValueError(f"measure_name {values['measure_name']!r} is not {measure_of(region)!r}")
        columns = {measure_of(region): "measure_value"}
        if region is Region.CENTRAL_CANAL:
            columns[CANAL_AP] = CANAL_AP_COLUMN
        given = {name: (values.get(column) or "").strip() for name, column in columns.items()}
        edges = [values[name].strip() for name in ("row0", "col0", "row1", "col1")]
        return ReferenceRow(
            patient=values["patient"], series_uid=values["series_uid"], level=DiscLevel(values["level"]), region=region,
            grade=Grade(int(values["grade"])),
            measures={name: float(text) for name, text in given.items() if text},
            sop_instance_uid=values["sop_instance_uid"],
            box=Box(*(float(edge) for edge in edges)) if any(edges) else None,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise Refusal(f"Line {line} of reference.csv is not usable ({error}); correct it.") from error


def read_cases(folder: Path) -> Iterator[ReferenceCase]:
    """Read one patient's scan after the other, so that only one is in memory."""
    by_patient: dict[str, list[ReferenceRow]] = defaultdict(list)
    for row in read_rows(folder):
        by_patient[row.patient].append(row)
    for patient, rows in by_patient.items():
        yield ReferenceCase(patient, _scan_of(folder, patient, rows), tuple(rows))


def _scan_of(folder: Path, patient: str, rows: Sequence[ReferenceRow]) -> Volume:
    """The patient's scan; the name in the CSV is one folder name, never a path."""
    if Path(patient).name != patient or not (folder / patient).is_dir():
        raise Refusal(f"There is no folder {patient!r} beside reference.csv; put each patient's files into one.")
    return read_series(named_series(find_series([folder / patient]).series, patient, rows))


def named_series(listed: Sequence[SeriesInfo], patient: str, rows: Sequence[ReferenceRow]) -> SeriesInfo:
    """The one series that a patient's rows name; refuses none and several."""
    wanted = {row.series_uid for row in rows}
    found = [info for info in listed if info.series_uid in wanted]
    if len(wanted) != 1 or len(found) != 1:
        raise Refusal(f"The folder of patient {patient} does not hold the one series that reference.csv names.")
    return found[0]


def check_trainable(folder: Path, *, apart_from: Path | None = None) -> None:
    """Raise Refusal for a folder on which no network may be trained or calibrated.

    It may not be, or hold anything of, the control set: by its `set.json`, by the patients and series that `set.json`
    keeps from training, and by the mark that every image of a written control set carries.

    Args:
        apart_from: A control set, or its `set.json`, whose patients must not be there either.
    """
    mark, rows = read_mark(folder), read_rows(folder)
    check_part(folder, mark)
    others = [mark, read_mark(apart_from) if apart_from is not None else None]
    folders = {row.patient for row in rows}
    for other in filter(None, others):
        patients = {mark.patients.get(name, name) for name in folders} | folders if mark else folders
        check_apart(other, patients=sorted(patients), series=sorted({row.series_uid for row in rows}))
    if apart_from is not None and others[1] is None:
        raise Refusal(f"{apart_from.name} holds no set.json, so it cannot be said whose scans to keep out.")
    for patient in sorted(folders):
        if any(is_marked_control(path) for path in _first_files(folder, patient)):
            raise Refusal(
                f"The images of {patient} are marked as of a control set: nothing is trained on them. Take them out."
            )


def _first_files(folder: Path, patient: str) -> list[Path]:
    """One file of each folder in which a patient's images may lie."""
    if Path(patient).name != patient or not (folder / patient).is_dir():
        return []
    by_folder = {path.parent: path for path in sorted((folder / patient).rglob("*"), reverse=True) if path.is_file()}
    return list(by_folder.values())


class ReferenceSource:
    """Training samples from a group's own scans: patches and coarse slices are cut once and kept in memory.

    Only slices with boxes are used, so a detector trained on them alone never sees a slice without a lumbar canal.
    """

    def __init__(self, folder: Path, *, apart_from: Path | None = None) -> None:
        """Read and cut.

        Args:
            apart_from: As for `check_trainable`.

        Raises:
            Refusal: a control set, or no boxes.
        """
        check_trainable(folder, apart_from=apart_from)
        self._patches: list[KnownPatch] = []
        self._slices: list[KnownSlice] = []
        for case in read_cases(folder):
            for index, rows in case.by_slice().items():
                self._add(case.volume, index, [row for row in rows if row.box is not None])
        if not self._patches:
            raise Refusal("reference.csv gives no boxes, from which training samples are cut; add row0 to col1.")

    def __len__(self) -> int:
        """How many slices there are to cut from."""
        return len(self._patches)

    def patch(self, rng: np.random.Generator) -> KnownPatch:
        return self._patches[int(rng.integers(len(self._patches)))]

    def axial(self, rng: np.random.Generator) -> KnownSlice:
        return self._slices[int(rng.integers(len(self._slices)))]

    def _add(self, volume: Volume, index: int, rows: Sequence[ReferenceRow]) -> None:
        if not rows:
            return
        boxes = {row.region: volume.stored.box_to_volume(row.box) for row in rows if row.box is not None}
        self._patches.append(_patch(volume, index, rows, boxes))
        self._slices.append(_slice(volume, index, boxes))


def _patch(volume: Volume, index: int, rows: Sequence[ReferenceRow], boxes: Mapping[Region, Box]) -> KnownPatch:
    middle = np.mean([box.centre for box in boxes.values()], axis=0)
    reach = [int(np.ceil(PATCH_MM / 2 / mm)) for mm in volume.pixel_spacing_mm]
    top, left = (max(int(c) - r, 0) for c, r in zip(middle, reach, strict=True))
    indices = [volume.neighbour(index, offset) for offset in (-3.0, 0.0, 3.0)]
    planes = volume.hu[indices, top : int(middle[0]) + reach[0], left : int(middle[1]) + reach[1]].copy()
    regions = {
        row.region: KnownRegion(
            (boxes[row.region].centre[0] - top, boxes[row.region].centre[1] - left), row.grade, row.measures
        )
        for row in rows
    }
    return KnownPatch(planes, volume.pixel_spacing_mm, regions)


def _slice(volume: Volume, index: int, boxes: Mapping[Region, Box]) -> KnownSlice:
    """The slice at the detector's pixel, around its middle."""
    plane = volume.hu[index]
    centre = ((plane.shape[0] - 1) / 2, (plane.shape[1] - 1) / 2)
    size = round(SLICE_FIELD_MM / SLICE_PIXEL_MM)
    hu = crop(plane, pixel_spacing_mm=volume.pixel_spacing_mm, centre=centre, size_mm=SLICE_FIELD_MM, size_px=size)
    scale = [mm / SLICE_PIXEL_MM for mm in volume.pixel_spacing_mm]
    moved = {
        region: Box.around(
            tuple((b - c) * k + (size - 1) / 2 for b, c, k in zip(box.centre, centre, scale, strict=True)),  # type: ignore[arg-type]
            (box.size[0] * scale[0], box.size[1] * scale[1]),
        )
        for region, box in boxes.items()
    }
    return KnownSlice(hu.astype(np.int16), (SLICE_PIXEL_MM, SLICE_PIXEL_MM), moved)
