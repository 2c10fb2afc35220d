"""Who acts, asks or decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

PrincipalKind = Literal["person", "agent", "service"]


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified person, agent or service.

    Attributes:
        id: Stable identifier, such as a user name or a service account.
        roles: What the principal may be addressed as; a policy names ids and roles alike.
        kind: `person`, `agent` or `service`. Only a person decides an approval.
        tenant: The organisation that the principal belongs to.
        verified_by: How the identity was established, for the audit trail (`cli`, `jwt`, `development`, ...).

    Raises:
        ValueError: the id is empty, or the roles are one text instead of a list.
    """

    id: str
    _: KW_ONLY
    roles: Iterable[str] = ()
    kind: PrincipalKind = "person"
    tenant: str = "default"
    verified_by: str = "caller"

    def __post_init__(self) -> None:
        if not self.id.strip():
            raise ValueError("a principal needs an id")
        if isinstance(self.roles, str):
            raise ValueError(f"roles={self.roles!r} is one text: give a list, such as roles=[{self.roles!r}]")
        object.__setattr__(self, "roles", frozenset(self.roles))

    @property
    def names(self) -> frozenset[str]:
        """The id and the roles: what a policy's `for`, `by` and `not` are held against."""
        return frozenset({self.id, *self.roles})
