"""The whole study in one browser, in small: scans in, labels, a model trained, readers against it, the dashboard."""

import json

from sqlmodel import func, select

from benchmarks import whole_paper
from lss_core.curation import reference, split
from lss_core.curation.parts import Part
from lss_core.study import people, results
from lss_core.study.connection import reading
from lss_core.study.database import Answer
from lss_core.study.verification import check_records
from lss_core.vocabulary import DiscLevel

PATIENTS, LEVELS = 4, (DiscLevel.L3_4, DiscLevel.L4_5)
PILE_SEED = 148                                 # whose first patients have few slices


def test_the_whole_paper_is_done_in_the_portal(browser, models, tmp_path):
    with whole_paper.started(tmp_path, browser, patients=PATIENTS, steps=2, kept=LEVELS, seed=PILE_SEED) as paper:
        for part in whole_paper.PARTS.values():
            part(paper)
    pi = people.local_account(paper.engine)
    locked = split.split_of(paper.engine, pi, paper.collection_id)
    assert locked is not None
    patients = {part: locked.counts[part].patients for part in (Part.TRAINING, Part.VALIDATION, Part.CONTROL)}
    assert paper.cases == 2 * PATIENTS and sum(patients.values()) == PATIENTS and min(patients.values()) == 1
    assert len(reference.reference_rows(paper.engine, pi, paper.collection_id)) == 3 * paper.cases
    card = json.loads((paper.settings.models / f"{whole_paper.VERSION}.json").read_text())
    assert card["training"]["steps_done"] == 2 and card["calibration"]
    with reading(paper.engine) as session:
        assert session.exec(select(func.count()).select_from(Answer)).one() == 3 * paper.control
    record = results.study_record(paper.engine, pi, paper.study_id)
    assert set(record.tables.model["version"]) == {"v1", "v2", whole_paper.VERSION}
    assert check_records(paper.engine) == []
