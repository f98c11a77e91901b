"""Clients that leave, processes that die, models that change: who else notices?

Knows what is done to a server under load, and counts every answer. Knows nothing of how load or
servers work.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from statistics import median
from typing import Any

import onnx

from loadtest.bench import INFER, Bench
from loadtest.servers import Penstock, ask
from loadtest.tally import failed
from loadtest.turns import Measure, Result

GBT = INFER.format("gbt")
BACK_S = 10.0


def hang_ups(bench: Bench) -> list[Result]:
    """One client in twenty leaves, before its request is whole or before its answer comes."""
    ours, pool = bench.penstock(bench.model("gbt")), bench.gbt_pool("json")
    stream = bench.stream(ours.port, "gbt", pool, hang_up=0.05)
    runs = [
        bench.generate(stream, seconds=2.0 * bench.turn_s)["gbt"] for _ in range(bench.turns(5))
    ]
    bench.answer(ours.port, GBT, pool)
    measure = Measure(
        "requests of others that failed", [float(failed(run)) for run in runs], "<=", 0
    )
    detail = {
        "hang_ups": sum(run["hang_ups"] for run in runs),
        "answered": sum(run["answered"] for run in runs),
        "rps": round(median(run["rps"] for run in runs)),
        "p99_ms": round(median(run["latency_ms"]["p99"] for run in runs), 3),
    }
    return [Result("hang-ups", "One client in twenty leaves", [measure], detail=detail)]


# ---------------------------------------------------------------- a worker is killed


def worker_kill(bench: Bench) -> list[Result]:
    """kill -9 of one of two workers under load: who is lost, and when is it back?"""
    ours = bench.penstock(bench.model("gbt"), workers=2, where=bench.all_cores[:2])
    stream = bench.stream(
        ours.port, "gbt", bench.gbt_pool("json"), connections=16, identify=True, timeout_s=BACK_S
    )
    runs = []
    for number in range(bench.turns(5)):
        runs.append(_kill_one(bench, ours, stream))
        bench.show(number + 1, runs[-1])
        _wait_for_workers(ours, 2)
    lost = Measure(
        "failed requests other than those out at the killed worker",
        [float(run["failed_elsewhere"]) for run in runs],
        "<=",
        0,
    )
    back = Measure("its successor's first answer", [run["back_s"] for run in runs], "<=", 2.0, "s")
    return [
        Result("worker-kill", "kill -9 of one of two workers", [lost, back], detail={"kills": runs})
    ]


def _kill_one(bench: Bench, ours: Penstock, stream: Any) -> dict[str, Any]:
    worker = ours.status()["workers"][0]
    load = bench.start_load(stream, seconds=4.0)
    load.started()
    time.sleep(1.0)  # in the middle of the load
    killed_at = time.perf_counter()
    os.kill(worker["pid"], signal.SIGKILL)
    run = load.result()["streams"]["gbt"]
    slot = str(worker["slot"])
    # A connection that had not been answered yet was in the queue, and nobody's to lose.
    in_flight = sum(n for who, n in run["cut_at"].items() if _slot(who) == slot)
    returned = [first for who, (first, _, _) in run["seen"].items() if _slot(who) == slot]
    after = [first for first in returned if first > killed_at]
    return {
        "answered": run["answered"],
        "in_flight_at_killed": in_flight,
        "failed_elsewhere": failed(run) - in_flight,
        "refused_connections": run["connect_errors"],
        "back_s": round(min(after) - killed_at, 3) if after else BACK_S,
        "p999_ms": run["latency_ms"]["p999"],
    }


def _slot(who: str) -> str | None:
    """The worker slot in the front of a request id: HOST-SLOT-EPOCH."""
    parts = who.rsplit("-", 2)
    return parts[1] if len(parts) == 3 else None


def _wait_for_workers(ours: Penstock, count: int) -> None:
    end = time.monotonic() + BACK_S
    while time.monotonic() < end:
        workers = ours.status()["workers"]
        if sum(worker["state"] == "ready" for worker in workers) >= count:
            return
        time.sleep(0.05)  # the control port is asked: it tells nobody by itself
    raise RuntimeError(f"expected {count} ready workers within {BACK_S:g} s, got {workers}")


# ---------------------------------------------------------------- control is killed


def control_kill(bench: Bench) -> list[Result]:
    """kill -9 of the control process: the data plane must not notice."""
    ours = bench.penstock(bench.model("gbt"))
    stream = bench.stream(ours.port, "gbt", bench.gbt_pool("json"), connections=16)
    runs, back = [], []
    for _ in range(bench.turns(5)):
        before = ours.status()["control"]
        load = bench.start_load(stream, seconds=3.0)
        load.started()
        time.sleep(0.5)
        killed_at = time.perf_counter()
        os.kill(before, signal.SIGKILL)
        back.append(_control_after(ours, before, killed_at))
        runs.append(load.result()["streams"]["gbt"])
    lost = Measure("requests that failed", [float(failed(run)) for run in runs], "<=", 0)
    again = Measure("a new control answers", back, "<=", BACK_S, "s")
    detail = {"answered": sum(run["answered"] for run in runs)}
    return [Result("control-kill", "kill -9 of the control process", [lost, again], detail=detail)]


def _control_after(ours: Penstock, before: int, killed_at: float) -> float:
    """Seconds until another control process answers."""
    while (spent := time.perf_counter() - killed_at) < 2 * BACK_S:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            if ours.status()["control"] != before:
                return time.perf_counter() - killed_at
        time.sleep(0.02)
    return spent


# ---------------------------------------------------------------- models change


def reload(bench: Bench) -> list[Result]:
    """The model's file is replaced and read again, by signal and by request, under load."""
    path = Path(bench.folder / "changing" / "gbt.onnx")
    path.parent.mkdir(exist_ok=True)
    _rewrite(bench.model("gbt"), path, "first")
    ours = bench.penstock(path)
    stream = bench.stream(ours.port, "gbt", bench.gbt_pool("json"), connections=16)
    runs, answers = [], []
    for number in range(bench.turns(5)):
        load = bench.start_load(stream, seconds=4.0)
        load.started()
        for way in ("signal", "request"):
            time.sleep(0.5)
            _rewrite(bench.model("gbt"), path, f"{way} {number}")
            answers.append(_reload(ours, way))
        runs.append(load.result()["streams"]["gbt"])
        bench.show(number + 1, {"failed": failed(runs[-1]), "answered": runs[-1]["answered"]})
    lost = Measure("requests that failed", [float(failed(run)) for run in runs], "<=", 0)
    detail = {
        "reloads": len(answers),
        "answered": sum(run["answered"] for run in runs),
        "p99_ms": round(median(run["latency_ms"]["p99"] for run in runs), 3),
        "control_said": answers[-1],
    }
    return [Result("reload", "The model is replaced under load", [lost], detail=detail)]


def _rewrite(source: Path, path: Path, note: str) -> None:
    """Puts the same model with another note, and so another digest, in place, atomically."""
    model = onnx.load(source)
    model.doc_string = note
    aside = path.with_suffix(".tmp")
    onnx.save(model, aside)
    aside.replace(path)


def _reload(ours: Penstock, way: str) -> str:
    if way == "signal":
        ours.process.send_signal(signal.SIGHUP)
        return "SIGHUP"
    status, body = ask(ours.admin_port, "/api/reload", "POST", timeout_s=30)
    if status != 200:
        raise RuntimeError(f"/api/reload: expected 200, got {status}: {body[:200]!r}")
    return body[:300].decode(errors="replace")
