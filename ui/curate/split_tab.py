"""The split by patient: a preview with Table 1 and the flow of patients, the lock, and what was locked."""

from __future__ import annotations

import html
from collections.abc import Mapping

import streamlit as st

from lss_core.curation import reference, scans, split, table_one
from lss_core.curation.parts import Part
from lss_core.curation.split import PartCount, SplitDraft, SplitPlan, SplitVersion
from lss_core.curation.table_one import TableOne
from lss_core.curation_figures import FlowBox, FlowStep, flow_figure
from lss_core.permissions import Permission
from lss_core.vocabulary import Refusal, counted
from ui.curate.opened import OpenCollection
from ui.study import confirm
from ui.study.confirm import Question, Typed
from ui.study.wording import moment
from ui.tables import table

HOW = (
    "Patients are drawn into three parts, each patient with all scans, so that the grades are mixed alike in all "
    "parts. The **control set** is for the final evaluation and the reader study alone: once locked, nothing that "
    "trains or draws with a model can read it."
)
TOO_FEW = "There are too few patients: nobody is in the {} set. Import more scans, or change the shares."
LOCKED = "This split is locked. The control set is read by its evaluation and the reader study alone."


def show(opened: OpenCollection) -> None:
    """The locked split, or the form that draws one."""
    locked = split.split_of(opened.engine, opened.actor, opened.collection_id)
    if locked:
        _show_locked(opened, locked)
        return
    st.markdown(HOW)
    if Permission.SPLIT not in opened.may:
        st.info("Not split yet. The principal investigator draws and locks the split.", icon=":material/call_split:")
        return
    if not reference.reference_versions(opened.engine, opened.actor, opened.collection_id):
        st.info("Lock the reference first: the split mixes its grades alike.", icon=":material/lock_open:")
        return
    plan = _ask(opened)
    draft = split.propose_split(opened.engine, opened.actor, opened.collection_id, plan)
    _show_counts(draft.counts)
    _offer_lock(opened, plan, draft)
    _show_table(draft.table_one)
    _show_flow(opened, draft.counts, title="Flow of patients, preview")


def _ask(opened: OpenCollection) -> SplitPlan:
    """Shares, seed and external sites."""
    defaults = SplitPlan()
    places = st.columns(4)
    parts = (Part.TRAINING, Part.VALIDATION, Part.CONTROL)
    shares = [
        place.number_input(f"{part.value.capitalize()} (%)", 0.0, 100.0, round(100 * share, 1), 0.1, format="%.1f",
                           key=f"split-{part.value}")
        for place, part, share in zip(places, parts, defaults.ratios, strict=False)
    ]
    seed = int(places[3].number_input("Seed", 0, 2**31 - 1, defaults.seed, 1, key="split-seed",
                                      help="Another seed draws other patients. It is kept with the split."))
    sites = sorted({row.site for row in scans.scans_of(opened.engine, opened.actor, opened.collection_id) if row.site})
    external = st.multiselect("External sites", sites, key="split-external", disabled=len(sites) < 2,
                              help="Patients of these sites are kept apart as an external set.") if sites else []
    if abs(sum(shares) - 100) > 0.05:
        raise Refusal(f"The shares add up to {sum(shares):.1f} %; make them add up to 100 %.")
    training, validation, control = (share / sum(shares) for share in shares)
    return SplitPlan(ratios=(training, validation, control), seed=seed, external_sites=tuple(external))


