"""P8: the secret of a credential is in no dump, ledger, checkpoint, log, error or trace, whatever a tool does."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import re
import subprocess
from typing import Any
from urllib.parse import quote

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException

from bank import POLICY, Bank, Started, texts
from stateward import Effect, call, tool
from stateward.model.effect import Credential
from stateward.testing import proposes

SECRET = 'hunter2 "quoted" & sealed'
FORMS = (SECRET, quote(SECRET), quote(SECRET, safe=""), SECRET.replace('"', '\\"'))
WITH_SECRET = POLICY.replace(
    "writer: {kind: credential, role: bank_writer}",
    "writer: {kind: credential, role: bank_writer}\n  key: {kind: credential, env: BANK_KEY}",
).replace("pay:\n    effect: write", "pay:\n    effect: write\n    identity: key")


class Tracer(BaseCallbackHandler):
    """Sees what LangSmith and others see."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(f"{args!r} {kwargs!r}")

    def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(f"{args!r} {kwargs!r}")

    def on_tool_error(self, error: BaseException, *args: Any, **kwargs: Any) -> None:
        one: BaseException | None = error
        while one is not None:
            self.seen.append(f"{one!r} {one} {getattr(one, '__notes__', '')}")
            one = one.__cause__ or one.__context__

    def on_chain_error(self, error: BaseException, *args: Any, **kwargs: Any) -> None:
        self.on_tool_error(error)

    def on_chain_end(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(f"{args!r} {kwargs!r}")


class Odd(Exception):
    """An error whose text does not come from its arguments."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def __str__(self) -> str:
        return self.text


def raises(effect: Effect) -> None:
    error = ValueError(f"POST https://bank.example.com/?key={quote(secret_of(effect))} failed")
    error.add_note(f"with {secret_of(effect)}")
    raise error


def raises_another(effect: Effect) -> None:
    try:
        raises(effect)
    except ValueError as error:
        raise ToolException(f"refused {secret_of(effect)!r}") from error


def raises_oddly(effect: Effect) -> None:
    raise Odd(f"key {secret_of(effect)}")


def returns(effect: Effect) -> Any:
    return {"debug": [f"key {secret_of(effect)}"], secret_of(effect): 1}


def prints(effect: Effect) -> Any:
    return f"{effect} {effect.credential!r} {[effect]}"


def secret_of(effect: Effect) -> str:
    assert effect.credential is not None
    return effect.credential.secret


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("does", [raises, raises_another, raises_oddly, returns, prints])
def test_the_secret_is_seen_nowhere(
    bank: Bank, does: Any, blocking: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BANK_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    used: list[str] = []

    @tool
    async def pay(amount: float, effect: Effect) -> Any:
        """Pay somebody."""
        used.append(secret_of(effect))
        return does(effect)

    def pay_blocking(amount: float, effect: Effect) -> Any:
        """Pay somebody."""
        used.append(secret_of(effect))
        return does(effect)

    pay_blocking.__name__ = "pay"
    chosen = tool(pay_blocking) if blocking else pay
    others = [one for one in bank.tools() if one.name != "pay"]
    said = [proposes(call("pay", amount=5)), AIMessage("done")]
    graph = bank.flow([*others, chosen], WITH_SECRET, said).compile(bank.runtime)
    config, tracer = bank.config(), Tracer()
    out = graph.invoke({"messages": [("user", "go")]}, {**config, "callbacks": [tracer]})
    run = Started(bank=bank, graph=graph, config=config, out=out)
    state = graph.get_state(config)
    everything = "\n".join(
        [dump(bank), *tracer.seen, caplog.text, str(texts(out)), str(state), str(bank.runtime.timeline(run.thread))]
    )
    assert used == [SECRET]
    assert tracer.seen
    for form in FORMS:
        assert form not in everything


def test_the_password_of_a_login_is_seen_nowhere(bank: Bank) -> None:
    passwords: list[str] = []

    @tool
    async def post(amount: float, effect: Effect) -> str:
        """Post to the books, and tell too much."""
        passwords.append(re.findall(r"password=(\S+)", secret_of(effect))[0])
        raise ToolException(f"could not connect with {secret_of(effect)}, password {passwords[0]}")

    others = [one for one in bank.tools() if one.name != "post"]
    said = [proposes(call("post", amount=5)), AIMessage("done")]
    graph = bank.flow([*others, post], POLICY, said).compile(bank.runtime)
    out = graph.invoke({"messages": [("user", "go")]}, bank.config())
    assert texts(out) == ["could not connect with [secret], password [secret]"]
    assert passwords[0] not in dump(bank)


def test_a_credential_can_be_kept_nowhere() -> None:
    credential = Credential(identity="key", secret=SECRET)
    for keep in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never stored"):
            keep(credential)


def dump(bank: Bank) -> str:
    """The whole database as `pg_dump` writes it; without that program, every row of every table of ours."""
    try:
        done = subprocess.run(["pg_dump", bank.url], capture_output=True, text=True, check=False, env=dict(os.environ))
        if done.returncode == 0:
            return done.stdout
    except FileNotFoundError:
        pass
    tables = bank.rows("select table_name as name from information_schema.tables where table_schema = 'stateward'")
    return "\n".join(str(bank.rows(f"select * from stateward.{table['name']}")) for table in tables)
