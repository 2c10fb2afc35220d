"""Forgets a subject, in a process that may be killed at any moment: URL, home and subject are its arguments."""

from __future__ import annotations

import sys
from pathlib import Path

from stateward import Principal, Runtime, Settings

if __name__ == "__main__":
    url, home, subject = sys.argv[1:]
    with Runtime.open(settings=Settings(home=Path(home), database_url=url, pool_size=3)) as runtime:
        print("begins", flush=True)
        print(runtime.forget(subject, by=Principal("dpo")).id, flush=True)
