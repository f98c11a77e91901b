"""Values are counted as the profile's own rows were, however few calls that takes."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.profiles.builder import Builder
from gateway.profiles.live import block_words, counted, places
from gateway.profiles.plans import plan_frames
from gateway.tensors import DTYPES, Signature, TensorSpec

ROWS = 400


def made_of(datatype: str, classes: int):
    """A signature with one output of probabilities, its rows, and their profile."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(ROWS, 2)).astype(np.float32)
    scores = rng.dirichlet(np.full(classes, 0.5), ROWS).astype(DTYPES[datatype])
    signature = Signature(
        (TensorSpec("X", "FP32", (-1, 2)),),
        (TensorSpec("probabilities", datatype, (-1, classes)),),
        True,
    )
    inputs, outputs = {"X": x}, {"probabilities": scores}
    with Builder(plan_frames(signature, inputs, outputs, {})) as builder:
        builder.add(ROWS, inputs, outputs)
        return signature, x, scores, builder.build()


@pytest.mark.parametrize(
    ("datatype", "calls"), [("FP32", 2), ("FP64", 3), ("FP16", 3)], ids=lambda one: str(one)
)
def test_probabilities_and_their_summary_are_counted_together_where_nothing_is_converted(
    datatype, calls
):
    signature, x, scores, profile = made_of(datatype, 3)
    frames = counted(profile, signature)
    assert len(profile.frames) == 3
    assert len(frames) == calls
    block = np.zeros(block_words(profile), np.int64)
    for start in range(0, ROWS, 37):
        part = slice(start, start + 37)
        for one in frames:
            tensor = (scores if one.output else x)[part]
            words = [layout.words for layout in one.layouts]
            one.count(one.matrix(tensor), block, *words, 0, 0)
    found = places(profile)
    vector = block[found.counts]
    for place, (_, column) in enumerate(profile.columns()):
        first = found.specials[place] + 8
        assert vector[first : first + found.bins[place]].tolist() == column.counts.tolist()
