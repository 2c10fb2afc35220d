"""Sweeps, in a process that may be killed at any moment: URL and home are its arguments."""

from __future__ import annotations

import sys
from pathlib import Path

from stateward import Runtime, Settings

if __name__ == "__main__":
    url, home = sys.argv[1:]
    with Runtime.open(settings=Settings(home=Path(home), database_url=url, pool_size=3)) as runtime:
        runtime.sweep()
