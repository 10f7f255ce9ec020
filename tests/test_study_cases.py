"""The cases of a study: stored apart from what readers must not learn, and shown to those who may see it."""

from dataclasses import replace

import pytest
from sqlmodel import col, select

from lss_core.study import cases, lifecycle, studies
from lss_core.study.connection import open_database
from lss_core.study.connection import reading as looking
from lss_core.study.database import Case, CaseKind, CaseOrigin, ModelOutput, Reference, Scan
from lss_core.vocabulary import DiscLevel, Refusal, Region
from tests.planted import PLANTED, make_draft, make_study, new_case

CANAL = Region.CENTRAL_CANAL


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


def count(engine, table) -> int:
    with looking(engine) as session:
        return len(session.exec(select(table)).all())


def test_a_case_is_stored_in_tables_apart(engine):
    made = make_draft(engine, test=1)
    with looking(engine) as session:
        case = session.exec(select(Case)).one()
        origin, scan = session.get_one(CaseOrigin, case.id), session.get_one(Scan, case.scan_id)
        assert not any(planted in repr(case) for planted in PLANTED.values())
    assert (origin.site, origin.scanner, scan.key) == (PLANTED["site"], PLANTED["scanner"], "scan-test-1")
    assert count(engine, Reference) == 3 == count(engine, ModelOutput)
    row = cases.cases_of(engine, made.pi, made.study_id)[0]
    assert (row.patient, row.level, row.slice_index) == (origin.patient, DiscLevel.L4_5, 31)
    assert row.reference[CANAL].grade == 1 and row.outputs[0].grade == 3


def test_cases_of_one_patient_share_a_cluster(engine):
    made = make_draft(engine, test=4)
    cases.add_case(engine, made.pi, made.study_id, new_case(5, CaseKind.TEST))
    cases.add_case(engine, made.pi, made.study_id, replace(new_case(6, CaseKind.TEST), level=DiscLevel.L3_4))
    with looking(engine) as session:
        assert session.exec(select(Case.cluster).order_by(col(Case.number))).all() == [1, 1, 2, 2, 3, 3]


def test_only_the_pi_sees_the_truth_before_unblinding(engine):
    made = make_study(engine, test=1)
    row = cases.cases_of(engine, made.coordinator, made.study_id)[0]
    assert row.reference is None and row.outputs is None
    assert row.referenced == frozenset(Region) and row.versions == {PLANTED["version"]}
    lifecycle.close(engine, made.pi, made.study_id, reason="x")
    assert cases.cases_of(engine, made.coordinator, made.study_id)[0].reference is None
    lifecycle.unblind(engine, made.pi, made.study_id, reason="x")
    assert cases.cases_of(engine, made.coordinator, made.study_id)[0].reference[CANAL].grade == 1


def test_cases_are_added_all_or_none(engine):
    made = make_draft(engine, test=1)
    with pytest.raises(Refusal, match="is case 1 already"):
        cases.add_cases(engine, made.pi, made.study_id, [new_case(7, CaseKind.TEST), new_case(1, CaseKind.TEST)])
    assert count(engine, Case) == 1 and count(engine, Reference) == 3


def test_a_removed_case_is_left_out_and_may_come_back(engine):
    made = make_draft(engine, test=2)
    first = cases.cases_of(engine, made.pi, made.study_id)[0]
    cases.remove_case(engine, made.pi, made.study_id, first.case_id, reason="metal")
    assert [row.number for row in cases.cases_of(engine, made.pi, made.study_id)] == [2]
    with pytest.raises(Refusal, match="is not a case of this study"):
        cases.remove_case(engine, made.pi, made.study_id, first.case_id)
    cases.add_case(engine, made.pi, made.study_id, new_case(1, CaseKind.TEST))
    assert [row.number for row in cases.cases_of(engine, made.pi, made.study_id)] == [2, 3]


