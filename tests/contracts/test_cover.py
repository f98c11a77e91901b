"""A contract is covered where it takes whatever the bins and ranges of the profile hold."""

from __future__ import annotations

import pytest

from gateway.contracts.cover import covers
from gateway.contracts.inference import infer
from gateway.contracts.values import Choice, Contract, Range, Tensor
from gateway.profiles.values import FEATURE, Frame, Moments, Profile
from tests.profiles.builders import classes, numeric, small, words


def of(column, datatype="FP32") -> Profile:
    return Profile(6, (Frame("x", "x", FEATURE, datatype, (-1, 1), (column,)),))


def contract(column, datatype="FP32") -> Contract:
    return Contract((Tensor("x", datatype, (column,)),))


def test_what_is_inferred_is_covered_and_so_is_nothing_at_all():
    assert covers(infer(small()), small())
    assert covers(Contract(()), small())


@pytest.mark.parametrize(
    ("column", "covered"),
    [
        pytest.param(Range("a", 0, 1), True, id="the-range-itself"),
        pytest.param(Range("a"), True, id="any"),
        pytest.param(Range("a", 0.1, 1), False, id="narrower-below"),
        pytest.param(Range("a", 0, 0.9), False, id="narrower-above"),
        pytest.param(Range("a", whole=True), False, id="fractions"),
        pytest.param(Choice("a", (0, 1), False), False, id="categories-of-numbers"),
        pytest.param(Choice("a", others=True), True, id="any-category"),
    ],
)
def test_a_range_is_covered_by_a_wider_one(column, covered):
    assert covers(contract(column), of(numeric())) == covered


def test_of_a_column_without_numbers_everything_is_in_a_bin():
    nothing = numeric(edges=(), counts=(0,))
    empty = type(nothing)(
        *("a", "numeric", "float32", nothing.edges, (), 0, nothing.counts),
        moments=Moments(),
    )
    assert not covers(contract(Range("a", 0, 1)), of(empty))
    assert covers(contract(Range("a")), of(empty))


@pytest.mark.parametrize(
    ("column", "profile", "covered"),
    [
        pytest.param(Choice("j", ("clerk", "smith", "x"), False), words(), True, id="more"),
        pytest.param(Choice("j", ("clerk",), False), words(), False, id="fewer"),
        pytest.param(Choice("j", ("clerk",), False), words(buckets=2), False, id="hashed"),
    ],
)
def test_categories_are_covered_by_more_of_them(column, profile, covered):
    assert covers(contract(column, "BYTES"), of(profile, "BYTES")) == covered


def test_a_range_over_categories_of_numbers_is_not_covered():
    assert not covers(contract(Range("n", 0, 9), "INT64"), of(classes(), "INT64"))


def test_other_columns_or_tensors_than_the_profile_has_are_not_covered():
    two = Contract((Tensor("x", "FP32", (Range("a"), Range("b"))),))
    assert not covers(two, of(numeric()))
    assert not covers(Contract((Tensor("z", "FP32", (Range("a"),)),)), of(numeric()))
