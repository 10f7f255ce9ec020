"""Each page, run in process: guard, empty state, refusals. What needs a browser is in tests/browser."""

import ast
import html
import io
import json
import logging
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core.grading.checkpoint import read_card, record_metrics
from lss_core.permissions import Permission, Role
from lss_core.registry import Source, default_model, read_log, set_default
from lss_core.settings import Settings
from lss_core.study import acting
from lss_core.training.imposed import imposed_figures
from lss_core.vocabulary import RESEARCH_USE, Region
from tests.cases import DOUBT, MEASURED_ON, REASON, case
from tests.model_folders import (
    CALIBRATION,
    add_shared_networks,
    add_version,
    damage,
    made_up_evaluations,
    made_up_run,
)
from tests.people_cases import add_person, add_study
from tests.test_imposed import case as drawn_case
from ui import access, resources
from ui.access import SESSION_COOKIE

ROOT = Path(__file__).resolve().parent.parent
FIGURE_TABS = ("Accuracy", "Calibration", "Measurement", "Comparison", "Failures")
PAGES = sorted((ROOT / "pages").glob("*.py"))
logging.getLogger("streamlit").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def visit(monkeypatch):
    """Pages see a browser on this machine; in process there is no request. Returns how to be another one."""

    def visit_from(*, host: str = "localhost:8501", address: str | None = None) -> None:
        monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", host)]))
        monkeypatch.setattr(ContextProxy, "ip_address", address)
        monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: "me"}))

    visit_from()
    return visit_from


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """Two usable versions beside the networks that they share."""
    folder = tmp_path_factory.mktemp("models")
    add_shared_networks(folder)
    for seed, name in enumerate(("v1", "v2")):
        add_version(folder, name, seed=seed, calibration=CALIBRATION)
    return folder


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path, shipped) -> Settings:
    """An installation of its own for each test."""
    models = tmp_path / "models"
    shutil.copytree(shipped, models)
    monkeypatch.setenv("LSS_MODELS", str(models))
    monkeypatch.setenv("LSS_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LSS_MODEL", raising=False)
    return Settings.from_environment()


def opened(page: str, **state: object) -> AppTest:
    app = AppTest.from_file(str(ROOT / page), default_timeout=240)
    for name, value in state.items():
        app.session_state[name] = value
    return app.run()


def text_of(app: AppTest) -> str:
    """All that a page says."""
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.success, *app.subheader]
    return "\n".join([*(each.value for each in said), *(each.proto.body for each in app.get("html"))])


def models_page(tab: str = "Overview") -> AppTest:
    """The Models page with a tab open; only that one is made."""
    app = opened("pages/models.py", **{"models-tab": tab})
    assert not app.exception, app.exception
    return app


def button(app: AppTest, label: str):
    (found,) = [each for each in app.button if each.label == label]
    return found


