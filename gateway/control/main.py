"""The control process: composition root of everything that decides.

Knows which room does what and in which order they start and stop. It answers no inference request
and may die at any time: workers serve on, and its successor resumes from the stored plan.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort
import orjson
import uvicorn
import uvloop

from gateway import __version__
from gateway import config as configuration
from gateway.config import Config
from gateway.control import memory as memories
from gateway.control.admin import Admin, build_app
from gateway.control.desired import Sources
from gateway.control.links import Links
from gateway.control.metrics import Info, Metrics
from gateway.control.planner import Memory, Planner
from gateway.control.registry import Registry
from gateway.control.store import Store
from gateway.errors import GatewayError
from gateway.inherited import Inherited
from gateway.monitor import layout
from gateway.monitor.arena import BORN_NS, CONNECTIONS, EPOCH, PID, READY, RESTARTS, STATE, STATES
from gateway.plan import Absent

log = logging.getLogger("penstock.control")

# How long a worker may take to load a plan's models before control goes on without its word.
LOAD_DEADLINE_S = 300.0
TRIAL_DEADLINE_S = 300.0
WATCH_S = 1.0
PARALLEL_TRIALS = 2


def main(inherited: Inherited, epoch: int) -> int:
    """Runs control until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="penstock control: %(message)s")
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
        self._trials: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._trial_numbers = itertools.count(1)
        self._trial_slots = asyncio.Semaphore(PARALLEL_TRIALS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._ready = False

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
        self._links = Links([ends[0] for ends in self._inherited.links], self._mail)
        self._planner = Planner(
            memory,
            self._links,
            lambda name, version: arena.allocate(layout.MODEL, layout.model_key(name, version)),
            self._trial,
            lambda known: self._sources.gather(self._config, known),
            lambda known: memories.write(memory_file, arena.boot_id, known),
            LOAD_DEADLINE_S,
        )
        self._planner.resume()
        loop.add_reader(self._supervisor.fileno(), self._hear_supervisor)
        self._spawn(self._begin())
        self._spawn(self._watch_registry())
        await self._serve(stop)
        self._links.close()
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
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_keep_alive=75,
                server_header=False,
                timeout_graceful_shutdown=2,
                ws="none",
            )
        )
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server._serve([self._inherited.control_socket]))
        await stop.wait()
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    # ---- what happens ---------------------------------------------------------------------------

    async def _begin(self) -> None:
        absent = await self._planner.apply()
        self._ready = True
        await asyncio.to_thread(self._announce, absent)

    async def reload(self) -> tuple[Absent, ...]:
        """Reads the configuration and every source again and brings the workers there.

        Raises:
            ConfigInvalid: the document has faults; nothing changes.
        """
        if self._launch.config_path is not None:
            fresh = await asyncio.to_thread(configuration.load, self._launch.config_path)
            self._config = _keep_fixed(fresh, self._launch.config)
        self._planner.forget_refusals()
        return await self._planner.apply()

    async def _watch_registry(self) -> None:
        """A change made with the command line takes effect without anybody telling this process."""
        seen = await asyncio.to_thread(self._registry.generation)
        while True:
            await asyncio.sleep(WATCH_S)
            now = await asyncio.to_thread(self._registry.generation)
            if now != seen:
                seen = now
                await self._quietly(self._planner.apply())

    def status(self) -> dict[str, Any]:
        """Process ids, states and the plan each worker follows."""
        arena = self._inherited.arena
        workers = []
        for slot, acked in enumerate(self._links.acked):
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
        lines = [
            {"name": n, "version": v, "state": "READY", "default": (n, v) in defaults}
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
        )
        return self._metrics.render(info, accept, triton)

    # ---- supervisor and workers speak -----------------------------------------------------------

    def _hear_supervisor(self) -> None:
        while (message := self._supervisor.receive()) is not None:
            kind = message["type"]
            if kind == "trial":
                waiting = self._trials.pop(message["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            elif kind == "died" and message["suspects"]:
                self._spawn(self._planner.crashed(message["suspects"]))
            elif kind == "reload":
                self._spawn(self._quietly(self.reload()))
            elif kind == "draining":
                self._draining = True

    def _mail(self, slot: int, message: Mapping[str, Any]) -> None:
        if message["type"] == "repository":
            self._spawn(self._change_repository(slot, message))

    async def _change_repository(self, slot: int, message: Mapping[str, Any]) -> None:
        """A load or unload asked on the data port: the worker waits for the verdict."""
        name, load = message["model"], message["action"] == "load"
        verdict: dict[str, Any] = {"type": "verdict", "ticket": message["ticket"], "ok": True}
        try:
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
        self._links.tell(slot, verdict)

    async def load(self, name: str) -> None:
        """Loads a model anew from its source.

        Raises:
            ModelNotFound, ModelRefused: nothing by that name, or it will not load.
        """
        await asyncio.to_thread(self._sources.require, self._config, name)
        self._planner.reload(name)
        absent = await self._planner.apply()
        self._sources.raise_refusal(name, absent)

    async def unload(self, name: str) -> None:
        """Takes a model out of service until it is loaded again; unknown names are no error."""
        self._planner.memory.unloaded.add(name)
        await self._planner.apply()

    async def _trial(self, held: Mapping[str, Any]) -> dict[str, Any]:
        async with self._trial_slots:
            number = next(self._trial_numbers)
            done = asyncio.get_running_loop().create_future()
            self._trials[number] = done
            request = {
                "type": "trial",
                "id": number,
                "held": dict(held),
                "deadline_s": TRIAL_DEADLINE_S,
            }
            if not self._supervisor.send(request):
                return {"ok": False, "reason": "the supervisor does not take a trial now"}
            report: dict[str, Any] = await asyncio.wait_for(done, TRIAL_DEADLINE_S + 10)
            return report

    # ---- helpers --------------------------------------------------------------------------------

    def _announce(self, absent: tuple[Absent, ...]) -> None:
        host, port = self._inherited.data_sockets[0].getsockname()[:2]
        admin_port = self._inherited.control_socket.getsockname()[1]
        facts = {"pid": os.getppid(), "host": host, "port": port, "admin_port": admin_port}
        path = self._run_dir / "server.json"
        _write(path, orjson.dumps(facts))
        if self._epoch > 1:
            return
        serving = {route.name: route.version for route in self._planner.memory.plan.routes}
        if self._launch.json:
            line = orjson.dumps(
                {"ready": True, **facts, "models": serving, "absent": len(absent)}
            ).decode()
        else:
            names = ", ".join(f"{n} (version {v})" for n, v in serving.items()) or "no model"
            line = (
                f"penstock: serving {names} on http://{host}:{port}, "
                f"control on http://127.0.0.1:{admin_port}"
            )
        print(line, flush=True)  # noqa: T201
        for one in absent:
            print(  # noqa: T201
                f"penstock: model '{one.name}' version {one.version} is {one.state}: {one.reason}",
                file=sys.stderr,
                flush=True,
            )

    async def _quietly(self, change: Any) -> None:
        try:
            await change
        except GatewayError as error:
            log.error("%s", error)
        except Exception:
            log.exception("a change failed; the last plan stands")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _keep_fixed(fresh: Config, running: Config) -> Config:
    """Where a server listens and how many workers it has cannot change while it runs."""
    return fresh.model_copy(
        update={"server": running.server, "control": running.control, "limits": running.limits}
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
