"""A request's trace is taken up and answered, and its phases are told to whoever asks."""

from __future__ import annotations

import re

import pytest

from gateway.wire.timing import server_timing
from gateway.wire.trace import read_traceparent
from tests.wire.http_rig import chunked, post, request, rig

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
ANSWER = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]")


def ids(answer):
    """The trace and the span that an answer names."""
    found = ANSWER.fullmatch(answer.headers["traceparent"])
    assert found
    return found.groups()


@pytest.fixture(params=["lane", "asgi"])
def carrier(request):
    with rig(request.param) as running:
        yield running


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        pytest.param(f"00-{TRACE}-{SPAN}-01", True, id="sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", False, id="not-sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-ff", True, id="unknown-flags"),
        pytest.param(f"00-{TRACE}-{SPAN}-02", False, id="another-flag"),
        pytest.param(f" 00-{TRACE}-{SPAN}-01\t", True, id="white-space-around"),
        pytest.param(f"01-{TRACE}-{SPAN}-01", True, id="later-version"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-what-comes", True, id="later-version-with-more"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-", True, id="later-version-with-nothing-more"),
    ],
)
def test_a_valid_traceparent_is_taken_up(value, sampled):
    trace = read_traceparent(value.encode())
    assert (trace.trace_id.decode(), trace.sampled) == (TRACE, sampled)
    assert trace.span_id.decode() != SPAN


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", id="version-ff"),
        pytest.param(f"0-{TRACE}-{SPAN}-01", id="short-version"),
        pytest.param(f"00-{TRACE}-{SPAN}-01-more", id="version-00-with-more"),
        pytest.param(f"01-{TRACE}-{SPAN}-01.more", id="later-version-without-a-dash"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", id="trace-of-zeros"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="span-of-zeros"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", id="upper-case"),
        pytest.param(f"00-{TRACE[1:]}-{SPAN}-01", id="short-trace"),
        pytest.param(f"00-{TRACE}-{SPAN}0-01", id="long-span"),
        pytest.param(f"00-{TRACE}-{SPAN}-1", id="short-flags"),
        pytest.param(f"00-{TRACE}-{SPAN}-0g", id="flags-that-are-no-digits"),
        pytest.param(f"00_{TRACE}_{SPAN}_01", id="other-separators"),
        pytest.param("\xff" * 55, id="bytes"),
        pytest.param("0" * 8000, id="long"),
    ],
)
def test_an_invalid_traceparent_begins_a_new_trace(value):
    first, second = (read_traceparent(value.encode("latin-1")) for _ in range(2))
    assert first.trace_id != second.trace_id
    assert not first.sampled
    assert ANSWER.fullmatch(first.header.decode())


def test_an_answer_carries_the_trace_with_a_span_of_ours(carrier):
    client = carrier.connect()
    spans = set()
    for path in ("/echo", "/fails", "/full"):
        client.send(post(path, b"x", f"traceparent: 00-{TRACE}-{SPAN}-01"))
        trace, span = ids(client.answer())
        assert trace == TRACE
        spans.add(span)
    assert len(spans - {SPAN}) == 3


def test_without_a_traceparent_an_answer_carries_none(carrier):
    answer = carrier.connect().send(post("/echo", b"x")).answer()
    assert {"traceparent", "server-timing"} & set(answer.headers) == set()


def test_of_two_traceparents_none_is_believed(carrier):
    given = f"traceparent: 00-{TRACE}-{SPAN}-01"
    answer = carrier.connect().send(post("/echo", b"x", given, given)).answer()
    assert ids(answer)[0] != TRACE


def test_the_applications_answers_and_refusals_carry_it_as_well():
    given = f"traceparent: 00-{TRACE}-{SPAN}-01"
    with rig(max_body_bytes=4) as server:
        for sent in (
            request("GET", "/app", None, given),
            post("/echo", b"too long", given),
        ):
            answer = server.connect().send(sent).answer()
            assert ids(answer)[0] == TRACE


def test_heads_with_a_trace_are_not_remembered():
    with rig() as server:
        client = server.connect()
        client.send(post("/echo", b"x")).answer()
        for number in range(1, 20):
            given = f"traceparent: 00-{number:032x}-{SPAN}-01"
            answer = client.send(post("/echo", b"x", given)).answer()
            assert ids(answer)[0] == f"{number:032x}"
        assert server.call(lambda: len(server.services.heads)) == 1


def test_a_failure_is_logged_with_its_request_and_trace(carrier, caplog):
    given = f"traceparent: 00-{TRACE}-{SPAN}-01"
    answer = carrier.connect().send(post("/fails", b"x", given)).answer()
    (told,) = [record for record in caplog.records if record.name == "penstock.wire"]
    assert (told.trace_id, told.request_id) == (TRACE, answer.headers["penstock-request-id"])


def test_who_asks_is_told_how_long_it_took(carrier):
    client = carrier.connect()
    for path in ("/echo", "/fails", "/full"):
        answer = client.send(post(path, b"x", "penstock-timing: 1")).answer()
        assert re.fullmatch(r"total;dur=\d+\.\d{3}", answer.headers["server-timing"])


@pytest.mark.parametrize("wish", ["0", "", "true", "11"])
def test_anything_but_1_asks_for_nothing(carrier, wish):
    answer = carrier.connect().send(post("/echo", b"x", f"penstock-timing: {wish}")).answer()
    assert "server-timing" not in answer.headers


def test_the_application_is_timed_as_well_and_chunks_too():
    with rig() as server:
        client = server.connect()
        client.send(request("GET", "/app", None, "penstock-timing: 1"))
        assert client.answer().headers["server-timing"].startswith("total;dur=")
        assert "server-timing" not in client.send(chunked("/echo", b"x")).answer().headers


def test_phases_are_told_in_milliseconds_in_their_order():
    told = server_timing(1.0, (1.001, 1.0035, 1.0135), 1.0136)
    expected = b"decode;dur=1.000, queue;dur=2.500, infer;dur=10.000, encode;dur=0.100, "
    assert told == expected + b"total;dur=13.600"
