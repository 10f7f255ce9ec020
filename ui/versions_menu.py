"""Choosing the model version that grades the next scan."""

from __future__ import annotations

import streamlit as st

from lss_core.vocabulary import Refusal
from ui import resources

NONE_CHOSEN = "No usable model version is chosen, so nothing was graded. Choose one above, or see the Models page."


def choose() -> str | None:
    """The version to grade with: the default, or another one the user chose; None where none can be used.

    Nothing stands in silently for a default that is missing or damaged: the user is told, and chooses.
    """
    usable = [version.name for version in resources.versions() if version.usable]
    for refusal in resources.refused_shared_networks():
        st.warning(f"No scan can be graded. {refusal}", icon=":material/warning:")
    default = _usable_default(usable)
    if not usable or usable == [default]:
        return default
    return st.selectbox(
        "Model version", usable, index=usable.index(default) if default else None, placeholder="Choose a version",
        format_func=lambda name: f"{name} (default)" if name == default else name, key=f"model-version-{default}",
        help="Grades the next scan. The Models page tells the versions apart.", width=280,
    )


def _usable_default(usable: list[str]) -> str | None:
    """The default version, or None, with a warning, where it cannot be used."""
    try:
        default = resources.default_model()
    except Refusal as refusal:
        st.warning(str(refusal), icon=":material/warning:")
        return None
    if default.version in usable:
        return default.version
    known = {version.name: version.refusal for version in resources.versions()}
    reason = known.get(default.version, "It is not in the models folder.")
    st.warning(f"The default model {default.version} cannot be used. {reason}", icon=":material/warning:")
    return None
