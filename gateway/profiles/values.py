"""A reference profile as values: named columns, their bins, and how many values fell into each.

Knows columns, frames and profiles. Knows nothing of files, of JSON, of models, or of how a profile
is built. Everything here is immutable; arrays are read-only.

    Profile
    +-- Frame: one matrix (rows, columns), all of one type, that one call counts
        +-- Column: bins and their counts, what fell outside them, moments

Bin j of a numeric column is (e_{j-1}, e_j]: it holds the values for which exactly j edges lie
strictly below. The first and the last bin are open. A category has a bin of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gateway.tensors import Array

FEATURE, OUTPUT = "feature", "output"
NUMERIC, CATEGORY = "numeric", "category"
STRING = "string"

# Equal-mass bins of a numeric column; 10, 12, 15, 20 and 30 nest in them.
BINS = 60
# Bins of the columns of a frame that stand after its first `MAX_DETAILED`.
COARSE_BINS = 10
MAX_DETAILED = 2000

COUNTED_AS: Mapping[str, str] = {
    "BOOL": "int64",
    "INT8": "int64",
    "INT16": "int64",
    "INT32": "int64",
    "INT64": "int64",
    "UINT8": "int64",
    "UINT16": "int64",
    "UINT32": "int64",
    "UINT64": "int64",
    "FP16": "float32",
    "BF16": "float32",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": STRING,
}
"""The type in which values of a datatype are compared; strings are counted as int32 ids."""


@dataclass(frozen=True, slots=True)
class Specials:
    """Values that no bin holds, by what they are.

    `unseen` is not 0 where a column has more categories than are kept: it holds the others.
    """

    nan: int = 0
    null: int = 0
    pos_inf: int = 0
    neg_inf: int = 0
    wrong_type: int = 0
    unseen: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.nan + self.null + self.pos_inf + self.neg_inf + self.wrong_type + self.unseen


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the finite values of a column.

    Attributes:
        min, max: in the column's own type; None where there is no finite value.
        mean: None where there is none, or where the sum passes what a double holds.
        std: divided by n, not n - 1; None as `mean` is, or where the squares pass it.
    """

    min: float | int | None = None
    max: float | int | None = None
    mean: float | None = None
    std: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One named series of values.

    Attributes:
        name: unique within its frame.
        kind: `numeric` or `category`.
        type: `float32`, `float64`, `int64` or `string`: how its values are compared.
        edges: (bins - 1,) strictly ascending, finite, of `type`; empty for categories.
        categories: by bin: numbers ascending, or strings; empty where strings fall into buckets.
        buckets: into how many a string is hashed; 0: it is not.
        counts: (bins,) int64, how many values of the reference each bin holds.
        specials: values in no bin.
        moments: of finite values; all None for strings.
        whole: of floating-point numbers: every finite value is a whole one. Not said of others.
        points: (R,) ascending, of `type`: where it is counted exactly (`points`); mostly none.
        point_counts: (2 R + 1,) int64, reference values at these points and in the gaps beside.
    """

    name: str
    kind: str
    type: str
    edges: Array
    categories: tuple[str | int | bool, ...]
    buckets: int
    counts: Array
    specials: Specials = Specials()
    moments: Moments = Moments()
    whole: bool = False
    points: Array = field(default_factory=lambda: np.empty(0, np.int64))
    point_counts: Array = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        for array in (self.edges, self.counts, self.points, self.point_counts):
            array.flags.writeable = False

    @property
    def bins(self) -> int:
        """How many there are, at least one but for a category column without any."""
        return len(self.counts)

    @property
    def rows(self) -> int:
        """Values of the reference, whatever they are."""
        return int(self.counts.sum()) + self.specials.total

    @property
    def shares(self) -> Array:
        """(bins,) of the values that are in bins; zeros where there are none."""
        counted = int(self.counts.sum())
        return self.counts / max(1, counted)

    @property
    def missing(self) -> int:
        """NaN and null."""
        return self.specials.nan + self.specials.null

    @property
    def centre(self) -> float:
        """What is taken off a value before it is squared; 0 where there is no mean."""
        return self.moments.mean or 0.0

    @property
    def constant(self) -> bool:
        """All its values are one value; false where there are none, or where one is missing."""
        only = self.moments.min is not None and self.moments.min == self.moments.max
        single = only if self.type != STRING else not self.buckets and self.bins == 1
        return single and self.specials.total == 0


IMAGE, VECTOR, PROBABILITIES = "image", "vector", "probabilities"
LENGTH, TEXTS = "length", "texts"
SUMMARIES = (IMAGE, VECTOR, PROBABILITIES, LENGTH, TEXTS)


@dataclass(frozen=True, slots=True)
class Summary:
    """What turns a tensor that is not tabular into columns.

    Attributes:
        kind: one of SUMMARIES, as `summaries` explains them.
        parameters: plain values, by name.
    """

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Columns of one type that are counted together.

    Attributes:
        name: unique within its profile; the tensor's, with `.summary` behind it for a summary.
        tensor: of the model's signature, that the values come from.
        role: `feature` or `output`.
        datatype: of the tensor, as the Open Inference Protocol calls it.
        shape: of the tensor, its first axis counting rows; -1 is variable.
        columns: in the order of the matrix.
        summary: None where the tensor's own values are the columns.
    """

    name: str
    tensor: str
    role: str
    datatype: str
    shape: tuple[int, ...]
    columns: tuple[Column, ...]
    summary: Summary | None = None

    @property
    def detailed(self) -> int:
        """How many columns, from the first, have full detail."""
        return min(len(self.columns), MAX_DETAILED)

    @property
    def type(self) -> str:
        """The one type of its columns."""
        return self.columns[0].type if self.columns else COUNTED_AS[self.datatype]

    @property
    def matrix_type(self) -> np.dtype[Any]:
        """Of the matrix that is counted."""
        return np.dtype(np.int32 if self.type == STRING else self.type)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the scores of the reference meant, by the labels that it had.

    Attributes:
        scores: what a score is, as the configuration says it; of others it says nothing.
        rows: with a score and a label.
        ece: calibration error of scores as they are.
        ece_calibrated: the same of what a table makes of them, on rows that it was not fitted with.
        bins: of equal width from 0 to 1, right-closed.
        upto: how many of them lie up to the end of each step of the table, ascending to `bins`;
            none: scores mean what they say.
        probabilities: of each step.
    """

    scores: Mapping[str, Any]
    rows: int
    ece: float
    ece_calibrated: float
    bins: int
    upto: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A reference: immutable, and named by its digest (`document.digest`).

    Attributes:
        rows: of the reference.
        frames: features first, then outputs.
        bins: that a numeric column may have.
        sampled_rows: that edges and categories were taken from: all, or a uniform sample.
        seed: of that sample.
        self_referenced: made from a model's first live rows, which nobody vouched for.
        calibration: of its scores; None where it had no labels.
    """

    rows: int
    frames: tuple[Frame, ...]
    bins: int = BINS
    sampled_rows: int = 0
    seed: int = 0
    self_referenced: bool = False
    calibration: Calibration | None = None

    def frame(self, name: str) -> Frame | None:
        """The frame of this name, if there is one."""
        return next((frame for frame in self.frames if frame.name == name), None)

    def columns(self, role: str | None = None) -> Iterator[tuple[Frame, Column]]:
        """Every column with its frame; those of one role alone, where it is given."""
        for frame in self.frames:
            if role in (None, frame.role):
                for column in frame.columns:
                    yield frame, column
