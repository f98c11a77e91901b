"""Live rows fall into the bins that the reference's rows did."""

from __future__ import annotations

import numpy as np

from gateway.profiles.builder import Builder
from gateway.profiles.layout import layouts_of
from gateway.profiles.plans import matrix_of, plan_frames
from gateway.profiles.strings import ids_of
from gateway.tensors import Signature, TensorSpec
from kernels import columns

RNG = np.random.default_rng(2)
ROWS = 900
TENSORS = {
    "x": ("FP32", np.where(RNG.random((ROWS, 3)) < 0.1, np.nan, RNG.normal(size=(ROWS, 3)))),
    "n": ("INT64", RNG.integers(-(2**60), 2**60, (ROWS, 2))),
    "flag": ("BOOL", RNG.random((ROWS, 1)) < 0.3),
    "void": ("FP64", np.full((ROWS, 1), np.nan)),
    "job": ("BYTES", RNG.choice([b"clerk", b"smith", b""], (ROWS, 1)).astype(object)),
    "embedding": ("FP32", RNG.normal(size=(ROWS, 300))),
}
ARRAYS = {
    name: array.astype(np.float32) if kind == "FP32" else array
    for name, (kind, array) in TENSORS.items()
}
SPECS = tuple(TensorSpec(n, kind, (-1, a.shape[1])) for n, (kind, a) in TENSORS.items())


def test_counting_the_reference_again_gives_its_counts():
    signature = Signature(SPECS, (), batched=True)
    with Builder(plan_frames(signature, ARRAYS, {}, {})) as builder:
        builder.add(ROWS, ARRAYS, {})
        profile = builder.build()
    layouts = layouts_of(profile.frames)
    block = np.zeros(layouts[-1].block_words, np.int64)
    for start in range(0, ROWS, 128):
        for frame, layout in zip(profile.frames, layouts, strict=True):
            matrix = matrix_of(frame, ARRAYS[frame.tensor][start : start + 128])
            if frame.type == "string":
                ids = ids_of(frame.columns[0])
                rows = np.array([[ids[value]] for (value,) in matrix], np.int32)
                columns.count_ids(rows, block, layout.words, 1, 0)
            else:
                columns.count_rows(matrix, block, layout.words, 1, 0)
    assert block[columns.ROWS] == ROWS
    for frame, layout in zip(profile.frames, layouts, strict=True):
        for place, column in enumerate(frame.columns):
            words = block[layout.offsets[place] :]
            assert (words[columns.COLUMN_HEAD :][: column.bins] == column.counts).all()
            assert words[columns.NAN] == column.specials.nan
            assert (words[columns.BELOW], words[columns.ABOVE]) == (0, 0)
