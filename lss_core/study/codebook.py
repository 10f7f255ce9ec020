"""What each column of an export means: the columns of the files, in their order, are those of this table."""

from __future__ import annotations

READER = "code of the reader, R01, R02, ... in the order in which they began; bundle.json tells who they are"
CASE = "number of the case in the study; a case is one disc level of one scan"
PATIENT = "the study's pseudonym of the patient; cases of one patient are one cluster"
REGION = "central_canal, left_lateral_recess or right_lateral_recess (the patient's left and right)"
LEVEL = "L1/2, L2/3, L3/4, L4/5 or L5/S1"
GUARD = "; an apostrophe stands before a text that a spreadsheet would run as a formula"

CODEBOOK: dict[str, dict[str, str]] = {
    "readings.csv": {
        "reader": READER,
        "experience": "junior, intermediate or senior, by the protocol's bounds on years of experience",
        "patient": PATIENT,
        "case": CASE,
        "level": LEVEL,
        "region": REGION,
        "arm": "unaided, or aided: the model's grades were shown",
        "session": "number of the reader's session, from 1",
        "grade": "0 normal, 1 mild, 2 moderate, 3 severe; empty: not gradable, see not_gradable",
        "confidence": "of the grade, 0 to 100; empty where not gradable or not asked",
        "duration_s": "seconds from the case being shown to its answer, by the server's clock; idle time included",
        "idle_s": "seconds of duration_s without a sign of the reader, longer than the protocol's limit, or in a break",
        "position": "place in the session, from 1; training cases come first",
        "is_repeat": "1: a hidden repeat of a case shown earlier in the session, for intra-reader agreement; else 0",
        "image_quality": "empty: good; else what is wrong with the image" + GUARD,
        "not_gradable": "why the region is not gradable" + GUARD,
        "comment": "of the reader on the case" + GUARD,
        "submitted_at": "UTC, by the server's clock",
        "revision": "1, or more where the case was given back or gone back to; former revisions are in bundle.json",
        "protocol_version": "number of the protocol's version under which the answer was given",
        "software_version": "of this software, when the answer was given",
    },
    "reference.csv": {
        "patient": PATIENT,
        "case": CASE,
        "level": LEVEL,
        "region": REGION,
        "grade": "of the reference standard, 0 to 3; empty: not gradable",
        "measure": "mm2 of the dural sac (central canal) or mm of recess height, where measured",
        "source": "who or what set the reference" + GUARD,
        "name": "the study's own name of the case" + GUARD,
        "site": "where the scan came from" + GUARD,
        "scanner": "that made the scan" + GUARD,
        "slice_thickness_mm": "of the scan",
    },
    "model.csv": {
        "version": "of the model; with the start of the weights' hash where a version graded with several",
        "case": CASE,
        "level": LEVEL,
        "region": REGION,
        "grade": "0 to 3; empty: not found or not gradable, see not_gradable",
        "p0": "calibrated probability of grade 0",
        "p1": "of grade 1",
        "p2": "of grade 2",
        "p3": "of grade 3",
        "measure": "as the model measured it: mm2 of the dural sac (central canal) or mm of recess height",
        "not_gradable": "why there is no grade",
        "weights_sha256": "SHA-256 of the model's weights",
    },
}
COLUMNS = {file: tuple(columns) for file, columns in CODEBOOK.items()}


def codebook_rows() -> list[dict[str, str]]:
    """One row a file and column."""
    return [
        {"file": file, "column": column, "meaning": meaning}
        for file, columns in CODEBOOK.items() for column, meaning in columns.items()
    ]
