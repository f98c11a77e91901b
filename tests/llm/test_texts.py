"""What is said reaches the files of captured rows only as it was asked for, and hides secrets."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gateway.afterwards import Afterwards
from gateway.capture.frames import decode
from gateway.capture.ring import Ring, words_for
from gateway.capture.table import table
from gateway.config import parse
from gateway.control.capture_wishes import language_wish
from gateway.llm.features import SIGNATURE
from gateway.monitor.capture import CaptureWriter, Choice
from gateway.monitor.slot import Slot
from tests.llm.journey_rig import GZIPPED, chat, chunk, rig, whole

pytestmark = pytest.mark.anyio

ONE = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models: {m: {upstreams: [{provider: one, model: gpt-4o-mini}]}}
"""
SECRETS = ("canary@example.com", "sk-canary-1f2e3d4c5b6a7988", "4111 1111 1111 1111")
QUESTION = chat(messages=[{"role": "user", "content": "I am " + " or ".join(SECRETS)}])


def document(logged: str, more: str = "") -> str:
    return ONE + f"  log_content: {logged}\n" + more


class Kept:
    """A model whose rows are captured as a document says."""

    def __init__(self, logged: str, more: str = "", size: int = 1 << 18):
        config = parse(document(logged, more))
        wish = language_wish("m", 1, config)
        assert wish is not None
        self.schema = wish.schema
        self.words = np.zeros(words_for(size), np.int64)
        self.pool = ThreadPoolExecutor(1)
        slot = Slot(self.words, self.pool)
        writer = CaptureWriter(self.schema, SIGNATURE, None, Choice(True), slot, 1)
        self.made = rig(document(logged, more))
        (deployment,) = self.made.llm.deployments
        deployment.watch(Afterwards(capture=writer))

    def rows(self) -> list[dict[str, Any]]:
        self.made.llm.flush()
        datatypes = [part.datatype for part in self.schema.parts]
        frames = [decode(frame, datatypes) for frame in Ring(self.words).read().frames]
        found = table(
            self.schema,
            [("host-1", one) for one in frames],
            lambda text: hashlib.sha256(text.encode()).digest()[:16],
        )
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows


@pytest.mark.parametrize("text", [ONE, document("off")], ids=["unsaid", "off"])
def test_nothing_is_kept_where_nobody_says_so(text):
    assert language_wish("m", 1, parse(text)) is None


def test_features_alone_are_kept_where_rows_are_captured_and_texts_are_not_logged():
    config = parse(ONE + "models: {m: {capture: {mode: full}}}")
    wish = language_wish("m", 1, config)
    assert wish is not None
    assert not wish.schema.texts
    assert wish.schema.parts[0].columns == ("prompt_chars",)


def test_a_model_that_is_to_be_left_out_is():
    config = parse(document("full", "models: {m: {capture: {mode: off}}}"))
    assert language_wish("m", 1, config) is None
    assert (config.captured, parse(document("full")).captured) == ([], ["m"])


async def test_prompts_and_answers_are_kept_as_they_are_where_that_is_asked_for():
    kept = Kept("full")
    kept.made.ask(QUESTION)
    kept.made.last.answers(whole("hello canary@example.com"))
    (row,) = kept.rows()
    assert json.loads(row["prompt"]) == {"messages": QUESTION["messages"]}
    assert json.loads(row["answer"]) == [{"text": "hello canary@example.com"}]
    assert row["prompt_chars"] == len(QUESTION["messages"][0]["content"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_no_secret_reaches_a_file_where_texts_are_redacted(stream):
    kept = Kept("redacted")
    # As a model writes them: in pieces, each of which says nothing.
    said = "you are " + " or ".join(SECRETS)
    kept.made.ask({**QUESTION, "stream": stream}, headers=[])
    if stream:
        pieces = [chunk({"content": said[at : at + 3]}) for at in range(0, len(said), 3)]
        kept.made.last.streams(*pieces, chunk({}, "stop"), b"[DONE]")
    else:
        kept.made.last.answers(whole(said))
    (row,) = kept.rows()
    assert json.loads(row["answer"]) == [{"text": "you are [email] or [key] or [card]"}]
    assert "I am [email] or [key] or [card]" in row["prompt"]
    assert not [one for one in SECRETS if one in json.dumps(row, default=str)]


async def test_calls_of_tools_are_a_part_of_the_answer():
    kept = Kept("redacted")
    kept.made.ask(QUESTION)
    function = {"name": "mail", "arguments": '{"to": "canary\\u0040example.com"}'}
    call = {"id": "c", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    kept.made.last.answers(whole(choices=[choice]))
    (row,) = kept.rows()
    assert json.loads(row["answer"]) == [{"tool": "mail", "arguments": '{"to":"[email]"}'}]


async def test_a_compressed_request_is_kept_as_what_it_says():
    kept = Kept("full")
    kept.made.ask(QUESTION, headers=[GZIPPED])
    await kept.made.sent(1)
    kept.made.last.answers()
    (row,) = kept.rows()
    assert json.loads(row["prompt"]) == {"messages": QUESTION["messages"]}


async def test_a_text_may_be_left_out():
    kept = Kept("full", "models: {m: {capture: {mask: [prompt]}}}")
    kept.made.ask(QUESTION)
    kept.made.last.answers()
    assert not [one for one in SECRETS if one.encode() in kept.words.tobytes()]
    (row,) = kept.rows()
    assert row["prompt"] is None
    assert json.loads(row["answer"]) == [{"text": "hello"}]


async def test_a_streamed_answer_is_as_large_as_its_texts_and_calls():
    kept = Kept("full")
    kept.made.ask({**QUESTION, "stream": True})
    call = {"index": 0, "function": {"name": "mail", "arguments": "{" + " " * 5000 + "}"}}
    pieces = [chunk({"content": "hi"}), chunk({"tool_calls": [call]}), chunk({}, "tool_calls")]
    kept.made.last.streams(*pieces, b"[DONE]")
    (happened,) = kept.made.over
    assert happened.relay is not None
    assert happened.relay.size == len("hi") + len("mail") + 5002


class Broken(Afterwards):
    def take(self, *_: Any) -> None:
        raise RuntimeError("watching is in a state nobody foresaw")


async def test_answers_that_cannot_be_watched_are_dropped_and_told_to_the_log_alone(caplog):
    kept = Kept("full")
    (deployment,) = kept.made.llm.deployments
    well = deployment.afterwards
    deployment.watch(Broken())
    kept.made.ask(QUESTION)
    kept.made.last.answers(whole("dropped"))
    kept.made.llm.flush()
    assert "model 'm', version 1: some answers were not watched" in caplog.text
    deployment.watch(well)
    kept.made.ask(QUESTION)
    kept.made.last.answers(whole("kept"))
    (row,) = kept.rows()
    assert json.loads(row["answer"]) == [{"text": "kept"}]


async def test_texts_that_find_no_room_are_dropped_and_counted_and_their_request_is_answered():
    kept = Kept("full", size=1 << 12)
    clients = [kept.made.ask(chat(messages=[{"role": "user", "content": "a" * 9000}]))]
    kept.made.last.answers()
    clients.append(kept.made.ask(chat()))
    kept.made.llm.flush()
    kept.made.last.answers()
    assert [client.answers[0][0] for client in clients] == [200, 200]
    assert [row["prompt_chars"] for row in kept.rows()] == [2]
    assert kept.words[2] == 1  # ring.DROPPED
