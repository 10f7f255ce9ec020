"""Alembic's entry: runs migrations on the connection it is handed, or on DATABASE_URL from the command line."""

from typing import Literal

from alembic import context

from lss_core.settings import Settings
from lss_core.study import curation_tables  # noqa: F401  (its tables join the metadata)
from lss_core.study.connection import connect
from lss_core.study.database import Table, UtcDateTime


def render_type(kind: str, value: object, _) -> str | Literal[False]:
    """Types as plain SQL ones: a migration must not change when the software does."""
    if kind == "type" and isinstance(value, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type(value).__name__ == "AutoString":
        return "sa.String()"
    return False


def run(connection) -> None:
    context.configure(
        connection=connection, target_metadata=Table.metadata, render_as_batch=True, compare_type=True,
        render_item=render_type,
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    run(handed)
else:
    with connect(Settings.from_environment().database_url).execution_options(writes=True).begin() as own:
        run(own)
