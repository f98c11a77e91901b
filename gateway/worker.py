"""A worker: composition root of the data plane, and how one starts and leaves.

Knows which room gets which collaborator, and the order of start and drain. Nobody imports it but
its entry point and tests.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from gateway.catalogue import Catalogue, Served
from gateway.errors import Draining
from gateway.follower import Follower
from gateway.inference import InferEndpoint
from gateway.inherited import Inherited
from gateway.monitor import layout
from gateway.monitor.arena import (
    CONNECTIONS,
    DRAINING,
    HEARTBEAT_NS,
    PLAN,
    READY,
    READY_NS,
    RUNNING,
    RUNNING_PLACES,
    STATE,
)
from gateway.monitor.observe import BatchObserver, WorkerObserver
from gateway.openinference import OpenInference
from gateway.plan import Held, Plan
from gateway.serving.deployment import Deployment, Loaded, load
from gateway.serving.turn import TurnBudget
from gateway.sockets import BACKLOG
from gateway.wire.acceptor import Acceptor
from gateway.wire.http import Lane, Services
from gateway.wire.oip import Codec

log = logging.getLogger("penstock.worker")

HEARTBEAT_S = 1.0
# Gauges of queues that grow and shrink in milliseconds; once a second is as good as any scrape.
GAUGES_S = 0.5
# Loading is rare and mostly waits for ORT; decoding large bodies shares the GIL whatever its
# threads.
POOL_THREADS = 4
# Below it a thread that computes in Python holds the GIL for 5 ms and the loop waits that long.
SWITCH_INTERVAL_S = 0.001


def main(inherited: Inherited, slot: int, epoch: int) -> int:
    """Serves until SIGTERM, then drains; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format=f"penstock worker {slot}: %(message)s")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(Worker(inherited, slot, epoch).run())
    return 0


