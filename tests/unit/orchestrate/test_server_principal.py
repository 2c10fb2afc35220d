"""Who counts as verified by LangGraph's server: users that it has authenticated, and nothing that a client can send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph_sdk.auth.types import StudioUser

from stateward import Principal
from stateward.orchestrate.identity import server_principal


@dataclass(frozen=True)
class User:
    identity: Any = "ana"
    is_authenticated: Any = True
    permissions: Any = field(default_factory=lambda: ["controller"])
    stateward: Any = None


def seen(user: object) -> Principal | None:
    config: Any = {"configurable": {"langgraph_auth_user": user}}
    return RunnableLambda(lambda _: server_principal("acme")).invoke(None, config)


def test_an_authenticated_user_is_a_principal() -> None:
    who = seen(User())
    assert who is not None
    assert (who.id, who.tenant, who.roles) == ("ana", "acme", frozenset({"controller"}))
    assert who.verified_by == "langgraph server"


@pytest.mark.parametrize(
    "user",
    [
        None,
        {"identity": "ana", "is_authenticated": True},
        User(is_authenticated=False),
        User(is_authenticated="yes"),
        User(identity=""),
        User(identity=7),
        # A local server makes this of anybody who sends Studio's header.
        StudioUser("langgraph-studio-user"),
    ],
)
def test_nobody_else_is(user: object) -> None:
    assert seen(user) is None


def test_a_user_of_our_own_handler_has_a_kind_and_a_tenant() -> None:
    said = {"kind": "service", "tenant": "other", "verified_by": "jwt:https://id.example"}
    who = seen(User(stateward=said))
    assert who is not None
    assert (who.kind, who.tenant, who.verified_by) == ("service", "other", "jwt:https://id.example")


def test_a_user_without_roles_has_none() -> None:
    who = seen(User(permissions=None))
    assert who is not None
    assert not who.roles
