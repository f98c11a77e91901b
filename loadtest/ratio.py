"""Throughput of a server as a ratio to nginx, both on one core, in turns, in one run.

Absolute figures drift with the machine (one-second turns of one server vary by 18 %), so take many
short turns, A B A B ..., and quote the median with its interval. `--beside 'COMMAND' --beside-url
URL` adds a third party to the turns, say the prototype, and `against_beside` says how the server
compares with it in the same minutes. The floor is nginx answering the same request with a fixed
body from memory (`--floor static`), or nginx passing it on (`--floor proxy --upstream HOST:PORT`).
The server under test is pinned to the first core, the load (wrk, closed loop) to the last.

    python -m loadtest.bodies /tmp/rows.pool
    python -m loadtest.ratio --url http://127.0.0.1:8000/v2/models/gbt/infer \
        --bodies /tmp/rows.pool -- COMMAND ARG ...

`--bodies` takes a pool of distinct bodies, sent in turn; `--body` sends one file again and again,
which every cache and branch predictor on the way will learn.

Needs wrk and nginx. Prints one line of JSON last, and exits with 1 where the server never answered
or any answer was not 2xx.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import shlex
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from loadtest import wrk
from loadtest.bodies import Pool, read_pool, write_pool
from loadtest.servers import CannotRun, Nginx, Server, cores, need
from loadtest.turns import interval90, ratios, take_turns


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m loadtest.ratio",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--url", required=True)
    bodies = made.add_mutually_exclusive_group()
    bodies.add_argument("--body", type=Path, help="file whose bytes are POSTed; none: GET")
    bodies.add_argument("--bodies", type=Path, help="pool of bodies (python -m loadtest.bodies)")
    made.add_argument("--content-type", default="application/json")
    made.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    made.add_argument("--connections", type=int, default=32)
    made.add_argument("--seconds", type=int, default=1, help="length of one turn")
    made.add_argument("--rounds", type=int, default=20)
    made.add_argument("--wait", type=float, default=60, help="seconds to wait for the first 2xx")
    made.add_argument("--floor", choices=["static", "proxy", "none"], default="static")
    made.add_argument("--upstream", default="127.0.0.1:9100")
    made.add_argument("--beside", help="starts another server, compared in the same turns")
    made.add_argument("--beside-url")
    made.add_argument("--server-core", type=int, default=cores()[0])
    made.add_argument("--load-core", type=int, default=cores()[-1])
    made.add_argument("command", nargs="*", help="starts the server; none: it runs already")
    return made


def pool_of(args: argparse.Namespace, folder: Path) -> tuple[Pool, bytes | None]:
    """The pool to send, and its first body (None: GET requests)."""
    headers = {k: v.strip() for k, v in (header.split(":", 1) for header in args.header)}
    if args.bodies:
        pool = Pool(args.bodies, headers)
    else:
        body = args.body.read_bytes() if args.body else b""
        pool = write_pool(folder / "bodies.pool", [body], headers)
    if not (args.body or args.bodies):
        return pool, None
    headers.setdefault("Content-Type", args.content_type)
    return pool, read_pool(pool.path)[0]


def first_answer(
    url: str, body: bytes | None, pool: Pool, wait: float, server: Server | None
) -> bytes:
    """Waits for the first 2xx.

    Raises:
        RuntimeError: none came.
    """
    end, last = time.monotonic() + wait, "no answer"
    request = urllib.request.Request(url, data=body, headers=pool.headers)
    while time.monotonic() < end and (server is None or server.process.poll() is None):
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bytes(answer.read())
        except OSError as error:
            last = str(error)
            time.sleep(0.1)  # any server, of which only its port is known
    raise RuntimeError(f"no 2xx from {url}: {last}\n{server.words() if server else ''}")


def compare(args: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Starts everything, takes the turns, and sums up."""
    need("wrk")
    pool, body = pool_of(args, folder)
    script = wrk.write_script(folder / "load.lua", pool, "GET" if body is None else "POST")
    where = [args.server_core]

    def start(command: list[str], name: str) -> Server:
        return stack.enter_context(Server(command, where, folder, name))

    server = start(args.command, "server") if args.command else None
    beside = start(shlex.split(args.beside), "beside") if args.beside else None
    answer = first_answer(args.url, body, pool, args.wait, server)
    urls = {"mine": args.url}
    if args.floor != "none":
        upstream = args.upstream.split("//")[-1] if args.floor == "proxy" else None
        floor = stack.enter_context(Nginx(answer, where, folder, upstream))
        urls["floor"] = f"http://127.0.0.1:{floor.port}{urlsplit(args.url).path}"
    if args.beside_url:
        first_answer(args.beside_url, body, pool, args.wait, beside)
        urls["beside"] = args.beside_url

    def turn(url: str) -> wrk.Report:
        return wrk.run(url, script, args.seconds, args.connections, args.load_core)

    def show(number: int, turns: Any) -> None:
        figures = [f"{n} {r.rps:8.0f} rps p99 {r.p99_ms:6.2f} ms" for n, r in turns.items()]
        print(f"round {number}: {' | '.join(sorted(figures, reverse=True))}", file=sys.stderr)

    plays = {name: functools.partial(turn, url) for name, url in urls.items()}
    return summary(take_turns(plays, args.rounds, show))


def summary(rows: list[dict[str, wrk.Report]]) -> dict[str, Any]:
    speeds = [{name: report.rps for name, report in row.items()} for row in rows]
    result: dict[str, Any] = {}
    for name in rows[0]:
        reports = [row[name] for row in rows]
        result[name] = {
            "rps": round(median(r.rps for r in reports), 1),
            "p50_ms": round(median(r.p50_ms for r in reports), 3),
            "p99_ms": round(median(r.p99_ms for r in reports), 3),
        }
        if name != "mine" and (shares := ratios(speeds, "mine", name)):
            label = "ratio" if name == "floor" else "against_beside"
            result[label] = round(median(shares), 4)
            result[f"{label}_90"] = [round(end, 4) for end in interval90(shares)]
    return result | {"errors": sum(row["mine"].errors for row in rows)}


def main() -> None:
    args = parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="ratio-") as folder, contextlib.ExitStack() as stack:
        try:
            result = compare(args, Path(folder), stack)
        except (CannotRun, RuntimeError) as error:
            sys.exit(str(error))
    print(json.dumps(result))
    sys.exit(1 if result["errors"] or not result["mine"]["rps"] else 0)


if __name__ == "__main__":
    main()
