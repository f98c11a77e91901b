from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime
import pytest

from gateway.cli import main
from gateway.cli.demo_outcomes import Learnt, tell
from gateway.cli.demo_rows import DATA, Row, read_answer, read_rows
from gateway.cli.volley import Answer, fire
from gateway.errors import Unavailable

ROW = Row(("a", "b"), ("1.5", "2.0"), target=1, held_out=True, label=1, probability=0.75)


def answer(label: int = 1, probability: float = 0.75, status: int = 200) -> Answer:
    outputs = [
        {"name": "label", "shape": [1], "datatype": "INT64", "data": [label]},
        {
            "name": "probabilities",
            "shape": [1, 2],
            "datatype": "FP32",
            "data": [1 - probability, probability],
        },
    ]
    return Answer(status, json.dumps({"outputs": outputs}).encode(), 0.001)


# ---- the bundled data ----


def test_the_rows_are_the_whole_data_set():
    rows = read_rows()
    assert (len(rows), sum(row.target for row in rows)) == (569, 357)
    assert {len(row.values) for row in rows} == {30}
    assert sum(row.held_out for row in rows) == 143


def test_the_expected_answers_are_those_of_the_bundled_model():
    rows = read_rows()
    session = onnxruntime.InferenceSession(DATA / "breast_cancer.onnx")
    values = np.array([row.values for row in rows], np.float32)
    labels, chances = session.run(None, {"X": values})
    assert labels.tolist() == [row.label for row in rows]
    assert np.abs(chances[:, 1] - [row.probability for row in rows]).max() < 1e-6


def test_the_data_is_small():
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 500_000


# ---- judging ----


def test_a_row_asks_with_its_own_values():
    (tensor,) = json.loads(ROW.body)["inputs"]
    assert tensor == {"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.0]}


def test_a_right_answer_has_no_fault():
    assert ROW.fault(answer(probability=0.750001)) == ""


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        pytest.param(answer(label=0), "expected 1 (0.750000), got 0 (0.750000)", id="label"),
        pytest.param(
            answer(probability=0.7501), "expected 1 (0.750000), got 1 (0.750100)", id="probability"
        ),
        pytest.param(
            Answer(503, b'{"error":"full"}', 0.0), 'status 503: {"error":"full"}', id="refused"
        ),
        pytest.param(Answer(200, b"[]", 0.0), "status 200: []", id="no-answer"),
    ],
)
def test_a_wrong_answer_is_told_with_what_was_expected(given, fault):
    assert ROW.fault(given) == fault


def test_an_answer_without_outputs_is_none():
    assert read_answer(Answer(200, b"not json", 0.0)) is None


# ---- outcomes ----


def learnt(**changed):
    some: dict[str, Any] = {
        "outcomes": 2, "delay_s": 9.0, "figures": {"accuracy": (0.5, 0.1, 0.9)},
        "reliability": [(1.0, 2, 0.75, 0.5)], "rows_to_alarm": 100, "alarm": "concept_drift",
        "error_rate": (0.01, 0.3, 0.1), "drifting": (),
    }  # fmt: skip
    return Learnt(**(some | changed))


def test_outcomes_are_as_they_should_be_or_it_is_told_why_not(capsys):
    assert learnt().faults(2) == []
    assert learnt(outcomes=1).faults(2) == ["outcomes: 1 of 2 found their answer"]
    assert learnt(drifting=("a",)).faults(2) == ["a: alarm though inputs are as before"]
    tell(learnt())
    told = capsys.readouterr().out
    assert "0.5000  0.1000 to 0.9000" in told
    assert "100 rows later the alarm concept_drift fired" in told
    assert "the drift monitor says nothing" in told


# ---- asking ----


@contextmanager
def upstream(reply) -> Iterator[int]:
    """A server on a free port that answers each request with `reply(its body)`; None hangs up."""
    ready = threading.Event()
    place: list = []

    async def serve() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        place.extend([server.sockets[0].getsockname()[1], asyncio.get_running_loop(), stop])
        ready.set()
        await stop.wait()
        server.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            length = int(head.split()[1])
            body = reply(await reader.readexactly(length))
            if body is None:
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            for byte in range(len(body)):  # byte by byte, as no network would dare
                writer.write(body[byte : byte + 1])
                await writer.drain()
        writer.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    port, loop, stop = place
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def request(text: bytes) -> bytes:
    return b"ask %d\n%s" % (len(text), text)


def test_answers_come_in_the_order_of_their_requests():
    texts = [b"number %d" % n for n in range(50)]
    with upstream(bytes.upper) as port:
        result = fire("127.0.0.1", port, [request(text) for text in texts], 4, 10.0)
    assert [given.body for given in result.answers] == [text.upper() for text in texts]
    assert {given.status for given in result.answers} == {200}


def test_fewer_requests_than_connections_are_all_answered():
    with upstream(bytes.upper) as port:
        result = fire("127.0.0.1", port, [request(b"one")], 8, 10.0)
    assert [given.body for given in result.answers] == [b"ONE"]


def test_a_server_that_hangs_up_ends_the_volley():
    replies = iter([b"one", None])
    requests = [request(b"a"), request(b"b")]
    with (
        upstream(lambda _: next(replies)) as port,
        pytest.raises(
            Unavailable, match="1 of 2 requests answered: the server closed a connection"
        ),
    ):
        fire("127.0.0.1", port, requests, 1, 10.0)


@pytest.mark.parametrize("number", ["0", "-3", "many"])
def test_the_number_of_requests_starts_at_one(number, capsys):
    assert main(["demo", f"--requests={number}"]) == 2
    assert f"expected a whole number from 1 on, got '{number}'" in capsys.readouterr().err
