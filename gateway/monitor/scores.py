"""What a model said of each row, as one number: what an outcome will be held against.

Knows a model's outputs as arrays. Knows nothing of ledgers, or of how a score is judged.

    binary       the probability of the positive class
    multiclass   the class with the highest score, and that score
    value        a number that is predicted
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.tensors import DTYPES, Array, Signature, TensorSpec
from kernels.performance import BINARY, VALUE

Scored = tuple[Array, Array]
"""(rows,) float64 scores, and (rows,) int64: the class that each is of, or BINARY or VALUE."""

KINDS: Final = ("auto", "binary", "multiclass", "value")
_FLOATS: Final = ("FP16", "FP32", "FP64")


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a model's scores are found.

    Attributes:
        kind: one of KINDS but auto.
        index: of the output.
        scores: makes them of that output, (rows, ...) as the model gave it.
    """

    kind: str
    index: int
    scores: Callable[[Array], Scored]


def reading(signature: Signature, kind: str, output: str | None, positive: int) -> Reading:
    """How a model's outputs are read.

    Args:
        signature: of the model.
        kind: one of KINDS. `auto`: by the width of the output, 1 a value, 2 binary, more classes.
        output: its name; None: the first with floating-point numbers.
        positive: of two columns the one that is the positive class'.

    Raises:
        ValueError: there is no such output, or it cannot be read so.
    """
    index, spec = _output(signature, output)
    width = _width(spec)
    if kind == "auto":
        kind = {1: "value", 2: "binary"}.get(width, "multiclass")
    if kind == "binary" and width == 2:
        return Reading(kind, index, _column(positive, BINARY))
    if kind == "multiclass" and width > 1:
        return Reading(kind, index, _best)
    if kind in ("binary", "value") and width == 1:
        return Reading(kind, index, _column(0, BINARY if kind == "binary" else VALUE))
    raise ValueError(f"output '{spec.name}': {list(spec.shape)} does not hold scores of {kind}")


def _output(signature: Signature, name: str | None) -> tuple[int, TensorSpec]:
    if not signature.batched:
        raise ValueError("its outputs do not count rows")
    for index, spec in enumerate(signature.outputs):
        if spec.name == name or (name is None and spec.datatype in _FLOATS):
            if DTYPES[spec.datatype].kind not in "fiu" or spec.datatype == "BF16":
                raise ValueError(f"output '{spec.name}': expected numbers, got {spec.datatype}")
            return index, spec
    raise ValueError(
        "no output holds floating-point numbers" if name is None else f"it has no output '{name}'"
    )


def _width(spec: TensorSpec) -> int:
    inner = spec.shape[1:]
    if -1 in inner:
        raise ValueError(f"output '{spec.name}': {list(spec.shape)} varies in more than its rows")
    return math.prod(inner)


def _column(place: int, told: int) -> Callable[[Array], Scored]:
    def scores(array: Array) -> Scored:
        column: Any = array.reshape(len(array), -1)[:, place]
        return column.astype(np.float64), np.full(len(array), told, np.int64)

    return scores


def _best(array: Array) -> Scored:
    flat = array.reshape(len(array), -1)
    tops: Array = flat.argmax(axis=1)
    best: Any = flat[np.arange(len(flat)), tops]
    return best.astype(np.float64), tops.astype(np.int64)
