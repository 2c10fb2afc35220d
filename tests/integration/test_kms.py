"""The key ring on AWS KMS, against moto's server: it answers the protocol of KMS, and encrypts for real."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from stateward.adapters.keyring import LocalKeyring
from stateward.adapters.kms import KmsKeyring
from stateward.adapters.postgres.data_keys import DataKeys
from stateward.adapters.postgres.database import Database
from stateward.adapters.rings import Head, split
from stateward.cli.app import app
from stateward.errors import KeyringError

DATA_KEY = bytes(range(32))
WHERE = "thread:t-1"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kms(address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """KMS as its administrator uses it; the environment is the standard one of AWS."""
    for name in ("AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return boto3.Session().client("kms")


@pytest.fixture
def arn(kms: Any) -> str:
    return kms.create_key()["KeyMetadata"]["Arn"]


async def test_what_was_wrapped_opens_again(arn: str) -> None:
    ring = KmsKeyring(arn)
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    assert split(wrapped, context=WHERE)[0] == Head(kind="kms", master=arn)
    assert DATA_KEY not in wrapped
    assert await KmsKeyring(arn).unwrap(wrapped, context=WHERE) == DATA_KEY
    assert ring.is_current(wrapped)


async def test_a_key_goes_by_id_and_alias_too(kms: Any, arn: str) -> None:
    kms.create_alias(AliasName="alias/names", TargetKeyId=arn)
    wrapped = await KmsKeyring(arn).wrap(DATA_KEY, context=WHERE)
    for name in (arn.rpartition("/")[2], "alias/names", arn.partition(":key/")[0] + ":alias/names"):
        ring = KmsKeyring(name)
        assert ring.is_current(wrapped)
        assert await ring.unwrap(wrapped, context=WHERE) == DATA_KEY
        assert (await ring.facts()).keys == (arn,)


async def test_kms_is_asked_once_where_an_alias_leads(kms: Any, arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kms.create_alias(AliasName="alias/once", TargetKeyId=arn)
    ring = KmsKeyring("alias/once")
    wrapped = await KmsKeyring(arn).wrap(DATA_KEY, context=WHERE)
    assert ring.is_current(wrapped)
    monkeypatch.setattr(ring, "_client", None)
    assert ring.is_current(wrapped)


@pytest.mark.parametrize("context", ["", "thread:t-2", "thread:t-1 "])
async def test_another_context_is_refused(arn: str, context: str) -> None:
    ring = KmsKeyring(arn)
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    with pytest.raises(KeyringError):
        await ring.unwrap(wrapped, context=context)


async def test_a_flip_in_any_byte_is_refused(arn: str) -> None:
    ring = KmsKeyring(arn)
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    for place in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[place] ^= 1
        with pytest.raises(KeyringError):
            await ring.unwrap(bytes(changed), context=WHERE)


async def test_what_was_cut_is_refused(arn: str) -> None:
    ring = KmsKeyring(arn)
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    for end in (0, 1, 3, 40, len(wrapped) - 48, len(wrapped) - 1):
        with pytest.raises(KeyringError):
            await ring.unwrap(wrapped[:end], context=WHERE)


async def test_a_key_of_kms_that_the_ring_does_not_name_is_refused(kms: Any, arn: str) -> None:
    """Whoever writes to the database cannot bring in a data key under a KMS key of their own."""
    theirs = kms.create_key()["KeyMetadata"]["Arn"]
    forged = await KmsKeyring(theirs).wrap(bytes(32), context=WHERE)
    ring = KmsKeyring(arn)
    assert not ring.is_current(forged)
    with pytest.raises(KeyringError, match="MASTER KEY MISSING") as caught:
        await ring.unwrap(forged, context=WHERE)
    assert theirs in str(caught.value)
    assert f"it holds {arn}; looked in STATEWARD_KMS_KEY" in str(caught.value)


async def test_the_name_of_a_held_key_before_the_text_of_another_is_refused(kms: Any, arn: str) -> None:
    theirs = kms.create_key()["KeyMetadata"]["Arn"]
    _, body = split(await KmsKeyring(theirs).wrap(bytes(32), context=WHERE), context=WHERE)
    with pytest.raises(KeyringError):
        await KmsKeyring(arn).unwrap(bytes(Head(kind="kms", master=arn)) + body, context=WHERE)


async def test_the_first_key_wraps_and_all_unwrap(kms: Any, arn: str) -> None:
    new = kms.create_key()["KeyMetadata"]["Arn"]
    before = await KmsKeyring(arn).wrap(DATA_KEY, context=WHERE)
    ring = KmsKeyring(f"{new}, {arn}")
    assert await ring.unwrap(before, context=WHERE) == DATA_KEY
    assert not ring.is_current(before)
    assert ring.is_current(await ring.wrap(DATA_KEY, context=WHERE))


async def test_an_alias_that_moves_is_followed(kms: Any, arn: str) -> None:
    kms.create_alias(AliasName="alias/moves", TargetKeyId=arn)
    ring, reader = KmsKeyring(f"alias/moves,{arn}"), KmsKeyring(f"alias/moves,{arn}")
    before = await ring.wrap(DATA_KEY, context=WHERE)
    assert await reader.unwrap(before, context=WHERE) == DATA_KEY
    assert reader.is_current(before)
    new = kms.create_key()["KeyMetadata"]["Arn"]
    kms.update_alias(AliasName="alias/moves", TargetKeyId=new)
    after = await ring.wrap(DATA_KEY, context=WHERE)
    assert split(after, context=WHERE)[0].master == new
    assert ring.is_current(after)
    assert not ring.is_current(before)
    assert await reader.unwrap(after, context=WHERE) == DATA_KEY
    assert await reader.unwrap(before, context=WHERE) == DATA_KEY


async def test_a_local_key_is_not_looked_for_here(arn: str) -> None:
    local = LocalKeyring.from_environment("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    wrapped = await local.wrap(DATA_KEY, context=WHERE)
    ring = KmsKeyring(arn)
    assert not ring.is_current(wrapped)
    with pytest.raises(KeyringError, match=r"of a local master key.* Unset STATEWARD_KMS_KEY"):
        await ring.unwrap(wrapped, context=WHERE)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDeniedException", "allow this identity kms:Encrypt, kms:Decrypt and kms:DescribeKey"),
        ("DisabledException", "enable that key"),
        ("KMSInvalidStateException", "cancel the deletion"),
        ("ExpiredTokenException", "renew the AWS credentials"),
        ("ThrottlingException", "try again"),
    ],
)
async def test_a_refusal_says_what_to_do(arn: str, code: str, advice: str) -> None:
    """moto refuses nobody, so what AWS would say is played."""
    ring = KmsKeyring(arn)
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    with Stubber(ring._client) as aws:  # pyright: ignore[reportArgumentType, reportPrivateUsage]
        for name in ("encrypt", "decrypt"):
            aws.add_client_error(name, code)
        with pytest.raises(KeyringError, match=rf"AWS KMS refuses '{arn}' .*{advice}"):
            await ring.wrap(DATA_KEY, context=WHERE)
        with pytest.raises(KeyringError, match=rf"AWS KMS refuses '{arn}' .*{advice}"):
            await ring.unwrap(wrapped, context=WHERE)


async def test_a_key_that_does_not_exist_is_said(kms: Any) -> None:
    ring = KmsKeyring("alias/nowhere")
    with pytest.raises(KeyringError, match=r"refuses 'alias/nowhere'.*correct STATEWARD_KMS_KEY"):
        await ring.wrap(DATA_KEY, context=WHERE)
    with pytest.raises(KeyringError, match=r"refuses 'alias/nowhere'.*correct STATEWARD_KMS_KEY"):
        await ring.facts()


async def test_a_kms_that_does_not_answer_is_said(kms: Any, arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(KeyringError, match=r"AWS KMS cannot be used with 'arn:.*check the AWS credentials"):
            await KmsKeyring(arn).wrap(DATA_KEY, context=WHERE)


async def test_without_credentials_it_is_said(kms: Any, arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(KeyringError, match="Unable to locate credentials"):
        await KmsKeyring(arn).wrap(DATA_KEY, context=WHERE)


def test_without_a_region_it_is_said(kms: Any, arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(KeyringError, match=r"specify a region.*AWS_REGION"):
        KmsKeyring(arn)


@pytest.mark.parametrize("name", ["alias/a,", " ", ",alias/a"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(KeyringError, match="STATEWARD_KMS_KEY"):
        KmsKeyring(name)


def test_a_rotation_from_one_key_to_another(
    kms: Any, arn: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = kms.create_key()["KeyMetadata"]["Arn"]
    sealed = asyncio.run(work(database_url, arn))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("STATEWARD_HOME", str(tmp_path))
    monkeypatch.setenv("STATEWARD_KMS_KEY", new)
    refused = CliRunner().invoke(app, ["keys", "rotate"])
    assert refused.exit_code == 1
    assert "[SW820] MASTER KEY MISSING" in refused.stderr
    assert f"{arn}' of AWS KMS" in refused.stderr
    monkeypatch.setenv("STATEWARD_KMS_KEY", f"{new},{arn}")
    rotated = json.loads(CliRunner().invoke(app, ["keys", "rotate", "--json"]).stdout)
    assert (rotated["ring"], rotated["current"], rotated["rewrapped"]) == ("kms", new, 2)
    assert [(one["master"], one["data_keys"]) for one in rotated["keys"]] == [(new, 2), (arn, 0)]
    monkeypatch.setenv("STATEWARD_KMS_KEY", new)
    assert CliRunner().invoke(app, ["keys"]).exit_code == 0
    assert asyncio.run(work(database_url, new, sealed)) == sealed
    assert not list(tmp_path.iterdir())


async def work(url: str, key: str, sealed: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Values that two threads have sealed; given some, they are opened."""
    database = Database(url, size=2)
    await database.open()
    keys = DataKeys(database, KmsKeyring(key))
    sealers = {thread: await keys.make(thread) for thread in ("a", "b")}
    await database.close()
    if sealed:
        assert {sealers[thread].open(value, thread) for thread, value in sealed.items()} == {b"value"}
    return sealed or {thread: sealer.seal(b"value", thread) for thread, sealer in sealers.items()}
