"""The HTTP API: threads, actions, approvals and the timeline, for consoles and scripts, with verified identities.

`stateward serve` runs it alone; `stateward.api.mounted:app` is for LangGraph's server; `create_app` is for your own.
"""

from __future__ import annotations

from importlib.util import find_spec

from stateward.errors import MissingExtra

for _needed in ("starlette", "jwt"):
    if find_spec(_needed) is None:
        raise MissingExtra(_needed, extra="api")

from stateward.api.app import create_app  # noqa: E402

__all__ = ["create_app"]
