"""How live values are counted into the bins of a profile: layouts of one block, and matrices.

Knows frames, the kernels' layouts, and arrays. Knows nothing of who counts, or of where blocks lie.

All frames of a profile share one block of counts. The first frame counts rows and batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gateway.profiles import summaries
from gateway.profiles.layout import layouts_of
from gateway.profiles.plans import values_of
from gateway.profiles.strings import bucket_of, ids_of
from gateway.profiles.values import COUNTED_AS, FEATURE, PROBABILITIES, STRING, Frame, Profile
from gateway.tensors import Array, Signature
from kernels import columns
from kernels.columns import NULL_ID, UNSEEN_ID
from kernels.layouts import Layout
from kernels.probabilities import count_probabilities

Matrix = Callable[[Array], Array]

SKIPPED_WORD = 4
"""Of a slot: rows that whoever counts could not count. The kernels leave it alone."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A frame of a profile, or two of one tensor, as they are counted by one call.

    Attributes:
        frame: of the profile; of two the one that holds the tensor's own values.
        layouts: of each the columns in the profile's block.
        output: its tensor is one of the model's outputs.
        index: of the tensor in the model's signature.
        matrix: makes (rows, columns) of a tensor's rows, as `count` takes it.
        count: the kernel for its type.
    """

    frame: Frame
    layouts: tuple[Layout, ...]
    output: bool
    index: int
    matrix: Matrix
    count: Callable[..., int]


def block_words(profile: Profile) -> int:
    """Words of one slot of the profile's block."""
    made = layouts_of(profile.frames)
    return made[-1].block_words if made else columns.SLOT_HEAD


def counted(profile: Profile, signature: Signature) -> tuple[Counted, ...]:
    """The frames of a profile that fits the signature (`fit.check_fit`), ready to be counted."""
    inputs = {spec.name: place for place, spec in enumerate(signature.inputs)}
    outputs = {spec.name: place for place, spec in enumerate(signature.outputs)}
    made = []
    for frame, layout in zip(profile.frames, layouts_of(profile.frames), strict=True):
        output = frame.role != FEATURE
        index = (outputs if output else inputs)[frame.tensor]
        count = columns.count_ids if frame.type == STRING else columns.count_rows
        made.append(Counted(frame, (layout,), output, index, matrix_of(frame), count))
    return tuple(_together(made))


def _together(made: Sequence[Counted]) -> Iterator[Counted]:
    """Probabilities and their summary by one call, wherever they are a tensor as it is."""
    of_tensor: dict[int, Counted] = {}
    for one in made:
        frame = one.frame
        if one.output and frame.summary is None and frame.datatype == "FP32":
            of_tensor[one.index] = one
    joined = {
        id(of_tensor[one.index]): one
        for one in made
        if one.output and one.index in of_tensor and _is_of_probabilities(one.frame)
    }
    summaries_of = set(map(id, joined.values()))
    for one in made:
        if other := joined.get(id(one)):
            both = (*one.layouts, *other.layouts)
            yield replace(one, layouts=both, count=count_probabilities)
        elif id(one) not in summaries_of:
            yield one


def is_classified(frames: Sequence[Counted]) -> bool:
    """Whether all there is, is one table of float32 and float32 probabilities of each row."""
    if len(frames) != 2:
        return False
    asked, said = frames
    table = not asked.output and asked.frame.datatype == "FP32" and asked.frame.summary is None
    return table and said.output and said.count is count_probabilities


def _is_of_probabilities(frame: Frame) -> bool:
    return frame.summary is not None and frame.summary.kind == PROBABILITIES


def matrix_of(frame: Frame) -> Matrix:
    """What makes (rows, columns) of a tensor's rows: C-contiguous, of `frame.matrix_type`."""
    if frame.summary is not None:
        summary, datatype = frame.summary, frame.datatype
        return lambda array: summaries.columns(summary, datatype, array)
    if frame.type == STRING:
        return Ids([(ids_of(column), column.buckets) for column in frame.columns])
    return Numbers(frame.datatype, len(frame.columns))


