"""What a bare forwarder over the gateway's upstream connections costs, against nginx passing on.

Both on one core, in turns, in one run, before the same upstream; upstream and load share the other.

    python -m loadtest.forwarding [--rounds N] [--seconds S] [--only small|chunks]

Small answers: requests per second in a closed loop (wrk) and CPU time per request; the same of the
forwarder without its upstream, so that the difference is what connections to upstreams cost. Event
streams of 200 chunks sent one by one: CPU time per chunk. Needs wrk and nginx. Prints one line of
JSON last, and exits with 1 where an answer was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from loadtest import streams, wrk
from loadtest.bodies import write_pool
from loadtest.servers import CannotRun, Nginx, Program, Server, cores, need, pinned
from loadtest.turns import interval90, ratios, take_turns

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-BqZ8J2hT0",
    "object": "chat.completion",
    "created": 1751800000,
    "model": "m-2026-01-01",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "word " * 20},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 60, "completion_tokens": 20, "total_tokens": 80},
}
PROMPT = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (b"x" * 250)
Figures = dict[str, float]


def asked(server: Server, script: Path, seconds: int, clients: int) -> Figures:
    """Small answers, one after the other on each connection."""
    spent = server.cpu_s()
    report = wrk.run(f"http://127.0.0.1:{server.port}/", script, seconds, clients, cores()[-1])
    spent = server.cpu_s() - spent
    cpu_us = spent / max(1.0, report.rps * seconds) * 1e6
    return {"rps": report.rps, "cpu_us": cpu_us, "faults": report.errors}


def streamed(server: Server, seconds: int, clients: int) -> Figures:
    """Event streams, as many at once as there are clients."""
    spent = server.cpu_s()
    tally = streams.read(server.port, seconds, clients)
    spent = server.cpu_s() - spent
    return {"cpu_us": spent / (tally.answers * streams.CHUNKS) * 1e6, "faults": tally.faults}


def show(what: str, number: int, turns: Mapping[str, Figures]) -> None:
    figures = [f"{name} {one['cpu_us']:6.2f} us" for name, one in turns.items()]
    print(f"{what}, round {number}: {' | '.join(sorted(figures))}", file=sys.stderr)


def told(rows: Sequence[Mapping[str, Figures]], figure: str) -> dict[str, Any]:
    """One figure of all turns, and the forwarder's over nginx's."""
    values = [{name: one[figure] for name, one in row.items()} for row in rows]
    result: dict[str, Any] = {n: round(median(v[n] for v in values), 2) for n in values[0]}
    shares = ratios(values, "forwarder", "nginx")
    return result | {
        "ratio": round(median(shares), 4),
        "ratio_90": [round(end, 4) for end in interval90(shares)],
    }


def small(args: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    first, last = cores()[0], cores()[-1]
    answer = json.dumps(ANSWER, separators=(",", ":")).encode()
    upstream = stack.enter_context(Nginx(answer, [last], folder))
    servers = {
        "forwarder": Program("forwarder", [str(upstream.port)], [first], folder, "/"),
        "alone": Program("forwarder", ["0"], [first], folder, "/"),
        "nginx": Nginx(answer, [first], folder, f"127.0.0.1:{upstream.port}"),
    }
    pool = write_pool(folder / "prompts.pool", [PROMPT], {"content-type": "application/json"})
    script = wrk.write_script(folder / "load.lua", pool)
    plays = {
        name: functools.partial(
            asked, stack.enter_context(server), script, args.seconds, args.clients
        )
        for name, server in servers.items()
    }
    rows = take_turns(plays, args.rounds, functools.partial(show, "small"))
    difference = [row["forwarder"]["cpu_us"] - row["alone"]["cpu_us"] for row in rows]
    return {
        "rps": told(rows, "rps"),
        "cpu_us_per_request": told(rows, "cpu_us"),
        "cpu_us_of_upstream": round(median(difference), 2),
        "faults": sum(row[name]["faults"] for row in rows for name in row),
    }


def chunks(args: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    first, last = cores()[0], cores()[-1]
    upstream = stack.enter_context(Program("streams", [], [last], folder, "/"))
    servers = {
        "forwarder": Program("forwarder", [str(upstream.port)], [first], folder, "/"),
        "nginx": Nginx(b"", [first], folder, f"127.0.0.1:{upstream.port}"),
    }
    plays = {
        name: functools.partial(streamed, stack.enter_context(server), args.seconds, args.streams)
        for name, server in servers.items()
    }
    with pinned([last]):
        rows = take_turns(plays, args.rounds, functools.partial(show, "chunks"))
    return {
        "cpu_us_per_chunk": told(rows, "cpu_us"),
        "faults": sum(row[name]["faults"] for row in rows for name in row),
    }


PARTS = {"small": small, "chunks": chunks}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.forwarding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=2, help="length of one turn")
    parser.add_argument("--clients", type=int, default=32, help="for small answers")
    parser.add_argument("--streams", type=int, default=64, help="at once")
    parser.add_argument("--only", choices=PARTS, help="one of the two")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forwarding-") as folder:
        result: dict[str, Any] = {}
        for name, part in PARTS.items():
            if args.only not in (None, name):
                continue
            with contextlib.ExitStack() as stack:
                try:
                    need("wrk")
                    result[name] = part(args, Path(folder), stack)
                except (CannotRun, RuntimeError) as error:
                    sys.exit(str(error))
    print(json.dumps(result))
    sys.exit(1 if any(part["faults"] for part in result.values()) else 0)


if __name__ == "__main__":
    main()
