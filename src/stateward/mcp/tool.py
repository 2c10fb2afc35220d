"""One tool of an MCP server as LangChain sees it: arguments go to the server as they are, and no secret comes out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, cast

from langchain_core.tools import BaseTool, StructuredTool

from stateward.act.perform import Traits
from stateward.act.secrets import clean
from stateward.errors import ConfigurationError
from stateward.json_schema import JsonSchema
from stateward.model.served import Served
from stateward.model.values import Json
from stateward.orchestrate.invoking import running_effect
from stateward.orchestrate.tools import scrubbed, served_metadata

Call = Callable[[dict[str, Any]], Awaitable[Any]]

_SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TOOL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class McpTool(StructuredTool):
    """A tool whose function takes whatever its server's schema names."""

    async def _arun(self, /, *args: Any, **arguments: Any) -> Any:
        # Not as LangChain does it: arguments may be called `config`, `callbacks` or `self`.
        effect = running_effect()
        credential = None if effect is None else effect.credential
        try:
            said = await cast("Call", self.coroutine)(arguments)
        except Exception as error:
            failed = scrubbed(error, credential)
        else:
            return clean(cast("Json", said), credential) if credential is not None else said
        raise failed  # not above, where the error that it may stand for would be its context


def made(
    name: str, call: Call, *, description: str, schema: Mapping[str, Any], served: Served, timeout: timedelta
) -> BaseTool:
    """A tool that the wards know as the server's.

    Raises:
        ConfigurationError: its schema cannot be used.
    """
    JsonSchema(name, schema)  # said now, where the server is loaded, and not when a policy meets it
    return McpTool(
        name=name,
        description=description,
        args_schema=dict(schema),
        coroutine=call,
        metadata=served_metadata(served, Traits(timeout=timeout)),
    )


def named(server: str, tool: str) -> str:
    """The name of a server's tool, which begins with the server's.

    Raises:
        ConfigurationError: the policy or a model could not name it so.
    """
    refuse_server(server)
    if _TOOL.fullmatch(tool) is None:
        shown = repr(tool[:80])
        raise ConfigurationError(
            f"the MCP server {server!r} offers a tool called {shown}; a name has 1 to 128 letters, digits, _ . and -"
        )
    return f"{server}_{tool}"


def refuse_server(name: str) -> None:
    """Refuse a name that cannot stand before a tool's.

    Raises:
        ConfigurationError: it is none.
    """
    if _SERVER.fullmatch(name) is None:
        raise ConfigurationError(f"an MCP server is called {name!r}; name it with up to 64 letters, digits, _ and -")
