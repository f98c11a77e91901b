"""Deadlines, retries and errors of both clients, against a server that answers as it is told."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import threading
from collections.abc import Callable

import numpy as np
import pytest

from gateway.client import (
    Admin,
    AsyncAdmin,
    AsyncClient,
    BadAnswer,
    Client,
    ConnectionLost,
    TimedOut,
    Unreachable,
    encoding,
)
from gateway.client.errors import refusal
from gateway.client.lines import pause_before_retry_s
from gateway.errors import (
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    QueueFull,
    Unavailable,
)
from tests.client.upstream import Reply, upstream

ROWS = np.zeros((1, 2), np.float32)
METADATA = {
    "name": "m",
    "versions": ["1"],
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    "properties": {"y.labels": '["no","yes"]'},
}
ANSWER = {
    "model_name": "m",
    "model_version": "1",
    "outputs": [{"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [0, 1]}],
}
BUSY = Reply(
    503,
    {"error": "m: full"},
    {"retry-after": "0", "penstock-error-code": "queue_full", "penstock-request-id": "h-0-1-5"},
)

Use = Callable[..., list]


@pytest.fixture(params=["sync", "async"])
def use(request) -> Use:
    """Calls a client's methods one after another: `use("Client", url, ("ready",), ...)`."""

    def sync(kind: str, url: str, *calls: tuple, **options) -> list:
        with {"Client": Client, "Admin": Admin}[kind](url, **options) as client:
            return [getattr(client, name)(*given) for name, *given in calls]

    async def unsync(kind: str, url: str, *calls: tuple, **options) -> list:
        async with {"Client": AsyncClient, "Admin": AsyncAdmin}[kind](url, **options) as client:
            return [await getattr(client, name)(*given) for name, *given in calls]

    if request.param == "sync":
        return sync
    return lambda *given, **options: asyncio.run(unsync(*given, **options))


def infer(*rows) -> tuple:
    return ("infer", "m", *(rows or ({"x": ROWS},)))


def test_an_inference_is_one_request(use):
    with upstream([Reply(200, ANSWER)]) as server:
        (answer,) = use("Client", server.url, infer())
    assert answer["y"].tolist() == [[0, 1]]
    (asked,) = server.asked
    assert asked.line == "POST /v2/models/m/infer"
    # Compressed tensors cost both sides more than they save.
    assert asked.headers["accept-encoding"] == "identity"


def test_a_key_goes_as_a_bearer_token(use):
    with upstream([Reply(200, ANSWER)]) as server:
        use("Client", server.url, infer(), key="s3cret")
    assert server.asked[0].headers["authorization"] == "Bearer s3cret"


def test_connections_are_kept(use):
    with upstream([Reply(200, ANSWER)]) as server:
        use("Client", server.url, *[infer()] * 5)
    assert len({asked.connection for asked in server.asked}) == 1


def test_metadata_is_asked_once_and_forgotten_with_a_refusal(use):
    refused = Reply(400, {"error": "wrong"}, {"penstock-error-code": "invalid_tensor"})
    replies = [Reply(200, METADATA), Reply(200, ANSWER), Reply(200, ANSWER), refused]
    with upstream(replies) as server, pytest.raises(InvalidRequest, match="wrong"):
        use("Client", server.url, infer([[1, 2]]), infer({"x": [[1, 2]]}), infer([[1, 2]]))
    assert [asked.line for asked in server.asked] == [
        "GET /v2/models/m",
        *["POST /v2/models/m/infer"] * 3,
    ]


def test_after_a_refusal_metadata_is_asked_anew():
    refused = Reply(400, {"error": "wrong"})
    replies = [Reply(200, METADATA), refused, Reply(200, METADATA), Reply(200, ANSWER)]
    with upstream(replies) as server, Client(server.url) as client:
        with pytest.raises(InvalidRequest):
            client.infer("m", [[1, 2]])
        client.infer("m", [[1, 2]])
    assert [asked.line[:4] for asked in server.asked] == ["GET ", "POST", "GET ", "POST"]


