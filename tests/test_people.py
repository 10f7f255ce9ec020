"""People, their roles, and what they state: on both databases."""

import pytest

from lss_core.permissions import Permission, Role
from lss_core.study import audit, people
from lss_core.study.connection import open_database
from lss_core.study.database import StudyState
from lss_core.vocabulary import Refusal
from tests.people_cases import NOW, acting, add_person, add_study, audit_lines

READER = "reader@example.org"


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


@pytest.fixture
def study(engine):
    return add_study(engine)


@pytest.fixture
def pi(engine, study):
    return acting(engine, add_person(engine, "pi@example.org", (study, Role.PI)))


@pytest.fixture
def coordinator(engine, study):
    return acting(engine, add_person(engine, "coordinator@example.org", (study, Role.COORDINATOR)))


def roles(engine, actor, study) -> dict[str, set[Role]]:
    found: dict[str, set[Role]] = {}
    for member in people.members(engine, actor, study):
        found.setdefault(member.email, set()).add(member.role)
    return found


def test_an_invitation_makes_an_account_with_that_role_and_a_line_in_the_audit_log(engine, study, pi):
    member = people.invite(engine, pi, study, email="  Reader@Example.ORG ", role=Role.READER, now=NOW)
    assert (member.email, member.role, member.has_signed_in, member.invited_at) == (READER, Role.READER, False, NOW)
    assert acting(engine, member.account_id).permissions >= {Permission.READ_CASES}
    (line,) = audit_lines(engine, "invite member")
    assert (line.actor, line.study_id, line.subject) == ("pi@example.org", study, f"reader {READER}")
    assert audit.verify(engine) == []


@pytest.mark.parametrize("email", ["", "reader", "reader@", "@example.org", "a b@example.org", "x@y", "a@b.org,c@d.org",
                                   "reader@exam\u212ale.org", "local@localhost", "a" * 200 + "@example.org"])
def test_what_is_no_address_cannot_be_invited(engine, study, pi, email):
    with pytest.raises(Refusal, match="not an e-mail address"):
        people.invite(engine, pi, study, email=email, role=Role.READER)


def test_a_role_is_given_once(engine, study, pi):
    people.invite(engine, pi, study, email=READER, role=Role.READER)
    with pytest.raises(Refusal, match="role reader in this study already"):
        people.invite(engine, pi, study, email=READER, role=Role.READER)


@pytest.mark.parametrize("other", [Role.PI, Role.COORDINATOR, Role.ANNOTATOR])
@pytest.mark.parametrize("reader_first", [True, False])
def test_who_knows_or_steers_a_study_does_not_read_in_it(engine, study, pi, other, reader_first):
    first, second = (Role.READER, other) if reader_first else (other, Role.READER)
    people.invite(engine, pi, study, email=READER, role=first)
    with pytest.raises(Refusal, match="must not read in it"):
        people.invite(engine, pi, study, email=READER, role=second)


@pytest.mark.parametrize("role", [Role.PI, Role.COORDINATOR, Role.ANNOTATOR])
def test_who_once_knew_the_truth_does_not_become_a_reader(engine, study, pi, role):
    member = people.invite(engine, pi, study, email=READER, role=role)
    people.remove_member(engine, pi, study, account_id=member.account_id, role=role, reason="a mistake")
    with pytest.raises(Refusal, match="may have seen what readers must not"):
        people.invite(engine, pi, study, email=READER, role=Role.READER)


def test_roles_in_another_study_do_not_matter(engine, study, pi):
    add_person(engine, READER, (add_study(engine, token="other"), Role.PI))
    assert people.invite(engine, pi, study, email=READER, role=Role.READER).role is Role.READER


def test_a_removed_reader_may_be_invited_again(engine, study, pi):
    member = people.invite(engine, pi, study, email=READER, role=Role.READER, now=NOW)
    people.remove_member(engine, pi, study, account_id=member.account_id, role=Role.READER, reason="on leave")
    assert READER not in roles(engine, pi, study)
    people.invite(engine, pi, study, email=READER, role=Role.READER)
    assert roles(engine, pi, study)[READER] == {Role.READER}


