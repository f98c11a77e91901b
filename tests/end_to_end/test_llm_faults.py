"""What goes wrong behind, before and within a gateway for language models, over real sockets."""

from __future__ import annotations

import json
import socket
from typing import Any

import anthropic
import openai
import pytest

from tests.end_to_end import commands
from tests.end_to_end.llm_world import World
from tests.end_to_end.server import PATIENCE_S, eventually

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
CHAT = "/v1/chat/completions"


def asked_of(gate: World) -> list[str]:
    """The providers that were asked, in order."""
    return [received.script.name for received in gate.fake.received]


# ---- upstreams that fail -------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("model", "providers"),
    [
        pytest.param("second-best", ["broken", "openai"], id="another-upstream"),
        pytest.param("falls-back", ["broken", "claude"], id="another-model"),
        pytest.param("small", ["small", "openai"], id="a-longer-context"),
        pytest.param("prude", ["prude", "openai"], id="another-content-policy"),
    ],
)
def test_another_answers_where_one_cannot(gate, model, providers, stream):
    answer = gate.chat(model, "fake?tokens=3", stream=stream)
    assert answer.status == 200, answer.body
    assert b"water " in answer.body
    assert b"error" not in answer.body
    assert asked_of(gate) == providers
    assert answer.headers["penstock-upstream"].split("/")[0] == providers[-1]
    assert answer.headers["penstock-attempts"] == "2"


def test_another_answers_a_stream_that_fails_before_its_first_token(gate):
    answer = gate.chat("late", "fake?tokens=3", stream=True)
    assert asked_of(gate) == ["late", "openai"]
    assert b"water " in answer.body
    assert b"error" not in answer.body


def test_a_stream_that_breaks_ends_with_an_error_in_the_callers_dialect(gate):
    create, stream = gate.openai.chat.completions.create, gate.anthropic.messages.stream
    chat = create(model="cut", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as broken, chat as chunks:
        list(chunks)
    assert broken.value.code == "upstream_failed"
    message = stream(model="cut", max_tokens=50, messages=HELLO)
    with pytest.raises(anthropic.APIStatusError) as other, message as events:
        list(events)
    body: Any = other.value.body
    assert body["type"] == "error"


def test_what_came_before_a_break_is_passed_on(gate):
    answer = gate.chat("cut", stream=True)
    assert answer.status == 200
    assert answer.body.count(b'"content":"') >= 2
    frames = answer.body.split(b"\n\n")
    assert b'"error"' in frames[-2]
    assert b"[DONE]" not in answer.body


def test_an_upstream_that_keeps_failing_is_left_alone(gate):
    eventually(lambda: gate.chat("guarded").json()["error"]["code"] == "upstreams_exhausted")
    before = len(asked_of(gate))
    assert before >= 3
    seen = [gate.chat("guarded").status for _ in range(20)]
    assert set(seen) <= {502, 503}
    # Each worker has a breaker of its own, which lets one probe through from time to time.
    assert len(asked_of(gate)) - before < 10


def test_an_upstream_that_somebody_says_is_well_is_asked_at_once(gate):
    """By the model of a test of its own: nobody else's tries close or open its breakers."""

    def refused() -> bool:
        return gate.chat("shut").json()["error"]["code"] == "upstreams_exhausted"

    eventually(lambda: all(refused() for _ in range(10)))  # by both workers
    before = len(asked_of(gate))
    words = ["llm", "close", "shut", "broken/gpt-4o-mini", "--why", "it is back"]
    run = commands.penstock(*words, "--home", gate.server.home)
    assert run.stdout == "shut version 1: 'broken/gpt-4o-mini' is asked again\n", run.stderr
    eventually(lambda: gate.chat("shut").status == 502 and len(asked_of(gate)) > before)
    entries = gate.server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    (written,) = [one for one in entries if one["action"] == "upstream close"]
    assert (written["subject"], written["after"]) == (
        "shut/1/broken/gpt-4o-mini",
        {"why": "it is back"},
    )


def test_connections_that_the_provider_closed_are_replaced_unnoticed(gate):
    for _ in range(3):
        assert gate.chat("assistant").status == 200
        gate.fake.hang_up()
    gate.fake.next(then="drop")
    seen = [gate.chat("assistant").status for _ in range(8)]
    assert set(seen) == {200}


# ---- clients that leave -------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["slow", "assistant", "claude"])
def test_the_provider_is_left_when_the_client_leaves(gate, model, stream):
    script = "hello" if model == "slow" else "fake?tokens=100000&rate=20"
    values = {"model": model, "messages": [{"role": "user", "content": script}], "stream": stream}
    body = json.dumps(values).encode()
    with socket.create_connection(("127.0.0.1", gate.server.port), PATIENCE_S) as client:
        client.sendall(
            b"POST %s HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer %s\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (CHAT.encode(), gate.key.encode(), len(body), body)
        )
        gate.fake.wait(lambda received: received)
        if stream and model != "slow":
            assert client.recv(15) == b"HTTP/1.1 200 OK"
    (received,) = gate.fake.wait(lambda received: received[0].left_at is not None)
    assert not received.done


# ---- what callers may not do --------------------------------------------------------------------


@pytest.mark.parametrize("field", ["api_base", "base_url", "api_key", "organization"])
def test_no_request_says_where_it_is_sent_or_with_which_key(gate, field):
    answer = gate.chat("assistant", **{field: "http://127.0.0.1:1/"})
    assert answer.status == 400
    assert field in answer.json()["error"]["message"]
    assert gate.fake.received == []


def test_a_field_that_stands_twice_cannot_say_two_things(gate):
    body = (
        b'{"model": "assistant", "messages": [{"role": "user", "content": "x"}],'
        b' "max_tokens": 5, "model": "assistant", "max_tokens": 100000}'
    )
    headers = {"authorization": f"Bearer {gate.key}", "content-type": "application/json"}
    answer = gate.server.request("POST", CHAT, body, headers)
    assert answer.status == 200
    (received,) = gate.fake.received
    assert received.body.count(b'"max_tokens"') == 1
    assert received.body.count(b'"model"') == 1


def test_an_address_on_this_host_is_not_asked_unless_that_is_allowed(gate):
    assert gate.chat("hidden").status in (502, 503)
    assert asked_of(gate) == []


def test_a_redirect_is_not_followed(gate):
    assert gate.chat("moved").status == 502
    assert asked_of(gate) == ["moved"]
