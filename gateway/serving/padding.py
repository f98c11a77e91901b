"""Pads a variable trailing dimension up to the next bucket, and cuts the padding off again.

Knows shapes. Knows nothing of queues or models. What is served must not change with who else rides,
so a rider is padded to its bucket even when it rides alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import prod

import numpy as np

from gateway.config import Padding
from gateway.errors import ModelRefused
from gateway.serving.riders import Rider
from gateway.tensors import DTYPES, Array, Signature, TensorSpec

Key = tuple[tuple[int, ...], ...]


class Padder:
    """Padding of one deployment. A length past the largest bucket is served unpadded.

    Raises:
        ModelRefused: the settings name an input that is not there or does not vary, or a value that
        its
            datatype cannot hold.
    """

    def __init__(self, signature: Signature, padding: Padding) -> None:
        self._buckets = padding.buckets
        self._axes: dict[int, int] = {}
        self._fills: dict[int, object] = {}
        self._outputs = [
            tuple(axis for axis, size in enumerate(spec.shape) if axis and size == -1)
            for spec in signature.outputs
        ]
        names = {spec.name for spec in signature.inputs}
        for name in padding.inputs:
            if name not in names:
                raise ModelRefused(f"padding: input '{name}': the model has {sorted(names)}")
        for index, spec in enumerate(signature.inputs):
            axis = _axis(spec, padding)
            if axis is not None:
                self._axes[index] = axis
                self._fills[index] = _fill(spec, padding.value)
        if not self._axes:
            raise ModelRefused(f"padding: no input varies along axis {padding.axis}")

    def key(self, inputs: Sequence[Array]) -> Key:
        """Trailing shapes that these inputs will have: riders with equal keys may share a run."""
        return tuple([self._padded(index, array.shape)[1:] for index, array in enumerate(inputs)])

    def join(self, riders: Sequence[Rider], rows: int) -> tuple[list[Array], int, int]:
        """One tensor per input, the riders' rows in order.

        Returns:
            The tensors, how many values the padded ones hold, and how many of those are padding.
        """
        tensors = []
        cells = padded = 0
        for index, first in enumerate(riders[0].inputs):
            arrays = [rider.inputs[index] for rider in riders]
            shape = (rows, *self._padded(index, first.shape)[1:])
            if index not in self._axes:
                tensors.append(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))
                continue
            size = prod(shape)
            cells += size
            waste = size - sum(array.size for array in arrays)
            padded += waste
            if waste:
                tensors.append(self._fill_in(index, shape, arrays))
            else:
                tensors.append(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))
        return tensors, cells, padded

    def trim(
        self, riders: Sequence[Rider], outputs: Sequence[Array | None]
    ) -> list[list[Array | None]]:
        """Each rider's own rows of every output, without what padding added.

        An output's axis is cut where the model declares it variable and it has the padded length.
        Where two inputs of different lengths were padded to the same bucket, the longer one counts.
        """
        trimmed: list[list[Array | None]] = []
        start = 0
        for rider in riders:
            stop = start + rider.rows
            lengths = self._lengths(rider)
            trimmed.append(
                [
                    None if output is None else _cut(output[start:stop], axes, lengths)
                    for output, axes in zip(outputs, self._outputs, strict=True)
                ]
            )
            start = stop
        return trimmed

    def _padded(self, index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        axis = self._axes.get(index)
        if axis is None:
            return shape
        place = bisect_left(self._buckets, shape[axis])
        if place == len(self._buckets):
            return shape
        return (*shape[:axis], self._buckets[place], *shape[axis + 1 :])

    def _fill_in(self, index: int, shape: tuple[int, ...], arrays: Sequence[Array]) -> Array:
        tensor: Array = np.full(shape, self._fills[index], arrays[0].dtype)
        before: tuple[slice, ...] = (slice(None),) * (self._axes[index] - 1)
        start = 0
        for array in arrays:
            stop = start + len(array)
            tensor[(slice(start, stop), *before, slice(array.shape[self._axes[index]]))] = array
            start = stop
        return tensor

    def _lengths(self, rider: Rider) -> dict[int, int]:
        lengths: dict[int, int] = {}
        for index, axis in self._axes.items():
            shape = rider.inputs[index].shape
            padded = self._padded(index, shape)[axis]
            lengths[padded] = max(lengths.get(padded, 0), shape[axis])
        return lengths


def _axis(spec: TensorSpec, padding: Padding) -> int | None:
    named = spec.name in padding.inputs
    if padding.inputs and not named:
        return None
    axis = padding.axis if padding.axis >= 0 else len(spec.shape) + padding.axis
    if 0 < axis < len(spec.shape) and spec.shape[axis] == -1:
        return axis
    if named:
        raise ModelRefused(
            f"padding: input '{spec.name}': wanted a variable dimension at axis {padding.axis}"
            f" behind the rows, got shape {list(spec.shape)}"
        )
    return None


def _fill(spec: TensorSpec, value: float) -> object:
    if spec.datatype == "BYTES":
        return b""
    if spec.datatype == "BF16":
        # The upper half of a float32 is its bfloat16, cut rather than rounded.
        return np.uint16(np.array(value, np.float32).view(np.uint32) >> np.uint32(16))
    dtype = DTYPES[spec.datatype]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not (value.is_integer() and limits.min <= value <= limits.max):
            raise ModelRefused(f"padding: input '{spec.name}': {spec.datatype} cannot hold {value}")
        return int(value)
    return dtype.type(value)


def _cut(rows: Array, axes: tuple[int, ...], lengths: dict[int, int]) -> Array:
    cut: list[slice] = [slice(None)] * rows.ndim
    for axis in axes:
        cut[axis] = slice(lengths.get(rows.shape[axis], rows.shape[axis]))
    return np.ascontiguousarray(rows[tuple(cut)])