@pytest.mark.parametrize("state", [StudyState.CLOSED, StudyState.UNBLINDED])
def test_nobody_is_invited_to_read_in_a_closed_study(engine, state):
    study = add_study(engine, state=state)
    pi = acting(engine, add_person(engine, "pi@example.org", (study, Role.PI)))
    with pytest.raises(Refusal, match="closed"):
        people.invite(engine, pi, study, email=READER, role=Role.READER)


def test_a_simulated_person_belongs_in_demonstration_studies_only(engine, study, pi):
    add_person(engine, "simulated@example.org", is_demo=True)
    with pytest.raises(Refusal, match="simulated person"):
        people.invite(engine, pi, study, email="simulated@example.org", role=Role.READER)
    with pytest.raises(Refusal, match="simulated person"):
        people.allow_studies(engine, "simulated@example.org")
    demo = add_study(engine, is_demo=True, token="demo")
    head = acting(engine, add_person(engine, "head@example.org", (demo, Role.PI)))
    assert people.invite(engine, head, demo, email="simulated@example.org", role=Role.READER)


def test_a_disabled_account_gets_no_role(engine, study, pi):
    add_person(engine, READER, disabled=True)
    with pytest.raises(Refusal, match="disabled"):
        people.invite(engine, pi, study, email=READER, role=Role.READER)
    with pytest.raises(Refusal, match="disabled"):
        people.allow_studies(engine, READER)


@pytest.mark.parametrize("role", [Role.READER, Role.ANNOTATOR])
def test_a_coordinator_invites_and_removes_readers_and_annotators(engine, study, coordinator, role):
    member = people.invite(engine, coordinator, study, email=READER, role=role)
    people.remove_member(engine, coordinator, study, account_id=member.account_id, role=role, reason="asked to")
    assert READER not in roles(engine, coordinator, study)


@pytest.mark.parametrize("role", [Role.PI, Role.COORDINATOR])
def test_a_coordinator_neither_gives_nor_takes_the_higher_roles(engine, study, pi, coordinator, role):
    with pytest.raises(Refusal, match="Only a principal investigator"):
        people.invite(engine, coordinator, study, email="friend@example.org", role=role)
    with pytest.raises(Refusal, match="Only a principal investigator"):
        people.remove_member(engine, coordinator, study, account_id=pi.account_id, role=role, reason="x")


@pytest.mark.parametrize("role", [Role.READER, Role.ANNOTATOR])
def test_readers_and_annotators_neither_invite_nor_see_the_others(engine, study, pi, role):
    actor = acting(engine, add_person(engine, "somebody@example.org", (study, role)))
    for act in (
        lambda: people.invite(engine, actor, study, email=READER, role=Role.READER),
        lambda: people.remove_member(engine, actor, study, account_id=pi.account_id, role=Role.PI, reason="x"),
        lambda: people.members(engine, actor, study),
    ):
        with pytest.raises(Refusal, match="no role in this study"):
            act()


def test_a_role_in_one_study_permits_nothing_in_another(engine, study, pi):
    other = add_study(engine, token="other")
    with pytest.raises(Refusal, match="no role in this study"):
        people.invite(engine, pi, other, email=READER, role=Role.READER)


def test_an_actor_whose_role_was_taken_away_meanwhile_is_refused(engine, study, pi):
    second = acting(engine, people.invite(engine, pi, study, email="second@example.org", role=Role.PI).account_id)
    people.remove_member(engine, pi, study, account_id=second.account_id, role=Role.PI, reason="left")
    with pytest.raises(Refusal, match="no role in this study"):
        people.invite(engine, second, study, email=READER, role=Role.READER)


def test_the_last_principal_investigator_stays(engine, study, pi):
    with pytest.raises(Refusal, match="last principal investigator"):
        people.remove_member(engine, pi, study, account_id=pi.account_id, role=Role.PI, reason="leaving")


