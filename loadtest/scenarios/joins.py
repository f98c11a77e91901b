"""How fast outcomes find their records among ten million, in this process, without a server.

Knows the ledger and how outcomes are written. Knows nothing of load or servers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gateway.outcomes.documents import read_body
from gateway.outcomes.early import Early, Key, Waiting
from gateway.outcomes.joins import Joins
from gateway.outcomes.labels import About
from gateway.outcomes.ledger import Forgotten, Ledger
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.segment import CAPACITY
from kernels import _jit
from kernels.ledger import OUTCOME, RECORD_WORDS, SEQUENCE, SERIES_AND_ROW, TIME_MS
from kernels.ledger import TOP_AND_CORRECTIONS as TOP
from kernels.performance import BINARY
from loadtest.bench import Bench
from loadtest.turns import Measure, Result

RECORDS, NOON_MS, STREAM = 10_000_000, 1_800_000_000_000, "host-1-0-1"
SIZES, SENT = (10_000, 1_000, 100), 20_000
SEED = 20250304


class _Nothing:
    """Keeps nothing, since none is forgotten here and none waits, and says little of the server."""

    early_ms, share, client_ids = 0, 1.0, False
    reserved_metrics = frozenset[str]()

    def about(self, series: int) -> About:
        return About("m", {})

    def series(self, models: frozenset[str]) -> Any:
        raise AssertionError("everybody may send everything")

    def live(self) -> set[str]:
        return set()

    def forgotten(self) -> Mapping[str, Forgotten]:
        return {}

    def forget(self, *_: Any) -> None:
        raise AssertionError("nothing is forgotten")

    def sums(self, *_: Any) -> Sequence[Any]:
        return ()

    def metrics(self) -> Mapping[str, int]:
        return {}

    def forget_metric(self, name: str) -> None:
        raise AssertionError("no metric is sent")

    def number_metric(self, name: str) -> int:
        raise AssertionError("no metric is sent")

    def cells(self, *_: Any) -> Sequence[Any]:
        return ()

    def metric_sums(self, *_: Any) -> Sequence[Any]:
        return ()

    def waiting(self) -> Sequence[Waiting]:
        return ()

    def keep_waiting(self, come: Sequence[Waiting], gone: Sequence[Key]) -> None:
        raise AssertionError("nobody waits")


def joins(bench: Bench) -> list[Result]:
    """Outcomes of rows drawn from all records, in random order, in batches of several sizes."""
    _jit.compile_all()
    folder = bench.folder / "ledger"
    try:
        _fill(folder)
        began = time.perf_counter()
        ledger = _open(folder)
        _join(ledger, [_body(np.arange(1), 0)])
        again_s = time.perf_counter() - began
        return [_result(bench, ledger, folder, again_s)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _result(bench: Bench, ledger: Joins, folder: Path, again_s: float) -> Result:
    rng = np.random.default_rng(SEED)
    joined: dict[int, list[float]] = {size: [] for size in SIZES}
    whole: dict[int, list[float]] = {size: [] for size in SIZES}
    for number in range(bench.turns(20)):
        for size in SIZES:
            batches = [rng.integers(RECORDS, size=size) for _ in range(SENT // size)]
            reading_s, joining_s = _join(ledger, [_body(one, number % 2) for one in batches])
            joined[size].append(SENT / joining_s)
            whole[size].append(SENT / (joining_s + reading_s))
        bench.show(number + 1, {str(size): rates[-1] for size, rates in joined.items()})
    measures = [
        Measure("joins/s, 10,000 a request", joined[10_000], ">=", 1e5),
        Measure("joins/s, 1,000 a request", joined[1_000], ">=", 1e5),
        Measure("with reading the JSON, 10,000", whole[10_000], ">=", 1e5),
        Measure("with reading the JSON, 1,000", whole[1_000], ">=", 1e5),
        Measure("joins/s, 100 a request", joined[100]),
        Measure("s from opening to joining", [again_s], "<=", 5, "s"),
        Measure("MB of files mapped after that", [_mapped(folder) / 1e6], "<=", 700, "MB"),
        # The records are 64 each, exactly; a file of 65,536 has 64 bytes of its own.
        Measure("bytes a record on the disk", [_on_disk(folder) / RECORDS], "<=", 64.01, "bytes"),
    ]
    return Result("joins", f"Joining outcomes to any of {RECORDS:,} records, one core", measures)


def _mapped(folder: Path) -> int:
    """Bytes of this process' memory that are of files in a folder."""
    found, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split(maxsplit=1)
        if not name.endswith(":"):
            ours = f"{folder}/" in line
        elif ours and name == "Rss:":
            found += int(rest[0].split()[0]) << 10
    return found


def _on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _fill(folder: Path) -> None:
    ledger = Ledger(folder, _Nothing())
    for first in range(0, RECORDS, CAPACITY):
        count = min(CAPACITY, RECORDS - first)
        records = np.zeros((count, RECORD_WORDS), np.int64)
        records[:, SEQUENCE] = np.arange(first, first + count)
        records[:, TIME_MS], records[:, SERIES_AND_ROW] = NOON_MS, 1 << 32
        records[:, TOP] = BINARY << 32
        records.view(np.float64)[:, OUTCOME] = np.nan
        ledger.append(STREAM, records)
    ledger.tidy(1 << 40, 0, (), NOON_MS)


def _open(folder: Path) -> Joins:
    nothing = _Nothing()
    ledger = Ledger(folder, nothing)
    return Joins(ledger, Metrics(ledger.segments, nothing), Early(nothing), nothing)


def _body(sequences: Any, outcome: int) -> bytes:
    return orjson.dumps([{"id": f"{STREAM}-{n:x}", "outcome": outcome} for n in sequences.tolist()])


def _join(ledger: Joins, bodies: Sequence[bytes]) -> tuple[float, float]:
    """Seconds to read what was sent, and to join it."""
    began = time.perf_counter()
    read = [read_body(body).arrivals for body in bodies]
    then = time.perf_counter()
    for arrivals in read:
        found = ledger.join(arrivals, None, NOON_MS)
        if found.counts["unknown"]:
            raise RuntimeError(f"expected each to find its record, got {found.counts}")
    return then - began, time.perf_counter() - then
