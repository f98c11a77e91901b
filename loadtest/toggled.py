"""A server whose one worker does something, or does not, by turns of half a second while it lives.

Knows the turns and how they are told. What is turned on and off, whoever uses this says. Two
servers side by side would differ in more than that: where memory lies alone makes some percent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from gateway.inherited import Inherited
from loadtest.bench import Bench
from loadtest.bodies import Pool
from loadtest.turns import Measure, Result

TURN_S = 0.5
# Turns vary by so much of it: what control does every second would else fall into all of one kind.
JITTER = 0.2
FILE = "turns"
# Turns of half a second; the first ones warm up.
WARM_TURNS = 6
LOAD_S = 4
"""For each of twenty rounds."""


def serve(
    home: Path, port: int, turn: Callable[[Any, Any, bool], dict[str, Any]], **document: Any
) -> int:
    """Serves until it is told to stop; of each turn the worker writes a line of JSON to HOME/turns.

    Args:
        home: an empty folder, or one with a database.
        port: of the data port.
        turn: turns it on or off in a worker for one served deployment, and says what else the line
            is to tell of the turn that ended.
        document: sections of the configuration.
    """
    from gateway.cli.serve import prepare_environment

    prepare_environment(home)
    (home / "run").mkdir(parents=True, exist_ok=True)

    import uvloop

    from gateway import config, supervisor, trial, worker
    from gateway.access.secret import server_secret
    from gateway.control import main as control
    from gateway.control.store import Store
    from gateway.inherited import Launch
    from gateway.monitor import layout
    from kernels import _jit

    rng = random.Random(1)

    class Toggled(worker.Worker):
        _on = True
        _before = (0.0, 0)

        async def run(self) -> None:
            self._turns = (home / FILE).open("w", buffering=1)
            asyncio.get_running_loop().call_later(TURN_S, self._toggle)
            await super().run()

        def _toggle(self) -> None:
            self._loop.call_later(TURN_S * rng.uniform(1 - JITTER, 1 + JITTER), self._toggle)
            for served in self._catalogue.by_id.values():
                ok = self._arena.slot(served.held.block, self._slot)[layout.OK]
                now = time.perf_counter()
                since, answered = self._before
                line = {"on": self._on, "requests": ok - answered, "s": now - since}
                self._before = (now, ok)
                self._on = not self._on
                line |= turn(self, served, self._on)
                self._turns.write(json.dumps(line) + "\n")

    def run_worker(inherited: Inherited, slot: int, epoch: int) -> int:
        logging.basicConfig(level=logging.WARNING)
        sys.setswitchinterval(worker.SWITCH_INTERVAL_S)
        uvloop.run(Toggled(inherited, slot, epoch).run())
        return 0

    _jit.compile_all()
    Store.open(home).close()  # control opens no home that nobody made
    settings = config.Config(
        server=config.Server(port=port), control=config.Control(port=0), **document
    )
    launch = Launch(settings, home, secret=server_secret(home))
    roles = supervisor.Roles(control.main, run_worker, trial.try_out)
    return supervisor.Supervisor(launch, 1, roles).run()


def turns(home: Path) -> list[dict[str, Any]]:
    """What a worker has written so far."""
    return [json.loads(line) for line in (home / FILE).read_text().splitlines()]


def loaded(
    bench: Bench, home: Path, port: int, target: str, pool: Pool
) -> tuple[list[dict[str, Any]], int]:
    """The turns of one long load, without those that warm up, and how many requests failed."""
    before = len(turns(home))
    faults = bench.fastest(port, target, pool, seconds=bench.turns(20) * LOAD_S).faults
    return turns(home)[before + WARM_TURNS : -1], faults


def result(
    name: str, title: str, label: str, least: float, some: list[dict[str, Any]], faults: int
) -> Result:
    """The line of the page: the share of each turn that was on, and the rates of both kinds."""
    detail = {"rps_on": median_rate(some, on=True), "rps_off": median_rate(some, on=False)}
    measure = Measure(label, shares(some), ">=", least)
    return Result(name, title, [measure], detail=detail, faults=faults)


def shares(some: list[dict[str, Any]]) -> list[float]:
    """The rate of each turn that was on, over the mean of its two neighbours, which were off.

    A drift of the machine's speed cancels out.
    """
    rates = [one["requests"] / one["s"] for one in some]
    return [
        rates[place] / ((rates[place - 1] + rates[place + 1]) / 2)
        for place in range(1, len(rates) - 1)
        if some[place]["on"]
    ]


def median_rate(some: list[dict[str, Any]], on: bool) -> int:
    """Requests a second of the turns that were on, or off."""
    return int(median(one["requests"] / one["s"] for one in some if one["on"] is on))
