"""Credentials for one call, from whatever the policy mints them from: one dispatcher over small providers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from stateward.adapters.environment import EnvironmentSecrets
from stateward.adapters.oauth import OAuthCredentials
from stateward.adapters.sts import StsCredentials
from stateward.errors import CredentialError
from stateward.model.effect import Credential, Transaction
from stateward.model.policy import Identity
from stateward.model.verdict import Permit
from stateward.ports import CredentialProvider


class Logins(CredentialProvider, Protocol):
    """Mints Postgres logins, and opens transactions as them."""

    def transaction(
        self, permit: Permit, credential: Credential, *, attempt: int
    ) -> AbstractAsyncContextManager[Transaction]:
        """A connection as the lent login."""
        ...


class MintedCredentials:
    """The `Credentials` port: it asks the provider that the policy's identity is for.

    Args:
        logins: Mints Postgres logins, and opens their transactions.
        own: Providers of the team's own, by the name that the policy's `provider:` has for them.
        environment: Instead of the process's.
    """

    def __init__(
        self,
        logins: Logins,
        *,
        own: Mapping[str, CredentialProvider] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        secrets = os.environ if environment is None else environment
        self._logins, self._own = logins, dict(own or {})
        self._by_source: dict[str, CredentialProvider] = {
            "role": logins,
            "env": EnvironmentSecrets(secrets),
            "sts": StsCredentials(),
            "oauth": OAuthCredentials(secrets),
        }

    def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AbstractAsyncContextManager[Credential]:
        """A credential for as long as the block lasts.

        Raises:
            CredentialError: it cannot be minted.
        """
        return self._provider(permit, identity).lend(permit, identity=identity, attempt=attempt)

    def transaction(
        self, permit: Permit, credential: Credential, *, attempt: int
    ) -> AbstractAsyncContextManager[Transaction]:
        """A connection as the lent Postgres login, in a transaction that settles the effect of a write."""
        return self._logins.transaction(permit, credential, attempt=attempt)

    def _provider(self, permit: Permit, identity: Identity) -> CredentialProvider:
        if identity.provider is None:
            return next(one for name, one in self._by_source.items() if getattr(identity, name) is not None)
        if identity.provider not in self._own:
            raise CredentialError(
                f"the policy's identity {permit.identity!r} needs the provider {identity.provider!r}: open the runtime "
                f"with credentials={{{identity.provider!r}: ...}}"
            )
        return self._own[identity.provider]
