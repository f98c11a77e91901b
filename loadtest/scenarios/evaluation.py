"""What counting takes in memory, and control in time to evaluate windows, without a server.

Knows profiles, windows of counts and figures. Knows nothing of load or servers.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from gateway.drift.figures import figures
from gateway.drift.history import History
from gateway.drift.kinds import Effects
from gateway.drift.panes import MAX, MIN, SUM, SUM_SQ, N, no_moments
from gateway.drift.reference import SPECIALS, Reference
from gateway.profiles.builder import Builder
from gateway.profiles.live import ROWS, Places, block_words, places
from gateway.profiles.plans import plan_frames
from gateway.tensors import Signature, TensorSpec
from kernels import _jit
from loadtest.bench import Bench
from loadtest.turns import Measure, Result

FEATURES, WINDOWS, REFERENCE_ROWS, LIVE_ROWS = 1000, 4, 5000, 3000
SEED = 20250304
WATCHED, MONTH_S, STEP_S, FINE_S = 100, 33 * 86_400, 600, 4 * 3600

Window = tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.float64]]]


def evaluation(bench: Bench) -> list[Result]:
    """Every statistic and verdict of 1,000 features of 60 bins in four windows; fresh counts."""
    _jit.compile_all()
    rng = np.random.default_rng(SEED)
    reference, found = _reference(rng)
    effect = np.full(len(reference.columns), 1.5)
    effects = Effects(effect, effect)
    turns = []
    for number in range(bench.turns(20)):
        windows = [_window(rng, found) for _ in range(WINDOWS)]
        began = time.perf_counter()
        for counts, moments in windows:
            figures(reference, counts, moments, effects)
        turns.append((time.perf_counter() - began) * 1e3)
        bench.show(number + 1, {"ms": turns[-1]})
    measure = Measure("ms for four windows", turns, "<=", 250, "ms")
    title = f"Evaluating {FEATURES:,} features x {WINDOWS} windows in control"
    return [Result("drift-evaluation", title, [measure])]


def memory(bench: Bench) -> list[Result]:
    """What 100 features take: of the arena for each worker, and of panes in control."""
    del bench  # neither load nor turns: it is counted, not timed
    rng = np.random.default_rng(SEED)
    reference, found = _reference(rng, WATCHED)
    history, (counts, moments) = History(found.words, found.columns), _window(rng, found)
    for at in range(0, MONTH_S, STEP_S):
        history.add(at, counts, moments)
    for at in range(MONTH_S, MONTH_S + FINE_S):
        history.add(at, counts, moments)
    shared = Measure(
        "shared memory a worker", [block_words(reference.profile) / 2**17], "<=", 1, "MB"
    )
    kept = Measure("history in control", [history.nbytes / 2**20], "<=", 16, "MB")
    title = (
        f"Counting {WATCHED} features of 60 bins for a month, {LIVE_ROWS:,} rows a second at last"
    )
    return [Result("counting-memory", title, [shared, kept])]


def _reference(rng: np.random.Generator, features: int = FEATURES) -> tuple[Reference, Places]:
    inputs = {"x": rng.normal(size=(REFERENCE_ROWS, features)).astype(np.float32)}
    outputs = {"y": rng.normal(size=(REFERENCE_ROWS, 1)).astype(np.float32)}
    signature = Signature(
        (TensorSpec("x", "FP32", (-1, features)),), (TensorSpec("y", "FP32", (-1, 1)),), True
    )
    names = {"x": [f"f{number}" for number in range(features)]}
    with Builder(plan_frames(signature, inputs, outputs, names)) as builder:
        builder.add(REFERENCE_ROWS, inputs, outputs)
        profile = builder.build()
    found = places(profile)
    return Reference.of(profile, found), found


def _window(rng: np.random.Generator, found: Places) -> Window:
    counts = np.zeros(found.words, np.int64)
    counts[ROWS] = LIVE_ROWS
    for first, bins in zip(found.specials, found.bins, strict=True):
        shares = np.full(bins, 1 / bins)
        counts[first + SPECIALS : first + SPECIALS + bins] = rng.multinomial(LIVE_ROWS, shares)
    moments = no_moments(found.columns)
    moments[:, N] = LIVE_ROWS
    moments[:, SUM] = rng.normal(scale=50, size=found.columns)
    moments[:, SUM_SQ] = LIVE_ROWS
    moments[:, MIN], moments[:, MAX] = -3.0, 3.0
    return counts, moments
