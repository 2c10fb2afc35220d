"""`stateward sweep`: what has expired goes."""

from __future__ import annotations

from stateward.blocking import Runtime
from stateward.cli import shapes


def sweep(*, as_json: bool) -> None:
    """Delete what has expired, and say how much it was."""
    with Runtime.open(keep_running=True) as runtime:
        swept = runtime.sweep()
    if as_json:
        shapes.emit({"swept": swept})
    else:
        print(f"{swept} expired items of memory deleted")
