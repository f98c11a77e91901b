"""Every answer leaves one record that says what was asked and what came of it, and is one line."""

from __future__ import annotations

import asyncio
import json
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import pytest

from gateway.exchange import Phases
from gateway.wire.access_log import AccessLog
from gateway.wire.guard import SMALL_BODY_BYTES
from gateway.wire.trace import Trace
from tests.wire.http_rig import chunked, post, request, rig
from tests.wire.test_guard import ANN, AS_ANN, AS_EVE, EVE, World


@pytest.fixture(scope="module")
def server():
    with rig("logged", server={"trusted_proxies": ["127.0.0.1"]}, max_body_bytes=1000) as running:
        yield running


def told(server):
    """The next record, without what differs each time."""
    record = server.records.next()
    at = datetime.fromisoformat(record.pop("at"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert 0 <= record.pop("ms") < 60_000
    assert (record.pop("logger"), record.pop("process")) == ("penstock.access", "worker-0")
    return record


def test_a_request_to_an_endpoint(server):
    answer = server.connect().send(post("/echo?secret=1", b"four")).answer()
    assert told(server) == {
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/echo",
        "status": 200,
        "request_id": answer.headers["penstock-request-id"],
        "bytes_in": 4,
        "bytes_out": 4,
    }


def test_a_request_whose_head_was_seen_before(server):
    client = server.connect()
    for _ in range(3):
        answer = client.send(post("/echo", b"again")).answer()
        assert told(server)["request_id"] == answer.headers["penstock-request-id"]


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("path", ["/echo", "/app"])
def test_what_the_client_calls_it_and_where_it_comes_from(server, path):
    given = (
        'X-Request-Id: mine "and" \\',
        "X-Forwarded-For: 10.1.2.3",
        f"traceparent: 00-{TRACE}-00f067aa0ba902b7-00",
    )
    server.connect().send(post(path, b"x", *given)).answer()
    record = told(server)
    assert (record["client"], record["x_request_id"]) == ("10.1.2.3", 'mine "and" \\')
    assert record["trace_id"] == TRACE


@pytest.mark.parametrize(
    ("sent", "method", "path", "status", "sizes"),
    [
        pytest.param(post("/app", b"12345"), "POST", "/app", 200, (5, 5), id="body"),
        pytest.param(request("GET", "/app?a=b"), "GET", "/app", 200, (0, 4), id="none"),
        pytest.param(
            request("GET", "/app/stream"), "GET", "/app/stream", 200, (0, 11), id="chunks"
        ),
        pytest.param(chunked("/echo", b"12", b"3"), "POST", "/echo", 200, (3, 3), id="chunked"),
        pytest.param(request("GET", "/app/fails"), "GET", "/app/fails", 500, (0, 26), id="fails"),
    ],
)
def test_whoever_answers(server, sent, method, path, status, sizes):
    server.connect().send(sent).answer()
    record = told(server)
    assert (record["method"], record["path"], record["status"]) == (method, path, status)
    assert (record["bytes_in"], record["bytes_out"]) == sizes


async def half_ready(scope, receive, send):
    """An application that lives, and is not ready."""
    status = 400 if scope["path"] == "/v2/health/ready" else 200
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("carrier", ["logged", "traced"])
def test_a_probe_is_told_of_where_it_fails_and_else_not(carrier):
    with rig(carrier, app=half_ready) as server:
        client = server.connect()
        for path in ("/v2/health/live", "/v2/health/ready", "/v2"):
            client.send(request("GET", path)).answer()
        next_told = server.records.next if carrier == "logged" else server.next_traced
        told = [next_told() for _ in range(2)]
        assert [(one["path"], one["status"]) for one in told] == [
            ("/v2/health/ready", 400),
            ("/v2", 200),
        ]


def test_an_answer_without_a_body_sent_none(server):
    server.connect().send(request("HEAD", "/app")).answer(head_only=True)
    assert told(server)["bytes_out"] == 0


@pytest.mark.parametrize(("path", "code"), [("/full", "queue_full"), ("/fails", "internal")])
def test_an_endpoints_failure_has_its_code(server, path, code, caplog):
    answer = server.connect().send(post(path, b"x")).answer()
    record = told(server)
    assert (record["status"], record["code"]) == (answer.status, code)
    assert record["bytes_out"] == len(answer.body)


def test_what_is_refused_leaves_what_was_understood_of_it(server):
    server.connect().send(post("/echo", b"x" * 1001, "X-Request-Id: mine")).answer()
    record = told(server)
    assert (record["path"], record["status"], record["code"]) == ("/echo", 413, "body_too_large")
    assert record["x_request_id"] == "mine"
    server.connect().send(b"nonsense\r\n\r\n").answer()
    record = told(server)
    assert (record["status"], record["code"]) == (400, "malformed_http")
    assert {"method", "path"} & set(record) == set()


def test_a_client_that_left_was_not_answered(server):
    client = server.connect()
    client.send(post("/held", b"x"))
    exchange = server.held.get(timeout=20)
    client.close()
    assert server.reached(lambda: exchange.gone)
    server.call(lambda: exchange.reply(200, b"late"))
    server.connect().send(post("/echo", b"next")).answer()
    assert told(server)["bytes_in"] == 4
    assert server.records.empty


def test_a_stream_leaves_its_record_when_it_ends(server):
    client = server.connect().send(post("/held", b"x"))
    exchange = server.held.get(timeout=20)
    stream = server.call(lambda: exchange.stream(200))
    server.call(lambda: stream.write(b"123"))
    assert server.records.empty
    server.call(lambda: (stream.write(b"45"), stream.end()))
    assert client.answer().body == b"12345"
    assert told(server)["bytes_out"] == 5


def test_who_sent_it_stands_by_name_and_what_it_showed_nowhere():
    with rig("logged", guard=World().guard) as server:
        for headers in ((AS_ANN,), (f"X-Api-Key: {ANN}",)):
            server.connect().send(post("/echo", b"x", *headers)).answer()
            record = server.records.next()
            assert (record["status"], record["key"]) == (200, "ann")
            assert ANN not in json.dumps(record)


@pytest.mark.parametrize("size", [1, SMALL_BODY_BYTES + 1], ids=["small", "before its body"])
def test_who_is_refused_at_the_door_leaves_a_record_without_a_name(size):
    with rig("logged", guard=World().guard) as server:
        server.connect().send(post("/echo", b"x" * size, AS_EVE)).answer()
        record = server.records.next()
        assert (record["path"], record["status"]) == ("/echo", 401)
        assert (record["code"], "key" in record) == ("unauthenticated", False)
        assert EVE not in json.dumps(record)


# ---- what a record says, and who gets one --------------------------------------------------------


@dataclass
class Request:
    method: bytes = b"POST"
    path: bytes = b"/a"
    client: str = "127.0.0.1"
    request_id: bytes = b"h-0-1-2a"
    echo: bytes | None = None
    trace: Trace | None = None
    arrived: float = 0.0
    received: int = 0
    phases: Phases | None = None
    code: str | None = None
    key: str | None = None
    model: tuple[str, str] | None = None


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []

    def write(self, lines: Sequence[bytes]) -> None:
        self.writes.append(list(lines))


def written(
    use: Callable[[AccessLog], Any], mode: str = "all", **options: Any
) -> list[list[bytes]]:
    """What a log writes in one turn of a loop."""
    kept = Kept()

    async def turn() -> None:
        use(AccessLog(mode, kept, "worker-0", asyncio.get_running_loop(), **options))
        await asyncio.sleep(0)

    asyncio.run(turn())
    return kept.writes


def record_of(made: Request, **options: Any) -> dict[str, Any]:
    ((line,),) = written(lambda log: log.note(200, 0, made), **options)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert len(line) <= select.PIPE_BUF
    found: dict[str, Any] = json.loads(line)
    return found


def test_phases_stand_in_milliseconds():
    now = perf_counter()
    made = Request(arrived=now - 2, phases=(now - 1, now - 0.75, now - 0.25))
    record = record_of(made)
    assert (record["queue_ms"], record["infer_ms"]) == pytest.approx((250, 500), abs=0.01)
    assert 2000 <= record["ms"] < 60_000


@pytest.mark.parametrize(
    ("path", "model", "version"),
    [
        ("/v2/models/m/infer", "m", None),
        ("/v2/models/m/versions/3/infer", "m", "3"),
        ("/v2/models/a%20b%2Fc", "a b/c", None),
        ("/v2/models/%FF%0A", "\ufffd\n", None),
        ("/v2/models/stats", "stats", None),
        ("/v2/health/live", None, None),
        ("/other/v2/models/m", None, None),
    ],
)
def test_a_model_is_named_as_the_path_names_it(path, model, version):
    record = record_of(Request(path=path.encode()))
    assert (record["path"], record.get("model"), record.get("version")) == (path, model, version)


def test_a_path_that_is_known_names_the_model_that_answers():
    def use(log: AccessLog) -> None:
        log.know({b"/v2/models/m/infer": ("m", "7")})
        log.note(200, 0, Request(path=b"/v2/models/m/infer"))

    ((line,),) = written(use)
    assert json.loads(line)["version"] == "7"


def test_one_that_was_out_when_its_route_came_to_be_divided_hides_nobodys_version():
    def use(log: AccessLog) -> None:
        log.know({b"/v2/models/m/infer": None})
        for model in (None, ("m", "1"), ("m", "2"), None, ("m", "1")):
            log.note(200, 0, Request(path=b"/v2/models/m/infer", model=model), False)

    (lines,) = written(use)
    versions = [json.loads(line).get("version") for line in lines]
    assert versions == [None, "1", "2", None, "1"]


def test_requests_to_one_path_keep_what_is_their_own():
    now = perf_counter()
    told = [
        (200, "10.0.0.1", (now - 4, now - 3, now - 2)),
        (503, "10.0.0.1", (now - 4, now - 3, now - 1)),
        (200, "10.0.0.2", (now - 4, now - 2, now - 1)),
        (200, "10.0.0.1", (now - 4, now - 3, now - 2)),
    ]

    def use(log: AccessLog) -> None:
        log.know({b"/a": ("m", "7")})
        for status, client, phases in told:
            log.note(status, 0, Request(client=client, phases=phases), False)
        log.know({b"/a": ("m", "8")})
        log.note(200, 0, Request(client="10.0.0.1"), False)

    (lines,) = written(use)
    *records, last = [json.loads(line) for line in lines]
    assert [(r["status"], r["client"], r["infer_ms"], r["queue_ms"]) for r in records] == [
        (200, "10.0.0.1", 1000, 1000),
        (503, "10.0.0.1", 2000, 1000),
        (200, "10.0.0.2", 1000, 2000),
        (200, "10.0.0.1", 1000, 1000),
    ]
    assert {r["version"] for r in records} == {"7"}
    assert (last["version"], "infer_ms" in last) == ("8", False)


def test_a_record_says_when_it_was_written():
    stamps = []

    def use(log: AccessLog) -> None:
        for _ in range(300):
            before = time.time()
            log.note(200, 0, Request())
            stamps.append((before, time.time()))

    (lines,) = written(use)
    for line, (before, after) in zip(lines, stamps, strict=True):
        at = datetime.fromisoformat(json.loads(line)["at"]).timestamp()
        assert before - 0.0021 <= at <= after + 0.001


HOSTILE = [
    b'"',
    b"\\",
    b"\n{}\n",
    b"\x00",
    b"\x1b[2J",
    b"\xff\xfe",
    b"\xc3\xbc",
    b"%0a%00",
    b"\x7f",
]


@pytest.mark.parametrize("times", [1, 9000])
@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
def test_nothing_a_client_sends_leaves_its_line(hostile, times):
    text = hostile * times
    made = Request(
        method=b"GET",
        path=b"/v2/models/" + text,
        client=text.decode("utf-8", "surrogateescape"),
        echo=b'"\\' * 128,
        code="internal",
        key="n" * 9000,
        trace=Trace(b"a" * 32, b"b" * 16),
        phases=(1e9, 2e9, 3e9),
        received=1 << 62,
    )
    record = record_of(made)
    expected = (b"/v2/models/" + text).decode("ascii", "backslashreplace")
    assert expected.startswith(record["path"])
    assert len(record["path"]) >= min(len(expected), 250)
    assert record["x_request_id"] == '"\\' * 128


def test_records_of_one_turn_are_written_together():
    def use(log: AccessLog) -> None:
        for _ in range(3):
            log.note(200, 0, Request())

    assert [len(lines) for lines in written(use)] == [3]


def test_only_errors_are_logged_where_only_they_are_asked_for():
    def use(log: AccessLog) -> None:
        for status in (200, 204, 304, 400, 404, 500, 503):
            log.note(status, 0, Request())

    (lines,) = written(use, "errors")
    assert [json.loads(line)["status"] for line in lines] == [400, 404, 500, 503]


def test_a_sample_takes_its_share():
    draws = iter([0.0, 0.24, 0.25, 0.9, 0.1])

    def use(log: AccessLog) -> None:
        for number in range(5):
            log.note(200, number, Request())

    (lines,) = written(use, "sampled", share=0.25, draw=lambda: next(draws))
    assert [json.loads(line)["bytes_out"] for line in lines] == [0, 1, 4]
