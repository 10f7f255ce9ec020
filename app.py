"""The server: `streamlit run app.py`. Image routes and request guards; the pages themselves are in ui/portal.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware

from ui import access, resources, routes

access.refuse_open_address(st.get_option("server.address"))


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Load the models while the first visitor is still finding a file, and drop expired images."""
    resources.warm_up()
    sweeping = asyncio.create_task(resources.sweep_images())
    yield
    sweeping.cancel()


app = st.App(
    "ui/portal.py",
    routes=routes.ROUTES,
    middleware=[Middleware(routes.LoopbackOnly), Middleware(routes.SecurityHeaders), Middleware(routes.SessionCookie)],
    lifespan=lifespan,
)