def test_a_removal_needs_a_reason_and_somebody_to_remove(engine, study, pi):
    member = people.invite(engine, pi, study, email=READER, role=Role.READER)
    with pytest.raises(Refusal, match="needs a reason"):
        people.remove_member(engine, pi, study, account_id=member.account_id, role=Role.READER, reason=" ")
    with pytest.raises(Refusal, match="does not have the role annotator"):
        people.remove_member(engine, pi, study, account_id=member.account_id, role=Role.ANNOTATOR, reason="x")
    assert roles(engine, pi, study)[READER] == {Role.READER}


def test_the_operator_lets_people_create_studies_and_shuts_them_out(engine):
    assert people.allow_studies(engine, "New@example.org ") == "new@example.org"
    people.allow_studies(engine, "new@example.org")
    account_id = next(each.account_id for each in people.identities(engine) if each.email == "new@example.org")
    assert Permission.CREATE_STUDY in acting(engine, account_id).permissions
    with pytest.raises(Refusal, match="needs a reason"):
        people.disable(engine, "new@example.org", reason="")
    with pytest.raises(Refusal, match="no account"):
        people.disable(engine, "nobody@example.org", reason="x")
    people.disable(engine, "new@example.org", reason="left the hospital")
    with pytest.raises(Refusal, match="disabled"):
        acting(engine, account_id)
    assert [line.actor for line in audit_lines(engine, "disable account")] == ["system"]


def test_a_person_states_their_experience_and_the_change_is_logged(engine, study, pi):
    assert not people.profile(engine, pi).is_complete
    people.state_experience(engine, pi, name=" Ada ", specialty="Radiology", years_of_experience=4.5,
                            lumbar_cts_a_year=300)
    stated = people.state_experience(engine, pi, name="Ada", specialty="Radiology", years_of_experience=5,
                                     lumbar_cts_a_year=300)
    assert people.profile(engine, pi) == stated and stated.is_complete
    line = audit_lines(engine, "state experience")[-1]
    assert '"years":4.5' in line.old and '"years":5.0' in line.new
    (member,) = people.members(engine, pi, study)
    assert (member.name, member.years_of_experience, member.lumbar_cts_a_year) == ("Ada", 5.0, 300)


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"name": " "}, "State your name"), ({"specialty": ""}, "State your specialty"),
    ({"name": "x" * 201}, "201 characters"),
    ({"years_of_experience": -1}, "-1.0 years"), ({"years_of_experience": 81}, "81.0 years"),
    ({"years_of_experience": float("nan")}, "nan years"), ({"years_of_experience": float("inf")}, "inf years"),
    ({"lumbar_cts_a_year": -1}, "-1 lumbar CTs"), ({"lumbar_cts_a_year": 100_001}, "100001 lumbar CTs"),
    ({"lumbar_cts_a_year": 1.5}, "1.5 lumbar CTs"),
])
def test_experience_that_cannot_be_is_refused_with_the_value(engine, pi, changed, sentence):
    stated = {"name": "Ada", "specialty": "Radiology", "years_of_experience": 4, "lumbar_cts_a_year": 300}
    with pytest.raises(Refusal, match=sentence):
        people.state_experience(engine, pi, **(stated | changed))
    assert not people.profile(engine, pi).name


def test_the_local_user_is_one_account_and_may_create_studies(engine):
    local = people.local_account(engine)
    assert people.local_account(engine) == local
    assert (local.name, local.email) == ("local user", "local@localhost")
    assert {Permission.CREATE_STUDY, Permission.GRADE} <= local.permissions
    assert Permission.READ_CASES not in local.permissions


def test_the_local_user_is_offered_simulated_people_first_and_nobody_disabled(engine):
    add_person(engine, "a@example.org")
    add_person(engine, "z@example.org", is_demo=True)
    add_person(engine, "gone@example.org", disabled=True)
    assert [each.email for each in people.identities(engine)] == ["local@localhost", "z@example.org", "a@example.org"]