def test_a_models_name_and_version_are_quoted(use):
    with upstream([Reply(200, METADATA)]) as server:
        (model,) = use("Client", server.url, ("model", "café/x", 2))
    assert server.asked[0].line == "GET /v2/models/caf%C3%A9%2Fx/versions/2"
    assert (model.inputs[0].shape, model.outputs[0].labels) == ((-1, 2), ("no", "yes"))


# ---- deadlines ----


def test_a_reload_may_wait_for_one_model_alone(use):
    with upstream([Reply(200, {"plan": 1, "absent": []})]) as there:
        use("Admin", there.url, ("reload",), ("reload", "a/b c"))
    assert [asked.line for asked in there.asked] == [
        "POST /api/reload",
        "POST /api/reload?model=a%2Fb+c",
    ]


def test_the_time_a_call_may_take_is_told_to_the_server(use):
    with upstream([Reply(200, ANSWER)]) as server:
        use("Client", server.url, infer(), timeout_s=12.5)
    head = json.loads(server.asked[0].body[: -ROWS.nbytes])
    assert head["parameters"] == {"timeout": 12_500_000, "binary_data_output": True}


def test_without_a_timeout_none_is_told(use):
    with upstream([Reply(200, ANSWER)]) as server:
        use("Client", server.url, infer(), timeout_s=None)
    assert b"timeout" not in server.asked[0].body


def test_a_server_that_does_not_answer_in_time_is_not_asked_again(use):
    release = threading.Event()
    with upstream([Reply(200, ANSWER, after=release)]) as server:
        with pytest.raises(TimedOut, match=f"{server.url}: no answer within 0.05 s"):
            use("Client", server.url, infer(), timeout_s=0.05, retries=3)
        release.set()
    assert len(server.asked) == 1


# ---- retries ----


def test_a_refusal_for_now_is_retried_as_often_as_allowed(use):
    with upstream([BUSY, BUSY, Reply(200, ANSWER)]) as server:
        (answer,) = use("Client", server.url, infer(), retries=2)
    assert answer.model == "m"
    # What is left of the time, and with it the request, has become less.
    told = [json.loads(a.body[: -ROWS.nbytes])["parameters"]["timeout"] for a in server.asked]
    assert told[0] > told[1] > told[2] > 0


@pytest.mark.parametrize("retries", [0, 1])
def test_after_the_last_retry_the_refusal_is_raised(use, retries):
    with upstream([BUSY]) as server, pytest.raises(QueueFull) as refused:
        use("Client", server.url, infer(), retries=retries)
    assert len(server.asked) == 1 + retries
    error = refused.value
    assert (error.status, error.code, str(error)) == (503, "queue_full", "m: full")
    assert (error.retry_after_s, error.request_id) == (0, "h-0-1-5")


def test_a_pause_that_passes_the_deadline_is_not_begun(use):
    later = Reply(503, {"error": "full"}, {"retry-after": "3600"})
    with upstream([later]) as server, pytest.raises(Unavailable) as refused:
        use("Client", server.url, infer(), retries=5)
    assert (len(server.asked), refused.value.retry_after_s) == (1, 3600)


def test_a_change_is_not_repeated_after_a_refusal(use):
    with upstream([BUSY]) as server, pytest.raises(QueueFull):
        use("Admin", server.url, ("load", "m"), retries=3)
    assert len(server.asked) == 1


def test_a_connection_that_is_cut_is_not_used_for_a_second_try(use):
    with upstream([Reply(None), Reply(200, ANSWER)]) as server:
        with pytest.raises(ConnectionLost, match=server.url):
            use("Client", server.url, infer(), retries=3)
        assert len(server.asked) == 1


def test_where_nobody_listens_every_call_may_be_retried(use):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=f"http://127.0.0.1:{port}: no connection"):
        use("Admin", f"http://127.0.0.1:{port}", ("reload",), retries=1)


@pytest.mark.parametrize(
    ("error", "tried", "repeatable", "least", "most"),
    [
        (Unreachable("x"), 0, False, 0.2, 0.2),
        (Unreachable("x"), 2, True, 0.8, 0.8),
        (QueueFull("x"), 0, True, 1.0, 1.25),
    ],
)
def test_pauses_follow_what_went_wrong(error, tried, repeatable, least, most):
    pause = pause_before_retry_s(error, tried, repeatable)
    assert pause is not None
    assert least <= pause <= most


