"""Every service of a collection against everybody: who is permitted is written down here once more."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import lss_core.curation
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
from lss_core.curation.parts import Part, Purpose
from lss_core.curation.plan import LabelPlan
from lss_core.curation.scans import NewScan
from lss_core.curation.split import SplitPlan
from lss_core.permissions import Permission
from lss_core.study import people, studies
from lss_core.study.actors import Actor
from lss_core.vocabulary import DiscLevel, Refusal, Region
from tests.curated import NOON, Curated, curated

STEER = {"pi", "coordinator"}
CURATE = {*STEER, "annotator"}
NOBODY = 999_999
REASON = {"reason": "r"}
NEW = NewScan("0" * 32, "0" * 64, True, "P", "d" * 64, 9, 3.0)
# A service of a collection to who may call it, and what it is called with. The outsider has no role in it.
SERVICES: dict[Callable[..., Any], tuple[set[str], dict[str, Any]]] = {
    collections.collection_of: (CURATE, {}),
    scans.add_scan: (STEER, {"new": NEW}),
    scans.note_refused: (STEER, {"name": "n", "source_digest": "s", **REASON}),
    scans.known_sources: (STEER, {}),
    scans.scans_of: (STEER, {}),
    scans.refused_of: (STEER, {}),
    scans.remove_scan: (STEER, {"scan_id": NOBODY, **REASON}),
    scans.join_patients: (STEER, {"keep": "a", "other": "b", **REASON}),
    scans.possible_duplicates: (STEER, {}),
    levels.propose_levels: (STEER, {"scan_id": NOBODY, "proposed": ()}),
    levels.set_level: (CURATE, {"scan_id": NOBODY, "level": DiscLevel.L4_5, "slice_index": 1}),
    levels.confirm_levels: (CURATE, {"scan_id": NOBODY}),
    levels.cases_of: (CURATE, {}),
    levels.stored_scan: (CURATE, {"scan_id": NOBODY}),
    proposing.scans_to_propose: (STEER, {}),
    proposing.propose_boxes: (STEER, {"case_id": NOBODY, "slice_index": 1, "boxes": {}, "version": "v"}),
    regions.save_boxes: ({"annotator"}, {"case_id": NOBODY, "slice_index": 1, "boxes": {}}),
    regions.boxes_of: (CURATE, {"case_id": NOBODY}),
    regions.drawn_cases: (CURATE, {}),
    regions.final_boxes: (STEER, {"case_id": NOBODY}),
    regions.box_agreement: (STEER, {}),
    regions.box_origins: (STEER, {}),
    plan.set_plan: ({"pi"}, {"plan": LabelPlan(1, 2, None)}),
    plan.plan_of: (CURATE, {}),
    label_places.add_places: ({"annotator"}, {"now": NOON}),
    labels.next_case: ({"annotator"}, {}),
    labels.my_labels: ({"annotator"}, {}),
    labels.label_progress: (CURATE, {}),
    agreement.agreement_before_consensus: (CURATE, {}),
    adjudication.disagreements: ({"pi", "annotator"}, {}),
    adjudication.adjudicate: (
        {"pi", "annotator"}, {"case_id": NOBODY, "region": Region.CENTRAL_CANAL, "grade": 1, **REASON}
    ),
    reference.reference_state: (CURATE, {}),
    reference.lock_reference: ({"pi"}, {"typed_name": "n"}),
    reference.reference_versions: (CURATE, {}),
    reference.reference_rows: (STEER, {}),
    reference.reference_csv: (STEER, {}),
    split.propose_split: ({"pi"}, {"plan": SplitPlan()}),
    split.lock_split: ({"pi"}, {"plan": SplitPlan(), "typed_name": "n"}),
    split.split_of: (STEER, {}),
    split.cases_for: (STEER, {"purpose": Purpose.TRAIN}),
    split.reference_for: (STEER, {"purpose": Purpose.TRAIN}),
    split.simulated_in: (STEER, {"part": Part.TRAINING}),
    table_one.table_one: (STEER, {}),
    table_one.flow: (STEER, {}),
    handover.open_reader_study: ({"pi"}, {"title": "t"}),
    handover.opened_studies: (STEER, {}),
}
OF_THE_ACTOR_ALONE = {"is_annotator"}           # tells anybody of themselves, and no more


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Curated:
    home = tmp_path_factory.mktemp("collection")
    return curated(f"sqlite:///{home / 'studies.sqlite'}", home / "images", patients=1)


def refused_for_the_role(act: Callable[[], Any]) -> bool:
    """Whether it was the role that was missing; another refusal comes after the question of the role."""
    try:
        act()
    except Refusal as refusal:
        return "no role in this collection" in str(refusal)
    return False


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: f"{each.__module__.rpartition('.')[2]}.{each.__name__}")
def test_a_service_of_a_collection_answers_only_to_the_roles_that_it_names(made, service):
    everybody = {"pi": made.pi, "coordinator": made.coordinator, "annotator": made.first, "outsider": made.outsider,
                 "forged": Actor(NOBODY, "forged@example.org", "Forged", frozenset(Permission))}
    allowed, words = SERVICES[service]
    for who in sorted(set(everybody) - allowed) + sorted(allowed):  # whoever is refused changes nothing for the others
        actor = everybody[who]
        refused = refused_for_the_role(lambda actor=actor: service(made.engine, actor, made.collection_id, **words))
        assert refused is (who not in allowed), who


def test_the_table_holds_every_service_of_a_collection():
    found = set()
    for each in pkgutil.iter_modules(lss_core.curation.__path__):
        module = importlib.import_module(f"lss_core.curation.{each.name}")
        found |= {
            name for name, service in vars(module).items()
            if inspect.isfunction(service) and service.__module__ == module.__name__ and not name.startswith("_")
            and list(inspect.signature(service).parameters)[:3] == ["engine", "actor", "collection_id"]
        }
    assert found - OF_THE_ACTOR_ALONE == {each.__name__ for each in SERVICES}


def test_who_leaves_a_collection_can_no_longer_see_it(tmp_path):
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=1)
    people.disable(made.engine, made.first.email, reason="left")
    for service, (allowed, words) in SERVICES.items():
        if "annotator" in allowed:
            assert refused_for_the_role(
                lambda s=service, w=words: s(made.engine, made.first, made.collection_id, **w)), service


def test_a_collection_is_no_reader_study_and_a_study_no_collection(made):
    with pytest.raises(Refusal, match="no role in this study"):
        studies.study_of(made.engine, made.pi, made.collection_id)
    study = studies.create(made.engine, made.outsider, title="A reader study")
    assert study.id is not None
    with pytest.raises(Refusal, match="no role in this collection"):
        collections.collection_of(made.engine, made.outsider, study.id)
