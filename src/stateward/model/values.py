"""JSON values, their one canonical text, and digests over it: what an approval and a journal row are bound to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import cast
from urllib.parse import quote, quote_plus

Scalar = None | bool | int | float | str
Json = Scalar | Sequence["Json"] | Mapping[str, "Json"]
JsonObject = Mapping[str, Json]


def canonical(value: object) -> str:
    """The one text of a JSON value: sorted keys, no spaces, tuples as lists.

    Raises:
        ValueError: the value holds NaN or an infinity, which JSON cannot say.
        TypeError: the value holds something that is not JSON.
    """
    return _CANONICAL(value)


def digest(value: object) -> str:
    """SHA-256 over `canonical(value)`, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def plain(value: object) -> Json:
    """The value as JSON brings it back, in its own order: what is judged, shown and run is then the same."""
    return cast("Json", json.loads(_TEXT(value)))


def plain_object(value: Mapping[str, object]) -> dict[str, Json]:
    """`plain` for an object, such as a tool's arguments."""
    return cast("dict[str, Json]", plain(dict(value)))


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, set | frozenset):
        return sorted(cast("set[str]", value))
    raise TypeError(f"{type(value).__name__} is not a JSON value")


# Made once: an encoder of one's own for each call costs more than what it encodes.
_TEXT = json.JSONEncoder(allow_nan=False, default=_plain).encode
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
).encode


def written_forms(text: str) -> set[str]:
    """How a text may stand in a message: as it is, in a URL, in JSON, as Python prints it."""
    quoted = {quote(text), quote(text, safe=""), quote_plus(text)}
    return {text, *quoted, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
