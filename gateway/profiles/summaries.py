"""What is watched of tensors that are not tables.

Knows arrays, and what each summary is called. Knows nothing of bins. Each kind turns (rows, ...)
into (rows, columns):

    image          of each channel the mean, deviation, range, and the share of saturated elements,
                   which lie at or outside `low` and `high`
    vector         norm, mean, deviation, and projections whose signs are fixed: a shift in any
                   direction shows in some of them
    probabilities  entropy (nats), the highest score, the class that has it, and its lead
    length         bytes of each string
    texts          strings of a row, and their bytes together
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gateway.profiles.values import IMAGE, LENGTH, PROBABILITIES, TEXTS, VECTOR, Summary
from gateway.tensors import Array, TensorSpec
from kernels import summaries as kernel

CATEGORIES = ("top_class",)
"""Columns of summaries whose numbers are names."""

CHANNELS = (1, 3, 4)
# Between which values images lie, as those who train on them scale them.
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
# What float16 leaves of a sum of a thousand classes.
_SUM_TOLERANCE = 0.01
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


def type_of(summary: Summary) -> str:
    """Of the columns that it gives."""
    return "int64" if summary.kind in (LENGTH, TEXTS) else "float32"


def names(summary: Summary) -> tuple[str, ...]:
    """Of the columns that it gives, but for `length`, which has one for each of the tensor's."""
    return _NAMES[summary.kind](summary.parameters)


def columns(summary: Summary, datatype: str, array: Array) -> Array:
    """What a summary makes of a tensor's rows.

    Args:
        summary: which one.
        datatype: of the tensor.
        array: (rows, ...), as the tensor holds it.

    Returns:
        (rows, columns), C-contiguous, of `type_of(summary)`.
    """
    if summary.kind in (LENGTH, TEXTS):
        return _COLUMNS[summary.kind](array, summary.parameters)
    if datatype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if array.dtype != np.float64:  # nothing is made smaller, and asking NumPy takes a microsecond
        return _COLUMNS[summary.kind](array, summary.parameters)
    with np.errstate(over="ignore"):
        return _COLUMNS[summary.kind](array, summary.parameters)


def image_of(spec: TensorSpec, array: Array) -> Summary | None:
    """The summary of a tensor that looks like images; None where it does not.

    Three axes, or two, besides the rows'; of three, the first or else the last is colour.
    """
    if spec.datatype == "BYTES" or array.ndim != 4 or 0 in array.shape:
        return None
    axis = next((axis for axis in (1, 3) if array.shape[axis] in CHANNELS), None)
    if axis is None or min(np.delete(array.shape[1:], axis - 1)) < 4:
        return None
    low, high = _range(spec.datatype, array)
    channels = int(array.shape[axis])
    return Summary(
        IMAGE, {"channels_last": axis == 3, "channels": channels, "low": low, "high": high}
    )


def vector() -> Summary:
    """The summary of an embedding, or of any numbers that are many."""
    return Summary(VECTOR, {"projections": kernel.PROJECTIONS, "seed": kernel.SIGN_SEED})


def are_probabilities(spec: TensorSpec, array: Array) -> bool:
    """Whether each row's numbers are shares of 1."""
    if spec.datatype not in _FLOATS or array.ndim != 2 or array.shape[1] < 2 or not len(array):
        return False
    if spec.datatype == "BF16":
        return False
    sums = array.sum(axis=1, dtype=np.float64)
    inside = (array >= 0).all() and (array <= 1).all()
    return bool(inside and (np.abs(sums - 1) <= _SUM_TOLERANCE).all())


def _range(datatype: str, array: Array) -> tuple[float, float]:
    if datatype not in _FLOATS:
        if datatype == "BOOL":
            return 0.0, 1.0
        return float(np.iinfo(array.dtype).min), float(np.iinfo(array.dtype).max)
    finite = array[np.isfinite(array)] if datatype != "BF16" else np.empty(0)
    if not finite.size:
        return _RANGES[0]
    least, most = float(finite.min()), float(finite.max())
    for low, high in _RANGES:
        if low <= least and most <= high:
            return low, high
    return least, most


# ---- one function a kind -------------------------------------------------------------------------


def _image(array: Array, parameters: Any) -> Array:
    pixels = array if array.dtype == np.uint8 else array.astype(np.float32, copy=False)
    return kernel.image_summary(
        pixels, parameters["channels_last"], parameters["low"], parameters["high"]
    )


def _vector(array: Array, _: Any) -> Array:
    flat = array.reshape(len(array), -1).astype(np.float32, copy=False)
    # A row without numbers is taken for one zero.
    return kernel.embedding_summary(flat if flat.shape[1] else np.zeros((len(flat), 1), np.float32))


def _probabilities(array: Array, _: Any) -> Array:
    return kernel.probability_summary(array.astype(np.float32, copy=False))


def _length(array: Array, _: Any) -> Array:
    flat = array.reshape(len(array), -1)
    lengths = np.fromiter(map(len, flat.ravel()), np.int64, flat.size)
    return lengths.reshape(flat.shape)


def _texts(array: Array, _: Any) -> Array:
    flat = array.reshape(len(array), -1)
    together = [sum(map(len, row)) for row in flat]
    return np.stack([np.full(len(array), flat.shape[1]), np.array(together, np.int64)], axis=1)


def _image_names(parameters: Any) -> tuple[str, ...]:
    channels = range(parameters["channels"])
    return tuple(f"{name}[{channel}]" for channel in channels for name in kernel.IMAGE_COLUMNS)


_COLUMNS: dict[str, Callable[[Array, Any], Array]] = {
    IMAGE: _image,
    VECTOR: _vector,
    PROBABILITIES: _probabilities,
    LENGTH: _length,
    TEXTS: _texts,
}
_NAMES: dict[str, Callable[[Any], tuple[str, ...]]] = {
    IMAGE: _image_names,
    VECTOR: lambda _: kernel.EMBEDDING_COLUMNS,
    PROBABILITIES: lambda _: kernel.PROBABILITY_COLUMNS,
    LENGTH: lambda _: ("bytes",),
    TEXTS: lambda _: ("strings", "bytes"),
}
