"""`penstock demo`: serves the bundled model, checks answers, shows two alarms and two rollouts.

Knows what is shown and in which order. Knows nothing of how serving works: it is a client of a
server process like any other.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import demo_drift, demo_llm, demo_outcomes, demo_rollouts
from gateway.cli.demo_rows import (
    DATA,
    MODEL,
    OTHERS,
    ROWS,
    TARGET,
    TOLERANCE,
    Row,
    read_answer,
    read_rows,
)
from gateway.cli.output import progress, say, say_json, table

if TYPE_CHECKING:
    from gateway.cli.child import ServerProcess
    from gateway.cli.volley import Answer, Result

PASSES = 20  # over the rows: enough for the figures to settle, done in about a second
CONNECTIONS = 32
ANSWERED_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one demo. `accuracy` is that on the rows held out from training."""

    rows: int
    requests: int
    correct: int
    accuracy: float
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    batches: int
    mean_batch_rows: float


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "demo",
        help="serve the bundled model, check every answer, and show alarms on drift",
        description="Serves a model bundled with penstock on free ports of this machine, sends "
        "every row of its data as an HTTP request, and checks the answers. Then watches clean "
        "traffic, tells what came of it, lets that differ, shifts one feature, and shows the "
        "alarm of either. At last it rolls out a version whose scores are off, which takes itself "
        "back, and a good one. Exit status 0: all answers are right, of the features that one was "
        "named and nothing else, and the good version serves.",
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=["llm"],
        help="llm: language models instead, behind a provider that needs no account (10 s)",
    )
    parser.add_argument("--keep", action="store_true", help="leave it running, and say what to try")
    parser.add_argument(
        "--requests", type=_positive, metavar="N", help="how many (default: 20 passes)"
    )
    parser.add_argument(
        "--answers", action="store_true", help="check the answers only: a few seconds instead of 50"
    )
    parser.add_argument("--json", action="store_true", help="figures as one JSON document")
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got '{text}'")
    return number


def run(args: argparse.Namespace) -> int:
    """Serves, asks, checks, prints; 1 if an answer was wrong."""
    from gateway.cli.child import ServerProcess

    # Without this a SIGTERM would end us at once and leave the server behind.
    signal.signal(signal.SIGTERM, _interrupt)
    if args.what == "llm":
        return demo_llm.run(args.keep, args.json, _environment())
    rows, environment = read_rows(), _environment()
    with tempfile.TemporaryDirectory(prefix="penstock-demo-") as home:
        _register(home, environment)
        config = Path(home) / "demo.yaml"
        config.write_text(demo_outcomes.CONFIG)
        arguments = ("--config", str(config))
        with ServerProcess(Path(home), arguments, environment=environment) as server:
            _start(server)
            requests = args.requests or PASSES * len(rows)
            outcome, ids, faults = measure(server.port, rows, requests)
            answered = rows[: len(ids)]
            watched = None if args.answers else _watch(Path(home), server, answered, rows, ids)
            if watched:
                faults += watched.learnt.faults(len(ids)) + watched.drifted.faults()
                faults += watched.rolled_out.faults()
            _report(outcome, watched, faults, server, args.json)
            if args.keep:
                _keep(server, rows[0], args.json)
    return 1 if faults else 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _environment() -> dict[str, str]:
    """Keeps compiled kernels where `penstock serve` would, so that the second start is quick."""
    from gateway.cli.serve import DEFAULT_HOME

    if "NUMBA_CACHE_DIR" in os.environ:
        return {}
    cache = Path(os.environ.get("PENSTOCK_HOME", DEFAULT_HOME)).absolute() / "cache" / "numba"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}
    return {"NUMBA_CACHE_DIR": str(cache)} if os.access(cache, os.W_OK) else {}


