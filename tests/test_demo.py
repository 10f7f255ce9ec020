"""The demo is two real studies: every answer went through the services, and everything says that it is simulated."""

import numpy as np
import pytest
from sqlmodel import select

from lss_core.demo.readers import READERS, SeenRegion, read_case, severity
from lss_core.demo.study import has_demo, make_demo
from lss_core.grading.pipeline import MODELS, Grader
from lss_core.imaging.store import ScanStore
from lss_core.study import audit, people, studies
from lss_core.study.connection import open_database, reading
from lss_core.study.database import Account, Answer, Reference, StudyState
from lss_core.vocabulary import GRADE_BOUNDS, Refusal, Region, grade_of_measure, measure_of


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    if not (MODELS / "v2.json").is_file():
        pytest.skip("the model v2 is not in models/: train it with `python -m lss_core train`")
    root = tmp_path_factory.mktemp("demo")
    engine, store = open_database(f"sqlite:///{root / 'studies.sqlite'}"), ScanStore(root / "images")
    return engine, store, make_demo(engine, store, [Grader.load("v2")], patients=1, readers=3)


def test_one_study_is_finished_and_one_is_open(demo):
    engine, _, made = demo
    local = people.local_account(engine)
    found = {each.study_id: each for each in studies.my_studies(engine, local)}
    assert found[made.finished].state is StudyState.UNBLINDED and found[made.open].state is StudyState.OPEN
    assert all(each.is_demo and each.title.startswith("DEMO") for each in found.values())


def test_the_audit_log_of_the_demo_is_whole(demo):
    assert audit.verify(demo[0]) == []


def test_readers_and_references_say_that_they_are_simulated(demo):
    with reading(demo[0]) as session:
        accounts = session.exec(select(Account).where(Account.email.startswith("demo-"))).all()
        assert len(accounts) == 3 and all(each.is_demo for each in accounts)
        assert all(source.startswith("simulated") for source in session.exec(select(Reference.source)))
        assert session.exec(select(Answer)).first() is not None


def test_the_demo_is_made_once(demo):
    engine, store, _ = demo
    assert has_demo(engine)
    with pytest.raises(Refusal, match="in this database already"):
        make_demo(engine, store, [])


@pytest.mark.parametrize("region", list(Region))
def test_severity_rounds_to_the_grade_of_the_measure(region):
    bounds = GRADE_BOUNDS[measure_of(region)]
    for measure in np.linspace(bounds[-1] * 0.3, bounds[0] * 1.4, 60):
        felt = severity(region, float(measure))
        if min(abs(felt - bound) for bound in (0.5, 1.5, 2.5)) > 1e-6:
            assert int(np.clip(np.round(felt), 0, 3)) == grade_of_measure(measure_of(region), float(measure))


def test_a_reader_is_the_same_reader_again_but_not_twice_the_same_showing():
    seen = (SeenRegion(Region.CENTRAL_CANAL, 101.0),)

    def grades(showing):
        return [read_case(READERS[0], seen, case_seed=case, showing=showing, position=1, total=9) for case in range(40)]

    assert grades(0) == grades(0)
    assert [each.regions for each in grades(0)] != [each.regions for each in grades(1)]


def test_experience_and_the_model_make_simulated_readers_better():
    rng = np.random.default_rng(1)
    measures = rng.uniform(50, 190, 300)

    def right(reader, *, aided):
        hits = []
        for case, measure in enumerate(map(float, measures)):
            shown = float(np.clip(severity(Region.CENTRAL_CANAL, measure), 0, 3)) if aided else None
            seen = (SeenRegion(Region.CENTRAL_CANAL, measure, shown),)
            given = read_case(reader, seen, case_seed=case, showing=0, position=1, total=9)
            hits.append(given.regions[Region.CENTRAL_CANAL].grade == grade_of_measure("dural_sac_area_mm2", measure))
        return np.mean(hits)

    junior, senior = READERS[0], READERS[7]
    assert right(senior, aided=False) > right(junior, aided=False)
    assert right(junior, aided=True) > right(junior, aided=False)
