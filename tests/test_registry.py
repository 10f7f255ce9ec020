"""Model versions on disk, the default among them, and the log of who changed it."""

import itertools
import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lss_core import registry
from lss_core.permissions import Permission
from lss_core.registry import DefaultModel, Source, default_model, list_versions, read_log, set_default
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal
from tests.model_folders import CALIBRATION, add_version, damage

ALL = frozenset(Permission)


@pytest.fixture
def settings(tmp_path):
    """Two usable versions, nothing chosen."""
    for seed, name in enumerate(("v1", "v2")):
        add_version(tmp_path / "models", name, seed=seed)
    return Settings(models=tmp_path / "models", data=tmp_path / "data")


def choose(settings, version, **changes):
    return set_default(settings, version, **{"who": "local user", "permissions": ALL} | changes)


def test_versions_are_listed_in_the_order_of_their_numbers(settings):
    add_version(settings.models, "v10")
    assert [version.name for version in list_versions(settings.models)] == ["v1", "v2", "v10"]
    assert all(version.usable and version.card is not None for version in list_versions(settings.models))


def test_the_networks_that_all_versions_share_are_no_versions(settings):
    for name in ("detector", "levels"):
        (settings.models / f"{name}.json").write_text("{}")
    assert [version.name for version in list_versions(settings.models)] == ["v1", "v2"]


def test_a_folder_without_models_has_no_version(tmp_path):
    assert list_versions(tmp_path / "nothing") == ()


def refuse_hash(models):
    damage(models, "v2")


def refuse_missing_weights(models):
    (models / "v2.safetensors").unlink()


def refuse_missing_card(models):
    (models / "v2.json").unlink()


def refuse_torn_card(models):
    path = models / "v2.json"
    path.write_text(path.read_text()[:100])


def refuse_other_software(models):
    path = models / "v2.json"
    card = json.loads(path.read_text())
    card["configuration"]["wheels"] = 4
    path.write_text(json.dumps(card))


def refuse_other_network(models):
    path = models / "v2.json"
    card = json.loads(path.read_text())
    card["configuration"]["hidden"] += 1
    path.write_text(json.dumps(card))


def refuse_renamed(models):
    for ending in ("json", "safetensors"):
        (models / f"v2.{ending}").write_bytes((models / f"v1.{ending}").read_bytes())


def refuse_calibration(models):
    add_version(models, "v2", calibration={**CALIBRATION, "colour": "red"})


DAMAGES = [
    (refuse_hash, "SHA-256 differs"), (refuse_missing_weights, "v2.safetensors is missing"),
    (refuse_missing_card, "no file v2.json"), (refuse_torn_card, "v2.json is not readable"),
    (refuse_other_software, "wheels"), (refuse_other_network, "do not fit the network"),
    (refuse_renamed, "that of model 'v1'"), (refuse_calibration, "calibration"),
]


@pytest.mark.parametrize(("make", "sentence"), DAMAGES, ids=[make.__name__ for make, _ in DAMAGES])
def test_a_damaged_version_is_listed_with_the_reason_and_cannot_be_the_default(settings, make, sentence):
    make(settings.models)
    whole, damaged = list_versions(settings.models)
    assert whole.usable and not damaged.usable
    assert sentence in damaged.refusal and damaged.refusal.endswith(".")
    with pytest.raises(Refusal, match="cannot be made the default"):
        choose(settings, "v2")
    assert default_model(settings).source is Source.SHIPPED
    assert not settings.data.exists()


def test_networks_that_all_versions_need_are_named_when_they_are_missing(settings):
    refusals = registry.refused_shared_networks(settings.models)
    assert len(refusals) == 2 and "detector" in refusals[0] and "levels" in refusals[1]


def test_where_nobody_chose_the_shipped_version_is_the_default(settings):
    assert default_model(settings) == DefaultModel(registry.SHIPPED_DEFAULT, Source.SHIPPED)


def test_a_choice_is_kept_on_disk_and_logged(settings):
    change = choose(settings, "v2")
    sha256 = list_versions(settings.models)[1].card.weights_sha256
    assert default_model(settings) == DefaultModel("v2", Source.CHOSEN, sha256)
    assert read_log(settings.data).changes == (change,)
    assert (change.who, change.before, change.after, change.weights_sha256) == ("local user", "v1", "v2", sha256)
    at = datetime.fromisoformat(change.at)
    assert at.tzinfo == UTC and abs(datetime.now(UTC) - at) < timedelta(minutes=1)


