"""The tool boundary: a call's pseudonyms are checked before it is judged, and their values are there while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stateward.model.memory import Scope
from stateward.model.pseudonym import Pseudonym, token
from stateward.model.values import Json, JsonObject
from stateward.personal_data.pseudonyms import Key, Tokens, hidden
from stateward.ports import Vault


@dataclass(frozen=True, kw_only=True, slots=True)
class Reveal:
    """The values of one call: put back into the fields that the policy names, and taken out of what comes of it.

    Attributes:
        fields: Top-level arguments.
        known: What the pseudonyms in these fields stand for.
    """

    fields: frozenset[str]
    tokens: Tokens
    known: Mapping[Key, Pseudonym]

    def real(self, arguments: JsonObject) -> dict[str, Json]:
        """The arguments as they run."""
        put_back, fields = self.tokens.put_back, self.fields
        return {name: put_back(value, self.known) if name in fields else value for name, value in arguments.items()}

    def kept(self, arguments: JsonObject, run: JsonObject) -> dict[str, Json]:
        """The arguments as the tool's schema reads them, `run`, with the pseudonyms of `arguments` in them again."""
        return {name: arguments[name] if self._holds(arguments, name) else value for name, value in run.items()}

    def hide(self, value: Json) -> Json:
        """A result with pseudonyms in the place of the call's values, however they are quoted."""
        return hidden(value, self.known.values())

    def told(self, problem: Callable[[JsonObject], str | None], arguments: JsonObject) -> str | None:
        """What is wrong with the arguments as they run, without a value in it."""
        wrong = problem(self.real(arguments))
        if wrong is None or wrong == problem(arguments):
            return wrong
        names = ", ".join(sorted(name for name in self.fields if self._holds(arguments, name)))
        return f"what the pseudonyms in {names} stand for does not fit the tool's schema"

    def _holds(self, arguments: JsonObject, name: str) -> bool:
        return name in self.fields and bool(self.tokens.found(arguments.get(name)))


@dataclass(kw_only=True, slots=True)
class Boundary:
    """What the pseudonyms in the calls of one turn stand for, as far as they were met.

    Attributes:
        tokens: Reads them; by default nothing is one.
        known: Those that the subject's vault has issued.
    """

    tokens: Tokens = field(default_factory=lambda: Tokens(entities=frozenset()))
    known: dict[Key, Pseudonym] = field(default_factory=dict[Key, Pseudonym])

    async def meet(self, vault: Vault, scope: Scope, calls: Iterable[JsonObject]) -> None:
        """Look up the pseudonyms in the arguments of calls.

        Raises:
            SealBroken: a row of the vault is not what was sealed for its place.
        """
        if self.tokens.entities:
            found = {key for arguments in calls for key in self.tokens.found(arguments)}
            self.known |= await vault.reveal(scope, found - self.known.keys())

    def refusal(self, arguments: JsonObject) -> str:
        """Why a call with these arguments is denied, if so: it holds pseudonyms that nobody has issued."""
        made_up = sorted(self.tokens.found(arguments) - self.known.keys())
        if not made_up:
            return ""
        named = ", ".join(token(*key) for key in made_up[:5])
        return f"{named} stands for nothing here: use a pseudonym exactly as it was given, or none"

    def of(self, fields: Sequence[str], arguments: JsonObject) -> Reveal | None:
        """What is put back in a call; None where the policy, or the call, has nothing of it."""
        if not fields or not self.tokens.entities:
            return None
        found = self.tokens.found({name: arguments[name] for name in fields if name in arguments})
        known = {key: self.known[key] for key in found if key in self.known}
        return Reveal(fields=frozenset(fields), tokens=self.tokens, known=known) if known else None
