"""The bench that scenarios work on: cores, a folder, pools, models, and one way to take a turn.

Knows what scenarios share. Knows nothing of any one scenario or its target.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import bodies, models, wrk
from loadtest.bodies import Pool
from loadtest.flow import Stream
from loadtest.generator import Load, Spec, generate
from loadtest.servers import Penstock, Program, ask, cores
from loadtest.tally import failed

INFER = "/v2/models/{}/infer"


@dataclass(frozen=True)
class Speed:
    """One closed-loop turn."""

    rps: float
    p99_ms: float
    faults: int


@dataclass
class Bench:
    """What a scenario is given.

    Attributes:
        folder: scratch space, gone afterwards.
        rounds: turns that each contestant takes; a claim needs 20.
        turn_s: length of a turn in whole seconds (wrk counts no others).
        stack: closes what a scenario opened.
    """

    folder: Path
    rounds: int = 20
    turn_s: int = 1
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        self.all_cores = cores()
        # The server and everything it forks has the first core, the load the last.
        self.server_cores = self.all_cores[:1]
        self.load_core = self.all_cores[-1]
        self._pools: dict[str, Pool] = {}
        self._models: dict[str, Path] = {}

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def turns(self, at_most: int) -> int:
        """Rounds for a scenario whose turns are long."""
        return min(self.rounds, at_most)

    def show(self, number: int, turn: Mapping[str, Any]) -> None:
        """Progress of a round."""
        parts = [f"{name} {_short(value)}" for name, value in sorted(turn.items())]
        self.say(f"  round {number}: {' | '.join(parts)}")

    # ------------------------------------------------------------ servers

    def penstock(self, *paths: Path, **options: Any) -> Penstock:
        """A running gateway, by default one worker on the server's core."""
        options.setdefault("where", self.server_cores)
        return self.stack.enter_context(Penstock(paths, folder=self.folder, **options))

    def program(self, module: str, args: Sequence[str], target: str, pool: Pool) -> Program:
        """One of the baselines, answering `target`."""
        body = bodies.read_pool(pool.path)[0]
        request = {"method": "POST", "body": body, "headers": pool.headers}
        return self.stack.enter_context(
            Program(module, args, self.server_cores, self.folder, target, **request)
        )

    def answer(self, port: int, target: str, pool: Pool) -> bytes:
        """What the server answers to the pool's first body.

        Raises:
            RuntimeError: anything but 200.
        """
        body = bodies.read_pool(pool.path)[0]
        status, answer = ask(port, target, "POST", body, pool.headers, timeout_s=30)
        if status != 200:
            raise RuntimeError(f"POST {target}: expected 200, got {status}: {answer[:300]!r}")
        return answer

    # ------------------------------------------------------------ models and pools, made once

    def model(self, name: str) -> Path:
        """A model file by name."""
        if name not in self._models:
            where = self.server_cores
            self._models[name] = {
                "gbt": lambda: models.gbt(self.folder),
                "averager": lambda: models.averager(self.folder),
                "outer": lambda: models.outer(self.folder),
                "row_2ms": lambda: models.per_row(self.folder, "row_2ms", 2e-3, where),
                "run_200us": lambda: models.per_run(self.folder, "run_200us", 2e-4, where),
                "run_2ms": lambda: models.per_run(self.folder, "run_2ms", 2e-3, where),
            }[name]()
        return self._models[name]

    def pool(self, name: str, make: Callable[[Path], Pool]) -> Pool:
        if name not in self._pools:
            self._pools[name] = make(self.folder / f"{name}.pool")
        return self._pools[name]

    def gbt_pool(self, kind: str, rows: int = 1) -> Pool:
        """Bodies for `gbt`: `json` or `binary`, thousands of them where they are small."""
        count = max(256, 4096 // rows)
        make = bodies.json_pool if kind == "json" else bodies.binary_pool
        rng = np.random.default_rng(rows)

        def build(path: Path) -> Pool:
            made = bodies.demo_rows(count * rows, rng).reshape(count, rows, bodies.FEATURES)
            return make(path, iter(made), output="probabilities")

        return self.pool(f"gbt-{kind}-{rows}", build)

    def synthetic_pool(self, timeout_us: int | None = None) -> Pool:
        """Binary bodies of one row for the synthetic models, with a deadline if given."""
        parameters = {"timeout": timeout_us} if timeout_us else None
        rows = bodies.normal_rows(4096, models.WIDTH, np.random.default_rng(11))
        return self.pool(
            f"synthetic-{timeout_us}",
            lambda path: bodies.binary_pool(
                path, (row[None] for row in rows), "X", "Y", parameters
            ),
        )

    def outer_pool(self, kind: str) -> Pool:
        """One-row bodies for `outer`, answered in `json` or `binary`."""
        make = bodies.json_pool if kind == "json" else bodies.binary_pool
        rows = bodies.normal_rows(256, models.WIDTH, np.random.default_rng(13))
        return self.pool(
            f"outer-{kind}", lambda path: make(path, (row[None] for row in rows), "X", "Y")
        )

    # ------------------------------------------------------------ load

    def stream(self, port: int, model: str, pool: Pool, **options: Any) -> Stream:
        options.setdefault("name", model)
        options.setdefault("target", INFER.format(model))
        return Stream(port=port, pool=str(pool.path), headers=pool.headers, **options)

    def generate(self, *streams: Stream, seconds: float, warmup_s: float = 0.2) -> dict[str, Any]:
        """Runs streams side by side on the load's core; results by name."""
        spec = Spec(streams, seconds, warmup_s, self.load_core, spin=len(self.all_cores) > 1)
        done: dict[str, Any] = generate(spec)["streams"]
        return done

    def start_load(self, *streams: Stream, seconds: float, warmup_s: float = 0.0) -> Load:
        """The same, without waiting; ended with the scenario at the latest."""
        spec = Spec(streams, seconds, warmup_s, self.load_core, spin=len(self.all_cores) > 1)
        load = Load(spec)
        self.stack.callback(load.stop)
        return load

    def closed(
        self,
        port: int,
        target: str,
        pool: Pool,
        connections: int = 32,
        seconds: float | None = None,
    ) -> Speed:
        """One closed-loop turn of our own generator."""
        stream = self.stream(port, "load", pool, target=target, connections=connections)
        done = self.generate(stream, seconds=seconds or self.turn_s)["load"]
        return Speed(done["rps"], done["latency_ms"].get("p99", 0.0), failed(done))

    def fastest(
        self,
        port: int,
        target: str,
        pool: Pool,
        connections: int = 32,
        seconds: int | None = None,
    ) -> Speed:
        """One closed-loop turn of wrk, or of our own generator where wrk is missing."""
        seconds = seconds or self.turn_s
        if not shutil.which("wrk"):
            return self.closed(port, target, pool, connections, seconds)
        script = self.folder / f"{pool.path.stem}.lua"
        wrk.write_script(script, pool)
        url = f"http://127.0.0.1:{port}{target}"
        report = wrk.run(url, script, seconds, connections, self.load_core)
        return Speed(report.rps, report.p99_ms, report.errors)

    def player(self, *args: Any, **options: Any) -> Callable[[], Speed]:
        """`fastest` as a contestant's turn."""
        return functools.partial(self.fastest, *args, **options)


def _short(value: Any) -> str:
    if isinstance(value, Speed):
        return f"{value.rps:.0f} rps p99 {value.p99_ms:.2f} ms"
    return f"{value:.3f}" if isinstance(value, float) else str(value)[:60]
