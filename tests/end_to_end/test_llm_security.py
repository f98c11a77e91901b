"""What callers and providers of language models cannot do, over real sockets.

docs/llm-security.md has the list, and the tests that need no server.
"""

from __future__ import annotations

import gzip
import json
import signal
import socket
from contextlib import closing
from typing import Any

import pytest

from tests.end_to_end.llm_world import SECRETS, World
from tests.end_to_end.server import PATIENCE_S, Answer, eventually

CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
# A request of each path; all of them have their model named by whoever asks.
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HELLO},
    "/v1/completions": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": HELLO, "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": HELLO},
}
PROVIDERS = {"assistant": "openai", "claude": "claude", "azure": "azure"}


def code_of(answer: Answer) -> str:
    """By which a caller of either kind knows an error."""
    error = answer.json()["error"]
    return str(error.get("code") or error["type"])


def raw(gate: World, head: bytes, body: bytes = b"") -> bytes:
    """The status line of the answer to bytes as they are."""
    with closing(socket.create_connection(("127.0.0.1", gate.server.port), PATIENCE_S)) as line:
        line.sendall(head + b"\r\n" + body)
        return line.recv(12)


# ---- what callers may say ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ASKED)
def test_no_path_takes_an_address_or_a_key_from_a_request(gate, path):
    for field in ("api_base", "base_url", "api_key", "organization", "extra_headers"):
        values = {"model": "assistant", **ASKED[path], field: "http://127.0.0.1:1/"}
        answer = gate.post(path, values)
        assert answer.status == 400
        assert field in answer.json()["error"]["message"]
    assert gate.fake.received == []


@pytest.mark.parametrize("model", PROVIDERS)
def test_of_a_callers_headers_none_reaches_a_provider(gate, model):
    stranger = "http://127.0.0.1:1/"
    answer = gate.post(
        CHAT,
        {"model": model, "messages": HELLO},
        **{
            "cookie": "session=1",
            "api-key": gate.key,  # as Azure's clients bring it
            "x-goog-api-key": "of-the-caller",
            "x-api-base": stranger,
            "api-base": stranger,
            "x-base-url": stranger,
            "helicone-openai-api-base": stranger,
            "x-portkey-config": stranger,
            "openai-organization": "org-of-the-caller",
            "openai-project": "of-the-caller",
            "x-forwarded-for": "10.0.0.1",
            "forwarded": "for=10.0.0.1",
            "tracestate": "vendor=of-the-caller",
            "x-stainless-lang": "python",
            "user-agent": "of-the-caller",
            "te": "trailers",
            "connection": "keep-alive, x-secret",
            "x-secret": "of-the-caller",
            "proxy-authorization": "Basic eDp5",
        },
    )
    assert answer.status == 200, answer.body
    (received,) = gate.fake.received
    # The last: random numbers of the gateway's own.
    own = {"host", "accept-encoding", "content-type", "content-length", "traceparent"}
    shown = {"claude": {"x-api-key", "anthropic-version"}, "azure": {"api-key"}}
    assert dict(received.headers).keys() == own | shown.get(model, {"authorization"})
    assert "of-the-caller" not in str(received.headers)
    assert gate.key not in str(received.headers)


@pytest.mark.parametrize("model", PROVIDERS)
@pytest.mark.parametrize(
    ("script", "stream"),
    [("headers=1", False), ("headers=1", True), ("headers=1&status=400", False)],
    ids=["whole", "streamed", "error"],
)
def test_of_a_providers_headers_none_reaches_a_caller(gate, model, script, stream):
    answer = gate.chat(model, f"fake?{script}", stream=stream)
    ours = {name for name in answer.headers if name.startswith("penstock-")}
    framing = {"transfer-encoding", "cache-control", "x-accel-buffering"}
    known = {"content-type", "content-length", "date", "x-request-id", "request-id"}
    known |= {"x-should-retry", "retry-after", "connection"}
    assert answer.headers.keys() - ours - known - (framing if stream else set()) == set()
    assert "req_fake" in answer.headers["penstock-upstream-request-id"]
    assert "req_fake" not in answer.headers.get("x-request-id", "")


