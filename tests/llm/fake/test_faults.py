"""What the fake does wrong when it is told to, as a plain HTTP client sees it."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest

from gateway.llm.fake.server import FakeProvider
from tests.llm.clients import KEY

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
STREAM = {**ASKED, "stream": True}
CHAT = "/chat/completions"
PATIENCE_S = 60.0


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=PATIENCE_S) as client:
        yield client


def type_of(error: anthropic.APIStatusError) -> str:
    body: dict = error.body  # type: ignore[assignment]
    return body["error"]["type"]


@pytest.mark.parametrize(
    ("script", "raised", "code"),
    [
        ("error=rate_limit", openai.RateLimitError, "rate_limit_exceeded"),
        ("error=quota", openai.RateLimitError, "insufficient_quota"),
        ("error=context_window", openai.BadRequestError, "context_length_exceeded"),
        ("error=content_policy", openai.BadRequestError, "content_policy_violation"),
        ("error=auth", openai.AuthenticationError, "invalid_api_key"),
        ("key=another", openai.AuthenticationError, "invalid_api_key"),
        ("status=404", openai.NotFoundError, "model_not_found"),
        ("status=500", openai.InternalServerError, "server_error"),
        ("status=503", openai.InternalServerError, "overloaded"),
    ],
)
def test_openais_client_knows_an_error_by_its_status_and_code(fake, clients, script, raised, code):
    with pytest.raises(raised) as caught:
        clients.openai(fake.url(script)).chat.completions.create(**ASKED)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("script", "status", "kind"),
    [
        ("error=rate_limit", 429, "rate_limit_error"),
        ("error=quota", 402, "billing_error"),
        ("error=context_window", 400, "invalid_request_error"),
        ("error=overloaded", 529, "overloaded_error"),
        ("status=500", 500, "api_error"),
        ("status=413", 413, "request_too_large"),
    ],
)
def test_anthropics_client_knows_an_error_by_its_status_and_type(
    fake, clients, script, status, kind
):
    client = clients.anthropic(fake.url(script, version=""))
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(max_tokens=10, **ASKED)
    assert caught.value.status_code == status
    assert type_of(caught.value) == kind


def test_an_error_says_when_to_come_again_and_what_key_it_was_asked_with(fake, http):
    script = "status=429&retry_after_s=2.5&should_retry=false&leak=1"
    answer = http.post(fake.url(script) + CHAT, json=ASKED, headers={"x-api-key": KEY})
    assert answer.headers["retry-after"] == "2.5"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["message"].endswith(f"You sent: {KEY}")


def test_a_script_fails_as_often_as_it_says(fake, http):
    url = fake.url("status=503&times=2&name=twice") + CHAT
    assert [http.post(url, json=ASKED).status_code for _ in range(4)] == [503, 503, 200, 200]


def test_a_limit_is_told_and_kept(fake, http):
    url = fake.url("limit=2&name=limited") + CHAT
    answers = [http.post(url, json=ASKED) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    left = [answer.headers["x-ratelimit-remaining-requests"] for answer in answers]
    assert left == ["1", "0", "0"]


@pytest.mark.parametrize(("at", "tokens"), [(0, 0), (3, 3)])
@pytest.mark.parametrize("how", ["cut", "reset"])
def test_a_stream_is_cut_where_the_script_says(fake, http, how, at, tokens):
    url = fake.url(f"break_at={at}&break_as={how}") + CHAT
    with pytest.raises(httpx.HTTPError), http.stream("POST", url, json=STREAM) as answer:
        answer.read()
    (received,) = fake.received
    assert (received.tokens, received.done) == (tokens, False)


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("error", '"code":"overloaded"}}\n\n'),
        ("garbage", "this is no JSON\n\n"),
        ("end", '"finish_reason":null}]}\n\n'),
    ],
)
def test_a_stream_ends_badly_within_a_good_answer(fake, http, how, end):
    url = fake.url(f"break_at=1&break_as={how}") + CHAT
    assert http.post(url, json=STREAM).text.endswith(end)


def test_half_a_frame_is_the_last_that_comes(fake, http):
    came = b""
    with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012
        url = fake.url("break_at=1&break_as=half") + CHAT
        with http.stream("POST", url, json=STREAM) as answer:
            for part in answer.iter_bytes():
                came += part
    assert came.endswith(b'data: {"id": "chatcmpl-fa')


def test_an_error_within_a_stream_is_in_the_dialect_of_its_path(fake, clients):
    with pytest.raises(anthropic.APIStatusError) as caught:  # noqa: PT012
        client = clients.anthropic(fake.url("break_at=1&break_as=error", version=""))
        with client.messages.stream(max_tokens=10, **ASKED) as stream:
            list(stream)
    assert type_of(caught.value) == "overloaded_error"
    client = clients.openai(fake.url("break_at=1&break_as=error"))
    with client.responses.create(model="m", input="hello", stream=True) as stream:
        assert [event.type for event in stream][-1] == "error"


def test_a_whole_answer_breaks_in_its_middle(fake, http):
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(fake.url("break_at=0") + CHAT, json=ASKED)


def test_a_caller_is_left_without_an_answer(fake, http):
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(fake.url("drop=1") + CHAT, json=ASKED)


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        pytest.param("hang=1", ASKED, id="never-answered"),
        pytest.param("ttft_s=3600", ASKED, id="thinking"),
        pytest.param("ttft_s=3600&early_head=1", STREAM, id="thinking-after-its-head"),
        pytest.param("break_at=2&break_as=stall", STREAM, id="stalled"),
        pytest.param("tokens=100000&rate=10", STREAM, id="speaking"),
    ],
)
def test_it_is_told_when_the_caller_leaves(fake, script, asked):
    body = json.dumps(asked).encode()
    with socket.create_connection(("127.0.0.1", fake.port), PATIENCE_S) as caller:
        caller.sendall(
            b"POST /~%s/v1%s HTTP/1.1\r\nhost: fake\r\ncontent-length: %d\r\n\r\n%s"
            % (script.encode(), CHAT.encode(), len(body), body)
        )
        fake.wait(lambda received: received)
        if "early" in script or "stall" in script or "rate" in script:
            assert caller.recv(15) == b"HTTP/1.1 200 OK"
    (received,) = fake.wait(lambda received: received[0].left_at is not None)
    assert received.left_at >= received.at
    assert not received.done


def test_a_caller_that_does_not_read_holds_the_stream_up(fake):
    body = json.dumps(STREAM).encode()
    with socket.create_connection(("127.0.0.1", fake.port), PATIENCE_S) as caller:
        caller.sendall(
            b"POST /~tokens=10000&padding=2000/v1%s HTTP/1.1\r\nhost: fake\r\n"
            b"content-length: %d\r\n\r\n%s" % (CHAT.encode(), len(body), body)
        )
        fake.wait(lambda received: received and received[0].pauses)
        came = b""
        while not came.endswith(b"0\r\n\r\n"):
            part = caller.recv(1 << 20)
            assert part
            came = came[-10:] + part
    (received,) = fake.received
    assert (received.tokens, received.done) == (10_000, True)


def test_a_kept_connection_closes_after_an_answer_or_under_the_next_request(fake, http):
    url = fake.url("then=drop") + CHAT
    assert http.post(url, json=ASKED).status_code == 200
    with pytest.raises(httpx.HTTPError):
        http.post(url, json=ASKED)
    assert http.post(fake.url("then=close") + CHAT, json=ASKED).status_code == 200
    assert len({received.connection for received in fake.received}) == 2


def test_every_connection_is_closed_when_told(fake, http):
    for _ in range(2):
        http.post(fake.url() + CHAT, json=ASKED)
        fake.hang_up()
    assert len({received.connection for received in fake.received}) == 2


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("interim", [0, 103])
def test_an_answer_is_framed_as_told(fake, http, framing, interim):
    url = fake.url(f"framing={framing}&interim={interim}&tokens=2") + CHAT
    answer = http.post(url, json=ASKED)
    assert answer.json()["choices"][0]["message"]["content"] == "water flows "
    found = {"content-length", "transfer-encoding", "connection"} & set(answer.headers)
    wanted = {"length": "content-length", "chunked": "transfer-encoding", "close": "connection"}
    assert found == {wanted[framing]}


@pytest.mark.parametrize("eol", ["lf", "crlf", "cr"])
@pytest.mark.parametrize("more", ["", "&split=3", "&comments=1", "&azure=1&padding=9"])
def test_a_stream_in_any_form_says_the_same_to_the_stock_client(fake, clients, eol, more):
    client = clients.openai(fake.url(f"tokens=5&eol={eol}{more}"))
    with client.chat.completions.create(**STREAM) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == "water flows through the gate "


@pytest.mark.parametrize("asked", [ASKED, STREAM], ids=["whole", "streamed"])
def test_an_answer_comes_no_sooner_than_its_pace_allows(fake, http, asked):
    began = time.monotonic()
    http.post(fake.url("tokens=11&ttft_s=0.1&rate=100&jitter=0.5") + CHAT, json=asked)
    # A tenth of a second, and then ten pauses of which none is shorter than half of 10 ms.
    assert time.monotonic() - began >= 0.15


def test_answers_come_one_after_the_other_to_who_does_not_wait(fake):
    body = json.dumps(ASKED).encode()
    one = b"POST /v1%s HTTP/1.1\r\nhost: fake\r\ncontent-length: %d\r\n\r\n%s"
    with socket.create_connection(("127.0.0.1", fake.port), PATIENCE_S) as caller:
        caller.sendall(2 * (one % (CHAT.encode(), len(body), body)))
        came = b""
        while came.count(b"chatcmpl-fake") < 2:
            came += caller.recv(1 << 16)
    numbers = [int(number) for number in re.findall(rb"chatcmpl-fake(\d+)", came)]
    assert numbers == [received.number for received in fake.received]


def test_what_a_proxy_must_not_pass_on_is_sent_when_told(fake, http):
    answer = http.post(fake.url("headers=1") + CHAT, json=ASKED)
    assert {"set-cookie", "alt-svc", "openai-organization"} <= set(answer.headers)


def test_a_redirect_leads_where_it_is_told(fake, http):
    fake.next(status=307, location="http://127.0.0.1:1/stolen")
    answer = http.post(fake.url() + CHAT, json=ASKED)
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1:1/stolen")


def test_an_instruction_stands_wherever_a_request_can_carry_one(fake: FakeProvider, http):
    base = fake.url("tokens=1&name=path") + CHAT
    text = [{"role": "user", "content": "say fake?tokens=3 please"}]
    steps: list[dict] = [{}, {"model": "fake?tokens=2"}, {"messages": text}]
    steps += [{"metadata": {"fake": "tokens=4"}}]
    asked = dict(ASKED)
    for step in steps:
        asked |= step
        http.post(base, json=asked)
    http.post(base, json=asked, headers={"x-fake": "tokens=5"})
    fake.next(tokens=6)
    http.post(base, json=asked, headers={"x-fake": "tokens=5"})
    assert [received.tokens for received in fake.named("path")] == [1, 2, 3, 4, 5, 6]


def test_a_slip_in_an_instruction_is_told(fake, http):
    for script, says in [("toknes=1", "toknes"), ("tokens=x", "invalid literal"), ("hang=y", "y")]:
        answer = http.post(fake.url(script) + CHAT, json=ASKED)
        assert answer.status_code == 400
        assert says in answer.json()["error"]["message"]


def test_what_came_is_kept_as_it_came(fake, http):
    http.post(fake.url() + CHAT, json=ASKED, headers={"X-Trace": "abc"})
    (received,) = fake.received
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.header("x-trace") == "abc"
    assert received.values == ASKED == json.loads(received.body)
    assert (received.status, received.input, received.output) == (200, 3, 16)


def test_tools_results_must_follow_their_calls(fake, clients):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c", "content": "1"}
    create = clients.openai(fake.url()).chat.completions.create
    assert create(model="m", messages=[*ASKED["messages"], said, result]).usage
    for messages in ([said, *ASKED["messages"]], [result]):
        with pytest.raises(openai.BadRequestError, match="tool"):
            create(model="m", messages=messages)
