"""A widget for every field of a protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from lss_core.registry import ModelVersion
from lss_core.study.database import Arm
from lss_core.study.protocol import Aid, AnalysisPlan, Design, Protocol, arms_of
from lss_core.vocabulary import Region
from ui.study.wording import DESIGNS, ORDERS, REVISITS, TWO_SESSIONS

CUTS = {1: "1 or worse: any stenosis", 2: "2 or worse: at least moderate", 3: "3: severe only"}
Values = dict[str, Any]                         # of fields of Protocol, by name


@dataclass(frozen=True)
class Form:
    """One form: the protocol that it begins with, the name that its widgets share, and the models of the installation.

    What is typed stays while other tabs and pages are looked at, until `name` changes.
    """

    protocol: Protocol
    name: str
    weights: Mapping[str, str]                  # SHA-256 of each usable model version

    def options(self, field: str) -> Values:
        """What every widget is given."""
        return {"key": f"{self.name}-{field}", "persist_state": "session"}


def form_of(protocol: Protocol, *, name: str, versions: Sequence[ModelVersion]) -> Form:
    """A form over a protocol, with the versions that can be used."""
    return Form(protocol, name, {each.name: each.card.weights_sha256 for each in versions if each.usable and each.card})


def ask(form: Form) -> Protocol:
    """Show the form and give the protocol that it describes.

    Raises:
        Refusal: the values cannot be together; all widgets are on the page by then.
    """
    values: Values = {}
    for title, part in PARTS.items():
        with st.container(border=True):
            st.subheader(title, anchor=False)
            values |= part(form)
    return replace(form.protocol, **values)


def _questions(form: Form) -> Values:
    """What readers are told and asked."""
    before = form.protocol
    return {
        "instructions": st.text_area(
            "Instructions to readers", before.instructions, height=160, **form.options("instructions"),
            help="Markdown, shown before the first case. Say what is graded, how sure one must be, and whom to ask.",
        ),
        "regions": tuple(st.multiselect(
            "Regions asked at each level", list(Region), before.regions, format_func=lambda each: each.label,
            **form.options("regions"),
        )),
        "scheme": st.text_input(
            "Grading scheme", before.scheme, **form.options("scheme"),
            help="Shown to readers beside the criteria, and named in the export.",
        ),
        "ask_confidence": st.toggle(
            "Ask for a confidence, 0 to 100, for each grade", before.ask_confidence, **form.options("confidence"),
            help="Needed for ROC curves of readers that are finer than the four grades.",
        ),
    }


def _design(form: Form) -> Values:
    """Arms, sessions, aid."""
    before = form.protocol
    designs = list(DESIGNS)
    design = st.radio(
        "Design", designs, designs.index(before.design), format_func=lambda each: DESIGNS[each][0],
        captions=[DESIGNS[each][1] for each in designs], **form.options("design"),
    )
    left, middle, right = st.columns(3)
    with left:
        sessions = _sessions(form, design)
    with middle:
        washout_days = before.washout_days if sessions < 2 else _whole(
            form, "Washout (days)", "washout", before.washout_days, high=730,
            explain="From a reader's end of one session to the opening of the next, by the server's date.",
        )
    with right:
        repeats = _whole(
            form, "Hidden repeats in each session", "repeats", before.repeats, high=200,
            explain="Cases that are shown twice without saying so, for the agreement of a reader with himself.",
        )
    aid = _aid(form) if Arm.AIDED in arms_of(design) else None
    return {"design": design, "sessions": sessions, "washout_days": washout_days, "repeats": repeats, "aid": aid}


def _sessions(form: Form, design: Design) -> int:
    if design in TWO_SESSIONS:
        st.metric("Sessions", 2, help="This design has exactly two.")
        return 2
    return _whole(
        form, "Sessions", "sessions", form.protocol.sessions, low=1, high=10,
        explain="How often each reader reads all cases.",
    )


def _aid(form: Form) -> Aid | None:
    """What aided readers see; None while no version is chosen."""
    before = form.protocol.aid
    names = _known(form, [before.version] if before else [])
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    chosen = left.selectbox(
        "Model shown to aided readers", names, names.index(before.version) if before else None,
        placeholder="Choose a version", **form.options("aid"),
        help="Its grades and probabilities are shown. The outputs are those stored with the cases.",
    )
    heat_map = right.toggle("Show its heat maps too", before.heat_map if before else True, **form.options("heat-map"))
    if chosen is None:
        return None
    kept = before.weights_sha256 if before and before.version == chosen else ""
    return Aid(chosen, form.weights.get(chosen, kept), heat_map)


def _order(form: Form) -> Values:
    """Order, going back, pace."""
    before = form.protocol
    left, right = st.columns(2)
    with left:
        order = st.radio(
            "Order", list(ORDERS), list(ORDERS).index(before.order), format_func=lambda each: ORDERS[each][0],
            captions=[sentence for _, sentence in ORDERS.values()], **form.options("order"),
        )
    with right:
        revisit = st.radio(
            "Going back", list(REVISITS), list(REVISITS).index(before.revisit),
            format_func=lambda each: REVISITS[each][0], captions=[sentence for _, sentence in REVISITS.values()],
            **form.options("revisit"),
        )
    seed = st.text_input(
        "Seed of all orders", before.seed, placeholder="the one that was drawn at random", **form.options("seed"),
        help="From it every reader's order can be drawn again. Orders differ between studies even with equal seeds.",
    )
    feedback = st.toggle(
        "Show the reference after each training case", before.training_feedback, **form.options("feedback"),
        help="Training cases come before the first session and are never counted. Test cases never give feedback.",
    )
    return {"order": order, "revisit": revisit, "seed": seed.strip(), "training_feedback": feedback} | _pace(form)


def _pace(form: Form) -> Values:
    before = form.protocol
    left, middle, right = st.columns(3)
    with left:
        around = _number(form, "Slices shown around the level (mm)", "around", before.slices_around_mm, high=200.0,
                         explain="To each side of the level's slice.")
    with middle:
        pause = _number(form, "Neutral pause between cases (s)", "pause", before.pause_s, high=60.0,
                        explain="A blank screen, so that one case does not colour the next.")
    with right:
        idle = _number(form, "Time counts as idle after (s)", "idle", before.idle_after_s, low=1.0, high=3600.0,
                       explain="Without a sign of the reader. Idle time is kept apart from the reading time.")
    return {"slices_around_mm": around, "pause_s": pause, "idle_after_s": idle}


def _readers(form: Form) -> Values:
    """What makes a junior and a senior, and what readers may see at the end."""
    before = form.protocol
    left, right = st.columns(2)
    with left:
        junior = _number(form, "Junior below (years)", "junior", before.junior_below_years, high=60.0,
                         explain="Years of practice. Between the two bounds a reader counts as intermediate.")
    with right:
        senior = _number(form, "Senior above (years)", "senior", before.senior_above_years, high=60.0, explain="")
    own_result = st.toggle(
        "Readers may see their own result after unblinding", before.own_result, **form.options("own-result"),
    )
    return {"junior_below_years": junior, "senior_above_years": senior, "own_result": own_result}


def _analysis(form: Form) -> Values:
    """What is compared, and the plan that is fixed before anybody reads."""
    before, plan = form.protocol, form.protocol.analysis
    versions = st.multiselect(
        "Model versions compared with the readers", _known(form, before.versions), list(before.versions),
        **form.options("versions"), help="Their outputs must be stored with every test case before the lock.",
    )
    primary = st.text_input("Primary endpoint", plan.primary, **form.options("primary"))
    left, middle, right = st.columns(3)
    with left:
        cut = st.selectbox("A grade counts as positive from", list(CUTS), list(CUTS).index(plan.cut),
                           format_func=CUTS.__getitem__, **form.options("cut"))
    with middle:
        alpha = _number(form, "Significance level (alpha)", "alpha", plan.alpha, low=0.001, high=0.2, step=0.005,
                        explain="Two-sided. Intervals have the confidence 1 - alpha.")
    with right:
        margin = _margin(form)
    return {
        "versions": tuple(versions),
        "analysis": AnalysisPlan(primary, cut, alpha, margin, *_bootstrap(form), text=_plan_text(form)),
    }


def _margin(form: Form) -> float | None:
    before = form.protocol.analysis.non_inferiority_margin
    wanted = st.checkbox("Test non-inferiority", before is not None, **form.options("non-inferiority"))
    if not wanted:
        return None
    return _number(form, "Margin of accuracy", "margin", 0.05 if before is None else before, low=0.001, high=0.5,
                   step=0.005, explain="The model may be worse than the readers by less than this, as a share.")


def _bootstrap(form: Form) -> tuple[int, int]:
    plan = form.protocol.analysis
    left, right = st.columns(2)
    with left:
        samples = _whole(form, "Bootstrap samples", "bootstraps", plan.bootstraps, low=100, high=100_000,
                         explain="Patients are drawn with replacement; more samples give steadier intervals.")
    with right:
        seed = _whole(form, "Seed of the bootstrap", "bootstrap-seed", plan.seed, high=2**31 - 1,
                      explain="With it the same figures come out again.")
    return samples, seed


def _plan_text(form: Form) -> str:
    return st.text_area(
        "Analysis plan in words", form.protocol.analysis.text, height=120, **form.options("plan"),
        help="Hypotheses, secondary endpoints, subgroups, how missing and not gradable cases are treated.",
    )


def _whole(form: Form, label: str, field: str, value: int, *, low: int = 0, high: int, explain: str) -> int:
    return int(st.number_input(label, low, max(high, value), value, 1, help=explain or None, **form.options(field)))


def _number(
    form: Form, label: str, field: str, value: float, *, low: float = 0.0, high: float, step: float = 0.5, explain: str
) -> float:
    return float(st.number_input(
        label, min(low, value), max(high, value), value, step, help=explain or None, format="%.3g",
        **form.options(field),
    ))


def _known(form: Form, also: Sequence[str]) -> list[str]:
    """Versions that can be used, and those that the protocol names already."""
    return list(dict.fromkeys([*form.weights, *also]))


PARTS = {
    "What is asked": _questions,
    "Design": _design,
    "Order and pace": _order,
    "Readers": _readers,
    "Analysis": _analysis,
}
