"""P8 and P9, measured on `create_agent`: 120 values of 20 types go through runs whose model is given pseudonyms.

They are searched for as in `test_p08_canaries`, and in all that the model was given. They are kept with the keys of
threads, and in the vault with those of subjects, which is attacked by itself as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from canary_worker import AGENTS, AGENTS_DEADLY
from test_p08_canaries import DPO, Planted, assert_forgotten, columns, envelopes, keys_of, opened, ran, search
from test_p09_forgetting import dumped

from stateward import Runtime
from stateward.testing.databases import Databases

pytestmark = pytest.mark.slow
NUMBERS = ("argument", "nested", "approved", "edited_away", "edit")  # where a canary's digits stand as a number as well


@pytest.fixture(scope="module")
def done(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("agents")
    with ran(databases, folder, way="agent", kills=len(AGENTS_DEADLY), count=AGENTS) as found:
        yield found


def test_none_is_in_clear(done: Planted) -> None:
    assert len(set(done.values)) == 120
    assert done.deaths == len(AGENTS_DEADLY)
    said = {"(printed or logged)": done.printed, "(spans)": done.spans}
    found = search(columns(dumped(done.url)) | said, done.values)
    assert found == {}, f"seed {done.seed}"
    assert done.spans.count("execute_tool") > 2 * AGENTS


def test_the_model_is_given_none_and_the_tool_that_sends_has_the_value(done: Planted) -> None:
    folder: Path = done.settings.home.parent
    heard = (folder / "heard.log").read_text(encoding="utf-8")
    # What it says itself as a number, under a name that does not tell what it is, comes back to it.
    texts = [one.value for run in done.runs for place, one in run.items() if place not in NUMBERS or not one.number]
    assert len(texts) > 100
    assert search({"heard": heard}, texts) == {}, f"seed {done.seed}"
    assert heard.count("_1>") > 100
    # One of them was killed with the value in its hands, and did it again.
    assert (folder / "revealed").read_text() == "True\n" * (AGENTS + 1)


def test_what_people_wrote_is_in_no_checkpoint_that_is_left(done: Planted) -> None:
    """Killed while the model was asked for the first time, or later: the policy keeps the last one of each thread."""
    dump = dumped(done.url)
    tables = [
        dump[at : dump.index("\n\\.\n", at)]
        for name in ("checkpoint", "checkpoint_value", "checkpoint_write")
        for at in [dump.index(f"COPY stateward.{name} ")]
    ]
    with Runtime.open(settings=done.settings) as runtime:
        left = opened(envelopes("\n".join(tables)), keys_of(runtime))
        asked = [run[place].value for run in done.runs for place in ("prompt", "prompt_json")]
        found = search({"left": left}, asked)
        # The answer has it, for its reader.
        answered = {run["prompt"].value for run in done.runs}
        assert found["left"] <= answered, f"seed {done.seed}"
        assert len(found["left"]) > 3, "the answers are opened"


def test_all_have_gone_through_and_are_there_for_whoever_may_read_them(done: Planted) -> None:
    with Runtime.open(settings=done.settings) as runtime:
        for at, run in enumerate(done.runs):
            known = json.dumps(runtime.export_subject(f"customer:{at}", by=DPO), ensure_ascii=False)
            lost = {place: one for place, one in run.items() if one.value not in known}
            assert lost == {}, f"seed {done.seed}"
            assert f"As I wrote to {run['prompt'].value}." in known


def test_with_the_master_key_nothing_is_recovered_after_they_are_forgotten(done: Planted) -> None:
    before = dumped(done.url)
    copied, vault = envelopes(before), envelopes(columns(before)["pseudonym.body"])
    with Runtime.open(settings=done.settings) as runtime:
        keys = keys_of(runtime)
        found = search({"all": opened(copied, keys), "vault": opened(vault, keys)}, done.values)
        assert len(found["all"]) > 100  # the attack works as long as there are keys
        assert len(found["vault"]) > 80
        assert_forgotten(runtime, done, copied)
