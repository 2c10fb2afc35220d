"""What a workflow's folder has to export to be run from the command line, and how it is found.

A workflow is a folder `NAME/` with a `graph.py` in it:

    flow = Workflow("NAME", ...)            # required; named like the folder, so that `resume` finds it again
    graph = flow.compile()                  # for LangGraph's own server
    cli = CommandLine()                     # optional: its options, sample data and summary

`cli` follows the `CommandLine` protocol below; without one, the workflow takes `--request TEXT`.
The folder is looked for in `./graphs`, in the current directory, on `sys.path`, and among those that are
installed with Stateward; a path to it works as well. Imports in it are absolute: `from NAME.tools import ...`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import stateward
from stateward.errors import ConfigurationError, StatewardError

if TYPE_CHECKING:
    from stateward.orchestrate.workflow import Workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option of a workflow, `--name VALUE` on the command line.

    Attributes:
        name: As typed, without the dashes: `mail-to`. `prepare` finds it under `mail_to`.
        help: One sentence.
        type: Reads the text: `str`, `int`, `float`, `Decimal`, `Path` or any function that raises a
            ValueError. With `bool` it is a flag without a value.
        required: Whether it has to be given.
        many: Whether it may be given several times; its value is a list then.
        default: Its value when it is not given.
    """

    name: str
    help: str
    type: Callable[[str], object] = str
    required: bool = False
    many: bool = False
    default: object = None

    @property
    def key(self) -> str:
        """The name as `prepare` finds it."""
        return self.name.replace("-", "_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What a run starts from.

    Attributes:
        thread: Base id of its threads, such as `month_end-2026-10`; runs are numbered after it:
            `month_end-2026-10.1`.
        input: The graph's input. The same options have to give the same input: that is how a run which is
            continued is told from one that means something else.
        subject: Whom or what it is about; the same as the workflow's own `subject=` gives for this input.
    """

    thread: str
    input: Mapping[str, Any]
    subject: str


class CommandLine(Protocol):
    """How a workflow shows on the command line: the `cli` object of its `graph.py`.

    It may have an attribute `baseline_minutes: float` too: the manual work that one completed run replaces,
    which `stateward metrics` holds the runs against.
    """

    @property
    def options(self) -> Sequence[Option]:
        """The options of `stateward run NAME`."""
        ...

    def prepare(self, options: dict[str, Any]) -> Start:
        """Check the options and the files behind them, and say what the run starts from; writes nothing.

        Args:
            options: A value for every declared option, by its `key`; the default where it was not given.

        Raises:
            ToolInputError: something is wrong; the message has file, line, value and what is expected.
        """
        ...

    def demo(self, directory: Path) -> dict[str, Any]:
        """Write sample data into the directory, the same each time; returns the options of a run on it."""
        ...

    def describe(self, state: dict[str, Any]) -> list[str]:
        """The lines that tell what came out, from the final state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A workflow that was found and imported.

    Attributes:
        name: The folder's name, which is the workflow's too.
        folder: Where it is.
        given: What the user has to give to find it again: its name, or a path.
    """

    name: str
    folder: Path
    given: str
    flow: Workflow
    cli: CommandLine

    @property
    def baselines(self) -> dict[str, float]:
        """The minutes of manual work that one run replaces, by workflow: nothing where it states none."""
        stated = getattr(self.cli, "baseline_minutes", None)
        return {} if stated is None else {self.name: float(stated)}

    @property
    def again(self) -> str:
        """What `stateward resume` needs besides the thread to find this workflow."""
        return "" if self.given == self.name else f" --workflow {self.given}"


class PlainCommandLine:
    """The command line of a workflow that declares none: `--request TEXT` is its first message."""

    def __init__(self, flow: Workflow) -> None:
        self._flow, self._name = flow, flow.name
        self.options: Sequence[Option] = (Option(name="request", help="What it is asked to do.", required=True),)

    def prepare(self, options: dict[str, Any]) -> Start:
        """The request as a message.

        Raises:
            ConfigurationError: the workflow cannot say from it alone whom or what the run is about.
        """
        given = {"messages": [("user", options["request"])]}
        try:
            subject = self._flow.subject_of(given)
        except KeyError as error:
            raise ConfigurationError(
                f"the subject of {self._name!r} cannot be told from --request alone, as it reads {error}: "
                "export a `cli` from its graph.py, with options that say it"
            ) from error
        return Start(thread=self._name, input=given, subject=subject)

    def demo(self, directory: Path) -> dict[str, Any]:
        """There is no sample data.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(f"workflow {self._name!r} has no demo: its graph.py exports no `cli`")

    def describe(self, state: dict[str, Any]) -> list[str]:
        """The answer."""
        messages: Sequence[Any] = state.get("messages") or []
        return [str(messages[-1].text)] if messages else []


def load_workflow(given: str) -> Loaded:
    """Find and import a workflow.

    Args:
        given: Its name, or the path of its folder.

    Raises:
        ConfigurationError: there is none, or its graph.py does not follow the contract above.
    """
    folder = _folder(given)
    module = _imported(folder)
    flow: Any = getattr(module, "flow", None)
    if not (callable(getattr(flow, "compile", None)) and getattr(flow, "name", None)):
        raise ConfigurationError(f"{folder / 'graph.py'} exports no `flow`: write `flow = Workflow(...)`")
    if flow.name != folder.name:
        raise ConfigurationError(
            f"{folder / 'graph.py'} names its workflow {flow.name!r}: name it {folder.name!r}, like its "
            "folder, so that `stateward resume` finds it again"
        )
    return Loaded(
        name=folder.name,
        folder=folder,
        given=given,
        flow=cast("Workflow", flow),
        cli=_command_line(module, folder, flow),
    )


def workflow_names() -> list[str]:
    """The workflows that can be run by name."""
    found = (graph.parent.name for place in _places() for graph in _graphs_in(place))
    return sorted({name for name in found if name.isidentifier()})


def _folder(given: str) -> Path:
    path = Path(given).expanduser().resolve()
    if not given.isidentifier() and (
        path.name != given or path.exists()
    ):  # else it is no path: an agent's name, mostly
        return _checked(path.parent if path.name == "graph.py" else path, given)
    for place in _places():
        if (place / given / "graph.py").is_file():
            return _checked((place / given).resolve(), given)
    known = workflow_names()
    from stateward.model.policy import nearest

    listed = f"; there are: {', '.join(known)}" if known else ""
    raise ConfigurationError(
        f"there is no workflow {given!r}{nearest(given, known)}{listed}. "
        "Give a name below ./graphs, or the path of a folder with a graph.py (--workflow, where a thread is named). "
        "What belongs to an agent is edited and resumed in the program that built it"
    )


def _checked(folder: Path, given: str) -> Path:
    if not (folder / "graph.py").is_file():
        raise ConfigurationError(f"{given}: there is no graph.py in {folder}")
    if not folder.name.isidentifier():
        raise ConfigurationError(
            f"{given}: a workflow's folder is a Python package; name it with letters, digits and _"
        )
    return folder


def _places() -> Iterator[Path]:
    yield Path.cwd() / "graphs"
    yield Path.cwd()
    yield from (Path(entry) for entry in sys.path if entry)
    yield Path(stateward.__file__).parent / "graphs"


def _graphs_in(place: Path) -> Iterator[Path]:
    # An entry of sys.path may be a zip file, or nothing.
    return place.glob("*/graph.py") if place.is_dir() and place.name == "graphs" else iter(())


def _imported(folder: Path) -> object:
    parent = str(folder.parent)
    if parent not in sys.path:
        sys.path.insert(0, parent)
    try:
        module = importlib.import_module(f"{folder.name}.graph")
    except StatewardError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{folder / 'graph.py'} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    _refuse_other(module.__file__, folder)
    return module


def _refuse_other(file: str | None, folder: Path) -> None:
    # Python imports whatever package of that name it finds first.
    if file is None or Path(file).resolve().parent != folder.resolve():
        raise ConfigurationError(
            f"another package named {folder.name!r} is imported instead of {folder} (from {file}): rename the folder"
        )


def _command_line(module: object, folder: Path, flow: Any) -> CommandLine:
    found = getattr(module, "cli", None)
    if found is None:
        return PlainCommandLine(flow)
    missing = [name for name in ("options", "prepare", "demo", "describe") if not hasattr(found, name)]
    if missing:
        raise ConfigurationError(f"{folder / 'graph.py'}: `cli` has no {', '.join(missing)}")
    return cast("CommandLine", found)
