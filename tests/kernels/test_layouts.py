"""Layouts: what they refuse, and how few steps they leave to the kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import columns, layouts
from kernels.columns import LAYOUT_HEAD, SLOT_HEAD
from kernels.layouts import Categories, ColumnPlan, Ids, Numeric, compile_layout, exact_points

SEED = 20250302


def steps(edges, dtype=np.float64):
    """Comparisons that a column's values take each."""
    layout = compile_layout([Numeric(np.asarray(edges, dtype), 0, 0)], dtype)
    return layout.words[LAYOUT_HEAD + columns.STEPS]


def equal_mass(values, bins=60):
    return np.quantile(values, np.arange(1, bins) / bins)


@pytest.mark.parametrize("sigma", [0.1, 1, 2, 4])
@pytest.mark.parametrize("sign", [1, -1])
def test_log_normal_columns_take_one_comparison_as_normal_ones_do(sigma, sign):
    rng = np.random.default_rng(SEED)
    drawn = rng.normal(size=20_000)
    assert steps(equal_mass(drawn)) == 1
    assert steps(equal_mass(sign * np.exp(sigma * drawn))) == 1


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng: rng.random(20_000), id="uniform"),
        pytest.param(lambda rng: 10 ** (60 * rng.random(20_000) - 30), id="sixty-decades"),
        pytest.param(lambda rng: rng.standard_cauchy(20_000), id="two-heavy-tails"),
        pytest.param(lambda rng: 1e9 + rng.random(20_000), id="far-from-zero"),
        pytest.param(lambda rng: rng.pareto(0.5, 20_000), id="infinite-mean"),
    ],
)
def test_columns_of_one_cluster_take_one_comparison(draw):
    assert steps(equal_mass(draw(np.random.default_rng(SEED)))) == 1


def test_edges_one_bit_apart_take_one_comparison():
    edges = np.array([1.0])
    for _ in range(58):
        edges = np.append(edges, np.nextafter(edges[-1], 2))
    assert steps(edges) == 1
    assert steps(np.arange(2**40, 2**40 + 59), np.int64) == 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=100))
def test_no_column_takes_more_comparisons_than_halving_all_its_edges(edges):
    assert steps(sorted(edges)) <= len(edges).bit_length()


def test_columns_lie_one_behind_the_other_without_sharing_a_cache_line_of_words():
    plans: list[ColumnPlan] = [
        Numeric(np.arange(59.0), 0, 58),
        Categories(np.array([1.0, 2.0])),
        exact_points(np.ones(1), 1, 1),
    ]
    layout = compile_layout(plans, np.float64)
    assert layout.bins.tolist() == [60, 2, 3]
    assert layout.offsets.tolist() == [SLOT_HEAD, SLOT_HEAD + 80, SLOT_HEAD + 80 + 24]
    assert layout.block_words == SLOT_HEAD + 80 + 24 + 24
    assert len(layout.bin_places) == 65


def test_columns_of_a_second_tensor_begin_where_the_first_ended():
    layout = compile_layout([Ids(5)], np.int32, at=128, counts_rows=False)
    assert (layout.offsets.tolist(), layout.block_words) == ([128], 128 + 32)


def test_a_tensor_without_columns_is_a_layout_too():
    layout = compile_layout([], np.float32)
    block = np.zeros(layout.block_words, np.int64)
    columns.count_rows(np.zeros((3, 0), np.float32), block, layout.words, 0, 0)
    assert block[columns.ROWS] == 3


@pytest.mark.parametrize(
    ("plan", "dtype", "message"),
    [
        pytest.param(
            Numeric(np.array([2.0, 1.0]), 0, 3), np.float32, "never fall", id="falling-edges"
        ),
        pytest.param(Numeric(np.array([1.0, np.nan]), 0, 3), np.float32, "finite", id="nan-edge"),
        pytest.param(
            Numeric(np.array([1.0, np.inf]), 0, 3), np.float32, "finite", id="infinite-edge"
        ),
        pytest.param(
            Numeric(np.array([0.1]), 0, 3), np.float32, "exact in float32", id="float64-edge"
        ),
        pytest.param(
            Numeric(np.array([1e300]), 0, 3), np.float32, "exact in float32", id="too-large-edge"
        ),
        pytest.param(
            Numeric(np.array([1.5]), 0, 3), np.int64, "exact in int64", id="half-an-integer"
        ),
        pytest.param(
            Numeric(np.array([1.0]), 0, 3, np.nan), np.float32, "finite centre", id="nan-centre"
        ),
        pytest.param(
            Categories(np.array([1.0, 1.0])), np.float32, "that rise", id="category-twice"
        ),
        pytest.param(Numeric(np.zeros(1 << 15), 0, 0), np.float32, "fewer than", id="too-many"),
        pytest.param(Ids(3), np.int64, "Ids cannot be counted from int64", id="ids-of-int64"),
        pytest.param(
            Numeric(np.array([1]), 0, 3), np.int32, "Numeric cannot be", id="numbers-of-int32"
        ),
        pytest.param(Ids(3), np.float16, "expected float32, float64", id="another-type"),
    ],
)
def test_what_cannot_be_counted_is_refused(plan, dtype, message):
    with pytest.raises(ValueError, match=message):
        compile_layout([plan], dtype)


def test_a_refusal_names_the_column():
    with pytest.raises(ValueError, match="layout: column 1: "):
        compile_layout([Categories(np.array([1.0])), Categories(np.array([1.0, 0.0]))], np.float64)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        pytest.param(np.zeros(0), "1 to 4096 points, got 0", id="none"),
        pytest.param(np.arange(4097.0), "1 to 4096 points, got 4097", id="too-many"),
        pytest.param(np.array([-(2**63)]), "no neighbour below", id="least-integer"),
    ],
)
def test_points_that_cannot_be_told_apart_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        exact_points(points, 0, 1)


def test_the_most_points_there_may_be_are_counted_apart():
    points = np.sort(np.random.default_rng(SEED).lognormal(size=layouts.MAX_POINTS))
    layout = compile_layout([exact_points(points, points[0], points[-1])], np.float64)
    block = np.zeros(layout.block_words, np.int64)
    columns.count_rows(points[:, np.newaxis], block, layout.words, 0, 0)
    assert block[layout.bin_places].tolist() == [0, 1] * layouts.MAX_POINTS + [0]
