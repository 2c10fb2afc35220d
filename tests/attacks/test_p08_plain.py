"""P8 on plain LangGraph: what its own `EncryptedSerializer` leaves in clear, and which rows it takes."""

from __future__ import annotations

import os
from typing import Any, TypedDict

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from plain import on_postgres, thread


class _Sealer:
    """What LangGraph's `EncryptedSerializer` is given: as good a cipher as ours."""

    def __init__(self) -> None:
        self._cipher = AESGCM(bytes(32))

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(12)
        return "aes", nonce + self._cipher.encrypt(nonce, plaintext, None)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return self._cipher.decrypt(ciphertext[:12], ciphertext[12:], None)


def _plain_encrypted(url: str) -> Any:
    return on_postgres(url, serde=EncryptedSerializer(_Sealer()))


def test_plain_numbers_texts_and_metadata_stay_in_clear_falls(database_url: str) -> None:
    class State(TypedDict, total=False):
        iban: str
        notes: list[str]

    with _plain_encrypted(database_url) as plain:
        graph = StateGraph(State)
        graph.add_node("look", lambda state: {"notes": ["the secret of DE02"]})
        graph.add_edge(START, "look")
        graph.compile(checkpointer=plain.bank.saver).invoke(
            {"iban": "DE02120300000000202051"}, thread(mail="ann@x.org")
        )
        kept = str(plain.rows("select checkpoint, metadata from checkpoints"))
        assert "DE02120300000000202051" in kept
        assert "ann@x.org" in kept
        sealed = plain.rows("select blob from checkpoint_blobs where blob is not null")
        assert "the secret" not in str([bytes(row["blob"]) for row in sealed])  # lists go through the cipher


def test_plain_a_row_in_clear_and_a_moved_row_are_taken_falls(database_url: str) -> None:
    with _plain_encrypted(database_url) as plain:
        agent = plain.bank.agent()
        for name, text in (("rich", "I am rich"), ("poor", "I am poor")):
            agent.invoke({"messages": [("user", text)]}, thread(name))
        moved = """update checkpoint_blobs t set blob = s.blob from checkpoint_blobs s
                    where (s.thread_id, t.thread_id) = ('rich', 'poor') and s.channel = t.channel
                      and split_part(s.version, '.', 1) = split_part(t.version, '.', 1)"""
        plain.rows(moved)
        assert agent.get_state(thread("poor")).values["messages"][0].text == "I am rich"
        type_, blob = JsonPlusSerializer().dumps_typed([HumanMessage("I was written by hand")])
        forged = "update checkpoint_blobs set type = %s, blob = %s where channel = 'messages' and thread_id = 'poor'"
        plain.rows(forged, type_, blob)
        assert agent.get_state(thread("poor")).values["messages"][0].text == "I was written by hand"
