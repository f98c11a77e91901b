"""What hurts users of other gateways for language models does not happen here.

docs/llm-security.md has the list, and the tests that need no server.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import pytest

from tests.end_to_end.llm_world import World
from tests.end_to_end.server import PATIENCE_S, Answer, eventually

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
TEXT = "water flows through "
# How an upstream may break a stream.
BREAKS = ("cut", "reset", "stall", "garbage", "half", "error", "end")
ENDS: list[dict[str, Any]] = [
    {"drop": True},
    {"hang": True},
    {"status": 503},
    {"status": 429},
    {"status": 400},
    {"status": 401, "leak": True},
    *({"break_at": 0, "break_as": how} for how in BREAKS),
    *({"break_at": 3, "break_as": how} for how in BREAKS),
    {"tokens": 3, "usage": "absent"},
]
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": []},
    MESSAGES: {"messages": [], "max_tokens": 50},
    RESPONSES: {"input": []},
    "/v1/completions": {"prompt": "hello", "max_tokens": 50},
    "/v1/embeddings": {"input": "hello"},
}
STREAMED = [CHAT, MESSAGES, RESPONSES]


def asked(path: str, model: str, text: str = "hello", **more: Any) -> dict[str, Any]:
    """A request of any path."""
    said = {
        name: [{"role": "user", "content": text}] if value == [] else value
        for name, value in ASKED[path].items()
    }
    return {"model": model, **said, **more}


def ask(gate: World, path: str, model: str, text: str = "hello", **more: Any) -> Answer:
    key = more.pop("key", gate.key)
    return gate.post(path, asked(path, model, text, **more), authorization=f"Bearer {key}")


def events(answer: Answer) -> list[dict[str, Any]]:
    """What a stream says; every event of it is one that a client can read."""
    frames = answer.body.decode().split("\n\n")
    assert frames.pop() == ""
    data = [line for frame in frames for line in frame.split("\n") if line.startswith("data: ")]
    said = [one.removeprefix("data: ") for one in data]
    return [json.loads(one) for one in said if one != "[DONE]"]


def is_error(event: dict[str, Any]) -> bool:
    return bool(event.get("error")) or event.get("type") == "error"


def text_of(said: list[dict[str, Any]]) -> str:
    """The answer's text, as far as it came, in any dialect."""
    text = ""
    for one in said:
        delta = one.get("delta")
        if isinstance(delta, str):
            text += delta
        elif isinstance(delta, dict):
            text += delta.get("text", "")
        for choice in one.get("choices", ()):
            text += choice["delta"].get("content") or ""
    return text


@contextmanager
def sent(gate: World, values: Any, key: str) -> Iterator[socket.socket]:
    """A request on a connection that is closed with the block, answered or not."""
    body = json.dumps(values).encode()
    with closing(socket.create_connection(("127.0.0.1", gate.server.port), PATIENCE_S)) as line:
        line.sendall(
            b"POST %s HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer %s\r\n"
            b"content-length: %d\r\n\r\n%s" % (CHAT.encode(), key.encode(), len(body), body)
        )
        yield line


# ---- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", STREAMED)
@pytest.mark.parametrize("how", BREAKS)
def test_before_its_first_content_a_stream_moves_to_another_upstream_however_it_breaks(
    gate, path, how
):
    gate.fake.next(break_at=0, break_as=how, early_head=True)
    answer = ask(gate, path, "pair", "fake?tokens=3", stream=True)
    assert [one.script.name for one in gate.fake.received] == ["hasty", "openai"]
    said = events(answer)
    assert (answer.status, text_of(said)) == (200, TEXT)
    assert not any(map(is_error, said))


# Bytes that need no translation go on unread: garbage among them is the client's to refuse.
@pytest.mark.parametrize(
    ("path", "how"),
    [(path, how) for path in STREAMED for how in BREAKS if path == MESSAGES or how != "garbage"],
)
def test_after_its_first_content_a_stream_ends_with_one_error_that_clients_can_read(
    gate, path, how
):
    gate.fake.next(break_at=2, break_as=how)
    answer = ask(gate, path, "pair", "fake?tokens=9", stream=True)
    assert [one.script.name for one in gate.fake.received] == ["hasty"]
    said = events(answer)
    assert text_of(said) == "water flows "
    assert [is_error(one) for one in said] == [False] * (len(said) - 1) + [True]
    assert b"[DONE]" not in answer.body