class Worker:
    """One worker process."""

    def __init__(self, inherited: Inherited, slot: int, epoch: int) -> None:
        config = inherited.launch.config
        self._config = config
        self._slot = slot
        self._epoch = epoch
        self._arena = inherited.arena
        self._board = inherited.board
        self._link = inherited.links[slot][1]
        self._listener = inherited.data_sockets[slot]
        self._row = self._arena.row(slot)
        self._arena.claim(slot, os.getpid(), epoch, time.monotonic_ns())
        self._observer = WorkerObserver(self._arena, slot)
        self._catalogue = Catalogue()
        self._pool = ThreadPoolExecutor(POOL_THREADS, "pool")
        self._observers: dict[str, BatchObserver] = {}
        self._places = itertools.cycle(range(RUNNING_PLACES))

    async def run(self) -> None:
        """Starts, serves, drains."""
        self._loop = loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._turn = TurnBudget(loop)
        self._api = OpenInference(
            self._catalogue,
            self._config,
            self._arena,
            self._observer,
            self._link.send,
            lambda: self._draining,
        )
        self._build_lane()
        self._beat()
        follower = Follower(
            self._link,
            self._catalogue,
            load,
            self._attach,
            self._release,
            self._routed,
            self._api.verdict,
            self._pool,
        )
        follower.start(self._epoch)
        stopping = asyncio.create_task(stop.wait())
        first = asyncio.create_task(follower.first_plan())
        await asyncio.wait({stopping, first}, return_when=asyncio.FIRST_COMPLETED)
        first.cancel()
        if not stop.is_set():
            self._open()
            await stop.wait()
        await self._drain(follower)

    # ---- connections ----------------------------------------------------------------------------

    def _build_lane(self) -> None:
        config = self._config
        self._services = Services(
            endpoints={},
            limits=config.limits,
            server=config.server,
            counters=Counters(self._observer, self._row),
            request_id_prefix=f"{_host()}-{self._slot}-{self._epoch}-".encode(),
        )
        asgi = uvicorn.Config(
            self._api.build_app(self._services),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            ws="none",
            timeout_keep_alive=int(config.server.keep_alive_s),
        )
        asgi.load()
        state = ServerState()
        self._services.start(self._loop)
        self._acceptor = Acceptor(
            self._loop,
            self._listener,
            lambda: Lane(asgi, state, {}, self._loop, services=self._services),
            self._services,
            offer=self._offer,
        )
        self._loop.add_reader(self._board.doors[self._slot][1].fileno(), self._adopt)

    def _open(self) -> None:
        # A predecessor that drained shut the queue of connections; listening again reopens it.
        self._listener.listen(BACKLOG)
        self._row[STATE] = READY
        self._row[READY_NS] = time.monotonic_ns()
        self._board.ready(self._slot, ready=True)
        self._acceptor.start()

    def _offer(self, sock: socket.socket) -> bool:
        handed = self._board.offer(self._slot, sock)
        if handed:
            self._observer.slot[layout.HANDED_OVER] += 1
        return handed

    def _adopt(self) -> None:
        while (sock := self._board.take(self._slot)) is not None:
            self._observer.slot[layout.ADOPTED] += 1
            self._acceptor.adopt(sock)

    # ---- models ---------------------------------------------------------------------------------

    def _attach(self, held: Held, loaded: Loaded) -> Served:
        config = self._config
        observer = BatchObserver(self._arena, held.block, self._slot)
        signature = loaded.runtime.signature
        max_rows = loaded.settings.max_batch_size if signature.batched else 0
        codec = Codec(
            held.name, str(held.version), signature, config.limits.max_body_bytes, max_rows
        )
        endpoint = InferEndpoint(
            codec,
            observer,
            self._pool,
            config.limits.max_body_bytes,
            config.server.compress_min_bytes,
        )
        deployment = Deployment(
            loaded,
            endpoint.deliver,
            endpoint.refuse,
            self._loop,
            self._turn,
            left=observer.left,
            mark=self._mark(held.block),
        )
        endpoint.attach(deployment.batcher)
        observer.loaded(loaded.load_s)
        self._observers[held.id] = observer
        return Served(held, deployment, endpoint)

    def _mark(self, block: int) -> Any:
        """Writes down which model runs, for whoever has to explain this worker's death."""
        row, place = self._row, RUNNING + next(self._places)
        running = 0

        def mark(change: int) -> None:
            nonlocal running
            running += change
            row[place] = block if running else 0

        return mark

    def _release(self, served: Served) -> None:
        observer = self._observers.pop(served.held.id)

        def close() -> None:
            self._pool.submit(served.deployment.close)
            still = any(o.offset == observer.offset for o in self._observers.values())
            if not still:
                observer.unloaded()

        served.deployment.drain(close)

    def _routed(self, plan: Plan) -> None:
        endpoints = self._services.endpoints
        endpoints.clear()
        endpoints.update(self._api.infer_paths())
        self._row[PLAN] = plan.number

    # ---- time -----------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._row[HEARTBEAT_NS] = time.monotonic_ns()
        for _, _, served in self._catalogue.served():
            batcher = served.deployment.batcher
            self._observers[served.held.id].waiting(
                batcher.queued_rows, batcher.queued_rows, batcher.queued_rows + batcher.in_flight
            )
        self._observer.slot[layout.BUFFERED_BYTES] = self._services.buffered_bytes
        self._observer.slot[layout.READING_PAUSED] = int(self._services.lag.late)
        self._loop.call_later(GAUGES_S, self._beat)

    # ---- leaving --------------------------------------------------------------------------------

    @property
    def _draining(self) -> bool:
        return self._services.draining

    async def _drain(self, follower: Follower) -> None:
        """Readiness off, a lag for load balancers, no new connections, answers, then idle ones."""
        self._services.begin_draining()
        self._row[STATE] = DRAINING
        self._board.ready(self._slot, ready=False)
        grace = self._config.drain.grace_s
        if self._config.drain.lag_s:
            await asyncio.sleep(self._config.drain.lag_s)
        end = self._loop.time() + grace
        follower.stop()
        self._acceptor.empty_backlog()
        self._adopt()
        self._acceptor.stop()
        empty = asyncio.Event()
        self._services.finish(empty.set)
        try:
            await asyncio.wait_for(empty.wait(), max(0.0, end - self._loop.time()))
        except TimeoutError:
            left = len(self._services.connections)
            log.warning("%d connections were cut after %.1f s of grace", left, grace)
            for _, _, served in self._catalogue.served():
                served.deployment.abandon(Draining("the server is shutting down"))
            self._services.abort()
        self._services.stop()


class Counters:
    """What connections count, on the arena."""

    __slots__ = ("_observer", "_open", "_row", "_slot")

    def __init__(self, observer: WorkerObserver, row: memoryview) -> None:
        self._observer = observer
        self._slot = observer.slot
        self._row = row
        self._open = 0

    def opened(self) -> None:
        """A connection was accepted or adopted."""
        self._open += 1
        self._slot[layout.ACCEPTED] += 1
        self._note()

    def closed(self) -> None:
        """A connection ended."""
        self._open -= 1
        self._slot[layout.CLOSED] += 1
        self._note()

    def refused(self, code: str) -> None:
        """A request or connection was answered with this error."""
        self._observer.refused(code)

    def left(self) -> None:
        """A client left before its request was answered."""

    def paused(self) -> None:
        """The worker stopped reading because it was late."""
        self._slot[layout.PAUSES] += 1

    def _note(self) -> None:
        self._slot[layout.OPEN_CONNECTIONS] = self._open
        self._row[CONNECTIONS] = self._open


def _host() -> str:
    """The host's short name, as far as it is fit for a header."""
    name = "".join(c for c in socket.gethostname().split(".")[0] if c.isalnum() or c == "-")
    return name[:32] or "host"
