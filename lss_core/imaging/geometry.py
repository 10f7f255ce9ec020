"""From a stored plane's place in the patient to the volume's axes.

DICOM patient coordinates (PS3.3 C.7.6.2.1.1) are LPS: x rises to the patient's left, y to the back, z to the head,
whatever the patient's position on the table was; so head first, feet first and prone need no case of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AXES = np.eye(3)
AXIAL_WITHIN_DEG = 40.0        # gantry tilt and slices along the L5/S1 disc stay below this
ROTATED_WITHIN_DEG = 30.0      # within the plane
NAMES = ("sagittal", "coronal", "axial")    # by the patient axis that the normal follows


@dataclass(frozen=True)
class PlaneAxes:
    """Unit vectors of a plane in the patient, once turned towards the volume's axes.

    `columns` points where the column index grows (to the left), `rows` where the row index grows (to the back),
    `normal` to the head.
    """

    transposed: bool
    flipped_rows: bool
    flipped_columns: bool
    columns: np.ndarray
    rows: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.columns, self.rows)

    @property
    def tilt_deg(self) -> float:
        """Angle between the slice normal and the patient's long axis."""
        return angle_deg(self.normal, AXES[2])


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two directions, in 0..180 degrees."""
    cosine = float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def normalise(orientation: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit directions of growing column index and growing row index.

    Raises:
        ValueError: they are zero or not at right angles.
    """
    along_row, along_column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if not all(0.9 < length < 1.1 for length in lengths) or abs(float(along_row @ along_column)) > 0.02:
        raise ValueError(f"ImageOrientationPatient {orientation} is not two unit vectors at right angles.")
    return along_row / lengths[0], along_column / lengths[1]


def name_orientation(along_row: np.ndarray, along_column: np.ndarray) -> str:
    """Say whether a plane is axial, coronal, sagittal or oblique."""
    normal = np.abs(np.cross(along_row, along_column))
    axis = int(np.argmax(normal))
    if angle_deg(normal, AXES[axis]) > AXIAL_WITHIN_DEG:
        return "oblique"
    rotated = angle_deg(np.abs(along_row), AXES[int(np.argmax(np.abs(along_row)))])
    if NAMES[axis] == "axial" and rotated > ROTATED_WITHIN_DEG:
        return "oblique"
    return NAMES[axis]


def turn_axial(along_row: np.ndarray, along_column: np.ndarray) -> PlaneAxes:
    """Find the transpose and flips that bring an axial plane into the volume's axes."""
    transposed = abs(along_row[0]) < abs(along_column[0])
    columns, rows = (along_column, along_row) if transposed else (along_row, along_column)
    flipped_columns, flipped_rows = bool(columns[0] < 0), bool(rows[1] < 0)
    return PlaneAxes(
        transposed=bool(transposed),
        flipped_rows=flipped_rows,
        flipped_columns=flipped_columns,
        columns=-columns if flipped_columns else columns,
        rows=-rows if flipped_rows else rows,
    )


def turn_plane(plane: np.ndarray, axes: PlaneAxes) -> np.ndarray:
    """Return a view of a stored plane [row, column] in the volume's axes."""
    turned = plane.T if axes.transposed else plane
    turned = turned[::-1] if axes.flipped_rows else turned
    return turned[:, ::-1] if axes.flipped_columns else turned
