"""The settings of a process, read from the environment in one place."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stateward.errors import ConfigurationError

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
_TOKENS = {
    "STATEWARD_JWKS": "jwks",
    "STATEWARD_JWT_ISSUER": "jwt_issuer",
    "STATEWARD_JWT_AUDIENCE": "jwt_audience",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a process may be told from outside.

    Attributes:
        database_url: `DATABASE_URL`: a libpq connection string. Empty: the embedded Postgres.
        direct_url: `STATEWARD_DIRECT_URL`: a connection string that reaches Postgres without a pooler; needed where
            `DATABASE_URL` goes through PgBouncer in transaction mode. Default: `DATABASE_URL`.
        home: `STATEWARD_HOME`: where the embedded Postgres and the local key live.
        development: `STATEWARD_DEVELOPMENT`: an answer without a verified person counts, as in Studio on a laptop.
        ner_model: `STATEWARD_NER_MODEL`: a model that finds names and places: an installed spaCy model or its path, or
            `transformers:` or `gliner:` with the path of one.
        pool_size: `STATEWARD_POOL_SIZE`: most connections of one process, 10 unless stated.
        master_key: `STATEWARD_MASTER_KEY`: master keys of 32 bytes in base64, separated by commas, the current one
            first. Empty: the file `master.key` in the home.
        kms_key: `STATEWARD_KMS_KEY`: ids, ARNs or aliases of AWS KMS keys instead, separated by commas, the current
            one first.
        privacy_role: `STATEWARD_PRIVACY_ROLE`: the role that may forget, export and hold subjects of its tenant over
            the HTTP API. Empty: nobody may.
        spans: `STATEWARD_SPANS`: true where there have to be OpenTelemetry's spans, false for none. Default: wherever
            OpenTelemetry is installed and the application has configured it.

    Raises:
        ConfigurationError: both `master_key` and `kms_key` are given.
    """

    database_url: str = ""
    direct_url: str = ""
    home: Path
    development: bool = False
    ner_model: str = ""
    pool_size: int = 10
    master_key: str = field(default="", repr=False)
    kms_key: str = ""
    jwks: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_roles_claim: str = "roles"
    jwt_tenant_claim: str = ""
    jwt_kind_claim: str = "kind"
    readers: frozenset[str] = frozenset()
    privacy_role: str = ""
    spans: bool | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, field) for name, field in _TOKENS.items()}
        if any(given.values()) and not all(given.values()):
            missing = ", ".join(name for name, value in given.items() if not value)
            raise ConfigurationError(
                f"tokens cannot be checked without {missing}: set all of {', '.join(given)}, or none"
            )
        if self.master_key and self.kms_key:
            raise ConfigurationError(
                "STATEWARD_MASTER_KEY and STATEWARD_KMS_KEY are both set: keep the one whose keys wrap the data keys"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings that the environment gives.

        Raises:
            ConfigurationError: a value cannot be read; the message names the variable.
        """
        given = os.environ if environment is None else environment
        return cls(
            database_url=given.get("DATABASE_URL", ""),
            direct_url=given.get("STATEWARD_DIRECT_URL", ""),
            home=_home(given),
            development=_flag(given, "STATEWARD_DEVELOPMENT"),
            ner_model=given.get("STATEWARD_NER_MODEL", ""),
            pool_size=_number(given, "STATEWARD_POOL_SIZE", 10),
            master_key=given.get("STATEWARD_MASTER_KEY", ""),
            kms_key=given.get("STATEWARD_KMS_KEY", ""),
            **{field: given.get(name, "") for name, field in _TOKENS.items()},
            jwt_roles_claim=given.get("STATEWARD_JWT_ROLES_CLAIM") or "roles",
            jwt_tenant_claim=given.get("STATEWARD_JWT_TENANT_CLAIM", ""),
            jwt_kind_claim=given.get("STATEWARD_JWT_KIND_CLAIM") or "kind",
            readers=_names(given.get("STATEWARD_READERS", "")),
            privacy_role=given.get("STATEWARD_PRIVACY_ROLE", "").strip(),
            spans=_flag(given, "STATEWARD_SPANS") if given.get("STATEWARD_SPANS", "").strip() else None,
        )

    def hash_key(self) -> bytes:
        """The key of keyed hashes, made at first use as a file that only its owner reads.

        Raises:
            ConfigurationError: the file is not a key.
        """
        path = self.home / "hash.key"
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _create(path, secrets.token_bytes(32))
        key = path.read_bytes()
        if len(key) != 32:
            raise ConfigurationError(f"{path} is not a key of 32 bytes: restore it from a backup")
        return key


def _create(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    try:
        os.link(part, path)  # whoever is first wins; a link never replaces
    except FileExistsError:
        return
    finally:
        part.unlink()


def _home(given: Mapping[str, str]) -> Path:
    if given.get("STATEWARD_HOME"):
        return Path(given["STATEWARD_HOME"]).expanduser()
    # The XDG Base Directory Specification says to ignore a relative path.
    state = Path(given.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "stateward"


def _flag(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "").strip().lower()
    if value not in _TRUE | _FALSE:
        raise ConfigurationError(f"{name} is {value!r}: write true or false")
    return value in _TRUE


def _names(text: str) -> frozenset[str]:
    return frozenset(name for part in text.split(",") if (name := part.strip()))


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    value = given.get(name, str(default))
    if not value.isdecimal() or int(value) < 2:
        raise ConfigurationError(f"{name} is {value!r}: write a whole number of at least 2")
    return int(value)
