"""LangGraph's `auth` handler with the same tokens as the HTTP API, so that whoever resumes a run is a verified person.

In `langgraph.json`: `"auth": {"path": "stateward.api.langgraph_auth:auth", "disable_studio_auth": true}`. A thread of
LangGraph's server is seen by its tenant only; assistants may be read, and everything else is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langgraph_sdk import Auth

from stateward.api.identity import Tokens, identity_of
from stateward.errors import ConfigurationError, NotAuthenticated, RequestError
from stateward.model.principal import Principal
from stateward.settings import Settings

_TENANT = "stateward_tenant"
_READ = ("read", "search")


def handler(settings: Callable[[], Settings] = Settings.from_environment) -> Auth:
    """The handler; settings and keys are read with the first request.

    Args:
        settings: What says whom to trust. There is no development mode here: without `STATEWARD_JWKS` nobody is let in.
    """
    made = Auth()
    tokens: list[Tokens] = []

    async def verified(authorization: str | None) -> Principal:
        if not tokens:
            tokens.append(await asyncio.to_thread(_tokens, settings))
        return await tokens[0].principal([authorization or ""])

    @made.authenticate
    async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:  # pyright: ignore[reportUnusedFunction]
        try:
            return user_of(await verified(authorization))
        except NotAuthenticated as error:
            raise _http(401, error.message, {"WWW-Authenticate": 'Bearer realm="stateward"'}) from None
        except (ConfigurationError, RequestError) as error:
            raise _http(503, error.message) from None

    @made.on
    async def isolate(ctx: Auth.types.AuthContext, value: Any) -> Any:  # pyright: ignore[reportUnusedFunction]
        user: Any = ctx.user
        return permitted(ctx.resource, ctx.action, tenant=user["stateward"]["tenant"], value=value)

    return made


def user_of(who: Principal) -> Any:
    """A principal as LangGraph's server knows users; `server_principal` makes a principal of it again."""
    return {
        "identity": who.id,
        "display_name": who.id,
        "is_authenticated": True,
        "permissions": sorted(who.roles),
        "stateward": {"kind": who.kind, "tenant": who.tenant, "verified_by": who.verified_by},
    }


def permitted(resource: str, action: str, *, tenant: str, value: Any) -> dict[str, str] | bool:
    """What somebody of a tenant may do: threads and runs of their own tenant, and reading assistants.

    Args:
        resource: `threads`, `assistants`, `crons` or `store`.
        action: What is to be done with it.
        tenant: Theirs.
        value: What was sent; a new thread and a new run are marked with the tenant.
    """
    if resource == "assistants":
        return action in _READ
    if resource != "threads":
        return False
    if action in ("create", "update", "create_run"):
        # In place: the server keeps the object that it has handed over.
        if value.get("metadata") is None:
            value["metadata"] = {}
        value["metadata"][_TENANT] = tenant
    return {_TENANT: tenant}


def _tokens(settings: Callable[[], Settings]) -> Tokens:
    found = identity_of(settings())
    if not isinstance(found, Tokens):
        raise ConfigurationError("LangGraph's `auth` handler needs STATEWARD_JWKS: it has no development mode")
    return found


def _http(status: int, detail: str, headers: dict[str, str] | None = None) -> Exception:
    return Auth.exceptions.HTTPException(status_code=status, detail=detail, headers=headers)


# The server looks the handler up by name.
auth = handler()
