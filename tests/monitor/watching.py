"""A model of two numbers, a word and a class, its profile, and rows of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gateway.profiles.builder import Builder
from gateway.profiles.plans import plan_frames
from gateway.profiles.values import Profile
from gateway.tensors import Array, Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("job", "BYTES", (-1, 1))),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("score", "FP32", (-1, 1))),
    True,
)
JOBS = np.array([b"clerk", b"smith", b"baker"], object)


def rows(rng: np.random.Generator, count: int, shift: float = 0.0) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of `count` rows; `shift` moves the first number."""
    x = rng.normal(size=(count, 2)).astype(np.float32)
    x[:, 0] += np.float32(shift)
    jobs: Array = rng.choice(JOBS, (count, 1))
    score = (1 / (1 + np.exp(-x.sum(axis=1, keepdims=True)))).astype(np.float32)
    return [x, jobs], [(score[:, 0] > 0.5).astype(np.int64), score]


def profile_of(inputs: list[Any], outputs: list[Any]) -> Profile:
    """The profile of these rows."""
    named = dict(zip(("x", "job"), inputs, strict=True))
    answers = dict(zip(("label", "score"), outputs, strict=True))
    plans = plan_frames(SIGNATURE, named, answers, {"x": ["age", "income"], "job": ["job"]})
    with Builder(plans) as builder:
        builder.add(len(inputs[0]), named, answers)
        return builder.build()
