"""Secrets that stand in the environment of the process, such as an API key."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from stateward.errors import CredentialError
from stateward.model.effect import Credential
from stateward.model.policy import Identity
from stateward.model.verdict import Permit


class EnvironmentSecrets:
    """The provider behind `env:`.

    Args:
        environment: Read at each call, so that a secret that was rotated is taken.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @asynccontextmanager
    async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncGenerator[Credential]:
        """The secret.

        Raises:
            CredentialError: the variable is not set.
        """
        yield Credential(identity=permit.identity or "", secret=variable(self._environment, identity.env or "", permit))


def variable(environment: Mapping[str, str], name: str, permit: Permit) -> str:
    """The value of a variable.

    Raises:
        CredentialError: it is not set, or empty.
    """
    value = environment.get(name, "")
    if not value:
        raise CredentialError(f"the policy's identity {permit.identity!r} needs the variable {name}, which is not set")
    return value
