"""Which groups each row of a batch is in, by its features and its request's parameters.

Knows columns of inputs, values and bits of `kernels.marks`. Knows nothing of ledgers, of plans, or
of what groups are for.

Groups of a slicing are numbered from 1 on; a row that is in none has 0: its value is another, or
none (NaN). Numbers are compared in the type in which the model takes them: 0.1 is what FP32 makes
of it. Texts are compared with what a value is written as, so that a parameter 1 is the same as "1".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gateway.profiles.plans import values_of
from gateway.profiles.values import COUNTED_AS
from gateway.tensors import DTYPES, Array, Signature, TensorSpec
from kernels.marks import grouped
from kernels.ring import Words

Value = bool | int | float | str
Names = Mapping[str, Sequence[str]]
"""Of columns, by input."""
Numbers = Callable[[Array], Words]
"""Numbers of the groups that a column's values are in."""


class Slicer:
    """Of one deployment. Its slicings stand in the order of their bits."""

    def __init__(self) -> None:
        """Tells no rows apart: see `by_column` and `by_parameter`."""
        self._columns: list[tuple[int, int, int, Numbers]] = []
        self._parameters: list[tuple[str, dict[str, int]]] = []

    def by_column(
        self,
        grouping: int,
        place: tuple[int, int],
        spec: TensorSpec,
        edges: Sequence[float],
        values: Sequence[Sequence[Value]],
    ) -> None:
        """Tells rows apart by a feature.

        Args:
            grouping: which slicing it is, from 0 on.
            place: the input and the column of it (`places_of`).
            spec: of the input.
            edges: of ranges; or none.
            values: of each group, where there are no edges.

        Raises:
            ValueError: the feature has no such values.
        """
        numbers = _ranges(spec, edges) if edges else _categories(spec, values)
        self._columns.append((*place, grouped(grouping, 1)[1], numbers))

    def by_parameter(self, grouping: int, name: str, values: Sequence[Sequence[Value]]) -> None:
        """Tells rows apart by a parameter of their request."""
        unit = grouped(grouping, 1)[1]
        self._parameters.append((name, {one: n * unit for one, n in _by_text(values).items()}))

    def marks(
        self,
        inputs: Sequence[Array],
        rows: Sequence[int],
        parameters: Sequence[Mapping[str, Any]],
    ) -> Words:
        """(rows,) of `kernels.marks`.

        Args:
            inputs: of a batch, in the signature's order.
            rows: of each of its requests, one after the other.
            parameters: the same of theirs.
        """
        found = np.zeros(sum(rows), np.int64)
        for index, column, unit, numbers in self._columns:
            array = inputs[index]
            matrix = array.reshape(len(array), -1)
            if column < matrix.shape[1]:  # of an input whose width nobody declared
                found |= numbers(matrix[:, column]) * unit
        if self._parameters:
            bits = [self._bits(one) for one in parameters]
            if any(bits):
                found |= np.repeat(np.array(bits, np.int64), np.array(rows))
        return found

    def _bits(self, parameters: Mapping[str, Any]) -> int:
        bits = 0
        if parameters:
            for name, table in self._parameters:
                value = parameters.get(name)
                if value is not None:
                    bits |= table.get(value if type(value) is str else _text(value), 0)
        return bits


def places_of(signature: Signature, names: Names) -> dict[str, tuple[int, int]]:
    """Where each column is: its input and its place in a row of that.

    Args:
        signature: of the model.
        names: of its columns; an input whose width is not theirs, or that has none, has those of
            `profiles.plans`: its own where it has one column, else `x[0]`. One of undeclared width
            has those that are named.
    """
    found: dict[str, tuple[int, int]] = {}
    for index, spec in enumerate(signature.inputs):
        inner, given = spec.shape[1:], names.get(spec.name, ())
        if inner == (-1,):
            width = len(given)
        elif -1 in inner:
            continue
        else:
            width = int(np.prod(inner, dtype=np.int64))
        if len(given) != width:
            given = (spec.name,) if width == 1 else [f"{spec.name}[{n}]" for n in range(width)]
        for column, name in enumerate(given):
            found.setdefault(name, (index, column))
    return found


def _ranges(spec: TensorSpec, edges: Sequence[float]) -> Numbers:
    if spec.datatype == "BYTES":
        raise ValueError("it holds texts, which have no ranges")
    ends = np.array(edges, np.float64)

    def numbers(column: Array) -> Words:
        values = values_of(spec.datatype, column)
        found: Words = np.searchsorted(ends, values, side="right") + 1
        if values.dtype.kind == "f":
            found[np.isnan(values)] = 0
        return found

    return numbers


def _categories(spec: TensorSpec, values: Sequence[Sequence[Value]]) -> Numbers:
    if spec.datatype == "BYTES":
        table = {text.encode(): number for text, number in _by_text(values).items()}
        return lambda column: np.array([table.get(one, 0) for one in column.tolist()], np.int64)
    pairs = sorted((_number(one, spec), n) for n, some in enumerate(values, 1) for one in some)
    known = np.array([value for value, _ in pairs])
    groups = np.array([number for _, number in pairs], np.int64)
    last = len(known) - 1

    def numbers(column: Array) -> Words:
        given = values_of(spec.datatype, column)
        places = np.minimum(np.searchsorted(known, given), last)
        found: Words = np.where(known[places] == given, groups[places], 0)
        return found

    return numbers


def _number(value: Value, spec: TensorSpec) -> Any:
    """As a column holds it."""
    if isinstance(value, str):
        raise ValueError(f"it holds numbers, and no '{value}'")
    if COUNTED_AS[spec.datatype] == "int64":
        if not (float(value).is_integer() and -(2**63) <= value < 2**63):
            raise ValueError(f"it holds whole numbers, and no {value}")
        return np.int64(value)
    if spec.datatype == "BF16":
        return np.float32(value)
    with np.errstate(over="ignore"):
        given = np.array([value], np.float64).astype(DTYPES[spec.datatype])
    return values_of(spec.datatype, given)[0]


def _by_text(values: Sequence[Sequence[Value]]) -> dict[str, int]:
    return {_text(one): number for number, some in enumerate(values, 1) for one in some}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # An integer of thousands of digits is nobody's group, and writing it would be refused.
    return "" if isinstance(value, int) and abs(value) >= 1 << 64 else str(value)
