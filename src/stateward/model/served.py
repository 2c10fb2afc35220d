"""A tool that an MCP server offers: which server, and what the server says of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from stateward.model.values import JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class Hints:
    """MCP's annotations of a tool, as the server gives them; None where it gives none.

    Attributes:
        read_only: `readOnlyHint`: it changes nothing.
        destructive: `destructiveHint`: it may destroy what was there. Means nothing for what only reads.
        idempotent: `idempotentHint`: the same call again changes nothing more. Means nothing for what only reads.
        open_world: `openWorldHint`: it reaches beyond the server's own domain.
    """

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None

    @classmethod
    def of(cls, annotations: JsonObject) -> Hints:
        """The hints in the annotations of a `tools/list` answer; what is no boolean is no hint."""
        names = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
        read = [found if isinstance(found := annotations.get(name), bool) else None for name in names]
        return cls(read_only=read[0], destructive=read[1], idempotent=read[2], open_world=read[3])


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What makes a tool an MCP server's.

    Attributes:
        server: The team's name for the server; the tool's name begins with it and an underscore.
        hints: What the server says of the tool.
        definition: Digest over all that the server says of it; an approval is bound to it.
        takes_credential: Whether a credential can be given with one call: as a header of HTTP, to a connection that
            has no authentication of its own.
    """

    server: str
    hints: Hints
    definition: str
    takes_credential: bool


def overlapping(servers: Iterable[str]) -> tuple[str, str] | None:
    """Two servers of which one could offer a tool that has the name of one of the other's, if there are two.

    Tools are named `<server>_<tool>`, so `bank` could offer `eu_pay` where `bank_eu` offers `pay`.
    """
    pairs = combinations(sorted(set(servers), key=len), 2)
    return next(((one, other) for one, other in pairs if other.startswith(f"{one}_")), None)
