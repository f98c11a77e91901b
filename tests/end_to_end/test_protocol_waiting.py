"""Deadlines, full queues and priorities over plain HTTP, and what statistics count."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.end_to_end.server import Answer, RunningServer
from tests.end_to_end.speech import ROW, error, infer
from tests.end_to_end.zoo import asked, tensor


@pytest.fixture(scope="module")
def server(zoo_server: RunningServer) -> RunningServer:
    return zoo_server


# ---- waiting ------------------------------------------------------------------------------------

PEBBLE = tensor("x", [[1]], "FP32")


def at_once(server: RunningServer, model: str, requests: list) -> list[Answer]:
    bodies = [json.dumps(request).encode() for request in requests]
    return server.at_once(f"/v2/models/{model}/infer", bodies)


def test_a_timeout_that_cannot_be_met_is_refused_at_once(server):
    infer(server, "slow", asked(PEBBLE))
    answer = infer(server, "slow", asked(PEBBLE, parameters={"timeout": 10}))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "Request timeout expired" in error(answer)


def test_a_timeout_that_can_be_met_changes_nothing(server):
    assert infer(server, "slow", asked(PEBBLE, parameters={"timeout": 10_000_000})).status == 200


def test_a_models_own_timeout_bounds_the_wait(server):
    # One run ends within the timeout, forty do not.
    answers = at_once(server, "queueing", [asked(PEBBLE)] * 40)
    refused = [error(answer) for answer in answers if answer.status != 200]
    assert {answer.status for answer in answers} == {200, 503}
    assert all("Request timeout expired" in message for message in refused)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(server):
    answers = at_once(server, "slow", [asked(PEBBLE)] * 12)
    refused = [answer for answer in answers if answer.status != 200]
    # Two wait, whether or not one more has begun to run when the third comes.
    assert 1 <= len(refused) <= 10
    for answer in refused:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "model 'slow': Exceeds maximum queue size" in error(answer)


@pytest.mark.parametrize(
    "parameters",
    [
        {"priority": -1},
        {"priority": "1"},
        {"timeout": 1.5},
        {"timeout": -1},
        {"triton_secret": 1},
        {"binary_data_output": 1},
        {"nested": {}},
    ],
    ids=str,
)
def test_a_request_parameter_of_the_wrong_kind_is_named(server, parameters):
    answer = infer(server, "linear", asked(ROW, parameters=parameters))
    assert answer.status == 400
    assert next(iter(parameters)) in error(answer)


@pytest.mark.parametrize("priority", [0, 1, 2, 1000])
def test_any_priority_is_served(server, priority):
    assert infer(server, "linear", asked(ROW, parameters={"priority": priority})).status == 200


# ---- counting -----------------------------------------------------------------------------------


def test_statistics_tell_requests_from_rows(server):
    def counts() -> tuple[int, int, int, int]:
        (entry,) = server.get("/v2/models/model..1/stats").json()["model_stats"]
        stats = entry["inference_stats"]
        batches = sum(size["compute_infer"]["count"] for size in entry["batch_stats"])
        return stats["success"]["count"], entry["inference_count"], stats["fail"]["count"], batches

    before = counts()
    for rows in (1, 2, 5):
        infer(server, "model..1", asked(tensor("x", np.ones((rows, 4)), "FP32")))
    infer(server, "model..1", {})
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [3, 8, 1, 3]
