"""Counting batches into a slot: every value in its bin or its counter, whatever it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import columns
from kernels.columns import COLUMN_HEAD, count_ids, count_rows
from kernels.layouts import Categories, Ids, Numeric, compile_layout, exact_points
from tests import reference
from tests.kernels.slots import read_block

SEED = 20250301
GUARD = 4096  # words on either side of a slot that nobody may write


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


def equal_mass(values, bins=60):
    """Plans of a reference's columns, as a profile would make them."""
    shares = np.arange(1, bins) / bins
    return [
        Numeric(
            np.unique(np.quantile(column, shares, method="lower")),
            column.min(),
            column.max(),
            float(column.mean()),
        )
        for column in values.T
    ]


def counted(layout, *batches, tick=1, count=count_rows):
    """A slot that these batches were counted in, and nothing around it."""
    around = np.full(layout.block_words + 2 * GUARD, -77, np.int64)
    block = around[GUARD:-GUARD]
    block[:] = 0
    with np.errstate(over="ignore", invalid="ignore"):  # for where nothing is compiled
        unusual = sum(
            count(np.ascontiguousarray(rows), block, layout.words, tick, 1_000) for rows in batches
        )
    assert unusual == read_block(block, layout, tick).special.sum()
    assert (around[:GUARD] == -77).all()
    assert (around[-GUARD:] == -77).all()
    return block


def assert_counted_as(wanted, layout, block, column=0, tick=1):
    """A column of a slot holds what its slow twin counted."""
    reading, at = read_block(block, layout, tick), layout.offsets[column] + COLUMN_HEAD
    assert block[at : at + layout.bins[column]].tolist() == wanted.bins
    assert reading.special[column].tolist() == wanted.special()
    found = reading.moments
    moments = [found.n, found.total, found.squares, found.least, found.most]
    given = wanted.moments(layout.centres[column])
    np.testing.assert_array_equal([moment[column] for moment in moments], given)


# ---------------------------------------------------------------- any number there is


def numbers(dtype):
    """Any bits of a type, and neighbours of a few numbers, so that values meet edges."""
    width = np.dtype(dtype).itemsize
    of_bits = st.binary(min_size=width, max_size=width).map(lambda b: np.frombuffer(b, dtype)[0])
    if np.dtype(dtype).kind == "i":
        return st.one_of(of_bits, st.integers(-5, 5).map(dtype))
    info = np.finfo(dtype)
    anchors = [0.0, -0.0, 1.0, -1.0, info.max, info.min, info.smallest_subnormal, info.tiny]
    anchors += [np.inf, -np.inf, np.nan]

    def near(anchor, ulps):
        toward = np.inf if ulps > 0 else -np.inf
        with np.errstate(over="ignore", under="ignore"):
            for _ in range(abs(ulps)):
                anchor = np.nextafter(anchor, dtype(toward))
        return anchor

    neighbours = st.builds(near, st.sampled_from([dtype(a) for a in anchors]), st.integers(-3, 3))
    return st.one_of(of_bits, neighbours, st.integers(-5, 5).map(dtype))


@st.composite
def columns_of_numbers(draw):
    """Edges and values of one type."""
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64]))
    edges = draw(st.lists(numbers(dtype).filter(np.isfinite), max_size=30))
    values = draw(st.lists(numbers(dtype), max_size=40))
    return np.array(sorted(edges), dtype), np.array(values, dtype)


@given(columns_of_numbers(), st.floats(-1e9, 1e9))
def test_any_number_is_in_the_bin_that_its_slow_twin_finds(column, centre):
    edges, values = column
    low, high = (edges[0], edges[-1]) if len(edges) else (0, 0)
    layout = compile_layout([Numeric(edges, low, high, centre)], values.dtype)
    wanted = reference.count_column(values, edges, low, high)
    assert_counted_as(wanted, layout, counted(layout, values[:, np.newaxis]))


@given(columns_of_numbers())
def test_a_number_is_in_the_category_that_it_equals_or_in_none(column):
    edges, values = column
    categories = np.unique(edges)
    layout = compile_layout([Categories(categories)], values.dtype)
    wanted = reference.count_categories(values, categories.tolist())
    assert_counted_as(wanted, layout, counted(layout, values[:, np.newaxis]))


