"""What a reader enters, as a value."""

import json

import pytest

from lss_core.study.entry import Entry, RegionEntry
from lss_core.vocabulary import Refusal, Region

CANAL = Region.CENTRAL_CANAL


@pytest.mark.parametrize("entry", [
    Entry(), Entry({CANAL: RegionEntry(0, 0)}), Entry({CANAL: RegionEntry(None, 40)}, "metal", "ü \U0001f914 \n"),
    Entry({region: RegionEntry(not_gradable="screw") for region in Region}),
])
def test_an_entry_survives_its_text(entry):
    assert Entry.parse(entry.canonical) == entry


def test_an_empty_text_is_an_empty_entry():
    assert Entry.parse("") == Entry.parse("{}") == Entry()


def canal(**what) -> str:
    return json.dumps({"regions": {"central_canal": what}})


@pytest.mark.parametrize(("text", "sentence"), [
    ("{", "cannot|can read"), ("[]", "can read"), ("7", "can read"), ('{"regions": 3}', "can read"),
    ('{"regions": {"elbow": {}}}', "elbow"), ('{"truth": 3}', "truth"), (canal(colour=1), "colour"),
    ("[" * 100_000, "can read"),
    (canal(grade=4), "grade 4 is not a whole number from 0 to 3"), (canal(grade=-1), "-1"), (canal(grade=1.0), r"1\.0"),
    (canal(grade=True), "True"), (canal(grade="2"), "'2'"), (canal(confidence=101), "101"),
    (canal(confidence=[]), r"\[\]"),
    (canal(not_gradable=None), "must be a text"), (canal(not_gradable="x" * 201), "at most 200"),
    (canal(grade=1, not_gradable="x"), "neither a grade nor a confidence"),
    (canal(confidence=1, not_gradable="x"), "neither a grade nor a confidence"),
    ('{"comment": "' + "x" * 2001 + '"}', "at most 2000"), ('{"comment": 3}', "must be a text"),
    ('{"comment": "\\u0000"}', "cannot be stored"), ('{"image_quality": "\\ud800"}', "cannot be stored"),
])
def test_a_text_that_is_no_entry_is_refused(text, sentence):
    with pytest.raises(Refusal, match=sentence):
        Entry.parse(text)