def test_the_log_only_grows(settings):
    choose(settings, "v2")
    first = (settings.data / registry.LOG_FILE).read_bytes()
    choose(settings, "v1")
    assert (settings.data / registry.LOG_FILE).read_bytes().startswith(first)
    assert [(change.before, change.after) for change in read_log(settings.data).changes] == [("v1", "v2"), ("v2", "v1")]


def test_the_environment_wins_over_the_choice_and_forbids_another(settings):
    choose(settings, "v2")
    forced = replace(settings, model_version="v1")
    assert default_model(forced) == DefaultModel("v1", Source.ENVIRONMENT)
    with pytest.raises(Refusal, match="LSS_MODEL is set to v1"):
        choose(forced, "v1")
    assert default_model(settings).version == "v2"


@pytest.mark.parametrize("permissions", [frozenset(), ALL - {Permission.SET_DEFAULT_MODEL}])
def test_nobody_sets_the_default_without_the_permission(settings, permissions):
    with pytest.raises(Refusal, match="permission to set default model"):
        choose(settings, "v2", permissions=permissions)
    assert not settings.data.exists()


def test_the_default_is_not_chosen_twice(settings):
    choose(settings, "v2")
    with pytest.raises(Refusal, match="is the default already"):
        choose(settings, "v2")
    assert len(read_log(settings.data).changes) == 1


def test_the_shipped_default_can_be_confirmed_by_choice(settings):
    choose(settings, registry.SHIPPED_DEFAULT)
    assert default_model(settings).source is Source.CHOSEN


def test_other_weights_under_the_name_of_the_default_can_be_chosen_again(settings):
    before = choose(settings, "v2")
    add_version(settings.models, "v2", seed=7)
    after = choose(settings, "v2")
    assert after.weights_sha256 != before.weights_sha256 and after.before == "v2"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"default_model": "v2"}', '{"default_model": {"version": "v2"}}'])
def test_a_settings_file_that_cannot_be_read_is_refused_and_not_guessed_at(settings, content):
    settings.data.mkdir()
    (settings.data / registry.SETTINGS_FILE).write_text(content)
    with pytest.raises(Refusal, match=r"settings.json in the data folder is not readable"):
        default_model(settings)


def test_a_change_that_cannot_be_written_leaves_the_default_as_it_was(settings, monkeypatch):
    choose(settings, "v2")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(Refusal, match="No space left on device"):
        choose(settings, "v1")
    assert default_model(settings).version == "v2"
    assert sorted(path.name for path in settings.data.iterdir()) == [registry.LOG_FILE, registry.SETTINGS_FILE]


def test_a_log_line_that_a_crash_cut_short_spoils_no_other(settings):
    choose(settings, "v2")
    log = settings.data / registry.LOG_FILE
    log.write_text(log.read_text() + '{"at": "2026-')
    choose(settings, "v1")
    read = read_log(settings.data)
    assert [change.after for change in read.changes] == ["v2", "v1"]
    assert read.unreadable_lines == (2,)


def test_choices_at_the_same_time_are_all_logged_in_the_order_in_which_they_came_into_force(settings):
    add_version(settings.models, "v3", seed=3)

    def click(version):
        try:
            choose(settings, version)
        except Refusal as refusal:
            assert "already" in str(refusal)

    clicks = [threading.Thread(target=click, args=(version,)) for version in ("v1", "v2", "v3") * 4]
    for thread in clicks:
        thread.start()
    for thread in clicks:
        thread.join()
    changes = read_log(settings.data).changes
    assert default_model(settings).version == changes[-1].after
    for earlier, later in itertools.pairwise(changes):
        assert later.before == earlier.after


def test_a_changed_file_changes_the_stamp(settings):
    before = registry.files_stamp(settings.models)
    add_version(settings.models, "v2", seed=9)
    assert registry.files_stamp(settings.models) != before
    assert registry.files_stamp(settings.models, "v1") == tuple(row for row in before if row[0].startswith("v1."))
