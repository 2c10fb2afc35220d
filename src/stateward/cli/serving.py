"""`stateward serve`: the HTTP API as a process of its own."""

from __future__ import annotations

import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from stateward.blocking import Runtime
from stateward.cli.exits import DONE, say
from stateward.cli.workflows import load_workflow
from stateward.settings import Settings


def serve(*, host: str, port: int, workflows: Sequence[str], privacy_role: str | None = None) -> int:
    """Serve until the process is told to stop.

    Args:
        host: The address to listen at.
        port: The port.
        workflows: Those whose edits can be judged here.
        privacy_role: The role that may forget, export and hold subjects; as the environment says, unless stated.

    Raises:
        MissingExtra: the extra `api` is not installed.
        ConfigurationError: the settings do not say whom to trust, or it would be open to others in development mode.
    """
    from stateward.api import create_app
    from stateward.api.identity import identity_of
    from stateward.api.serve import refuse_address, run

    settings = Settings.from_environment()
    if privacy_role is not None:
        settings = replace(settings, privacy_role=privacy_role.strip())
    identity = identity_of(settings)
    refuse_address(host, identity)
    with _stopping_in_order(), Runtime.open(settings=settings) as runtime:
        for name in workflows:
            load_workflow(name).flow.compile(runtime)
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        trusts = "DEVELOPMENT MODE, nobody is verified" if identity.development else f"tokens of {settings.jwt_issuer}"
        say(f"stateward serves {where} ({trusts}); {where}/openapi.json describes it")
        run(create_app(runtime, identity=identity), host=host, port=port)
    return DONE


@contextmanager
def _stopping_in_order() -> Generator[None]:
    """Let SIGTERM end the process as a return does: uvicorn passes it on, and by itself it would leave all open."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_: object) -> None:
    raise SystemExit(DONE)
