"""What a model said of each row, as one number: what an outcome will be held against.

Knows a model's outputs as arrays. Knows nothing of ledgers, or of how a score is judged.

    binary       the probability of the positive class
    multiclass   the class with the highest score, and that score
    value        a number that is predicted
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.tensors import DTYPES, Array, Signature, TensorSpec
from kernels.performance import BINARY, THRESHOLD, VALUE
from kernels.ring import BEST

KINDS: Final = ("auto", "binary", "multiclass", "value")
_FLOATS: Final = ("FP16", "FP32", "FP64")


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a model's scores are found.

    Attributes:
        kind: one of KINDS but auto.
        index: of the output.
        column: of its columns; BEST: the one with the largest value.
        told: BINARY or VALUE; the class, where it is the best.
    """

    kind: str
    index: int
    column: int
    told: int

    def matrix(self, output: Array) -> Array:
        """(rows, columns) of the output as the model gave it, float32 or float64."""
        if output.ndim != 2:
            output = output.reshape(len(output), -1)
        if output.dtype != np.float32 and output.dtype != np.float64:
            output = output.astype(np.float64)
        return output if output.flags.c_contiguous else np.ascontiguousarray(output)

    @property
    def classifies(self) -> bool:
        """Whether scores are probabilities of what was predicted, or of the positive class."""
        return self.column == BEST or self.told == BINARY

    def answers(self, output: Array, threshold: float = THRESHOLD) -> tuple[Array, Array]:
        """What was predicted, and its score, of an output as the model gave it.

        Args:
            output: of a row or more.
            threshold: above which the positive class is predicted.

        Returns:
            (rows,) of each.
        """
        matrix = self.matrix(output)
        if self.column == BEST:
            return matrix.argmax(axis=1), matrix.max(axis=1)
        scores = matrix[:, self.column]
        return (scores > threshold if self.classifies else scores), scores


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
        return Reading(kind, index, positive, BINARY)
    if kind == "multiclass" and width > 1:
        return Reading(kind, index, BEST, 0)
    if kind in ("binary", "value") and width == 1:
        return Reading(kind, index, 0, BINARY if kind == "binary" else VALUE)
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
