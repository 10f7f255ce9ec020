"""The server: `streamlit run app.py`. Routes and request guards; the pages themselves are in ui/portal.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st

from lss_core.vocabulary import Refusal
from ui import access, case_routes, guards, providers, resources, routes
from ui.curate import label_routes
from ui.dashboard import chart

try:
    setup = providers.configured()
except Refusal as refusal:
    raise SystemExit(f"Refusing to start: {refusal}") from refusal
if setup is None:
    access.refuse_open_address(st.get_option("server.address"))


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Load the models while the first visitor is still finding a file, and drop expired images."""
    resources.warm_up()
    sweeping = asyncio.create_task(resources.sweep_images())
    yield
    sweeping.cancel()


app = st.App(
    "ui/portal.py", routes=[*routes.ROUTES, *label_routes.ROUTES, *case_routes.ROUTES, *chart.ROUTES],
    middleware=guards.stack(setup), lifespan=lifespan,
)