@given(columns_of_numbers())
def test_points_and_the_gaps_between_them_are_counted_apart(column):
    edges, values = column
    points = np.unique(edges)
    if values.dtype == np.int64:
        points = points[points > np.iinfo(np.int64).min]
    if len(points) == 0:
        return
    layout = compile_layout([exact_points(points, points[0], points[-1])], values.dtype)
    block, at = counted(layout, values[:, np.newaxis]), layout.offsets[0] + COLUMN_HEAD
    finite = values[np.isfinite(values)]
    assert block[at + 1 : at + layout.bins[0] : 2].tolist() == [
        int((finite == point).sum()) for point in points
    ]
    gaps = zip([None, *points], [*points, None], strict=True)
    assert block[at : at + layout.bins[0] : 2].tolist() == [
        sum((a is None or v > a) and (b is None or v < b) for v in finite) for a, b in gaps
    ]


@given(st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-5, 12)), st.integers(0, 10))
def test_an_id_is_in_its_bin_or_among_the_unseen_null_or_mistyped(ids, categories):
    values = np.array(ids, np.int32)
    layout = compile_layout([Ids(categories)], np.int32)
    block = counted(layout, values[:, np.newaxis], count=count_ids)
    assert_counted_as(reference.count_ids(ids, categories), layout, block)


@pytest.mark.parametrize("draw", [normal, log_normal, heavy_tailed, clustered, counting])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("bins", [2, 60, 256, 5000])
def test_bins_are_those_that_a_search_finds(draw, dtype, bins):
    rng = np.random.default_rng(SEED)
    plans = equal_mass(draw(rng, 20_000, 3).astype(dtype), bins)
    layout = compile_layout(plans, dtype)
    rows = draw(rng, 3000, 3).astype(dtype)
    block = counted(layout, rows)
    for column, plan in enumerate(plans):
        at = layout.offsets[column] + COLUMN_HEAD
        wanted = np.searchsorted(plan.edges, rows[:, column], side="left")
        found = block[at : at + layout.bins[column]]
        assert (found == np.bincount(wanted, minlength=len(found))).all()


@pytest.mark.parametrize("payload", [0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0xFF800001])
def test_every_kind_of_nan_is_missing(payload):
    rows = np.array([[payload]], np.uint32).view(np.float32)
    layout = compile_layout([Numeric(np.array([1.0]), 0.0, 2.0)], np.float32)
    assert_counted_as(reference.Counts([0, 0], nan=1), layout, counted(layout, rows))


@pytest.mark.parametrize("zeros", [[0.0], [-0.0], [-0.0, 0.0], [0.0, -0.0], [-0.0, -0.0]])
@pytest.mark.parametrize("around", [0.0, 1.0, 1e-300], ids=["alone", "far", "near"])
def test_zero_has_one_bin_whatever_its_sign(zeros, around):
    beside = [around * n for n in (1, 2, 3, 1e250)] if around else []
    edges = np.array([*(-n for n in reversed(beside)), *zeros, *beside])
    layout = compile_layout([Numeric(edges, edges[0], edges[-1])], np.float64)
    block = counted(layout, [[0.0], [-0.0]])
    assert block[layout.bin_places][len(beside)] == 2


def test_a_constant_column_has_one_bin_and_knows_what_differs():
    layout = compile_layout([Numeric(np.array([]), 7, 7)], np.int64)
    block = counted(layout, np.array([[7], [6], [8], [9]]))
    assert read_block(block, layout, 1).bins.tolist() == [4]
    assert read_block(block, layout, 1).special[0, [columns.BELOW, columns.ABOVE]].tolist() == [
        1,
        2,
    ]


@pytest.mark.parametrize("lowest", [2**60 + 1, -(2**60) - 3, 2**53 - 4, -3])
def test_integers_just_outside_the_range_are_told_however_large_they_are(lowest):
    plan = Numeric(np.array([lowest + 1], np.int64), lowest, lowest + 3)
    layout = compile_layout([plan], np.int64)
    values = lowest + np.array([[-1], [0], [3], [4], [5]])
    found = read_block(counted(layout, values), layout, 1)
    assert found.special[0, [columns.BELOW, columns.ABOVE]].tolist() == [1, 2]


def test_a_column_of_which_the_reference_knows_nothing_has_no_bins():
    layout = compile_layout([Categories(np.array([]))], np.float32)
    block = counted(layout, np.array([[1.0], [np.nan]], np.float32))
    assert read_block(block, layout, 1).special[0, [columns.NAN, columns.UNSEEN]].tolist() == [1, 1]


# ---------------------------------------------------------------- batches, ticks and tensors


