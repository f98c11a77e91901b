"""Counts the values of each group's rows into a block of its own, by the bins of the profile.

Knows groups of rows, and sketches. Knows nothing of requests otherwise, of plans or of ledgers.

The rows of a group are gathered and counted like a batch of their own. That is done on the loop or
on a thread as the whole batch is; nothing that goes wrong here reaches a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gateway.monitor.sketch import THREAD_VALUES, Arrays, Sketch, gathered, values_in
from gateway.monitor.slices import Slicer
from gateway.tensors import Array
from kernels.marks import GROUP_BITS, MAX_GROUPS
from kernels.ring import Words


class Marking:
    """The marks of a batch's rows, found when first asked for."""

    __slots__ = ("_arguments", "_found", "_slicer")

    def __init__(
        self,
        slicer: Slicer,
        inputs: Sequence[Array],
        rows: Sequence[int],
        parameters: Sequence[Mapping[str, Any]],
    ) -> None:
        """Arguments as `Slicer.marks` has them."""
        self._slicer = slicer
        self._arguments = inputs, rows, parameters
        self._found: Words | None = None

    def __call__(self) -> Words:
        """(rows,) of `kernels.marks`."""
        found = self._found
        if found is None:  # two threads may find the same
            found = self._found = self._slicer.marks(*self._arguments)
        return found


class Part(NamedTuple):
    """One group whose values are counted.

    Attributes:
        grouping, group: which slicing, from 0 on, and which of its groups.
        sketch: counts them.
    """

    grouping: int
    group: int
    sketch: Sketch

    def rows(self, marking: Marking) -> Words:
        """Places of its rows in a batch."""
        return np.flatnonzero(_groups(marking(), self.grouping) == self.group)


class Parts:
    """How the rows of one deployment are told apart, and the groups whose values are counted."""

    def __init__(self, slicer: Slicer, counted: Sequence[Part] = ()) -> None:
        """Begins to count."""
        self._slicer = slicer
        self._counted = counted
        self._by_slicing: dict[int, dict[int, Sketch]] = {}
        for grouping, group, sketch in counted:
            self._by_slicing.setdefault(grouping, {})[group] = sketch

    def close(self) -> None:
        """Counts no more."""
        for part in self._counted:
            part.sketch.close()

    def marking(
        self,
        inputs: Sequence[Array],
        rows: Sequence[int],
        parameters: Sequence[Mapping[str, Any]],
    ) -> Marking:
        """What finds the groups of these rows; arguments as `Slicer.marks` has them."""
        return Marking(self._slicer, inputs, rows, parameters)

    def count(self, inputs: Arrays, outputs: Arrays, rows: int, marking: Marking) -> None:
        """Takes a batch; arguments as `monitor.sketch.Taker.count` has them."""
        if values_in(inputs, outputs) <= THREAD_VALUES:
            try:
                marks = marking()
            except Exception:  # each part finds that out for itself, and counts it
                self._count_one_by_one(inputs, outputs, rows, marking)
                return
            for grouping, sketches in self._by_slicing.items():
                _count(sketches, inputs, outputs, _groups(marks, grouping))
        else:
            self._count_one_by_one(inputs, outputs, rows, marking)

    def _count_one_by_one(
        self, inputs: Arrays, outputs: Arrays, rows: int, marking: Marking
    ) -> None:
        """Has each part find its own rows where it counts them, which may be on a thread."""
        for part in self._counted:
            part.sketch.count_part(partial(part.rows, marking), inputs, outputs, rows)


def _count(sketches: Mapping[int, Sketch], inputs: Arrays, outputs: Arrays, groups: Words) -> None:
    """Counts a small batch into the groups that its rows are in, which are gathered once."""
    rows = len(groups)
    if rows == 1 or (groups == groups[0]).all():
        sketch = sketches.get(int(groups[0]))
        if sketch is not None:
            sketch.count(inputs, outputs, rows)
        return
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    inputs, outputs = gathered(inputs, order), gathered(outputs, order)
    start = 0
    for end in (*(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), rows):
        sketch = sketches.get(int(ordered[start]))
        if sketch is not None:
            sketch.count(_cut(inputs, start, end), _cut(outputs, start, end), end - start)
        start = end


def _groups(marks: Words, grouping: int) -> Words:
    """Numbers of the groups of one slicing."""
    return (marks >> grouping * GROUP_BITS) & MAX_GROUPS


def _cut(arrays: Arrays, start: int, end: int) -> Arrays:
    return [None if array is None else array[start:end] for array in arrays]
