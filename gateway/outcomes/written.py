"""Writes outcomes into records that were found, and numbers beside them, file by file.

Knows records, places and files. Knows nothing of what an outcome means. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from gateway.outcomes.segment import Segment
from kernels.ledger import (
    ACCEPTED,
    DUPLICATE,
    FILE,
    PLACE,
    RECORD_WORDS,
    Reals,
    Words,
    write_outcomes,
)
from kernels.metrics import write_numbers as kernel

_HALF: Final = 32
_LOW: Final = 0xFFFFFFFF


def write_labels(
    found: Words,
    files: list[Segment],
    outcomes: Reals,
    at_ms: Words,
    first: Callable[[Words], None],
) -> Words:
    """Writes what came of predictions; of several of one record the last stands.

    Args:
        found: (outcomes, FOUND_WORDS) their records.
        files: what FILE counts.
        outcomes: (outcomes,).
        at_ms: (outcomes,) when each was known.
        first: told of records that had none before, once they are written.

    Returns:
        (outcomes,) what became of each.

    Raises:
        StoreFailed: the disk takes them no more.
    """
    keys, places, which = np.unique(_keys(found), return_index=True, return_inverse=True)
    records = np.ascontiguousarray(found[places, :RECORD_WORDS])
    became = np.empty(len(found), np.int64)
    write_outcomes(records, records.view(np.float64), which, outcomes, at_ms, became)
    changed, fresh = np.unique(which[became != DUPLICATE]), np.zeros(len(keys), np.bool_)
    fresh[which[became == ACCEPTED]] = True
    for file, part in _by_file(keys[changed]):
        some = changed[part]
        files[file].put(keys[some] & _LOW, records[some])
        if fresh[some].any():
            first(records[some[fresh[some]]])
    return became


def write_numbers(found: Words, files: list[Segment], metric: int, numbers: Reals) -> Words:
    """Writes numbers of a metric; of several of one record the last stands.

    Args:
        found: (numbers, FOUND_WORDS) their records.
        files: what FILE counts.
        metric: of which they are.
        numbers: (numbers,).

    Returns:
        (numbers,) what became of each.

    Raises:
        StoreFailed: the disk takes them no more.
    """
    keys, which = np.unique(_keys(found), return_inverse=True)
    stood = np.full(len(keys), np.nan)
    for file, part in _by_file(keys):
        columns = files[file].columns
        if metric in columns:
            stood[part] = columns.values(metric)[keys[part] & _LOW]
    became = np.empty(len(found), np.int64)
    kernel(stood, which, numbers, became)
    changed = np.unique(which[became != DUPLICATE])
    for file, part in _by_file(keys[changed]):
        some, columns = changed[part], files[file].columns
        columns.add(metric)
        columns.put(metric, keys[some] & _LOW, stood[some])
    return became


def _keys(found: Words) -> Words:
    keys: Words = found[:, FILE] << _HALF | found[:, PLACE]
    return keys


def _by_file(keys: Words) -> Iterator[tuple[int, slice]]:
    """Each file, and which of ascending keys are in it."""
    files = keys >> _HALF
    firsts = np.flatnonzero(np.diff(files, prepend=-1)).tolist()
    ends = (np.flatnonzero(np.diff(files, append=-1)) + 1).tolist()
    for first, end in zip(firsts, ends, strict=True):
        yield int(files[first]), slice(first, end)
