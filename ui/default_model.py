"""Which model version is the default: shown, changed after a confirmation, and the log of changes."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from lss_core import registry
from lss_core.permissions import Permission
from lss_core.registry import DefaultChange, DefaultModel, ModelVersion, Source
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal
from ui import resources
from ui.access import Visitor
from ui.tables import table

ASKED, CHANGED = "default-asked", "default-changed"      # in the session: a version to confirm, a sentence to show
WHO_SAID = {
    Source.ENVIRONMENT: "The server's environment variable LSS_MODEL names it and wins over any choice made here; "
                        "to choose here, unset it and start the server again.",
    Source.CHOSEN: "Chosen on this page.",
    Source.SHIPPED: "Nobody has chosen yet; this is the version that ships as the default.",
}


def show(versions: Sequence[ModelVersion], visitor: Visitor) -> None:
    """Say which version grades, and what is wrong with any; offer another default."""
    for refusal in resources.refused_shared_networks():
        st.error(f"No scan can be graded. {refusal}", icon=":material/block:")
    if message := st.session_state.pop(CHANGED, None):
        st.success(message, icon=":material/check_circle:")
    try:
        default = resources.default_model()
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    with st.container(border=True, key="default-model"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"Default version: **{default.version}**. {WHO_SAID[default.source]}", width="stretch")
            _offer(default, [version for version in versions if version.usable], visitor)
        _warn(default, {version.name: version for version in versions})


def _warn(default: DefaultModel, versions: dict[str, ModelVersion]) -> None:
    """Say where the default cannot be used, or is no longer what was chosen."""
    found = versions.get(default.version)
    if found is None or not found.usable:
        reason = found.refusal if found else "It is not in the models folder."
        st.warning(f"The default cannot be used, so no version is preselected. {reason}", icon=":material/warning:")
    elif found.card and default.weights_sha256 not in (None, found.card.weights_sha256):
        st.warning(
            f"The weights of {default.version} are not those that were chosen "
            f"({found.card.weights_sha256[:12]} now, {default.weights_sha256[:12]} then). Choose it again to confirm "
            "the new ones.", icon=":material/warning:",
        )


def _offer(default: DefaultModel, usable: Sequence[ModelVersion], visitor: Visitor) -> None:
    """A button for each version that can be made the default."""
    if default.source is Source.ENVIRONMENT or Permission.SET_DEFAULT_MODEL not in visitor.permissions:
        return
    offered = [each for each in usable if each.card and not _is_default(each, default)]
    for version in offered:
        if st.button(f"Make {version.name} the default", key=f"make-default-{version.name}"):
            st.session_state[ASKED] = version.name
    asked = next((version for version in offered if version.name == st.session_state.get(ASKED)), None)
    if asked is not None:
        _confirm(default, asked, visitor)


def _is_default(version: ModelVersion, default: DefaultModel) -> bool:
    same_weights = default.weights_sha256 in (None, version.card.weights_sha256 if version.card else None)
    return version.name == default.version and same_weights


def _forget() -> None:
    st.session_state.pop(ASKED, None)


@st.dialog("Change the default model?", on_dismiss=_forget)
def _confirm(default: DefaultModel, version: ModelVersion, visitor: Visitor) -> None:
    sha256 = version.card.weights_sha256[:12] if version.card else ""
    st.markdown(
        f"From now on **{version.name}** (weights {sha256}) grades the scans of everybody who uses this installation, "
        f"in place of {default.version}, unless another version is chosen for a scan. Scans that are open keep the "
        f"grades they have. The change is logged under the name *{visitor.name}*."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel"):
            _forget()
            st.rerun()
        confirmed = st.button(f"Yes, make {version.name} the default", type="primary")
    if not confirmed:
        return
    settings = Settings.from_environment()
    try:
        change = registry.set_default(settings, version.name, who=visitor.name, permissions=visitor.permissions)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    _forget()
    st.session_state[CHANGED] = f"{change.after} is the default now; it was {change.before}."
    st.rerun()


def show_log() -> None:
    """Who made which version the default, newest first."""
    log = registry.read_log(Settings.from_environment().data)
    if log.unreadable_lines:
        numbers = ", ".join(map(str, log.unreadable_lines))
        st.warning(f"Lines of the log that cannot be read: {numbers}.", icon=":material/warning:")
    if not log.changes:
        st.info("The default was never changed on this page.", icon=":material/history:")
        return
    head = ("When (UTC)", "Who", "From", "To", "Weights (SHA-256)")
    st.html(table(head, [_log_row(change) for change in reversed(log.changes)], label="Changes of the default"))
    st.caption(f"Kept in {registry.LOG_FILE} in the data folder; lines are only ever added.")


def _log_row(change: DefaultChange) -> list[str]:
    at = change.at.replace("T", " ").removesuffix("+00:00")
    weights = f"<code>{html.escape(change.weights_sha256[:16])}</code>"
    return [*map(html.escape, (at, change.who, change.before, change.after)), weights]
