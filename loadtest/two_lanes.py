"""One worker's data plane in one process, behind two ports: with an access log, and without.

    python -m loadtest.two_lanes MODEL.onnx ACCESS.log LOGGED_PORT PLAIN_PORT

Two servers differ by more than a log: by where their memory lies, by which took which turn. Two
lanes over the same loop, code and processor caches do not.

Knows how a worker puts its data plane together. Knows nothing of load or of turns.
"""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import uvicorn
import uvloop
from uvicorn.server import ServerState

from gateway.config import Config
from gateway.inference import InferEndpoint
from gateway.models import content, onnx_file
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.connections import ConnectionCounters
from gateway.monitor.observe import BatchObserver, WorkerObserver
from gateway.plan import Held
from gateway.serving.deployment import Deployment, load
from gateway.serving.turn import TurnBudget
from gateway.sockets import data_sockets
from gateway.wire.acceptor import Acceptor
from gateway.wire.access_log import AccessLog
from gateway.wire.http import Lane
from gateway.wire.logged import LoggedLane
from gateway.wire.oip.codec import Codec
from gateway.wire.services import Services
from gateway.wire.sink import Sink
from kernels import _jit

CONFIG = Config()


def held(model: Path, block: int) -> Held:
    folder = model.parent.absolute()
    files = onnx_file.inspect(folder, model.name).files
    digest = content.digest(folder, files)
    return Held(model.stem, 1, str(folder), model.name, digest, {}, {}, block)


class Side:
    """A model served on a port of its own."""

    def __init__(
        self,
        model: Path,
        port: int,
        arena: Arena,
        slot: int,
        pool: Executor,
        turn: TurnBudget,
        log: Path | None,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        observer = WorkerObserver(arena, slot)
        block = arena.allocate(layout.MODEL, layout.model_key(model.stem, 1))
        path = f"/v2/models/{model.stem}/infer".encode()
        services = Services(
            endpoints={},
            limits=CONFIG.limits,
            server=CONFIG.server,
            counters=ConnectionCounters(observer, arena.row(slot), lambda: None),
            request_id_prefix=b"host-%d-1-" % slot,
        )
        endpoint = self._endpoint(
            services, held(model, block), arena, slot, pool, turn, log is not None
        )
        services.endpoints[path] = endpoint.__call__
        services.start(loop)
        lane: Any = Lane
        if log is not None:
            sink = Sink(log, observer.dropped)
            sink.open()
            access = AccessLog("all", sink, f"worker-{slot}", loop)
            access.know({path: (model.stem, "1")})
            lane = partial(LoggedLane, note=access.note)
        config = uvicorn.Config(
            _nothing, log_config=None, access_log=False, lifespan="off", ws="none"
        )
        config.load()
        state = ServerState()
        (listener,) = data_sockets("127.0.0.1", port, 1)
        Acceptor(
            loop, listener, lambda: lane(config, state, {}, loop, services=services), services
        ).start()

    def _endpoint(
        self,
        services: Services,
        model: Held,
        arena: Arena,
        slot: int,
        pool: Executor,
        turn: TurnBudget,
        logged: bool,
    ) -> InferEndpoint:
        loaded, observer = load(model), BatchObserver(arena, model.block, slot)
        signature, limits = loaded.runtime.signature, CONFIG.limits
        rows = loaded.settings.max_batch_size
        codec = Codec(model.name, "1", signature, limits.max_body_bytes, rows)
        told = (model.name, "1") if logged else None
        endpoint = InferEndpoint(codec, observer, pool, services, logged=told)
        deployment = Deployment(
            loaded,
            endpoint.deliver,
            endpoint.refuse,
            self._loop,
            turn,
            left=observer.left,
            built=observer.built,
        )
        endpoint.attach(deployment.batcher)
        return endpoint


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application behind both lanes."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def serve(model: Path, log: Path, logged: int, plain: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        turn = TurnBudget(asyncio.get_running_loop())
        arena = Arena.create(2)
        Side(model, logged, arena, 0, pool, turn, log)
        Side(model, plain, arena, 1, pool, turn, None)
        await asyncio.Event().wait()


def main() -> None:
    model, log, logged, plain = sys.argv[1:]
    _jit.compile_all(lambda done, total: None)
    uvloop.run(serve(Path(model), Path(log), int(logged), int(plain)))


if __name__ == "__main__":
    main()
