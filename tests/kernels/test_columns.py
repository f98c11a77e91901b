"""Counting batches into a slot: every value in its bin or its counter, whatever it is."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.columns import COLUMN_HEAD, count_rows
from kernels.layouts import Numeric, compile_layout

SEED = 20250301


def normal(rng, rows, columns):
    return rng.normal(size=(rows, columns))


def log_normal(rng, rows, columns):
    return np.exp(2 * rng.normal(size=(rows, columns)))


def heavy_tailed(rng, rows, columns):
    return rng.standard_cauchy(size=(rows, columns))


def clustered(rng, rows, columns):
    return rng.choice([0, 1e3, 1e6], (rows, columns)) + rng.normal(size=(rows, columns)) / 100


def counting(rng, rows, columns):
    return rng.poisson(1000, size=(rows, columns))


def equal_mass(reference, bins=60):
    """Plans of a reference's columns, as a profile would make them."""
    shares = np.arange(1, bins) / bins
    return [
        Numeric(
            np.unique(np.quantile(column, shares, method="lower")),
            column.min(),
            column.max(),
            float(column.mean()),
        )
        for column in reference.T
    ]


@pytest.mark.parametrize("draw", [normal, log_normal, heavy_tailed, clustered, counting])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_bins_are_those_that_a_search_finds(draw, dtype):
    rng = np.random.default_rng(SEED)
    plans = equal_mass(draw(rng, 5000, 5).astype(dtype))
    layout = compile_layout(plans, dtype)
    rows = draw(rng, 3000, 5).astype(dtype)
    block = np.zeros(layout.block_words, np.int64)
    count_rows(rows, block, layout.words, 0, 0)
    for column, plan in enumerate(plans):
        at = layout.offsets[column] + COLUMN_HEAD
        wanted = np.searchsorted(plan.edges, rows[:, column], side="left")
        found = block[at : at + layout.bins[column]]
        assert (found == np.bincount(wanted, minlength=len(found))).all()
