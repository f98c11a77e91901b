"""`penstock demo`: serves the bundled model, sends every row of its data, and checks every answer.

Knows the bundled data and what a right answer is. Knows nothing of how serving works: it is a
client of a server process like any other.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.output import progress, say, say_json, table

if TYPE_CHECKING:
    from gateway.cli.child import ServerProcess
    from gateway.cli.volley import Answer, Result

DATA = Path(__file__).resolve().parents[1] / "demo_data"
MODEL = "breast_cancer"
PASSES = 20  # over the rows: enough for the figures to settle, done in about a second
CONNECTIONS = 32
ANSWERED_WITHIN_S = 300.0
# scikit-learn computed the expected answers in float64, the model computes in float32.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Row:
    """One patient of the bundled data.

    Attributes:
        values: the 30 features, as their shortest float32 text.
        target: what was diagnosed: 0 malignant, 1 benign.
        held_out: the model was not trained on it.
        label, probability: what the trained model answered outside of this gateway; the probability
            is that of label 1.
    """

    values: tuple[str, ...]
    target: int
    held_out: bool
    label: int
    probability: float

    @property
    def body(self) -> bytes:
        """The inference request for this row."""
        shape, data = f"[1,{len(self.values)}]", ",".join(self.values)
        tensor = f'{{"name":"X","shape":{shape},"datatype":"FP32","data":[{data}]}}'
        return f'{{"inputs":[{tensor}]}}'.encode()

    def fault(self, answer: Answer) -> str:
        """What is wrong with an answer to this row; empty if nothing is."""
        got = read_answer(answer)
        if got is None:
            return f"status {answer.status}: {answer.body[:200].decode(errors='replace')}"
        label, chance = got
        if label != self.label or abs(chance - self.probability) > TOLERANCE:
            return f"expected {self.label} ({self.probability:.6f}), got {label} ({chance:.6f})"
        return ""


def read_answer(answer: Answer) -> tuple[int, float] | None:
    """Label and probability in an answer; None where it holds none."""
    try:
        outputs = {output["name"]: output["data"] for output in json.loads(answer.body)["outputs"]}
        return int(outputs["label"][0]), float(outputs["probabilities"][1])
    except (ValueError, KeyError, IndexError, TypeError):
        return None


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
        help="serve the bundled model and check every answer",
        description="Serves a model bundled with penstock on free ports of this machine, sends "
        "every row of its data as an HTTP request, and checks the answers. "
        "Exit status 0: all are right.",
    )
    parser.add_argument("--keep", action="store_true", help="leave it running, and say what to try")
    parser.add_argument(
        "--requests", type=_positive, metavar="N", help="how many (default: 20 passes)"
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
    rows = read_rows()
    arguments = [str(DATA / f"{MODEL}.onnx")]
    with (
        tempfile.TemporaryDirectory(prefix="penstock-demo-") as home,
        ServerProcess(Path(home), arguments, _environment()) as server,
    ):
        _start(server)
        outcome, faults = measure(server.port, rows, args.requests or PASSES * len(rows))
        _report(outcome, faults, server, args.json)
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


def _start(server: ServerProcess) -> None:
    start = time.monotonic()
    progress(f"starting a server for {MODEL}.onnx (the first start compiles for 15 s or so)")
    server.wait_ready()
    progress(
        f"ready after {time.monotonic() - start:.1f} s on port {server.port}; sending requests"
    )


# ---- data ---------------------------------------------------------------------------------------


def read_rows() -> list[Row]:
    """The bundled rows with the answers that are expected for them."""
    with (DATA / f"{MODEL}.csv").open(newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: Mapping[str, str]) -> Row:
    *values, target, split, label, probability = line.values()
    return Row(tuple(values), int(target), split == "test", int(label), float(probability))


# ---- asking and checking ------------------------------------------------------------------------


def measure(port: int, rows: Sequence[Row], requests: int) -> tuple[Outcome, list[str]]:
    """Sends the rows, over and over until `requests` are sent; also tells what was wrong."""
    from gateway.cli.volley import fire

    asked = [rows[n % len(rows)] for n in range(requests)]
    head = {id(row): _http(row.body) for row in rows}
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
    return _outcome(asked, result, len(faults), batches, ran), faults


def _http(body: bytes) -> bytes:
    head = (
        f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


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


def _report(outcome: Outcome, faults: list[str], server: ServerProcess, as_json: bool) -> None:
    if as_json:
        ports = {"port": server.port, "admin_port": server.admin_port}
        say_json({"ok": not faults, **asdict(outcome), **ports, "faults": faults[:20]})
        return
    header = [name.replace("_per_second", "/s").replace("_", " ") for name in asdict(outcome)]
    say(table(header, [list(asdict(outcome).values())]))
    say()
    say(
        f"One row a request over {CONNECTIONS} connections. "
        "Accuracy is on the rows held out from training;"
    )
    if not faults:
        say(f"every answer is within {TOLERANCE:g} of scikit-learn's own for the trained model.")
        return
    say(f"{len(faults)} answers are wrong:")
    for fault in faults[:20]:
        say(f"  {fault}")


def _keep(server: ServerProcess, row: Row, as_json: bool) -> None:
    """Waits for the server to end, or for Ctrl-C, which is how one leaves."""
    if not as_json:
        base, body = f"http://127.0.0.1:{server.port}", row.body.decode()
        say()
        say("The server stays up until Ctrl-C. Try:")
        say(f"  curl {base}/v2/models/{MODEL}")
        say(f"  curl {base}/v2/models/{MODEL}/infer -d '{body}'")
        say(f"  curl {base}/v2/models/{MODEL}/stats")
        say(f"  curl http://127.0.0.1:{server.admin_port}/metrics")
    try:
        server.process.wait()
    except KeyboardInterrupt:
        progress("stopping the server")
