"""`stateward serve` as a process: on a free port, with a key set or in development mode, until it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from asking import stopped
from bank import Bank, Started
from stateward import Settings
from tokens import AUDIENCE, ISSUER, Issuer

COMMAND = (sys.executable, "-m", "stateward.cli.app", "serve")
LOCAL = {"Stateward-Person": "boss"}
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """A process that serves.

    Attributes:
        http: Asks it.
        said: What it said at its start.
    """

    process: subprocess.Popen[str]
    http: httpx.Client
    said: str

    def decide(self, approval: dict[str, Any], **headers: str) -> httpx.Response:
        """Approve what was shown."""
        body = {"decision": "approve", "digest": approval["digest"]}
        return self.http.post(f"/approvals/{approval['id']}/decision", json=body, headers=headers)

    def asked(self, **headers: str) -> dict[str, Any]:
        """The one approval that waits."""
        found = self.http.get("/approvals", headers=headers)
        assert found.status_code == 200, found.text
        (one,) = found.json()["approvals"]
        return one

    def stop(self) -> None:
        """Ask it to stop, as a supervisor does; it does so in order, and soon."""
        self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=PATIENCE)
        assert "Traceback" not in rest
        assert self.process.returncode == 0
        with pytest.raises(httpx.ConnectError):
            self.http.get("/openapi.json")


def environment(settings: Settings, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STATEWARD_", "PG"))}
    return kept | {"DATABASE_URL": settings.database_url, "STATEWARD_HOME": str(settings.home)} | more


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(settings: Settings, **more: str) -> Iterator[Served]:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "--port", str(port)],
        env=environment(settings, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        said = process.stderr.readline()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
            until_it_answers(http, process)
            yield Served(process=process, http=http, said=said)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until_it_answers(http: httpx.Client, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            assert http.get("/openapi.json").status_code == 200
            return
        except httpx.ConnectError:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "it never answered"
            time.sleep(0.05)


@pytest.fixture
def trusting(tmp_path: Path) -> dict[str, str]:
    """The settings that name whom to trust."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(Issuer().key_set()))
    return {"STATEWARD_JWKS": str(keys), "STATEWARD_JWT_ISSUER": ISSUER, "STATEWARD_JWT_AUDIENCE": AUDIENCE}


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {Issuer().token(**claims)}"}


def decided(run: Started) -> list[str]:
    return [one.verified_by for one in run.bank.runtime.approvals(thread=run.thread, status=None)[0].signatures]


def test_people_with_tokens_decide_and_it_stops_in_order(
    bank: Bank, settings: Settings, trusting: dict[str, str]
) -> None:
    run = stopped(bank)
    with served(settings, **trusting) as one:
        assert f"tokens of {ISSUER}" in one.said
        assert one.http.get("/approvals").status_code == 401
        assert one.http.get("/approvals", headers=bearer(iss="https://another.example")).status_code == 401
        asked = one.asked(**bearer(sub="boss"))
        assert one.decide(asked).status_code == 401
        assert one.decide(asked, **bearer(sub="mallory")).status_code in (403, 404)
        taken = one.decide(asked, **bearer(sub="boss"))
        assert (taken.status_code, taken.json()["approval"]["status"]) == (200, "approved")
        one.stop()
    assert decided(run) == [f"jwt:{ISSUER}"]
    run.resume()
    assert bank.amounts() == [500]


def test_development_mode_serves_this_machine_and_says_that_nobody_is_verified(bank: Bank, settings: Settings) -> None:
    run = stopped(bank)
    with served(settings, STATEWARD_DEVELOPMENT="1") as one:
        assert "DEVELOPMENT MODE, nobody is verified" in one.said
        asked = one.asked(**LOCAL)
        assert one.decide(asked, **LOCAL).status_code == 200
        one.stop()
    assert "development" in decided(run)[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_development_mode_is_refused_where_others_could_reach_it(settings: Settings, host: str) -> None:
    refused = subprocess.run(
        [*COMMAND, "--host", host, "--port", str(free_port())],
        env=environment(settings, STATEWARD_DEVELOPMENT="1"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert f"development mode does not serve {host!r}" in " ".join(refused.stderr.split())


def test_nobody_is_trusted_by_default(settings: Settings) -> None:
    refused = subprocess.run(
        [*COMMAND, "--port", str(free_port())],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert refused.returncode == 2
    assert "STATEWARD_JWKS" in refused.stderr
