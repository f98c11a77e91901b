"""A row counts once, whatever of it is no finite number."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.finite import rows_not_finite


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [0, 1, 3, 17, 256])
def test_it_is_what_numpy_finds(dtype, columns):
    rng = np.random.default_rng(columns)
    table = rng.choice(
        [0.0, -1.5, 1e38, np.nan, np.inf, -np.inf], (200, columns), p=[0.3] * 3 + [0.1 / 3] * 3
    )
    table = table.astype(dtype)
    assert rows_not_finite(table) == (~np.isfinite(table)).any(axis=1).sum()


def test_the_largest_numbers_are_finite_still():
    table = np.array([[np.finfo(np.float32).max] * 64] * 5, np.float32)
    assert rows_not_finite(table) == 0
