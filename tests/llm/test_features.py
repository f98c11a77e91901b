"""What is watched of answers of language models, and how it is handed on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from gateway.llm.counting import called as called_of
from gateway.llm.counting import counters as counters_of
from gateway.llm.features import ASKED, NAMED, SIGNATURE
from gateway.llm.watch import FEW_ROWS, FEW_S, MAX_ROWS
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.wire.llm.taking import MAX_KEPT_CHARS
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import chat, chunk, rig, whole
from tests.llm.scripted import eventually

pytestmark = pytest.mark.anyio

ONE = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models: {m: {upstreams: [{provider: one, model: gpt-4o-mini}]}}
"""
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@dataclass
class Watching:
    """Stands where batches go; has the features of each row by name."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    parts: Any = None
    capture: Any = None
    ledger: Any = None

    def take(self, batch, answered, texts=()):
        self.batches.append(batch.rows)
        self.tensors.append((*batch.inputs, *batch.outputs))
        self.sequences += [rider.exchange.sequence for rider in answered]
        self.rows += named(batch)

    def count(self, batch):
        self.counted += named(batch)

    def close(self):
        pass


def named(batch):
    specs = (*SIGNATURE.inputs, *SIGNATURE.outputs)
    columns = [array[:, 0].tolist() for array in (*batch.inputs, *batch.outputs)]
    assert {len(column) for column in columns} == {batch.rows}
    names = [spec.name for spec in specs]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def counters(arena, name, version, settings):
    for one in called_of(name, version, settings):
        arena.allocate(layout.UPSTREAM, one.key)
    return counters_of(arena, 0, name, version, settings)


@pytest.fixture
async def watched():
    """A model, and where its rows go."""
    made = rig(ONE, counters=partial(counters, Arena.create(1)))
    (deployment,) = made.llm.deployments
    watching: Any = Watching()
    deployment.watch(watching)
    return made, deployment.afterwards


def said(made, into, body, *answers):
    """The features of one request."""
    made.ask(body)
    for answer in answers:
        made.last.answers(answer)
    made.llm.flush()
    return into.rows[-1]


async def said_at_length(made, into, body, answer):
    """The same of one whose answer is read on a thread."""
    before = len(made.over)
    made.ask(body)
    made.last.answers(answer)
    await eventually(lambda: len(made.over) > before)
    made.llm.flush()
    return into.rows[-1]


def choice(text="", finish="stop", **message):
    says = {"role": "assistant", "content": text, **message}
    return whole(choices=[{"index": 0, "message": says, "finish_reason": finish}])


def called(name, arguments):
    function = {"name": name, "arguments": arguments}
    return {"id": "c", "type": "function", "function": function}


async def test_of_an_answer_that_is_not_wholly_kept_nothing_is_told_that_needs_all_of_it(watched):
    made, into = watched
    made.llm.proxies[Dialect.CHAT].max_answer_bytes = 4 * MAX_KEPT_CHARS
    long = choice("I " * MAX_KEPT_CHARS, tool_calls=[called("weather", "{}")])
    body = chat(tools=[TOOL], response_format={"type": "json_object"})
    row = await said_at_length(made, into, body, long)
    assert (row["answer_chars"], row["tool_calls"], row["empty"]) == (2 * MAX_KEPT_CHARS, 1, 0)
    for name in ("repetition", "json_valid", "tools_known", "arguments_valid", "refused_in_words"):
        assert math.isnan(row[name]), name
    assert said(made, into, body, whole("{}"))["json_valid"] == 1


async def test_a_whole_answer_tells_its_sizes_its_cost_and_no_pace_between_pieces(watched):
    row = said(*watched, chat(max_tokens=50, tools=[TOOL]), whole("hello there"))
    assert [row[name] for name in ASKED] == [2, 1, 1, 50]
    assert (row["input_tokens"], row["output_tokens"], row["answer_chars"]) == (10, 5, 11)
    assert row["cost_usd"] == pytest.approx(4.5e-6)
    assert row["duration_s"] > 0
    for name in ("first_token_s", "inter_token_s", "longest_gap_s", "json_valid", "tools_known"):
        assert math.isnan(row[name]), name
    assert (row["refused"], row["empty"], row["tool_calls"]) == (0, 0, 0)
    assert (row["finish"], row["script"]) == (b"stop", b"latin")


async def test_a_stream_has_a_first_token_and_gaps(watched):
    made, into = watched
    made.ask(chat(stream=True))
    words = [chunk({"content": word}) for word in ("one ", "two ", "three")]
    made.last.streams(*words, chunk({}, "length"), b"[DONE]")
    made.llm.flush()
    (row,) = into.rows
    assert row["first_token_s"] > 0
    assert 0 < row["inter_token_s"] <= row["longest_gap_s"]
    assert (row["answer_chars"], row["finish"]) == (13, b"length")


@pytest.mark.parametrize(
    ("answer", "feature", "value"),
    [
        pytest.param(choice("{}"), "json_valid", 1, id="json"),
        pytest.param(choice("{"), "json_valid", 0, id="no-json"),
        pytest.param(choice("  \n"), "empty", 1, id="empty"),
        pytest.param(choice(None, "content_filter", refusal="no"), "refused", 1, id="refused"),
        pytest.param(choice("round we go. " * 30), "repetition", 0.9, id="a-loop"),
        pytest.param(choice("привет"), "script", b"cyrillic", id="script"),
        pytest.param(choice("x", "eos"), "finish", b"other", id="a-new-word"),
        pytest.param(choice("x", "end_turn"), "finish", b"stop", id="anothers-word"),
    ],
)
async def test_what_is_odd_about_an_answer_shows(watched, answer, feature, value):
    row = said(*watched, chat(response_format={"type": "json_object"}), answer)
    assert row[feature] >= value if feature == "repetition" else row[feature] == value


def choices(*texts):
    each = [{"role": "assistant", "content": text} for text in texts]
    return whole(
        choices=[
            {"index": n, "message": message, "finish_reason": "stop"}
            for n, message in enumerate(each)
        ]
    )


@pytest.mark.parametrize(
    ("texts", "feature", "value"),
    [
        pytest.param(['{"a": 1}', "[]"], "json_valid", 1, id="both-json"),
        pytest.param(['{"a": 1}', "{"], "json_valid", 0, id="one-json"),
        pytest.param(["the same words as ever before"] * 4, "repetition", math.nan, id="alike"),
        pytest.param(["short", "round we go. " * 30], "repetition", 0.9, id="one-in-circles"),
        pytest.param(["привет", "hello there"], "script", b"cyrillic", id="the-firsts-script"),
        pytest.param(["", "here"], "empty", 0, id="one-says-something"),
        pytest.param([" ", ""], "empty", 1, id="none-says-anything"),
        pytest.param(["one", "three"], "answer_chars", 8, id="chars"),
    ],
)
async def test_each_of_several_choices_is_read_by_itself(watched, texts, feature, value):
    asked = chat(n=len(texts), response_format={"type": "json_object"})
    for text in ("before", "after"):  # other rows are theirs
        watched[0].ask(chat())
        watched[0].last.answers(choice(text))
        if text == "before":
            watched[0].ask(asked)
            watched[0].last.answers(choices(*texts))
    watched[0].llm.flush()
    before, row, after = watched[1].rows
    if feature == "repetition" and not math.isnan(value):
        assert row[feature] >= value
    else:
        assert row[feature] == pytest.approx(value, nan_ok=True)
    assert [one["answer_chars"] for one in (before, after)] == [6, 5]
    assert [one["script"] for one in (before, after)] == [b"latin"] * 2


@pytest.mark.parametrize(
    ("call", "known", "valid"),
    [
        (called("weather", '{"city": "x"}'), 1, 1),
        (called("weather", ""), 1, 1),
        (called("wheather", "{}"), 0, 1),
        (called("weather", '{"city": '), 1, 0),
        (called("weather", '"x"'), 1, 0),
    ],
    ids=["good", "no-arguments", "unknown-name", "cut-arguments", "no-object"],
)
async def test_calls_of_tools_are_held_against_what_was_offered(watched, call, known, valid):
    row = said(*watched, chat(tools=[TOOL]), choice(None, "tool_calls", tool_calls=[call]))
    assert (row["tools_known"], row["arguments_valid"]) == (known, valid)
    assert (row["tool_calls"], row["empty"], row["finish"]) == (1, 0, b"tool_calls")


@pytest.mark.parametrize(
    ("requests_per_s", "rows"),
    [
        pytest.param(2 * MAX_ROWS / FEW_S, MAX_ROWS, id="busy"),
        pytest.param(2 * FEW_ROWS / FEW_S, 2 * FEW_ROWS, id="calm"),
        pytest.param(FEW_ROWS / FEW_S / 4, FEW_ROWS, id="calmer"),
    ],
)
async def test_rows_are_handed_on_together_fewer_where_they_come_slowly(
    watched, requests_per_s, rows
):
    made, into = watched
    now = 0.0
    made.llm.proxies[Dialect.CHAT].clock = lambda: now
    for _ in range(3 * MAX_ROWS):
        now += 1 / requests_per_s
        made.ask(chat())
        made.last.answers()
    made.llm.flush()
    assert all(rows <= batch <= rows + 2 for batch in into.batches[:-1]), into.batches
    assert sum(into.batches) == len(into.sequences) == 3 * MAX_ROWS


async def test_what_was_not_answered_is_not_watched(watched):
    made, into = watched
    for body in (chat(stream=True), chat()):
        client = made.ask(body)
        if body.get("stream"):
            made.last.streams(chunk({"content": "hel"}), end=False)
        client.leave()
    made.ask(chat())
    made.last.answers({"error": {"message": "wrong"}}, status=400)
    assert [one.result for one in made.over] == ["left", "left", "failed"]
    made.llm.flush()
    assert into.rows == []


async def test_tensors_have_the_types_and_shapes_of_the_signature(watched):
    made, into = watched
    for _ in range(3):
        made.ask(chat())
        made.last.answers()
    made.llm.flush()
    (batch,) = into.tensors
    for array, spec in zip(batch, (*SIGNATURE.inputs, *SIGNATURE.outputs), strict=True):
        assert array is not None
        assert array.shape == (3, 1)
        assert array.dtype == (object if spec.name in NAMED else np.float32)
        assert array.flags.c_contiguous


async def test_reading_features_survives_whatever_an_answer_says(watched):
    made, into = watched
    for text in ("", "x" * 300_000, "\x00", "\u2028" * 9000):
        await said_at_length(
            made, into, chat(response_format={"type": "json_schema"}), choice(text)
        )
    assert len(into.rows) == 4
