"""The local key ring: what it wraps opens only as it was, where it was, with a key that it holds; files are guarded."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from stateward.adapters.keyring import KeyFile, LocalKeyring, key_id, open_keyring
from stateward.adapters.rings import Head, split
from stateward.errors import ConfigurationError, KeyringError, MissingExtra
from stateward.settings import Settings

DATA_KEY = bytes(range(32))
WHERE = "thread:t-1"


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def given(*keys: bytes) -> LocalKeyring:
    return LocalKeyring.from_environment(",".join(map(text, keys)))


def write(path: Path, content: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def remove(path: Path) -> None:
    path.unlink()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "master.key"


async def test_what_was_wrapped_opens_again() -> None:
    ring = given(secrets.token_bytes(32))
    assert await ring.unwrap(await ring.wrap(DATA_KEY, context=WHERE), context=WHERE) == DATA_KEY


async def test_the_envelope_names_the_key_and_shows_nothing_else() -> None:
    master = secrets.token_bytes(32)
    first, second = [await given(master).wrap(DATA_KEY, context=WHERE) for _ in range(2)]
    head, body = split(first, context=WHERE)
    assert head == Head(kind="local", master=key_id(master))
    assert len(body) == 12 + 32 + 16
    assert first != second
    assert DATA_KEY not in first
    assert master not in first


@pytest.mark.parametrize("context", ["", "thread:t-2", "thread:t-1 ", "Thread:t-1", "1thread:t-1"])
async def test_another_context_is_refused(context: str) -> None:
    ring = given(secrets.token_bytes(32))
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    with pytest.raises(KeyringError, match="wrapped for another place"):
        await ring.unwrap(wrapped, context=context)


async def test_a_flip_of_any_bit_is_refused() -> None:
    ring = given(secrets.token_bytes(32))
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    for place in range(len(wrapped)):
        for bit in range(8):
            changed = bytearray(wrapped)
            changed[place] ^= 1 << bit
            with pytest.raises(KeyringError):
                await ring.unwrap(bytes(changed), context=WHERE)


async def test_what_was_cut_or_grew_is_refused() -> None:
    ring = given(secrets.token_bytes(32))
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    for end in range(len(wrapped)):
        with pytest.raises(KeyringError):
            await ring.unwrap(wrapped[:end], context=WHERE)
    with pytest.raises(KeyringError):
        await ring.unwrap(wrapped + b"\0", context=WHERE)


async def test_a_context_cannot_reach_into_the_head() -> None:
    """The key's id ends where its length says, so its last letters cannot be counted as the context's first."""
    ring = given(secrets.token_bytes(32))
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    shorter = wrapped[:1] + (7).to_bytes(2, "big") + wrapped[3:]
    with pytest.raises(KeyringError):
        await ring.unwrap(shorter, context=chr(wrapped[10]) + WHERE)


async def test_the_first_key_wraps_and_all_unwrap() -> None:
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    before = await given(old).wrap(DATA_KEY, context=WHERE)
    ring = given(new, old)
    assert await ring.unwrap(before, context=WHERE) == DATA_KEY
    assert not ring.is_current(before)
    assert ring.is_current(await ring.wrap(DATA_KEY, context=WHERE))
    assert (await ring.facts()).keys == (key_id(new), key_id(old))


@pytest.mark.parametrize("junk", [b"", b"\1", b"\1\0\0", b"\3\0\1ax", b"\1\0\10\377\377\377\377\377\377\377\377x"])
async def test_what_is_no_envelope_is_never_current(junk: bytes) -> None:
    ring = given(secrets.token_bytes(32))
    assert not ring.is_current(junk)
    with pytest.raises(KeyringError, match="thread:t-1 cannot be unwrapped"):
        await ring.unwrap(junk, context=WHERE)


async def test_a_lost_key_is_said_loudly() -> None:
    lost, held = secrets.token_bytes(32), secrets.token_bytes(32)
    wrapped = await given(lost).wrap(DATA_KEY, context=WHERE)
    with pytest.raises(KeyringError) as caught:
        await given(held).unwrap(wrapped, context=WHERE)
    said = str(caught.value)
    assert said.startswith("[SW820] MASTER KEY MISSING")
    assert key_id(lost) in said
    assert f"it holds {key_id(held)}; looked in STATEWARD_MASTER_KEY" in said
    assert text(held) not in said


async def test_a_key_of_kms_is_not_looked_for_here() -> None:
    wrapped = bytes(Head(kind="kms", master="arn:aws:kms:eu-west-1:1:key/2")) + b"blob"
    ring = given(secrets.token_bytes(32))
    assert not ring.is_current(wrapped)
    with pytest.raises(KeyringError, match=r"key/2' of AWS KMS.* Set STATEWARD_KMS_KEY to that key"):
        await ring.unwrap(wrapped, context=WHERE)


@pytest.mark.parametrize("value", ["nonsense", "", ",", text(b"short"), text(bytes(33)), text(bytes(32)) + ","])
def test_a_malformed_environment_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(KeyringError, match=r"STATEWARD_MASTER_KEY, key \d: not a key of 32 bytes") as caught:
        LocalKeyring.from_environment(value)
    assert not value.strip(",") or value.split(",")[0] not in str(caught.value)


async def test_the_environment_is_rotated_by_hand() -> None:
    with pytest.raises(KeyringError, match="put a new key first in STATEWARD_MASTER_KEY"):
        await given(bytes(32)).rotate()


async def test_a_file_is_made_at_the_first_wrapping(file: Path) -> None:
    ring = LocalKeyring.from_file(file)
    assert (await ring.facts()).current is None
    assert names(file.parent) == []
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert names(file.parent) == ["master.key"]
    assert await LocalKeyring.from_file(file).unwrap(wrapped, context=WHERE) == DATA_KEY


async def test_unwrapping_makes_no_file(file: Path) -> None:
    wrapped = await given(secrets.token_bytes(32)).wrap(DATA_KEY, context=WHERE)
    with pytest.raises(KeyringError, match=r"it holds none; looked in .*master\.key\. Restore"):
        await LocalKeyring.from_file(file).unwrap(wrapped, context=WHERE)
    assert names(file.parent) == []


async def test_a_file_that_goes_missing_is_not_replaced(file: Path) -> None:
    ring = LocalKeyring.from_file(file)
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    remove(file)
    with pytest.raises(KeyringError, match="was here and is gone"):
        await ring.wrap(DATA_KEY, context=WHERE)
    assert names(file.parent) == []
    assert await ring.unwrap(wrapped, context=WHERE) == DATA_KEY


async def test_a_file_may_have_comments_and_further_keys(file: Path) -> None:
    new, old = secrets.token_bytes(32), secrets.token_bytes(32)
    write(file, f"# ours, über alles\n\n{text(new)}  # since May\n  {text(old)}\r\n")
    assert (await LocalKeyring.from_file(file).facts()).keys == (key_id(new), key_id(old))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777])
def test_a_file_that_others_reach_is_refused(file: Path, mode: int) -> None:
    write(file, text(bytes(32)), mode)
    with pytest.raises(KeyringError, match=rf"read or written by others \(mode {mode:04o}\): chmod 600"):
        LocalKeyring.from_file(file)


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n"])
def test_an_empty_file_is_refused(file: Path, content: str) -> None:
    write(file, content)
    with pytest.raises(KeyringError, match="has no key in it"):
        LocalKeyring.from_file(file)


@pytest.mark.parametrize("bad", ["é", "nonsense", text(bytes(31)), text(bytes(32))[:-1], text(bytes(32)) * 2, "\0"])
def test_a_malformed_line_is_named_and_not_shown(file: Path, bad: str) -> None:
    write(file, f"{text(secrets.token_bytes(32))}\n{bad}\n")
    with pytest.raises(KeyringError, match=r"master\.key, line 2: not a key of 32 bytes") as caught:
        LocalKeyring.from_file(file)
    assert len(bad) < 4 or bad not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(file: Path) -> None:
    write(file, "")
    file.write_bytes(secrets.token_bytes(32) + b"\xff")
    with pytest.raises(KeyringError):
        LocalKeyring.from_file(file)


def test_what_is_no_regular_file_is_refused(file: Path, tmp_path: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(KeyringError, match="is not a regular file"):
        LocalKeyring.from_file(file)
    file.rmdir()
    os.mkfifo(file, 0o600)
    with pytest.raises(KeyringError, match="is not a regular file"):
        LocalKeyring.from_file(file)
    file.unlink()
    file.symlink_to(write(tmp_path / "elsewhere", text(bytes(32))))
    with pytest.raises(KeyringError, match="it has to be a regular file"):
        LocalKeyring.from_file(file)


async def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a directory")
    with pytest.raises(KeyringError, match=r"cannot be used \(Not a directory\)"):
        LocalKeyring.from_file(tmp_path / "home" / "master.key")


MAKE = """
import asyncio, sys
from pathlib import Path
from stateward.adapters.keyring import LocalKeyring
ring = LocalKeyring.from_file(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    asyncio.run(ring.rotate())
print(asyncio.run(ring.wrap(bytes(32), context=sys.argv[2])).hex())
"""


def race(file: Path, count: int, rotations: int = 0) -> list[bytes]:
    """What processes wrapped that were all let go at once."""
    command = [sys.executable, "-W", "error", "-c", MAKE, str(file), WHERE, str(rotations)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **pipes) for _ in range(count)]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return [bytes.fromhex(process.communicate(timeout=60)[0]) for process in started]


async def test_processes_that_make_the_file_at_once_make_one(file: Path) -> None:
    wrapped = race(file, 4)
    assert len(KeyFile(file).read()) == 1
    ring = LocalKeyring.from_file(file)
    assert [await ring.unwrap(one, context=WHERE) for one in wrapped] == [bytes(32)] * 4
    assert all(ring.is_current(one) for one in wrapped)
    assert names(file.parent) == ["master.key"]


async def test_processes_that_rotate_at_once_lose_no_key(file: Path) -> None:
    first = await LocalKeyring.from_file(file).wrap(DATA_KEY, context=WHERE)
    wrapped = race(file, 4, rotations=5)
    assert len(set(KeyFile(file).read())) == 1 + 4 * 5
    ring = LocalKeyring.from_file(file)
    assert [await ring.unwrap(one, context=WHERE) for one in wrapped] == [bytes(32)] * 4
    assert await ring.unwrap(first, context=WHERE) == DATA_KEY


async def test_a_rotation_keeps_what_is_there(file: Path) -> None:
    old = secrets.token_bytes(32)
    write(file, f"# für später\n{text(old)}")
    ring = LocalKeyring.from_file(file)
    before = await ring.wrap(DATA_KEY, context=WHERE)
    new = await ring.rotate()
    assert (await ring.facts()).keys == (new, key_id(old))
    assert read(file).endswith(f"\n# für später\n{text(old)}")
    assert mode(file) == 0o600
    assert await ring.unwrap(before, context=WHERE) == DATA_KEY
    assert not ring.is_current(before)


async def test_a_ring_that_runs_on_notices_a_rotation(file: Path) -> None:
    running, other = LocalKeyring.from_file(file), LocalKeyring.from_file(file)
    before = await running.wrap(DATA_KEY, context=WHERE)
    new = await other.rotate()
    after = await other.wrap(DATA_KEY, context=WHERE)
    assert await running.unwrap(after, context=WHERE) == DATA_KEY
    assert not running.is_current(before)
    assert split(await running.wrap(DATA_KEY, context=WHERE), context=WHERE)[0].master == new


async def test_a_rotation_cut_off_before_the_rename_changed_nothing(file: Path) -> None:
    ring = LocalKeyring.from_file(file)
    wrapped = await ring.wrap(DATA_KEY, context=WHERE)
    write(file.with_name(".master.key.next"), "half a l")
    assert ring.is_current(wrapped)
    await ring.rotate()
    assert len(KeyFile(file).read()) == 2
    assert names(file.parent) == ["master.key"]


async def test_rotating_before_the_first_use_makes_the_first_key(file: Path) -> None:
    master = await LocalKeyring.from_file(file).rotate()
    assert [key_id(key) for key in KeyFile(file).read()] == [master]


async def test_the_settings_choose_the_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = open_keyring(home=tmp_path, master_key="", kms_key="")
    assert (await local.facts()).where == str(tmp_path / "master.key")
    named = open_keyring(home=tmp_path, master_key=text(bytes(32)), kms_key="")
    assert (await named.facts()).kind == "environment"
    with pytest.raises(ConfigurationError, match="both set"):
        open_keyring(home=tmp_path, master_key=text(bytes(32)), kms_key="alias/a")
    with pytest.raises(ConfigurationError, match="absolute path"):
        open_keyring(home=Path("here"), master_key="", kms_key="")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"pip install 'stateward\[aws\]'"):
        open_keyring(home=tmp_path, master_key="", kms_key="alias/a")


def test_the_environment_names_one_ring_and_keeps_its_secret() -> None:
    secret = text(bytes(32))
    settings = Settings.from_environment({"STATEWARD_MASTER_KEY": secret})
    assert settings.master_key == secret
    assert secret not in repr(settings)
    assert Settings.from_environment({"STATEWARD_KMS_KEY": "alias/a"}).kms_key == "alias/a"
    with pytest.raises(ConfigurationError, match="STATEWARD_MASTER_KEY and STATEWARD_KMS_KEY are both set"):
        Settings.from_environment({"STATEWARD_MASTER_KEY": secret, "STATEWARD_KMS_KEY": "alias/a"})