def test_a_case_of_another_study_is_out_of_reach(engine):
    made = make_draft(engine, test=1)
    other = studies.create(engine, made.outsider, title="Other")
    case_id = cases.cases_of(engine, made.pi, made.study_id)[0].case_id
    for act in (
        lambda: cases.remove_case(engine, made.outsider, other.id, case_id),
        lambda: cases.set_reference(engine, made.outsider, other.id, case_id, {}, source="x", reason="y"),
        lambda: cases.add_outputs(engine, made.outsider, other.id, {case_id: []}),
    ):
        with pytest.raises(Refusal, match="is not a case of this study"):
            act()


def test_a_corrected_reference_counts_and_the_former_stays(engine):
    made = make_draft(engine, test=1)
    case_id = cases.cases_of(engine, made.pi, made.study_id)[0].case_id
    cases.set_reference(engine, made.pi, made.study_id, case_id, {CANAL: cases.NewReference(None)},
                        source="adjudicated", reason="second look")
    row = cases.cases_of(engine, made.pi, made.study_id)[0]
    assert row.reference[CANAL].grade is None and row.reference[CANAL].source == "adjudicated"
    assert count(engine, Reference) == 4
    for source, reason in ((" ", "x"), ("x", "")):
        with pytest.raises(Refusal, match="source and a reason"):
            cases.set_reference(engine, made.pi, made.study_id, case_id, {}, source=source, reason=reason)


def test_outputs_of_a_further_version_are_added_and_never_replaced(engine):
    made = make_study(engine, test=1)
    row = cases.cases_of(engine, made.pi, made.study_id)[0]
    new = [cases.NewOutput("v2", "2" * 64, region, not_gradable="not found") for region in Region]
    cases.add_outputs(engine, made.pi, made.study_id, {row.case_id: new})
    assert cases.cases_of(engine, made.pi, made.study_id)[0].versions == {PLANTED["version"], "v2"}
    with pytest.raises(Refusal, match="has graded Central canal of case"):
        cases.add_outputs(engine, made.pi, made.study_id, {row.case_id: new})
    lifecycle.close(engine, made.pi, made.study_id, reason="x")
    lifecycle.unblind(engine, made.pi, made.study_id, reason="x")
    with pytest.raises(Refusal, match="unblinded"):
        cases.add_outputs(engine, made.pi, made.study_id, {row.case_id: []})


def test_a_simulated_scan_marks_the_study_as_a_demo_for_good(engine):
    made = make_draft(engine, test=1, simulated=True)
    assert studies.study_of(engine, made.pi, made.study_id).is_demo
    cases.remove_case(engine, made.pi, made.study_id, cases.cases_of(engine, made.pi, made.study_id)[0].case_id)
    cases.add_case(engine, made.pi, made.study_id, new_case(8, CaseKind.TEST))
    assert studies.study_of(engine, made.pi, made.study_id).is_demo


def test_a_scan_keeps_its_content(engine):
    made = make_draft(engine, test=1)
    for what in ({"scan_sha256": "ff" * 32}, {"simulated": True}):
        changed = replace(new_case(1, CaseKind.TEST), level=DiscLevel.L3_4, **what)
        with pytest.raises(Refusal, match="stored with another content"):
            cases.add_case(engine, made.pi, made.study_id, changed)


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: replace(new_case(1, CaseKind.TEST), patient=" "), "names no patient"),
    (lambda: replace(new_case(1, CaseKind.TEST), slice_index=-1), "Slice -1"),
    (lambda: replace(new_case(1, CaseKind.TEST), source=""), "needs its source"),
    (lambda: cases.NewReference(4), "reference grade is 4"),
    (lambda: cases.NewOutput("v1", "0", CANAL, 5), "is 5"),
    (lambda: cases.NewOutput("v1", "0", CANAL), "or the reason"),
    (lambda: cases.NewOutput("v1", "0", CANAL, 1, not_gradable="x"), "or the reason"),
    (lambda: cases.NewOutput("v1", "0", CANAL, 1, (0.5, 0.1, 0.1, 0.1)), "do not add up to 1"),
])
def test_a_case_that_cannot_be_is_refused(make, sentence):
    with pytest.raises(Refusal, match=sentence):
        make()