# ---- who may call what ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        "/v1/%63hat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/chat/completions/",
        "//v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/models/../chat/completions",
        "/V1/CHAT/COMPLETIONS",
        "/v1/chat/completions?key=x",
        "/v1/chat/completions;x",
    ],
)
def test_no_spelling_of_a_path_leads_around_keys_and_what_they_allow(gate, path):
    key = gate.new_key("spelt", ["claude"])
    body = json.dumps({"model": "assistant", "messages": HELLO}).encode()
    known = {"authorization": f"Bearer {key}"}
    assert gate.server.request("POST", path, body).status in (401, 404)
    assert gate.server.request("POST", path, body, known).status in (403, 404, 405)
    assert gate.fake.received == []


def test_a_key_of_some_models_is_refused_all_others_on_every_path(gate):
    key = gate.new_key("narrow", ["assistant"])
    bearer = f"Bearer {key}"
    asking = {"penstock-model": "assistant", "x-model": "assistant", "model": "assistant"}
    for path, values in ASKED.items():
        for name in ("claude", "azure", "no-such-model"):
            answer = gate.post(path, {"model": name, **values}, authorization=bearer, **asking)
            assert (answer.status, name in answer.json()["error"]["message"]) == (403, True)
    assert gate.fake.received == []
    told = {"authorization": bearer}
    listed = gate.server.request("GET", "/v1/models", None, told).json()["data"]
    assert {one["id"] for one in listed} == {"assistant", "gpt-4o-mini", "openai/gpt-4o-mini"}
    assert gate.server.request("GET", "/v1/models/claude", None, told).status == 404
    assert gate.server.request("GET", "/v1/models/assistant", None, told).status == 200


def test_a_key_is_not_answered_by_a_fallback_that_it_may_not_call(gate):
    key = gate.new_key("no-fallback", ["falls-back"])
    assert gate.chat("falls-back", key=key).status == 502
    assert [one.script.name for one in gate.fake.received] == ["broken"]
    assert gate.chat("falls-back").status == 200


def test_keys_that_begin_alike_are_not_taken_for_one_another(gate):
    key, other = gate.new_key("first"), gate.new_key("second")
    assert gate.chat("assistant", key=key).status == 200
    assert gate.chat("assistant", key=other).status == 200
    before = len(gate.fake.received)
    half = len(key) // 2
    for forged in (
        key[:-1],
        key + "x",
        key[:half],
        key[:half] + other[half:],
        key[:20] + "x" * (len(key) - 20),
        key.swapcase(),
    ):
        for how in ({"authorization": f"Bearer {forged}"}, {"x_api_key": forged}):
            shown = {"authorization": ""} | how if "x_api_key" in how else how
            values = {"model": "assistant", "messages": HELLO}
            assert gate.post(CHAT, values, **shown).status == 401
    assert len(gate.fake.received) == before


@pytest.mark.parametrize(
    "value",
    [
        "x' OR '1'='1",
        "' UNION SELECT digest FROM keys --",
        "x'; DROP TABLE keys; --",
        '" OR ""="',
        "%27%20OR%201=1",
        "x\\' OR 1=1 --",
    ],
)
def test_no_sql_in_a_credential_opens_anything(gate, value):
    values = {"model": "assistant", "messages": HELLO}
    assert gate.post(CHAT, values, authorization=f"Bearer {value}").status == 401
    bare = json.dumps(values).encode()
    assert gate.server.request("POST", CHAT, bare, {"x-api-key": value}).status == 401
    assert gate.fake.received == []
    assert gate.chat("assistant").status == 200


def test_keys_hold_and_are_never_401_while_control_does_not_answer(gate):
    control = next(
        one for one in gate.server.children() if one.pid == gate.server.status()["control"]
    )
    control.suspend()
    try:
        assert {gate.chat("assistant").status for _ in range(8)} == {200}
        assert gate.chat("assistant", key="sk-nobody").status == 401
    finally:
        control.resume()
    eventually(lambda: gate.server.admin("GET", "/health/ready").status == 200)


# ---- too much ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ASKED)
def test_a_body_that_is_nested_without_end_is_refused(gate, path):
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    body = json.dumps({"model": "assistant", **ASKED[path]})[:-1] + f',"x":{deep}}}'
    headers = {"authorization": f"Bearer {gate.key}", "content-type": "application/json"}
    assert gate.server.request("POST", path, body.encode(), headers).status == 400
    assert gate.fake.received == []


