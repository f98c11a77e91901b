"""Holds the inputs of a request, or of a batch, against a contract.

Knows contracts, the kernels' words and arrays. Knows nothing of requests, policies, or of where
breaches are counted. Nothing here keeps anything: it may run on any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.contracts.values import RULES, Choice, Column, Contract, Tensor, names_of
from gateway.contracts.words import MAX_TEXT, number, wanted
from gateway.profiles.live import Ids, Matrix, Numbers
from gateway.profiles.values import STRING
from gateway.tensors import Array, Signature
from kernels import contracts, terms
from kernels.columns import Words

Inputs = Sequence[Array | None]

# Of what is said to a client, which sent the names and values itself, or may not know them.
MAX_NAMED: Final = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """What inputs break.

    Attributes:
        counts: (columns x RULES,) breaches.
        first: the first of them, with its row, feature, what was wanted and what was got.
        summary: features with the rules they break and how often, `age=above:3`; the first few.
    """

    counts: Words
    first: str
    summary: str


class Terms:
    """A contract that fits a model (`fit.check_fit`), ready to be held against its inputs.

    Attributes:
        names: of its columns, in the order of counts.
    """

    def __init__(self, contract: Contract, signature: Signature) -> None:
        """Compiles it.

        Raises:
            ValueError: a bound or category that the kernels cannot compare with.
        """
        places = {spec.name: place for place, spec in enumerate(signature.inputs)}
        self.names = names_of(contract)
        self._tensors: list[_Tensor] = []
        first = 0
        for tensor in contract.tensors:
            self._tensors.append(_Tensor(tensor, places[tensor.name], first))
            first += len(tensor.columns)

    @property
    def words(self) -> int:
        """Of the counts."""
        return len(self.names) * contracts.RULES

    def examine(self, inputs: Inputs) -> Finding | None:
        """What the inputs of one request break; None where that is nothing.

        Args:
            inputs: in the signature's order, as decoded.
        """
        for tensor in self._tensors:
            matrix = tensor.matrix_of(inputs)
            breach = contracts.first_breach(matrix, tensor.words)
            if breach != contracts.KEPT:
                return self._finding(inputs, tensor, matrix, int(breach))
        return None

    def count(self, inputs: Inputs, counts: Words) -> None:
        """Adds all breaches.

        Args:
            inputs: in the signature's order.
            counts: (words,) that are added to.
        """
        for tensor in self._tensors:
            contracts.count_breaches(
                tensor.matrix_of(inputs), tensor.words, counts[tensor.start : tensor.stop]
            )

    def _finding(self, inputs: Inputs, tensor: _Tensor, matrix: Array, breach: int) -> Finding:
        counts = np.zeros(self.words, np.int64)
        self.count(inputs, counts)
        place, rule = divmod(breach, contracts.RULES)
        row, column = divmod(place, len(tensor.columns))
        name = self.names[tensor.start // contracts.RULES + column][:MAX_TEXT]
        said = wanted(tensor.columns[column], rule)
        got = _got(tensor, inputs, matrix, row, column)
        first = f"row {row}, feature '{name}': expected {said}, got {got}"
        return Finding(counts, first, self._summary(counts))

    def _summary(self, counts: Words) -> str:
        broken = np.flatnonzero(counts).tolist()
        said = []
        for place in broken[:MAX_NAMED]:
            column, rule = divmod(place, contracts.RULES)
            said.append(f"{self.names[column][:MAX_TEXT]}={RULES[rule]}:{counts[place]}")
        if len(broken) > MAX_NAMED:
            said.append(f"and {len(broken) - MAX_NAMED} more")
        return ", ".join(said)


class _Tensor:
    """One tensor's terms, compiled."""

    def __init__(self, tensor: Tensor, index: int, first: int) -> None:
        self.columns, self.type = tensor.columns, tensor.type
        self._index = index
        self.start = first * contracts.RULES
        self.stop = self.start + len(tensor.columns) * contracts.RULES
        strings = tensor.type == STRING
        compiled = [_compiled(column, tensor.type) for column in tensor.columns]
        self.words = terms.compile_contract(compiled, np.int32 if strings else tensor.type)
        self._matrix: Matrix
        if strings:
            self._matrix = Ids([(_ids(column), 0) for column in tensor.columns])
        else:
            self._matrix = Numbers(tensor.datatype, len(tensor.columns))

    def array(self, inputs: Inputs) -> Array:
        """Of the inputs, its own."""
        found = inputs[self._index]
        assert found is not None, "every input of a request is there"
        return found

    def matrix_of(self, inputs: Inputs) -> Array:
        """(rows, columns) as the kernels take it."""
        return self._matrix(self.array(inputs))


def _ids(column: Column) -> dict[bytes, int]:
    assert isinstance(column, Choice), "strings are categories"
    return {str(name).encode(): place for place, name in enumerate(column.categories)}


def _compiled(column: Column, type_: str) -> terms.ColumnTerms:
    flags = contracts.MAY_BE_MISSING if column.missing else 0
    if isinstance(column, Choice):
        flags |= contracts.OTHERS if column.others else 0
        if type_ == STRING:
            return terms.Listed(flags=flags)
        return terms.Listed(np.array(column.categories, type_), flags)
    flags |= contracts.MAY_BE_INFINITE if column.infinite else 0
    flags |= contracts.WHOLE if column.whole and type_ != "int64" else 0
    return terms.Bounded(column.min, column.max, flags)


def _got(tensor: _Tensor, inputs: Inputs, matrix: Array, row: int, column: int) -> str:
    if tensor.type != STRING:
        return number(matrix[row, column])
    value = tensor.array(inputs).reshape(len(matrix), -1)[row, column]
    if isinstance(value, bytes):
        value = value[: 4 * MAX_TEXT].decode(errors="replace")
    return "null" if value is None else repr(value[:MAX_TEXT])
