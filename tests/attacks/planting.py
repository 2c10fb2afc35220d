"""Values that are nowhere else, planted in many places and looked for in a whole dump of the database."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from stateward.adapters import embedded


@dataclass
class Plant:
    """Makes values that are nowhere else, and remembers where each was planted and how it would look in a dump."""

    looks: dict[str, list[bytes]] = field(default_factory=dict)
    shows: dict[str, str] = field(default_factory=dict)

    def text(self, place: str) -> str:
        """A text; the place is not part of it."""
        made = f"Zq{_digest(place)[:20]}"
        return self._note(place, made, made, made.encode())

    def number(self, place: str) -> int:
        """An integer of 15 digits."""
        made = 10**14 + int(_digest(place)[:11], 16)
        return self._note(place, made, str(made), str(made).encode(), struct.pack(">Q", made))

    def ratio(self, place: str) -> float:
        """A float that nobody else has."""
        made = (10**14 + int(_digest(place)[:11], 16)) / 1024
        return self._note(place, made, repr(made), repr(made).encode(), struct.pack(">d", made))

    def truth(self, place: str, channel: str) -> bool:
        """A boolean, which only its name beside it tells from others."""
        return self._note(place, True, f"'{channel}': True", f'"{channel}": true'.encode())

    def raw(self, place: str) -> bytes:
        """Bytes."""
        made = bytes.fromhex(_digest(place))[:16]
        return self._note(place, made, repr(made)[2:-1], made)

    def _note(self, place: str, made: Any, shown: str, *looks: bytes) -> Any:
        self.looks[place], self.shows[place] = list(looks), shown
        return made

    def found_in(self, dump: bytes) -> set[str]:
        """The places whose value a dump has, as text, as Postgres writes bytes, or in Base64."""
        text = dump.lower()

        def has(look: bytes) -> bool:
            return look in dump or look.hex().encode() in text or any(one in dump for one in _in_base64(look))

        return {place for place, looks in self.looks.items() if any(map(has, looks))}

    def reached(self, opened: str) -> set[str]:
        """The places whose value is in checkpoints that were opened again."""
        return {place for place, shown in self.shows.items() if shown in opened}


def _digest(place: str) -> str:
    return hashlib.sha256(f"planted in {place}".encode()).hexdigest()


def _in_base64(look: bytes) -> list[bytes]:
    """How it looks within a longer Base64 text: at each of three shifts, without what its neighbours change."""
    return [b64encode(bytes(shift) + look)[4 if shift else 0 : -4] for shift in range(3)]


def dumped(url: str, *, but: Sequence[str] = ()) -> bytes:
    """The whole database as `pg_dump` writes it, but for the rows of some tables of ours."""
    tools = embedded._find_tools()
    left_out = [f"--exclude-table-data=stateward.{name}" for name in but]
    command = [str(tools.bin_dir / "pg_dump"), "--dbname", url, *left_out]
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout


def escaped(url: str, table: str) -> bytes:
    """Every column of bytes of a table, in which text would be readable as it is."""
    of = "select column_name from information_schema.columns where table_schema = 'stateward' and table_name = %s"
    with psycopg.connect(url) as connection:
        names = [name for (name,) in connection.execute(of + " and data_type = 'bytea'", [table]).fetchall()]
        texts = [sql.SQL("coalesce(encode({}, 'escape'), '')").format(sql.Identifier(name)) for name in names]
        query = sql.SQL("select concat_ws(' ', {}) from {}").format(sql.SQL(", ").join(texts), table_name(table))
        return "\n".join(text for (text,) in connection.execute(query).fetchall()).encode() if names else b""


def table_name(name: str) -> sql.Identifier:
    """A table of ours in a query."""
    return sql.Identifier("stateward", name)
