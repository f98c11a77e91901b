"""The load generator: a process of its own, on a core of its own, that runs streams of requests.

Knows how to start, time and stop streams, and how a parent asks for them. Knows nothing of
servers' processes, of turns or of targets.

All streams run in one event loop: two generators on one core would wait for each other's time
slices, and their waiting would show up as the server's.

    python -m loadtest.generator --url http://127.0.0.1:8000/v2/models/gbt/infer --bodies POOL \
        --rate 500 --seconds 10
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from loadtest.bodies import read_pool
from loadtest.flow import SWEEP_S, Flow, Stream

# Beyond the run itself: start-up, connecting, and the answers still out at the end.
SLACK_S = 60.0


@dataclass(frozen=True)
class Spec:
    """One run of the generator.

    Attributes:
        streams: run side by side.
        seconds: length of the measured window.
        warmup_s: load before the window that is not counted.
        core: where the generator runs; none: where the system puts it.
        spin: polls before arrivals, which keeps to the schedule within microseconds and takes a
            whole core.
    """

    streams: Sequence[Stream]
    seconds: float
    warmup_s: float = 0.0
    core: int | None = None
    spin: bool = True


class Load:
    """A generator that is running in its own process."""

    def __init__(self, spec: Spec) -> None:
        self._limit_s = spec.seconds + spec.warmup_s + SLACK_S
        self._limit_s += max(stream.timeout_s for stream in spec.streams)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.generator", "--spec", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(spec)).encode())
        self._process.stdin.close()
        self._process.stdin = None
        self._started: float | None = None

    def started(self) -> float:
        """Waits for the first request; its time on this machine's monotonic clock."""
        if self._started is None:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError(f"the generator ended early, status {self._process.wait()}")
            self._started = float(json.loads(line)["started"])
        return self._started

    def result(self) -> dict[str, Any]:
        """Waits for the end: `streams` by name, and `busy`, the generator's share of its core."""
        self.started()
        out, _ = self._process.communicate(timeout=self._limit_s)
        if self._process.returncode:
            raise RuntimeError(f"the generator failed, status {self._process.returncode}")
        document: dict[str, Any] = json.loads(out)
        return document

    def stop(self) -> None:
        """Ends a generator that is not to be heard out."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def generate(spec: Spec) -> dict[str, Any]:
    """Runs a spec in a process of its own and returns its results (see `Load.result`)."""
    load = Load(spec)
    try:
        return load.result()
    finally:
        load.stop()


# ---------------------------------------------------------------- inside the process


async def _run(spec: Spec) -> dict[str, Any]:
    pools = cache(lambda path: read_pool(Path(path)))
    flows = [Flow(stream, pools(stream.pool), spec.spin) for stream in spec.streams]
    for flow in flows:
        await flow.connect()
        flow.reset()
    print(json.dumps({"started": time.perf_counter()}), flush=True)
    for flow in flows:
        flow.start(spec.warmup_s + spec.seconds)
    if spec.warmup_s:
        await _watch(flows, spec.warmup_s)
        for flow in flows:
            flow.reset()
    before, began = time.process_time(), time.perf_counter()
    await _watch(flows, spec.seconds)
    for flow in flows:
        flow.stop()
    seconds = time.perf_counter() - began
    busy = (time.process_time() - before) / seconds
    end = time.perf_counter() + max(flow.stream.timeout_s for flow in flows)
    while any(flow.busy() for flow in flows) and time.perf_counter() < end:
        await _watch(flows, 0.005)
    for flow in flows:
        flow.close()
    await asyncio.sleep(0)
    streams = {f.stream.name: f.tally.document(seconds, f.in_window) for f in flows}
    return {"streams": streams, "seconds": seconds, "busy": busy}


async def _watch(flows: list[Flow], seconds: float) -> None:
    """Passes time, leaving requests that take too long; less where no stream has any to send."""
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0 and not all(flow.spent() for flow in flows):
        await asyncio.sleep(min(left, SWEEP_S))
        for flow in flows:
            flow.sweep()


def _prepare(core: int | None) -> None:
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Nothing here makes cycles, and a collection would be a pause that looks like the server's.
    gc.disable()


def _from_flags(args: argparse.Namespace) -> Spec:
    url = urlsplit(args.url)
    headers = dict(header.split(":", 1) for header in args.header)
    headers.setdefault("Content-Type", args.content_type)
    stream = Stream(
        name="load",
        host=url.hostname or "127.0.0.1",
        port=url.port or 80,
        target=url.path + (f"?{url.query}" if url.query else ""),
        pool=args.bodies,
        headers={name: value.strip() for name, value in headers.items()},
        mode="open" if args.rate else "closed",
        rate=args.rate or 0.0,
        arrivals=args.arrivals,
        seed=args.seed,
        connections=args.connections,
        timeout_s=args.timeout,
    )
    return Spec([stream], args.seconds, args.warmup, args.core)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.generator", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--url", help="POST here")
    what.add_argument("--spec", help="a run as JSON, from this file or - for standard input")
    parser.add_argument("--bodies", help="pool file (python -m loadtest.bodies makes one)")
    parser.add_argument("--rate", type=float, help="requests per second; none: closed loop")
    parser.add_argument("--arrivals", choices=["poisson", "uniform"], default="poisson")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--content-type", default="application/json")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--core", type=int, help="run on this core only")
    return parser


def main() -> None:
    args = _parser().parse_args()
    if args.spec:
        text = sys.stdin.read() if args.spec == "-" else Path(args.spec).read_text()
        values = json.loads(text)
        values["streams"] = [Stream(**stream) for stream in values["streams"]]
        spec = Spec(**values)
    elif not args.bodies:
        sys.exit("--url needs --bodies POOL")
    else:
        spec = _from_flags(args)
    _prepare(spec.core)
    _write(json.dumps(uvloop.run(_run(spec))).encode() + b"\n")


def _write(data: bytes) -> None:
    """All of it: with PYTHONUNBUFFERED a `print` may end early, and say nothing of it."""
    left = memoryview(data)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


if __name__ == "__main__":
    main()
