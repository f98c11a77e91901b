"""Inputs are held against a contract, and what is said of them names row and feature."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.contracts.live import MAX_NAMED, Terms
from gateway.contracts.values import Choice, Contract, Range, Tensor
from gateway.tensors import Signature, TensorSpec

SIGNATURE = Signature(
    (
        TensorSpec("job", "BYTES", (-1, 1)),
        TensorSpec("x", "FP32", (-1, 3)),
        TensorSpec("n", "INT64", (-1,)),
        TensorSpec("half", "BF16", (-1, 1)),
    ),
    (),
    True,
)
CONTRACT = Contract(
    (
        Tensor(
            "x",
            "FP32",
            (
                Range("age", 17.0, float(np.float32(99.1)), True, False, False),
                Range("rate", None, 0.5, False, True, False),
                Choice("plan", (0, 1, 2), False, False),
            ),
        ),
        Tensor("job", "BYTES", (Choice("job", ("clerk", "smith"), False, False),)),
        Tensor("n", "INT64", (Range("n", 3, 3, True, False, False),)),
        Tensor("half", "BF16", (Range("half", 0.0, 1.0, False, False, False),)),
    )
)
TERMS = Terms(CONTRACT, SIGNATURE)
HALF = 0x3F00  # 0.5 as bfloat16


def inputs(x=((20, 0.1, 1),), job=(b"clerk",), n=(3,), half=(HALF,)):
    """Good rows, but for what is given."""
    rows = max(len(x), len(job), len(n), len(half))
    return [
        np.array([[one] for one in job * (rows // len(job))], object),
        np.array(x * (rows // len(x)), np.float32),
        np.array(n * (rows // len(n)), np.int64),
        np.array([[one] for one in half * (rows // len(half))], np.uint16),
    ]


def finding_of(given, terms=TERMS):
    found = terms.examine(given)
    assert found is not None
    return found


def test_rows_that_keep_to_it_leave_nothing_to_say():
    assert TERMS.examine(inputs(job=(b"clerk", "smith", b"smith"))) is None
    assert TERMS.examine(inputs(x=((20, np.nan, 1),))) is None


@pytest.mark.parametrize(
    ("given", "first", "summary"),
    [
        pytest.param(
            inputs(x=((20, 0, 1), (150, 0, 1))),
            "row 1, feature 'age': expected 17.0 to 99.1, got 150.0",
            "age=above:1",
            id="above",
        ),
        pytest.param(
            inputs(x=((99.2, 0, 1),)),
            "row 0, feature 'age': expected 17.0 to 99.1, got 99.2",
            "age=above:1",
            id="a-little-above-in-float32",
        ),
        pytest.param(
            inputs(x=((20.5, 0, 1), (np.nan, 0, 1), (np.inf, 0, 1), (-1, 0, 1))),
            "row 0, feature 'age': expected a whole number, got 20.5",
            "age=missing:1, age=infinite:1, age=below:1, age=fraction:1",
            id="each-of-a-number",
        ),
        pytest.param(
            inputs(x=((20, 0.75, 7),)),
            "row 0, feature 'rate': expected at most 0.5, got 0.75",
            "rate=above:1, plan=unseen:1",
            id="half-open-range",
        ),
        pytest.param(
            inputs(job=(b"clerk", b"p\xff\n")),
            "row 1, feature 'job': expected one of 'clerk', 'smith', got 'p\ufffd\\n'",
            "job=unseen:1",
            id="a-string-that-is-no-text",
        ),
        pytest.param(
            inputs(job=(None,)),
            "row 0, feature 'job': expected a value, got null",
            "job=missing:1",
            id="null",
        ),
        pytest.param(
            inputs(n=(3, 4)), "row 1, feature 'n': expected 3, got 4", "n=constant:1", id="constant"
        ),
        pytest.param(
            inputs(half=(0x4000,)),
            "row 0, feature 'half': expected 0.0 to 1.0, got 2.0",
            "half=above:1",
            id="bfloat16",
        ),
    ],
)
def test_what_is_broken_is_named_with_row_feature_wanted_and_got(given, first, summary):
    found = finding_of(given)
    assert (found.first, found.summary) == (first, summary)


def test_all_breaches_of_a_request_are_counted_wherever_they_stand():
    given = inputs(x=((1, 0, 1), (2, 0, 9)), job=(b"pilot", b"clerk"), n=(3, 4))
    counts = np.zeros(TERMS.words, np.int64)
    TERMS.count(given, counts)
    assert counts.tolist() == finding_of(given).counts.tolist()
    assert counts.sum() == 5


def test_what_is_said_is_bounded_however_much_is_broken():
    columns = tuple(Range(f"{place:02}" + "n" * 500, 0.0, 1.0) for place in range(50))
    signature = Signature((TensorSpec("x", "FP32", (-1, 50)),), (), True)
    terms = Terms(Contract((Tensor("x", "FP32", columns),)), signature)
    found = finding_of([np.full((3, 50), 2, np.float32)], terms)
    assert found.summary.endswith(f"=above:3, and {50 - MAX_NAMED} more")
    assert (len(found.summary), len(found.first)) < (700, 200)


def test_two_columns_of_one_name_are_told_apart():
    twice = (Tensor("x", "FP32", (Range("a"),)), Tensor("y", "FP32", (Range("a"),)))
    specs = tuple(TensorSpec(name, "FP32", (-1, 1)) for name in "xy")
    assert Terms(Contract(twice), Signature(specs, (), True)).names == ["x.a", "y.a"]