@pytest.mark.parametrize("path", [*STREAMED, "/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize("how", ["cut", "reset", "stall"])
def test_a_whole_answer_moves_to_another_upstream_however_it_breaks(gate, path, how):
    # A list of numbers cannot be broken in its middle by this provider.
    broken: dict[str, Any] = {"break_at": 1, "break_as": how}
    if path == "/v1/embeddings":
        broken = {"status": 500}
    gate.fake.next(**broken)
    answer = ask(gate, path, "pair")
    assert answer.status == 200, answer.body
    assert [one.script.name for one in gate.fake.received] == ["hasty", "openai"]


# ---- clients that leave -------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_provider_is_left_within_a_second_of_its_client(gate, stream):
    values = asked(CHAT, "assistant", "fake?tokens=100000&rate=20", stream=stream)
    took = []
    for _ in range(3):  # the best of them: it is the machine that may be busy
        gate.fake.forget()
        with sent(gate, values, gate.key) as line:
            gate.fake.wait(lambda received: received)
            if stream:
                assert line.recv(15) == b"HTTP/1.1 200 OK"
            left_at = time.monotonic()
        (received,) = gate.fake.wait(lambda received: received[0].left_at is not None)
        took.append(received.left_at - left_at)
    assert min(took) < 1.0


# ---- money and limits ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ASKED)
def test_no_path_skips_a_budget_or_a_limit(gate, path):
    poor = gate.new_key("poor-on-every-path", budgets=["0.000000001usd/total"])
    none = gate.new_key("none-at-once", max_parallel=0)
    model = "embedder" if path == "/v1/embeddings" else "assistant"
    for key in (poor, none):
        for stream in (False, True):
            answer = ask(gate, path, model, stream=stream, key=key)
            assert (answer.status, gate.fake.received) == (429, [])


def test_nothing_stays_reserved_wherever_an_upstream_or_a_client_ends_a_request(gate):
    budget, most = 1_000_000, 4000
    name = "ends-everywhere"
    key = gate.new_key(name, max_parallel=1, budgets=[f"{budget}tokens/total"])
    more: dict[str, Any] = {"key": key, "max_tokens": most}

    def free() -> bool:
        answer = ask(gate, CHAT, "assistant", "fake?tokens=1&input=9", **more)
        return answer.status == 200

    def ends(stream: bool) -> bool:
        ask(gate, CHAT, "hasty", stream=stream, **more)
        return bool(gate.fake.received)  # else it was refused, and the fault is still to come

    for script in ENDS:
        for stream in (False, True):
            gate.fake.forget()
            gate.fake.next(**script)
            eventually(partial(ends, stream))
            eventually(free)
    for stream in (False, True):
        for text in ("fake?hang=1", "fake?tokens=100000&rate=20", "fake?ttft_s=60&early_head=1"):
            gate.fake.forget()
            values = asked(CHAT, "assistant", text, stream=stream, max_tokens=most)
            with sent(gate, values, key):
                gate.fake.wait(lambda received: received)
            eventually(free)

    # All that is left can be had by one request: had anything leaked, it would be refused.
    def all_that_is_left() -> bool:
        left = budget - gate.spent(name)[1] - 200
        rest: dict[str, Any] = {"key": key, "max_tokens": left}
        return ask(gate, CHAT, "assistant", "fake?tokens=1&input=9", **rest).status == 200

    eventually(all_that_is_left)
    assert ask(gate, CHAT, "assistant", key=key, max_tokens=budget).status == 429


def test_a_refused_request_eats_nothing_of_any_limit(gate):
    key = gate.new_key(
        "refused-often", requests_per_minute=3, tokens_per_minute=100_000, max_parallel=1
    )
    values = asked(CHAT, "assistant", "fake?tokens=100000&rate=20", stream=True, max_tokens=1000)
    with sent(gate, values, key) as line:
        assert line.recv(15) == b"HTTP/1.1 200 OK"
        for _ in range(20):
            refused = ask(gate, CHAT, "assistant", key=key, max_tokens=10)
            assert refused.headers["penstock-error-code"] == "too_many_parallel"

    def too_expensive() -> bool:
        refused = ask(gate, CHAT, "assistant", key=key, max_tokens=10_000_000)
        return refused.headers["penstock-error-code"] == "request_too_expensive"

    eventually(too_expensive)  # once it is noticed that the client left
    assert all(too_expensive() for _ in range(10))
    # One of three requests was made: two more are let through, and the next is not.
    for _ in range(2):
        assert ask(gate, CHAT, "assistant", key=key, max_tokens=10).status == 200
    last = ask(gate, CHAT, "assistant", key=key, max_tokens=10)
    assert last.headers["penstock-error-code"] == "rate_limited"


# ---- figures -------------------------------------------------------------------------------------


def test_metrics_add_up_whichever_worker_answered(gate):
    samples = [
        b'penstock_llm_requests_total{.*model="assistant".*result="ok".*} (.*)',
        b'penstock_llm_tokens_total{.*model="assistant".*type="output".*} (.*)',
        b'penstock_llm_tokens_total{.*model="assistant".*type="input".*} (.*)',
    ]

    def counts() -> tuple[float, ...]:
        text = gate.server.admin("GET", "/metrics").body
        return tuple(sum(map(float, re.findall(one, text))) for one in samples)

    before = counts()
    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(lambda _: ask(gate, CHAT, "assistant", "fake?tokens=3&input=7"), range(60)))
    wanted = tuple(was + 60 * more for was, more in zip(before, (1, 3, 7), strict=True))
    eventually(lambda: counts() == wanted)
    assert {counts() for _ in range(3)} == {wanted}
