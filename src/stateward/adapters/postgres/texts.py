"""Text that Postgres keeps: what a tool returns or raises may hold a NUL or half a character, and is kept all the same.

A receipt that could not be kept would leave a call that is done without one, and it would be made again.
"""

from __future__ import annotations

import json
import re

_INSTEAD = "\N{REPLACEMENT CHARACTER}"
_HALF = re.compile("[\ud800-\udfff]")
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def kept(text: str) -> str:
    """The text with U+FFFD in place of each NUL and each lone surrogate."""
    text = text.replace("\0", _INSTEAD)
    return text if text.isascii() else _HALF.sub(_INSTEAD, text)


def kept_json(text: str) -> str:
    """The same for the text of a JSON value in which nothing but control characters is escaped."""
    return kept(_NUL.sub(rf"\1{_INSTEAD}", text) if r"\u0000" in text else text)


def dumps(value: object) -> str:
    """The text of a JSON value, in ASCII, as psycopg is to send it."""
    text = json.dumps(value)
    if r"\u0000" in text or r"\ud" in text:
        return json.dumps(json.loads(kept_json(json.dumps(value, ensure_ascii=False))))
    return text
