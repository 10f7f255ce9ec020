"""Every service of a collection against everybody: who is permitted is written down here once more."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

from lss_core import curation
from lss_core.curation import (
    adjudication,
    agreement,
    collections,
    handover,
    label_places,
    labels,
    levels,
    plan,
    proposing,
    reference,
    regions,
    scans,
    split,
    table_one,
)
from lss_core.curation.levels import ProposedLevel
from lss_core.curation.parts import Part, Purpose
from lss_core.permissions import OF_ROLE, Permission, Role
from lss_core.study import people
from lss_core.study.actors import Actor
from lss_core.vocabulary import DiscLevel, Refusal, Region
from tests.curated import BOXES, NOON, PI_NAME

ALL = ("pi", "coordinator", "annotator", "outsider")
RUNS = {"pi", "coordinator"}
EVERYBODY = {"pi", "coordinator", "annotator"}
NOBODY = 999_999
REASON = {"reason": "r"}
NEW = scans.NewScan("k", "s", True, "P", "d" * 64, 9, 3.0)
# A service of a collection to who may call it, and what it is called with.
SERVICES: dict[Callable[..., Any], tuple[set[str], dict[str, Any]]] = {
    collections.collection_of: (EVERYBODY, {}),
    scans.add_scan: (RUNS, {"new": NEW}),
    scans.note_refused: (RUNS, {"name": "n", "source_digest": "e" * 64, **REASON}),
    scans.known_sources: (RUNS, {}),
    scans.scans_of: (RUNS, {}),
    scans.refused_of: (RUNS, {}),
    scans.remove_scan: (RUNS, {"scan_id": NOBODY, **REASON}),
    scans.join_patients: (RUNS, {"keep": "a", "other": "b", **REASON}),
    scans.possible_duplicates: (RUNS, {}),
    levels.propose_levels: (RUNS, {"scan_id": NOBODY, "proposed": [ProposedLevel(DiscLevel.L4_5, 1)]}),
    levels.set_level: (EVERYBODY, {"scan_id": NOBODY, "level": DiscLevel.L4_5, "slice_index": 1}),
    levels.confirm_levels: (EVERYBODY, {"scan_id": NOBODY}),
    levels.cases_of: (EVERYBODY, {}),
    levels.stored_scan: (EVERYBODY, {"scan_id": NOBODY}),
    proposing.scans_to_propose: (RUNS, {}),
    proposing.propose_boxes: (RUNS, {"case_id": NOBODY, "slice_index": 1, "boxes": BOXES, "version": "v"}),
    regions.save_boxes: ({"annotator"}, {"case_id": NOBODY, "slice_index": 1, "boxes": BOXES}),
    regions.boxes_of: (EVERYBODY, {"case_id": NOBODY}),
    regions.drawn_cases: (EVERYBODY, {}),
    regions.final_boxes: (RUNS, {"case_id": NOBODY}),
    regions.box_agreement: (RUNS, {}),
    regions.box_origins: (RUNS, {}),
    plan.set_plan: ({"pi"}, {"plan": plan.LabelPlan(NOBODY, NOBODY)}),
    plan.plan_of: (EVERYBODY, {}),
    plan.is_annotator: (EVERYBODY, {}),
    label_places.add_places: ({"annotator"}, {"now": NOON}),
    labels.next_case: ({"annotator"}, {}),
    labels.my_labels: ({"annotator"}, {}),
    labels.label_progress: (EVERYBODY, {}),
    agreement.agreement_before_consensus: (EVERYBODY, {}),
    adjudication.disagreements: ({"pi", "annotator"}, {}),
    adjudication.adjudicate: ({"pi", "annotator"}, {"case_id": NOBODY, "region": Region.CENTRAL_CANAL, "grade": 1,
                                                    **REASON}),
    reference.reference_state: (EVERYBODY, {}),
    reference.lock_reference: ({"pi"}, {"typed_name": PI_NAME}),
    reference.reference_versions: (EVERYBODY, {}),
    reference.reference_rows: (RUNS, {}),
    reference.reference_csv: (RUNS, {}),
    split.propose_split: ({"pi"}, {"plan": split.SplitPlan()}),
    split.lock_split: ({"pi"}, {"plan": split.SplitPlan(), "typed_name": PI_NAME}),
    split.split_of: (RUNS, {}),
    split.cases_for: (RUNS, {"purpose": Purpose.TRAIN}),
    split.reference_for: (RUNS, {"purpose": Purpose.TRAIN}),
    split.simulated_in: (RUNS, {"part": Part.CONTROL}),
    table_one.table_one: (RUNS, {}),
    table_one.flow: (RUNS, {}),
    handover.open_reader_study: ({"pi"}, {"title": "t"}),
    handover.opened_studies: (RUNS, {}),
}


def refused_for_the_role(act: Callable[[], Any]) -> bool:
    """Whether it was the role that was missing; another refusal comes after the question of the role."""
    try:
        act()
    except Refusal as refusal:
        return "no role in this collection" in str(refusal)
    return False


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: f"{each.__module__.rpartition('.')[2]}.{each.__name__}")
def test_a_service_of_a_collection_answers_only_to_the_roles_that_it_names(planned, service):
    allowed, words = SERVICES[service]
    actors = {"pi": planned.pi, "coordinator": planned.coordinator, "annotator": planned.first,
              "outsider": planned.outsider}
    for who in sorted(set(ALL) - allowed) + sorted(allowed):
        refused = refused_for_the_role(
            lambda who=who: service(planned.engine, actors[who], planned.collection_id, **words))
        assert refused is (who not in allowed), who


def test_the_table_holds_every_service_of_a_collection():
    found = set()
    for each in pkgutil.iter_modules(curation.__path__, "lss_core.curation."):
        module = importlib.import_module(each.name)
        found |= {
            service for name, service in vars(module).items()
            if inspect.isfunction(service) and service.__module__ == module.__name__ and not name.startswith("_")
            and list(inspect.signature(service).parameters)[:3] == ["engine", "actor", "collection_id"]
        }
    assert found == set(SERVICES)


def test_an_actor_made_up_with_all_permissions_gets_none(planned):
    forged = Actor(NOBODY, "forged@example.org", "Forged", frozenset(Permission))
    for service, (_, words) in SERVICES.items():
        assert refused_for_the_role(
            lambda s=service, w=words: s(planned.engine, forged, planned.collection_id, **w)), service


def test_a_disabled_person_may_do_nothing(planned):
    people.disable(planned.engine, planned.pi.email, reason="x")
    for service in (service for service, (allowed, _) in SERVICES.items() if "pi" in allowed):
        words = SERVICES[service][1]
        assert refused_for_the_role(
            lambda s=service, w=words: s(planned.engine, planned.pi, planned.collection_id, **w)), service


def test_roles_hold_these_permissions_of_a_collection_and_no_others():
    of_collections = {Permission.CURATE, Permission.IMPORT_SCANS, Permission.ANNOTATE, Permission.ADJUDICATE,
                      Permission.LOCK_REFERENCE, Permission.SPLIT, Permission.TRAIN}
    assert OF_ROLE[Role.PI] & of_collections == of_collections - {Permission.ANNOTATE}
    assert OF_ROLE[Role.COORDINATOR] & of_collections == {Permission.CURATE, Permission.IMPORT_SCANS, Permission.TRAIN}
    assert not OF_ROLE[Role.READER] & of_collections


def test_creating_a_collection_needs_the_permission_of_the_account(planned):
    collections.create(planned.engine, planned.outsider, title="Another")
    for who, title, told in ((planned.first, "x", "permission to create study"), (planned.outsider, " ", "a title")):
        with pytest.raises(Refusal, match=told):
            collections.create(planned.engine, who, title=title)
