"""Finds the rows about which two versions differ most, and tells of them.

Knows how unlike rows are, and their arrays. Knows nothing of how that was found, or of who is told.

A row is told of if it differs more than all but a few of those that were: a thousand rows a second
that all differ bring a few messages, not a thousand. Told is what came in and what both said, as
JSON has it; what may be seen of it is for the receiver to say.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.monitor.pairs import DISAGREE, Unlikeness
from gateway.monitor.sketch import Arrays
from gateway.tensors import Array, Signature, TensorSpec

KEPT: Final = 32
MAX_AT_ONCE: Final = 4
"""Of one batch."""
MAX_VALUES: Final = 4096
"""Of a row's inputs, or of one of its answers: larger rows are told of without them."""
LEAST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Row:
    """Where a row is.

    Attributes:
        inputs, outputs: that it came in and was answered with.
        row: its place in them.
        shadow: the other version's outputs.
        place: its place in those.
    """

    inputs: Arrays
    outputs: Arrays
    row: int
    shadow: Arrays
    place: int


class Different:
    """Of one version and one of its shadows, in one worker."""

    def __init__(
        self,
        model: str,
        answered: int,
        shadow: int,
        signature: Signature,
        tell: Callable[[dict[str, Any]], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begins.

        Args:
            model: its name.
            answered: the version that did.
            shadow: the other version.
            signature: of both.
            tell: takes a message.
            wall: seconds since 1970.
        """
        self._about = {"type": "different", "model": model, "answered": answered, "shadow": shadow}
        self._signature = signature
        self._tell = tell
        self._wall = wall
        self.begin_anew()

    def begin_anew(self) -> None:
        """Whoever was told has forgotten it."""
        self._told = [LEAST] * KEPT  # a heap of how unlike the rows were that were told of

    def choose(self, unlikeness: Unlikeness) -> list[int]:
        """Places of the rows to tell of, the most different first."""
        least = self._told[0]
        if unlikeness.max() <= least:
            return []
        order = np.argsort(-unlikeness, kind="stable")[:MAX_AT_ONCE]
        return [int(place) for place in order if unlikeness[place] > least]

    def tell(self, row: Row, sequence: int, number: int, unlikeness: float) -> None:
        """Tells of a row.

        Args:
            row: where it is.
            sequence: of its request.
            number: of the row in that.
            unlikeness: how different the answers are.
        """
        heapq.heappushpop(self._told, unlikeness)
        signature = self._signature
        self._tell(
            {
                **self._about,
                "sequence": sequence,
                "row": number,
                "at": self._wall(),
                "unlikeness": unlikeness,
                "agree": unlikeness <= DISAGREE,
                "inputs": self._plain(signature.inputs, row.inputs, row.row),
                "said": self._plain(signature.outputs, row.outputs, row.row),
                "shadow_said": self._plain(signature.outputs, row.shadow, row.place),
            }
        )

    def _plain(
        self, specs: Sequence[TensorSpec], arrays: Arrays, row: int
    ) -> dict[str, Any] | None:
        found, values = {}, 0
        for spec, array in zip(specs, arrays, strict=True):
            if array is not None:
                own = array[row] if self._signature.batched else array
                values += own.size
                if values > MAX_VALUES:
                    return None
                found[spec.name] = _values(own)
        return found


def _values(array: Array) -> Any:
    if array.dtype == object:
        return [_text(value) for value in np.ravel(array).tolist()]
    return np.ravel(array).tolist()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
