"""The numbers among a call's arguments that limits add up: all of them that stands in clear beside the envelope."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping

from stateward.model.values import Json
from stateward.personal_data.treating import PERSONAL_NUMBERS, key_words

# A number under such a name is somebody's, and no amount.
_PERSONAL = re.compile(
    rf"\b({PERSONAL_NUMBERS}|social|cvc|cvv|pin|bic|vat|born|age|year|zip|postal|postcode|person|customer|client|member"
    r"|employee|patient|user|id)"
    r"(id|no|nr|num|number|code|date|day|year)?\b"
)
_MOST = 10**6  # phones, cards, national ids and dates of birth have more digits, whatever they are called
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?\s*", re.ASCII)
_HIGHEST = sys.float_info.max
_TEXT = 400  # characters of a number that is written as a text
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")  # `stateward.usage` has it too
_OTHERS = ""  # stands for all arguments of other names, which may say anything


def amounts(arguments: Mapping[str, Json], summed: Collection[str]) -> dict[str, Json]:
    """What is kept of the arguments in clear.

    Args:
        arguments: Of the call.
        summed: The names of those that the tool's rules add up now.

    Returns:
        A number, or one as a text that the rules add up, by its name; None for an argument that is there and not kept,
        whose sum nobody knows.
    """
    there = [(name, value) for name, value in arguments.items() if value is not None]
    kept = {name: _kept(name, value, name in summed) for name, value in there if _NAME.fullmatch(name)}
    return kept | {_OTHERS: None} if len(kept) < len(there) else kept


def _kept(name: str, value: Json, is_summed: bool) -> Json:
    if isinstance(value, str):
        return value if is_summed and len(value) <= _TEXT and _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _HIGHEST:
        return None
    if is_summed:
        return value
    return None if abs(value) >= _MOST or _PERSONAL.search(key_words(name).lower()) else value
