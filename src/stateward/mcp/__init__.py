"""Tools of MCP servers behind the wards: loaded over `langchain-mcp-adapters`, and marked with whose they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from langchain_core.tools import BaseTool

from stateward.errors import ConfigurationError, MissingExtra
from stateward.model.durations import parse_duration

try:
    import langchain_mcp_adapters as _  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:  # pragma: no cover - the extra is installed wherever this is tested
    raise MissingExtra("langchain-mcp-adapters", extra="mcp") from error

from stateward.mcp.adopting import adopted
from stateward.mcp.serving import IDEMPOTENCY_KEY as IDEMPOTENCY_KEY
from stateward.mcp.serving import Server

if TYPE_CHECKING:
    from langchain_mcp_adapters.sessions import Connection

__all__ = ["IDEMPOTENCY_KEY", "adopt", "tools", "tools_sync"]


async def tools(
    connections: Mapping[str, Connection],
    *,
    timeout: str | timedelta = "60s",  # noqa: ASYNC109  it is that of each call as well
) -> list[BaseTool]:
    """The tools of some MCP servers, each named `<server>_<tool>`, for a workflow or an agent with the wards.

    Each call opens a connection of its own. It asks the server for the tool once more: where the description, the
    schema or the annotations are not those that were loaded, nothing is called. It sends the effect's key in `_meta`,
    as `stateward/idempotency-key`, and the credential of the policy's `identity:` as `Authorization: Bearer ...`.

    Args:
        connections: By the team's name for each server, which the policy's `mcp:` has too: what
            `MultiServerMCPClient` takes, such as `{"transport": "http", "url": "https://..."}`.
        timeout: How long a server may take to list its tools, and each call to come to its end. A write that has not
            come to its end by then is of unknown outcome.

    Raises:
        ConfigurationError: a server cannot be reached, or offers a tool whose name or schema cannot be used; a name of
            a server is one of no letters, digits, `_` and `-`; the timeout is no duration.
        MissingExtra: the adapters are not installed.
    """
    try:
        within = parse_duration(timeout)
    except ValueError as error:
        raise ConfigurationError(f"timeout={timeout!r}: {error}") from None
    servers = [Server(name=name, connection=connection, timeout=within) for name, connection in connections.items()]
    loaded = await asyncio.gather(*(server.tools() for server in servers), return_exceptions=True)
    for found in loaded:
        if isinstance(found, BaseException):
            raise found
    return [one for found in loaded if not isinstance(found, BaseException) for one in found]


def tools_sync(connections: Mapping[str, Connection], *, timeout: str | timedelta = "60s") -> list[BaseTool]:
    """`tools`, for code that does not await, such as a module that builds a graph when it is imported.

    Args:
        connections: As for `tools`.
        timeout: As for `tools`.

    Raises:
        ConfigurationError: as for `tools`.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="stateward mcp") as thread:  # a loop may run in this one
        return thread.submit(asyncio.run, tools(connections, timeout=timeout)).result()


def adopt(tools: Sequence[BaseTool], *, server: str, timeout: str | timedelta = "60s") -> list[BaseTool]:
    """Tools that `MultiServerMCPClient` or `load_mcp_tools` has loaded, marked with the server that they are of.

    They are called as they were loaded, with the interceptors, callbacks and the session that they were given. So no
    idempotency key goes along, no credential of the policy can, and a server that changes a tool is noticed only where
    the tools are loaded again. `tools` does all of this.

    Args:
        tools: The tools, of one server.
        server: The team's name for it, which the policy's `mcp:` has too. It is put before the names, with an
            underscore, where they do not begin with it yet.
        timeout: How long each call may take.

    Raises:
        ConfigurationError: one of them is no tool of `langchain-mcp-adapters`, or its name or schema cannot be used.
    """
    try:
        within = parse_duration(timeout)
    except ValueError as error:
        raise ConfigurationError(f"timeout={timeout!r}: {error}") from None
    return [adopted(one, server=server, timeout=within) for one in tools]