def encrypted_zip() -> bytes:
    """A ZIP whose entry is marked as encrypted."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("IM1", b"secret")
    content = bytearray(file.getvalue())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 64), 90).save(file, format="PNG")
    return file.getvalue()


def escaping_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../escape.dcm", b"x")
    return file.getvalue()


def act_as_a(role: Role) -> None:
    """Somebody with a role in a study; the local user has none in a fresh installation."""
    engine = resources.studies()
    person = add_person(engine, f"{role}@example.org", (add_study(engine, token=role), role))
    acting.act_as(engine, cookie="me", account_id=person)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_first_statement_of_a_page_is_its_guard(page):
    body = ast.parse(page.read_text()).body
    first = next(
        node for node in body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )
    call = first.value if isinstance(first, ast.Assign | ast.Expr) else None
    assert isinstance(call, ast.Call) and ast.unparse(call.func) == "access.require"


@pytest.mark.parametrize("page", ["ui/portal.py", *(f"pages/{page.name}" for page in PAGES)])
def test_a_page_opens_without_an_error(page):
    if role := {"pages/read.py": Role.READER, "pages/dashboard.py": Role.COORDINATOR}.get(page):
        act_as_a(role)
    app = opened(page)
    assert not app.exception
    assert not app.error


def test_the_frame_shows_that_this_is_for_research_only():
    app = opened("ui/portal.py")
    assert any(RESEARCH_USE in element.proto.body for element in app.get("html"))


def test_the_empty_page_says_what_to_do():
    app = opened("pages/grade.py")
    assert any("Open a scan" in element.value for element in app.markdown)
    assert [button.label for button in app.button] == ["Try a simulated case"]


@pytest.mark.parametrize(
    "request_from", [{"host": "evil.example"}, {"host": "192.168.1.5:8501"}, {"address": "192.168.1.7"}]
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_nothing_to_another_machine_or_under_another_name(page, request_from, visit):
    visit(**request_from)
    app = opened(f"pages/{page.name}")
    assert "open only in a browser on the computer" in app.error[0].value
    assert not app.get("file_uploader") and not app.title


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"not a scan"),
        ("empty.dcm", b""),
        ("cut.dcm", b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL"),
        ("broken.zip", b"PK\x03\x04 and then nothing"),
        ("locked.zip", encrypted_zip()),
        ("escape.zip", escaping_zip()),
        ("cut.nii.gz", b"\x1f\x8b\x08\x00cut"),
    ],
)
def test_a_bad_upload_gets_a_sentence_and_leaves_the_page_usable(name, content):
    app = opened("pages/grade.py")
    app.file_uploader[0].upload(name, content, "application/octet-stream").run()
    assert not app.exception
    (error,) = app.error
    assert error.value.endswith(".") and "Traceback" not in error.value
    assert any(button.label == "Try a simulated case" and not button.disabled for button in app.button)
    assert len(app.get("file_uploader")) == 2


def test_a_picture_is_not_read_before_its_pixel_spacing_is_given():
    app = opened("pages/grade.py")
    app.file_uploader[0].upload("slice.png", png(), "image/png").run()
    assert not app.exception
    grade = next(button for button in app.button if button.label == "Grade this picture")
    assert grade.disabled
    app.number_input[0].set_value(0.4).run()
    assert not next(button for button in app.button if button.label == "Grade this picture").disabled


def test_a_doubtful_grade_shows_its_set_its_doubts_and_its_measures_beside_the_bounds():
    said = text_of(opened("pages/grade.py", case=case()))
    assert "Grade 2, moderate." in said
    assert f"Grade 1 or 2, in a set made to hold the true grade in 90% of cases like those it was fitted on " \
           f"({MEASURED_ON})." in said
    assert DOUBT in said
    assert "88 mm²" in said and "By these bounds alone grade 2, moderate." in said
    assert "normal from 130, mild from 100" in said
    assert "Estimated canal front-to-back diameter" in said and "11.3 mm" in said
    assert "graded by model **v2**" in said


def test_a_region_that_is_not_gradable_shows_its_reason_and_no_number():
    app = opened("pages/grade.py", case=case(first=Region.LEFT_LATERAL_RECESS))
    said = text_of(app)
    assert "**Not gradable**" in said and REASON in said
    assert "Expected grade" not in said and "Probability of each grade" not in said
    assert not any(each.label == "PNG of this region" for each in app.get("download_button"))


def test_a_version_without_calibration_claims_no_set():
    both = case(both=True)
    said = text_of(opened("pages/grade.py", case=replace(both, shown="v1")))
    assert "was not calibrated" in said and "in a set made to hold" not in said


def test_two_versions_that_graded_a_case_are_compared_and_either_can_be_shown():
    app = opened("pages/grade.py", case=case(both=True))
    assert "v2 and v1 compared: 1 of 3 regions graded differently" in [each.label for each in app.expander]
    said = text_of(app)
    assert "differs by 1" in said and "1 mild" in said and "not gradable" in said
    (shown,) = [each for each in app.radio if each.label == "Show the grades of"]
    assert shown.value == "v2"
    shown.set_value("v1").run()
    assert "graded by model **v1**" in text_of(app)


def test_a_case_whose_images_are_gone_cannot_be_graded_again():
    assert button(opened("pages/grade.py", case=case()), "Grade again with v1").disabled


def test_the_default_version_is_preselected_for_the_next_scan_and_another_can_be_chosen(settings):
    set_default(settings, "v2", who="me", permissions=frozenset(Permission))
    (menu,) = opened("pages/grade.py").selectbox
    assert (menu.label, menu.value, menu.options) == ("Model version", "v2", ["v1", "v2 (default)"])


def test_with_a_single_usable_version_there_is_nothing_to_choose(settings):
    damage(settings.models, "v2")
    app = opened("pages/grade.py")
    assert not app.selectbox and not app.warning


def test_no_version_stands_in_for_a_damaged_default(settings):
    damage(settings.models, "v1")
    app = opened("pages/grade.py")
    assert "The default model v1 cannot be used. The weights file v1.safetensors" in app.warning[0].value
    assert app.selectbox[0].value is None
    button(app, "Try a simulated case").click().run()
    assert "nothing was graded" in app.error[0].value


def test_where_no_network_can_find_the_discs_the_page_says_so(settings):
    (settings.models / "detector.safetensors").unlink()
    said = text_of(opened("pages/grade.py"))
    assert "No scan can be graded. The weights file detector.safetensors is missing" in said


def test_the_models_page_names_the_default_and_shows_every_card(settings):
    damage(settings.models, "v2")
    said = text_of(opened("pages/models.py"))
    assert "Default version: **v1**. Nobody has chosen yet" in said
    assert "cannot be used." in said and "v2.safetensors is not the one on its card (SHA-256 differs)" in said
    card = json.loads((settings.models / "v1.json").read_text())
    for text in (card["weights_sha256"], card["data"], card["licence"], card["attributions"][0], card["created"]):
        assert html.escape(text) in said


def test_the_default_is_changed_after_a_confirmation_and_logged(settings):
    app = opened("pages/models.py")
    button(app, "Make v2 the default").click().run()
    assert "unless another version is chosen for a scan" in text_of(app)
    assert default_model(settings).source is Source.SHIPPED, "asked, not yet confirmed"
    button(app, "Yes, make v2 the default").click().run()
    assert not app.exception
    assert (default_model(settings).version, default_model(settings).source) == ("v2", Source.CHOSEN)
    (change,) = read_log(settings.data).changes
    assert (change.who, change.before, change.after) == ("local user", "v1", "v2")
    assert "Default version: **v2**. Chosen on this page." in text_of(opened("pages/models.py"))
    assert "local user" in text_of(models_page("History"))


def test_a_change_that_is_not_confirmed_changes_nothing(settings):
    app = opened("pages/models.py")
    button(app, "Make v2 the default").click().run()
    button(app, "Cancel").click().run()
    assert not (settings.data / "settings.json").exists()


def test_a_damaged_version_is_not_offered_as_the_default(settings):
    damage(settings.models, "v2")
    assert not any(each.label.startswith("Make") for each in opened("pages/models.py").button)


def test_the_page_says_when_the_environment_names_the_default(monkeypatch):
    monkeypatch.setenv("LSS_MODEL", "v2")
    app = opened("pages/models.py")
    assert "Default version: **v2**. The server's environment variable LSS_MODEL names it" in text_of(app)
    assert not any(each.label.startswith("Make") for each in app.button)
    assert opened("pages/grade.py").selectbox[0].value == "v2"


def test_without_the_permission_the_default_is_shown_and_cannot_be_changed(monkeypatch):
    visitor = access.Visitor("reader", frozenset({Permission.READ_MODELS}), "me", has_cookie=True)
    monkeypatch.setattr(access, "_visitor", lambda: visitor)
    app = opened("pages/models.py")
    assert "Default version: **v1**" in text_of(app)
    assert not any(each.label.startswith("Make") for each in app.button)


def test_nothing_of_the_models_is_shown_without_the_permission_to_read_them(monkeypatch):
    visitor = access.Visitor("guest", frozenset({Permission.GRADE}), "me", has_cookie=True)
    monkeypatch.setattr(access, "_visitor", lambda: visitor)
    app = opened("pages/models.py")
    assert app.error and not app.title and not app.tabs


def test_a_settings_file_that_cannot_be_read_is_shown_and_not_guessed_at(settings):
    settings.data.mkdir(exist_ok=True)
    (settings.data / "settings.json").write_text("{")
    for page in ("pages/models.py", "pages/grade.py"):
        app = opened(page)
        assert not app.exception and "settings.json in the data folder is not readable" in text_of(app)
    assert app.selectbox[0].value is None


def test_weights_that_took_the_place_of_the_chosen_ones_are_pointed_out(settings):
    set_default(settings, "v2", who="me", permissions=frozenset(Permission))
    add_version(settings.models, "v2", seed=9)
    app = opened("pages/models.py")
    assert "The weights of v2 are not those that were chosen" in text_of(app)
    assert button(app, "Make v2 the default")


@pytest.mark.parametrize("tab", FIGURE_TABS)
def test_versions_that_were_not_evaluated_say_how_to_evaluate_them(tab):
    said = text_of(models_page(tab))
    assert "v1 and v2 were not evaluated on simulated CT" in said
    assert "python -m lss_core evaluate --simulated 200 --seed 1000002 --model v1 v2" in said


def test_a_version_without_a_training_curve_says_how_one_is_made():
    said = text_of(models_page("Training"))
    assert "holds no training curve" in said and "python -m lss_core train classifier --name v1" in said


def test_without_any_model_the_page_says_how_to_train_one(monkeypatch, tmp_path):
    monkeypatch.setenv("LSS_MODELS", str(tmp_path / "nothing"))
    app = opened("pages/models.py")
    assert not app.exception
    assert "python -m lss_core train classifier --out models" in text_of(app)


@pytest.fixture(scope="module")
def evaluated(shipped) -> dict[str, dict]:
    """Evaluations of both versions, of numbers drawn at random."""
    return made_up_evaluations([read_card(shipped, name) for name in ("v1", "v2")])


@pytest.fixture
def with_figures(settings, evaluated, monkeypatch, tmp_path) -> Settings:
    """Both versions evaluated on simulated CT, v2 with a training curve too."""
    for name, evaluation in evaluated.items():
        record_metrics(settings.models, name, "evaluation", {"simulated": evaluation})
    curve = [{"step": 100 * k, "validation_loss": 1 / k, "training_loss": 0.9 / k} for k in (1, 2, 3)]
    add_curve(settings.models / "v2.json", curve)
    monkeypatch.setenv("LSS_RUNS", str(tmp_path / "runs"))
    return settings


def add_curve(path: Path, curve: list[dict[str, float]]) -> None:
    card = json.loads(path.read_text())
    card["metrics"]["curve"] = curve
    path.write_text(json.dumps(card))


@pytest.mark.parametrize("tab", FIGURE_TABS)
def test_every_tab_of_figures_says_on_what_they_were_measured(with_figures, evaluated, tab):
    app = models_page(tab)
    assert app.warning[0].value == evaluated["v1"]["statement"]
    assert any("say nothing about patients" in each.value for each in app.caption)


def test_headline_figures_stand_side_by_side_with_intervals_and_counts(with_figures, evaluated):
    said = text_of(models_page())
    for version in ("v1", "v2"):
        for kind in ("central", "recess"):
            part = evaluated[version][kind]
            value, low, high = (part["accuracy"][name] for name in ("value", "low", "high"))
            assert f"accuracy {value:.3f} <small class='interval'>({low:.3f}–{high:.3f})" in said
            assert f"{part['regions']} regions ({part['missed']} missed) of {part['patients']} patients" in said


def test_versions_are_compared_in_pairs(with_figures):
    said = text_of(models_page("Comparison"))
    assert "v1 − v2" in said and "McNemar" in said


@pytest.mark.parametrize(("tab", "count"), [("Accuracy", 8), ("Calibration", 4), ("Measurement", 6), ("Training", 1)])
def test_every_chart_says_on_what_it_was_measured(with_figures, evaluated, tab, count):
    charts = [json.loads(each.proto.spec)["layout"]["title"] for each in models_page(tab).get("plotly_chart")]
    assert len(charts) == count
    for title in charts:
        subtitle = title["subtitle"]["text"].replace("<br>", " ")
        assert evaluated["v1"]["statement"] in subtitle or "Data of the training run" in subtitle
        assert "v1" in title["text"] or "v2" in title["text"]


def test_figures_of_other_weights_are_pointed_out(with_figures):
    add_version(with_figures.models, "v3", seed=5, metrics=read_card(with_figures.models, "v1").metrics)
    card = read_card(with_figures.models, "v1")
    said = text_of(models_page("Accuracy"))
    assert f"The figures of v3 were measured on other weights ({card.weights_sha256[:12]})" in said


def test_a_copy_of_a_version_under_another_name_keeps_its_figures(with_figures):
    metrics = read_card(with_figures.models, "v1").metrics
    add_version(with_figures.models, "v3", calibration=CALIBRATION, metrics=metrics)
    assert "other weights" not in text_of(models_page("Accuracy"))
    assert text_of(models_page()).count("(1 missed) of 12 patients") == 2, "v1 and its copy"


def test_an_evaluation_of_another_version_of_the_software_is_named(settings):
    record_metrics(settings.models, "v1", "evaluation", {"simulated": {"statement": "old"}})
    assert "not an evaluation as this version of the software writes it" in text_of(models_page("Accuracy"))


def test_pictures_of_failures_are_shown_where_their_run_is_and_asked_for_where_it_is_not(
    with_figures, evaluated, tmp_path
):
    app = models_page("Failures")
    assert "The pictures of the worst errors are not here" in text_of(app) and not app.get("image")
    made_up_run(tmp_path / "runs" / "simulated", evaluated)
    app = models_page("Failures")
    assert "The pictures of the worst errors are not here" not in text_of(app)
    captions = [caption for each in app.get("image") for caption in each.captions]
    assert "v1, L4/5 central canal: reference 3, v1 says 1 (P001)" in captions and len(captions) == 4


def test_pictures_of_other_weights_are_not_shown(with_figures, evaluated, tmp_path):
    others = {name: each | {"weights_sha256": "f" * 64} for name, each in evaluated.items()}
    made_up_run(tmp_path / "runs" / "simulated", others)
    assert not models_page("Failures").get("image")


def test_the_files_of_a_version_can_be_saved_but_not_damaged_weights(settings):
    damage(settings.models, "v2")
    (settings.models / "v1.html").write_text("<p>card</p>")
    labels = [each.label for each in opened("pages/models.py").get("download_button")]
    assert labels == ["Card (JSON)", "Weights (safetensors)", "Card (HTML)", "Card (JSON)"]


def test_real_scans_are_shown_with_their_statement_or_the_command_that_makes_the_figures(settings):
    assert "python -m lss_core evaluate-real SCANS" in text_of(models_page("Real scans"))
    cases = [drawn_case(), drawn_case(scan="b")]
    imposed = {"statement": "Narrowing imposed on 1 drawn scan.", **imposed_figures(cases)}
    untouched = {
        "statement": "1 drawn scan as it is.", "area_within": 1, "area_slices": 2,
        "slices": [{"scan": "a<b", "slice": 3, "position": "disc", "level": "L4/5", "outlined_mm2": [100, 120],
                    "measured_mm2": each, "within": within} for each, within in ((110.0, True), (None, False))],
        "grades": {"a<b": {"central_canal": {"0": 1, "1": 0, "2": 0, "3": 0, "not graded": 4}}},
    }
    record_metrics(settings.models, "v1", "imposed", imposed)
    record_metrics(settings.models, "v1", "untouched", untouched)
    app = models_page("Real scans")
    assert not app.exception
    said = text_of(app)
    for sentence in ("Narrowing imposed on 1 drawn scan.", "1 drawn scan as it is.", "left facet growth", "a&lt;b"):
        assert sentence in said
    assert "1 of 2" in said and "evaluate-real SCANS" not in said


def test_what_was_seen_in_the_failures_is_said_once_for_versions_that_share_it(settings):
    for name in ("v1", "v2"):
        card = json.loads((settings.models / f"{name}.json").read_text())
        card["metrics"]["failures_discussed"] = "The reference errs at L5/S1."
        (settings.models / f"{name}.json").write_text(json.dumps(card))
    app = models_page("Failures")
    assert not app.exception
    assert [each.value for each in app.text].count("The reference errs at L5/S1.") == 1
    assert any("worst errors of v1 and v2" in each.value for each in app.subheader)
