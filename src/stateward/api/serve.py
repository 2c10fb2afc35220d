"""Runs the app alone, with uvicorn; behind a proxy that speaks TLS wherever it is not for this machine only."""

from __future__ import annotations

import logging

from starlette.applications import Starlette

from stateward.api.identity import LOOPBACK, Identity
from stateward.errors import ConfigurationError, MissingExtra


def refuse_address(host: str, identity: Identity) -> None:
    """Development mode binds to this machine only.

    Raises:
        ConfigurationError: it is development mode, and the address is for others too.
    """
    if identity.development and host not in LOOPBACK:
        raise ConfigurationError(
            f"development mode does not serve {host!r}, where others could say that they are anybody: leave --host "
            "out, or set STATEWARD_JWKS, STATEWARD_JWT_ISSUER and STATEWARD_JWT_AUDIENCE"
        )


def run(app: Starlette, *, host: str, port: int) -> None:
    """Serve until the process is told to stop.

    Args:
        app: What `create_app` made.
        host: The address to listen at.
        port: The port.

    Raises:
        MissingExtra: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra("uvicorn", extra="api") from error
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("stateward.api").setLevel(logging.INFO)
    # Its own access log has paths and queries, which name people. A proxy's word on who connects is not taken.
    config = uvicorn.Config(
        app, host=host, port=port, proxy_headers=False, ws="none", access_log=False, server_header=False
    )
    uvicorn.Server(config).run()
