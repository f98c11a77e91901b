"""The classification extension: the highest values of an output, by place and label.

Knows numbers and labels. Knows nothing of requests or JSON.
"""

from __future__ import annotations

from math import prod

import numpy as np

from gateway.tensors import Array, TensorSpec


def classify(values: Array, spec: TensorSpec, classes: int, batched: bool) -> Array:
    """Names the highest values.

    Args:
        values: numbers; BF16 as bit patterns.
        spec: the output they belong to; its labels are used where they reach.
        classes: how many to name, at least 1.
        batched: the first axis counts rows, each ranked by itself.

    Returns:
        BYTES elements `value:index[:label]`, highest first, equal values in their order, NaN last:
        shape [rows, k] where batched, else [k], with k = min(classes, values ranked together).
    """
    if spec.datatype == "BF16":
        # bfloat16 is the upper half of a float32.
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    rows = len(values) if batched else 1
    width = prod(values.shape[1:]) if batched else values.size
    ranked = values.reshape(rows, width)
    kept = min(classes, width)
    names = np.empty((rows, kept), object)
    for row in range(rows):
        order = _descending(ranked[row])[:kept].tolist()
        for rank, (index, value) in enumerate(zip(order, ranked[row][order].tolist(), strict=True)):
            names[row, rank] = _named(value, index, spec.labels)
    return names if batched else names[0]


def _descending(values: Array) -> Array:
    # A stable sort of the reversed values, read backwards, keeps equal values in their order
    # without negating them, which unsigned and smallest integers would not survive.
    order: Array = (len(values) - 1 - np.argsort(values[::-1], kind="stable"))[::-1]
    if values.dtype.kind != "f":
        return order
    nan = np.isnan(values[order])
    return np.concatenate((order[~nan], order[nan]))


def _named(value: float, index: int, labels: tuple[str, ...]) -> bytes:
    number = f"{value:d}" if isinstance(value, int) else f"{value:f}"
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{number}:{index}{label}".encode()
