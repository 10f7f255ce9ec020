"""The protocol as a value."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from lss_core.study.database import Arm
from lss_core.study.protocol import (
    Aid,
    AnalysisPlan,
    Design,
    Experience,
    OrderRule,
    Protocol,
    Revisit,
    arms_of,
    changes,
    digest,
)
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.vocabulary import Refusal, Region

AID = Aid("v1", "ab" * 32)
FULL = Protocol(
    instructions="Read *carefully* ü", regions=(Region.CENTRAL_CANAL, Region.LEFT_LATERAL_RECESS), ask_confidence=False,
    design=Design.CROSSOVER_CASES, sessions=2, washout_days=14, aid=AID, repeats=3, order=OrderRule.PATIENT_BLOCKS,
    seed="s", revisit=Revisit.UNTIL_SIGNED, training_feedback=False, versions=("v1", "v2"), own_result=True,
    analysis=AnalysisPlan(non_inferiority_margin=None, text="plan"),
)


@pytest.mark.parametrize("protocol", [Protocol(), FULL])
def test_a_protocol_survives_its_text(protocol):
    assert Protocol.parse(protocol.canonical) == protocol
    assert Protocol.parse(protocol.canonical).canonical == protocol.canonical


def test_equal_protocols_have_equal_text_whatever_the_order_of_fields():
    shuffled = json.dumps(dict(reversed(json.loads(FULL.canonical).items())), indent=2)
    assert Protocol.parse(shuffled).canonical == FULL.canonical


@pytest.mark.parametrize(("text", "sentence"), [
    ("{", "not a protocol"), ("[]", "not a protocol"), ("{}", "regions"),
    (json.dumps(json.loads(FULL.canonical) | {"colour": 1}), "colour"),
    (json.dumps(json.loads(FULL.canonical) | {"design": "best"}), "best"),
    (json.dumps(json.loads(FULL.canonical) | {"regions": ["elbow"]}), "elbow"),
    (json.dumps(json.loads(FULL.canonical) | {"sessions": "two"}), "not a protocol"),
    (json.dumps(json.loads(FULL.canonical) | {"sessions": 3}), "has two sessions, not 3"),
])
def test_a_text_that_is_no_protocol_is_refused(text, sentence):
    with pytest.raises(Refusal, match=sentence):
        Protocol.parse(text)


@pytest.mark.parametrize(("what", "sentence"), [
    ({"regions": ()}, "No region is asked"), ({"regions": (Region.CENTRAL_CANAL,) * 2}, "asked twice"),
    ({"sessions": 0}, "0 sessions"), ({"design": Design.CROSSOVER_SESSIONS, "aid": AID}, "has two sessions, not 1"),
    ({"design": Design.AIDED}, "name the model version"), ({"aid": AID}, "no arm of the design is aided"),
    ({"design": Design.AIDED, "aid": Aid("v1", "")}, "hash of its weights"),
    ({"washout_days": -1}, "washout of -1"), ({"repeats": -1}, "-1 repeats"),
    ({"junior_below_years": 12.0}, "Junior below 12"), ({"junior_below_years": 0.0}, "must be positive"),
    ({"slices_around_mm": -1.0}, "Slices around"), ({"pause_s": -0.1}, "pause"), ({"idle_after_s": 0.0}, "idle limit"),
    ({"slices_around_mm": float("nan")}, "Slices around"),
    ({"analysis": AnalysisPlan(cut=0)}, "cut 0"), ({"analysis": AnalysisPlan(alpha=0.5)}, "alpha 0.5"),
    ({"analysis": AnalysisPlan(non_inferiority_margin=0.0)}, "margin 0"),
    ({"analysis": AnalysisPlan(bootstraps=0)}, "0 bootstraps"),
])
def test_a_value_that_cannot_be_is_refused_by_name(what, sentence):
    with pytest.raises(Refusal, match=sentence):
        Protocol(**what)


def test_experience_follows_from_years_by_the_protocols_bounds():
    years = {0: Experience.JUNIOR, 4.9: Experience.JUNIOR, 5: Experience.INTERMEDIATE, 10: Experience.INTERMEDIATE,
             10.1: Experience.SENIOR}
    assert {each: Protocol().experience(each) for each in years} == years
    assert Protocol(junior_below_years=2, senior_above_years=3).experience(4) is Experience.SENIOR


def test_a_design_has_the_arms_that_it_names():
    assert arms_of(Design.UNAIDED) == (Arm.UNAIDED,) and arms_of(Design.AIDED) == (Arm.AIDED,)
    assert all(arms_of(design) == (Arm.UNAIDED, Arm.AIDED) for design in list(Design)[2:])


def test_the_digest_covers_the_protocol_and_every_fact_of_its_cases():
    facts = [{"number": 1, "scan": "a", "reference": {"central_canal": [1, None, "x"]}}, {"number": 2, "scan": "b"}]
    first = digest(FULL, facts)
    assert digest(Protocol.parse(FULL.canonical), [dict(reversed(fact.items())) for fact in facts]) == first
    others = [
        digest(replace(FULL, repeats=2), facts), digest(FULL, facts[:1]), digest(FULL, facts[::-1]),
        digest(FULL, [{**facts[0], "reference": {"central_canal": [2, None, "x"]}}, facts[1]]),
    ]
    assert len({first, *others}) == 5


def test_changes_name_what_an_amendment_changed_alone():
    after = replace(FULL, washout_days=30, aid=replace(AID, heat_map=False))
    changed = changes(FULL, after)
    assert changed["washout_days"] == (14, 30) and set(changed) == {"washout_days", "aid"}
    assert json.loads(json.dumps(changed["aid"][1]))["heat_map"] is False
    assert changes(FULL, FULL) == {}


def test_answers_carry_the_version_of_this_project():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == SOFTWARE_VERSION
