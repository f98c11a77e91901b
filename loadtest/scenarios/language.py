"""What passing language models' answers on costs: throughput, CPU time, latency, memory.

Knows each comparison's contestants and target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from loadtest import language
from loadtest.bench import Bench, Speed
from loadtest.bodies import Pool, write_pool
from loadtest.language import CHAT, Gateway, known
from loadtest.servers import Nginx, Server
from loadtest.tally import failed
from loadtest.turns import Measure, Result, ratios, take_turns

RATE = 1000.0
TOKENS, TOKENS_PER_S = 200, 100
STREAMS = 32


def chat(bench: Bench) -> list[Result]:
    """A chat completion of 300 bytes, not streamed: share of nginx passing it on."""
    return [_share(bench, "language-chat", "A chat completion, a prompt of 300 bytes", 300, 0.35)]


def prompts(bench: Bench) -> list[Result]:
    """The same with prompts of 300 KB."""
    title = "A chat completion, a prompt of 300 KB"
    return [_share(bench, "language-prompts", title, 300_000, 0.5)]


def _share(bench: Bench, name: str, title: str, chars: int, limit: float) -> Result:
    provider = language.constant_provider(bench)
    ours = language.gateway(bench, provider.port)
    pool = language.pool(bench, f"chat-{chars}", chars, count=256 if chars < 10_000 else 16)
    mine = known(pool, ours.key)
    plays = {
        "penstock": bench.player(ours.port, CHAT, mine),
        "nginx": bench.player(_nginx(bench, provider.port).port, CHAT, mine),
    }
    rows = take_turns(plays, bench.rounds, bench.show)
    speeds = [{which: speed.rps for which, speed in row.items()} for row in rows]
    measure = Measure(
        "share of nginx's proxy_pass", ratios(speeds, "penstock", "nginx"), ">=", limit
    )
    detail: dict[str, Any] = {
        f"{which}_rps": round(median(row[which].rps for row in rows)) for which in plays
    }
    detail |= {
        f"{which}_p99_ms": round(median(row[which].p99_ms for row in rows), 2) for which in plays
    }
    return Result(name, title, [measure], detail=detail, faults=_faults(rows))


def chunks(bench: Bench) -> list[Result]:
    """CPU time per chunk of streamed answers, over nginx's, which passes them on unbuffered."""
    provider = language.fake_provider(bench, f"tokens={TOKENS}&rate={TOKENS_PER_S}")
    ours = language.gateway(bench, provider.port)
    pool = known(language.pool(bench, "stream", 300, stream=True), ours.key)
    worker = psutil.Process(ours.server.status()["workers"][0]["pid"])
    seen: list[dict[str, Any]] = []
    alone: list[float] = []

    def play(server: Server) -> Callable[[], float]:
        stream = bench.stream(server.port, "stream", pool, target=CHAT, connections=STREAMS)

        def turn() -> float:
            before, spent = language.counts(provider)["tokens"], server.cpu_s()
            of_worker = sum(worker.cpu_times()[:2])
            done = bench.generate(stream, seconds=4.0 * bench.turn_s, warmup_s=0.0)["stream"]
            seen.append(done)
            sent = language.counts(provider)["tokens"] - before
            if server is ours.server:
                alone.append(1e6 * (sum(worker.cpu_times()[:2]) - of_worker) / sent)
            return 1e6 * (server.cpu_s() - spent) / sent

        return turn

    plays = {"penstock": play(ours.server), "nginx": play(_nginx(bench, provider.port))}
    rows = take_turns(plays, bench.turns(10), bench.show)
    measure = Measure(
        "CPU time per chunk over nginx's", ratios(rows, "penstock", "nginx"), "<=", 1.6
    )
    detail: dict[str, Any] = {
        f"{which}_us_per_chunk": round(median(row[which] for row in rows), 2) for which in plays
    }
    detail["worker_alone_us_per_chunk"] = round(median(alone), 2)
    title = f"{STREAMS} streams of {TOKENS} chunks, {TOKENS_PER_S} a second, sent one by one"
    faults = sum(map(failed, seen))
    return [Result("language-chunks", title, [measure], detail=detail, faults=faults)]


