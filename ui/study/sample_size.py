"""How many cases and readers: two small calculations whose every assumption is on the screen."""

from __future__ import annotations

import streamlit as st

from lss_core.study import design_help
from lss_core.study.design_help import Assumptions
from lss_core.vocabulary import Refusal

NOT_FOUND = "These are figures of assumptions, not findings. A pilot's own figures are better."


def show() -> None:
    """Precision of one accuracy, and power of a comparison of two arms."""
    with st.expander("How many cases and readers?", icon=":material/calculate:"):
        precision, power = st.tabs(["Precision of an accuracy", "Power to compare two arms"])
        with precision:
            _precision()
        with power:
            _power()
        st.caption(NOT_FOUND)


def _precision() -> None:
    first, second, third, fourth = st.columns(4, vertical_alignment="bottom")
    accuracy = first.number_input("Accuracy expected", 0.01, 0.99, 0.85, 0.01, key="size-accuracy")
    half_width = second.number_input("Half width of the 95 % interval", 0.005, 0.3, 0.05, 0.005, format="%.3f",
                                     key="size-half-width")
    levels = third.number_input("Levels of a patient", 1.0, 5.0, 3.0, 0.5, key="size-levels")
    correlation = fourth.number_input("Correlation within a patient", 0.0, 1.0, 0.2, 0.05, key="size-correlation")
    try:
        needed = design_help.cases_for_precision(accuracy=accuracy, half_width=half_width, cases_a_patient=levels,
                                                 correlation=correlation)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    st.markdown(
        f"**{needed.cases} cases of {needed.patients} patients.** {needed.independent} if no two were of one patient; "
        f"levels of one patient resemble each other, which multiplies that by {needed.design_effect:.2f}. "
        "For one region, one reader or model."
    )


def _power() -> None:
    first, second, third, fourth = st.columns(4, vertical_alignment="bottom")
    readers = int(first.number_input("Readers", 2, 100, 9, 1, key="size-readers"))
    difference = second.number_input("Difference of accuracy", -0.3, 0.3, 0.05, 0.01, key="size-difference")
    wanted = third.number_input("Power wanted", 0.5, 0.99, 0.8, 0.05, key="size-power")
    margin = fourth.number_input("Margin (0: superiority)", 0.0, 0.3, 0.0, 0.01, key="size-margin")
    try:
        needed = design_help.cases_needed(_assumptions(), readers=readers, difference=difference, power=wanted,
                                          margin=margin or None)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    if needed.cases is None:
        st.warning(f"No number of cases reaches this power with {readers} readers. {needed.undefined}",
                   icon=":material/warning:")
        return
    st.markdown(
        f"**{needed.cases} patients read by {readers} readers** in both arms give a power of {needed.study.power:.0%}; "
        f"the interval of the difference is then ± {needed.study.half_width:.3f}. Readers and cases are random "
        "(Obuchowski-Rockette, Hillis); each patient counts once."
    )


def _assumptions() -> Assumptions:
    """Of readers and cases; round figures to begin with."""
    start = Assumptions()
    names = {
        "accuracy": "Accuracy of the average reader",
        "interaction_sd": "Spread of the effect over readers (SD)",
        "same_reader": "Correlation: same reader, two arms",
        "same_arm": "Correlation: two readers, same arm",
        "neither": "Correlation: two readers, two arms",
    }
    values: dict[str, float] = {}
    for column, (field, label) in zip(st.columns(5, vertical_alignment="bottom"), names.items(), strict=True):
        values[field] = float(column.number_input(
            label, 0.0, 1.0, float(getattr(start, field)), 0.01, key=f"size-assumed-{field}"
        ))
    return Assumptions(**values)
