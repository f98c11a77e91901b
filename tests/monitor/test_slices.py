"""Rows are in the groups that their features and their request's parameters say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.monitor.slices import Slicer, places_of
from gateway.tensors import DTYPES, Signature, TensorSpec
from kernels.marks import GROUP_BITS, MAX_GROUPS


def signature(*specs):
    return Signature(tuple(TensorSpec(*spec) for spec in specs), (), batched=True)


def by_column(datatype, edges=(), values=(), grouping=0):
    slicer = Slicer()
    spec = TensorSpec("x", datatype, (-1, 2))
    slicer.by_column(grouping, (0, 1), spec, edges, values)
    return slicer


def groups_of(slicer, column, datatype, grouping=0):
    array = np.zeros((len(column), 2), DTYPES[datatype])
    array[:, 1] = column
    marks = slicer.marks([array], [len(column)], [{}])
    return ((marks >> (grouping * GROUP_BITS)) & MAX_GROUPS).tolist()


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL"])
def test_ranges_begin_with_their_edge_and_end_before_the_next(datatype):
    slicer = by_column(datatype, edges=[0.5, 1.0])
    assert groups_of(slicer, [0, 1], datatype) == [1, 3]
    if datatype.startswith("FP"):
        column = [-np.inf, 0.25, 0.5, 0.75, 1.0, np.inf, np.nan]
        assert groups_of(slicer, column, datatype) == [1, 1, 2, 2, 3, 3, 0]


@pytest.mark.parametrize(
    ("datatype", "values", "column", "wanted"),
    [
        ("FP32", [[0.1], [2, 3]], [0.1, 2, 3, 0.2, np.nan, np.inf], [1, 2, 2, 0, 0, 0]),
        ("FP16", [[0.1]], [0.1, 0.2], [1, 0]),
        ("INT32", [[7], [-1, 2.0]], [7, -1, 2, 3], [1, 2, 2, 0]),
        ("INT64", [[2**62 + 1]], [2**62, 2**62 + 1], [0, 1]),
        ("BOOL", [[True], [False]], [True, False], [1, 2]),
    ],
)
def test_numbers_are_compared_as_the_model_takes_them(datatype, values, column, wanted):
    assert groups_of(by_column(datatype, values=values), column, datatype) == wanted


def test_texts_are_compared_byte_for_byte():
    slicer = by_column("BYTES", values=[["männlich"], ["", 1]])
    column = ["männlich".encode(), b"", b"1", b"\xff", b"M"]
    assert groups_of(slicer, column, "BYTES") == [1, 2, 2, 0, 0]


@pytest.mark.parametrize(
    ("datatype", "edges", "values", "fault"),
    [
        ("BYTES", [1.0], [], "texts"),
        ("FP32", [], [["f"]], "no 'f'"),
        ("INT64", [], [[1.5]], "whole numbers"),
        ("INT64", [], [[1e30]], "whole numbers"),
    ],
)
def test_what_a_feature_can_never_hold_is_refused(datatype, edges, values, fault):
    with pytest.raises(ValueError, match=fault):
        by_column(datatype, edges, values)


def test_a_parameter_holds_for_every_row_of_its_request_and_for_no_other():
    slicer = Slicer()
    slicer.by_parameter(1, "tier", [["gold"], [1, True], [2.5]])
    given: list[dict[str, Any]] = [
        {"tier": "gold"},
        {},
        {"tier": 1},
        {"tier": True},
        {"tier": "1"},
        {"tier": 2.5},
    ]
    others: list[dict[str, Any]] = [
        {"tier": "lead"},
        {"tier": "g" * 100_000},
        {"tier": 10**5000},
        {"other": "gold"},
    ]
    rows = [2, 1, 3, 1, 1, 1, 1, 1, 1, 1]
    marks = slicer.marks([], rows, [*given, *others])
    wanted = [1, 1, 0, 2, 2, 2, 2, 2, 3, 0, 0, 0, 0]
    assert (marks >> GROUP_BITS).tolist() == wanted


def test_slicings_stand_side_by_side():
    slicer = Slicer()
    spec = TensorSpec("x", "FP32", (-1,))
    slicer.by_column(0, (0, 0), spec, [0.0], [])
    slicer.by_parameter(5, "tier", [["gold"]])
    marks = slicer.marks([np.array([-1, 1], "f4")], [1, 1], [{}, {"tier": "gold"}])
    assert marks.tolist() == [1, 2 | 1 << 25]


def test_an_input_of_undeclared_width_has_the_columns_that_are_named():
    made = signature(("x", "FP32", (-1, -1)))
    assert places_of(made, {}) == {}
    assert places_of(made, {"x": ["a", "b"]}) == {"a": (0, 0), "b": (0, 1)}
    slicer = by_column("FP32", edges=[0.0])
    narrow, wide = np.ones((2, 1), "f4"), np.ones((2, 3), "f4")
    assert [slicer.marks([one], [2], [{}]).tolist() for one in (narrow, wide)] == [[0, 0], [2, 2]]


def test_columns_are_found_by_name_and_without_one_by_their_place():
    made = signature(("x", "FP32", (-1, 2)), ("age", "INT64", (-1, 1)), ("ids", "INT64", (-1, -1)))
    assert places_of(made, {"x": ["height", "weight"]}) == {
        "height": (0, 0),
        "weight": (0, 1),
        "age": (1, 0),
    }
    assert places_of(made, {"x": ["one too few"]}) == {
        "x[0]": (0, 0),
        "x[1]": (0, 1),
        "age": (1, 0),
    }
