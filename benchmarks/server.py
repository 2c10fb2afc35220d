"""A private server in a temporary directory, as durable as any."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stateward.adapters.embedded import EmbeddedServer


@contextmanager
def private_server() -> Iterator[tuple[str, Path]]:
    """Start it for the length of the block; gives its connection string and a directory for whatever else is needed."""
    # A short path: a socket's path must not be longer than about 100 characters.
    with tempfile.TemporaryDirectory(prefix="swb") as place, EmbeddedServer(Path(place, "pg")) as server:
        yield server.start(), Path(place)
