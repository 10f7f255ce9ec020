"""Tables as HTML: real headers for screen readers, and a scroll bar of their own in a narrow window."""

from __future__ import annotations

import html
from collections.abc import Sequence

STYLE = """<style>
.lss-table { overflow-x: auto; }
.lss-table table { border-collapse: collapse; width: 100%; font-size: 0.9rem; line-height: 1.4; }
.lss-table caption { text-align: left; font-size: 0.85rem; color: #374151; padding: 0 0 0.35rem; }
.lss-table th, .lss-table td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0.4rem;
  border-bottom: 1px solid #e5e7eb; }
.lss-table thead th { border-bottom: 2px solid #6b7280; font-weight: 600; }
.lss-table tbody th { font-weight: 600; min-width: 8rem; color: #374151; }
.lss-table td { overflow-wrap: anywhere; min-width: 7rem; }
.lss-table small { color: #374151; } .lss-table .interval { white-space: nowrap; }
.lss-table code { font-size: 0.82rem; }
.lss-table:focus-visible { outline: 3px solid #111827; outline-offset: 2px; }
</style>"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, label: str) -> str:
    """A table whose first column names its rows.

    Args:
        head: Column titles, plain text.
        rows: Cells of each row, as HTML: escape what comes from a file.
        label: What the table holds, for screen readers.
    """
    titles = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'{STYLE}<div class="lss-table" role="region" tabindex="0" aria-label="{html.escape(label)}"><table>'
        f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )
