"""A data contract as values: of each column of a model's inputs, what it may hold.

Knows columns and tensors. Knows nothing of JSON, of profiles, or of what becomes of a breach.
Everything here is immutable.

    Contract
    +-- Tensor: an input of the model, that the signature demands
        +-- Range or Choice: what a column of it may hold
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.profiles.values import COUNTED_AS

RULES = ("missing", "infinite", "constant", "below", "above", "fraction", "unseen")
"""What a value can break, in the order of `kernels.contracts`; it breaks the first that it can."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a column of numbers may hold.

    Attributes:
        name: unique within its tensor.
        min, max: bounds, included, in the column's own type; None: none. Equal ones: that value
            alone.
        whole: fractions are not taken. Says nothing of integers, which have none.
        missing: NaN and null are taken.
        infinite: infinities are taken.
    """

    name: str
    min: float | int | None = None
    max: float | int | None = None
    whole: bool = False
    missing: bool = True
    infinite: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """What a column of categories may hold.

    Attributes:
        name: unique within its tensor.
        categories: those that are known: numbers ascending, or strings.
        others: any other is taken, too.
        missing: null and NaN are taken.
    """

    name: str
    categories: tuple[str | int | bool, ...] = ()
    others: bool = True
    missing: bool = True


Column = Range | Choice


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input.

    Attributes:
        name: of the model's signature.
        datatype: as the Open Inference Protocol calls it.
        columns: in the order of a row's values.
    """

    name: str
    datatype: str
    columns: tuple[Column, ...]

    @property
    def type(self) -> str:
        """In which its values are compared."""
        return COUNTED_AS[self.datatype]


@dataclass(frozen=True, slots=True)
class Contract:
    """What a model's inputs may hold. Tensors that it does not name may hold anything."""

    tensors: tuple[Tensor, ...]

    def columns(self) -> Iterator[tuple[Tensor, Column]]:
        """Every column with its tensor."""
        for tensor in self.tensors:
            for column in tensor.columns:
                yield tensor, column


def names_of(contract: Contract) -> list[str]:
    """What each column is called: by its own name, or with its tensor's where two have that."""
    found = list(contract.columns())
    many = Counter(column.name for _, column in found)
    return [
        column.name if many[column.name] == 1 else f"{tensor.name}.{column.name}"
        for tensor, column in found
    ]
