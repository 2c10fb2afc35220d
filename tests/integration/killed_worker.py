"""A worker that is killed inside each kind of tool, after it took effect: one forked child for each.

Arguments: the database's address, a directory for settings, and tool names.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bank import Bank, start
from stateward import Runtime, Settings, call


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work(url: str, home: str, name: str) -> None:
    with Runtime.open(settings=Settings(home=Path(home), database_url=url, pool_size=2)) as runtime:
        bank = Bank(runtime=runtime, url=url, during=die)
        graph = bank.graph([call(name, amount=5)])
        start(graph, bank.config(f"killed-{name}"))


def main(url: str, home: str, *names: str) -> None:
    for name in names:
        child = os.fork()
        if child == 0:
            work(url, home, name)
            os._exit(3)  # not reached: the tool kills its process
        _, status = os.waitpid(child, 0)
        print(name, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "survived", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
