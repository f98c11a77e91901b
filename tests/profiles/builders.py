"""Profiles of a few columns, made by hand."""

from __future__ import annotations

import numpy as np

from gateway.profiles.values import (
    CATEGORY,
    FEATURE,
    NUMERIC,
    OUTPUT,
    STRING,
    Calibration,
    Column,
    Frame,
    Moments,
    Profile,
    Specials,
    Summary,
)


def numeric(name="a", edges=(0.1, 0.5), counts=(1, 2, 3), type_="float32", **specials) -> Column:
    moments = Moments(np.dtype(type_).type(0).item(), np.dtype(type_).type(1).item(), 0.4, 0.25)
    return Column(
        name,
        NUMERIC,
        type_,
        np.array(edges, type_),
        (),
        0,
        np.array(counts, np.int64),
        Specials(**specials),
        moments,
    )


def words(name="job", categories=("clerk", "smith"), counts=(4, 2), buckets=0) -> Column:
    return Column(
        name,
        CATEGORY,
        STRING,
        np.empty(0, np.int64),
        () if buckets else tuple(categories),
        buckets,
        np.array(counts, np.int64),
    )


def classes(name="label", categories=(0, 1), counts=(2, 4)) -> Column:
    return Column(
        name,
        CATEGORY,
        "int64",
        np.empty(0, np.int64),
        tuple(categories),
        0,
        np.array(counts, np.int64),
    )


CALIBRATION = Calibration(
    {"kind": "binary", "output": None, "positive": 1}, 200, 0.1, 0.02, 960, (31, 960), (0.01, 0.9)
)


def small(calibration: Calibration | None = None) -> Profile:
    """Six rows of two numbers and a word, and what a model said of them."""
    return Profile(
        6,
        (
            Frame("x", "x", FEATURE, "FP32", (-1, 2), (numeric("a"), numeric("b", nan=0))),
            Frame("job", "job", FEATURE, "BYTES", (-1, 1), (words(),)),
            Frame(
                "job.length",
                "job",
                FEATURE,
                "BYTES",
                (-1, 1),
                (numeric("job.length", (5,), (6, 0), "int64"),),
                Summary("length"),
            ),
            Frame("label", "label", OUTPUT, "INT64", (-1,), (classes(),)),
        ),
        sampled_rows=6,
        calibration=calibration,
    )
