"""How a command ends: its exit code, and one clear line for an error instead of a traceback.

0  done
1  refused, failed, or found to be broken
2  bad input: an option, a file, an unknown name
3  stopped: the run waits for an approval, and goes on with `stateward resume`
130  interrupted with Ctrl-C
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from stateward.errors import (
    ConfigurationError,
    EmbeddedServerError,
    MissingExtra,
    StatewardError,
    ToolInputError,
    UnknownApproval,
    UnknownThread,
)

DONE, FAILED, BAD_INPUT, WAITS, INTERRUPTED = 0, 1, 2, 3, 130

_BAD_INPUT = (ToolInputError, ConfigurationError, UnknownThread, UnknownApproval)
_FAILED = (EmbeddedServerError, MissingExtra)


def code_of(error: Exception) -> int:
    """The exit code of an error."""
    if isinstance(error, _FAILED):
        return FAILED
    return BAD_INPUT if isinstance(error, _BAD_INPUT) else FAILED


def say(text: str) -> None:
    """A message for people: on stderr, so that stdout stays what was asked for."""
    print(text, file=sys.stderr, flush=True)


def program() -> str:
    """How this command is called here: by its name, or by its path where the shell would not find it."""
    called = Path(sys.argv[0])
    if called.name != "stateward" or shutil.which(called.name):
        return "stateward"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)


class Commands(TyperGroup):
    """The commands, with errors as one line. `--debug` lets the traceback through."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, EOFError, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            say(_line(error))
            raise typer.Exit(code_of(error)) from error


def _line(error: Exception) -> str:
    if isinstance(error, StatewardError):
        return f"error: {error}"
    return f"error: {type(error).__name__}: {error} (not expected; `stateward --debug ...` shows where)"
