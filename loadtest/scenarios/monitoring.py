"""What counting every value costs.

Knows the contestants and the target. Knows nothing of how load or servers work.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from gateway.models import onnx_file
from gateway.models.signature import signature
from gateway.profiles import beside
from gateway.profiles.builder import Builder
from gateway.profiles.plans import plan_frames
from loadtest import bodies, toggled
from loadtest.bench import INFER, Bench
from loadtest.turns import Result

REFERENCE_ROWS = 5000


def monitoring_on_and_off(bench: Bench) -> list[Result]:
    """One row JSON, every value counted and none, by turns of half a second in one live worker."""
    model, pool, target = bench.model("gbt"), bench.gbt_pool("json"), INFER.format("gbt")
    home = bench.folder / f"home-{time.monotonic_ns()}"
    profile = bench.folder / "gbt.profile.json"
    _profile(model, profile)
    args = [str(model), str(profile), str(home)]
    ours = bench.program("toggled_sketches", args, target, pool)
    turns, faults = toggled.loaded(bench, home, ours.port, target, pool)
    if not turns or not all(one["blocks"] for one in turns):
        raise RuntimeError("the profile was not taken up: nothing was counted")
    title = "Every value of 30 features counted against none, toggled inside one worker"
    return [
        toggled.result(
            "monitoring-on-and-off", title, "share of the requests/s without", 0.97, turns, faults
        )
    ]


def _profile(model: Path, path: Path) -> None:
    rows = bodies.demo_rows(REFERENCE_ROWS, np.random.default_rng(11))
    found = signature(onnx_file.inspect(model.parent, model.name), {}, max_batch_size=1)
    inputs = {found.inputs[0].name: rows}
    scores = np.random.default_rng(12).beta(0.5, 0.5, REFERENCE_ROWS).astype(np.float32)
    outputs = {"probabilities": np.stack([1 - scores, scores], axis=1)}
    plans = plan_frames(found, inputs, outputs, {})
    with Builder(plans) as builder:
        builder.add(len(rows), inputs, outputs)
        beside.save(builder.build(), path)