class Numbers:
    """A tensor whose values are the columns: a `Matrix`."""

    def __init__(self, datatype: str, width: int) -> None:
        self._datatype = datatype
        self._type = np.dtype(COUNTED_AS[datatype])
        self._width = width

    def __call__(self, array: Array) -> Array:
        """(rows, columns) of the type in which the datatype is compared."""
        # Nearly always it is what the kernel wants already; asking costs less than converting.
        if array.ndim == 2 and array.dtype is self._type and array.flags.c_contiguous:
            return array
        values = np.ascontiguousarray(values_of(self._datatype, array))
        return values.reshape(len(array), self._width)


class Ids:
    """A tensor of strings: each becomes the id of its category, or of its bucket. A `Matrix`.

    Args:
        known: the ids of each column's categories, and into how many buckets it is hashed (0: it
            is not).
    """

    def __init__(self, known: Sequence[tuple[Mapping[bytes, int], int]]) -> None:
        self._buckets = [buckets for _, buckets in known]
        self._ids: list[Mapping[Any, int]] = [{**ids, None: NULL_ID} for ids, _ in known]

    def __call__(self, array: Array) -> Array:
        """(rows, columns) int32."""
        values = array.reshape(len(array), len(self._ids))
        made = np.empty(values.shape, np.int32)
        for place, (ids, buckets) in enumerate(zip(self._ids, self._buckets, strict=True)):
            column = values[:, place].tolist()
            if buckets:
                found = [NULL_ID if v is None else bucket_of(_bytes(v), buckets) for v in column]
            else:
                found = [ids.get(v if v is None else _bytes(v), UNSEEN_ID) for v in column]
            made[:, place] = found
        return made


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode(errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the words of a profile's block stand, for whoever reads it.

    All counts of a block make one vector: ROWS, BATCHES and SKIPPED, then, column by column, the
    special counts (kernels.columns.NAN to UNSEEN) and the bins.

    Attributes:
        counts: (words,) places in a slot of each word of the vector.
        specials: (columns,) where in the vector each column's special counts begin.
        bins: (columns,) how many counters, which follow them, each has: its bins, or where it has
            points, one for each of these and each gap beside.
        moments: (2, columns, kernels.columns.SET_WORDS) places of the sets of even and odd ticks.
        ticks: (2, columns) places of the ticks that those are of.
    """

    counts: Array
    specials: Array
    bins: Array
    moments: Array
    ticks: Array

    @property
    def words(self) -> int:
        """Of the vector."""
        return len(self.counts)

    @property
    def columns(self) -> int:
        """Columns of all frames, in their order."""
        return len(self.bins)


ROWS, BATCHES, SKIPPED = range(3)
"""Words of a vector of counts."""
_SPECIALS = columns.UNSEEN + 1


def places(profile: Profile) -> Places:
    """Where things stand in the block of a profile."""
    made = layouts_of(profile.frames)
    offsets = np.concatenate([layout.offsets for layout in made] or [np.zeros(0, np.int64)])
    bins = np.concatenate([layout.bins for layout in made] or [np.zeros(0, np.int64)])
    counts = [np.array([columns.ROWS, columns.BATCHES, SKIPPED_WORD])]
    for offset, many in zip(offsets, bins, strict=True):
        counts.append(offset + np.arange(_SPECIALS))
        counts.append(offset + columns.COLUMN_HEAD + np.arange(many))
    lengths = _SPECIALS + bins
    firsts = offsets + columns.MOMENTS
    within = np.arange(columns.SET_WORDS)
    sets = [firsts[:, None] + parity * columns.SET_WORDS + within for parity in (0, 1)]
    ticks = [offsets + columns.SET_TICK + parity for parity in (0, 1)]
    return Places(
        np.concatenate(counts),
        len(counts[0]) + np.cumsum(lengths) - lengths,
        bins,
        np.stack(sets),
        np.stack(ticks),
    )
