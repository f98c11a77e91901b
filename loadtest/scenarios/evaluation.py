"""What it costs control to evaluate windows, in this process, without a server.

Knows profiles, windows of counts and figures. Knows nothing of load or servers.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from gateway.drift.figures import figures
from gateway.drift.kinds import Effects
from gateway.drift.panes import MAX, MIN, SUM, SUM_SQ, N, no_moments
from gateway.drift.reference import SPECIALS, Reference
from gateway.profiles.builder import Builder
from gateway.profiles.live import ROWS, Places, places
from gateway.profiles.plans import plan_frames
from gateway.tensors import Signature, TensorSpec
from kernels import _jit
from loadtest.bench import Bench
from loadtest.turns import Measure, Result

FEATURES, WINDOWS, REFERENCE_ROWS, LIVE_ROWS = 1000, 4, 5000, 3000
SEED = 20250304

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


def _reference(rng: np.random.Generator) -> tuple[Reference, Places]:
    inputs = {"x": rng.normal(size=(REFERENCE_ROWS, FEATURES)).astype(np.float32)}
    outputs = {"y": rng.normal(size=(REFERENCE_ROWS, 1)).astype(np.float32)}
    signature = Signature(
        (TensorSpec("x", "FP32", (-1, FEATURES)),), (TensorSpec("y", "FP32", (-1, 1)),), True
    )
    names = {"x": [f"f{number}" for number in range(FEATURES)]}
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
