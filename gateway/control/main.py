"""The control process: composition root of everything that decides.

Knows which room does what and in which order they start and stop. It answers no inference request
and may die at any time: workers serve on, and its successor resumes from the stored plan.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import onnxruntime as ort
import uvicorn
import uvloop

from gateway import __version__, logs
from gateway import config as configuration
from gateway.config import Config
from gateway.control import memory as memories
from gateway.control.admin import Admin, build_app
from gateway.control.announcement import announce, still_loading
from gateway.control.blocks import Blocks
from gateway.control.desired import Sources
from gateway.control.links import Links
from gateway.control.metrics import Info, Metrics
from gateway.control.planner import Memory, Planner
from gateway.control.registry import Registry
from gateway.control.store import Store
from gateway.control.trials import Trials
from gateway.errors import GatewayError, RepositoryForbidden
from gateway.inherited import Inherited
from gateway.monitor.arena import (
    BORN_NS,
    CONNECTIONS,
    EPOCH,
    HEARTBEAT_NS,
    PID,
    READY,
    RESTARTS,
    STATE,
    STATES,
)
from gateway.plan import Absent

log = logging.getLogger("penstock.control")

# How long workers may take to load a model before it is refused.
LOAD_DEADLINE_S = 300.0
WATCH_S = 1.0
# Between attempts to find out what should run, where that fails (a database that is locked, say).
RETRY_S = 2.0
SLOW_START_S = 1.0
BEAT_S = 1.0
# What a reload cannot change, because it was handed out before the workers were forked.
FIXED_SECTIONS = ("server", "control", "limits", "drain", "log")


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
        self._config = inherited.launch.config
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
        self._store = Store.open(self._launch.home)
        self._registry = Registry(self._store, self._launch.home)
        self._sources = Sources(self._launch.files, self._registry)
        memory_file = self._run_dir / "plan.json"
        memory = memories.read(memory_file, arena.boot_id) or Memory()
        self._links = Links([ends[0] for ends in self._inherited.links], self._mail, self._heard)
        self._trials = Trials(self._supervisor, self._epoch)
        self._blocks = Blocks(arena, time.monotonic)
        self._planner = Planner(
            memory,
            self._links,
            self._blocks.allocate,
            self._trials.try_out,
            lambda known: self._sources.gather(self._config, known),
            lambda known: memories.write(memory_file, arena.boot_id, known),
            self._blocks.want,
            LOAD_DEADLINE_S,
        )
        self._planner.resume()
        loop.add_reader(self._supervisor.fileno(), self._hear_supervisor)
        self._spawn(self._begin())
        self._spawn(self._watch_registry())
        self._beat()
        await self._serve(stop)
        self._links.close()
        self._planner.close()
        for task in self._tasks:
            task.cancel()
        self._store.close()

    async def _serve(self, stop: asyncio.Event) -> None:
        app = build_app(
            Admin(
                metrics=self._render_metrics,
                status=self.status,
                models=self.models,
                reload=self.reload,
                load=self.load,
                unload=self.unload,
            )
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_keep_alive=75,
                server_header=False,
                timeout_graceful_shutdown=2,
                ws="none",
            )
        )
        # Not `serve`: it would take the signals for itself.
        serving = asyncio.create_task(server._serve([self._inherited.control_socket]))
        await stop.wait()
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    # ---- what happens ---------------------------------------------------------------------------

    async def _begin(self) -> None:
        slow = asyncio.get_running_loop().call_later(SLOW_START_S, still_loading)
        while True:
            try:
                absent = await self._planner.apply()
                break
            except Exception as error:
                self._log(error)
                await asyncio.sleep(RETRY_S)
        slow.cancel()
        self._ready = True
        serving = {route.name: route.version for route in self._planner.memory.plan.routes}
        try:
            await asyncio.to_thread(announce, self._inherited, serving, absent)
        except OSError as error:
            log.error("%s: where this server listens cannot be announced", error)

    async def reload(self, name: str | None = None) -> tuple[Absent, ...]:
        """Reads the configuration and every source again and brings the workers there.

        Args:
            name: wait for this model alone; None: for all.

        Raises:
            ConfigInvalid: the document has faults; nothing changes.
        """
        if self._launch.config_path is not None:
            fresh = await asyncio.to_thread(configuration.load, self._launch.config_path)
            self._config = _keep_fixed(fresh, self._launch.config)
            for path in _unheeded(fresh, self._launch.config):
                log.warning("%s: what the file says takes effect at the next start", path)
        self._planner.forget_refusals()
        return await self._planner.apply(name)

    def _beat(self) -> None:
        """Lets the supervisor see that this loop turns."""
        self._inherited.arena.control_row[HEARTBEAT_NS] = time.monotonic_ns()
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    async def _watch_registry(self) -> None:
        """A change made with the command line takes effect without anybody telling this process."""
        seen = -1  # one more look than needed, so that no change falls between two
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                self._blocks.sweep()
                now = await asyncio.to_thread(self._registry.generation)
                if now != seen:
                    await self._planner.look()
                    seen = now
            except Exception as error:
                self._log(error)
                await asyncio.sleep(RETRY_S)

    def status(self) -> dict[str, Any]:
        """Process ids, states and the plan each worker follows."""
        arena = self._inherited.arena
        workers = []
        heard = zip(self._links.acked, self._links.refused, strict=True)
        for slot, (acked, refused) in enumerate(heard):
            row = arena.row(slot)
            workers.append(
                {
                    "slot": slot,
                    "pid": row[PID],
                    "epoch": row[EPOCH],
                    "state": STATES[row[STATE]],
                    "restarts": row[RESTARTS],
                    "connections": row[CONNECTIONS],
                    "plan": acked,
                    "refused": [
                        {"deployment": held, "reason": one.reason, "tries": one.tries}
                        for held, one in sorted(refused.items())
                    ],
                }
            )
        return {
            "supervisor": os.getppid(),
            "control": os.getpid(),
            "ready": self._ready and not self._draining,
            "draining": self._draining,
            "plan": self._planner.memory.plan.number,
            "workers": workers,
        }

    def models(self) -> list[dict[str, Any]]:
        """Every version known, with its state."""
        plan = self._planner.memory.plan
        serving = {(route.name, v) for route in plan.routes for v in route.deployments}
        defaults = {(route.name, route.version) for route in plan.routes}
        reasons = {(a.name, a.version): a.reason for a in plan.absent}
        lines: list[dict[str, Any]] = [
            {
                "name": n,
                "version": v,
                "state": "READY",
                "default": (n, v) in defaults,
                "reason": reasons.get((n, v), ""),
            }
            for n, v in sorted(serving)
        ]
        lines += [
            {"name": a.name, "version": a.version, "state": a.state, "reason": a.reason}
            for a in plan.absent
            if (a.name, a.version) not in serving
        ]
        return lines

    def _render_metrics(self, accept: str, triton: bool) -> tuple[bytes, str]:
        states = collections.Counter(line["state"] for line in self.models())
        info = Info(
            version=__version__,
            onnxruntime=ort.__version__,
            providers=tuple(ort.get_available_providers()),
            plan=self._planner.memory.plan.number,
            supervisor=os.getppid(),
            models=dict(states),
            refused=[len(refused) for refused in self._links.refused],
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
                self._spawn(self._quietly(self.reload()))
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

    async def _change_repository(self, slot: int, message: Mapping[str, Any]) -> None:
        """A load or unload asked on the data port: the worker waits for the verdict."""
        name, load = message["model"], message["action"] == "load"
        verdict: dict[str, Any] = {"type": "verdict", "ticket": message["ticket"], "ok": True}
        try:
            if not self._config.repository.allow_load:
                # Workers go by what they were started with; switching it off is obeyed at once.
                raise RepositoryForbidden("load and unload were switched off by a reload")
            await (self.load(name) if load else self.unload(name))
        except GatewayError as error:
            verdict |= {
                "ok": False,
                "status": error.status,
                "code": error.code,
                "error": str(error),
            }
        except Exception:
            log.exception("load or unload of '%s'", name)
            verdict |= {"ok": False, "status": 500, "code": "internal", "error": "internal error"}
        self._tell(slot, verdict)

    def _tell(self, slot: int, message: dict[str, Any], tries: int = 50) -> None:
        """Sends a worker what a client waits for; a full link empties as the worker reads."""
        if not self._links.tell(slot, message) and tries:
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, self._tell, slot, message, tries - 1)

    async def load(self, name: str) -> None:
        """Loads a model anew from its source.

        Raises:
            ModelNotFound, ModelRefused: nothing by that name, or it will not load.
        """
        await asyncio.to_thread(self._sources.require, self._config, name)
        self._planner.reload(name)
        absent = await self._planner.apply(name)
        self._sources.raise_refusal(name, absent)

    async def unload(self, name: str) -> None:
        """Takes a model out of service until it is loaded again; unknown names are no error."""
        plan = self._planner.memory.plan
        # Names that nobody knows would only pile up.
        if name in {held.name for held in plan.held} | {absent.name for absent in plan.absent}:
            self._planner.memory.unloaded.add(name)
            await self._planner.apply(name)

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


def _keep_fixed(fresh: Config, running: Config) -> Config:
    return fresh.model_copy(update={name: getattr(running, name) for name in FIXED_SECTIONS})


def _unheeded(fresh: Config, running: Config) -> list[str]:
    """Settings in a document that differ from what is in force and stay without effect."""
    differing = [
        f"{section}.{field}"
        for section in FIXED_SECTIONS
        for field in sorted(getattr(fresh, section).model_fields_set)
        if getattr(getattr(fresh, section), field) != getattr(getattr(running, section), field)
    ]
    if fresh.repository.allow_load and not running.repository.allow_load:
        differing.append("repository.allow_load")
    if fresh.repository.change_timeout_s != running.repository.change_timeout_s:
        differing.append("repository.change_timeout_s")
    return differing
