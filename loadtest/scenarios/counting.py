"""What it costs to count the values of a batch, in this process, without a server.

Knows the kernels' interface and how columns may be distributed. Knows nothing of load or servers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels import _jit, columns
from kernels.layouts import Layout, Numeric, compile_layout
from loadtest.bench import Bench
from loadtest.turns import Measure, Result

COLUMNS, BINS, REFERENCE_ROWS = 30, 60, 20_000
CALLS, ROWS = 5_000, 100_000  # as many calls, or as many rows, as a turn takes at most
SIZES = (1, 8, 32, 1000)
SEED = 20250304

Rows = np.ndarray[Any, np.dtype[Any]]
Draw = Callable[[np.random.Generator, int], Rows]


def _clusters(rng: np.random.Generator, rows: int) -> Rows:
    """No map takes three clusters apart that are as narrow as this: the most comparisons."""
    centres = rng.choice([0.0, 1e3, 1e6], size=(rows, COLUMNS))
    return centres + rng.normal(scale=0.1, size=(rows, COLUMNS))


DRAWS: dict[str, Draw] = {
    "normal": lambda rng, rows: rng.normal(size=(rows, COLUMNS)),
    "log-normal": lambda rng, rows: np.exp(2.0 * rng.normal(size=(rows, COLUMNS))),
    "clustered": _clusters,
}


def counting(bench: Bench) -> list[Result]:
    """Nanoseconds to count a value, by rows a call, type and distribution; fresh rows each turn."""
    _jit.compile_all()
    return [
        _result(bench, name, draw, dtype)
        for name, draw in DRAWS.items()
        for dtype in (np.float32, np.float64)
    ]


def _result(bench: Bench, name: str, draw: Draw, dtype: Any) -> Result:
    rng = np.random.default_rng(SEED)
    layout = _layout(draw(rng, REFERENCE_ROWS).astype(dtype))
    turns: dict[int, list[float]] = {size: [] for size in (*SIZES, ROWS)}
    for number in range(bench.turns(20)):
        # Rows that were seen before would be predicted, which flatters whatever branches.
        rows = draw(rng, ROWS).astype(dtype)
        for size, seconds in turns.items():
            seconds.append(_seconds_a_call(rows, size, layout))
        bench.show(number + 1, {str(size): seconds[-1] for size, seconds in turns.items()})

    def ns_a_value(size: int) -> list[float]:
        return [seconds / (size * COLUMNS) * 1e9 for seconds in turns[size]]

    measures = [
        Measure("ns a value, 32 rows a call", ns_a_value(32), "<=", 10, "ns"),
        Measure("ns a value, 1000 rows a call", ns_a_value(1000), "<=", 10, "ns"),
        Measure("us a call of one row", [s * 1e6 for s in turns[1]], "<=", 2, "us"),
        Measure("rows a second", [ROWS / s for s in turns[ROWS]], ">=", 2e6),
        Measure("ns a value, 8 rows a call", ns_a_value(8)),
    ]
    kind = np.dtype(dtype).name
    title = f"Counting {COLUMNS} {name} columns of {kind}, {BINS} bins, one core"
    return Result(f"counting-{name}-{kind}", title, measures)


def _layout(reference: Rows) -> Layout:
    shares = np.arange(1, BINS) / BINS
    plans = [
        Numeric(
            np.unique(np.quantile(column, shares, method="lower")),
            column.min(),
            column.max(),
            float(column.mean()),
        )
        for column in reference.T
    ]
    return compile_layout(plans, reference.dtype)


def _seconds_a_call(rows: Rows, size: int, layout: Layout) -> float:
    block = np.zeros(layout.block_words, np.int64)
    calls = min(CALLS, len(rows) // size)
    parts = [rows[at * size : (at + 1) * size] for at in range(calls)]
    began = time.perf_counter()
    for part in parts:
        columns.count_rows(part, block, layout.words, 1, 0)
    return (time.perf_counter() - began) / calls