@given(st.integers(0, 300), st.lists(st.integers(0, 300), max_size=6), st.data())
def test_streamed_rows_are_counted_as_one_batch_is_bit_for_bit(rows, cuts, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int64]))
    layout = compile_layout(equal_mass(log_normal(rng, 500, 4).astype(dtype), 20), dtype)
    batch = log_normal(rng, rows, 4).astype(dtype)
    whole = counted(layout, batch)
    streamed = counted(layout, *np.split(batch, sorted(min(cut, rows) for cut in cuts)))
    whole[columns.BATCHES] = streamed[columns.BATCHES] = 0
    assert whole.tobytes() == streamed.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_counting_leaves_rows_and_layout_as_they_are(dtype):
    rows = np.arange(12).astype(dtype).reshape(4, 3)
    layout = compile_layout(equal_mass(rows, 3), dtype)
    before = rows.tobytes(), layout.words.tobytes()
    rows.flags.writeable = layout.words.flags.writeable = True
    counted(layout, rows)
    assert (rows.tobytes(), layout.words.tobytes()) == before


def test_a_batch_counts_itself_once_whatever_its_tensors():
    of_numbers = compile_layout([Numeric(np.array([0.5]), 0, 1)], np.float32)
    of_ids = compile_layout([Ids(3)], np.int32, at=of_numbers.block_words, counts_rows=False)
    block = np.zeros(of_ids.block_words, np.int64)
    count_rows(np.zeros((5, 1), np.float32), block, of_numbers.words, 4, 1_234)
    count_ids(np.full((5, 1), 2, np.int32), block, of_ids.words, 4, 9_999)
    reading = read_block(block, of_ids, 4)
    assert (reading.rows, reading.batches, reading.last_ms) == (5, 1, 1_234)
    assert block[columns.TICK] == 4
    assert read_block(block, of_numbers, 4).bins.tolist() == [5, 0]
    assert reading.bins.tolist() == [0, 0, 5]


def test_moments_are_of_one_tick_while_counts_go_on():
    layout = compile_layout([Numeric(np.array([0.5]), 0, 1)], np.float64)
    block = counted(layout, [[1e30], [2.0]], tick=0)
    count_rows(np.array([[1.0], [3.0]]), block, layout.words, 1, 0)
    count_rows(np.array([[5.0]]), block, layout.words, 2, 0)

    def read(tick):
        moments = read_block(block, layout, tick).moments
        return [
            moments.n[0],
            moments.total[0],
            moments.squares[0],
            moments.least[0],
            moments.most[0],
        ]

    nothing = [0, 0.0, 0.0, np.inf, -np.inf]
    assert [read(tick) for tick in range(4)] == [
        nothing,  # overwritten by tick 2
        [2, 4.0, 10.0, 1.0, 3.0],
        [1, 5.0, 25.0, 5.0, 5.0],
        nothing,  # not begun, though tick 1 stands in its place
    ]
    assert read_block(block, layout, 2).bins.sum() == 5


def test_squares_that_overflow_spoil_one_tick_alone():
    layout = compile_layout([Numeric(np.array([0.5]), 0, 1)], np.float64)
    block = counted(layout, [[1e300]], tick=0)
    count_rows(np.array([[2.0]]), block, layout.words, 1, 0)
    assert read_block(block, layout, 0).moments.squares.tolist() == [np.inf]
    assert read_block(block, layout, 1).moments.squares.tolist() == [4.0]


FITTING = compile_layout([Ids(2)], np.int32)
OF = {
    t: compile_layout([Numeric(np.array([1]), 0, 2)], t) for t in (np.float32, np.float64, np.int64)
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("other", [np.float32, np.float64, np.int64, np.int32])
def test_a_layout_for_another_type_is_refused(dtype, other):
    layout = FITTING if other == np.int32 else OF[other]
    block = np.zeros(layout.block_words, np.int64)
    if dtype == other:
        count_rows(np.zeros((1, 1), dtype), block, layout.words, 0, 0)
    else:
        with pytest.raises(ValueError, match="the layout is for other columns, type or block"):
            count_rows(np.zeros((1, 1), dtype), block, layout.words, 0, 0)
        assert not block.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_layout_of_numbers_is_refused_for_ids(dtype):
    block = np.zeros(OF[dtype].block_words, np.int64)
    with pytest.raises(ValueError, match="the layout is for other columns, type or block"):
        count_ids(np.zeros((1, 1), np.int32), block, OF[dtype].words, 0, 0)


@pytest.mark.parametrize(
    ("columns", "words"),
    [pytest.param(2, 0, id="more-columns"), pytest.param(1, -1, id="smaller-block")],
)
@pytest.mark.parametrize("layout", [FITTING, OF[np.float32]], ids=["ids", "numbers"])
def test_a_batch_or_a_block_of_another_size_is_refused(layout, columns, words):
    count, dtype = (count_ids, np.int32) if layout is FITTING else (count_rows, np.float32)
    block = np.zeros(layout.block_words + words, np.int64)
    with pytest.raises(ValueError, match="the layout is for other columns, type or block"):
        count(np.zeros((1, columns), dtype), block, layout.words, 0, 0)
