"""Where the collection stands: the steps from import to the reader study, what is done and what is next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import streamlit as st

from lss_core import training_runs
from lss_core.curation import handover, labels, levels, plan, reference, regions, scans, split
from lss_core.permissions import Permission
from lss_core.settings import Settings
from lss_core.training.run_folder import RunState
from lss_core.vocabulary import counted
from ui.curate import picker
from ui.curate.opened import OpenCollection
from ui.wording import plain

DONE, OPEN = ":green[:material/check_circle:]", ":material/radio_button_unchecked:"
BLIND = (
    "You work alone: you see neither the other's boxes and grades, nor any grade of a model, nor patient, site or file "
    "names."
)


@dataclass(frozen=True)
class Step:
    """One step of the work: what it is, how far it is, and the tab in which it is done."""

    name: str
    sentence: str
    is_done: bool
    tab: str = ""                               # where it is not called as the step


def show(opened: OpenCollection) -> None:
    """The steps with the next one marked: of the whole collection, or the annotator's own."""
    steers = Permission.IMPORT_SCANS in opened.may
    steps = [*(_steps(opened) if steers else _own_steps(opened))]
    following = next((step for step in steps if not step.is_done), None)
    with st.container(border=True, gap="xsmall"):
        st.subheader("From scans to a reader study" if steers else "Your work", anchor=False)
        for number, step in enumerate(steps, 1):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{DONE if step.is_done else OPEN} **{number} {step.name}**: {step.sentence}",
                            width="stretch")
                tab = step.tab or step.name
                st.button(f"Go to {tab}", key=f"go-{number}", icon=":material/arrow_forward:",
                          type="primary" if step is following else "tertiary", on_click=picker.go_to, args=(tab,))
    if not steers:
        st.caption(BLIND)


def _steps(opened: OpenCollection) -> Iterator[Step]:
    """All steps, for those who run the collection."""
    asked = opened.engine, opened.actor, opened.collection_id
    rows = scans.scans_of(*asked)
    patients = len({row.patient for row in rows})
    yield Step("Import", f"{counted(len(rows), 'scan')} of {counted(patients, 'patient')}.", bool(rows))
    confirmed = sum(row.levels_confirmed for row in rows)
    yield Step("Levels", f"{confirmed} of {counted(len(rows), 'scan')} confirmed.", 0 < confirmed == len(rows))
    yield _regions_step(opened)
    progress = labels.label_progress(*asked)
    if plan.plan_of(*asked) is None:
        yield Step("Labels", "Name first who labels and who adjudicates.", False, tab="Plan")
    else:
        done = "; ".join(f"{plain(each.name)} {each.done} of {each.total}" for each in progress)
        yield Step("Labels", f"{done}.", all(0 < each.total == each.done for each in progress))
    yield from _reference_steps(opened)
    yield from _later_steps(opened)


def _regions_step(opened: OpenCollection) -> Step:
    asked = opened.engine, opened.actor, opened.collection_id
    people = len(regions.box_origins(*asked))
    compared = [each for each in regions.box_agreement(*asked) if each.n]
    overlap = ", ".join(f"{each.median:.2f} ({each.region.label.lower()})" for each in compared)
    said = f"{counted(people, 'annotator')} drew. {f'Median overlap of two: {overlap}.' if compared else ''}"
    return Step("Regions", said if people else "Nobody has drawn yet.", bool(compared))


def _reference_steps(opened: OpenCollection) -> Iterator[Step]:
    asked = opened.engine, opened.actor, opened.collection_id
    state = reference.reference_state(*asked)
    settled = state.adjudicated + state.joint
    open_ones = state.regions - state.agreed - settled
    said = (
        f"{state.agreed} of {counted(state.regions, 'region')} agreed by two, {settled} settled, {open_ones} to settle."
        if state.regions else "No case is labelled by both yet."
    )
    yield Step("Agreement", said, state.regions > 0 and open_ones == 0)
    locked = reference.reference_versions(*asked)
    said = f"Version {locked[-1].number} is locked." if locked else "Not locked."
    yield Step("Reference", said, bool(locked))


def _later_steps(opened: OpenCollection) -> Iterator[Step]:
    asked = opened.engine, opened.actor, opened.collection_id
    locked = split.split_of(*asked)
    yield Step("Split", f"Version {locked.number} is locked." if locked else "Not locked.", locked is not None)
    runs = training_runs.runs(*asked, Settings.from_environment())
    done = [run for run in runs if run.state is RunState.DONE]
    yield Step("Train", f"{counted(len(done), 'training')} done of {len(runs)}." if runs else "No training yet.",
               bool(done))
    studies = handover.opened_studies(*asked)
    yield Step("Hand over", f"{counted(len(studies), 'reader study', 'reader studies')} opened." if studies
               else "The control set is not handed to a reader study yet.", bool(studies))


def _own_steps(opened: OpenCollection) -> Iterator[Step]:
    """What an annotator does."""
    asked = opened.engine, opened.actor, opened.collection_id
    cases = levels.cases_of(*asked)
    due = {case.case_id for case in cases if case.confirmed}
    waiting = len({case.scan_id for case in cases if not case.confirmed})
    yield Step("Levels", f"{counted(waiting, 'scan')} to confirm." if waiting else "All scans are confirmed.",
               not waiting)
    drawn = len(regions.drawn_cases(*asked) & due)
    yield Step("Regions", f"{drawn} of {counted(len(due), 'case')} drawn.", 0 < drawn == len(due))
    own = labels.label_progress(*asked)
    if own:
        yield Step("Labels", f"{own[0].done} of {counted(own[0].total, 'case')} graded.",
                   0 < own[0].total == own[0].done)
