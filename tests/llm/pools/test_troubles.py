"""What providers' errors mean, in the words in which they tell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamFailed, UpstreamTimedOut
from gateway.llm.pools import Outcome, Trouble
from gateway.llm.pools.troubles import of_answer, of_error, retry_after_s
from gateway.wire.llm.translate import PAIRS
from gateway.wire.llm.words import Dialect


def openai(message="", kind="invalid_request_error", code=None, **more):
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **more}}


def anthropic(kind, message=""):
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


ERRORS = [
    # too long
    (400, openai(code="context_length_exceeded"), Trouble.CONTEXT_WINDOW),
    (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you"
            " requested 5000 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        Trouble.CONTEXT_WINDOW,
    ),
    (
        400,
        openai("The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
        Trouble.CONTEXT_WINDOW,
    ),
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "request (13392 tokens) exceeds the available context size",
                "type": "exceed_context_size_error",
                "n_ctx": 8192,
            }
        },
        Trouble.CONTEXT_WINDOW,
    ),
    (
        500,
        {"error": "the input length exceeds the context length"},
        Trouble.CONTEXT_WINDOW,
    ),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (1200000) exceeds the maximum number of"
                    " tokens allowed (1048576).",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        Trouble.CONTEXT_WINDOW,
    ),
    (
        400,
        anthropic("invalid_request_error", "prompt is too long: 207519 tokens > 200000"),
        Trouble.CONTEXT_WINDOW,
    ),
    (
        400,
        anthropic(
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        ),
        Trouble.CONTEXT_WINDOW,
    ),
    (
        200,
        {
            "type": "response.failed",
            "response": {"error": {"code": "context_length_exceeded", "message": ""}},
        },
        Trouble.CONTEXT_WINDOW,
    ),
    # not allowed
    (
        400,
        openai(
            "The response was filtered",
            kind=None,
            code="content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
        Trouble.CONTENT_POLICY,
    ),
    (400, openai(code="content_policy_violation"), Trouble.CONTENT_POLICY),
    (400, openai(code="invalid_prompt"), Trouble.CONTENT_POLICY),
    (
        400,
        anthropic("invalid_request_error", "Output blocked by content filtering policy"),
        Trouble.CONTENT_POLICY,
    ),
    # not now
    (429, openai(kind="requests", code="rate_limit_exceeded"), Trouble.LIMITED),
    (429, anthropic("rate_limit_error"), Trouble.LIMITED),
    (429, "slow down", Trouble.LIMITED),
    (200, anthropic("rate_limit_error"), Trouble.LIMITED),
    (429, openai(kind="insufficient_quota", code="insufficient_quota"), Trouble.QUOTA),
    (402, anthropic("billing_error"), Trouble.QUOTA),
    (
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access"),
        Trouble.QUOTA,
    ),
    # not us, not this
    (401, openai(code="invalid_api_key"), Trouble.CREDENTIALS),
    (401, anthropic("authentication_error"), Trouble.CREDENTIALS),
    (403, anthropic("permission_error"), Trouble.CREDENTIALS),
    (401, None, Trouble.CREDENTIALS),
    (404, openai(code="model_not_found"), Trouble.MISSING),
    (404, openai(code="DeploymentNotFound"), Trouble.MISSING),
    (404, anthropic("not_found_error", "model: claude-9"), Trouble.MISSING),
    (404, openai("The model `x` does not exist.", kind="NotFoundError"), Trouble.MISSING),
    (404, {"error": "model 'x' not found, try pulling it first"}, Trouble.MISSING),
    (404, openai("models/x is not found for API version v1beta"), Trouble.MISSING),
    # not here
    (404, anthropic("not_found_error"), Trouble.UNKNOWN),
    (404, openai("Response with id 'the model x' not found."), Trouble.UNKNOWN),
    (404, {"detail": "Not Found"}, Trouble.UNKNOWN),
    (404, None, Trouble.UNKNOWN),
    # broken
    (500, openai(kind="server_error"), Trouble.FAILED),
    (503, "<html>busy</html>", Trouble.FAILED),
    (529, anthropic("overloaded_error"), Trouble.FAILED),
    (200, anthropic("overloaded_error"), Trouble.FAILED),
    (200, openai(kind="server_error"), Trouble.FAILED),
    (200, {"error": {"message": "?"}}, Trouble.FAILED),
    (504, anthropic("timeout_error"), Trouble.FAILED),
    (408, None, Trouble.FAILED),
    (502, [], Trouble.FAILED),
    (502, {"error": {"message": 5, "code": ["x"], "type": {}}}, Trouble.FAILED),
    # wrong
    (400, openai("unknown field 'x'"), Trouble.REFUSED),
    (400, anthropic("invalid_request_error", "messages: at least one"), Trouble.REFUSED),
    (413, anthropic("request_too_large"), Trouble.REFUSED),
    (422, {"detail": [{"msg": "field required"}]}, Trouble.REFUSED),
    (200, anthropic("invalid_request_error", "tools: wrong"), Trouble.REFUSED),
]


@pytest.mark.parametrize(("status", "values", "trouble"), ERRORS)
def test_an_error_is_known_for_what_it_is(status, values, trouble):
    assert of_answer(status, [], values).trouble is trouble


@pytest.mark.parametrize(
    ("status", "values", "trouble"),
    [one for one in ERRORS if "response" not in (one[1] or ())],
)
def test_a_client_of_another_dialect_hears_that_a_prompt_is_too_long_where_pools_do(
    status, values, trouble
):
    _, body = PAIRS[Dialect.MESSAGES, Dialect.CHAT].error(status, values)
    says = body["error"]["message"].startswith("prompt is too long")
    assert says == (trouble is Trouble.CONTEXT_WINDOW)
    _, body = PAIRS[Dialect.CHAT, Dialect.MESSAGES].error(status, values)
    assert (body["error"]["code"] == "context_length_exceeded") == says


def test_what_a_prompt_says_is_not_taken_for_what_is_wrong():
    long_quote = openai("unknown role in: " + "x" * 1000 + " prompt is too long")
    assert of_answer(400, [], long_quote).trouble is Trouble.REFUSED
    assert of_answer(503, [], openai("prompt is too long")).trouble is Trouble.FAILED


def test_no_answer_is_a_failure_with_its_code():
    assert of_error(UpstreamFailed("cut off")).why == "upstream_failed"
    assert of_error(UpstreamTimedOut("slow")).trouble is Trouble.FAILED


def test_only_what_is_the_upstreams_fault_counts_against_it():
    assert {trouble: trouble.outcome for trouble in Trouble} == {
        Trouble.FAILED: Outcome.FAILED,
        Trouble.UNASKED: Outcome.LEFT,
        Trouble.LIMITED: Outcome.LIMITED,
        Trouble.CREDENTIALS: Outcome.FAILED,
        Trouble.QUOTA: Outcome.FAILED,
        Trouble.MISSING: Outcome.FAILED,
        Trouble.UNKNOWN: Outcome.REFUSED,
        Trouble.CONTEXT_WINDOW: Outcome.REFUSED,
        Trouble.CONTENT_POLICY: Outcome.REFUSED,
        Trouble.REFUSED: Outcome.REFUSED,
    }


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({b"retry-after": b"7"}, 7.0),
        ({b"retry-after": b"0.5"}, 0.5),
        ({b"retry-after": b"-3"}, 0.0),
        ({b"retry-after": b"7", b"retry-after-ms": b"250"}, 0.25),
        ({b"retry-after": b"7", b"retry-after-ms": b"soon"}, 7.0),
        ({b"retry-after": b"nan"}, None),
        ({b"retry-after": b"inf"}, None),
        ({b"retry-after": b"soon"}, None),
        ({b"retry-after": b"\xff\xfe"}, None),
        (
            {
                b"date": b"Fri, 27 Nov 2026 10:00:00 GMT",
                b"retry-after": b"Fri, 27 Nov 2026 10:00:09 GMT",
            },
            9.0,
        ),
        (
            {
                b"date": b"Fri, 27 Nov 2026 10:00:00 GMT",
                b"retry-after": b"Fri, 27 Nov 2026 09:00:00 GMT",
            },
            0.0,
        ),
        ({b"retry-after": b"Fri, 27 Nov 2026 10:00:09 GMT"}, None),
        ({b"retry-after": b"Fri, 99 Nov 2026 10:00:09 GMT"}, None),
    ],
)
def test_a_pause_is_read_as_the_vendors_clients_read_it(headers, seconds):
    assert retry_after_s(headers) == seconds


def test_a_date_alone_is_held_against_the_clock_that_is_given():
    assert retry_after_s({b"retry-after": b"Thu, 01 Jan 1970 00:01:00 GMT"}, now_s=40.0) == 20.0


def test_an_upstream_has_the_say_on_whether_trying_again_helps():
    no = of_answer(500, [(b"x-should-retry", b"false")], None)
    yes = of_answer(400, [(b"x-should-retry", b"true")], openai("lock"))
    assert (no.trouble, no.should_retry) == (Trouble.FAILED, False)
    assert (yes.trouble, yes.should_retry) == (Trouble.FAILED, True)


def test_why_holds_a_code_and_never_a_sentence():
    secret = "sk-canary-0123456789"
    assert of_answer(429, [], openai(secret, "requests", "rate_limit_exceeded")).why == (
        "429 rate_limit_exceeded"
    )
    assert of_answer(400, [], openai(secret, kind=f"key {secret} is wrong")).why == "400"
    assert of_answer(503, [], secret).why == "503"


KEYS = ["error", "message", "type", "code", "status", "innererror", "response"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.sampled_from([200, 400, 404, 413, 429, 500, 529, 999]),
    st.dictionaries(
        st.sampled_from([b"retry-after", b"retry-after-ms", b"date", b"x-should-retry"]),
        st.binary(max_size=40) | st.sampled_from([b"Fri, 27 Nov 2026 10:00:09 GMT", b"1e999"]),
    ),
    anything,
)
def test_whatever_an_upstream_sends_is_some_trouble(status, headers, values):
    found = of_answer(status, list(headers.items()), values, now_s=0.0)
    assert found.retry_after_s is None or 0.0 <= found.retry_after_s < 1e18
    assert len(found.why) <= 70
