"""Who sits at the terminal, and what they say to a question; `--approve-as` plays them without a terminal."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape

from stateward.blocking import Runtime
from stateward.cli.options import typed
from stateward.cli.render import approval_panel
from stateward.cli.workflows import Loaded
from stateward.errors import DecisionRefused
from stateward.model.approval import Approval, Decision, DecisionKind
from stateward.model.policy import PolicyDocument
from stateward.model.principal import Principal
from stateward.model.values import Json

_LATER = "later"
_NEEDS_TEXT = {"reject": "why", "respond": "the answer"}


def os_user() -> str:
    """The user of this process, as the operating system has it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"uid-{os.getuid()}"


def person(name: str, document: PolicyDocument | None = None, roles: Sequence[str] = ()) -> Principal:
    """A person as the command line knows them: the name that was given, vouched for by the system's user.

    Args:
        name: Whom `--as` or `--approve-as` names.
        document: The policy, which says what roles its people have.
        roles: More of them, as `--role` says.

    Raises:
        DecisionRefused: the policy calls it an agent, a service or a credential.
    """
    identity = document.identities.get(name) if document else None
    if identity is not None and identity.kind != "person":
        raise DecisionRefused(f"{name!r} is of the kind {identity.kind} in the policy; only a person decides")
    given = [identity.role] if identity is not None and identity.kind == "person" and identity.role else []
    return Principal(name, roles=[*given, *roles], verified_by=f"cli:{os_user()}")


def suggested(approval: Approval, document: PolicyDocument) -> str:
    """Somebody who could decide next, by the policy's own names and roles; empty where it names nobody."""
    by = [name for need in approval.open_requirements for name in need.by]
    people = [(name, one) for name, one in document.identities.items() if one.kind == "person"]
    found = [name for name, one in people if name in by or one.role in by]
    return next((name for name in found if name != approval.requester), "")


@dataclass
class Approvers:
    """Takes decisions for the questions of a run.

    Attributes:
        name: Who decides; asked for where it is None.
        interactive: Whether somebody is there to be asked. Otherwise `name` approves whatever they may.
    """

    console: Console
    runtime: Runtime
    loaded: Loaded
    name: str | None
    interactive: bool
    _shown: set[str] = field(default_factory=set[str])

    def show(self, approval: Approval) -> None:
        """Exactly what is asked and why, once."""
        if approval.id not in self._shown:
            self._shown.add(approval.id)
            self.console.print()
            self.console.print(approval_panel(approval), highlight=False)

    def decide(self, approval: Approval) -> bool:
        """Show a question and take a decision; False where it stays open."""
        self.show(approval)
        if self.interactive:
            return self._ask(approval)
        return self.name is not None and self._play(approval, self.name)

    def _play(self, approval: Approval, name: str) -> bool:
        if "approve" not in approval.allowed or approval.confirmation is not None:
            self.console.print(f"  [yellow]{escape(name)} cannot answer this without knowing more[/]")
            return False
        return self._take(approval, Decision(kind="approve"), name) is not None

    def _ask(self, approval: Approval) -> bool:
        while True:
            choice = self._choice([*approval.allowed, _LATER])
            if choice == _LATER:
                return False
            decision = self._decision(approval, choice)
            if decision is None:
                continue
            name = self.name or self._name(approval)
            if self._take(approval, decision, name) is not None:
                self.name = name
                return True
            self.name = None

    def _take(self, approval: Approval, decision: Decision, name: str) -> Approval | None:
        try:
            who = person(name, self.loaded.flow.document)
            taken = self.runtime.decide(
                approval,
                decision.kind,
                by=who,
                reason=decision.reason,
                arguments=decision.arguments,
                confirmation=decision.confirmation,
            )
        except DecisionRefused as error:
            self.console.print(f"  [red]refused:[/] {escape(error.message)}", highlight=False)
            return None
        more = ", and more people have to approve" if taken.status == "pending" else ""
        word = "signed" if more else taken.status
        self.console.print(f"  [green]{word}[/] by {escape(name)}{more}", highlight=False)
        return taken

    def _choice(self, choices: Sequence[str]) -> str:
        shown = ", ".join(choices[:-1]) + f" or {choices[-1]}"
        while True:
            said = self._input(f"  {shown}? ").lower()
            near = [choice for choice in choices if said and choice.startswith(said)]
            if len(near) == 1:
                return near[0]
            self.console.print(f"  [dim]write one of: {', '.join(choices)}[/]", highlight=False)

    def _decision(self, approval: Approval, choice: str) -> Decision | None:
        kind: DecisionKind = next(one for one in approval.allowed if one == choice)
        if kind == "edit":
            arguments = self._edited(approval)
            return Decision(kind=kind, arguments=arguments) if arguments else None
        if kind == "approve" and approval.confirmation is not None:
            typed = self._input(f"  type exactly {escape(approval.confirmation)}: ")
            return Decision(kind=kind, confirmation=typed) if typed else None
        if kind not in _NEEDS_TEXT:
            return Decision(kind=kind)
        reason = self._input(f"  {_NEEDS_TEXT[kind]}: ")
        return Decision(kind=kind, reason=reason) if reason else None

    def _edited(self, approval: Approval) -> dict[str, Json] | None:
        self.console.print("  [dim]new values; Enter keeps the one that is shown[/]", highlight=False)
        changed = dict(approval.arguments)
        for name, value in approval.arguments.items():
            text = self._input(f"    {name} \\[{escape(str(value))}]: ")
            if text:
                changed[name] = typed(text, value)
        if changed == approval.arguments:
            self.console.print("  [dim]nothing was changed[/]", highlight=False)
            return None
        return changed

    def _name(self, approval: Approval) -> str:
        near = suggested(approval, self.loaded.flow.document)
        hint = f" \\[{escape(near)}]" if near else ""
        name = ""
        while not name:
            name = self._input(f"  decide as{hint}: ") or near
        return name

    def _input(self, prompt: str) -> str:
        try:
            return self.console.input(prompt).strip()
        except EOFError:
            raise KeyboardInterrupt from None  # the terminal was closed: the same as leaving