def latency(bench: Bench) -> list[Result]:
    """Latency that the gateway adds at 1,000 requests a second, open loop."""
    provider = language.constant_provider(bench)
    ours = language.gateway(bench, provider.port)
    pool = known(language.pool(bench, "chat-300", 300), ours.key)
    seen: list[dict[str, Any]] = []

    def play(port: int) -> Callable[[], dict[str, float]]:
        options = {"mode": "open", "rate": RATE, "connections": 64}
        stream = bench.stream(port, "chat", pool, target=CHAT, **options)
        seeds = count(1)  # turns differ in their arrivals; contestants of one round do not

        def turn() -> dict[str, float]:
            fresh = replace(stream, seed=next(seeds))
            done = bench.generate(fresh, seconds=2.0 * bench.turn_s)["chat"]
            seen.append(done)
            return dict(done["latency_ms"])

        return turn

    plays = {"penstock": play(ours.port), "direct": play(provider.port)}
    rows = take_turns(plays, bench.rounds, lambda n, turn: bench.show(n, _tails(turn)))
    measures = [
        Measure(
            f"{at} over the direct call",
            [row["penstock"][at] - row["direct"][at] for row in rows],
            "<=",
            limit,
            "ms",
        )
        for at, limit in (("p50", 0.3), ("p99", 3.0))
    ]
    detail: dict[str, Any] = {
        f"{at}_{which}_ms": round(median(row[which][at] for row in rows), 3)
        for which in plays
        for at in ("p50", "p99")
    }
    detail["late_arrivals"] = sum(each["late"] for each in seen)
    title = "Chat completions at 1,000 requests/s, open loop, Poisson arrivals"
    faults = sum(map(failed, seen))
    return [Result("language-latency", title, measures, detail=detail, faults=faults)]


def _tails(turn: Any) -> dict[str, str]:
    return {which: f"p50 {ms['p50']:.3f} p99 {ms['p99']:.3f} ms" for which, ms in turn.items()}


def _nginx(bench: Bench, upstream_port: int) -> Nginx:
    upstream = f"127.0.0.1:{upstream_port}"
    return bench.stack.enter_context(Nginx(b"", bench.server_cores, bench.folder, upstream))


def _faults(rows: list[dict[str, Speed]]) -> int:
    return sum(speed.faults for row in rows for speed in row.values())


# ---------------------------------------------------------------- memory

KEYS, MODELS = 200, 50
EARLY, LATE = 50_000, 1_000_000
HANG_UP = 0.02
STREAMED = 0.3
SLOWEST_RPS = 500.0


def memory(bench: Bench) -> list[Result]:
    """Resident memory after a million requests, over that after 50,000."""
    provider = language.fake_provider(bench, "tokens=4")
    names = [f"model-{n}" for n in range(MODELS)]
    ours = language.gateway(bench, provider.port, dict.fromkeys(names, "openai"), KEYS)
    pool = bench.pool("mixed", lambda path: _mixed(path, names))
    late = LATE if bench.rounds >= 20 else EARLY + LATE // 50
    faults = _send(bench, ours, pool, EARLY)
    before = _resident_mb(ours)
    faults += _send(bench, ours, pool, late - EARLY)
    after = _resident_mb(ours)
    measures = [
        Measure(f"{which} after over before", [after[which] / before[which]], "<=", 1.05)
        for which in ("worker", "all processes")
    ]
    detail: dict[str, Any] = {f"{which}, MB before": round(mb, 1) for which, mb in before.items()}
    detail |= {f"{which}, MB after": round(mb, 1) for which, mb in after.items()}
    detail |= {"requests": late, "hang_ups": HANG_UP, "streamed": STREAMED}
    title = f"Memory after {late:,} requests of {KEYS} keys to {MODELS} models, and after {EARLY:,}"
    return [Result("language-memory", title, measures, detail=detail, faults=faults)]


def _mixed(path: Path, names: Sequence[str]) -> Pool:
    rng = random.Random(5)
    bodies = [
        language.chat_body(
            language.text(300, rng), rng.choice(names), stream=rng.random() < STREAMED
        )
        for _ in range(4 * len(names))
    ]
    return write_pool(path, bodies, language.JSON)


def _send(bench: Bench, ours: Gateway, pool: Pool, requests: int) -> int:
    """So many requests, by all keys at once; how many of them failed."""
    streams = [
        bench.stream(
            ours.port,
            f"key-{n}",
            known(pool, key),
            target=CHAT,
            connections=1,
            max_requests=requests // len(ours.keys),
            hang_up=HANG_UP,
            seed=n,
        )
        for n, key in enumerate(ours.keys)
    ]
    done = bench.generate(*streams, seconds=requests / SLOWEST_RPS, warmup_s=0.0)
    if missing := requests - sum(each["sent"] for each in done.values()):
        raise RuntimeError(f"{missing} of {requests} requests were not sent in time")
    return sum(map(failed, done.values()))


def _resident_mb(ours: Gateway) -> dict[str, float]:
    worker = psutil.Process(ours.server.status()["workers"][0]["pid"])
    return {
        "worker": worker.memory_info().rss / 2**20,
        "all processes": ours.server.rss_bytes() / 2**20,
    }
