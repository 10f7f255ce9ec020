"""Where model versions failed: scans and regions without a grade, and pictures of the worst errors."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import cycle

import streamlit as st

from lss_core.registry import ModelVersion
from lss_core.settings import Settings
from lss_core.training.evaluation import Evaluation
from lss_core.vocabulary import Refusal, Region
from ui.evaluations import KINDS, parts, same_again
from ui.failure_pictures import pictures_of
from ui.tables import table

PICTURES_A_ROW = 3


def show_discussion(versions: Sequence[ModelVersion]) -> None:
    """What people who looked at the worst errors wrote into the cards, once where it is the same."""
    said: dict[str, list[str]] = {}
    for version in versions:
        text = version.card.metrics.get("failures_discussed") if version.card else None
        if text:
            said.setdefault(str(text), []).append(version.name)
    for text, names in said.items():
        st.subheader(f"What was seen in the worst errors of {' and '.join(names)}", anchor=False)
        st.text(text)


def show(found: Sequence[Evaluation]) -> None:
    """Scans and regions without a grade, by reason."""
    for kind, title in KINDS.items():
        having = list(parts(found, kind))
        reasons = sorted({reason for _, part in having for reason in part.missed_reasons})
        if reasons:
            names = [each.model_version for each, _ in having]
            rows = [
                [html.escape(reason), *[str(part.missed_reasons.get(reason, 0)) for _, part in having]]
                for reason in reasons
            ]
            st.html(table([f"{title}: why missed", *names], rows, label=f"Missed, {title}"))
    for each in found:
        _missed_regions(each)
    _show_pictures(found)


def _show_pictures(found: Sequence[Evaluation]) -> None:
    """The worst errors with their heat maps; a plain clone has none."""
    st.subheader("Worst errors", anchor=False)
    runs = Settings.from_environment().runs
    try:
        pictures = {each.model_version: pictures_of(each, runs) for each in found}
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    for version, drawn in pictures.items():
        for column, picture in zip(cycle(st.columns(PICTURES_A_ROW)), drawn, strict=False):
            column.image(str(picture.path), caption=f"{version}, {picture.caption}", alt=f"CT with {picture.caption}")
    if not any(pictures.values()):
        st.info(
            "The pictures of the worst errors are not here. The evaluation draws them, from the same scans:\n```\n"
            f"{same_again(found)}\n```", icon=":material/image_not_supported:",
        )


def _missed_regions(evaluation: Evaluation) -> None:
    missed = [region for part in evaluation.parts().values() for region in part.missed_regions]
    if not missed and not evaluation.refused:
        st.markdown(f"{evaluation.model_version} missed no region and refused no scan.")
        return
    title = f"{evaluation.model_version}: {len(missed)} missed regions, {len(evaluation.refused)} refused scans"
    with st.expander(title):
        for sentence in evaluation.refused:
            st.text(sentence)
        rows = [
            [html.escape(each.patient), html.escape(each.level), html.escape(Region(each.region).label),
             str(each.grade), html.escape(each.why), html.escape(each.reason)]
            for each in missed
        ]
        head = ("Patient", "Level", "Region", "Reference grade", "Why", "Reason")
        st.html(table(head, rows, label=f"Missed regions of {evaluation.model_version}"))
