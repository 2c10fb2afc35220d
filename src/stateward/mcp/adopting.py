"""A tool that a team has loaded over `langchain-mcp-adapters` itself, for the wards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.types import Command

from stateward.errors import ConfigurationError
from stateward.mcp.results import plain_blocks, simplified
from stateward.mcp.tool import made, named
from stateward.model.served import Hints, Served
from stateward.model.values import JsonObject, digest


def adopted(one: BaseTool, *, server: str, timeout: timedelta) -> BaseTool:
    """The tool, marked with its server.

    Raises:
        ConfigurationError: it is none of the adapters', or cannot be used.
    """
    inner: Any = one.coroutine if isinstance(one, StructuredTool) else None
    if getattr(inner, "__module__", "") != "langchain_mcp_adapters.tools" or not isinstance(one.args_schema, dict):
        raise ConfigurationError(
            f"tool {one.name!r} was not loaded by langchain-mcp-adapters, so it is no MCP server's"
        )
    schema, said = cast("JsonObject", one.args_schema), {**(one.metadata or {})}
    if "runtime" in cast("JsonObject", schema.get("properties") or {}):
        raise ConfigurationError(
            f"tool {one.name!r} has an argument `runtime`, which the adapters keep back: load it with mcp.tools(...)"
        )
    said.pop("_meta", None)
    served = Served(
        server=server,
        hints=Hints.of(said),
        definition=digest([one.name, one.description, schema, said]),
        takes_credential=False,
    )

    async def call(arguments: dict[str, Any]) -> Any:
        # Past `handle_tool_error`, which would make an answer of an error that may have left something.
        said: Any = await inner(**arguments)
        content, artifact = said
        if isinstance(content, ToolMessage | Command):
            return cast("Any", content)
        return simplified(plain_blocks(content), artifact and artifact["structured_content"])

    name = named(server, one.name.removeprefix(f"{server}_"))
    return made(name, call, description=one.description, schema=schema, served=served, timeout=timeout)
