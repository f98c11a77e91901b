"""How much writing an answer takes, before it is written.

Knows signatures and what was asked for. Knows nothing of threads: whoever has an event loop to
keep short decides what is too much for it.

A weight is the length of JSON text, roughly, or what takes as long to write: a number takes some
20 ns and 12 bytes, so that 100 bytes are about 170 ns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from gateway.tensors import Array, Signature
from gateway.wire.oip.choice import Choice

NUMBER = 12
# Besides its length: each one is an object of its own, looked at by Python.
STRING = 48
MANY_STRINGS = 8192
# Copying is that much faster than printing.
BINARY_BYTES = 32
# Classes are ranked row by row, and named by Python: what a row takes, a value in it, and a name.
RANKING = 2048
RANKED = 24
CLASS = 320


def light_rows(signature: Signature, limit: int) -> int:
    """The most rows whose answers weigh at most `limit` whatever is asked; 0: it depends."""
    shapes = [spec.shape[1:] if signature.batched else spec.shape for spec in signature.outputs]
    varied = any(spec.datatype == "BYTES" for spec in signature.outputs)
    if varied or any(dim < 0 for shape in shapes for dim in shape):
        return 0
    return limit // max(sum(_classes(1, width, width) for width in map(prod, shapes)), 1)


def most(outputs: Sequence[Array | None], batched: bool) -> int:
    """The most that the answers to one run weigh, whatever is asked."""
    total = 0
    for array in outputs:
        if array is not None:
            total += _strings(array) if array.dtype.hasobject else _ranked(array, batched)
    return total


def weight(outputs: Sequence[Array | None], choices: Iterable[Choice], batched: bool) -> int:
    """What all answers to one run weigh, as if all were of the dearest form that was asked for.

    Args:
        outputs: of the run, in the signature's order; None where nobody asked.
        choices: what its riders asked for.
        batched: the outputs' first axis counts rows.
    """
    printed: set[int] = set()
    ranked: dict[int, int] = {}
    for choice in choices:
        for wish in choice.wanted:
            if wish.classes:
                ranked[wish.index] = max(wish.classes, ranked.get(wish.index, 0))
            elif not wish.binary:
                printed.add(wish.index)
    total = 0
    for index, array in enumerate(outputs):
        if array is None:
            continue
        if array.dtype.hasobject:
            total += _strings(array)
        elif index in ranked:
            total += _ranked(array, batched, ranked[index])
        elif index in printed:
            total += NUMBER * array.size
        else:
            total += array.nbytes // BINARY_BYTES
    return total


def _ranked(array: Array, batched: bool, classes: int | None = None) -> int:
    rows = len(array) if batched else 1
    width = array.size // max(rows, 1)
    return _classes(rows, width, width if classes is None else min(classes, width))


def _classes(rows: int, width: int, kept: int) -> int:
    return rows * (RANKING + RANKED * width + CLASS * kept)


def _strings(array: Array) -> int:
    total = STRING * array.size
    # Of many it is clear already, and adding their lengths up would take as long as it is to save.
    return total if array.size > MANY_STRINGS else total + sum(map(len, array.ravel().tolist()))
