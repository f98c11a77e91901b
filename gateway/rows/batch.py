"""What is read, and what comes of it.

Knows names and arrays. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.tensors import Array


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from.

    Attributes:
        path: a file; `-` is standard input.
        format: one of `source.FORMATS`.
        columns: only these columns of a table, in this order; none: all.
        drop: columns of a table that are left out.
        features: what the model itself calls its columns: a table that has all of them gives these
            alone, in this order, unless `columns` says otherwise.
        label: a column of a table with the true answers, which is no input; empty: none.
    """

    path: str
    format: str
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows.

    Attributes:
        rows: how many.
        inputs: (rows, ...) each, by name.
        names: of the columns that make up an input, where a table named them.
        nulls: by input that was made of columns of numbers: (columns,) cells that were empty, and
            are NaN in the input. Where it is not given, none was.
        labels: (rows,) the true answers: float64, NaN where a cell was empty, or texts; None where
            the source names no such column.
    """

    rows: int
    inputs: Mapping[str, Array]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    nulls: Mapping[str, Array] = field(default_factory=dict)
    labels: Array | None = None
