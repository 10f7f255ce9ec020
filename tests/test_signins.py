"""Sessions on the server: who comes in, for how long, and what ends it. On both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from lss_core.permissions import Permission, Role
from lss_core.settings import Settings
from lss_core.study import acting as acting_service
from lss_core.study import audit, people, signins
from lss_core.study.connection import open_database, reading, transaction
from lss_core.study.database import Account, SignIn
from lss_core.study.signins import Identity
from lss_core.vocabulary import Refusal
from tests.people_cases import NOW, acting, add_person, add_study, audit_lines

SETTINGS = Settings()
IDLE, LIFETIME = timedelta(seconds=SETTINGS.session_idle_s), timedelta(seconds=SETTINGS.session_lifetime_s)
READER = Identity(
    issuer="https://provider.example", subject="u1", issued_at=1_770_000_000, nonce="n1",
    email="reader@example.org", email_verified=True, name="Ada Reader",
)
SECOND = timedelta(seconds=1)


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


@pytest.fixture
def study(engine):
    return add_study(engine)


@pytest.fixture
def reader(engine, study) -> int:
    return add_person(engine, READER.email, (study, Role.READER))


def who(engine, *, cookie="c1", identity=READER, at=NOW):
    return signins.who(engine, SETTINGS, cookie=cookie, identity=identity.digest, now=at)


def again(identity: Identity, nonce: str) -> Identity:
    """The same person, in another id token."""
    return replace(identity, nonce=nonce)


def test_an_invited_person_comes_in_and_is_known_by_cookie_and_identity_together(engine, reader):
    actor = signins.sign_in(engine, READER, cookie="c1", now=NOW)
    assert (actor.account_id, actor.email, actor.name) == (reader, READER.email, "Ada Reader")
    assert Permission.READ_CASES in actor.permissions
    assert who(engine) == actor
    assert who(engine, cookie="c2") is None
    assert who(engine, identity=again(READER, "n2")) is None
    assert who(engine, cookie="") is None
    assert signins.who(engine, SETTINGS, cookie="c1", identity="", now=NOW) is None
    assert [line.actor for line in audit_lines(engine, "sign in")] == [READER.email]


def test_the_secrets_of_a_browser_are_kept_as_hashes_only(engine, reader):
    signins.sign_in(engine, READER, cookie="the-secret", now=NOW)
    with reading(engine) as session:
        row = session.exec(select(SignIn)).one()
    assert "the-secret" not in repr(row) and len(row.key) == 64


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"email": "stranger@example.org"}, "stranger@example.org is not invited"),
    ({"email": ""}, "stated no e-mail address"),
    ({"email_verified": False}, "does not vouch that reader@example.org"),
    ({"issuer": ""}, "stated no issuer"), ({"subject": ""}, "stated no issuer"), ({"issued_at": 0}, "stated no issuer"),
    ({"email": "READE\u212a@example.org"}, "is not invited"),
])
def test_nobody_else_comes_in_and_the_refusal_is_logged(engine, reader, changed, sentence):
    with pytest.raises(Refusal, match=sentence):
        signins.sign_in(engine, replace(READER, **changed), cookie="c1", now=NOW)
    (line,) = audit_lines(engine, "refuse sign-in")
    assert line.actor == "unknown" and sentence in line.reason
    assert audit.verify(engine) == []
    with reading(engine) as session:
        assert session.exec(select(SignIn)).all() == []
        assert session.get_one(Account, reader).subject is None


def test_letters_that_only_look_alike_in_lower_case_are_another_address(engine, study):
    add_person(engine, "kim@example.org", (study, Role.READER))
    with pytest.raises(Refusal, match="not invited"):
        signins.sign_in(engine, replace(READER, email="\u212aim@example.org"), cookie="c1", now=NOW)


def test_the_provider_may_write_the_address_in_capitals(engine, reader):
    assert signins.sign_in(engine, replace(READER, email="Reader@Example.org"), cookie="c1").account_id == reader


def test_an_invitation_that_was_withdrawn_lets_nobody_in(engine, study, reader):
    pi = acting(engine, add_person(engine, "pi@example.org", (study, Role.PI)))
    people.remove_member(engine, pi, study, account_id=reader, role=Role.READER, reason="wrong address")
    with pytest.raises(Refusal, match="not invited"):
        signins.sign_in(engine, READER, cookie="c1", now=NOW)


def test_who_may_create_studies_needs_no_role_to_come_in(engine):
    people.allow_studies(engine, READER.email)
    assert Permission.CREATE_STUDY in signins.sign_in(engine, READER, cookie="c1").permissions


@pytest.mark.parametrize(("field", "sentence"), [("is_demo", "not invited"), ("disabled", "is disabled")])
def test_a_simulated_or_disabled_person_does_not_come_in(engine, study, field, sentence):
    add_person(engine, READER.email, (study, Role.READER), **{field: True})
    with pytest.raises(Refusal, match=sentence):
        signins.sign_in(engine, READER, cookie="c1", now=NOW)


def test_the_local_account_is_never_opened_by_a_provider(engine):
    people.local_account(engine)
    with pytest.raises(Refusal, match="not invited"):
        signins.sign_in(engine, replace(READER, email=people.LOCAL_EMAIL), cookie="c1", now=NOW)


def test_the_first_sign_in_binds_the_subject_and_another_subject_is_refused(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    for other in (replace(again(READER, "n2"), subject="u2"), replace(again(READER, "n3"), issuer="https://evil.example")):
        with pytest.raises(Refusal, match="another identity"):
            signins.sign_in(engine, other, cookie="c2", now=NOW)
    assert signins.sign_in(engine, again(READER, "n4"), cookie="c4", now=NOW).account_id == reader
    assert len(audit_lines(engine, "bind account")) == 1


def test_one_subject_does_not_open_two_accounts(engine, study, reader):
    add_person(engine, "other@example.org", (study, Role.READER))
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    with pytest.raises(Refusal, match="another identity"):
        signins.sign_in(engine, replace(again(READER, "n2"), email="other@example.org"), cookie="c2", now=NOW)


def test_an_id_token_opens_one_session_only_also_after_that_one_ended(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    signins.sign_out(engine, cookie="c1", now=NOW)
    with pytest.raises(Refusal, match="used already"):
        signins.sign_in(engine, READER, cookie="c2", now=NOW)
    assert who(engine, cookie="c2") is None


def test_signing_in_anew_ends_the_former_session_of_the_browser(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    signins.sign_in(engine, again(READER, "n2"), cookie="c2", former_cookie="c1", now=NOW)
    assert who(engine) is None
    assert who(engine, cookie="c2", identity=again(READER, "n2")) is not None


def test_a_session_that_is_not_used_ends(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    assert who(engine, at=NOW + IDLE) is not None, "used in time"
    late = NOW + IDLE + IDLE + SECOND
    assert who(engine, at=late) is None
    assert who(engine, at=NOW) is None, "what ended stays ended, whatever the clock says"
    (line,) = audit_lines(engine, "end session")
    assert (line.actor, line.reason) == (READER.email, "not used for too long")


def test_a_session_in_use_ends_all_the_same_after_its_lifetime(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    at = NOW
    while at + IDLE < NOW + LIFETIME:
        at += IDLE
        assert who(engine, at=at) is not None
    assert who(engine, at=NOW + LIFETIME) is not None
    assert who(engine, at=NOW + LIFETIME + SECOND) is None
    assert audit_lines(engine, "end session")[0].reason == "open for too long"


def test_a_session_in_use_is_written_at_most_twice_a_minute(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)

    def seen_after(seconds: int):
        who(engine, at=NOW + timedelta(seconds=seconds))
        with reading(engine) as session:
            return (session.exec(select(SignIn)).one().last_seen_at - NOW).total_seconds()

    assert [seen_after(seconds) for seconds in (10, 29, 31, 45, 62)] == [0, 0, 31, 31, 62]


def test_signing_out_ends_the_session_at_once_and_a_second_time_nothing(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    signins.sign_out(engine, cookie="c1", now=NOW)
    signins.sign_out(engine, cookie="c1", now=NOW)
    signins.sign_out(engine, cookie="", now=NOW)
    assert who(engine) is None
    assert len(audit_lines(engine, "end session")) == 1


def test_signing_out_everywhere_ends_all_sessions_of_that_person_only(engine, study, reader):
    add_person(engine, "other@example.org", (study, Role.READER))
    other = replace(READER, subject="u9", email="other@example.org")
    actor = signins.sign_in(engine, READER, cookie="c1", now=NOW)
    signins.sign_in(engine, again(READER, "n2"), cookie="c2", now=NOW)
    signins.sign_in(engine, other, cookie="c9", now=NOW)
    assert signins.sign_out_everywhere(engine, actor, now=NOW) == 2
    assert who(engine) is None and who(engine, cookie="c2", identity=again(READER, "n2")) is None
    assert who(engine, cookie="c9", identity=other) is not None


def test_a_person_sees_and_ends_their_own_sessions_only(engine, study, reader):
    add_person(engine, "other@example.org", (study, Role.READER))
    actor = signins.sign_in(engine, READER, cookie="c1", now=NOW)
    signins.sign_in(engine, again(READER, "n2"), cookie="c2", now=NOW + SECOND)
    acting_service.act_as(engine, cookie="local", account_id=reader, now=NOW)
    other = signins.sign_in(engine, replace(READER, subject="u9", email="other@example.org"), cookie="c9", now=NOW)
    seen = signins.open_sessions(engine, SETTINGS, actor, cookie="c1", now=NOW)
    assert [each.is_this for each in seen] == [False, True]
    with pytest.raises(Refusal, match="not open any more"):
        signins.revoke(engine, other, sign_in_id=seen[0].sign_in_id)
    signins.revoke(engine, actor, sign_in_id=seen[0].sign_in_id, now=NOW)
    assert who(engine, cookie="c2", identity=again(READER, "n2")) is None and who(engine) is not None
    with pytest.raises(Refusal, match="not open any more"):
        signins.revoke(engine, actor, sign_in_id=seen[0].sign_in_id)
    assert signins.open_sessions(engine, SETTINGS, actor, cookie="c1", now=NOW + LIFETIME + SECOND) == ()


def test_who_is_removed_from_the_last_study_is_signed_out_and_from_another_not(engine, study, reader):
    second = add_study(engine, token="second")
    pi = acting(engine, add_person(engine, "pi@example.org", (study, Role.PI), (second, Role.PI)))
    people.invite(engine, pi, second, email=READER.email, role=Role.ANNOTATOR)
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    people.remove_member(engine, pi, study, account_id=reader, role=Role.READER, reason="done")
    found = who(engine)
    assert found is not None and Permission.READ_CASES not in found.permissions, "asked afresh each time"
    people.remove_member(engine, pi, second, account_id=reader, role=Role.ANNOTATOR, reason="done")
    assert who(engine) is None


def test_a_disabled_person_is_out_at_once(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    people.disable(engine, READER.email, reason="lost laptop")
    assert who(engine) is None


def test_an_account_disabled_in_the_database_itself_is_out_too(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    with transaction(engine) as session:
        session.get_one(Account, reader).disabled = True
    assert who(engine) is None


def test_a_failure_before_anybody_is_known_is_logged(engine):
    signins.record_failure(engine, "The provider's answer could not be checked.", now=NOW)
    assert [line.reason for line in audit_lines(engine, "fail sign-in")] == [
        "The provider's answer could not be checked."
    ]


def test_the_local_user_acts_as_others_in_this_browser_only(engine, reader):
    local = acting_service.local_user(engine, cookie="here")
    assert local.email == people.LOCAL_EMAIL
    acting_service.act_as(engine, cookie="here", account_id=reader, now=NOW)
    assert acting_service.local_user(engine, cookie="here").email == READER.email
    assert acting_service.local_user(engine, cookie="there") == local
    acting_service.act_as(engine, cookie="here", account_id=local.account_id, now=NOW)
    assert acting_service.local_user(engine, cookie="here") == local
    assert [line.subject for line in audit_lines(engine, "act as")] == [READER.email, people.LOCAL_EMAIL]


def test_acting_as_nobody_or_without_a_cookie_is_refused(engine, reader):
    with pytest.raises(Refusal, match="keeps no cookie"):
        acting_service.act_as(engine, cookie="", account_id=reader)
    with pytest.raises(Refusal, match="does not exist"):
        acting_service.act_as(engine, cookie="here", account_id=10_000)


def test_whom_one_acts_as_falls_back_to_the_local_user_where_that_person_was_disabled(engine, reader):
    acting_service.act_as(engine, cookie="here", account_id=reader)
    people.disable(engine, READER.email, reason="x")
    assert acting_service.local_user(engine, cookie="here").email == people.LOCAL_EMAIL


def test_the_choice_of_a_local_user_is_no_session_where_people_sign_in(engine, reader):
    acting_service.act_as(engine, cookie="here", account_id=reader, now=NOW)
    assert signins.who(engine, SETTINGS, cookie="here", identity="", now=NOW) is None
    assert who(engine, cookie="here") is None


def test_the_session_of_a_signed_in_person_is_no_choice_of_a_local_user(engine, reader):
    signins.sign_in(engine, READER, cookie="c1", now=NOW)
    assert acting_service.local_user(engine, cookie="c1").email == people.LOCAL_EMAIL
