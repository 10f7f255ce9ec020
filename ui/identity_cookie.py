"""What Streamlit's signed identity cookie says; the same words as `st.user`, for requests that no page runs for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Not part of Streamlit's documented interface: the pinned version is the one that these were read in.
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

PREFIX = USER_COOKIE_NAME                       # the cookie of tokens, and the pieces of a long one, begin so too


def claims(cookies: Mapping[str, str], *, origin: str) -> dict[str, Any]:
    """The claims in a browser's cookies; empty where there are none, or none that this server signed for itself.

    Args:
        origin: scheme://host[:port] of this server.
    """
    def one(name: str) -> bytes | None:
        value = cookies.get(name)
        return decode_signed_value(get_cookie_secret(), name, value.encode("latin-1", "replace")) if value else None

    try:
        content = json.loads(get_cookie_with_chunks(one, USER_COOKIE_NAME) or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) and content.get("origin") == origin else {}
