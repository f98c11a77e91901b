"""Captured rows, made by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.capture import files
from gateway.capture.frames import FULL, Frame, decode, encode
from gateway.capture.schema import Schema, schema_of
from gateway.capture.table import table
from gateway.monitor.scores import reading
from gateway.profiles.plans import column_names
from gateway.tensors import Signature, TensorSpec

NOON_MS = 1_800_000_000_000
STREAM = "host-3-0-1"
SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("p", "FP64", (-1, 2)),), batched=True
)
SCORES = {"kind": "auto", "output": None, "positive": 1}


def hashed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def schema(**hidden: Any) -> Schema:
    return schema_of("m", 1, SIGNATURE, {"x": ["age", "pay"]}, column_names, SCORES, **hidden)


def frame(
    sequences: Sequence[int],
    scores: Sequence[float],
    at_ms: int = NOON_MS,
    subjects: Sequence[str] | None = None,
    value: float = 1.0,
) -> Frame:
    """A request of a row each."""
    rows = len(sequences)
    arrays = [
        np.stack((np.full(rows, value), np.arange(rows)), axis=1).astype(np.float32),
        np.array([[1 - score, score] for score in scores]),
    ]
    whose = None if subjects is None else [hashed(one) for one in subjects]
    counts = [1] * rows
    made = encode(arrays, sequences, counts, at_ms, 1, FULL, subjects=whose)
    return decode(made, ["FP32", "FP64"])


def write(folder: Path, *frames: Frame, stream: str = STREAM, **hidden: Any) -> Path:
    """A file of them."""
    answers = reading(SIGNATURE, "auto", None, 1).answers
    made = table(schema(**hidden), [(stream, one) for one in frames], hashed, 0, answers)
    times = [one.at_ms for one in frames]
    return files.write(folder, "m", 1, min(times), max(times), made)
