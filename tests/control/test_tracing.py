"""Traced requests are kept within bounds, sent together, and lost only where nobody takes them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from gateway.channel import Channel, pair
from gateway.config import Tracing
from gateway.control.tracing import MAX_TOGETHER, Export, check, read_headers
from gateway.errors import ConfigInvalid
from gateway.spans import TracedRequest

PATIENCE_S = 20.0


def traced(number: int = 0) -> TracedRequest:
    return {
        "trace_id": f"{number + 1:032x}",
        "span_id": f"{number + 1:016x}",
        "parent_id": "",
        "method": "POST",
        "path": "/v2/models/m/infer",
        "client": "127.0.0.1",
        "request_id": f"host-0-{number:x}",
        "status": 200,
        "code": None,
        "received": 1,
        "sent": 2,
        "model": "m",
        "version": "1",
        "key": None,
        "ended_ns": 1_700_000_000_000_000_000,
        "ages_ns": [4_000_000],
    }


class Destination:
    """Keeps what it is sent, once `gate` is set; answers with `cause`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Event()
        self.cause: str | None = None
        self.sent: list[Sequence[TracedRequest]] = []
        self.stopped = False

    def export(self, requests: Sequence[TracedRequest]) -> str | None:
        self.busy.set()
        self.gate.wait(PATIENCE_S)
        self.sent.append(requests)
        return self.cause

    def stop(self) -> None:
        self.stopped = True
        self.gate.set()


Use = Callable[[Export, Channel], object]


def exporting(
    use: Use,
    destination: Destination,
    max_queue: int = 1000,
    wait_s: float = 0.05,
    flush_s: float = PATIENCE_S,
) -> Export:
    """An export while `use` goes on, on a thread beside its loop, and after its end."""

    async def run() -> Export:
        workers, control = pair()
        export = Export(control, lambda: destination, max_queue, wait_s, flush_s)
        export.start(asyncio.get_running_loop())
        await asyncio.to_thread(use, export, workers)
        await export.finish()
        workers.close()
        control.close()
        return export

    return asyncio.run(run())


def until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(PATIENCE_S * 200)):
        if condition():
            return
        waiting.wait(0.005)
    raise AssertionError("not in time")


def until_done(export: Export, requests: int) -> None:
    until(lambda: export.exported + export.failed == requests)


def send(channel: Channel, *numbers: int) -> None:
    assert channel.send({"requests": [traced(number) for number in numbers]})


def test_what_workers_send_is_exported_together():
    destination = Destination()

    def use(export: Export, workers: Channel) -> None:
        send(workers, 0, 1)
        send(workers, 2)
        until(lambda: export.exported == 3)

    export = exporting(use, destination, wait_s=1.0)
    assert destination.sent == [[traced(0), traced(1), traced(2)]]
    assert export.counts == {"exported": 3, "failed": 0, "dropped": 0}


def test_what_is_left_at_the_end_is_exported():
    destination = Destination()
    export = exporting(lambda _, workers: send(workers, *range(300)), destination, wait_s=60)
    assert [len(together) for together in destination.sent] == [MAX_TOGETHER, MAX_TOGETHER, 44]
    assert (export.exported, destination.stopped) == (300, True)


def test_what_finds_no_room_is_dropped_and_counted():
    destination = Destination()

    def use(export: Export, workers: Channel) -> None:
        destination.gate.clear()
        send(workers, 0)
        assert destination.busy.wait(PATIENCE_S)
        send(workers, *range(1, 31))
        until(lambda: export.dropped == 20)
        destination.gate.set()

    export = exporting(use, destination, max_queue=10, wait_s=0)
    assert export.counts == {"exported": 11, "failed": 0, "dropped": 20}


def test_a_collector_that_never_answers_does_not_keep_the_server(caplog):
    destination = Destination()
    destination.gate.clear()
    exporting(lambda _, workers: send(workers, 0, 1), destination, flush_s=0.05)
    assert destination.stopped
    assert "traces of 2 requests were not exported" in caplog.text


def test_a_failure_is_told_once_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO, "penstock.tracing")
    destination = Destination()

    def use(export: Export, workers: Channel) -> None:
        for number, cause in enumerate(("away", "away", None, None), 1):
            destination.cause = cause
            send(workers, 0)
            until_done(export, number)

    export = exporting(use, destination, wait_s=0)
    assert export.counts == {"exported": 2, "failed": 2, "dropped": 0}
    assert [record.getMessage() for record in caplog.records] == [
        "traces cannot be exported: away",
        "traces are exported again",
    ]


def test_what_cannot_be_built_is_built_again_later():
    tried: list[Destination] = []

    def build() -> Destination:
        tried.append(Destination())
        if len(tried) == 1:
            raise ValueError("no such certificate")
        return tried[-1]

    async def run() -> Export:
        workers, control = pair()
        export = Export(control, build, 10, 0)
        export.start(asyncio.get_running_loop())
        for number in (1, 2):
            send(workers, number)
            await asyncio.to_thread(until_done, export, number)
        await export.finish()
        workers.close()
        control.close()
        return export

    assert asyncio.run(run()).counts == {"exported": 1, "failed": 1, "dropped": 0}


# ---- what is wrong with it is said at the start --------------------------------------------------


def test_headers_are_read_a_line_each(tmp_path):
    file = tmp_path / "headers"
    file.write_text("# of the vendor\nAuthorization: Bearer a=b, c\n\nX-Team:ml \n")
    assert read_headers(file) == {"Authorization": "Bearer a=b, c", "X-Team": "ml"}
    assert read_headers(None) == {}


@pytest.mark.parametrize(
    "text", ["canary", ": canary", "a b: canary", "a: canary\x00", "a: ca\xfcnary", "a: b\ncanary"]
)
def test_a_line_that_is_no_header_is_told_and_not_quoted(tmp_path, text):
    file = tmp_path / "headers"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(
        ConfigInvalid, match=r"headers_file.*line \d+: expected `name: value`"
    ) as at:
        read_headers(file)
    assert "nary" not in str(at.value)


def test_traces_that_the_sdk_would_not_make_are_refused(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    check(Tracing())
    with pytest.raises(ConfigInvalid, match=r"tracing\.endpoint.*OTEL_SDK_DISABLED"):
        check(Tracing(endpoint="http://127.0.0.1:4318"))


def test_a_file_of_headers_that_is_not_there_is_told(tmp_path):
    settings = Tracing(endpoint="http://127.0.0.1:4318", headers_file=tmp_path / "none")
    with pytest.raises(ConfigInvalid, match=r"headers_file: .*none: No such file"):
        check(settings)
    check(Tracing(headers_file=tmp_path / "none"))  # nobody asks for traces
