"""AWS STS: keys for one call, of a role that a session policy narrows. CloudTrail shows the action's id."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from stateward.errors import CredentialError, MissingExtra
from stateward.model.effect import Credential
from stateward.model.grants import StsGrant, session_policy_text
from stateward.model.policy import Identity
from stateward.model.verdict import Permit

_CONNECT, _READ, _TRIES = 5, 10, 2  # seconds, seconds, times


class StsCredentials:
    """The provider behind `sts:`; it uses the AWS credentials of the process to assume the role."""

    @asynccontextmanager
    async def lend(self, permit: Permit, *, identity: Identity, attempt: int) -> AsyncGenerator[Credential]:
        """The keys of a session; AWS cannot take them back, so they expire by themselves.

        Raises:
            CredentialError: AWS refuses, or cannot be reached.
            MissingExtra: boto3 is not installed.
        """
        assert identity.sts is not None
        yield await asyncio.to_thread(_assume, permit, identity.sts)


def _assume(permit: Permit, grant: StsGrant) -> Credential:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise MissingExtra("boto3", extra="aws") from None
    limits = Config(connect_timeout=_CONNECT, read_timeout=_READ, retries={"total_max_attempts": _TRIES})
    try:
        # A session of our own: boto3's default one is shared with whoever else is in this process.
        session: Any = boto3.Session(region_name=grant.region)
        with _unlogged("botocore.parsers"):
            said = session.client("sts", config=limits).assume_role(**_request(permit, grant))
    except (BotoCoreError, ClientError) as error:
        raise CredentialError(f"AWS STS gives no keys of {grant.role} to {permit.identity!r}: {error}") from error
    return _credential(permit, said, region=session.region_name)


def _request(permit: Permit, grant: StsGrant) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "RoleArn": grant.role,
        "RoleSessionName": f"sw-{permit.action}",
        "Policy": session_policy_text(grant.session_policy),
        "DurationSeconds": int(grant.lasts.total_seconds()),
    }
    return asked if grant.external_id is None else asked | {"ExternalId": grant.external_id}


def _credential(permit: Permit, said: Mapping[str, Any], *, region: str | None) -> Credential:
    keys = cast("Mapping[str, Any]", said["Credentials"])
    values = {
        "aws_access_key_id": str(keys["AccessKeyId"]),
        "aws_secret_access_key": str(keys["SecretAccessKey"]),
        "aws_session_token": str(keys["SessionToken"]),
    }
    return Credential(
        identity=permit.identity or "",
        user=str(said["AssumedRoleUser"]["Arn"]),
        secret=values["aws_secret_access_key"],
        values=values if region is None else values | {"region_name": region},
        expires_at=keys["Expiration"],
        hidden=(values["aws_session_token"], values["aws_access_key_id"]),
    )


@contextmanager
def _unlogged(name: str) -> Generator[None]:
    """Keep what this thread does out of a log: at its finest level botocore writes down answers, keys included."""
    here = threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger = logging.getLogger(name)
    logger.addFilter(elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(elsewhere)
