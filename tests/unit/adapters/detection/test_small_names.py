"""Names in small letters are found beside a cue, and words, tools and firms in small letters stay."""

from __future__ import annotations

import pytest

from stateward.adapters.detection.small_names import small_names


def named(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in small_names(text)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("hi its zainab again, still no parcel", ["zainab"]),
        ("sry. name on it is qorvan schneider", ["qorvan schneider"]),
        ("tell pedro from dispatch the driver is stefan blyxtra not ivo", ["pedro", "stefan blyxtra", "ivo"]),
        ("Transcript: hi this is uh brandon schneider from the dock", ["brandon schneider"]),
        ("not 53, ty, monica", ["monica"]),
        ("hello i am soraya hosseini i ordered a lamp", ["soraya hosseini"]),
        ("tell mrs qorvana sorry", ["qorvana"]),
        ("whats the ext for dr. qorvani in customs? also bjorn says hi", ["qorvani", "bjorn"]),
        ("passport of katerina and stefan for the carnet", ["katerina", "stefan"]),
        ("hey qorvani, all done", ["qorvani"]),
        ("yo big tony says ok", ["big tony"]),
        ("same name as always i. qorveria", ["i. qorveria"]),
        ("monica: did it arrive yet?\nagent: yes it did\npedro: great, thank you", ["monica", "pedro"]),
        ("Suggested-by: ole <ole.b@example.org>", ["ole"]),
        ("ship it to my sister pls: latoya qorvidge, 19 pine st", ["latoya qorvidge"]),
    ],
)
def test_small_names_are_found(text: str, names: list[str]) -> None:
    assert named(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "restart iris, hermes is fine, and ask jenkins again",
        "the harper line sells better than the mason line",
        "buy 3 stella chairs and 2 vera lamps, for logan airport use gate 4",
        "is sage down again or is it just jira? will it be back, may i ask",
        "hey people, hi everybody, thx again, hi there!",
        "hi team, hello support, thx all, hey folks",
        "i am in the office, im sorry, its broken again, this is urgent please",
        "my name is on the list already, name is missing on the label",
        "did goldman sachs or morgan stanley run the placement?",
        "def charlotte_offset(rows): return anna.x + [pedro] # monica(1)",
        "dr pepper is sold out, ms office needs a patch, miss the old ui, mr approved",
        "e. coli found in sample b. second test is clean, see p. seven",
        '{"ean": 4006381333931, "monica": 1}, model,colour,ean,qty',
        "we ship to paris via lyon, or from florence? the victoria line is closed",
        "The report for monica was filed, and Pedro or monica is next",
        "data/pedro/monica.txt pedro@example.com monica=1 #pedro",
    ],
)
def test_words_tools_and_firms_are_left_alone(text: str) -> None:
    assert named(text) == []


@pytest.mark.parametrize("piece", ["monica ", "i. ", "mrs ", "a-b", "my name is ", "monica: a b\n", "hi, "])
def test_text_made_to_be_slow_is_answered(piece: str) -> None:
    small_names((piece * 20_000)[:20_000])
