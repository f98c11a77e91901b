"""The same model on the CPU and on a GPU, in turns: alone, and behind a whole server.

    python -m loadtest.gpu               # prints a table, and a line of JSON
    python -m loadtest.gpu --rounds 20

Models: the demo's trees, and a perceptron of four layers 1,024 to 4,096 wide. Contestants: one
thread of the CPU, as a worker has by default; all of its cores; the GPU; the GPU with `tf32`. First
one caller runs the model over and over; then one worker answers 64 connections with binary bodies
of one row, its batching in between. Rows per second are compared within a round; times are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort

from gateway.config import ModelSettings
from gateway.devices import CUDA, count_gpus
from gateway.models import onnx_file
from gateway.models.signature import signature as read_signature
from gateway.serving.runtime import OnnxRuntime
from loadtest import bodies, models, report
from loadtest.bench import Bench
from loadtest.servers import CannotRun
from loadtest.tally import failed
from loadtest.turns import interval90, take_turns

CONTESTANTS: Mapping[str, dict[str, Any]] = {
    "one thread": {"device": "cpu", "intra_op_threads": 1},
    "all cores": {"device": "cpu", "intra_op_threads": 0},
    "gpu": {"device": "cuda"},
    "gpu, tf32": {"device": "cuda", "tf32": True},
}
BATCHES = (1, 16, 256)
TURN_S, CONNECTIONS = 0.3, 64

Turn = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args(argv)
    try:
        card = find_card()
    except CannotRun as error:
        print(f"skipped: {error}")
        return 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loadtest-")))
        bench = Bench(folder, args.rounds, stack=stack)
        found = measure(bench)
    for line in table(found):
        print(line)
    where = {"card": card, "runtime": ort.__version__} | report.machine() | report.commit()
    print(json.dumps(where | {"rounds": args.rounds, "found": found}))
    return 0


def find_card() -> str:
    """The GPU's name and its driver.

    Raises:
        CannotRun: there is no GPU, or nothing that could use it.
    """
    if CUDA not in ort.get_available_providers():
        raise CannotRun("this build of ONNX Runtime has no CUDA provider (README.md, GPU)")
    if not count_gpus():
        raise CannotRun("there is no GPU here")
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def measure(bench: Bench) -> list[dict[str, Any]]:
    paths = {"demo": models.gbt(bench.folder), "wide": models.wide(bench.folder)}
    runs = [
        {"model": name, "what": f"runs of {rows} rows"} | _runs(bench, path, rows)
        for name, path in paths.items()
        for rows in BATCHES
    ]
    served = [
        {"model": name, "what": "requests of one row"} | _requests(bench, name, path)
        for name, path in paths.items()
    ]
    return runs + served


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row per model and size: medians, and the GPU's rows for each of another contestant's."""
    lines = ["| model | what | " + " | ".join(f"{n}: rows/s, p50 ms" for n in CONTESTANTS)]
    others = [name for name in CONTESTANTS if name != "gpu"]
    lines[0] += "".join(f" | gpu over {name}" for name in others) + " |"
    lines.append("|---" * (2 + len(CONTESTANTS) + len(others)) + "|")
    for one in found:
        cells = [one["model"], one["what"]]
        cells += [f"{one['rows_s'][name]:,.0f}, {one['p50_ms'][name]:.3g}" for name in CONTESTANTS]
        cells += [f"{m:.3g} ({low:.3g} to {high:.3g})" for m, low, high in one["ratio"].values()]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _compare(bench: Bench, plays: Mapping[str, Callable[[], Turn]]) -> dict[str, Any]:
    rounds = take_turns(plays, bench.rounds)
    speeds = {name: [turn[name]["rows_s"] for turn in rounds] for name in plays}
    ratio = {}
    for name in plays.keys() - {"gpu"}:
        shares = [gpu / cpu for gpu, cpu in zip(speeds["gpu"], speeds[name], strict=True)]
        ratio[name] = (median(shares), *interval90(shares))
    return {
        "rows_s": {name: median(values) for name, values in speeds.items()},
        "p50_ms": {name: median(turn[name]["p50_ms"] for turn in rounds) for name in plays},
        "ratio": {name: ratio[name] for name in CONTESTANTS if name in ratio},
        "faults": sum(turn[name].get("faults", 0) for turn in rounds for name in plays),
    }


def _runs(bench: Bench, path: Path, rows: int) -> dict[str, Any]:
    file = onnx_file.inspect(path.parent, path.name)
    signature = read_signature(file, {}, max(BATCHES))
    shape = (rows, *signature.inputs[0].shape[1:])
    x = np.random.default_rng(rows).normal(size=shape).astype(np.float32)
    wanted = range(len(signature.outputs))

    def player(settings: dict[str, Any]) -> Callable[[], Turn]:
        runtime = OnnxRuntime(path, path.parent, signature, ModelSettings(**settings))

        def play() -> Turn:
            times: list[float] = []
            end = time.perf_counter() + TURN_S
            while not times or time.perf_counter() < end:
                began = time.perf_counter()
                runtime.run([x], wanted)
                times.append(time.perf_counter() - began)
            return {"rows_s": rows * len(times) / sum(times), "p50_ms": median(times) * 1e3}

        return play

    return _compare(bench, {name: player(how) for name, how in CONTESTANTS.items()})


def _requests(bench: Bench, name: str, path: Path) -> dict[str, Any]:
    if name == "demo":
        pool = bench.gbt_pool("binary")
    else:
        rows = bodies.normal_rows(1024, models.WIDEST[0], np.random.default_rng(17))
        pool = bench.pool(
            "wide", lambda to: bodies.binary_pool(to, (row[None] for row in rows), "X", "Y")
        )

    def player(settings: dict[str, Any]) -> Callable[[], Turn]:
        document = {"models": {name: {"path": str(path), **settings}}}
        # All cores but the load's: a run may take as many as it was given.
        where = bench.all_cores[:-1] or bench.all_cores
        server = bench.penstock(config=document, where=where, home=_home(bench))

        def play() -> Turn:
            stream = bench.stream(server.port, name, pool, connections=CONNECTIONS)
            done = bench.generate(stream, seconds=bench.turn_s)[name]
            p50 = done["latency_ms"].get("p50", float("nan"))
            return {"rows_s": done["rps"], "p50_ms": p50, "faults": failed(done)}

        return play

    return _compare(bench, {one: player(how) for one, how in CONTESTANTS.items()})


def _home(bench: Bench) -> Path:
    """A new home, with the kernels that were compiled for the first."""
    earlier = sorted(bench.folder.glob("home-*/cache"))
    home = bench.folder / f"home-{len(earlier)}"
    for cache in earlier[:1]:
        shutil.copytree(cache, home / "cache")
    return home


if __name__ == "__main__":
    sys.exit(main())
