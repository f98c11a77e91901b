"""A trace and its times, through a real server."""

from __future__ import annotations

import json
import re

import pytest

ROW = json.dumps(
    {"inputs": [{"name": "X", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}]}
).encode()
WRONG = b'{"inputs": []}'
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PHASES = ("decode", "queue", "infer", "encode", "total")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/v2/models/breast_cancer/infer", id="lane"),
        pytest.param("/v2/models/breast%5Fcancer/infer", id="application"),
    ],
)
def test_who_asks_is_told_every_phase_of_an_inference(server, path):
    answer = server.request("POST", path, ROW, {"penstock-timing": "1"})
    told = re.findall(r"(\w+);dur=(\d+\.\d{3})(?:, |$)", answer.headers["server-timing"])
    assert (answer.status, tuple(name for name, _ in told)) == (200, PHASES)
    *parts, total = [float(value) for _, value in told]
    assert sum(parts) == pytest.approx(total, abs=0.01)
    refused = server.request("POST", path, WRONG, {"penstock-timing": "1"})
    assert re.fullmatch(r"total;dur=\d+\.\d{3}", refused.headers["server-timing"])
    assert "server-timing" not in server.request("POST", path, ROW).headers


@pytest.mark.parametrize("path", ["/v2/models/breast_cancer/infer", "/v2/models/nosuch/infer"])
def test_a_trace_is_answered_whatever_becomes_of_the_request(server, path):
    given = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    answered = server.request("POST", path, ROW, given).headers["traceparent"]
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-01", answered)