def _register(home: str, environment: Mapping[str, str]) -> None:
    """Registers the model, with its rows as the reference that live traffic is held against."""
    from gateway.errors import GatewayError

    progress(f"registering {MODEL}.onnx (the first time compiles for some seconds)")
    command = [sys.executable, "-m", "gateway", "register", str(DATA / f"{MODEL}.onnx")]
    command += ["--reference", str(ROWS), "--labels", TARGET, "--drop", ",".join(OTHERS)]
    command += ["--alias", "champion"]
    done = subprocess.run(
        [*command, "--home", home],
        env=os.environ | dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if done.returncode:
        raise GatewayError(done.stderr.decode(errors="replace").strip())


def _start(server: ServerProcess) -> None:
    start = time.monotonic()
    server.wait_ready()
    progress(
        f"ready after {time.monotonic() - start:.1f} s on port {server.port}; sending requests"
    )


@dataclass(frozen=True, slots=True)
class Watched:
    """What outcomes told, what shifted inputs did, and how versions took over."""

    learnt: demo_outcomes.Learnt
    drifted: demo_drift.Drifted
    rolled_out: demo_rollouts.RolledOut


def _watch(
    home: Path,
    server: ServerProcess,
    answered: Sequence[Row],
    rows: Sequence[Row],
    ids: Sequence[str],
) -> Watched:
    from gateway.client import Admin

    drawn = random.Random(demo_drift.SEED)
    with Admin(f"http://127.0.0.1:{server.admin_port}") as control:
        demo_drift.settle(server.port, control, rows, drawn)
        learnt = demo_outcomes.learn(server.port, control, answered, ids)
        drifted = demo_drift.shift(server.port, control, rows, drawn)
        rolled_out = demo_rollouts.roll_out(home, server.port, control, rows)
        return Watched(learnt, drifted, rolled_out)


# ---- asking and checking ------------------------------------------------------------------------


def measure(port: int, rows: Sequence[Row], requests: int) -> tuple[Outcome, list[str], list[str]]:
    """Sends the rows, over and over until `requests` are sent.

    Returns:
        Figures, the ids of the first answers to each row, and what was wrong.
    """
    from gateway.cli.volley import fire

    asked = [rows[n % len(rows)] for n in range(requests)]
    head = {id(row): row.request for row in rows}
    before = _counts(port)
    result = fire(
        "127.0.0.1", port, [head[id(row)] for row in asked], CONNECTIONS, ANSWERED_WITHIN_S
    )
    after = _counts(port)
    faults = [
        f"request {n}: {fault}"
        for n, (row, answer) in enumerate(zip(asked, result.answers, strict=True))
        if (fault := row.fault(answer))
    ]
    batches, ran = after[0] - before[0], after[1] - before[1]
    ids = [answer.id for answer in result.answers[: len(rows)]]
    return _outcome(asked, result, len(faults), batches, ran), ids, faults


def _counts(port: int) -> tuple[int, int]:
    """How many batches the model has run, and how many rows in them."""
    from gateway.client import Client

    with Client(f"http://127.0.0.1:{port}") as client:
        [stats] = client.statistics(MODEL)
    return int(stats["execution_count"]), int(stats["inference_count"])


def _outcome(asked: Sequence[Row], result: Result, wrong: int, batches: int, ran: int) -> Outcome:
    first_pass = list(zip(asked, result.answers, strict=True))[: len({id(row) for row in asked})]
    judged = [_label(answer) == row.target for row, answer in first_pass if row.held_out]
    ordered = sorted(answer.seconds for answer in result.answers)
    return Outcome(
        rows=len(first_pass),
        requests=len(asked),
        correct=len(asked) - wrong,
        accuracy=round(sum(judged) / max(1, len(judged)), 4),
        requests_per_second=round(len(asked) / result.seconds),
        p50_ms=round(1e3 * ordered[len(ordered) // 2], 2),
        p99_ms=round(1e3 * ordered[len(ordered) * 99 // 100], 2),
        batches=batches,
        mean_batch_rows=round(ran / max(1, batches), 1),
    )


def _label(answer: Answer) -> int | None:
    got = read_answer(answer)
    return None if got is None else got[0]


# ---- telling ------------------------------------------------------------------------------------


def _report(
    outcome: Outcome,
    watched: Watched | None,
    faults: list[str],
    server: ServerProcess,
    as_json: bool,
) -> None:
    if as_json:
        ports = {"port": server.port, "admin_port": server.admin_port}
        told: dict[str, Any] = {"ok": not faults, **asdict(outcome), **ports}
        if watched is not None:
            told |= {"outcomes": watched.learnt.as_json(), "drift": watched.drifted.as_json()}
            told |= {"rollouts": watched.rolled_out.as_json()}
        say_json({**told, "faults": faults[:20]})
        return
    header = [name.replace("_per_second", "/s").replace("_", " ") for name in asdict(outcome)]
    say(table(header, [list(asdict(outcome).values())]))
    say()
    say(
        f"One row a request over {CONNECTIONS} connections. "
        "Accuracy is on the rows held out from training;"
    )
    say(f"a right answer is within {TOLERANCE:g} of scikit-learn's own for the trained model.")
    if watched is not None:
        say()
        demo_outcomes.tell(watched.learnt)
        say()
        demo_drift.tell(watched.drifted)
        say()
        demo_rollouts.tell(watched.rolled_out)
    if faults:
        say()
        say(f"{len(faults)} faults:")
        for fault in faults[:20]:
            say(f"  {fault}")


def _keep(server: ServerProcess, row: Row, as_json: bool) -> None:
    """Waits for the server to end, or for Ctrl-C, which is how one leaves."""
    try:  # whoever reads what to try may leave before all of it is said
        if not as_json:
            base, body = f"http://127.0.0.1:{server.port}", row.body.decode()
            say()
            say("The server stays up until Ctrl-C. Try:")
            say(f"  curl {base}/v2/models/{MODEL}")
            say(f"  curl {base}/v2/models/{MODEL}/infer -d '{body}'")
            say(f"  curl {base}/v2/models/{MODEL}/stats")
            control = f"http://127.0.0.1:{server.admin_port}"
            say(f"  curl '{control}/api/models/{MODEL}/versions/1/drift?rows=2000'")
            say(f"  curl {control}/api/models/{MODEL}/versions/1/performance")
            say(f"  curl {control}/api/alerts")
            say(f"  curl {control}/metrics")
        server.process.wait()
    except KeyboardInterrupt:
        progress("stopping the server")
