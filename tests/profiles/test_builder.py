"""Rows to profiles: the same however they come, exact, and defined where data is odd."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidParameter
from gateway.profiles.builder import Builder
from gateway.profiles.document import digest, read, text
from gateway.profiles.plans import plan_frames
from gateway.profiles.strings import bucket_of, ids_of
from gateway.profiles.values import CATEGORY, NUMERIC, Profile
from gateway.tensors import Signature, TensorSpec

RNG = np.random.default_rng(11)
NOTHING = Signature((), (), batched=True)


def profile_of(arrays, datatype="FP32", cuts=(), categories=(), names=(), **options) -> Profile:
    """The profile of one input, its rows cut at `cuts`."""
    array = np.asarray(arrays)
    array = array.reshape(len(array), -1)
    spec = TensorSpec("x", datatype, (-1, array.shape[1]))
    plans = plan_frames(
        Signature((spec,), (), batched=True), {"x": array}, {}, {"x": names}, categories
    )
    with Builder(plans, **options) as builder:
        for part in np.split(array, sorted(cuts)):
            if len(part):
                builder.add(len(part), {"x": part}, {})
        return builder.build()


def column_of(values, dtype=np.float32, datatype="FP32", **options):
    return profile_of(np.array(values, dtype), datatype, **options).frames[0].columns[0]


def test_a_streamed_profile_is_the_profile_of_the_whole():
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(0, 500), max_size=8), st.integers(0, 2**32))
    def law(cuts, seed):
        rng = np.random.default_rng(seed)
        array = rng.normal(size=(500, 3)).astype(np.float32)
        array[rng.random(array.shape) < 0.05] = np.nan
        assert digest(profile_of(array, cuts=cuts)) == digest(profile_of(array))
        # And where edges come from a sample.
        sampled = profile_of(array, cuts=cuts, sample_rows=70)
        assert digest(sampled) == digest(profile_of(array, sample_rows=70))

    law()


def test_strings_streamed_are_the_strings_of_the_whole():
    words = np.array([f"word {n}".encode() for n in RNG.integers(0, 40, 400)], object)
    assert digest(profile_of(words, "BYTES", cuts=(1, 17, 300))) == digest(
        profile_of(words, "BYTES")
    )


def test_counts_are_what_the_edges_say():
    values = RNG.normal(size=5000).astype(np.float32)
    column = column_of(values)
    want = np.bincount(np.searchsorted(column.edges, values, side="left"), minlength=60)
    assert column.counts.tolist() == want.tolist()
    assert column.edges.dtype == np.float32
    assert set(column.edges.tolist()) < set(values.tolist())


def test_bins_hold_equal_masses():
    column = column_of(RNG.normal(size=6000))
    assert column.counts.tolist() == [100] * 60


def test_edges_of_more_rows_than_the_sample_come_from_it_and_counts_from_all():
    column = column_of(RNG.normal(size=50_000), sample_rows=2000)
    assert column.counts.sum() == 50_000
    # Counts of bins that 2,000 draws placed: a relative deviation of sqrt(60 / 2000).
    assert abs(column.counts / (50_000 / 60) - 1).max() < 6 * np.sqrt(60 / 2000)


def test_sixty_distinct_values_have_a_bin_each_and_sixty_one_do_not():
    sixty = column_of(np.repeat(np.arange(60), 5))
    assert (sixty.edges.tolist(), sixty.counts.tolist()) == (list(range(59)), [5] * 60)
    more = column_of(np.repeat(np.arange(61), 5))
    assert more.bins <= 60
    assert more.counts.sum() == 305


def test_quantiles_that_fall_on_one_value_collapse():
    column = column_of(np.concatenate([np.zeros(900), RNG.exponential(size=100) + 1]))
    assert column.bins < 60
    assert (column.edges[0], column.counts[0]) == (0, 900)
    assert (column.counts > 0).all()


def test_a_skewed_column_has_no_empty_bins():
    column = column_of(np.exp(RNG.normal(size=3000) * 8))
    assert (column.counts > 0).all()
    assert column.bins == 60


@pytest.mark.parametrize(
    ("values", "edges", "counts", "moments"),
    [
        pytest.param([7, 7, 7], [], [3], (7, 7, 7, 0), id="constant"),
        pytest.param([4], [], [1], (4, 4, 4, 0), id="one-row"),
        pytest.param([np.nan] * 3, [], [0], (None,) * 4, id="all-null"),
        pytest.param([np.inf, -np.inf, np.nan], [], [0], (None,) * 4, id="nothing-finite"),
        pytest.param([1, np.inf, 3, -np.inf], [1], [1, 1], (1, 3, 2, 1), id="infinities"),
    ],
)
def test_odd_columns_have_a_defined_profile(values, edges, counts, moments):
    column = column_of(values)
    assert (column.edges.tolist(), column.counts.tolist()) == (edges, counts)
    found = column.moments
    assert (found.min, found.max, found.mean, found.std) == moments
    assert column.rows == len(values)
    assert column.constant == (len(set(values)) == 1 and not np.isnan(values[0]))


def test_what_is_not_finite_is_counted_by_kind():
    column = column_of([np.nan, np.inf, np.inf, -np.inf, 1, 2])
    specials = column.specials
    assert (specials.nan, specials.pos_inf, specials.neg_inf, specials.total) == (1, 2, 1, 4)


def test_empty_cells_are_told_from_values_that_are_no_numbers():
    spec = TensorSpec("x", "FP32", (-1, 2))
    array = np.array([[np.nan, 1], [np.nan, 2], [3, np.nan]], np.float32)
    plans = plan_frames(Signature((spec,), (), batched=True), {"x": array}, {}, {})
    with Builder(plans) as builder:
        builder.add(3, {"x": array}, {}, {"x": np.array([1, 0])})
        first, second = builder.build().frames[0].columns
    assert (first.specials.nan, first.specials.null) == (1, 1)
    assert (second.specials.nan, second.specials.null) == (1, 0)


def test_moments_are_those_of_numpy():
    values = RNG.normal(1e4, 3, size=10_000)
    moments = column_of(values, np.float64, "FP64").moments
    assert (moments.min, moments.max) == (values.min(), values.max())
    assert moments.mean == pytest.approx(values.mean(), rel=1e-14)
    assert moments.std == pytest.approx(values.std(), rel=1e-12)


@pytest.mark.parametrize("most", [1.7e308, -1.7e308])
def test_a_column_of_the_largest_doubles_is_counted(most):
    found = column_of([most] * 50 + [most / 2] * 50, np.float64, "FP64")
    assert found.counts.tolist() == [50, 50]
    assert (found.moments.min, found.moments.max) == tuple(sorted((most, most / 2)))
    mixed = column_of([most, -most] * 50, np.float64, "FP64")
    assert mixed.rows == 100


def test_squares_beyond_a_double_leave_no_deviation():
    moments = column_of([1e300, -1e300, 1e308], np.float64, "FP64").moments
    assert (moments.min, moments.max, moments.std) == (-1e300, 1e308, None)


def test_whole_numbers_are_compared_as_such():
    values = [2**63 - 1, 2**63 - 2, -(2**63)]
    column = column_of(values, np.int64, "INT64")
    assert column.edges.tolist() == [-(2**63), 2**63 - 2]
    top = column_of([2**64 - 1, 2**63, 5], np.uint64, "UINT64")
    assert (top.moments.min, top.moments.max) == (5, 2**63 - 1)


def test_booleans_are_categories_and_so_are_named_whole_numbers():
    flags = column_of([True, False, True], np.bool_, "BOOL")
    assert (flags.kind, flags.categories, flags.counts.tolist()) == (
        CATEGORY,
        (False, True),
        [1, 2],
    )
    codes = column_of([5, 5, -3], np.int64, "INT64", categories=("x",))
    assert (codes.kind, codes.categories, codes.counts.tolist()) == (CATEGORY, (-3, 5), [1, 2])
    assert column_of([5, 5, -3], np.int64, "INT64").kind == NUMERIC


def strings(values, **options):
    return column_of([value.encode() for value in values], object, "BYTES", **options)


def test_strings_are_categories_by_name():
    column = strings(["b", "a", "b", ""])
    assert (column.categories, column.counts.tolist()) == (("", "a", "b"), [1, 1, 2])
    assert ids_of(column) == {b"": 0, b"a": 1, b"b": 2}


def test_the_most_frequent_strings_are_kept_and_the_rest_counts_as_unseen():
    values = [f"common {n % 900}" for n in range(90_000)] + [f"rare {n}" for n in range(1000)]
    column = strings(values)
    assert (len(column.categories), column.buckets) == (1000, 0)
    assert column.specials.unseen == 900
    assert column.rows == 91_000


def test_a_million_names_fall_into_buckets():
    names = [f"customer {n}".encode() for n in range(1_000_000)]
    column = profile_of(np.array(names, object), "BYTES").frames[0].columns[0]
    assert (column.buckets, column.categories, column.counts.sum()) == (60, (), 1_000_000)
    want = np.bincount([bucket_of(name, 60) for name in names], minlength=60)
    assert column.counts.tolist() == want.tolist()


def test_prose_falls_into_buckets():
    assert strings(["a" * 300, "b"]).buckets == 60


def test_columns_beyond_the_limit_are_kept_at_coarser_detail():
    array = RNG.normal(size=(300, 2003)).astype(np.float32)
    frame = profile_of(array, names=[f"f{n}" for n in range(2003)]).frames[0]
    assert [column.bins for column in frame.columns[1999:]] == [60, 10, 10, 10]
    assert frame.detailed == 2000


def test_fewer_bins_can_be_asked_for():
    assert column_of(RNG.normal(size=1000), bins=10).bins == 10
    with pytest.raises(InvalidParameter, match="bins"):
        Builder([], bins=0)


def test_no_rows_make_no_profile():
    with Builder([]) as builder, pytest.raises(InvalidParameter, match="at least one row"):
        builder.build()


def test_what_is_built_can_be_written_and_read():
    profile = profile_of(np.array([[np.nan, 1], [np.inf, 2]], np.float32))
    assert digest(read(text(profile))) == digest(profile)
