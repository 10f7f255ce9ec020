"""An open case, graded by one version and then by another: real graders over a volume of markers."""

import json
import logging
from dataclasses import replace

import pytest
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core.grading.checkpoint import load_checkpoint
from lss_core.grading.classifier import build_classifier
from lss_core.grading.pipeline import Grader
from lss_core.vocabulary import Region
from tests.model_folders import CALIBRATION, add_version
from tests.phantoms import MarkerDetector, MarkerLevels
from ui.access import SESSION_COOKIE
from ui.cases import Case

logging.getLogger("streamlit").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def installation(monkeypatch, tmp_path):
    """Two untrained versions over detectors that read markers, and a browser on this machine."""
    for seed, name in enumerate(("v1", "v2")):
        add_version(tmp_path, name, seed=seed, calibration=CALIBRATION)

    def load(kind, version, *, models):
        classifier, card = load_checkpoint(models, version, kind="classifier", build=build_classifier)
        return kind(MarkerDetector(), MarkerLevels(), classifier, card)

    monkeypatch.setattr(Grader, "load", classmethod(load))
    monkeypatch.setenv("LSS_MODELS", str(tmp_path))
    monkeypatch.setenv("LSS_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", "localhost:8501")]))
    monkeypatch.setattr(ContextProxy, "ip_address", None)
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: "me"}))
    return tmp_path


def page() -> None:
    """Opens a case at first, and does what the session is asked to."""
    import streamlit as st

    from lss_core.vocabulary import Refusal
    from tests.phantoms import DISC_HU, LUMBOSACRAL_HU, marked_volume
    from ui import access, cases, review

    visitor = access.require(access.Permission.GRADE)
    if cases.current() is None:
        volume = marked_volume(discs={12: LUMBOSACRAL_HU, 29: DISC_HU, 47: DISC_HU, 65: DISC_HU, 83: DISC_HU})
        cases.open_case(volume, visitor, version="v1", read_s=1.0, progress=lambda what, share: None)
    if view := st.session_state.pop("regrade", None):
        case = cases.current()
        try:
            cases.regrade(case, cases.volume_of(case, visitor), 0, view)
        except Refusal as refusal:
            st.error(str(refusal))
    review.show_summary(cases.current(), visitor)
    review.show(cases.current(), visitor)


def opened() -> AppTest:
    return checked(AppTest.from_function(page, default_timeout=240).run())


def checked(app: AppTest) -> AppTest:
    assert not app.exception, app.exception
    return app


def case_of(app: AppTest) -> Case:
    return app.session_state["case"]


def press(app: AppTest, label: str) -> AppTest:
    (button,) = [each for each in app.button if each.label == label]
    return checked(button.click().run())


def view_of(case: Case, *, shift: float = 0.0):
    from lss_core.vocabulary import Box
    from ui.viewer import View

    boxes = {region: case.box(0, region) for region in Region}
    moved = {region: Box(box.row0 + shift, box.col0, box.row1 + shift, box.col1) for region, box in boxes.items()}
    return View(case.result.levels[0].slice_index + 1, moved, frozenset(Region))


def test_a_case_says_which_version_and_which_weights_graded_it(installation):
    app = opened()
    case = case_of(app)
    assert (case.shown, list(case.graded)) == ("v1", ["v1"])
    card = json.loads((installation / "v1.json").read_text())
    assert case.result.weights_sha256 == card["weights_sha256"]
    assert json.loads(case.graded["v1"].json)["model"]["version"] == "v1"
    assert case.graded["v1"].sets_measured_on == CALIBRATION["measured_on"]
    assert any(f"graded by model **v1** (weights {card['weights_sha256'][:12]})" in each.value for each in app.markdown)
    assert case.result.timings_s["read"] == 1.0 and case.result.timings_s["locate"] > 0


def test_another_version_grades_the_same_places_beside_the_first():
    app = opened()
    first = case_of(app)
    case = case_of(press(app, "Grade again with v2"))
    assert (case.shown, list(case.graded)) == ("v2", ["v1", "v2"])
    assert case.graded["v1"] == first.graded["v1"] and case.token == first.token
    one, two = (case.graded[version].result for version in ("v1", "v2"))
    assert [level.slice_index for level in one.levels] == [level.slice_index for level in two.levels]
    for before, after in zip(one.levels, two.levels, strict=True):
        for region in Region:
            if (a := before.regions[region]) and (b := after.regions[region]):
                assert a.box == b.box and a.probabilities != b.probabilities
    assert two.weights_sha256 != one.weights_sha256
    assert not any(each.label.startswith("Grade again") for each in app.button)


def test_a_regraded_level_is_regraded_by_every_version_so_that_they_stay_comparable():
    app = press(opened(), "Grade again with v2")
    before = case_of(app)
    app.session_state["regrade"] = view_of(before, shift=1.5)
    after = case_of(checked(app.run()))
    assert after.edited == {0} and after.revision == 1
    for version in ("v1", "v2"):
        assert after.graded[version].result.levels[0] != before.graded[version].result.levels[0]
        assert after.graded[version].result.levels[1:] == before.graded[version].result.levels[1:]
        assert after.graded[version].result.levels[0].slice_index == after.located[0].slice_index
        assert json.loads(after.graded[version].json)["levels"][0]["slice_index"] == after.located[0].slice_index
    assert after.box(0, Region.CENTRAL_CANAL).row0 == before.box(0, Region.CENTRAL_CANAL).row0 + 1.5


def test_weights_that_took_the_place_of_those_that_graded_do_not_regrade_the_case(installation):
    app = opened()
    before = case_of(app)
    add_version(installation, "v1", seed=77, calibration=CALIBRATION)
    app.session_state["regrade"] = view_of(before)
    app.run()
    assert "weights of model v1 were replaced since this case was graded" in app.error[0].value
    assert case_of(app) == before


def test_what_a_case_says_of_its_levels_follows_a_regrade():
    app = opened()
    before = case_of(app)
    far = replace(view_of(before), boxes={Region.CENTRAL_CANAL: view_of(before).boxes[Region.CENTRAL_CANAL]})
    assert not any("Not gradable" in note for note in before.result.notes)
    app.session_state["regrade"] = far
    after = case_of(checked(app.run()))
    assert sum("Not gradable" in note and "recess" in note for note in after.result.notes) == 1
    app.session_state["regrade"] = view_of(before)
    assert case_of(checked(app.run())).result.notes == before.result.notes


def test_a_doubted_numbering_stays_doubted_after_a_regrade():
    app = opened()
    before = case_of(app)
    doubted = tuple(replace(place, level_doubted=True) for place in before.located)
    app.session_state["case"] = replace(before, located=doubted)
    app.session_state["regrade"] = view_of(before)
    after = case_of(checked(app.run()))
    assert after.located[0].level_doubted
    assert all(graded.result.levels[0].level_doubted for graded in after.graded.values())
    assert sum("numbering" in note for note in after.result.notes) == 1