def _offer_lock(opened: OpenCollection, plan: SplitPlan, draft: SplitDraft) -> None:
    control = draft.counts[Part.CONTROL]
    question = Question(
        title="Lock the split?",
        consequence=f"**This cannot be undone.** {counted(control.patients, 'patient')} with "
                    f"{counted(control.cases, 'case')} become the control set, under one SHA-256 with their reference. "
                    "Nothing that trains or draws with a model can read it from then on.",
        button="Sign and lock", word="lock", signer=opened.actor.name,
    )

    def lock(typed: Typed) -> str:
        version = split.lock_split(opened.engine, opened.actor, opened.collection_id, plan, typed_name=typed.name)
        return f"The split is locked. SHA-256 {version.sha256}"

    asked = zip((Part.TRAINING, Part.VALIDATION, Part.CONTROL), plan.ratios, strict=True)
    empty = [part.value for part, share in asked if share and not draft.counts[part].patients]
    if empty:
        st.warning(TOO_FEW.format(" and ".join(empty)), icon=":material/warning:")
    confirm.offer("Lock the split …", question, lock, key="lock-split", icon=":material/lock:", primary=True,
                  disabled=bool(empty))


def _show_locked(opened: OpenCollection, locked: SplitVersion) -> None:
    st.info(LOCKED, icon=":material/lock:")
    _show_counts(locked.counts)
    _offer_later(opened, locked)
    shares = " / ".join(f"{share:.1%}" for share in locked.plan.ratios)
    rows = [[f"Version {locked.number}", moment(locked.locked_at), f"{shares}, seed {locked.plan.seed}",
             html.escape(", ".join(locked.plan.external_sites)) or "none", f"<code>{locked.sha256}</code>"]]
    st.html(table(("Split", "Locked and signed", "Asked", "External sites", "SHA-256"), rows, label="Locked split"))
    _show_table(table_one.table_one(opened.engine, opened.actor, opened.collection_id))
    _show_flow(opened, locked.counts, title="Flow of patients")


def _offer_later(opened: OpenCollection, locked: SplitVersion) -> None:
    """A version for what came later, where the reference is newer; nobody changes the part."""
    newest = reference.reference_versions(opened.engine, opened.actor, opened.collection_id)[-1]
    if newest.number == locked.reference_number or Permission.SPLIT not in opened.may:
        return
    question = Question(
        title="Lock a new version of the split?", button="Sign and lock", word="lock", signer=opened.actor.name,
        reason="Reason (kept with the version)",
        consequence=f"The split rests on reference {locked.reference_number}, and {newest.number} is locked by now. "
                    "The new version takes it over and draws a part for patients who came later. Everybody else keeps "
                    "the part.",
    )

    def lock(typed: Typed) -> str:
        version = split.lock_split(opened.engine, opened.actor, opened.collection_id, locked.plan,
                                   typed_name=typed.name, reason=typed.reason)
        return f"Version {version.number} of the split is locked. SHA-256 {version.sha256}"

    confirm.offer("Lock a new version …", question, lock, key="lock-split-again", icon=":material/lock:")


def _show_counts(counts: Mapping[Part, PartCount]) -> None:
    for place, (part, count) in zip(st.columns(len(counts)), counts.items(), strict=True):
        place.metric(part.value.capitalize(), counted(count.patients, "patient"), counted(count.cases, "case"),
                     delta_color="off", delta_arrow="off", border=True)


def _show_table(made: TableOne) -> None:
    st.subheader("Table 1", anchor=False)
    rows = [[html.escape(cell) for cell in row] for row in made.rows]
    st.html(table(made.head, rows, label="Table 1"))
    st.download_button("Table 1 as CSV", made.as_csv(), "table-1.csv", "text/csv", icon=":material/download:",
                       on_click="ignore", key="table-one-csv")


def _show_flow(opened: OpenCollection, counts: Mapping[Part, PartCount], *, title: str) -> None:
    flow = table_one.flow(opened.engine, opened.actor, opened.collection_id)
    parts = [
        FlowBox(part.value.capitalize(), (counted(count.patients, "patient"), counted(count.cases, "case")))
        for part, count in counts.items()
    ]
    figure = flow_figure([_step(step) for step in flow.steps], parts, title=title)
    st.plotly_chart(figure, key="split-flow", theme=None, config={"displaylogo": False})


def _step(step: table_one.FlowStep) -> FlowStep:
    aside = FlowBox(step.left_out, step.reasons) if step.left_out else None
    return FlowStep(FlowBox(step.label, (step.what,)), aside)
