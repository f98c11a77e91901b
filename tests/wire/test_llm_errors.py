"""Errors in each dialect's words, and the headers that go with them."""

from __future__ import annotations

import orjson
import pytest

from gateway.errors import (
    BudgetExceeded,
    Forbidden,
    GatewayError,
    InvalidParameter,
    ModelNotFound,
    RateLimited,
    Unauthenticated,
    UpstreamFailed,
    UpstreamsExhausted,
    UpstreamTimedOut,
)
from gateway.wire.llm.errors import (
    error_body,
    go_duration,
    rate_lines,
    stream_error,
)
from gateway.wire.llm.paths import refusal
from gateway.wire.llm.sse import Frames, event_of
from gateway.wire.llm.told import Told, told_error
from gateway.wire.llm.words import Dialect


@pytest.mark.parametrize(
    ("error", "kind", "code", "param"),
    [
        (
            InvalidParameter("parameter 'n': expected 1, got 2"),
            "invalid_request_error",
            "invalid_parameter",
            "n",
        ),
        (Unauthenticated("no key"), "authentication_error", "invalid_api_key", None),
        (Forbidden("not you"), "permission_error", "forbidden", None),
        (ModelNotFound("none"), "invalid_request_error", "model_not_found", None),
        (BudgetExceeded("spent"), "insufficient_quota", "insufficient_quota", None),
        (RateLimited("slow"), "rate_limit_error", "rate_limit_exceeded", None),
        (UpstreamFailed("broken"), "server_error", "upstream_failed", None),
    ],
)
def test_errors_as_openai_tells_them(
    error: GatewayError, kind: str, code: str, param: str | None
) -> None:
    told = {"message": str(error), "type": kind, "param": param, "code": code}
    for dialect in (Dialect.CHAT, Dialect.COMPLETIONS, Dialect.EMBEDDINGS, Dialect.RESPONSES):
        assert orjson.loads(error_body(dialect, error)) == {"error": told}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidParameter("parameter 'n': no"), "invalid_request_error"),
        (Unauthenticated("no key"), "authentication_error"),
        (Forbidden("not you"), "permission_error"),
        (ModelNotFound("none"), "not_found_error"),
        (RateLimited("slow"), "rate_limit_error"),
        (UpstreamFailed("broken"), "api_error"),
        (UpstreamTimedOut("late"), "timeout_error"),
        (UpstreamsExhausted("none left"), "overloaded_error"),
    ],
)
def test_errors_as_anthropic_tells_them(error: GatewayError, kind: str) -> None:
    error.request_id = "r-1"
    for dialect in (Dialect.MESSAGES, Dialect.COUNT):
        assert orjson.loads(error_body(dialect, error)) == {
            "type": "error",
            "error": {"type": kind, "message": str(error)},
            "request_id": "r-1",
        }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/v1/chat/completions", b"x-request-id"),
        (b"/v1/embeddings", b"x-request-id"),
        (b"/v1/models", b"x-request-id"),
        (b"/v1/messages", b"request-id"),
        (b"/v1/messages/count_tokens", b"request-id"),
        (b"/chat/completions", b"x-request-id"),
        (b"/models", b"x-request-id"),
        (b"/messages", b"request-id"),
    ],
)
def test_a_refusal_has_its_request_id_where_clients_look_for_one(path: bytes, name: bytes) -> None:
    body, headers = refusal(Unauthenticated("no key"), path, b"r-1", None)
    assert dict(headers)[name] == b"r-1"
    told = orjson.loads(body)
    assert told["error"]["type"] == "authentication_error"
    assert name != b"request-id" or told["request_id"] == "r-1"
    _, headers = refusal(Unauthenticated("no key"), path, b"r-1", b"its-own")
    assert name not in dict(headers)


def test_a_refusal_at_no_path_of_these_is_told_as_before() -> None:
    body, headers = refusal(Unauthenticated("no key"), b"/v2/models/m/infer", b"r-1", None)
    assert (orjson.loads(body), headers) == ({"error": "no key"}, ())


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES])
def test_an_error_in_a_stream_is_one_whole_event(dialect: Dialect) -> None:
    (one,) = Frames().feed(stream_error(dialect, UpstreamFailed("cut \ud800"), sequence=4))
    event, data = event_of(one)
    assert event == (b"" if dialect is Dialect.CHAT else b"error")
    told = told_error(orjson.loads(data))
    assert told is not None
    assert told.message == "cut ?"
    if dialect is Dialect.RESPONSES:
        assert orjson.loads(data)["sequence_number"] == 4


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            Told("t", "c", "m", "p"),
        ),
        ({"type": "error", "error": {"type": "t", "message": "m"}}, Told("t", "", "m")),
        (
            [{"error": {"code": 429, "message": "m", "status": "RESOURCE"}}],
            Told("RESOURCE", "429", "m"),
        ),
        (
            {"object": "error", "type": "BadRequestError", "message": "m", "code": 400},
            Told("BadRequestError", "400", "m"),
        ),
        ({"type": "error", "code": "c", "message": "m", "param": None}, Told("", "c", "m")),
        ({"error": "m"}, Told(message="m")),
        ({"detail": "m"}, Told(message="m")),
        ({"detail": [{"loc": ["body"]}]}, Told(message="the request was refused")),
        ({"id": "x"}, None),
        ([], None),
        ("text", None),
    ],
)
def test_providers_errors_are_read_in_every_shape(values: object, expected: Told | None) -> None:
    assert told_error(values) == expected


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("429", 429),
        *(
            (code, 529)
            for code in ("4290", "04290", "0450" + "9" * 5000, "399", "600", "\u0664\u0660\u0660")
        ),
    ],
)
def test_a_code_is_a_status_where_it_is_one_as_it_stands(code: str, status: int) -> None:
    assert Told("overloaded_error", code).status == status


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [
        *((0, b"0s"), (21, b"21ms"), (1000, b"1s"), (1500, b"1.5s"), (360_000, b"6m0s")),
        (3_661_250, b"1h1m1.25s"),
    ],
)
def test_durations_are_told_as_go_tells_them(milliseconds: int, told: bytes) -> None:
    assert go_duration(milliseconds) == told


def test_what_is_left_is_told_where_each_client_looks() -> None:
    assert rate_lines(Dialect.CHAT, "requests", 60, 59, 1000, 0.0) == (
        b"x-ratelimit-limit-requests: 60\r\n"
        b"x-ratelimit-remaining-requests: 59\r\n"
        b"x-ratelimit-reset-requests: 1s\r\n"
    )
    assert rate_lines(Dialect.MESSAGES, "tokens", 1000, 0, 90_000, 1_700_000_000.0) == (
        b"anthropic-ratelimit-tokens-limit: 1000\r\n"
        b"anthropic-ratelimit-tokens-remaining: 0\r\n"
        b"anthropic-ratelimit-tokens-reset: 2023-11-14T22:14:50Z\r\n"
    )
