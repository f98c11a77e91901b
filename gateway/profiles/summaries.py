"""What is watched of tensors that are not tables.

Knows arrays. Knows nothing of bins. Each kind turns (rows, ...) into (rows, columns):

    image          a channel: mean, deviation, min, max, and the share of saturated elements, which
                   lie at or outside `low` and `high`; `channels` of them on axis `axis`
    vector         norm, mean, deviation, and `projections` on directions that `seed` fixes: a
                   shift in any direction shows in some of them; `width` 0: lengths differ, and
                   there are no projections, but the length
    probabilities  entropy (nats), the highest score, the class that has it, and its lead
    length         bytes of each string
    texts          strings of a row, and their bytes together

A value that is not finite makes its row's figures NaN, which is counted as such.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from gateway.profiles.values import Summary
from gateway.tensors import Array, TensorSpec

IMAGE, VECTOR, PROBABILITIES = "image", "vector", "probabilities"
LENGTH, TEXTS = "length", "texts"
CATEGORIES = ("top_class",)
"""Columns of summaries whose numbers are names."""

PROJECTIONS = 8
_CHANNELS = (1, 3, 4)
_IMAGE_FIGURES = ("mean", "deviation", "min", "max", "saturated")
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
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        found = _COLUMNS[summary.kind](array, summary.parameters)
        return np.ascontiguousarray(found, np.float32)


def image_of(spec: TensorSpec, array: Array) -> Summary | None:
    """The summary of a tensor that looks like images; None where it does not.

    Three axes, or two, besides the rows'; of three, the first or else the last is colour.
    """
    if spec.datatype == "BYTES" or array.ndim != 4 or 0 in array.shape:
        return None
    axis = next((axis for axis in (1, 3) if array.shape[axis] in _CHANNELS), None)
    if axis is None or min(np.delete(array.shape[1:], axis - 1)) < 4:
        return None
    low, high = _range(spec.datatype, array)
    channels = int(array.shape[axis])
    return Summary(IMAGE, {"axis": axis, "channels": channels, "low": low, "high": high})


def vector_of(width: int, seed: int) -> Summary:
    """The summary of an embedding, or of any numbers that are many."""
    return Summary(
        VECTOR, {"width": width, "projections": PROJECTIONS if width else 0, "seed": seed}
    )


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
    planes = np.moveaxis(array, parameters["axis"], 1)
    rows, channels = planes.shape[:2]
    flat = planes.reshape(rows, channels, -1).astype(np.float32, copy=False)
    outside = (flat <= parameters["low"]) | (flat >= parameters["high"])
    figures = [
        flat.mean(axis=2, dtype=np.float64),
        flat.std(axis=2, dtype=np.float64),
        flat.min(axis=2),
        flat.max(axis=2),
        outside.mean(axis=2, dtype=np.float64),
    ]
    return np.stack(figures, axis=2).reshape(rows, -1)


def _vector(array: Array, parameters: Any) -> Array:
    flat = array.reshape(len(array), -1).astype(np.float64, copy=False)
    if not flat.shape[1]:
        flat = np.zeros((len(array), 1))
    figures = [
        np.sqrt((flat * flat).sum(axis=1)),
        flat.mean(axis=1),
        flat.std(axis=1),
    ]
    if not parameters["projections"]:
        figures.append(np.full(len(array), math.prod(array.shape[1:]), np.float64))
        return np.stack(figures, axis=1)
    ways = directions(parameters["width"], parameters["projections"], parameters["seed"])
    return np.concatenate([np.stack(figures, axis=1), flat @ ways], axis=1)


@lru_cache(maxsize=64)
def directions(width: int, count: int, seed: int) -> Array:
    """(width, count) float64: unit steps to either side of 0, each direction of length 1."""
    signs = np.random.default_rng(seed).integers(0, 2, (width, count)) * 2 - 1
    ways: Array = signs / math.sqrt(width)
    ways.flags.writeable = False
    return ways


def _probabilities(array: Array, _: Any) -> Array:
    scores = array.astype(np.float64, copy=False)
    logs = np.where(scores > 0, np.log(np.where(scores > 0, scores, 1)), 0)
    entropy = -(scores * logs).sum(axis=1)
    first_two = np.partition(scores, -2, axis=1)[:, -2:]
    top = first_two[:, 1]
    # A row with a NaN has no class.
    winner = np.where(np.isnan(scores).any(axis=1), np.nan, scores.argmax(axis=1))
    return np.stack([entropy, top, winner, top - first_two[:, 0]], axis=1)


def _length(array: Array, _: Any) -> Array:
    flat = array.reshape(len(array), -1)
    lengths = np.fromiter(map(len, flat.ravel()), np.int64, flat.size)
    return lengths.reshape(flat.shape)


def _texts(array: Array, _: Any) -> Array:
    flat = array.reshape(len(array), -1)
    together = [sum(map(len, row)) for row in flat]
    return np.stack([np.full(len(array), flat.shape[1]), np.array(together, np.int64)], axis=1)


def _image_names(parameters: Any) -> tuple[str, ...]:
    return tuple(
        f"{figure}[{channel}]"
        for channel in range(parameters["channels"])
        for figure in _IMAGE_FIGURES
    )


def _vector_names(parameters: Any) -> tuple[str, ...]:
    count = parameters["projections"]
    more = tuple(f"projection[{place}]" for place in range(count)) if count else ("length",)
    return ("norm", "mean", "deviation", *more)


_COLUMNS: dict[str, Callable[[Array, Any], Array]] = {
    IMAGE: _image,
    VECTOR: _vector,
    PROBABILITIES: _probabilities,
    LENGTH: _length,
    TEXTS: _texts,
}
_NAMES: dict[str, Callable[[Any], tuple[str, ...]]] = {
    IMAGE: _image_names,
    VECTOR: _vector_names,
    PROBABILITIES: lambda _: ("entropy", "top_score", "top_class", "margin"),
    LENGTH: lambda _: ("bytes",),
    TEXTS: lambda _: ("strings", "bytes"),
}
