"""The environment is read in one place; what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from stateward.errors import ConfigurationError
from stateward.settings import Settings


def test_the_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    state = tmp_path / ".local/state/stateward"
    assert Settings.from_environment({}).home == state
    assert Settings.from_environment({"XDG_STATE_HOME": "relative"}).home == state
    assert Settings.from_environment({"XDG_STATE_HOME": "/state"}).home == Path("/state/stateward")
    assert Settings.from_environment({"STATEWARD_HOME": "~/mine"}).home == tmp_path / "mine"


def test_development_is_off_unless_it_is_said_plainly() -> None:
    assert not Settings.from_environment({}).development
    assert Settings.from_environment({"STATEWARD_DEVELOPMENT": "1"}).development
    with pytest.raises(ConfigurationError, match="STATEWARD_DEVELOPMENT is 'maybe'"):
        Settings.from_environment({"STATEWARD_DEVELOPMENT": "maybe"})


def test_a_pool_of_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="STATEWARD_POOL_SIZE"):
        Settings.from_environment({"STATEWARD_POOL_SIZE": "1"})


def test_the_hash_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    key = settings.hash_key()
    assert len(key) == 32
    assert settings.hash_key() == key
    assert (tmp_path / "home" / "hash.key").stat().st_mode & 0o077 == 0
    (tmp_path / "home" / "hash.key").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="not a key of 32 bytes"):
        settings.hash_key()
