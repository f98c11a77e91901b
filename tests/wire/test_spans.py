"""Requests of sampled traces are noted, others are not; what is noted says what came of them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config import Tracing
from gateway.spans import TracedRequest
from gateway.wire.access_log import Answered, Note, both
from gateway.wire.spans import MAX_TOGETHER, SpanLog
from gateway.wire.trace import Trace
from tests.wire.http_rig import chunked, post, request, rig
from tests.wire.test_http_access_log import HOSTILE, Request

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def server():
    with rig("traced", max_body_bytes=1000) as running:
        yield running


def traceparent(flags: str = "01") -> str:
    return f"traceparent: 00-{TRACE}-{SPAN}-{flags}"


# ---- on a connection -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/echo", "/app", "/full", "/app/fails"])
def test_a_span_has_the_ids_that_the_caller_sent_and_was_answered(server, path):
    answer = server.connect().send(post(path, b"four", traceparent())).answer()
    noted = server.traced.get(timeout=20)
    _, trace, own, _ = answer.headers["traceparent"].split("-")
    assert (noted["trace_id"], noted["parent_id"], noted["span_id"]) == (trace, SPAN, own)
    assert trace == TRACE
    assert (noted["path"], noted["status"]) == (path, answer.status)
    assert noted["request_id"] == answer.headers["penstock-request-id"]
    assert (noted["received"], noted["sent"]) == (4, len(answer.body))


def test_a_trace_begins_here_where_nobody_sends_one(server):
    client, seen = server.connect(), set()
    for _ in range(3):
        answer = client.send(post("/echo", b"again")).answer()
        noted = server.traced.get(timeout=20)
        assert (noted["parent_id"], noted["status"]) == ("", 200)
        assert "traceparent" not in answer.headers
        seen |= {noted["trace_id"], noted["span_id"]}
    assert {len(one) for one in seen} == {32, 16}
    assert len(seen) == 6


def test_a_trace_that_is_not_valid_is_none(server):
    answer = server.connect().send(post("/echo", b"x", "traceparent: 00-no-trace-01")).answer()
    noted = server.traced.get(timeout=20)
    assert (noted["parent_id"], noted["trace_id"] != TRACE) == ("", True)
    assert answer.headers["traceparent"].split("-")[1:3] == [noted["trace_id"], noted["span_id"]]


def test_what_the_caller_does_not_keep_is_not_noted(server):
    server.connect().send(post("/echo", b"x", traceparent("00"))).answer()
    server.connect().send(post("/echo", b"next")).answer()
    assert server.traced.get(timeout=20)["received"] == 4


@pytest.mark.parametrize(
    ("sent", "path", "status", "code"),
    [
        pytest.param(post("/echo", b"x" * 1001), "/echo", 413, "body_too_large", id="too-large"),
        pytest.param(b"nonsense\r\n\r\n", "", 400, "malformed_http", id="no-http"),
        pytest.param(post("/full", b"x"), "/full", 503, "queue_full", id="refused"),
        pytest.param(post("/fails", b"x"), "/fails", 500, "internal", id="failed"),
        pytest.param(request("GET", "/app/stream"), "/app/stream", 200, None, id="stream"),
        pytest.param(chunked("/echo", b"12", b"3"), "/echo", 200, None, id="chunks"),
    ],
)
def test_whatever_is_answered_is_noted(server, sent, path, status, code, caplog):
    server.connect().send(sent).answer()
    noted = server.traced.get(timeout=20)
    assert (noted["path"], noted["status"], noted["code"]) == (path, status, code)


def test_a_client_that_left_was_not_answered(server):
    client = server.connect()
    client.send(post("/held", b"x"))
    exchange = server.held.get(timeout=20)
    client.close()
    assert server.reached(lambda: exchange.gone)
    server.call(lambda: exchange.reply(200, b"late"))
    server.connect().send(post("/echo", b"next")).answer()
    assert server.traced.get(timeout=20)["received"] == 4


# ---- who is kept, and what is said ---------------------------------------------------------------


class Channel:
    """Keeps what it is given, and has room for so many messages."""

    def __init__(self, room: int = 1000) -> None:
        self.messages: list[list[TracedRequest]] = []
        self.dropped = 0
        self._room = room

    def send(self, requests: list[TracedRequest]) -> bool:
        if len(self.messages) == self._room:
            return False
        self.messages.append(requests)
        return True

    def drop(self, requests: int) -> None:
        self.dropped += requests


def noted(
    use: Callable[[SpanLog], Any],
    channel: Channel | None = None,
    generations: Callable[[Any, float], Any] = lambda happened, now: [],
    **rules: Any,
) -> list[TracedRequest]:
    """What is handed on in one turn of a loop."""
    kept = channel or Channel()

    async def turn() -> None:
        loop = asyncio.get_running_loop()
        draw = random.Random(7).getrandbits
        use(SpanLog(Tracing(**rules), kept.send, kept.drop, loop, draw, generations))
        await asyncio.sleep(0)

    asyncio.run(turn())
    return [one for message in kept.messages for one in message]


def keeps(made: Request, **rules: Any) -> bool:
    return len(noted(lambda log: log.note(200, 0, made), **rules)) == 1


def test_what_happened_to_a_generation_is_told_as_it_is_at_the_end_of_the_turn():
    happened: list[str] = []

    def use(log: SpanLog) -> None:
        made: Any = Request()
        made.generation = happened
        log.note(200, 0, made)
        log.note(200, 0, Request())
        happened.append("settled")

    found: list[Any] = list(noted(use, generations=lambda given, now: [{"result": given[0]}]))
    first, other = found
    assert first["generations"] == [{"result": "settled"}]
    assert "generations" not in other


@pytest.mark.parametrize(
    ("sample", "kept"), [(0.0, range(1)), (0.5, range(1, 50)), (1.0, range(50, 51))]
)
def test_a_trace_that_went_on_to_others_is_kept_where_they_were_told_so(sample, kept):
    begun: list[Trace] = []

    def use(log: SpanLog) -> None:
        for _ in range(50):
            made: Any = Request()
            begun.append(log.begin())
            made.generation = SimpleNamespace(trace=begun[-1])
            log.note(200, 0, made)

    found = noted(use, sample=sample)
    told = [(one["trace_id"], one["span_id"], one["parent_id"]) for one in found]
    assert told == [(one[0].decode(), one[1].decode(), "") for one in begun if one.sampled]
    assert len(told) in kept


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("sample", [0.0, 1.0])
def test_a_callers_flag_goes_before_the_share(sampled, sample):
    made = Request(trace=Trace(b"a" * 32, b"b" * 16, sampled, b"c" * 16))
    assert keeps(made, sample=sample) is sampled
    assert keeps(made, sample=sample, follow_caller=False) is (sample == 1.0)


def test_a_flag_without_a_caller_decides_nothing():
    assert keeps(Request(trace=Trace(b"a" * 32, b"b" * 16, sampled=False)))
    assert not keeps(Request(trace=Trace(b"a" * 32, b"b" * 16, sampled=True)), sample=0.0)


def test_a_share_of_the_traces_that_begin_here_is_kept():
    def use(log: SpanLog) -> None:
        for _ in range(4000):
            log.note(200, 0, Request())

    # 4 standard deviations around 1000 of 4000
    assert 890 < len(noted(use, sample=0.25)) < 1110
    assert noted(use, sample=0.0) == []
    assert len(noted(use, sample=1.0)) == 4000


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_same_traces_are_kept_as_by_opentelemetry(share):
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    theirs, draws = TraceIdRatioBased(share), random.Random(3)
    for _ in range(300):
        trace_id = draws.getrandbits(128)
        made = Request(trace=Trace(b"%032x" % trace_id, b"b" * 16, parent_id=b"c" * 16))
        decided = theirs.should_sample(None, trace_id, "name").decision.is_sampled()
        assert keeps(made, sample=share, follow_caller=False) is decided


def test_moments_are_told_by_their_age_at_the_end():
    now = perf_counter()
    made = Request(arrived=now - 4, phases=(now - 3, now - 2, now - 1))
    (one,) = noted(lambda log: log.note(200, 0, made))
    assert [age / 1e9 for age in one["ages_ns"]] == pytest.approx([4, 3, 2, 1], abs=0.5)
    assert abs(one["ended_ns"] - time.time_ns()) < 60e9
    (plain,) = noted(lambda log: log.note(200, 0, Request(arrived=now)))
    assert len(plain["ages_ns"]) == 1


def test_a_path_that_is_known_names_the_model_that_answers():
    def use(log: SpanLog) -> None:
        log.know({b"/v2/models/m/infer": ("m", "7")})
        log.note(200, 0, Request(path=b"/v2/models/m/infer"))
        log.note(404, 0, Request(path=b"/v2/models/other/infer"))

    shown = [(one["model"], one["version"]) for one in noted(use)]
    assert shown == [("m", "7"), ("other", "")]


@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
def test_nothing_a_client_sends_is_too_long_or_no_json(hostile):
    text = hostile * 9000
    made = Request(
        path=b"/v2/models/" + text, client=text.decode("utf-8", "surrogateescape"), key="n" * 9000
    )
    (one,) = noted(lambda log: log.note(200, 0, made))
    assert len(json.dumps(one, ensure_ascii=False).encode()) < 8192


def test_what_finds_no_room_is_counted():
    channel = Channel(room=2)

    def use(log: SpanLog) -> None:
        for _ in range(3 * MAX_TOGETHER + 1):
            log.note(200, 0, Request())

    noted(use, channel)
    assert [len(message) for message in channel.messages] == [MAX_TOGETHER] * 2
    assert channel.dropped == MAX_TOGETHER + 1


def test_two_may_be_told_of_each_answer():
    told: list[tuple[str, int, bool]] = []

    def teller(who: str) -> Note:
        def note(status: int, sent: int, request: Answered, more: bool = True) -> None:
            told.append((who, status, more))

        return note

    both(teller("a"), teller("b"))(200, 0, Request(), False)
    assert told == [("a", 200, False), ("b", 200, False)]
