"""The locked control set: evaluated from a collection, and handed over to a reader study, with what each may not do."""

import json
from dataclasses import dataclass

import pytest

from lss_core.control_evaluation import evaluate_control, last_evaluation
from lss_core.curated_parts import write_parts
from lss_core.curation.parts import Part
from lss_core.grading.checkpoint import read_card
from lss_core.grading.pipeline import Grader
from lss_core.handing_over import hand_over
from lss_core.settings import Settings
from lss_core.study import cases, studies
from lss_core.training.set_mark import read_mark
from lss_core.vocabulary import Refusal
from tests.curated import Curated, curated, locked_reference, locked_split
from tests.model_folders import CALIBRATION, add_shared_networks, add_version


@dataclass
class Group:
    """A collection with a locked split, on an installation with two untrained versions."""

    made: Curated
    settings: Settings

    def evaluate(self, *versions: str, by=None, **what) -> str:
        made = self.made
        return evaluate_control(made.engine, made.store, by or made.pi, made.collection_id, self.settings,
                                versions=versions, **what)

    def hand_over(self, *, by=None, **what):
        made = self.made
        graders = [Grader.load(name, models=self.settings.models) for name in ("a1", "a2")]
        return hand_over(made.engine, made.store, by or made.pi, made.collection_id, title="Readers", graders=graders,
                         **what)


@pytest.fixture
def group(tmp_path) -> Group:
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=5)
    locked_split(made)
    models = tmp_path / "models"
    add_shared_networks(models)
    for seed, name in enumerate(("a1", "a2")):
        add_version(models, name, seed=seed, calibration=CALIBRATION)
    return Group(made, Settings(models=models, runs=tmp_path / "runs", data=tmp_path))


def test_an_evaluation_counts_every_region_of_the_control_set_and_keeps_its_figures(group):
    figures = group.evaluate("a1", "a2")
    made = group.made
    last = last_evaluation(made.engine, made.pi, made.collection_id, group.settings)
    assert last and last.figures == figures and "SIMULATED" in figures and b"<html" in last.page.lower()
    (outcomes,) = group.settings.runs.rglob("outcomes-a1.jsonl")
    _, *scans = map(json.loads, outcomes.read_text().splitlines())
    assert [len(scan["outcomes"]) for scan in scans] == [6], "one control patient, two levels, three regions"


def test_versions_that_were_not_trained_here_keep_the_figures_of_their_cards(group):
    group.evaluate("a1")
    assert "evaluation" not in read_card(group.settings.models, "a1").metrics


def test_an_evaluation_that_was_stopped_goes_on_where_it_was(group):
    def stop_at_the_end(what: str, share: float) -> None:
        if share >= 1:
            raise Refusal("Stopped as asked.")

    with pytest.raises(Refusal, match="Stopped as asked"):
        group.evaluate("a1", progress=stop_at_the_end)
    told = []
    group.evaluate("a1", progress=lambda what, share: told.append(what))
    assert not any(what.startswith("Writing scan") for what in told), "the scans are written already"


@pytest.mark.parametrize("who", ["coordinator", "first", "second", "third", "outsider"])
def test_nobody_but_the_pi_evaluates_on_the_control_set_or_hands_it_over(group, who):
    for act in (lambda by: group.evaluate("a1", by=by), lambda by: group.hand_over(by=by)):
        with pytest.raises(Refusal):
            act(getattr(group.made, who))
    assert not group.settings.runs.exists()


def test_nothing_is_evaluated_or_handed_over_before_the_split_is_locked(tmp_path):
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=5)
    locked_reference(made)
    group = Group(made, Settings(runs=tmp_path / "runs"))
    with pytest.raises(Refusal, match="not locked"):
        group.evaluate("v1")
    with pytest.raises(Refusal, match="not locked"):
        hand_over(made.engine, made.store, made.pi, made.collection_id, title="Readers", graders=[])


def test_training_and_validation_parts_are_written_into_folders_of_their_own_without_a_control_patient(group):
    made = group.made
    written = write_parts(made.engine, made.store, made.pi, made.collection_id, group.settings,
                          (Part.TRAINING, Part.VALIDATION), progress=lambda what, share: None)
    marks = [read_mark(folder) for folder in written.values()]
    assert [mark.parts for mark in marks if mark] == [("training",), ("validation",)]
    assert sum(len(mark.patients) for mark in marks if mark) == 4


def test_a_study_that_is_handed_over_has_the_outputs_of_each_version_beside_each_control_case(group):
    study = group.hand_over()
    (summary,) = studies.my_studies(group.made.engine, group.made.pi)
    rows = cases.cases_of(group.made.engine, group.made.pi, study.id or 0)
    assert summary.title == "Readers" and len(rows) == 2
    assert all(row.versions == {"a1", "a2"} and len(row.outputs or ()) == 6 for row in rows)


def test_a_hand_over_that_is_stopped_leaves_no_study_behind(group):
    def stop(what: str, share: float) -> None:
        raise Refusal("Stopped as asked.")

    with pytest.raises(Refusal, match="Stopped"):
        group.hand_over(progress=stop)
    assert not studies.my_studies(group.made.engine, group.made.pi)
