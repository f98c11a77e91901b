"""Which columns of a table make up which input of a model.

Knows headers and shapes. Knows nothing of files. Columns become the one input in their order, or
several inputs by their names.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import numpy as np

from gateway.errors import InvalidTensor, WrongInputs
from gateway.rows.batch import Batch, Source
from gateway.rows.cells import in_shape
from gateway.rows.tables import Chunk, Table, few
from gateway.tensors import Array, TensorSpec

Places = list[tuple[TensorSpec, list[int]]]


def batches(
    source: Source, table: Table, specs: Sequence[TensorSpec], size: int, limit: int | None
) -> Iterator[Batch]:
    """A table's rows as batches of a model's inputs.

    Raises:
        WrongInputs: names or widths do not fit the model.
        InvalidTensor: a value is not of the model's datatype.
    """
    plan = _plan(source, table, specs)
    names = {
        spec.name: [table.header[place] for place in places]
        for spec, places in plan
        if not table.lists & {table.header[place] for place in places}
    }
    for chunk in table.chunks(size, limit):
        inputs, nulls = {}, {}
        for spec, places in plan:
            array, empty = chunk.values(places, spec)
            inputs[spec.name] = in_shape(array, spec)
            if empty is not None and spec.name in names:
                nulls[spec.name] = empty
        labels = _labels(chunk, table.header.index(source.label)) if source.label else None
        yield Batch(chunk.rows, inputs, names, nulls, labels)


def _labels(chunk: Chunk, place: int) -> Array:
    """A column as numbers where it holds numbers or booleans, else as texts."""
    for datatype in ("FP64", "BOOL"):
        with contextlib.suppress(InvalidTensor):
            found, _ = chunk.values([place], TensorSpec("label", datatype, (-1, 1)))
            return found.reshape(-1).astype(np.float64)
    found, _ = chunk.values([place], TensorSpec("label", "BYTES", (-1, 1)))
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in found.reshape(-1)]
    return np.array(texts, object)


def _plan(source: Source, table: Table, specs: Sequence[TensorSpec]) -> Places:
    """Which columns, by their places in the header, make up each input."""
    header = list(table.header)
    _check_header(source, header)
    features = source.features if set(source.features) <= set(header) else ()
    chosen = source.columns or features or header
    names = [name for name in chosen if name not in (*source.drop, source.label)]
    if len(specs) == 1 and names != [specs[0].name] and specs[0].name not in table.lists:
        _check_width(source.path, names, specs[0])
        return [(specs[0], [header.index(name) for name in names])]
    wanted = {spec.name for spec in specs}
    if set(names) != wanted:
        extra = [name for name in names if name not in wanted]
        missing = [spec.name for spec in specs if spec.name not in names]
        hint = f"; --drop {','.join(extra)} leaves the rest" if extra and not missing else ""
        raise WrongInputs(
            f"{source.path}: expected columns {few([s.name for s in specs])}, got {few(names)}"
            f"{hint}"
        )
    for spec in specs:
        if spec.shape[:1] != (-1,) or spec.name not in table.lists:
            _check_width(source.path, [spec.name], spec)
    return [(spec, [header.index(spec.name)]) for spec in specs]


def _check_header(source: Source, header: list[str]) -> None:
    named = (*source.columns, *source.drop, *([source.label] if source.label else ()))
    unknown = [name for name in named if name not in header]
    if unknown:
        raise WrongInputs(f"{source.path}: no column {few(unknown)}; it has {few(header)}")
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise WrongInputs(f"{source.path}: column {repeated[0]} is there more than once")


def _check_width(path: str, names: Sequence[str], spec: TensorSpec) -> None:
    inner = spec.shape[1:]
    if spec.shape[:1] != (-1,) or (len(inner) > 1 and -1 in inner):
        raise WrongInputs(
            f"input '{spec.name}' of shape {list(spec.shape)} is not made of columns: "
            "bring arrays, as .npy, .npz or .json"
        )
    width = math.prod(inner)
    if width >= 0 and len(names) != width:  # below: any number
        more = names[width:]
        hint = (
            f"; name them with --columns, or leave some out: --drop {','.join(more)}"
            if more
            else ""
        )
        raise WrongInputs(
            f"{path}: input '{spec.name}' takes {width} columns, got {len(names)}: "
            f"{few(names)}{hint}"
        )
