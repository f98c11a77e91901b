"""Turns what is not tabular into few columns of numbers, each row into one row.

Knows images, embeddings and probabilities as arrays. Knows nothing of who counts the columns.

Each value is read once. Sums are kept in LANES parts, so that they neither wait for one another
nor depend on how rows are batched; they are float64, and results are rounded to float32. A NaN
among a row's values makes its figures NaN, which are counted as missing; among a channel's, an
infinity does so, too.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels._jit import kernel

Array = np.ndarray[Any, np.dtype[Any]]
Reals = np.ndarray[Any, np.dtype[np.float64]]
Columns = np.ndarray[Any, np.dtype[np.float32]]

IMAGE_COLUMNS: Final = ("mean", "deviation", "range", "saturated")  # of each channel
PROJECTIONS: Final = 8
EMBEDDING_COLUMNS: Final = (
    *("norm", "mean", "deviation"),
    *(f"projection_{number}" for number in range(PROJECTIONS)),
)
PROBABILITY_COLUMNS: Final = ("entropy", "top_score", "top_class", "margin")

LANES: Final = 8
_SUMS: Final = 5  # of value - pivot and of its square, least and greatest, saturated ones
_STRIP: Final = 1024  # pixels of interleaved channels that are taken at a time, from the cache

SIGN_SEED: Final = 0x5EED  # changing it makes other projections, which no old profile fits
_WORD: Final = 64  # signs that one hash gives
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def image_summary(
    images: Array, channels_last: bool, low: float | None = None, high: float | None = None
) -> Columns:
    """Mean, deviation, range and saturated share of each channel of each image.

    Args:
        images: (N, C, H, W), or (N, H, W, C) with `channels_last`; uint8 or float32.
        channels_last: how they are laid out.
        low: values of at most this are saturated; none given: uint8's least, or no float32.
        high: values of at least this are saturated; the same.

    Returns:
        (N, C * 4), a channel's IMAGE_COLUMNS beside each other.

    Raises:
        ValueError: another shape or type, or images without a pixel.
    """
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32) or 0 in images.shape[1:]:
        raise ValueError(
            "images: expected four axes, none of them empty, of uint8 or float32,"
            f" got {images.dtype} {images.shape}"
        )
    ends = (0.0, 255.0) if images.dtype == np.uint8 else (-np.inf, np.inf)
    limits = np.array([ends[0] if low is None else low, ends[1] if high is None else high])
    corners = images[:, 0, 0, :] if channels_last else images[:, :, 0, 0]
    pivots = np.ascontiguousarray(corners, np.float64)
    sums = np.zeros((*pivots.shape, _SUMS, LANES))
    sums[:, :, 2], sums[:, :, 3] = np.inf, -np.inf
    flat = np.ascontiguousarray(images, np.float32).reshape(
        len(images), math.prod(images.shape[1:])
    )
    _sum_images(flat, channels_last, pivots, limits, sums)
    return _image_columns(sums, pivots, flat.shape[1] // pivots.shape[1])


def _image_columns(sums: Reals, pivots: Reals, pixels: int) -> Columns:
    """The figures of images from the sums of their channels."""
    with np.errstate(invalid="ignore", over="ignore"):
        mean = sums[:, :, 0].sum(-1) / pixels
        spread = sums[:, :, 1].sum(-1) / pixels - mean * mean
        span = sums[:, :, 3].max(-1) - sums[:, :, 2].min(-1)
        saturated = sums[:, :, 4].sum(-1) / pixels
        deviation = np.sqrt(np.maximum(spread, 0.0))
        out = np.stack([pivots + mean, deviation, span, saturated], -1).astype(np.float32)
    out[~np.isfinite(mean)] = np.nan
    return out.reshape(len(out), out.shape[1] * len(IMAGE_COLUMNS))


def embedding_summary(rows: Array) -> Columns:
    """Norm, mean, deviation and random projections of each row.

    Projection k is the sum of the row's values, each times +-1 / sqrt(D). The signs are those of
    a hash of the value's place, times a row of an 8 x 8 Hadamard matrix that repeats along the row:
    each projection has the signs of fair coins, and the eight are orthogonal to one another.

    Args:
        rows: (N, D) float32, D > 0.

    Returns:
        (N, len(EMBEDDING_COLUMNS)).

    Raises:
        ValueError: another shape or type.

    Source: D. Achlioptas, Database-friendly random projections (2003), for signs as projections;
    G. Steele, D. Lea, C. Flood, Fast Splittable Pseudorandom Number Generators (2014), for the
    hash.
    """
    _check("embeddings", rows, 1)
    out = np.empty((len(rows), len(EMBEDDING_COLUMNS)), np.float32)
    with np.errstate(over="ignore"):  # hashes wrap where nothing is compiled
        _summarize_embeddings(np.ascontiguousarray(rows), out)
    return out


def probability_summary(scores: Array) -> Columns:
    """Entropy, top score, top class and margin of each row of class probabilities.

    Args:
        scores: (N, K) float32, K > 1, taken as they are: nothing makes them add up to 1.

    Returns:
        (N, len(PROBABILITY_COLUMNS)). Entropy is in nats, NaN where a score is below zero; the
        margin is the top score less the next; of equal scores the first class is the top.

    Raises:
        ValueError: another shape or type.
    """
    _check("probabilities", scores, 2)
    out = np.empty((len(scores), len(PROBABILITY_COLUMNS)), np.float32)
    summarize_probabilities(np.ascontiguousarray(scores), 0, len(scores), out)
    return out


def _check(what: str, rows: Array, least: int) -> None:
    if rows.ndim != 2 or rows.dtype != np.float32 or rows.shape[1] < least:
        raise ValueError(
            f"{what}: expected two axes, the second of at least {least}, of float32,"
            f" got {rows.dtype} {rows.shape}"
        )


@kernel("void(float32[::1], int64, int64, int64, float64, float64[::1], float64[:, ::1])")
def _add_pixels(
    image: Array, start: int, step: int, count: int, pivot: float, limits: Reals, sums: Reals
) -> None:
    """Adds values, `step` apart, to what _SUMS names; off the pivot, squares keep their digits."""
    low, high = limits[0], limits[1]
    for number in range(count):
        x, lane = np.float64(image[start + number * step]), number & (LANES - 1)
        off = x - pivot
        sums[0, lane] += off
        sums[1, lane] += off * off
        sums[2, lane] = min(sums[2, lane], x)
        sums[3, lane] = max(sums[3, lane], x)
        sums[4, lane] += np.float64(x <= low or x >= high)


@kernel("void(float32[:, ::1], boolean, float64[:, ::1], float64[::1], float64[:, :, :, ::1])")
def _sum_images(
    images: Array, channels_last: bool, pivots: Reals, limits: Reals, sums: Reals
) -> None:
    channels = pivots.shape[1]
    pixels = images.shape[1] // channels
    for number in range(images.shape[0]):
        for strip in range(0, pixels, _STRIP):
            count = min(_STRIP, pixels - strip)
            for channel in range(channels):
                start = strip * channels + channel if channels_last else channel * pixels + strip
                step = channels if channels_last else 1
                pivot = pivots[number, channel]
                _add_pixels(
                    images[number], start, step, count, pivot, limits, sums[number, channel]
                )


@kernel("uint64(uint64)")
def _signs(word: Any) -> Any:
    """64 random bits, the same ones for the same number."""
    mixed = np.uint64(SIGN_SEED) + (word + np.uint64(1)) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))


@kernel("void(float32[:, ::1], float32[:, ::1])")
def _summarize_embeddings(rows: Array, out: Columns) -> None:
    width = rows.shape[1]
    lanes = np.empty((3, LANES))  # sums, sums of squares, sums of signed values
    for row in range(rows.shape[0]):
        lanes[:] = 0.0
        for start in range(0, width, _WORD):
            bits = _signs(np.uint64(start // _WORD))
            for at in range(start, min(start + _WORD, width)):
                lane = at & (LANES - 1)
                x = np.float64(rows[row, at])
                lanes[0, lane] += x
                lanes[1, lane] += x * x
                lanes[2, lane] += x * (1.0 - 2.0 * np.float64(bits & np.uint64(1)))
                bits >>= np.uint64(1)
        mean, squares = lanes[0].sum() / width, lanes[1].sum()
        spread = squares / width - mean * mean
        out[row, 0] = np.sqrt(squares)
        out[row, 1] = mean
        out[row, 2] = np.sqrt(max(spread, 0.0)) if spread == spread else np.nan
        for number in range(PROJECTIONS):
            total = 0.0
            for lane in range(LANES):
                # The sign in a Hadamard matrix: whether the places' common bits are odd in number.
                common = number & lane
                odd = (common ^ (common >> 1) ^ (common >> 2)) & 1
                total += lanes[2, lane] * (1.0 - 2.0 * odd)
            out[row, 3 + number] = total / np.sqrt(width)


@kernel("void(float32[:, ::1], int64, int64, float32[:, ::1])")
def summarize_probabilities(scores: Array, start: int, stop: int, out: Columns) -> None:
    """Fills the first rows of `out` as `probability_summary` has them, of rows [start, stop)."""
    for row in range(stop - start):
        entropy, top, second, best = 0.0, -np.inf, -np.inf, 0
        missing = False
        for at in range(scores.shape[1]):
            p = np.float64(scores[start + row, at])
            if p != 0.0:
                entropy -= p * np.log(p)  # NaN for what is NaN or below zero
            missing = missing or p != p
            if p > top:
                top, second, best = p, top, at
            elif p > second:
                second = p
        out[row, 0] = entropy
        out[row, 1], out[row, 2], out[row, 3] = top, best, top - second
        if missing:
            out[row] = np.nan
