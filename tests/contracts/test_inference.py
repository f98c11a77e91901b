"""What a contract takes is what the reference held, and somewhat more."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.contracts import document
from gateway.contracts.inference import infer
from gateway.contracts.values import Choice, Range
from gateway.profiles.builder import Builder
from gateway.profiles.plans import plan_frames
from gateway.tensors import Signature, TensorSpec

ROWS = 200


def column_of(values, datatype="FP32", categories=()):
    """The inferred terms of one column."""
    values = np.asarray(values).reshape(-1, 1)
    signature = Signature((TensorSpec("x", datatype, (-1, 1)),), (), True)
    plans = plan_frames(signature, {"x": values}, {}, {"x": ["a"]}, categories)
    with Builder(plans) as builder:
        builder.add(len(values), {"x": values}, {})
        profile = builder.build()
    contract = infer(profile)
    assert document.read(document.text(contract)) == contract
    return contract.tensors[0].columns[0]


def evenly(low, high):
    return np.linspace(low, high, ROWS).astype(np.float32)


def test_a_range_is_a_tenth_wider_on_either_side():
    found = column_of(evenly(-10.25, 9.75))
    assert found == Range("a", -12.25, 11.75, whole=False, missing=False, infinite=False)


@pytest.mark.parametrize(
    ("low", "high", "bounds"),
    [
        pytest.param(0.5, 100.5, (0.0, 110.5), id="positive"),
        pytest.param(0.0, 100.5, (0.0, 110.55), id="from-zero"),
        pytest.param(-100.5, -0.5, (-110.5, 0.0), id="negative"),
        pytest.param(-100.5, 0.0, (-110.55, 0.0), id="to-zero"),
    ],
)
def test_no_range_crosses_a_zero_that_the_reference_did_not(low, high, bounds):
    found = column_of(evenly(low, high))
    assert (found.min, found.max) == tuple(float(np.float32(bound)) for bound in bounds)


def test_whole_numbers_stay_whole_and_have_whole_bounds():
    found = column_of(np.arange(ROWS, dtype=np.float32) % 13 + 7)
    assert found == Range("a", 5.0, 21.0, whole=True, missing=False, infinite=False)
    # 7 to 19 in whole numbers of 64 bits.
    found = column_of(np.arange(ROWS) % 13 + 7, "INT64")
    assert found == Range("a", 5, 21, whole=True, missing=False, infinite=False)


def test_one_fraction_among_many_rows_makes_a_column_one_of_fractions():
    values = np.arange(ROWS, dtype=np.float32)
    values[70] = 70.5
    assert not column_of(values).whole


@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", "float32"), ("FP64", "float64")])
def test_the_widest_columns_have_bounds_that_are_numbers(datatype, dtype):
    most = float(np.finfo(dtype).max)
    values = np.zeros(ROWS, dtype)
    values[:2] = -most, most
    values[2] = 0.5
    found = column_of(values, datatype)
    assert (found.min, found.max) == (-most, most)
    widest = np.array([-(2**63), 2**63 - 1] * ROWS)
    found = column_of(widest, "INT64")
    assert (found.min, found.max) == (-(2**63), 2**63 - 1)


def test_a_column_of_one_value_may_hold_that_alone():
    found = column_of(np.full(ROWS, 2.5, np.float32))
    assert (found.min, found.max) == (2.5, 2.5)


def test_what_the_reference_had_is_taken():
    values = evenly(0, 1)
    values[0] = np.nan
    assert column_of(values) == Range("a", 0.0, column_of(values).max, False, True, False)
    values[0] = np.inf
    assert column_of(values).infinite
    assert not column_of(values).missing


def test_a_column_without_any_number_has_no_bounds():
    found = column_of(np.full(ROWS, np.nan, np.float32))
    assert found == Range("a", None, None, False, True, False)


def test_categories_are_those_of_the_reference():
    jobs = np.array([b"smith", b"clerk"] * ROWS, object)
    assert column_of(jobs, "BYTES") == Choice("a", ("clerk", "smith"), False, False)
    assert column_of(np.array([3, 1] * ROWS), "INT64", ["a"]) == Choice("a", (1, 3), False, False)
    assert column_of(np.zeros(ROWS, bool), "BOOL") == Choice("a", (False,), False, False)


def test_hashed_strings_and_more_categories_than_are_kept_leave_room_for_others():
    prose = np.array([b"%d" % one for one in range(3000)], object)
    assert column_of(prose, "BYTES") == Choice("a", (), True, False)
    many = np.concatenate([np.repeat(np.arange(1000), 60), np.arange(1000, 2000)])
    found = column_of(many, "INT64", ["a"])
    assert (len(found.categories), found.others) == (1000, True)


def test_a_handful_of_rows_rules_nothing_out():
    assert column_of(np.ones(1, np.float32)) == Range("a")
    assert column_of(np.array([b"clerk"], object), "BYTES") == Choice("a", ("clerk",))


def test_only_what_is_tabular_and_comes_in_has_terms():
    signature = Signature(
        (TensorSpec("image", "FP32", (-1, 3, 8, 8)), TensorSpec("x", "FP32", (-1, 2))),
        (TensorSpec("y", "FP32", (-1, 1)),),
        True,
    )
    rng = np.random.default_rng(1)
    inputs = {
        "image": rng.random((ROWS, 3, 8, 8)).astype(np.float32),
        "x": rng.random((ROWS, 2)).astype(np.float32),
    }
    outputs = {"y": rng.random((ROWS, 1)).astype(np.float32)}
    with Builder(plan_frames(signature, inputs, outputs, {})) as builder:
        builder.add(ROWS, inputs, outputs)
        contract = infer(builder.build())
    assert [(tensor.name, len(tensor.columns)) for tensor in contract.tensors] == [("x", 2)]
