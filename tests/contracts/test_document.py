"""A contract's JSON: what is written comes back, and what is wrong is named."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from gateway.contracts import document
from gateway.contracts.fit import check_fit
from gateway.contracts.values import Choice, Contract, Range, Tensor
from gateway.errors import ContractInvalid
from gateway.tensors import Signature, TensorSpec

CONTRACT = Contract(
    (
        Tensor(
            "x",
            "FP32",
            (
                Range("age", 17.0, float(np.float32(99.1)), True, False, False),
                Range("income"),
                Choice("plan", (0, 1, 2), False, False),
            ),
        ),
        Tensor("job", "BYTES", (Choice("job", ("clerk", "smith"), False, True),)),
    )
)
SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("job", "BYTES", (-1, 1))), (), True
)


def edited(path, value):
    """The document with something else at a path."""
    whole = orjson.loads(document.canonical(CONTRACT))
    place = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return orjson.dumps(whole)


def test_what_is_written_comes_back_and_has_the_same_digest():
    for text in (document.text(CONTRACT), document.canonical(CONTRACT)):
        assert document.read(text) == CONTRACT
    assert document.digest(document.read(document.text(CONTRACT))) == document.digest(CONTRACT)
    assert '"max":99.1,' in document.text(CONTRACT)


def test_a_text_of_no_tensor_is_json():
    assert document.read(document.text(Contract(()))) == Contract(())


AGE = ("tensors", 0, "columns", 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(b"{", "contract: not JSON", id="json"),
        pytest.param(b"[]", "contract: document: expected an object", id="list"),
        pytest.param(
            edited(["schema"], 2), "newer release: expected 1 or lower, got 2", id="newer"
        ),
        pytest.param(edited(["more"], 1), "contract: more: no such field", id="unknown"),
        pytest.param(
            edited([*AGE, "minimum"], 1), "columns\\[0\\].minimum: no such", id="misspelt"
        ),
        pytest.param(edited([*AGE, "min"], "17"), "min: expected a finite number", id="text"),
        pytest.param(edited([*AGE, "min"], 100), "max: expected at least min, 100.0", id="crossed"),
        pytest.param(edited([*AGE, "max"], 1e39), "a finite number of float32", id="too-large"),
        pytest.param(edited([*AGE, "whole"], 1), "expected true or false, got 1", id="flag"),
        pytest.param(
            edited([*AGE[:3], 2, "categories"], [2, 1]), "each above the last", id="order"
        ),
        pytest.param(
            edited([*AGE[:3], 2, "categories"], [2**24 + 1]), "exact in float32", id="inexact"
        ),
        pytest.param(edited([*AGE[:3], 1, "name"], "age"), "each name once, got 'age'", id="twice"),
        pytest.param(edited(["tensors", 0, "datatype"], "FP8"), "expected one of", id="datatype"),
        pytest.param(
            edited(["tensors", 1, "columns", 0], {"name": "job", "missing": True}),
            "categories: missing",
            id="strings-without-categories",
        ),
    ],
)
def test_what_is_wrong_is_named(given, message):
    with pytest.raises(ContractInvalid, match=message):
        document.read(given)


def test_a_whole_column_of_64_bits_takes_no_fraction_for_a_bound():
    one = {"name": "n", "min": 0.5, "max": None}
    one |= {"whole": True, "missing": False, "infinite": False}
    tensor = {"name": "n", "datatype": "INT64", "columns": [one]}
    with pytest.raises(ContractInvalid, match=r"min: expected a whole number of 64 bits, got 0\.5"):
        document.read(orjson.dumps({"schema": 1, "tensors": [tensor]}))


def test_a_contract_of_the_model_fits():
    check_fit(CONTRACT, SIGNATURE)
    check_fit(Contract(CONTRACT.tensors[1:]), SIGNATURE)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        pytest.param(Tensor("z", "FP32", ()), "input 'z': the model's inputs are 'x', 'job'"),
        pytest.param(Tensor("x", "FP64", ()), "'x': expected datatype FP32, got FP64"),
        pytest.param(
            Tensor("x", "FP32", (Range("a"), Range("b"))), "'x': expected 3 columns, got 2"
        ),
        pytest.param(
            Tensor("x", "FP32", tuple(Range(name) for name in "abcd")),
            "'x', column 'd': expected 3 columns, got 4",
        ),
    ],
)
def test_a_contract_of_another_model_is_refused_with_what_differs(tensor, message):
    with pytest.raises(ContractInvalid, match=message):
        check_fit(Contract((tensor,)), SIGNATURE)