@pytest.mark.parametrize(
    "error", [TimedOut("x"), ConnectionLost("x"), BadAnswer("x"), NotFound("x"), GatewayError("x")]
)
def test_what_may_have_been_served_or_will_not_change_is_not_retried(error):
    assert pause_before_retry_s(error, 0, repeatable=True) is None


# ---- errors ----


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "code", "message"),
    [
        pytest.param(
            404,
            {"penstock-error-code": "model_not_found"},
            b'{"error":"no m"}',
            ModelNotFound,
            "model_not_found",
            "no m",
            id="header",
        ),
        pytest.param(
            404, {}, b'{"error":"x","code":"model_not_found"}', ModelNotFound, "model_not_found",
            "x", id="body",
        ),
        pytest.param(404, {}, b'{"error":"x"}', NotFound, "not_found", "x", id="only-status"),
        pytest.param(429, {}, b"slow down", Unavailable, "unavailable", "status 429", id="text"),
        pytest.param(418, {}, b"[1]", InvalidRequest, "invalid_request", "status 418", id="odd"),
        pytest.param(502, {}, b"", GatewayError, "internal", "status 502", id="proxy"),
        pytest.param(
            403, {}, b'{"error":"x","code":"of_tomorrow"}', InvalidRequest, "of_tomorrow", "x",
            id="unknown-code",
        ),
    ],
)  # fmt: skip
def test_an_error_is_of_the_class_that_the_server_named(status, headers, body, kind, code, message):
    error = refusal(status, headers, body)
    assert (type(error), error.status, error.code, str(error)) == (kind, status, code, message)


def test_readiness_is_no_error_unless_the_model_is_unknown(use):
    with upstream([Reply(400, {"ready": False})]) as server:
        assert use("Client", server.url, ("ready",), ("ready", "m")) == [False, False]
    gone = Reply(404, {"error": "no"}, {"penstock-error-code": "model_not_found"})
    with upstream([gone]) as server, pytest.raises(ModelNotFound):
        use("Client", server.url, ("ready", "m"))


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("Client", infer()),
        ("Client", ("model", "m")),
        ("Client", ("models",)),
        ("Client", ("statistics",)),
        ("Client", ("server",)),
        ("Client", ("send_outcomes", [{"id": "x", "outcome": 1}])),
        ("Admin", ("models",)),
        ("Admin", ("status",)),
    ],
    ids=lambda given: given if isinstance(given, str) else given[0],
)
@pytest.mark.parametrize("body", [b"<html>hello</html>", b'"text"'])
def test_an_answer_of_something_else_is_told_as_such(use, kind, call, body):
    with upstream([Reply(200, body)]) as server, pytest.raises(BadAnswer):
        use(kind, server.url, call)


def test_outcomes_are_sent_again_until_control_takes_them(use):
    counts = {"counts": {"accepted": 1}, "faults": []}
    away = Reply(503, {"error": "away"}, {"penstock-error-code": "control_unavailable"})
    sent = [{"id": "h-1-0-1-5", "outcome": 1}]
    with upstream([away, Reply(200, counts)]) as server:
        assert use("Client", server.url, ("send_outcomes", sent), retries=1) == [counts]


# ---- the two kinds of client ----


@pytest.mark.parametrize(("sync", "unsync"), [(Client, AsyncClient), (Admin, AsyncAdmin)])
def test_both_clients_have_the_same_methods(sync, unsync):
    def methods(kind: type) -> dict[str, inspect.Signature]:
        public = {name for name in dir(kind) if not name.startswith("_")}
        return {name: inspect.signature(getattr(kind, name)) for name in public}

    assert methods(sync) == methods(unsync)


def test_one_client_serves_many_threads():
    with upstream([Reply(200, ANSWER)]) as server, Client(server.url) as client:
        answers: list[encoding.Answer] = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.infer("m", {"x": ROWS})))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 8
