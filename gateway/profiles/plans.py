"""How tensors become frames: which columns there will be, and the matrix that is counted.

Knows signatures, names and summaries. Knows nothing of bins or of files. What is decided here is
written into the profile, so that live traffic is turned into columns in the same way.

    a few numbers a row          a column each
    many, without names          a summary: `vector`
    three or four axes of which
      one may be colour          a summary: `image`
    strings                      a column each of categories or buckets, and one of lengths
    outputs that add up to 1     a column each, and a summary: `probabilities`
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from gateway.errors import ProfileInvalid
from gateway.profiles import summaries
from gateway.profiles.names import MAX_NAME
from gateway.profiles.values import (
    COUNTED_AS,
    FEATURE,
    LENGTH,
    OUTPUT,
    PROBABILITIES,
    STRING,
    TEXTS,
    Frame,
    Summary,
)
from gateway.tensors import Array, Signature, TensorSpec

# Beyond this many numbers a row, and without names for them, a tensor is taken for an embedding:
# one dimension of it says nothing to anybody.
MAX_UNNAMED = 256


@dataclass(frozen=True, slots=True)
class FramePlan:
    """A frame that is to be built.

    Attributes:
        name, tensor, role, datatype, shape, summary: as `values.Frame` has them.
        columns: their names, in the order of the matrix.
        categories: columns whose numbers are names, however many of them there are.
        labels: whole numbers are names where they are few: what a classifier answers.
    """

    name: str
    tensor: str
    role: str
    datatype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...]
    summary: Summary | None = None
    categories: frozenset[str] = field(default_factory=frozenset)
    labels: bool = False

    @property
    def type(self) -> str:
        """In which values are compared; `string` where they are."""
        if self.summary is None:
            return COUNTED_AS[self.datatype]
        return summaries.type_of(self.summary)

    def matrix(self, array: Array) -> Array:
        """The columns of a tensor's rows.

        Args:
            array: the tensor, its first axis counting rows.

        Returns:
            (rows, columns) C-contiguous of `type`; of objects for strings.
        """
        return matrix_of(self, array)


def matrix_of(frame: FramePlan | Frame, array: Array) -> Array:
    """The columns of a tensor's rows, for a frame to be or one that is; see `FramePlan.matrix`."""
    if frame.summary is not None:
        return summaries.columns(frame.summary, frame.datatype, array)
    return values_of(frame.datatype, array).reshape(len(array), len(frame.columns))


def values_of(datatype: str, array: Array) -> Array:
    """A tensor's values in the type in which they are compared.

    UINT64 above the largest INT64 counts as that: bins are compared in 64 signed bits.
    """
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if datatype == "UINT64":
        return np.minimum(array, np.uint64(2**63 - 1)).astype(np.int64)
    wanted = COUNTED_AS[datatype]
    return np.ascontiguousarray(array if wanted == STRING else array.astype(wanted, copy=False))


def plan_frames(
    signature: Signature,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    names: Mapping[str, Sequence[str]],
    categories: Collection[str] = (),
) -> list[FramePlan]:
    """The frames of a model, features first.

    Args:
        signature: what it takes and gives.
        inputs: some rows of each input that is to be watched; they show between which values an
            image lies.
        outputs: the same of outputs; they show which are probabilities.
        names: of columns, by input, where somebody gave any.
        categories: names of columns whose whole numbers are names.

    Raises:
        ProfileInvalid: a name is too long.
    """
    for name in [name for some in names.values() for name in some if len(name) > MAX_NAME]:
        raise ProfileInvalid(
            f"column '{name[:40]}...': expected a name of at most {MAX_NAME} characters, got"
            f" {len(name)}"
        )
    plans: list[FramePlan] = []
    for role, specs, arrays in (
        (FEATURE, signature.inputs, inputs),
        (OUTPUT, signature.outputs, outputs),
    ):
        for spec in specs:
            if spec.name in arrays:
                given = tuple(names.get(spec.name, ())) if role == FEATURE else ()
                plans += _of_tensor(spec, role, arrays[spec.name], given, categories)
    return plans


def _of_tensor(
    spec: TensorSpec,
    role: str,
    array: Array,
    names: tuple[str, ...],
    categories: Collection[str],
) -> Iterator[FramePlan]:
    width = math.prod(spec.shape[1:])
    fixed = -1 not in spec.shape[1:]
    # What nobody declared, the data's own header does.
    if not fixed and names and array.ndim == 2 and array.shape[1] == len(names):
        width, fixed = len(names), True
    whole = spec.datatype not in ("FP16", "BF16", "FP32", "FP64", "BYTES")
    image = summaries.image_of(spec, array)
    if image is not None:
        yield _summarised(spec, role, image, array)
    elif fixed and (width <= MAX_UNNAMED or len(names) == width):
        columns = names if len(names) == width else column_names(spec, role, width)
        chosen = frozenset(columns) if spec.datatype == "BOOL" else frozenset(categories)
        yield FramePlan(
            spec.name,
            spec.name,
            role,
            spec.datatype,
            spec.shape,
            columns,
            categories=chosen & frozenset(columns),
            labels=role == OUTPUT and whole,
        )
        if spec.datatype == "BYTES":
            summary = Summary(LENGTH)
            yield _named(spec, role, summary, tuple(f"{name}.bytes" for name in columns), "bytes")
    elif spec.datatype == "BYTES":
        yield _summarised(spec, role, Summary(TEXTS), array)
    else:
        yield _summarised(spec, role, summaries.vector(), array)
    if role == OUTPUT and summaries.are_probabilities(spec, array):
        yield _summarised(spec, role, Summary(PROBABILITIES), array)


def _summarised(spec: TensorSpec, role: str, summary: Summary, array: Array) -> FramePlan:
    columns = tuple(f"{spec.name}.{name}" for name in summaries.names(summary))
    return _named(spec, role, summary, columns, summary.kind)


def _named(
    spec: TensorSpec, role: str, summary: Summary, columns: tuple[str, ...], suffix: str
) -> FramePlan:
    return FramePlan(
        f"{spec.name}.{suffix}",
        spec.name,
        role,
        spec.datatype,
        spec.shape,
        columns,
        summary,
        frozenset({f"{spec.name}.{name}" for name in summaries.CATEGORIES}),
    )


def column_names(spec: TensorSpec, role: str, width: int) -> tuple[str, ...]:
    """`x[3]`, `x[1,2]`, `y[yes]`; the tensor's own where it has one column."""
    if width == 1:
        return (spec.name,)
    if role == OUTPUT and len(spec.labels) == width == len(set(spec.labels)):
        return tuple(f"{spec.name}[{label}]" for label in spec.labels)
    lengths = spec.shape[1:] if -1 not in spec.shape[1:] else (width,)
    places = product(*(range(length) for length in lengths))
    return tuple(f"{spec.name}[{','.join(map(str, place))}]" for place in places)
