"""The control process: composition root of everything that decides.

Knows which room does what and in which order they start and stop. It answers no inference request
and may die at any time: workers serve on, and its successor resumes from the last plan.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from gateway import logs
from gateway.access.certificates import CertificateRing
from gateway.access.credentials import Credentials
from gateway.access.keyring import Keyring
from gateway.access.secret import VALUE, keyed_hash
from gateway.access.tokens import has_teams, token_verifier
from gateway.control import (
    audit_operations,
    capture_operations,
    config_operations,
    experiment_operations,
    key_operations,
    llm_reports,
    retirement_operations,
    rollout_operations,
    route_operations,
    spend_operations,
    spend_report,
    views,
)
from gateway.control import memory as memories
from gateway.control.admin import Admin, operations
from gateway.control.announcement import announce, still_loading
from gateway.control.api import build_app
from gateway.control.audit import Actor, Audit, by_itself, by_signal
from gateway.control.blocks import Blocks
from gateway.control.callers import Known
from gateway.control.capture import Capture
from gateway.control.certificate_table import CertificateTable
from gateway.control.changes import Changes
from gateway.control.desired import Sources
from gateway.control.erasures import Erasures
from gateway.control.experiment_readings import Readings
from gateway.control.experiment_store import ExperimentStore
from gateway.control.experiments import Experiments
from gateway.control.failing import Failing
from gateway.control.in_force import InForce
from gateway.control.jobs import RETRY_S, Jobs
from gateway.control.jwks import Jwks
from gateway.control.key_limits import KeyLimits
from gateway.control.key_table import LOOK_S, KeyTable
from gateway.control.key_usage import COUNT_S, Usage
from gateway.control.keys import Keys
from gateway.control.links import Links
from gateway.control.lookout import Lookout
from gateway.control.memory import Memory
from gateway.control.metrics import Metrics
from gateway.control.monitoring import Monitoring
from gateway.control.operations import Operation
from gateway.control.outcomes import Outcomes
from gateway.control.planner import Planner
from gateway.control.port import Counts, Port
from gateway.control.port_certificates import PortCertificates
from gateway.control.pulls import WRITE_S, Pulls
from gateway.control.recorder import Recorder
from gateway.control.registry import Registry
from gateway.control.releases import Releases
from gateway.control.retirements import Retirements
from gateway.control.retiring import last_words
from gateway.control.revisions import Revisions
from gateway.control.rollout_effects import Effects
from gateway.control.rollout_store import RolloutStore
from gateway.control.rollouts import Rollouts
from gateway.control.routes import Routes
from gateway.control.scrapes import Scrapes
from gateway.control.self_references import SelfReferences
from gateway.control.shadows import Shadows
from gateway.control.signatures import Signatures
from gateway.control.spend_metrics import SpendMetrics
from gateway.control.spend_store import SpendStore
from gateway.control.spending import LOOK_S as SPENDING_S
from gateway.control.spending import Spending
from gateway.control.splits import Wanted
from gateway.control.store import Store
from gateway.control.team_table import TeamTable
from gateway.control.tracing import Export, Exporter, read_headers
from gateway.control.trials import Trials
from gateway.control.troubles import Troubles
from gateway.control.version_use import WRITE_S as USE_WRITE_S
from gateway.control.version_use import VersionUse
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
from gateway.rollouts.failing import Evidence
from gateway.tls import WATCH_S

log = logging.getLogger("penstock.control")

# How long workers may take to load a model before it is refused.
LOAD_DEADLINE_S = 300.0
LOOK_AT_STORE_S = 1.0
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
        self._jwks: Jwks | None = None
        self._teams: TeamTable | None = None
        self._draining = False
        self._ready = False
        self._looking_again = False

    async def run(self) -> None:
        """Starts the rooms, resumes or begins, and serves the admin port until told to stop.

        What was started is stopped in the reverse order, also where something later does not start.
        """
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        self._appear()
        async with AsyncExitStack() as stack:
            self._keep(stack)
            self._decide(stack)
            self._admit()
            await self._work()
            self._serve(stack)
            await stop.wait()

    def _appear(self) -> None:
        row = self._inherited.arena.control_row
        row[PID], row[EPOCH], row[BORN_NS] = os.getpid(), self._epoch, time.monotonic_ns()
        row[STATE] = READY
        self._beat()

    def _keep(self, stack: AsyncExitStack) -> None:
        """The store, what is written down there, and whatever runs aside: the last to stop."""
        home = self._launch.home
        # Not `open`: a home that was lost must not come back empty, and take every model down.
        self._store = Store(home)
        stack.callback(self._store.close)
        self._registry = Registry(self._store, home)
        self._troubles = Troubles()
        self._in_force = InForce(Revisions(self._store), self._launch)
        self._recorder = Recorder(self._store, self._troubles)
        recording = asyncio.get_running_loop().create_task(self._recorder.run())

        async def finish() -> None:
            self._recorder.close()
            await recording

        stack.push_async_callback(finish)
        self._keys = Keys(self._store, self._launch.secret)
        self._usage = Usage(self._inherited.arena, self._keys)
        stack.push_async_callback(self._usage.close)
        self._spending = Spending(self._inherited.arena, SpendStore(self._store))
        stack.push_async_callback(self._close_spending)
        asks = self._launch.config.access.data == "keys"
        self._version_use = VersionUse(
            self._inherited.arena,
            self._store,
            (lambda: self._usage.by_name(named_alone=True)) if asks else None,
        )
        stack.push_async_callback(self._version_use.close)
        self._blocks = Blocks(self._inherited.arena, time.monotonic)
        self._own = SelfReferences(self._store, home, by_itself())
        self._outcomes = Outcomes(
            self._inherited.arena,
            home,
            lambda: self._in_force.config,
            lambda slot, epoch: self._launch.request_ids(str(slot), epoch).decode()[:-1],
            time.time,
        )
        stack.push_async_callback(self._outcomes.close)
        self._capture = Capture(
            self._inherited.arena,
            self._blocks,
            home,
            lambda: self._in_force.config,
            lambda slot, epoch: self._launch.request_ids(str(slot), epoch).decode()[:-1],
            lambda text: keyed_hash(self._launch.secret, VALUE, text),
            time.monotonic,
            time.time,
        )
        stack.push_async_callback(self._capture.close)
        self._shadows = Shadows(
            self._inherited.arena,
            self._blocks,
            lambda: self._in_force.config,
            lambda slot, epoch: self._launch.request_ids(str(slot), epoch).decode()[:-1],
            lambda text: keyed_hash(self._launch.secret, VALUE, text),
            lambda: self._planner.memory.plan,
            self._outcomes.of,
            time.monotonic,
        )
        self._releases = Releases(self._store, home, by_itself())
        self._monitoring = Monitoring(
            self._inherited.arena,
            self._blocks,
            self._store,
            home,
            self._own,
            self._releases,
            lambda: self._in_force.config,
            lambda: self._planner.memory.plan,
            self._troubles,
            self._outcomes,
            self._capture,
            self._shadows,
        )
        stack.push_async_callback(self._monitoring.close)
        self._reports = llm_reports.Reports(self._upstream_changed)
        self._jobs = Jobs(self._troubles)
        # None of them goes on beside what is closed after them.
        stack.push_async_callback(self._jobs.close)

    def _decide(self, stack: AsyncExitStack) -> None:
        """What works plans out, and the ways to those who follow them."""
        released = self._monitoring.contracts.released
        keepsake = self._inherited.keepsake
        memory = memories.read(keepsake) or Memory()
        self._routes = Routes(
            self._store, lambda: self._in_force.config, unwritten=memory.unwritten
        )
        self._pulls = Pulls(self._store, unwritten=memory.unwritten)
        named = self._routes.versions
        self._retirements = Retirements(self._store)
        sources = Sources(
            self._launch.files,
            self._registry,
            self._own,
            released,
            named,
            self._retirements.all,
        )
        self._lookout = Lookout(
            self._registry.generation,
            lambda known, only: sources.gather(self._in_force.refresh(), known, only),
        )
        self._links = Links([ends[0] for ends in self._inherited.links], self._mail, self._heard)
        stack.callback(self._links.close)
        self._trials = Trials(self._supervisor, self._epoch)
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
            self._divided,
            lambda plan: self._shadows.place(self._monitoring.common.place(plan)),
            self._wanted,
        )
        stack.push_async_callback(self._planner.close)
        self._failing = Failing(
            self._inherited.arena,
            lambda: self._planner.memory.plan,
            self._wanted,
            self._pull,
            lambda model, version: self._shadows.sums(model, version).copies,
        )

        self._rollouts = self._roll_out()
        self._failing.listeners.append(self._fails)

        async def reread(actor: Actor) -> None:
            await asyncio.to_thread(self._in_force.reread, actor)

        self._changes = Changes(
            self._planner, self._recorder, lambda: self._in_force.config, reread
        )
        experiments = ExperimentStore(self._store)
        self._readings = Readings(self._outcomes, experiments, lambda: self._in_force.config)
        self._outcomes.forgetting = self._readings.forget
        self._experiments = Experiments(
            experiments,
            self._routes,
            self._planner,
            self._readings,
            lambda: self._in_force.config,
            self._pulls.of,
            self._signatures.differences,
            self._kind_of_scores,
        )
        self._planner.resume()
        loop = asyncio.get_running_loop()
        memory.unwritten.keep = lambda: loop.call_soon_threadsafe(memories.write, keepsake, memory)
        loop.add_reader(self._supervisor.fileno(), self._hear_supervisor)
        stack.callback(loop.remove_reader, self._supervisor.fileno())

    def _roll_out(self) -> Rollouts:
        """What carries rollouts out."""
        planner, routes = self._planner, self._routes
        self._signatures = Signatures(
            lambda: planner.memory.plan, self._registry, lambda: self._in_force.config
        )
        point = Registry(self._store, self._launch.home, by_itself()).set_alias
        self._rollout_store = RolloutStore(self._store)
        return Rollouts(
            self._rollout_store,
            routes,
            planner,
            self._releases,
            self._monitoring.evidence(self._kind_of_scores),
            Effects(routes, planner, point, self._releases, time.time),
            self._pulls.of,
            self._put_back,
            lambda: self._ready,
            self._signatures.differences,
            time.time,
            self._withhold,
            lambda rollout, event: self._jobs.change(
                self._monitoring.tell_of_rollout(rollout, event)
            ),
        )

    def _kind_of_scores(self, model: str, version: int) -> str:
        return self._signatures.kind_of_scores(
            model, version, self._in_force.config.scores_of(model)
        )

    def _admit(self) -> None:
        """Who may call, here and at the workers, and what both ports show."""
        config = self._launch.config
        self._certificates = PortCertificates(
            self._inherited.certificates, self._run_dir, self._recorder.note
        )
        tables = self._links.tables if config.access.data == "keys" else None
        jwt = config.access.jwt
        verifier = token_verifier(jwt, self._miss_a_key)
        keyring, ring = Keyring(self._launch.secret, verifier), CertificateRing()
        self._key_limits = KeyLimits(
            self._spending,
            lambda: self._in_force.config.llm,
            lambda: keyring.limited | ring.limited | self._limited_teams(),
        )
        certificates = CertificateTable(
            lambda: self._in_force.refresh().access,
            ring,
            tables,
            self._usage.know,
            self._key_limits.rows_of_certificates,
        )
        self._key_table = KeyTable(
            self._store, self._keys, keyring, certificates, tables, self._key_limits.rows_of
        )
        if jwt is not None and has_teams(jwt) and tables is not None:
            more = () if jwt.team is None else (jwt.team,)
            self._teams = TeamTable(
                lambda: {*self._in_force.config.llm.teams, *more},
                self._key_limits.rows_of_teams,
                tables,
            )
        if jwt is not None and verifier is not None:
            last_keys = self._run_dir / "jwks.json"
            self._jwks = Jwks(jwt, verifier, tables, last_keys, self._recorder.note)

    def _limited_teams(self) -> set[int]:
        return set() if self._teams is None else self._teams.limited

    async def _work(self) -> None:
        """Begins with all that goes on by itself."""
        self._jobs.spawn(self._begin())
        self._jobs.spawn(self._watch_registry())
        for who, job in self._monitoring.jobs():
            self._jobs.repeat(who, job, TICK_S)
        self._jobs.repeat("experiments", self._experiment, TICK_S)
        # Whoever asks first may have a key already.
        await self._jobs.went_well("keys", self._key_table.refresh())
        # A revoked key stops in a fraction of a second, whoever revoked it.
        self._jobs.repeat("keys", self._key_table.look, LOOK_S)
        if self._teams is not None:
            self._jobs.repeat("teams", self._teams.look, COUNT_S)
        self._jobs.repeat("spending", self._look_at_spending, SPENDING_S)
        self._jobs.repeat("uses of keys", self._usage.keep_up, 0.0)
        if self._jwks is not None:
            # Follows the identity provider's keys.
            self._jobs.repeat("jwks", self._jwks.look, COUNT_S)
        self._jobs.repeat("certificates", self._certificates.look, WATCH_S)
        self._jobs.repeat("rollouts", self._rollouts.look, TICK_S)
        self._jobs.repeat("failing shadows", self._look_at_shadows, TICK_S)
        self._jobs.repeat("pulled versions", self._pulls.write, WRITE_S)
        self._jobs.repeat("stops", lambda: asyncio.to_thread(self._routes.write), WRITE_S)
        self._jobs.repeat("uses of versions", self._version_use.write, USE_WRITE_S)

    def _serve(self, stack: AsyncExitStack) -> None:
        """Takes what workers have traced, and whoever calls: the first to stop."""
        export = self._start_export(stack)
        counts = Counts()
        scrapes = Scrapes(
            Metrics(self._inherited.arena),
            lambda: self._planner.memory.plan,
            lambda: self._in_force.config.metrics,
            self._monitoring,
            self._pulls,
            self._planner.memory.unwritten,
            self._rollouts,
            self._usage,
            self._links,
            self._certificates,
            export,
            counts,
            self._troubles,
            lambda: self._experiments.found,
            SpendMetrics(
                self._spending.settled, lambda numbers: spend_report.key_names(self._store, numbers)
            ),
            self._reports.changes,
        )
        table = self._table(scrapes)
        port = Port(
            build_app(table, self._known(counts.refused)),
            self._inherited.control_socket,
            self._launch.config,
            max(operation.max_body_bytes for operation in table),
            self._launch.request_ids("control", self._epoch),
            counts,
            self._certificates.control(),
        )
        port.start()
        stack.push_async_callback(port.close)

    def _start_export(self, stack: AsyncExitStack) -> Export | None:
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
        stack.push_async_callback(export.finish)
        return export

    def _table(self, scrapes: Scrapes) -> tuple[Operation, ...]:
        """All that can be asked through the control port."""
        admin = Admin(
            metrics=scrapes.render,
            status=self._status,
            models=self._models,
            reload=self._changes.reload,
            load=self._changes.load,
            unload=self._changes.unload,
        )
        return (
            *operations(admin, self._launch.config.control.open_metrics),
            *audit_operations.operations(Audit(self._store)),
            *config_operations.operations(
                self._in_force,
                self._planner.apply,
                lambda: self._planner.memory.plan,
                self._planner.hints,
            ),
            *route_operations.operations(
                self._routes,
                self._pulls,
                self._planner,
                self._signatures.differences,
                self._failing.forget,
            ),
            *retirement_operations.operations(
                self._retirements,
                self._version_use,
                self._planner,
                lambda name: asyncio.to_thread(self._routes.versions, self._in_force.config, name),
                last_words(self._inherited.arena, self._registry, self._releases),
            ),
            *rollout_operations.operations(
                self._rollouts, self._rollout_store, self._planner.divide
            ),
            *experiment_operations.operations(
                self._experiments, self._readings, self._routes.of, self._planner.aliases
            ),
            *key_operations.operations(
                self._keys, self._key_table.refresh, lambda: self._in_force.config.llm
            ),
            *spend_operations.operations(self._store, self._spending),
            *self._monitoring.operations(
                self._planner.apply, self._recorder.record, self._links.tell_all
            ),
            *capture_operations.operations(self._capture, self._erasures()),
        )

    def _erasures(self) -> Erasures:
        return Erasures(
            self._launch.secret,
            self._capture,
            self._outcomes,
            self._own,
            self._monitoring.collecting,
            self._recorder.record,
            self._planner.apply,
            self._shadows.forget,
        )

    def _known(self, refused: Callable[[str], None]) -> Known:
        """Who may come to the control port."""
        asks = self._launch.config.control_asks
        credentials = Credentials(self._key_table.keyring, self._key_table.certificates.ring)
        return Known(asks, credentials, self._launch.secret, self._usage.note, refused)

    # ---- what happens ---------------------------------------------------------------------------

    async def _begin(self) -> None:
        slow = asyncio.get_running_loop().call_later(SLOW_START_S, still_loading)
        while not await self._jobs.went_well("start", self._planner.apply()):  # noqa: ASYNC110
            await asyncio.sleep(RETRY_S)
        slow.cancel()
        self._ready = self._monitoring.settled = True
        try:
            await asyncio.to_thread(announce, self._inherited, self._planner.memory.plan)
        except OSError as error:
            log.error("%s: where this server listens cannot be announced", error)

    async def _look_at_spending(self) -> None:
        await asyncio.to_thread(self._key_limits.look)
        await asyncio.to_thread(self._spending.look)

    async def _close_spending(self) -> None:
        with contextlib.suppress(GatewayError):  # a full disk keeps nobody from leaving
            await asyncio.to_thread(self._spending.close)

    async def _experiment(self) -> None:
        if self._ready:  # before, it is not known what serves
            await self._experiments.look()

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

        await asyncio.sleep(LOOK_AT_STORE_S)
        self._jobs.repeat("registry", look, LOOK_AT_STORE_S)

    def _status(self) -> dict[str, Any]:
        plan = self._planner.memory.plan
        arena = self._inherited.arena
        return views.status(arena, self._links, plan, self._ready, self._draining)

    def _models(self) -> list[dict[str, Any]]:
        return views.models(self._planner.memory.plan, self._monitoring.references())

    # ---- supervisor and workers speak -----------------------------------------------------------

    def _hear_supervisor(self) -> None:
        while (message := self._supervisor.receive()) is not None:
            kind = message["type"]
            if kind == "trial":
                self._trials.hear(message)
            elif kind == "died":
                blamed = self._planner.crashed(message["suspects"])
                self._failing.crashed(blamed, message["slot"], message["how"])
            elif kind == "reload":
                sent = by_signal("SIGHUP", os.getppid())
                self._jobs.change(self._changes.reload(sent))
            elif kind == "draining":
                self._draining = True

    def _heard(self, refuses: bool) -> None:
        """A worker got further, or cannot load what is planned: the files may be others by now."""
        self._planner.step_soon()
        if refuses and not self._looking_again:
            self._looking_again = True
            self._jobs.change(self._look_again())

    async def _look_again(self) -> None:
        self._looking_again = False
        await self._planner.look()

    def _mail(self, slot: int, message: Mapping[str, Any]) -> None:
        if message["type"] == "repository":
            self._jobs.spawn(self._change_repository(slot, message))
        elif message["type"] == "outcomes":
            self._jobs.spawn(self._take_outcomes(slot, message))
        elif message["type"] == "different":
            self._shadows.take(slot, message)
        elif message["type"] == "disagreed":
            self._shadows.take_disagreed(slot, message)
        elif message["type"] == "unknown_kid":
            self._miss_a_key()
        elif message["type"] == "failing":
            self._failing.rang(message["blocks"])
        elif message["type"] == "reported":
            self._reports.heard(message)

    def _upstream_changed(self, change: llm_reports.Change) -> None:
        """An upstream of a language model answers as another than before."""
        log.warning("model '%s' version %d: %s", change.model, change.version, change.says)
        sides = llm_reports.side(change.before), llm_reports.side(change.now)
        self._recorder.note(llm_reports.ACTION, change.subject, *sides)
        told = self._monitoring.tell(llm_reports.notice(change), llm_reports.SEVERITY)
        self._jobs.change(told)

    def _divided(self) -> dict[str, Wanted]:
        return {name: self._pulls.without(name, one) for name, one in self._routes.wanted().items()}

    def _wanted(self, model: str) -> Wanted:
        """As far as it is known: what fails is pulled though the home is lost."""
        return self._pulls.without_at_hand(model, self._routes.at_hand(model))

    def _pull(self, model: str, version: int, variant: str, evidence: Evidence) -> None:
        """Workers hear of it in the next turn of the loop; the disk when it takes it."""
        self._pulls.pull(model, version, variant, evidence.says, evidence.plain())
        self._jobs.change(self._planner.divide())
        self._jobs.spawn(self._write_pulls())

    async def _look_at_shadows(self) -> None:
        self._failing.look_at_shadows()

    def _withhold(self, model: str, version: int, why: str) -> None:
        """A rollout takes its candidate back, and its disk does not take that."""
        wanted = self._wanted(model)
        if version not in wanted.pulled and wanted.route is not None:
            names = [one.name for one in wanted.route.variants if one.version == version]
            self._pulls.pull(model, version, ", ".join(names), why, {"kind": "rollout"})
            self._planner.divide_soon()

    async def _write_pulls(self) -> None:
        # What the disk does not take is written later; the same job says what is wrong.
        await self._jobs.went_well("pulled versions", self._pulls.write())

    async def _put_back(self, actor: Actor, model: str, version: int) -> None:
        await self._pulls.put_back(actor, model, "route put back", [version])
        self._failing.forget(model, [version])

    def _fails(self, model: str, version: int, evidence: Evidence) -> None:
        """Whoever is about to bring this version in hears of it."""
        self._jobs.change(self._rollouts.failing(model, version, evidence.says))

    def _miss_a_key(self) -> None:
        """Here or in a worker a token names a key that is not known: the provider may have it."""
        if self._jwks is not None:
            self._jwks.ask()

    async def _change_repository(self, slot: int, message: Mapping[str, Any]) -> None:
        self._tell(slot, await self._changes.asked_by_mail(message))

    async def _take_outcomes(self, slot: int, message: Mapping[str, Any]) -> None:
        self._tell(slot, await self._outcomes.received(message))

    def _tell(self, slot: int, message: dict[str, Any], tries: int = 50) -> None:
        """Sends a worker what a client waits for; a full link empties as the worker reads."""
        if not self._links.tell(slot, message) and tries:
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, self._tell, slot, message, tries - 1)
