"""Every error that Stateward raises, in one tree. A refusal is a value; an exception is a failure.

StatewardError                      SW000
├── ConfigurationError              SW100  a setting, a file or an extra is missing or wrong
│   ├── PolicyError                 SW110  the policy file does not hold; names file, line and column
│   ├── MissingExtra                SW120  an optional package is not installed
│   ├── CredentialError             SW140  a credential could not be minted, so the call did not happen
│   └── EmbeddedServerError         SW130  the embedded Postgres cannot run here
│       └── EmbeddedServerInUse     SW131  another process still uses it
├── DatabaseError                   SW200  the schema or the connection is not as expected
├── ThreadError                     SW300  a thread cannot go on like this
│   ├── UnknownThread               SW310  nobody opened this thread
│   ├── ThreadMismatch              SW320  it belongs to another principal, purpose, subject or graph
│   ├── NotDurable                  SW330  the state that an action follows from is not in the database
│   ├── ThreadBusy                  SW340  another run has moved the thread on
│   ├── ThreadErased                SW350  the thread was deleted, and stays deleted
│   └── ThreadAbandoned             SW360  the thread was abandoned, and nothing acts on it any more
├── ApprovalError                   SW400
│   ├── UnknownApproval             SW410  there is no such approval
│   └── DecisionRefused             SW420  this person may not decide this, or not like this
├── MemoryRefused                   SW500  memory without subject, purpose, kind, or with data that must not be kept
│   ├── RedactionFailed             SW510  personal data could not be looked for, so nothing was written
│   └── MemoryConflict              SW520  somebody else has changed the item meanwhile
├── ErasureRefused                  SW530  a subject is not erased: it is on legal hold, or not yours to erase
├── ActionRefused                   SW600  the gate refused an action of a plain Python step
├── ToolInputError                  SW700  a workflow was given bad input
├── SealError                       SW800  what is sealed cannot be sealed or opened
│   ├── SealBroken                  SW810  a stored value is not the one that was sealed for its place
│   └── KeyringError                SW820  the master key is missing, wrong, or cannot be reached
└── RequestError                    SW900  a request to the HTTP API does not hold; says what, where, and what to do
    ├── NotAuthenticated            SW910  nobody has verified who asks
    └── NotFound                    SW920  it is not there, or not for whoever asks
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class StatewardError(Exception):
    """Base of all errors. `code` is stable across versions; the message says what to do."""

    code: ClassVar[str] = "SW000"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"


class ConfigurationError(StatewardError):
    """A setting, a file or an installed package is missing or wrong."""

    code = "SW100"


class PolicyError(ConfigurationError):
    """The policy does not hold.

    Attributes:
        file: The policy file as given, or `<policy>` for text.
        line: 1-based line of the offending key or value, 0 where it is unknown.
        column: 1-based column, 0 where it is unknown.
    """

    code = "SW110"

    def __init__(self, message: str, *, file: str = "<policy>", line: int = 0, column: int = 0) -> None:
        self.file, self.line, self.column = file, line, column
        place = ":".join(str(part) for part in (file, line, column) if part)
        super().__init__(f"{place}: {message}")


class MissingExtra(ConfigurationError):
    """An optional package is not installed; the message has the line that installs it."""

    code = "SW120"

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'stateward[{extra}]'")


class CredentialError(ConfigurationError):
    """A credential could not be minted; the call that needs it did not happen."""

    code = "SW140"


class EmbeddedServerError(ConfigurationError):
    """The embedded Postgres cannot be started or stopped here."""

    code = "SW130"


class EmbeddedServerInUse(EmbeddedServerError):
    """Another process still uses the embedded Postgres."""

    code = "SW131"


class DatabaseError(StatewardError):
    """The schema or the connection is not as this version expects."""

    code = "SW200"


class ThreadError(StatewardError):
    """A thread cannot go on like this."""

    code = "SW300"


class UnknownThread(ThreadError):
    """Nobody opened this thread."""

    code = "SW310"

    def __init__(self, thread: str) -> None:
        super().__init__(
            f"thread {thread!r} is not known: `stateward threads` lists those that are, runtime.thread(...) opens one"
        )


class ThreadMismatch(ThreadError):
    """The thread was started for another principal, tenant, purpose, subject or graph (promise P12)."""

    code = "SW320"

    def __init__(self, thread: str, *, field: str, is_: str, asked: str) -> None:
        super().__init__(
            f"thread {thread!r} was started with {field} {is_!r}, this run says {asked!r}: start a new thread for it"
        )


class NotDurable(ThreadError):
    """The checkpoint that an action follows from is not in the database, so the action must not happen."""

    code = "SW330"


class ThreadBusy(ThreadError):
    """Another run has moved the thread on, so this one may neither commit nor act (promise P11)."""

    code = "SW340"

    def __init__(self, thread: str) -> None:
        super().__init__(
            f"thread {thread!r} was moved on by another run: nothing of this run was kept or done since. Look at the "
            "thread's state and start again from there"
        )


class ThreadErased(ThreadError):
    """The thread was deleted; what was deleted does not come back."""

    code = "SW350"

    def __init__(self, thread: str) -> None:
        super().__init__(
            f"thread {thread!r} was deleted, by itself, with its subject, or as its time was over: start a new thread "
            "under another id"
        )


class ThreadAbandoned(ThreadError):
    """Somebody ended the thread for good; nothing acts on it any more, except to take back what was done."""

    code = "SW360"

    def __init__(self, thread: str) -> None:
        super().__init__(f"thread {thread!r} was abandoned: start a new thread for the work")


class ApprovalError(StatewardError):
    """An approval cannot be found or decided."""

    code = "SW400"


class UnknownApproval(ApprovalError):
    """There is no such approval."""

    code = "SW410"

    def __init__(self, approval: str) -> None:
        super().__init__(f"approval {approval!r} is not known: `stateward inbox` lists those that wait")


class DecisionRefused(ApprovalError):
    """This person may not decide this, or not like this; nothing was decided.

    It is raised, not returned, because a caller who overlooks a returned refusal would believe that it was approved.
    """

    code = "SW420"


class MemoryRefused(StatewardError):
    """A memory item without subject, purpose, kind or expiry, or with data that the policy refuses."""

    code = "SW500"


class RedactionFailed(MemoryRefused):
    """Personal data could not be looked for (error or time-out), so nothing was written."""

    code = "SW510"


class MemoryConflict(MemoryRefused):
    """The item has not the version that the change was made for: read it again, and change what it says now."""

    code = "SW520"


class ErasureRefused(StatewardError):
    """A subject is not erased, or not put on hold; the message says why, and nothing was changed."""

    code = "SW530"


class ActionRefused(StatewardError):
    """The gate, or the person who was asked, refused an action of a plain Python step."""

    code = "SW600"


class ToolInputError(StatewardError):
    """A workflow was given bad input; the message says file, line, value and what is expected."""

    code = "SW700"


class SealError(StatewardError):
    """What is sealed cannot be sealed or opened."""

    code = "SW800"


class SealBroken(SealError):
    """A stored value is not the one that was sealed for its place: plaintext, forged, moved, cut or of a lost key.

    Attributes:
        place: Where the value stands: table, thread and so on.
    """

    code = "SW810"

    def __init__(self, place: tuple[str, ...], why: str) -> None:
        self.place = place
        super().__init__(
            f"refused a value of {' / '.join(place)}: {why}. Somebody has changed the database beside Stateward, or "
            "the wrong backup or key was restored; nothing was read from it"
        )


class KeyringError(SealError):
    """The master key is missing, wrong, or cannot be reached; the message says where it was looked for."""

    code = "SW820"


class RequestError(StatewardError):
    """A request to the HTTP API does not hold.

    Attributes:
        status: The HTTP status of the answer.
        problems: Where, as a JSON pointer or a parameter's name, and what is wrong there.
    """

    code = "SW900"

    def __init__(self, message: str, *, status: int = 422, problems: Sequence[tuple[str, str]] = ()) -> None:
        self.status, self.problems = status, tuple(problems)
        super().__init__(message)


class NotAuthenticated(RequestError):
    """Nobody has verified who asks. Every bad token gets the same message, so that it tells an attacker nothing."""

    code = "SW910"

    def __init__(self, message: str = "a valid token is needed: send `Authorization: Bearer ...`") -> None:
        super().__init__(message, status=401)


class NotFound(RequestError):
    """It is not there, or not for whoever asks: the two look the same."""

    code = "SW920"

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no such {what}, or it is not for you", status=404)
