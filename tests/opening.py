"""Rows of the journal with what is sealed in them opened, as the runtime itself reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from stateward import Runtime
from stateward.adapters.postgres.envelopes import Fields
from stateward.adapters.sealing import Sealer

JSON = {"arguments", "reasons", "result"}


def sealer_of(runtime: Runtime, thread: str) -> Sealer:
    """The sealer of a thread that has a key."""
    sealer = runtime._wait(runtime.inner.keys.of(thread))
    assert sealer is not None
    return sealer


def opened(runtime: Runtime, table: str, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whole rows of `action` or `effect`."""
    return [_opened(sealer_of(runtime, row["thread_id"]), table, row) for row in rows]


def _opened(sealer: Sealer, table: str, row: dict[str, Any]) -> dict[str, Any]:
    fields = Fields((table, row["thread_id"], row["action_id"]))
    said = {name: fields.opened(sealer, name, value) for name, value in row.items() if isinstance(value, bytes)}
    return row | {name: json.loads(text) if name in JSON and text else text for name, text in said.items()}
