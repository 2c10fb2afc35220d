"""Who answers: the person whom LangGraph's server has verified for the run that goes on."""

from __future__ import annotations

from typing import Any

from langgraph.config import get_config

from stateward.model.principal import Principal
from stateward.orchestrate.services import configurable


def server_principal(tenant: str) -> Principal | None:
    """The person whom LangGraph's server has verified, or None. A client cannot set these keys itself."""
    user: Any = configurable(get_config()).get("langgraph_auth_user")
    identity = getattr(user, "identity", None)
    # Whoever sends Studio's header to a local server is a user too, but nobody has verified who.
    if not isinstance(identity, str) or not identity or getattr(user, "is_authenticated", False) is not True:
        return None
    roles = [str(one) for one in getattr(user, "permissions", None) or ()]
    # What our own handler has read from a token; another one's user is a person of whatever tenant the thread has.
    ours: dict[str, Any] = {
        "tenant": tenant,
        "verified_by": "langgraph server",
        **(getattr(user, "stateward", None) or {}),
    }
    return Principal(identity, roles=roles, **ours)
