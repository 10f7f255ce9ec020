"""One after another: the item that a tab has open, with the ones before and after it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import streamlit as st


def choose(label: str, items: Sequence[int], *, key: str, named: Callable[[int], str], first: int) -> int:
    """The item that is open now: chosen from a list, or by stepping to the one before or after.

    Args:
        items: Numbers in the order of the work, at least one.
        key: Of the session, where the open item stands.
        named: What an item is called in the list; what it is called may change.
        first: What is open at the beginning, and where the open one is gone.
    """
    if st.session_state.get(key) not in items:
        st.session_state[key] = first
    with st.container(horizontal=True, vertical_alignment="bottom"):
        at = items.index(st.session_state[key])
        st.button("Previous", key=f"{key}-previous", icon=":material/chevron_left:", disabled=at == 0,
                  on_click=_open, args=(key, items[max(at - 1, 0)]))
        shown = _list_key(key, [named(item) for item in items])
        st.session_state[shown] = st.session_state[key]
        st.selectbox(label, items, key=shown, format_func=named, width=460, on_change=_take, args=(key, shown))
        st.button("Next", key=f"{key}-next", icon=":material/chevron_right:", disabled=at == len(items) - 1,
                  on_click=_open, args=(key, items[min(at + 1, len(items) - 1)]))
    return st.session_state[key]


def go_on(items: Sequence[int], *, key: str, is_open: Callable[[int], bool]) -> None:
    """Open the next item that still needs work, else the next one; call it in a callback or before `choose`."""
    at = items.index(st.session_state[key])
    following = [*items[at + 1 :], *items[:at]]
    st.session_state[f"{key}-wanted"] = next(filter(is_open, following), items[min(at + 1, len(items) - 1)])


def take_wanted(key: str) -> None:
    """Move to what `go_on` asked for in the run before; a widget's value changes only before it is made."""
    if (wanted := st.session_state.pop(f"{key}-wanted", None)) is not None:
        st.session_state[key] = wanted


def _open(key: str, item: int) -> None:
    st.session_state[key] = item


def _take(key: str, shown: str) -> None:
    st.session_state[key] = st.session_state[shown]


def _list_key(key: str, names: Sequence[str]) -> str:
    """Another one for other names: a browser keeps the name that it shows as long as the list keeps its key."""
    return f"{key}-{hashlib.sha256(repr(names).encode()).hexdigest()[:12]}"
