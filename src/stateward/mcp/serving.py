"""An MCP server: its tools, and one call of one of them in a session of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from langchain_core.tools import BaseTool, ToolException
from langchain_mcp_adapters.sessions import Connection, create_session
from mcp import ClientSession, McpError, types

from stateward.act.calling import NothingDone
from stateward.errors import ConfigurationError
from stateward.mcp.results import answer_of
from stateward.mcp.tool import made, named, refuse_server
from stateward.model.effect import Credential, Effect
from stateward.model.served import Hints, Served
from stateward.model.values import Json, digest
from stateward.orchestrate.invoking import running_effect

IDEMPOTENCY_KEY = "stateward/idempotency-key"
"""The key of `_meta` that has the effect's idempotency key: the same on every attempt, and of no other call."""

_MOST_TOOLS = 1_000
_HTTP = ("http", "streamable_http", "streamable-http", "sse")
_NOT_RUN = (types.PARSE_ERROR, types.INVALID_REQUEST, types.METHOD_NOT_FOUND, types.INVALID_PARAMS)


@dataclass(frozen=True, kw_only=True)
class Server:
    """An MCP server.

    Attributes:
        name: The team's name for it.
        connection: How it is reached, as `langchain-mcp-adapters` takes it.
        timeout: How long it may take to list its tools, and each call.
    """

    name: str
    connection: Any
    timeout: timedelta

    async def tools(self) -> list[BaseTool]:
        """Its tools, for the wards.

        Raises:
            ConfigurationError: it cannot be reached, or offers what cannot be used.
        """
        refuse_server(self.name)
        try:
            async with asyncio.timeout(self.timeout.total_seconds()), self._session(None) as session:
                offered = await _listed(session)
        except Exception as error:
            raise ConfigurationError(f"the MCP server {self.name!r} does not list its tools: {_said(error)}") from error
        names = [one.name for one in offered]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigurationError(f"the MCP server {self.name!r} offers two tools called {twice!r}")
        try:
            return [self._tool(one) for one in offered]
        except ConfigurationError as error:
            raise ConfigurationError(
                f"a tool of the MCP server {self.name!r} cannot be used: {error.message}"
            ) from None

    def _tool(self, offered: types.Tool) -> BaseTool:
        served = Served(
            server=self.name,
            hints=Hints.of({} if offered.annotations is None else offered.annotations.model_dump(mode="json")),
            definition=_definition(offered),
            takes_credential=self._takes_credential,
        )

        async def call(arguments: dict[str, Any]) -> Json:
            return await self._call(offered.name, served, arguments)

        return made(
            named(self.name, offered.name),
            call,
            description=offered.description or "",
            schema=offered.inputSchema,
            served=served,
            timeout=self.timeout,
        )

    @property
    def _takes_credential(self) -> bool:
        return self.connection.get("transport") in _HTTP and self.connection.get("auth") is None

    async def _call(self, tool: str, served: Served, arguments: dict[str, Any]) -> Json:
        """Call a tool.

        Raises:
            NothingDone: it was not called.
            ToolException: the server says that it has done nothing.
            ConnectionError: it was called, and gave no answer.
        """
        effect, begun = running_effect(), False
        answer: list[types.CallToolResult] = []
        failed: Exception = ConnectionError("the connection was closed")
        try:
            # Half of the time is for getting there, so that what has not begun is known not to have begun.
            async with asyncio.timeout(self.timeout.total_seconds() / 2) as limit:
                async with self._session(effect and effect.credential) as session:
                    await self._refuse_change(session, tool, served)
                    limit.reschedule(None)
                    begun = True
                    # Not `session.call_tool`: it reads the result by a schema of the server's, patterns included.
                    answer.append(await session.send_request(_request(tool, arguments, effect), types.CallToolResult))
        except Exception as error:
            failed = error
        if answer:  # it counts, even where the connection could not be closed well after it
            return answer_of(answer[0])
        raise self._failed(failed, begun)  # not above, where the groups of errors that it stands for would go along

    def _failed(self, error: Exception, begun: bool) -> Exception:
        cause, said = _cause(error), _said(error)
        if isinstance(cause, NothingDone):
            return cause
        if not begun:
            return NothingDone(f"the MCP server {self.name!r} was not called: {said}")
        if isinstance(cause, McpError) and cause.error.code in _NOT_RUN:
            return ToolException(f"the MCP server {self.name!r} refuses the call: {said}")
        return ConnectionError(f"the MCP server {self.name!r} gave no answer: {said}")

    async def _refuse_change(self, session: ClientSession, tool: str, served: Served) -> None:
        """What was judged, and approved, is the tool as it was loaded."""
        now = next((one for one in await _listed(session) if one.name == tool), None)
        if now is None or _definition(now) != served.definition:
            what = "does not offer the tool any more" if now is None else "has changed the tool since it was loaded"
            raise NothingDone(f"the MCP server {self.name!r} {what}: load its tools again")

    @asynccontextmanager
    async def _session(self, credential: Credential | None) -> AsyncGenerator[ClientSession]:
        connection: object = self.connection
        if credential is not None:
            if not self._takes_credential:
                raise NothingDone(f"no credential can be given with a call of the MCP server {self.name!r}")
            headers = _headers(self.connection.get("headers") or {}, credential)
            connection = {**self.connection, "headers": headers}
        async with create_session(cast("Connection", connection)) as session:
            await session.initialize()
            yield session


def _headers(given: Mapping[str, Any], credential: Credential) -> dict[str, Any]:
    bearer = credential.values.get("Authorization") or f"Bearer {credential.secret}"
    return {
        **{name: value for name, value in given.items() if name.lower() != "authorization"},
        "Authorization": bearer,
    }


def _request(tool: str, arguments: dict[str, Any], effect: Effect | None) -> types.ClientRequest:
    meta = {} if effect is None else {"_meta": {IDEMPOTENCY_KEY: effect.key}}
    params = types.CallToolRequestParams.model_validate({"name": tool, "arguments": arguments, **meta})
    return types.ClientRequest(types.CallToolRequest(params=params))


async def _listed(session: ClientSession) -> list[types.Tool]:
    found: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_TOOLS):
        params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
        page = await session.list_tools(params=params)
        found += page.tools
        cursor = page.nextCursor
        if len(found) > _MOST_TOOLS:
            break
        if not cursor:
            return found
    raise ConfigurationError(f"it offers more than {_MOST_TOOLS} tools, or its list does not end")


def _definition(offered: types.Tool) -> str:
    said = offered.model_dump(mode="json", by_alias=True, exclude_none=True)
    try:
        return digest([said.get(name) for name in ("name", "description", "inputSchema", "annotations")])
    except ValueError as error:
        raise ConfigurationError(f"what it says of a tool is no JSON that can be kept: {error}") from None


def _cause(error: BaseException) -> BaseException:
    """The first error in groups of them, such as the tasks of a session raise together."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _said(error: BaseException) -> str:
    cause = _cause(error)
    if isinstance(cause, ConfigurationError):
        return cause.message
    return f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
