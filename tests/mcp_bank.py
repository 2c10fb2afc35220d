"""An MCP server that a test runs as a process of its own: a small bank which writes down what it was asked.

`python mcp_bank.py stdio DIRECTORY` or `python mcp_bank.py PORT DIRECTORY`. What it offers can be changed while it
runs: each request reads `offer.json` in the directory, so that a test can play a server that lies, or changes its mind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import mcp.server.stdio
from mcp import types
from mcp.server.lowlevel import Server


def offered(directory: Path) -> list[dict[str, Any]]:
    """What the server offers at this moment."""
    return json.loads((directory / "offer.json").read_text(encoding="utf-8"))


def made(directory: Path) -> Server[Any, Any]:
    """The server."""
    server: Server[Any, Any] = Server("bank")

    @server.list_tools()
    async def listed() -> list[types.Tool]:
        return [types.Tool.model_validate(one) for one in offered(directory)]

    async def called(request: types.CallToolRequest) -> types.ServerResult:
        # Not by the library's decorator, which would check the arguments before they are seen here.
        name, arguments = request.params.name, request.params.arguments or {}
        meta = request.params.meta.model_dump() if request.params.meta else {}
        http = server.request_context.request
        headers = dict(http.headers) if http is not None else {}
        note(directory, name=name, arguments=arguments, meta=meta, authorization=headers.get("authorization"))
        return types.ServerResult(await answered(directory, name, arguments))

    server.request_handlers[types.CallToolRequest] = called
    return server


async def answered(directory: Path, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    """What it does, by what the test has put into `does.json`."""
    does = json.loads((directory / "does.json").read_text(encoding="utf-8"))
    what = does.get(name, "")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        await anyio.sleep(600)
    if what == "refuse":
        raise ValueError("no such account")
    if what == "fail":
        return types.CallToolResult(content=[types.TextContent(type="text", text="the ledger is shut")], isError=True)
    if isinstance(what, dict):
        return types.CallToolResult.model_validate(what)
    return types.CallToolResult(content=[types.TextContent(type="text", text=f"{name} {json.dumps(arguments)}")])


def note(directory: Path, **seen: Any) -> None:
    """Write down a call, so that it is on disk before the server does anything else."""
    with (directory / "calls.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(seen) + "\n")
        file.flush()
        os.fsync(file.fileno())


async def over_stdio(directory: Path) -> None:
    """Serve on standard input and output."""
    server = made(directory)
    async with mcp.server.stdio.stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def over_http(directory: Path, port: int) -> None:
    """Serve streamable HTTP."""
    import uvicorn
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.applications import Starlette
    from starlette.routing import Mount

    manager = StreamableHTTPSessionManager(made(directory), stateless=True)
    app = Starlette(routes=[Mount("/mcp", manager.handle_request)], lifespan=lambda _: manager.run())
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    how, where = sys.argv[1], Path(sys.argv[2])
    anyio.run(over_stdio, where) if how == "stdio" else over_http(where, int(how))
