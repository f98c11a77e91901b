"""One call counts probabilities and their summary to the same words as a call for each does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.columns import STRIP, count_rows
from kernels.layouts import Categories, ColumnPlan, Numeric, compile_layout
from kernels.probabilities import count_classified, count_probabilities
from kernels.summaries import PROBABILITY_COLUMNS, probability_summary

CLASSES = 3
EDGES = np.linspace(0.1, 0.9, 9, dtype=np.float32)
SHARE = Numeric(EDGES, 0.0, 1.0, 0.3)
FIGURES: list[ColumnPlan] = [SHARE, SHARE, Categories(np.arange(CLASSES, dtype=np.float32)), SHARE]
OF_CLASSES = compile_layout([SHARE] * CLASSES, np.float32)
OF_SUMMARY = compile_layout(FIGURES, np.float32, OF_CLASSES.block_words, counts_rows=False)
WORDS = OF_SUMMARY.block_words


@given(
    st.lists(st.integers(0, 2 * STRIP + 1), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_one_call_counts_what_two_do(batches, seed, odd):
    rng = np.random.default_rng(seed)
    one, two = np.zeros(WORDS, np.int64), np.zeros(WORDS, np.int64)
    for tick, rows in enumerate(batches):
        scores = rng.dirichlet(np.full(CLASSES, 0.4), rows).astype(np.float32)
        if odd and rows:
            scores[rng.integers(rows)] = rng.choice([np.nan, -0.5, np.inf], CLASSES)
        together = (OF_CLASSES.words, OF_SUMMARY.words)
        unusual = count_probabilities(scores, one, *together, tick, 1_000 + tick)
        apart = count_rows(scores, two, OF_CLASSES.words, tick, 1_000 + tick)
        figures = probability_summary(scores)
        apart += count_rows(figures, two, OF_SUMMARY.words, tick, 1_000 + tick)
        assert unusual == apart
    assert one.tobytes() == two.tobytes()


ASKED = compile_layout([SHARE] * 2, np.float32)
SAID = compile_layout([SHARE] * CLASSES, np.float32, ASKED.block_words, counts_rows=False)
ABOUT = compile_layout(FIGURES, np.float32, SAID.block_words, counts_rows=False)
THREE = (ASKED.words, SAID.words, ABOUT.words)


@given(st.integers(0, 2 * STRIP), st.integers(0, 2**32 - 1))
def test_one_call_counts_what_was_asked_and_what_was_said(many, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0.5, 1.0, (many, 2)).astype(np.float32)
    scores = rng.dirichlet(np.full(CLASSES, 0.4), many).astype(np.float32)
    one, two = np.zeros(ABOUT.block_words, np.int64), np.zeros(ABOUT.block_words, np.int64)
    unusual = count_classified(rows, scores, one, *THREE, 3, 7)
    assert unusual == count_rows(rows, two, ASKED.words, 3, 7)
    count_probabilities(scores, two, SAID.words, ABOUT.words, 3, 7)
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(("features", "classes"), [(3, CLASSES), (2, CLASSES + 1)])
def test_what_is_not_all_there_is_not_counted_by_half(features, classes):
    block = np.zeros(ABOUT.block_words, np.int64)
    rows, scores = np.ones((2, features), np.float32), np.ones((2, classes), np.float32)
    with pytest.raises(ValueError, match=r"a layout|the layout"):
        count_classified(rows, scores, block, *THREE, 0, 0)
    assert not block.any()


@pytest.mark.parametrize(
    ("classes", "words", "layouts"),
    [
        pytest.param(CLASSES - 1, WORDS, (OF_CLASSES, OF_SUMMARY), id="other-classes"),
        pytest.param(CLASSES, WORDS - 1, (OF_CLASSES, OF_SUMMARY), id="a-smaller-block"),
        pytest.param(CLASSES, WORDS, (OF_SUMMARY, OF_CLASSES), id="the-wrong-way-round"),
        pytest.param(
            CLASSES, WORDS, (compile_layout([SHARE] * CLASSES, np.float64), OF_SUMMARY), id="type"
        ),
        pytest.param(len(PROBABILITY_COLUMNS), WORDS, (OF_SUMMARY, OF_CLASSES), id="swapped"),
    ],
)
def test_layouts_of_something_else_are_refused(classes, words, layouts):
    block = np.zeros(words, np.int64)
    rows = np.zeros((2, classes), np.float32)
    with pytest.raises(ValueError, match="count_probabilities"):
        count_probabilities(rows, block, layouts[0].words, layouts[1].words, 0, 0)
    assert not block.any()
