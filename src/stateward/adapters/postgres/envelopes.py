"""What stands sealed in the rows of the journal: each value is bound to its table, thread, row and field.

In the documents that our functions in the database take and give, an envelope is the text that Postgres itself writes
of a `bytea`, in hex.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.pq import Escaping

from stateward.adapters.postgres.texts import kept, kept_json
from stateward.adapters.sealing import Sealer
from stateward.errors import SealBroken

_HEX = "\\x"


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A value on its way into a row; nothing takes it before it is sealed."""

    plain: bytes
    place: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """The sealed fields of one row.

    Attributes:
        place: Table, thread, and what names the row.
    """

    place: tuple[str, ...]

    def json(self, field: str, value: object) -> Unsealed:
        """A JSON value on its way into a field."""
        text = kept_json(json.dumps(value, ensure_ascii=False))
        return Unsealed(text.encode(), (*self.place, field))

    def text(self, field: str, text: str) -> Unsealed | None:
        """A text on its way into a field; an empty one is nothing."""
        return Unsealed(kept(text).encode(), (*self.place, field)) if text else None

    def opened(self, sealer: Sealer, field: str, envelope: bytes | str | None, *, required: bool = False) -> str | None:
        """The text that stands in a field; None where nothing does, or nothing any more.

        Args:
            sealer: The thread's own.
            field: Its name.
            envelope: What stands there: bytes, or what Postgres writes of them.
            required: Something has to stand there, while the thread has its key.

        Raises:
            SealBroken: it is not what was sealed for this place.
        """
        place = (*self.place, field)
        if sealer.is_erased or (envelope is None and not required):
            return None
        if envelope is None:
            raise SealBroken(place, "it is not there any more")
        try:
            return sealer.open(_bytes(envelope), *place).decode()
        except ValueError:
            raise SealBroken(place, "it is not sealed") from None

    def opened_json(
        self, sealer: Sealer, field: str, envelope: bytes | str | None, *, empty: Any = None, required: bool = True
    ) -> Any:
        """The JSON value that stands in a field, or `empty`. Errors as `opened`."""
        text = self.opened(sealer, field, envelope, required=required)
        return empty if text is None else json.loads(text)


def sealed(values: Mapping[str, Any], sealer: Sealer) -> dict[str, Any]:
    """The values with an envelope, as Postgres reads it, in place of each that is unsealed, at any depth of objects."""
    return {name: _sealed(value, sealer) for name, value in values.items()}


def is_unsealed(values: Mapping[str, Any]) -> bool:
    """Whether one of the values, at any depth of objects, has to be sealed first."""
    return any(
        isinstance(value, Unsealed) or (isinstance(value, dict) and is_unsealed(value))  # pyright: ignore[reportUnknownArgumentType]
        for value in values.values()
    )


def _bytes(envelope: bytes | str) -> bytes:
    if isinstance(envelope, bytes):
        return envelope
    if envelope.startswith(_HEX):
        return bytes.fromhex(envelope.removeprefix(_HEX))
    return Escaping().unescape_bytea(envelope.encode())  # a database may have another `bytea_output`


def _sealed(value: Any, sealer: Sealer) -> Any:
    if isinstance(value, Unsealed):
        return _HEX + sealer.seal(value.plain, *value.place).hex()
    return sealed(value, sealer) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]
