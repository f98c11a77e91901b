"""The prototype that the gateway's data plane is measured against: one model, nothing around it.

Inference is answered inside uvicorn's HTTP protocol: JSON decoding, batching by turn of the event
loop, one ONNX Runtime run per batch, JSON encoding, a histogram of every feature and of latency.
It knows no limits, deadlines, pipelining, second model, second worker or error worth reading; what
these cost is what the comparison shows.

    python -m loadtest.prototype_lane MODEL.onnx PORT

The model has one float input [None, 30] and an output `probabilities`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime as ort
import orjson
import uvicorn
from numba import njit
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

FEATURES, BINS = 30, 256
Reply = Callable[[int, bytes], None]


@njit
def observe(rows, edges, counts, arrived, now, latency):  # type: ignore[no-untyped-def]
    """Bins every value of a batch, and every latency."""
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            low, step = 0, 128  # branch-light search over 255 sorted edges
            while step > 0:
                if low + step <= 255 and edges[j, low + step - 1] <= rows[i, j]:
                    low += step
                step >>= 1
            counts[j, low] += 1
    for i in range(len(arrived)):
        latency[min(63, int(np.log2((now - arrived[i]) * 1e6 + 1) * 4))] += 1


class Batcher:
    """Everything parsed in one turn of the event loop becomes one run: no timer, no task."""

    def __init__(self, model: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = session.get_inputs()[0].name
        self.run = session._sess.run
        self.waiting: list[tuple[Any, Reply, Any, float]] = []
        rng = np.random.default_rng(2)
        self.edges = np.sort(rng.normal(size=(FEATURES, BINS - 1)).astype(np.float32), axis=1)
        self.counts = np.zeros((FEATURES, BINS), np.int64)
        self.latency = np.zeros(64, np.int64)
        self.observe(np.zeros((1, FEATURES), np.float32), np.zeros(1))  # compiles

    def observe(self, rows: Any, arrived: Any) -> None:
        observe(rows, self.edges, self.counts, arrived, time.perf_counter(), self.latency)

    def infer(self, reply: Reply, body: bytes) -> None:
        try:
            request = orjson.loads(body)
            tensor = request["inputs"][0]
            rows = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
            if rows.ndim != 2 or rows.shape[1] != FEATURES:
                raise ValueError(f"expected shape [-1, {FEATURES}], got {list(rows.shape)}")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            reply(400, orjson.dumps({"error": str(error)}))
            return
        if not self.waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self.waiting.append((rows, reply, request.get("id"), time.perf_counter()))

    def flush(self) -> None:
        riders, self.waiting = self.waiting, []
        rows = riders[0][0] if len(riders) == 1 else np.concatenate([r[0] for r in riders])
        out = self.run(["probabilities"], {self.input: rows}, None)[0]
        start = 0
        for mine, reply, request_id, _ in riders:
            part = out[start : start + len(mine)]
            start += len(mine)
            tensor = {
                "name": "probabilities",
                "shape": part.shape,
                "datatype": "FP32",
                "data": part.ravel(),
            }
            answer = {"model_name": "gbt", "model_version": "1", "outputs": [tensor]}
            if request_id:
                answer["id"] = request_id
            reply(200, orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))
        self.observe(rows, np.array([r[3] for r in riders]))


LANES: dict[bytes, Callable[[Reply, bytes], None]] = {}
HEAD = {
    status: b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: "
    % (status, phrase)
    for status, phrase in ((200, b"OK"), (400, b"Bad Request"))
}


class Lane(HttpToolsProtocol):
    """Takes the hot targets itself; hands every other request to uvicorn's ASGI cycle unchanged."""

    lane: Callable[[Reply, bytes], None] | None = None
    busy = False

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue, self.lane = b"", [], False, None

    def on_headers_complete(self) -> None:
        lane = LANES.get(self.url)
        idle = not self.busy and (self.cycle is None or self.cycle.response_complete)
        if lane and idle and self.parser.get_method() == b"POST" and not self.expect_100_continue:
            self.lane, self.body, self.keep = lane, b"", self.parser.should_keep_alive()
            return
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.headers.extend(headers)
        self.url, self.expect_100_continue = url, expect
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.lane:
            self.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.lane:
            self.busy = True
            self.lane(self.reply, self.body)
        else:
            super().on_message_complete()

    def reply(self, status: int, body: bytes) -> None:
        self.busy = False
        if self.transport.is_closing():
            return
        self.transport.write(b"%s%d\r\n\r\n%s" % (HEAD[status], len(body), body))
        self.server_state.total_requests += 1
        if not self.keep:
            self.transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Whatever is not the hot target."""
    await send(
        {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    LANES[b"/v2/models/gbt/infer"] = Batcher(sys.argv[1]).infer
    uvicorn.run(
        app,
        port=int(sys.argv[2]) if len(sys.argv) > 2 else 9000,
        http=Lane,
        loop="uvloop",
        log_level="error",
        access_log=False,
        lifespan="off",
    )


if __name__ == "__main__":
    main()
