"""Every token and every cent of requests to language models, whatever becomes of them."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from tests.end_to_end.llm_world import World
from tests.end_to_end.server import PATIENCE_S, eventually

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MILLION = Decimal(1_000_000)
# Dollars per million tokens, from the providers' own lists: input, read from a cache, written into
# one for five minutes and for an hour, output.
GPT = tuple(map(Decimal, ("0.15", "0.075", "0.15", "0.15", "0.6")))
AZURE = tuple(map(Decimal, ("0.165", "0.075", "0.165", "0.165", "0.66")))
CLAUDE = tuple(map(Decimal, ("3", "0.3", "3.75", "6", "15")))
COUNTS = "input=1000&cached=400&tokens=7"
# Of a model behind which provider, how it tells usage, and what that comes to.
SHAPES: dict[str, tuple[str, str, tuple[Decimal, ...], tuple[int, ...]]] = {
    **{
        f"openai-{usage}": ("assistant", f"{COUNTS}&usage={usage}", GPT, (600, 400, 0, 0, 7))
        for usage in ("asked", "always", "finish", "empty_choice", "every", "null_after")
    },
    **{
        f"claude-{usage}": (
            "claude",
            f"{COUNTS}&cache_write=50&cache_write_1h=20&usage={usage}",
            CLAUDE,
            (530, 400, 50, 20, 7),
        )
        for usage in ("asked", "always", "every", "null_after")
    },
    "azure": ("azure", f"{COUNTS}&azure=1", AZURE, (600, 400, 0, 0, 7)),
    "reasoning": ("assistant", f"{COUNTS}&reasoning=30", GPT, (600, 400, 0, 0, 37)),
    "thinking": ("claude", f"{COUNTS}&reasoning=30", CLAUDE, (600, 400, 0, 0, 37)),
}
# Which of these there are of each API: an OpenAI's response tells its usage in one way alone, and
# what completes a text neither thinks nor is Anthropic's.
TELLS: dict[str, list[str]] = {
    CHAT: list(SHAPES),
    "/v1/messages": list(SHAPES),
    RESPONSES: ["openai-asked", "claude-asked", "azure", "reasoning", "thinking"],
    COMPLETIONS: ["openai-asked", "openai-always", "openai-finish", "azure"],
}


def cost(prices: tuple[Decimal, ...], tokens: tuple[int, ...]) -> Decimal:
    return sum((p * t for p, t in zip(prices, tokens, strict=True)), Decimal(0)) / MILLION


def asked_by(gate: World, path: str, key: str, model: str, script: str, stream: bool) -> Any:
    text = f"hello fake?{script} there"
    said: dict[str, dict[str, Any]] = {
        RESPONSES: {"input": text, "max_output_tokens": 100},
        COMPLETIONS: {"prompt": text, "max_tokens": 100},
    }
    chat = {"messages": [{"role": "user", "content": text}], "max_tokens": 100}
    values = {"model": model, "stream": stream, **said.get(path, chat)}
    answer = gate.post(path, values, authorization=f"Bearer {key}")
    assert answer.status == 200, answer.body
    return answer


@pytest.mark.parametrize("path", TELLS)
def test_a_stream_costs_what_a_whole_answer_costs_in_every_shape(gate, path):
    client = path.removeprefix("/v1/").replace("/", "-")
    names = {
        (shape, stream): f"{client}-{shape}-{'streamed' if stream else 'whole'}"
        for shape in TELLS[path]
        for stream in (False, True)
    }
    for (shape, stream), name in names.items():
        model, script, prices, tokens = SHAPES[shape]
        key = gate.new_key(name, budgets=["1usd/total"])
        answer = asked_by(gate, path, key, model, script, stream)
        if not stream:
            assert Decimal(answer.headers["penstock-cost-usd"]) == cost(prices, tokens)
    wanted = {
        name: (cost(SHAPES[shape][2], SHAPES[shape][3]), sum(SHAPES[shape][3]), 1)
        for (shape, _), name in names.items()
    }
    eventually(lambda: all(gate.spent(name)[2] == 1 for name in wanted))
    assert {name: gate.spent(name) for name in wanted} == wanted


def settled_once(gate, name):
    return gate.spent(name)[2] == 1


@pytest.mark.parametrize("model", ["assistant", "claude"])
def test_usage_that_nobody_tells_is_estimated_alike_streamed_or_not(gate, model):
    spent = []
    for stream in (False, True):
        name = f"untold-{model}-{stream}"
        key = gate.new_key(name, budgets=["1usd/total"])
        asked_by(gate, CHAT, key, model, "usage=absent&tokens=40", stream)
        eventually(partial(settled_once, gate, name))
        spent.append(gate.spent(name))
    assert spent[0] == spent[1]
    assert spent[0][0] > 0


def test_a_crowd_spends_a_budget_to_its_end_and_no_further(gate):
    # A request may cost up to 100 tokens of output and costs 10: what is reserved is ten times
    # what is spent, and none of it may be lost or given out twice.
    key = gate.new_key("crowd", budgets=["20000tokens/total"])

    def ask(_: int) -> tuple[int, str]:
        answer = gate.chat(
            "assistant", "fake?input=90&tokens=10&name=crowd", key=key, max_tokens=100
        )
        return answer.status, answer.headers.get("penstock-error-code", "")

    with ThreadPoolExecutor(40) as crowd:
        seen = list(crowd.map(ask, range(400)))
    answered = sum(status == 200 for status, _ in seen)
    assert {code for status, code in seen if status != 200} <= {
        "budget_exceeded",
        "request_too_expensive",
    }
    told = sum(one.input + one.output for one in gate.fake.named("crowd"))
    assert told == 100 * answered <= 20_000
    eventually(lambda: gate.spent("crowd")[1:] == (told, answered))
    # Alone, whoever still fits is let in until the budget does not cover the next.
    while ask(0)[0] == 200:
        answered += 1
    assert 20_000 - 100 * answered < 300


def refused(gate: World, key: str) -> tuple[Any, Any]:
    """What OpenAI's and Anthropic's clients are told, of a request that nobody was asked for."""
    asked = len(gate.fake.received)
    chat = gate.chat("assistant", key=key)
    values = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    message = gate.post("/v1/messages", values, authorization=f"Bearer {key}")
    assert len(gate.fake.received) == asked
    assert [answer.status for answer in (chat, message)] == [429, 429]
    assert [answer.headers["x-should-retry"] for answer in (chat, message)] == ["false"] * 2
    return chat, message


def test_a_budget_that_is_spent_says_so_in_both_dialects(gate):
    key = gate.new_key("poor", budgets=["200tokens/total"])
    text = "fake?input=195&tokens=5"
    assert gate.chat("assistant", text, key=key, max_tokens=5).status == 200
    chat, message = refused(gate, key)
    assert chat.headers["penstock-error-code"] == "budget_exceeded"
    assert chat.json()["error"]["code"] == "insufficient_quota"
    assert message.headers["penstock-error-code"] == "budget_exceeded"
    assert message.json()["error"]["type"] == "rate_limit_error"


def test_a_budget_that_is_too_small_for_a_request_says_so_in_both_dialects(gate):
    key = gate.new_key("stingy", budgets=["0.000001usd/total"])
    chat, message = refused(gate, key)
    assert chat.headers["penstock-error-code"] == "request_too_expensive"
    assert chat.json()["error"]["code"] == "rate_limit_exceeded"
    assert message.headers["penstock-error-code"] == "request_too_expensive"
    assert message.json()["error"]["type"] == "rate_limit_error"


def test_requests_a_minute_are_told_and_kept(gate):
    key = gate.new_key("slow", requests_per_minute=3)
    answers = [gate.chat("assistant", key=key) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    assert int(answers[3].headers["retry-after"]) > 0
    assert len(gate.fake.received) == 3


# ---- nothing leaks -------------------------------------------------------------------------------


def hold(gate: World, stack: ExitStack, key: str) -> socket.socket:
    """A stream that goes on and on, of which something has come."""
    messages = [{"role": "user", "content": "fake?input=10&tokens=100000&rate=20&name=held"}]
    values = {"model": "assistant", "messages": messages, "stream": True, "max_tokens": 1000}
    body = json.dumps(values).encode()
    client = stack.enter_context(
        socket.create_connection(("127.0.0.1", gate.server.port), PATIENCE_S)
    )
    client.sendall(
        b"POST %s HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer %s\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
        % (CHAT.encode(), key.encode(), len(body), body)
    )
    return client


def test_places_of_clients_that_leave_are_free_again(gate):
    key = gate.new_key("leavers", max_parallel=4)
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(4):
                assert hold(gate, stack, key).recv(15) == b"HTTP/1.1 200 OK"
            refused = gate.chat("assistant", key=key).headers["penstock-error-code"]
            assert refused == "too_many_parallel"
        eventually(lambda: gate.chat("assistant", key=key).status == 200)


def test_what_came_before_a_client_left_is_paid_and_no_more(gate):
    key = gate.new_key("left-early", budgets=["1usd/total"])
    with ExitStack() as stack:
        client, came = hold(gate, stack, key), b""
        while came.count(b'"content"') < 5:
            came += client.recv(1 << 16)
    (received,) = gate.fake.wait(lambda received: received and received[0].left_at is not None)
    eventually(lambda: gate.spent("left-early")[2] == 1)
    _, tokens, _ = gate.spent("left-early")
    # Nobody told how many there were: they are estimated by what was sent and what came.
    assert 0 < tokens < 10 + 10 * received.tokens


def test_what_an_upstream_failed_costs_nothing(gate):
    key = gate.new_key("failed", budgets=["1usd/total"], requests_per_minute=2)
    for _ in range(5):
        assert gate.chat("broken", key=key).status == 502
    assert gate.chat("assistant", key=key).status == 200
    eventually(lambda: gate.spent("failed")[2] == 1)


def test_a_killed_worker_takes_no_budget_along(gate):
    key = gate.new_key("survivor", max_parallel=4, budgets=["5000tokens/total"])
    with ExitStack() as stack:
        for _ in range(4):
            assert hold(gate, stack, key).recv(15) == b"HTTP/1.1 200 OK"
        assert gate.chat("assistant", key=key).status == 429
        for worker in gate.server.status()["workers"]:
            next(c for c in gate.server.children() if c.pid == worker["pid"]).kill()
        # Those who were streamed to are cut, and their places and reservations free again.
        eventually(lambda: gate.server.get("/v2/health/ready").status == 200)
        eventually(lambda: gate.chat("assistant", key=key, max_tokens=1000).status == 200)
