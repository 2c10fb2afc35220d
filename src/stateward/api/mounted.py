"""The HTTP API inside LangGraph's server, under `/stateward`, on the runtime that its hooks have opened.

In `langgraph.json`: `"http": {"app": "stateward.api.mounted:app"}`. Where the settings do not say whom to trust, every
request is answered with what to set, and the server runs all the same.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from stateward import studio
from stateward.api.app import create_app
from stateward.api.problems import problem_response
from stateward.errors import ConfigurationError, RequestError

PREFIX = "/stateward"
_LOG = logging.getLogger("stateward.api")


class Door:
    """The app, from when the server has started until it stops."""

    def __init__(self) -> None:
        self.behind: ASGIApp = closed(RequestError("the server is not up: try again later", status=503))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self.behind(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """Serve the runtime that the server's hooks share."""
        shut = self.behind
        async with studio.runtime() as runtime:
            try:
                self.behind = create_app(runtime)
            except ConfigurationError as error:
                _LOG.warning("nothing is served under %s: %s", PREFIX, error.message)
                self.behind = closed(error)
            try:
                yield
            finally:
                self.behind = shut


def closed(error: ConfigurationError | RequestError) -> ASGIApp:
    """An app that only says why it serves nothing."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await problem_response(error)(scope, receive, send)

    return app


# The server looks the app up by name.
_DOOR = Door()
app = Starlette(routes=[Mount(PREFIX, app=_DOOR)], lifespan=_DOOR.lifespan)
