"""The control process: composition root of everything that decides.

Knows which room does what and in which order they start and stop. It answers no inference request
and may die at any time: workers serve on, and its successor resumes from the last plan.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import onnxruntime as ort
import uvloop

from gateway import __version__, logs
from gateway.access.certificates import CertificateRing
from gateway.access.keyring import Keyring
from gateway.access.tokens import token_verifier
from gateway.control import (
    audit_operations,
    config_operations,
    contract_metrics,
    drift_metrics,
    key_operations,
    views,
)
from gateway.control import memory as memories
from gateway.control.access import COUNT_S, LOOK_S, WRITE_S, Access, Usage
from gateway.control.admin import Admin, operations
from gateway.control.announcement import announce, still_loading
from gateway.control.api import build_app
from gateway.control.audit import Actor, Audit, by_itself, by_signal
from gateway.control.blocks import Blocks
from gateway.control.callers import Known
from gateway.control.certificates import PortCertificates
from gateway.control.certified import Certified
from gateway.control.changes import Changes
from gateway.control.desired import Sources
from gateway.control.gauges import Reading
from gateway.control.in_force import InForce
from gateway.control.jwks import Jwks
from gateway.control.keys import Keys
from gateway.control.links import Links
from gateway.control.lookout import Lookout
from gateway.control.memory import Memory
from gateway.control.metrics import Info, Metrics
from gateway.control.monitoring import Monitoring
from gateway.control.planner import Planner
from gateway.control.port import Port
from gateway.control.recorder import Recorder
from gateway.control.registry import Registry
from gateway.control.releases import Releases
from gateway.control.revisions import Revisions
from gateway.control.self_references import SelfReferences
from gateway.control.store import Store
from gateway.control.tracing import Export, Exporter, read_headers
from gateway.control.trials import Trials
from gateway.control.troubles import Troubles
from gateway.errors import GatewayError
from gateway.inherited import Inherited
from gateway.monitor.arena import (
    BORN_NS,
    EPOCH,
    HEARTBEAT_NS,
    PID,
    READY,
    STATE,
)

log = logging.getLogger("penstock.control")

# How long workers may take to load a model before it is refused.
LOAD_DEADLINE_S = 300.0
WATCH_S = 1.0
# Between attempts to find out what should run, where that fails (a database that is locked, say).
RETRY_S = 2.0
SLOW_START_S = 1.0
BEAT_S = 1.0
TICK_S = 1.0


def main(inherited: Inherited, epoch: int) -> int:
    """Runs control until SIGTERM."""
    logs.rename("control")
    uvloop.run(Control(inherited, epoch).run())
    return 0


class Control:
    """One control process."""

    def __init__(self, inherited: Inherited, epoch: int) -> None:
        self._inherited = inherited
        self._launch = inherited.launch
        self._epoch = epoch
        self._run_dir = inherited.launch.home / "run"
        self._supervisor = inherited.supervisor_link[1]
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._ready = False
        self._looking_again = False

    async def run(self) -> None:
        """Starts the rooms, resumes or begins, and serves the admin port until told to stop."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        arena = self._inherited.arena
        self._metrics = Metrics(arena)
        row = arena.control_row
        row[PID], row[EPOCH], row[BORN_NS] = os.getpid(), self._epoch, time.monotonic_ns()
        row[STATE] = READY
        # Not `open`: a home that was lost must not come back empty, and take every model down.
        self._store = Store(self._launch.home)
        self._registry = Registry(self._store, self._launch.home)
        own = SelfReferences(self._store, self._launch.home, by_itself())
        releases = Releases(self._store, self._launch.home, by_itself())
        self._troubles = Troubles()
        self._recorder = Recorder(self._store, self._troubles)
        self._in_force = InForce(Revisions(self._store), self._launch)
        self._lookout = Lookout(
            self._registry.generation,
            lambda known: self._sources.gather(self._in_force.refresh(), known),
        )
        keepsake = self._inherited.keepsake
        memory = memories.read(keepsake) or Memory()
        self._links = Links([ends[0] for ends in self._inherited.links], self._mail, self._heard)
        self._trials = Trials(self._supervisor, self._epoch)
        self._blocks = Blocks(arena, time.monotonic)
        self._monitoring = Monitoring(
            arena,
            self._blocks,
            self._store,
            self._launch.home,
            own,
            releases,
            lambda: self._in_force.config,
            lambda: self._planner.memory.plan,
            self._troubles,
        )
        self._sources = Sources(
            self._launch.files, self._registry, own, self._monitoring.contracts.released
        )
        self._planner = Planner(
            memory,
            self._links,
            self._blocks.allocate,
            self._monitoring.take,
            self._trials.try_out,
            self._lookout.gather,
            lambda known: memories.write(keepsake, known),
            self._blocks.want,
            LOAD_DEADLINE_S,
            self._recorder.note,
        )

        async def reread(actor: Actor) -> None:
            await asyncio.to_thread(self._in_force.reread, actor)

        self._changes = Changes(
            self._planner, self._recorder, lambda: self._in_force.config, reread
        )
        recording = loop.create_task(self._recorder.run())
        self._certificates = PortCertificates(self._launch.config, self._recorder.note)
        self._planner.resume()
        secret = self._launch.secret
        self._keys = Keys(self._store, secret)
        access = self._launch.config.access
        tables = self._links.tables if access.data == "keys" else None
        jwt = access.jwt
        self._jwks: Jwks | None = None
        verifier = token_verifier(jwt, self._miss_a_key)
        self._usage = Usage(arena, self._keys)
        certified = Certified(
            lambda: self._in_force.refresh().access, CertificateRing(), tables, self._usage.know
        )
        keyring = Keyring(secret, verifier)
        self._access = Access(self._store, self._keys, keyring, certified, tables)
        if jwt is not None and verifier is not None:
            last_keys = self._run_dir / "jwks.json"
            self._jwks = Jwks(jwt, verifier, tables, last_keys, self._recorder.note)
        loop.add_reader(self._supervisor.fileno(), self._hear_supervisor)
        self._export = self._start_export()
        self._spawn(self._begin())
        self._spawn(self._watch_registry())
        for who, job in self._monitoring.jobs():
            self._spawn(self._again_and_again(who, job, TICK_S))
        # Whoever asks first may have a key already.
        await self._went_well("keys", self._access.refresh())
        # A revoked key stops in a fraction of a second, whoever revoked it.
        self._spawn(self._again_and_again("keys", self._access.look, LOOK_S))
        self._spawn(self._watch_usage())
        if self._jwks is not None:
            # Follows the identity provider's keys.
            self._spawn(self._again_and_again("jwks", self._jwks.look, COUNT_S))
        self._spawn(self._certificates.watch())
        self._beat()
        await self._serve(stop)
        if self._export is not None:
            await self._export.finish()
        self._links.close()
        self._planner.close()
        for task in self._tasks:
            task.cancel()
        # None of them goes on beside what is closed now.
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._monitoring.close()
        self._usage.count()
        with contextlib.suppress(GatewayError):  # a full disk keeps nobody from leaving
            self._usage.write()
        self._recorder.close()
        await recording
        self._store.close()

    def _start_export(self) -> Export | None:
        """What sends the spans of the workers' requests to a collector, where there is one."""
        if self._inherited.traces is None:
            return None
        config = self._launch.config
        settings = config.tracing

        def build() -> Exporter:
            from gateway.control.otlp import OtlpExporter  # the SDK comes with an extra

            scheme = "http" if config.server.tls is None else "https"
            return OtlpExporter(settings, read_headers(settings.headers_file), scheme)

        export = Export(self._inherited.traces[1], build, settings.max_queue)
        export.start(asyncio.get_running_loop())
        return export

    async def _serve(self, stop: asyncio.Event) -> None:
        admin = Admin(
            metrics=self._render_metrics,
            status=self._status,
            models=self._models,
            reload=self._changes.reload,
            load=self._changes.load,
            unload=self._changes.unload,
        )
        config = self._launch.config
        table = (
            *operations(admin, config.control.open_metrics),
            *audit_operations.operations(Audit(self._store)),
            *config_operations.operations(
                self._in_force,
                self._planner.apply,
                lambda: self._planner.memory.plan,
                self._planner.hints,
            ),
            *key_operations.operations(self._keys, self._access.refresh),
            *self._monitoring.operations(self._planner.apply),
        )
        self._port = port = Port(
            build_app(table, self._known()),
            self._inherited.control_socket,
            config,
            max(operation.max_body_bytes for operation in table),
            self._launch.request_ids("control", self._epoch),
            self._certificates.control(),
        )
        port.start()
        await stop.wait()
        await port.close()

    def _known(self) -> Known:
        """Who may come to the control port."""
        asks = self._launch.config.control_asks
        ring = self._access.certified.ring
        return Known(asks, self._access.keyring, ring, self._launch.secret, self._usage.note)

    # ---- what happens ---------------------------------------------------------------------------

    async def _begin(self) -> None:
        slow = asyncio.get_running_loop().call_later(SLOW_START_S, still_loading)
        while not await self._went_well("start", self._planner.apply()):  # noqa: ASYNC110
            await asyncio.sleep(RETRY_S)
        slow.cancel()
        self._ready = self._monitoring.settled = True
        plan = self._planner.memory.plan
        serving = {route.name: route.version for route in plan.routes}
        try:
            await asyncio.to_thread(announce, self._inherited, serving, plan.absent)
        except OSError as error:
            log.error("%s: where this server listens cannot be announced", error)

    def _beat(self) -> None:
        """Lets the supervisor see that this loop turns."""
        self._inherited.arena.control_row[HEARTBEAT_NS] = time.monotonic_ns()
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    async def _watch_registry(self) -> None:
        """A change made with the command line takes effect without anybody telling this process.

        One that somebody did tell of has been looked at already.
        """

        async def look() -> None:
            self._blocks.sweep()
            if await asyncio.to_thread(self._lookout.is_behind):
                await self._planner.look()

        await asyncio.sleep(WATCH_S)
        await self._again_and_again("registry", look, WATCH_S)

    async def _watch_usage(self) -> None:
        """Sees which keys are used, and writes it down once in a while."""

        async def count() -> None:
            for _ in range(round(WRITE_S / COUNT_S)):
                self._usage.count()
                await asyncio.sleep(COUNT_S)
            await asyncio.to_thread(self._usage.write)

        await self._again_and_again("uses of keys", count, 0.0)

    async def _again_and_again(
        self, who: str, work: Callable[[], Awaitable[object]], pause_s: float
    ) -> None:
        """Does something at every interval; what fails is tried again a little later."""
        while True:
            well = await self._went_well(who, work())
            await asyncio.sleep(pause_s if well else max(pause_s, RETRY_S))

    async def _went_well(self, who: str, work: Awaitable[object]) -> bool:
        try:
            await work
        except Exception as error:
            self._troubles.met(who, error)
            return False
        self._troubles.over(who)
        return True

    def _status(self) -> dict[str, Any]:
        plan = self._planner.memory.plan
        arena = self._inherited.arena
        return views.status(arena, self._links, plan, self._ready, self._draining)

    def _models(self) -> list[dict[str, Any]]:
        return views.models(self._planner.memory.plan, self._monitoring.references())

    async def _render_metrics(self, accept: str, triton: bool) -> tuple[bytes, str]:
        reading = Reading((), 0.0)
        try:
            reading = await self._monitoring.gauges.fresh()
        except Exception as error:  # what fails must not hide what else there is to see
            self._troubles.met("figures of drift", error)
        else:
            self._troubles.over("figures of drift")
        return await asyncio.to_thread(self._metrics_text, reading, accept, triton)

    def _metrics_text(self, reading: Reading, accept: str, triton: bool) -> tuple[bytes, str]:
        settings = self._in_force.config.metrics
        lines = views.models(self._planner.memory.plan)
        states = collections.Counter(line["state"] for line in lines)
        requests, seen = self._usage.by_name()
        info = Info(
            version=__version__,
            onnxruntime=ort.__version__,
            providers=tuple(ort.get_available_providers()),
            plan=self._planner.memory.plan.number,
            supervisor=os.getppid(),
            models=dict(states),
            refused=[len(refused) for refused in self._links.refused],
            key_requests=requests,
            key_last_seen=seen,
            certificates=self._certificates.facts(),
            traced={} if self._export is None else self._export.counts,
            alerts_firing=self._monitoring.alerting.firing(),
            alert_deliveries=list(self._monitoring.deliveries.counts.items()),
            connections=self._port.counts.open,
            port_refusals=self._port.counts.refusals,
            drift=drift_metrics.families(reading.evaluated, settings, reading.took_s),
            contracts=contract_metrics.families(
                self._monitoring.contracts.breaches(self._planner.memory.plan),
                settings.max_features,
            ),
        )
        return self._metrics.render(info, accept, triton)

    # ---- supervisor and workers speak -----------------------------------------------------------

    def _hear_supervisor(self) -> None:
        while (message := self._supervisor.receive()) is not None:
            kind = message["type"]
            if kind == "trial":
                self._trials.hear(message)
            elif kind == "died":
                self._planner.crashed(message["suspects"])
            elif kind == "reload":
                sent = by_signal("SIGHUP", os.getppid())
                self._spawn(self._quietly(self._changes.reload(sent)))
            elif kind == "draining":
                self._draining = True

    def _heard(self, refuses: bool) -> None:
        """A worker got further, or cannot load what is planned: the files may be others by now."""
        self._planner.step_soon()
        if refuses and not self._looking_again:
            self._looking_again = True
            self._spawn(self._quietly(self._look_again()))

    async def _look_again(self) -> None:
        self._looking_again = False
        await self._planner.look()

    def _mail(self, slot: int, message: Mapping[str, Any]) -> None:
        if message["type"] == "repository":
            self._spawn(self._change_repository(slot, message))
        elif message["type"] == "unknown_kid":
            self._miss_a_key()

    def _miss_a_key(self) -> None:
        """Here or in a worker a token names a key that is not known: the provider may have it."""
        if self._jwks is not None:
            self._jwks.ask()

    async def _change_repository(self, slot: int, message: Mapping[str, Any]) -> None:
        self._tell(slot, await self._changes.asked_by_mail(message))

    def _tell(self, slot: int, message: dict[str, Any], tries: int = 50) -> None:
        """Sends a worker what a client waits for; a full link empties as the worker reads."""
        if not self._links.tell(slot, message) and tries:
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, self._tell, slot, message, tries - 1)

    # ---- helpers --------------------------------------------------------------------------------

    async def _quietly(self, change: Coroutine[Any, Any, object]) -> None:
        try:
            await change
        except Exception as error:
            self._log(error)

    def _log(self, error: Exception) -> None:
        if isinstance(error, GatewayError):
            log.error("%s", error)
        else:
            log.error("a change failed; the last plan stands", exc_info=error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
