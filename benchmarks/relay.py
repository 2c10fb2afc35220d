"""A Unix socket in front of the server's: counts what the client says to it, and can make every answer late.

Counting needs Postgres's framing: each message of the client is a letter and a length, except for the first
ones of a connection, which have no letter (PostgreSQL's documentation, "Message Formats").
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_REQUESTS = (80877103, 80877104)  # asking for TLS or GSS comes before the startup message, which follows again
_GOODBYE = ord("X")  # the only message that nobody answers
_STATEMENTS = b"QE"  # a simple query, or the execution of what was bound


class Frames:
    """Reads the types of the client's messages off one connection's chunks, wherever these are cut."""

    def __init__(self) -> None:
        self._started = False
        self._head = b""
        self._skip = 0

    def feed(self, chunk: bytes) -> Iterator[int]:
        """The type of each message whose head ends in this chunk; what has no type is left out."""
        while chunk:
            body, chunk = chunk[: self._skip], chunk[self._skip :]
            self._skip -= len(body)
            if not chunk:
                return
            wanted = (5 if self._started else 8) - len(self._head)
            self._head, chunk = self._head + chunk[:wanted], chunk[wanted:]
            if len(self._head) == (5 if self._started else 8):
                yield from self._message()

    def _message(self) -> Iterator[int]:
        head, self._head = self._head, b""
        if self._started:
            self._skip = int.from_bytes(head[1:5], "big") - 4
            yield head[0]
        else:
            self._skip = int.from_bytes(head[:4], "big") - 8
            self._started = int.from_bytes(head[4:], "big") not in _REQUESTS


class Relay:
    """What went through it.

    Attributes:
        trips: Times that the client waited for the server's answer.
        statements: Statements that were run.
        logins: Connections opened.
        delay: Seconds by which every answer is late, whatever its length.
    """

    def __init__(self) -> None:
        self.trips = self.statements = self.logins = 0
        self.delay = 0.0
        self._asked: set[object] = set()
        self._links: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listen(self, uri: str, directory: Path) -> AsyncIterator[str]:
        """Relay for the length of the block; gives the connection string that goes through it."""
        target = conninfo_to_dict(uri)
        name = f".s.PGSQL.{target['port']}"

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.logins += 1
            there = await asyncio.open_unix_connection(str(Path(str(target["host"])) / name))
            link = asyncio.create_task(self._link((reader, writer), there))
            self._links.add(link)
            link.add_done_callback(self._links.discard)

        server = await asyncio.start_unix_server(accept, str(directory / name))
        try:
            yield make_conninfo(uri, host=str(directory))
        finally:
            server.close()
            if self._links:
                await asyncio.wait(self._links, timeout=5)

    async def settle(self) -> None:
        """Wait until what goes on in the background has been answered."""
        still = 0
        while still < 5:
            before = self.trips
            await asyncio.sleep(0.01)
            still = 0 if self._asked or self.trips != before else still + 1

    async def _link(self, here: Any, there: Any) -> None:
        link, frames, late = object(), Frames(), asyncio.Queue[tuple[float, bytes]]()

        async def ask() -> None:
            async for chunk in _chunks(here[0], there[1]):
                self._note(link, list(frames.feed(chunk)))
                there[1].write(chunk)

        async def hear() -> None:
            async for chunk in _chunks(there[0]):
                late.put_nowait((asyncio.get_running_loop().time() + self.delay, chunk))
            late.put_nowait((0, b""))

        async def answer() -> None:
            async for chunk in _due(late, here[1]):
                self._asked.discard(link)
                here[1].write(chunk)

        await asyncio.gather(ask(), hear(), answer())
        self._asked.discard(link)

    def _note(self, link: object, types: list[int]) -> None:
        self.statements += sum(one in _STATEMENTS for one in types)
        if types != [_GOODBYE]:
            self.trips += link not in self._asked
            self._asked.add(link)


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None = None) -> AsyncIterator[bytes]:
    """What is read; the writer that it goes to is closed at the end."""
    try:
        while chunk := await reader.read(1 << 16):
            yield chunk
            if writer:
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        if writer:
            writer.close()


async def _due(late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> AsyncIterator[bytes]:
    """What is put there, each when its time has come; the writer is closed at the end."""
    loop = asyncio.get_running_loop()
    try:
        while (got := await late.get())[1]:
            await asyncio.sleep(max(0.0, got[0] - loop.time()))
            yield got[1]
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
