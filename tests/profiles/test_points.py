"""Points: which values of a column they are, and that finer counts add up to those of its bins."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ProfileInvalid
from gateway.profiles.document import canonical, digest, read, text
from gateway.profiles.points import MAX_POINTS, choose, in_bins
from tests.profiles.test_builder import column_of, profile_of


def test_few_distinct_values_are_all_points():
    values = np.array([3.0, 1.0, 3.0, 7.0])
    assert choose(values, np.array([1.0, 3.0])).tolist() == [1.0, 3.0, 7.0]


def test_of_many_values_points_have_equal_mass_and_edges_are_among_them():
    values = np.random.default_rng(3).normal(size=20_000)
    edges = np.quantile(values, np.arange(1, 60) / 60, method="inverted_cdf")
    points = choose(values, edges)
    assert MAX_POINTS * 0.9 < len(points) <= MAX_POINTS
    assert np.isin(edges, points).all()
    between = np.bincount(np.searchsorted(points, values), minlength=len(points) + 1)
    assert between.max() <= 1.1 * len(values) / (MAX_POINTS - len(edges))


@given(
    st.lists(st.integers(-30, 30), min_size=1, max_size=300),
    st.lists(st.integers(-35, 35), max_size=200),
    st.integers(2, 70),
)
def test_counts_at_points_add_up_to_those_of_bins(reference, live, bins):
    column = column_of(reference, np.int64, "INT64", bins=bins, exact=("x",))
    points, edges = column.points, column.edges
    places = np.searchsorted(points, live, "left") + np.searchsorted(points, live, "right")
    finer = np.bincount(places, minlength=2 * len(points) + 1)
    wanted = np.bincount(np.searchsorted(edges, live, "left"), minlength=len(edges) + 1)
    assert in_bins(finer, points, edges).tolist() == wanted.tolist()
    assert column.counts.tolist() == column_of(reference, np.int64, bins=bins).counts.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbouring_numbers_are_told_apart(dtype):
    one = dtype(0.1)
    above = np.nextafter(one, dtype(1))
    values = np.array([one, above, above, 0.5], dtype)
    column = column_of(values, dtype, "FP32" if dtype == np.float32 else "FP64", exact=("x",))
    assert column.points.tolist() == [one, above, 0.5]
    assert column.point_counts.tolist() == [0, 1, 0, 2, 0, 1, 0]


@pytest.mark.parametrize(
    ("values", "dtype", "datatype"),
    [
        ([np.nan, np.nan], np.float32, "FP32"),
        ([-(2**63), 5, 9], np.int64, "INT64"),
        ([np.finfo(np.float32).min, 0.0, 1.0], np.float32, "FP32"),
    ],
)
def test_what_has_no_points_is_counted_by_bins_alone(values, dtype, datatype):
    column = column_of(values, dtype, datatype, exact=("x",))
    assert len(column.points) == len(column.point_counts) == 0
    assert column.counts.sum() == np.isfinite(np.array(values, float)).sum()


def test_a_profile_with_points_is_of_the_second_schema_and_comes_back_as_it_was():
    rows = np.random.default_rng(4).normal(size=(300, 2)).astype(np.float32)
    plain = profile_of(rows, names=("a", "b"))
    exact = profile_of(rows, names=("a", "b"), exact=("b",))
    assert (json.loads(canonical(plain))["schema"], json.loads(canonical(exact))["schema"]) == (
        1,
        2,
    )
    assert digest(read(text(exact))) == digest(exact) != digest(plain)
    first, second = read(text(exact)).frames[0].columns
    assert len(first.points) == 0
    assert second.points.dtype == np.float32
    assert second.point_counts.sum() == 300


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("points", lambda some: some[::-1], "each above the last"),
        ("points", lambda some: some[1:], "all edges included"),
        ("points", lambda some: [], "1 to 1000 of them"),
        ("points", lambda some: [float(np.finfo(np.float32).min), *some], "the least number"),
        ("point_counts", lambda some: some[1:], "7 counts"),
        ("point_counts", lambda some: [9, *some[1:]], "what adds up to counts"),
        ("point_counts", lambda some: [-1, *some[1:]], "a whole number"),
    ],
)
def test_points_that_fit_nothing_are_refused(field, change, message):
    document = json.loads(canonical(profile_of(np.array([1, 2, 2, 3], np.float32), exact=("x",))))
    column = document["frames"][0]["columns"][0]
    column[field] = change(column[field])
    with pytest.raises(ProfileInvalid, match=message):
        read(json.dumps(document))
