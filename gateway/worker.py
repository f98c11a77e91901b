"""A worker: composition root of the data plane, and how one starts and leaves.

Knows which room gets which collaborator, and the order of start and drain. Nobody imports it but
its entry point and tests.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from gateway import devices, logs, sockets
from gateway.access.certificates import CertificateRing
from gateway.access.credentials import Credentials
from gateway.access.keyring import Keyring
from gateway.access.secret import SUBJECT, keyed_hash
from gateway.access.tokens import token_verifier
from gateway.catalogue import AnyServed, Catalogue, Served, ServedLlm
from gateway.doorbell import Doorbell
from gateway.embeddings.models import EmbeddingModels
from gateway.embeddings.request import EmbeddingsRequest
from gateway.errors import Draining
from gateway.exchange import Endpoint, Exchange
from gateway.follower import PARALLEL, Follower
from gateway.inference import Arm, InferEndpoint
from gateway.inherited import Inherited
from gateway.llm import models as llm
from gateway.llm.app import ModelLists
from gateway.llm.app import routes as llm_routes
from gateway.llm.counting import counters
from gateway.llm.counting_here import counter_here
from gateway.llm.deployment import LlmDeployment
from gateway.llm.later import TurnEnd
from gateway.llm.limits.shared import SharedLimits, unnamed
from gateway.llm.pairs import Pairs
from gateway.llm.pools.breaker import CLOSE_BREAKER
from gateway.llm.traced import generations
from gateway.monitor import layout
from gateway.monitor.arena import (
    BORN_NS,
    DRAINING,
    EXIT_STATUS,
    HEARTBEAT_NS,
    PLAN,
    READY,
    READY_NS,
    RUNNING,
    RUNNING_PLACES,
    STATE,
)
from gateway.monitor.connections import ConnectionCounters
from gateway.monitor.keys import KeyCounts
from gateway.monitor.observe import BatchObserver, WorkerObserver
from gateway.openinference import OpenInference
from gateway.plan import LLM, Held, Plan
from gateway.processes import usable_cores
from gateway.routed import RoutedEndpoints
from gateway.serving.deployment import Deployment, Loaded, load
from gateway.serving.turn import TurnBudget
from gateway.shadows.follow import Shadows
from gateway.sketches import Sketches
from gateway.spans import TracedRequest
from gateway.tables import TableInbox
from gateway.tls import WATCH_S, Certificates
from gateway.wire.acceptor import Acceptor
from gateway.wire.access_log import AccessLog, Note, both
from gateway.wire.guard import NO_MODEL, Door, Guard
from gateway.wire.http import Lane
from gateway.wire.llm.paths import refusal
from gateway.wire.logged import LoggedLane
from gateway.wire.oip.codec import Codec
from gateway.wire.services import Services
from gateway.wire.sink import Sink
from gateway.wire.spans import SpanLog

log = logging.getLogger("penstock.worker")

# A sign of life, and gauges of queues that grow and shrink in milliseconds: no scrape is finer.
BEAT_S = 0.5
# Loading is rare and mostly waits for ORT; decoding large bodies shares the GIL whatever its
# threads.
POOL_THREADS = 4
# Below it a thread that computes in Python holds the GIL for 5 ms and the loop waits that long.
SWITCH_INTERVAL_S = 0.001
# Refusals written at the end of the grace period leave before their connections are cut.
FLUSH_S = 0.1
# Large answers whose clients have left are read, and charged, by then.
READ_OUT_S = 1.0
# Nobody new may connect by then; who had begun to is connected within it, or is far away.
HANDSHAKE_S = 0.2
# Threads that do not all start end the worker, which is replaced.
STARTED_WITHIN_S = 10.0
# Containers that are made and not let go of before the collector looks for rings of them. A request
# leaves none behind, but by Python's own 700 it was looked after every 25 of them, which took a
# twelfth of a worker's time. So many are two megabytes, if they are all in rings.
YOUNG_OBJECTS = 20_000
# Anybody can send tokens of keys that nobody has.
MISS_S = 1.0
# Which models are being loaded is marked in places of their own.
LOADING = RUNNING + RUNNING_PLACES - PARALLEL
# A worker whose model hangs while it is loaded serves the others then: half a server beats none.
OPEN_WITHIN_S = 300.0


def main(inherited: Inherited, slot: int, epoch: int) -> int:
    """Serves until SIGTERM, then drains; returns the exit status."""
    logs.rename(f"worker-{slot}")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(YOUNG_OBJECTS)
    uvloop.run(Worker(inherited, slot, epoch).run())
    return 0


def started_pool(count: int) -> ThreadPoolExecutor:
    """A pool whose threads all run.

    One that starts them as work comes raises, where there is none to be had, and does the work all
    the same once another is free: its request would be answered twice.
    """
    pool = ThreadPoolExecutor(count, "pool")
    met = threading.Barrier(count)
    for _ in range(count):
        pool.submit(met.wait, STARTED_WITHIN_S)
    return pool


def lane_for(notes: Sequence[Note]) -> Callable[..., Lane]:
    """What makes the protocol of a connection: the plain one where nobody is told of answers."""
    return partial(LoggedLane, note=reduce(both, notes)) if notes else Lane


class Worker:
    """One worker process."""

    def __init__(self, inherited: Inherited, slot: int, epoch: int) -> None:
        config = inherited.launch.config
        self._config = config
        self._slot = slot
        self._gpu = devices.share(slot, inherited.launch.gpus)
        self._launch = inherited.launch
        self._epoch = epoch
        self._arena = inherited.arena
        self._board = inherited.board
        self._link = inherited.links[slot][1]
        self._traces = None if inherited.traces is None else inherited.traces[0]
        self._listener = inherited.data_sockets[slot]
        self._row = self._arena.row(slot)
        self._arena.claim(slot, os.getpid(), epoch, time.monotonic_ns())
        self._observer = WorkerObserver(self._arena, slot)
        self._catalogue = Catalogue()
        self._pool = started_pool(POOL_THREADS)
        self._observers: dict[str, BatchObserver] = {}
        self._guard: Guard | None = None
        self._limit_name: Callable[[int], str] = unnamed
        self._key_counts: KeyCounts | None = None
        self._next_miss = 0.0
        self._tables: list[TableInbox] = []
        self._doors: dict[tuple[str, bool], Door] = {}
        self._direct: Mapping[bytes, Endpoint] = {}
        self._endpoints = RoutedEndpoints(start=hash((slot, epoch)))
        if config.access.data == "keys":
            self._ask_for_keys(inherited.launch.secret)
        secret = inherited.launch.secret
        self._sketches = Sketches(
            self._arena, slot, epoch, self._pool, lambda text: keyed_hash(secret, SUBJECT, text)
        )
        cores = usable_cores() / self._arena.workers
        self._shadows = Shadows(
            self._arena,
            slot,
            self._pool,
            self._mark,
            self._tell,
            cores,
            lambda: any(one.batcher.backed_up for one in self._deployments),
        )
        self._deployments: set[Deployment] = set()  # those that have left and still drain, too
        self._places = list(range(RUNNING, LOADING))
        self._loading_places = list(range(LOADING, LOADING + PARALLEL))
        self._certificates = inherited.certificates.get("data")

    async def run(self) -> None:
        """Starts, serves, drains."""
        self._loop = loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._turn = TurnBudget(loop)
        self._doorbell = Doorbell(self._send, loop)
        self._api = OpenInference(
            self._catalogue,
            self._config,
            self._arena,
            self._observer,
            self._link.send,
            lambda: self._draining,
            self._pool,
            # A verdict that a predecessor asked for must not answer a ticket of this process.
            first_ticket=(self._epoch << 32) + 1,
        )
        self._build_lane()
        self._due = loop.time()
        self._beat()
        follower = Follower(
            self._link,
            self._catalogue,
            self._load,
            self._attach,
            self._discard,
            self._release,
            self._routed,
            self._hear,
            self._pool,
            tables=self._tables,
            # If the one before died of what it loaded, the next death must have one suspect.
            parallel=PARALLEL if self._row[EXIT_STATUS] >= 0 else 1,
        )
        follower.start(self._epoch)
        if self._certificates is not None:
            self._watching = loop.create_task(self._watch_certificates(self._certificates))
        stopping = asyncio.create_task(stop.wait())
        first = asyncio.create_task(follower.complete(OPEN_WITHIN_S))
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
            counters=ConnectionCounters(self._observer, self._row, self._note_connections),
            guard=self._guard,
            refusal=refusal,
            request_id_prefix=self._launch.request_ids(str(self._slot), self._epoch),
        )
        limits = SharedLimits(self._arena, self._slot, self._limit_name)
        self._embeddings = EmbeddingModels(
            self._loop,
            self._services,
            self._pool,
            limits,
            self._catalogue,
            self._note_answering,
            partial(counter_here, self._arena, self._slot),
        )
        self._llm = llm.LanguageModels(
            self._loop,
            self._services,
            self._pool,
            limits,
            None if self._guard is None else self._guard.count,
            start=hash((self._slot, self._epoch)),
            counters=partial(counters, self._arena, self._slot),
            tell=self._send,
            pairs=Pairs(self._loop, self._arena, self._slot, self._pool, self._tell),
            later=TurnEnd(self._loop),
        )
        lists = ModelLists(self._llm.names, time.time(), self._observer.answered)
        asgi = uvicorn.Config(
            self._api.build_app(self._services, llm_routes(lists, self._services)),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            ws="none",
            proxy_headers=False,  # whose are believed, the lane knows
            timeout_keep_alive=int(config.server.keep_alive_s),
        )
        asgi.load()
        state = ServerState()
        self._services.start(self._loop)
        self._llm.start()
        self._logs = [one for one in (self._open_access(), self._open_spans()) if one is not None]
        lane = lane_for([one.note for one in self._logs])
        self._acceptor = Acceptor(
            self._loop,
            self._listener,
            lambda: lane(asgi, state, {}, self._loop, services=self._services),
            self._services,
            offer=self._offer,
            tls=self._tls,
        )

    def _tls(self) -> ssl.SSLContext | None:
        return None if self._certificates is None else self._certificates.context

    async def _watch_certificates(self, certificates: Certificates) -> None:
        """New files serve the next connection; those that are open keep what they have."""
        while True:
            await asyncio.sleep(WATCH_S)
            await self._loop.run_in_executor(self._pool, certificates.refresh)

    def _open_access(self) -> AccessLog | None:
        """The access log, and what opens its file again once that was moved away."""
        settings = self._config.log
        if settings.access == "off":
            return None
        self._sink = Sink(settings.access_file, self._observer.dropped)
        self._reopen_access()
        if settings.access_file is not None:
            self._loop.add_signal_handler(signal.SIGHUP, self._reopen_access)
        process = f"worker-{self._slot}"
        share = settings.access_sample
        return AccessLog(settings.access, self._sink, process, self._loop, share)

    def _open_spans(self) -> SpanLog | None:
        """What notes the requests whose spans control exports."""
        channel = self._traces
        if channel is None:
            return None

        def send(requests: list[TracedRequest]) -> bool:
            return channel.send({"requests": requests})

        spans = SpanLog(
            self._config.tracing,
            send,
            self._observer.untraced,
            self._loop,
            generations=generations,
        )
        self._llm.trace(spans.begin)
        return spans

    def _reopen_access(self) -> None:
        try:
            self._sink.open()
        except OSError as error:
            log.error("the access log cannot be opened: %s", error)

    def _open(self) -> None:
        sockets.reopen(self._listener)
        self._row[STATE] = READY
        self._row[READY_NS] = time.monotonic_ns() - self._row[BORN_NS]
        self._board.ready(self._slot, ready=True)
        # Only now: what a predecessor was handed waits behind the door until its models are here.
        self._loop.add_reader(self._board.doors[self._slot][1].fileno(), self._adopt)
        self._acceptor.start()

    def _offer(self, sock: socket.socket) -> bool:
        mine = self._acceptor.connections
        self._board.open(self._slot, mine)
        if self._board.offer(self._slot, sock):
            self._observer.slot[layout.HANDED_OVER] += 1
            return True
        self._board.open(self._slot, mine + 1)
        return False

    def _adopt(self) -> int:
        """Takes what others handed over; says how many."""
        adopted = 0
        while (sock := self._board.take(self._slot)) is not None:
            adopted += 1
            self._observer.slot[layout.ADOPTED] += 1
            self._acceptor.adopt(sock)
            self._note_connections()
        return adopted

    def _note_connections(self) -> None:
        self._board.open(self._slot, self._acceptor.connections)

    def _ask_for_keys(self, secret: bytes) -> None:
        verifier = token_verifier(self._config.access.jwt, self._miss_a_key)
        keyring = Keyring(secret, verifier)
        self._tables.append(TableInbox("keys", keyring.replace, keyring.change))
        certificates = CertificateRing()
        namers = [keyring.limit_name, certificates.limit_name]
        if verifier is not None:
            self._tables.append(TableInbox("jwks", verifier.replace, verifier.change))
            if verifier.has_teams:
                change = verifier.change_teams
                self._tables.append(TableInbox("teams", verifier.replace_teams, change))
                namers.append(verifier.limit_name)
        self._limit_name = lambda row: next(filter(None, (name(row) for name in namers)), "")
        inbox = TableInbox("certificates", certificates.replace, certificates.change)
        self._tables.append(inbox)
        credentials = Credentials(keyring, certificates)
        guard = Guard(credentials, lambda *name: counts.series(*name))
        counts = KeyCounts(self._arena, self._slot, guard.counts, self._versions)
        self._guard, self._key_counts = guard, counts

    def _miss_a_key(self) -> None:
        """A token names a key that is not here. Control asks the provider, which may have it."""
        now = time.monotonic()
        if now >= self._next_miss:
            self._next_miss = now + MISS_S
            self._send({"type": "unknown_kid"})

    def _hear(self, message: Mapping[str, Any]) -> None:
        if message["type"] == CLOSE_BREAKER:
            about = message["model"], message["version"], message["upstream"]
            self._llm.close_breaker(*about)
            return
        if message["type"] == "control":  # a new one, which knows of no row
            self._shadows.begin_anew()
            self._llm.begin_anew()
        self._api.hear(message)

    def _tell(self, message: dict[str, Any]) -> None:
        """What control has no need of is sent if there is room for it."""
        self._observer.mailed(self._link.send(message | {"epoch": self._epoch}))

    def _versions(self) -> set[tuple[str, int]]:
        """Requests to what may be counted from now on."""
        served = self._catalogue.by_id.values()
        return {NO_MODEL} | {(one.held.name, one.held.version) for one in served}

    def _send(self, message: dict[str, Any]) -> bool:
        """Puts something into control's mailbox, if there is room."""
        sent = self._link.send(message)
        self._observer.mailed(sent)
        return sent

    # ---- models ---------------------------------------------------------------------------------

    def _load(self, held: Held) -> Loaded | llm.Loaded:
        """On a thread. What dies of loading is as much to blame as what dies of running."""
        if held.kind == LLM:
            found = llm.load(held)
            self._sketches.prepare(held.id, LlmDeployment.signature)
            return found
        place = self._loading_places.pop()
        self._row[place] = held.block
        try:
            loaded = load(held, self._gpu)
            self._sketches.prepare(held.id, loaded.runtime.signature)
            return loaded
        finally:
            self._row[place] = 0
            self._loading_places.append(place)

    def _attach(self, held: Held, loaded: Loaded | llm.Loaded) -> AnyServed:
        observer = BatchObserver(self._arena, held.block, self._slot, failing=self._doorbell.ring)
        observer.loaded(loaded.load_s)
        self._observers[held.id] = observer
        if isinstance(loaded, llm.Loaded):
            return ServedLlm(held, self._llm.attach(held, loaded, observer))
        return self._attach_onnx(held, loaded, observer)

    def _attach_onnx(self, held: Held, loaded: Loaded, observer: BatchObserver) -> Served:
        config = self._config
        signature = loaded.runtime.signature
        max_rows = loaded.settings.max_batch_size if signature.batched else 0
        codec = Codec(
            held.name, str(held.version), signature, config.limits.max_body_bytes, max_rows
        )
        logged = (held.name, str(held.version)) if self._logs else None
        parted = loaded.texts is not None
        endpoint = InferEndpoint(
            codec, observer, self._pool, self._services, logged=logged, parted=parted
        )
        deployment = Deployment(
            loaded,
            endpoint.deliver,
            endpoint.refuse,
            self._loop,
            self._turn,
            left=observer.left,
            mark=self._mark(held.block),
            built=observer.built,
        )
        endpoint.attach(deployment.batcher)
        self._deployments.add(deployment)
        return Served(held, deployment, endpoint)

    def _mark(self, block: int) -> Any:
        """Writes down which model runs, for whoever has to explain this worker's death."""
        row, free = self._row, self._places
        running = place = 0

        def mark(change: int) -> None:
            # A place is taken while something runs, so that no two models ever share one. More
            # models at once than there are places run unmarked.
            nonlocal running, place
            running += change
            if change > 0 and running == 1 and free:
                place = free.pop()
                row[place] = block
            elif running == 0 and place:
                row[place] = 0
                free.append(place)
                place = 0

        return mark

    def _discard(self, loaded: Loaded | llm.Loaded) -> None:
        if isinstance(loaded, Loaded):
            self._pool.submit(loaded.runtime.close)

    def _release(self, served: AnyServed) -> None:
        observer = self._observers.pop(served.held.id)
        if isinstance(served, ServedLlm):
            self._release_llm(served, observer)
            return
        for named in (False, True):
            self._doors.pop((served.held.id, named), None)
        served.endpoint.retire(self._elsewhere)

        def close() -> None:
            self._sketches.release(served)
            self._deployments.discard(served.deployment)
            closing = self._loop.run_in_executor(self._pool, served.deployment.close)
            closing.add_done_callback(closed)

        def closed(_: asyncio.Future[None]) -> None:
            # Not before: control may give the block to another model then, and a session that is
            # still being built when a deployment leaves is marked with it.
            observer.unloaded()

        served.deployment.drain(close)

    def _release_llm(self, served: ServedLlm, observer: BatchObserver) -> None:
        def drained() -> None:
            self._llm.release(served.deployment)
            self._sketches.release(served)
            observer.unloaded()

        served.deployment.drain(drained)

    def _elsewhere(self, exchange: Exchange) -> bool:
        """A request that was on its way to a deployment when that left goes where its path leads.

        Its body may have taken seconds to arrive, or a thread some time to decode.
        """
        if isinstance(exchange, EmbeddingsRequest):
            return exchange.again()
        endpoint = self._direct.get(exchange.path)
        if endpoint is None:
            return False
        endpoint(exchange)
        return True

    def _routed(self, plan: Plan) -> None:
        # The bound method: calling an object that merely has one takes twice as long.
        note = self._note_arm if self._logs or self._guard is not None else None
        divided = self._endpoints.follow(self._catalogue, note)
        calls = {name: endpoint.__call__ for name, endpoint in divided.items()}
        self._direct = direct = self._api.infer_paths(
            lambda s: s.endpoint.__call__, calls, lambda s: s.endpoint.named
        )
        ours = self._embeddings.follow(divided)
        self._llm.follow(self._catalogue.language_models(), self._catalogue.unserved(), ours)
        asked = self._llm.paths()
        endpoints = self._services.endpoints
        endpoints.clear()
        if self._guard is None:
            endpoints.update(direct)
            endpoints.update(asked)
        else:
            door = partial(self._door, self._guard)
            routed = {
                name: Door(self._guard, endpoint, name, None) for name, endpoint in divided.items()
            }
            named = partial(self._door, self._guard, named=True)
            self._guard.doors = doors = self._api.infer_paths(door, routed, named)
            doors |= {path: Door(self._guard, proxy, None, None) for path, proxy in asked.items()}
            endpoints.update((path, door.enter) for path, door in doors.items())
        self._sketches.follow(plan, self._catalogue.by_id.values())
        self._shadows.follow(self._catalogue.divided())
        if self._logs:
            models = self._api.infer_paths(_model, dict.fromkeys(divided))
            for one in self._logs:
                one.know(models)
        self._row[PLAN] = plan.number

    def _note_arm(self, exchange: Any, arm: Arm) -> None:
        self._note_answering(exchange, arm.model, arm.version)

    def _note_answering(self, exchange: Any, model: str, version: int) -> None:
        """Has whoever called, the access log and traces know which version answers."""
        if self._guard is not None:
            self._guard.count(exchange.head, model, version)
        if self._logs:
            exchange.note_model((model, str(version)))

    def _door(self, guard: Guard, served: Served, named: bool = False) -> Door:
        """What stands before a deployment where access is not open."""
        held = served.held
        door = self._doors.get((held.id, named))
        if door is None:
            door = Door(guard, served.endpoint, held.name, held.version, named)
            self._doors[held.id, named] = door
        return door

    # ---- time -----------------------------------------------------------------------------------

    def _beat(self) -> None:
        now = self._loop.time()
        self._observer.lagged(now - self._due)
        self._due = now + BEAT_S
        # First of all: what fails below must not stop the heart.
        self._loop.call_at(self._due, self._beat)
        self._row[HEARTBEAT_NS] = time.monotonic_ns()
        self._llm.mark()
        for one in self._llm.deployments:
            one.observer.waiting(0, 0, one.in_flight)
        for _, _, served in self._catalogue.served():
            batcher = served.deployment.batcher
            riders = batcher.queued_riders
            self._observers[served.held.id].waiting(
                batcher.queued_rows,
                riders,
                served.endpoint.decoding + riders + batcher.riding,
            )
        self._observer.slot[layout.BUFFERED_BYTES] = self._services.buffered_bytes
        self._observer.slot[layout.READING_PAUSED] = int(self._services.lag.late)
        if self._key_counts is not None:
            self._key_counts.mark()
        self._note_connections()

    # ---- leaving --------------------------------------------------------------------------------

    @property
    def _draining(self) -> bool:
        return self._services.draining

    async def _drain(self, follower: Follower) -> None:
        """Readiness off, a lag for load balancers, no new connections, answers, then idle ones.

        Answers carry `Connection: close` from the start, so that by the end of the lag most clients
        have gone of their own accord.
        """
        self._services.begin_draining()
        self._row[STATE] = DRAINING
        self._board.ready(self._slot, ready=False)
        drain = self._config.drain
        await asyncio.sleep(drain.lag_s)
        follower.stop()
        self._llm.drain()
        await self._stop_listening()
        try:
            await asyncio.wait_for(self._all_gone(), drain.grace_s)
        except TimeoutError:
            for deployment in tuple(self._deployments):
                deployment.abandon(Draining("the server is shutting down"))
            await asyncio.sleep(FLUSH_S)
            left = len(self._services.connections)
            log.warning("%d connections were cut after %g s of grace", left, drain.grace_s)
            self._services.abort()
        await self._llm.read_out(READ_OUT_S)
        self._llm.close()
        self._services.stop()
        if self._key_counts is not None:
            self._key_counts.mark()
        for one in self._logs:
            one.flush()

    async def _stop_listening(self) -> None:
        """Takes all that is queued; who comes later is refused instead of left waiting."""
        sockets.turn_away(self._listener)
        await asyncio.sleep(HANDSHAKE_S)
        self._acceptor.stop()
        self._acceptor.empty_backlog()
        # The supervisor keeps the socket: closing it here would not stop it from listening.
        sockets.shut(self._listener)

    async def _all_gone(self) -> None:
        """Returns when no connection is left, not even one that somebody has just handed over."""
        while True:
            self._adopt()
            empty = asyncio.Event()
            self._services.finish(empty.set)
            await empty.wait()
            if not self._adopt():
                return


def _model(served: Served) -> tuple[str, str] | None:
    """What the access log and traces say of who answers."""
    return served.held.name, str(served.held.version)