def test_what_is_too_large_is_refused_before_it_is_read(gate):
    head = b"POST %s HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer %s\r\n" % (
        CHAT.encode(),
        gate.key.encode(),
    )
    assert raw(gate, head + b"content-length: 10000000000\r\n") == b"HTTP/1.1 413"
    flood = b"".join(b"x-%d: %s\r\n" % (n, b"a" * 100) for n in range(2000))
    assert raw(gate, head + flood + b"content-length: 0\r\n") == b"HTTP/1.1 431"
    long = head + b"x-api-key: " + b"a" * 1_000_000 + b"\r\n"
    assert raw(gate, long)[:10] == b"HTTP/1.1 4"
    bomb = gzip.compress(b" " * 200_000_000)
    headers = {"authorization": f"Bearer {gate.key}", "content-encoding": "gzip"}
    assert gate.server.request("POST", CHAT, bomb, headers).status == 413
    assert gate.fake.received == []
    for stream in (False, True):  # what is compressed and small is answered
        values = {"model": "claude", "messages": HELLO, "stream": stream}
        small = gzip.compress(json.dumps(values).encode())
        answer = gate.server.request("POST", CHAT, small, headers)
        assert answer.status == 200
        assert b"water" in answer.body


def test_names_that_nobody_has_make_no_series(gate):
    def series() -> set[str]:
        lines = gate.server.admin("GET", "/metrics").body.decode().splitlines()
        return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}

    def ask(number: int) -> None:
        name = f"junk-{number}"
        answer = gate.chat(name, user=name, metadata={"tags": [name]})
        assert code_of(answer) == "model_not_found"
        gate.post(f"/v1/{name}", {"model": name}, user_agent=name, x_team=name)
        gate.server.request("GET", f"/v1/models/{name}", None, {"authorization": f"Bearer {name}"})

    ask(0)
    before = series()
    for number in range(1, 40):
        ask(number)
    after = series()
    assert not [line for line in after if "junk" in line]
    assert len(after - before) < 10


# ---- what must not be seen -----------------------------------------------------------------------


def test_no_secret_and_no_prompt_is_told_or_written_down(gate):
    prompt = "canary-prompt-c41f7a"
    virtual = gate.new_key("canary")
    told: list[bytes] = []

    def ask(path: str, values: Any, **headers: str) -> None:
        told.append(gate.post(path, values, **headers).body)

    for model in (*PROVIDERS, "second-best", "cut", "hidden", "nobody"):
        for script in ("tokens=3", "status=401&leak=1", "status=400&leak=1", "status=503&leak=1"):
            text = f"{prompt} fake?{script}"
            for stream in (False, True):
                values = {"model": model, "messages": [{"role": "user", "content": text}]}
                traced = f"00-{'4bf92f3577b34da6a3ce929d0e0e4736'}-00f067aa0ba902b7-01"
                bearer = f"Bearer {virtual}"
                ask(CHAT, values | {"stream": stream}, authorization=bearer, traceparent=traced)
    ask("/v1/nothing", {"model": prompt, prompt: prompt})
    for field in ("stream", "max_tokens", "n", "messages", "tools", "stream_options"):
        ask(CHAT, {"model": "claude", "messages": HELLO, field: prompt})
    ask("/v1/messages", {"model": "azure", "max_tokens": 5, "messages": prompt})
    # A worker that dies shows none of what it held, and neither does its successor.
    worker = gate.server.status()["workers"][0]["pid"]
    next(one for one in gate.server.children() if one.pid == worker).send_signal(signal.SIGABRT)
    eventually(lambda: worker not in {one["pid"] for one in gate.server.status()["workers"]})
    eventually(lambda: gate.chat("assistant", key=virtual).status == 200)
    eventually(lambda: bool(gate.collector.spans))

    document = gate.server.admin("GET", "/api/openapi.json").json()
    shown = {
        path: gate.server.admin("GET", path).body
        for path, operations in document["paths"].items()
        if "get" in operations and "{" not in path
    }
    assert {"/api/keys", "/api/audit", "/api/config", "/api/status"} <= shown.keys()
    shown["/metrics"] = gate.server.admin("GET", "/metrics").body
    shown["log"] = gate.server.log.encode()
    shown["spans"] = repr([kept.span for kept in gate.collector.spans]).encode()
    written = {
        str(path): path.read_bytes()
        for path in gate.server.home.rglob("*")
        if path.is_file() and path.suffix != ".key"
    }
    assert any(name.endswith("access.log") for name in written)
    shown |= written
    for secret in (*SECRETS.values(), virtual, gate.key, prompt):
        assert [name for name, text in shown.items() if secret.encode() in text] == []
    for secret in SECRETS.values():
        assert [text for text in told if secret.encode() in text] == []
