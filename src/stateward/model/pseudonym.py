"""A pseudonym: what stands for a value of personal data where nobody needs the value."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Pseudonym:
    """A number that stands for a value, for one subject.

    Attributes:
        entity: Presidio's entity type, such as `PERSON`.
        number: 1 or higher; counted for each subject and entity type.
        value: What it stands for, as it was first seen.
    """

    entity: str
    number: int
    value: str = field(repr=False)

    @property
    def token(self) -> str:
        """How it is written, such as `<PERSON_1>`."""
        return token(self.entity, self.number)


def token(entity: str, number: int) -> str:
    """How a pseudonym is written, such as `<PERSON_1>`."""
    return f"<{entity}_{number}>"
