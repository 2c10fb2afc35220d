"""What a team says of the people of a case, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from stateward.errors import ConfigurationError
from stateward.model.memory import KnownValue

_ENTITY = re.compile(r"[A-Z][A-Z0-9_]*")
_SHORTEST, _LONGEST = 2, 200


def known_values(values: Mapping[str, str | Iterable[str]]) -> tuple[KnownValue, ...]:
    """The values by entity type, without those that are empty.

    Raises:
        ConfigurationError: an entity type or a value is none; the message does not quote values.
    """
    found: list[KnownValue] = []
    for entity, given in values.items():
        if not _ENTITY.fullmatch(entity):
            raise ConfigurationError(f"{entity!r} is no entity type: write it in capitals, such as PERSON")
        for value in [given] if isinstance(given, str) else given:
            if text := _text(entity, value):
                found.append(KnownValue(entity=entity, value=text))
    return tuple(dict.fromkeys(found))


def _text(entity: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"a known {entity} is a {type(value).__name__}: give text")
    text = " ".join(value.split())
    if text and not _SHORTEST <= len(text) <= _LONGEST:
        raise ConfigurationError(f"a known {entity} has {len(text)} characters: give {_SHORTEST} to {_LONGEST}")
    return text
