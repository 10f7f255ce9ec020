"""The server's clock. Services take `now` from it unless a test gives another moment."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)
