"""Every action of the reader study against everybody: who is permitted is written down here once more."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from lss_core.permissions import OF_ROLE, Permission, Role
from lss_core.study import (
    audit_log,
    cases,
    desks,
    export,
    finishing,
    lifecycle,
    people,
    progress,
    quality,
    readiness,
    reading,
    results,
    revisiting,
    studies,
)
from lss_core.study.actors import Actor
from lss_core.study.connection import open_database
from lss_core.study.protocol import Protocol
from lss_core.vocabulary import Refusal
from tests.people_cases import acting, add_person
from tests.planted import Made, make_draft

ALL = ("pi", "coordinator", "annotator", "reader", "creator", "no role")
MANAGERS = {"pi", "coordinator"}
REASON = {"reason": "r"}
SIGNED = {"typed_name": "n", "meaning": "m"}
NOBODY = 999_999
# A service of a study to who may call it, and what it is called with. `creator` and `no role` have no role in it.
IN_STUDY: dict[Callable[..., Any], tuple[set[str], dict[str, Any]]] = {
    studies.study_of: (MANAGERS, {}),
    studies.protocol_of: (MANAGERS, {}),
    studies.protocol_versions: (MANAGERS, {}),
    studies.save_protocol: (MANAGERS, {"protocol": Protocol()}),
    studies.rename: (MANAGERS, {"title": "t"}),
    cases.add_cases: (MANAGERS, {"cases": []}),
    cases.add_outputs: (MANAGERS, {"outputs": {}}),
    cases.set_reference: (MANAGERS, {"case_id": NOBODY, "reference": {}, "source": "s", **REASON}),
    cases.remove_case: (MANAGERS, {"case_id": NOBODY}),
    cases.cases_of: (MANAGERS, {}),
    cases.names_of_cases: (MANAGERS, {}),
    readiness.what_is_missing: (MANAGERS, {}),
    people.invite: (MANAGERS, {"email": "new@example.org", "role": Role.ANNOTATOR}),
    people.remove_member: (MANAGERS, {"account_id": NOBODY, "role": Role.READER, **REASON}),
    people.members: (MANAGERS, {}),
    progress.progress: (MANAGERS, {}),
    progress.reminder: (MANAGERS, {"account_id": NOBODY}),
    quality.study_quality: (MANAGERS, {}),
    results.record_version: (MANAGERS, {}),
    results.study_record: (MANAGERS, {}),
    results.shown_case: (MANAGERS, {"number": 1}),
    results.note_report: (MANAGERS, {"what": "w", "content": b""}),
    audit_log.lines_of: (MANAGERS, {}),
    audit_log.how_many: (MANAGERS, {}),
    audit_log.kinds_of: (MANAGERS, {}),
    audit_log.problems: (MANAGERS, {}),
    audit_log.signatures_of: (MANAGERS, {}),
    lifecycle.lock: ({"pi"}, SIGNED),
    lifecycle.amend: ({"pi"}, {"protocol": Protocol(), "typed_name": "n", **REASON}),
    lifecycle.pause: (MANAGERS, REASON),
    lifecycle.resume: (MANAGERS, REASON),
    lifecycle.close: ({"pi"}, REASON),
    lifecycle.unblind: ({"pi"}, REASON),
    revisiting.answered_items: ({"pi"}, {"account_id": NOBODY}),
    revisiting.reopen: ({"pi"}, {"item_id": NOBODY, **REASON}),
    export.export_study: ({"pi"}, {}),
    desks.desk: ({"reader"}, {}),
    desks.begin_session: ({"reader"}, {}),
    reading.current_case: ({"reader"}, {}),
    reading.next_scan: ({"reader"}, {}),
    revisiting.earlier_cases: ({"reader"}, {}),
    finishing.sign_session: ({"reader"}, SIGNED),
    finishing.own_result: ({"reader"}, {}),
}
MODULES = {each.__module__ for each in IN_STUDY}


@pytest.fixture
def engine(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'studies.sqlite'}")
    yield engine
    engine.dispose()


@pytest.fixture
def made(engine) -> Made:
    return make_draft(engine, test=1)


@pytest.fixture
def everybody(engine, made) -> dict[str, Actor]:
    no_role = acting(engine, add_person(engine, "no-role@example.org"))
    return {"pi": made.pi, "coordinator": made.coordinator, "annotator": made.annotator, "reader": made.reader,
            "creator": made.outsider, "no role": no_role}


def refused_for_the_role(act: Callable[[], Any]) -> bool:
    """Whether it was the role that was missing; another refusal comes after the question of the role."""
    try:
        act()
    except Refusal as refusal:
        return "no role in this study" in str(refusal)
    return False


@pytest.mark.parametrize("service", IN_STUDY, ids=lambda each: f"{each.__module__.rpartition('.')[2]}.{each.__name__}")
def test_a_service_of_a_study_answers_only_to_the_roles_that_it_names(engine, made, everybody, service):
    allowed, words = IN_STUDY[service]
    for who in sorted(set(ALL) - allowed) + sorted(allowed):        # whoever is refused changes nothing for the others
        refused = refused_for_the_role(lambda who=who: service(engine, everybody[who], made.study_id, **words))
        assert refused is (who not in allowed), who


def test_the_table_holds_every_service_of_a_study():
    known = {each.__name__ for each in IN_STUDY} | {"add_case"}     # add_case is add_cases with one
    found = set()
    for name in MODULES:
        module = importlib.import_module(name)
        found |= {
            name for name, each in vars(module).items()
            if inspect.isfunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
            and list(inspect.signature(each).parameters)[:3] == ["engine", "actor", "study_id"]
        }
    assert found == known


def test_creating_a_study_needs_the_permission_of_the_account(engine, everybody):
    may = set()
    for who, actor in everybody.items():
        try:
            studies.create(engine, actor, title=f"of {who}")
            may.add(who)
        except Refusal:
            pass
    assert may == {"pi", "creator"}


def test_a_disabled_person_may_do_nothing(engine, made, everybody):
    people.disable(engine, everybody["pi"].email, reason="x")
    allowed = [service for service, (who, _) in IN_STUDY.items() if "pi" in who]
    for service in allowed:
        words = IN_STUDY[service][1]
        assert refused_for_the_role(lambda s=service, w=words: s(engine, everybody["pi"], made.study_id, **w)), service


def test_an_actor_made_up_with_all_permissions_gets_none(engine, made):
    forged = Actor(NOBODY, "forged@example.org", "Forged", frozenset(Permission))
    for service, (_, words) in IN_STUDY.items():
        assert refused_for_the_role(lambda s=service, w=words: s(engine, forged, made.study_id, **w)), service


def test_roles_hold_these_permissions_and_no_others():
    assert OF_ROLE[Role.READER] == {Permission.READ_CASES}
    assert OF_ROLE[Role.ANNOTATOR] == {Permission.ANNOTATE, Permission.CURATE, Permission.ADJUDICATE}
    for forbidden in (Permission.UNBLIND, Permission.LOCK_PROTOCOL, Permission.REOPEN_CASE, Permission.EXPORT):
        assert forbidden not in OF_ROLE[Role.COORDINATOR]
    assert Permission.READ_CASES not in OF_ROLE[Role.PI] | OF_ROLE[Role.COORDINATOR]
