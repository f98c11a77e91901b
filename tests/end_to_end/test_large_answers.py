"""A large answer is written while everybody else goes on; a server that leaves does not lose it."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from loadtest.models import outer
from tests.end_to_end.server import RunningServer
from tests.end_to_end.test_lifecycle import BODY, INFER
from tests.models.builders import linear, save

SIDE = 3000  # nine million numbers, about 100 MB of JSON
OUTER = "/v2/models/outer/infer"
ROW = {"name": "X", "shape": [1, 16], "datatype": "FP32", "data": [0.1 * n for n in range(16)]}
LARGE = json.dumps({"inputs": [ROW]}).encode()


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        yield threads


def served(start, folder: Path, config: str = "") -> RunningServer:
    files = save(folder, linear(), "m.onnx"), outer(folder, SIDE)
    return start(*files, "--workers", "1", config=config)


def numbers_in(body: bytes) -> int:
    data = body[body.index(b'"data":[') :]
    return data.count(b",") + 1


@pytest.mark.quiet
def test_others_are_answered_while_a_large_answer_is_written(start, tmp_path, pool):
    server = served(start, tmp_path)
    large = pool.submit(server.request, "POST", OUTER, LARGE)
    began = last = time.perf_counter()
    pauses = []
    while not large.done():
        assert server.request("POST", INFER, BODY).status == 200
        now = time.perf_counter()
        pauses.append(now - last)
        last = now
    answer = large.result()
    assert (answer.status, numbers_in(answer.body)) == (200, SIDE * SIDE)
    # Written on the event loop it would be one pause, and most of all the time.
    assert len(pauses) > 10
    assert max(pauses) < (last - began) / 2


def test_a_server_that_leaves_first_writes_the_large_answer_it_owes(start, tmp_path):
    server = served(start, tmp_path, config="drain: {lag_s: 0, grace_s: 20}")
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as line:
        line.request("POST", OUTER, LARGE)
        server.process.terminate()
        answer = line.getresponse()
        assert (answer.status, answer.getheader("connection")) == (200, "close")
        assert numbers_in(answer.read()) == SIDE * SIDE
    assert server.process.wait(10) == 0
