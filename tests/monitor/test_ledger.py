"""What was answered is written down: its score, its address, and only if somebody got it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gateway.monitor import layout
from gateway.monitor.ledger import NOBODY, LedgerWriter
from gateway.monitor.scores import reading
from gateway.monitor.sketch import Slot
from gateway.tensors import Signature, TensorSpec
from kernels import ring
from kernels.performance import BINARY, VALUE


def giving(*outputs, batched=True):
    return Signature((TensorSpec("x", "FP32", (-1, 2)),), outputs, batched)


LABEL = TensorSpec("label", "INT64", (-1,))
PAIR = TensorSpec("probabilities", "FP32", (-1, 2))
FIVE = TensorSpec("probabilities", "FP32", (-1, 5))
ONE = TensorSpec("y", "FP64", (-1, 1))


@pytest.mark.parametrize(
    ("spec", "kind", "output", "scores", "tops"),
    [
        pytest.param(PAIR, "binary", [[0.25, 0.75]], [0.75], [BINARY], id="pair"),
        pytest.param(
            FIVE, "multiclass", [[0.1, 0.2, 0.5, 0.1, 0.1]], [0.5], [2], id="five-classes"
        ),
        pytest.param(ONE, "value", [[3.5]], [3.5], [VALUE], id="one-number"),
    ],
)
def test_the_width_of_the_first_float_output_says_what_a_score_is(spec, kind, output, scores, tops):
    found = reading(giving(LABEL, spec), "auto", None, 1)
    told = found.scores(np.array(output, np.float32))
    assert (found.kind, found.index) == (kind, 1)
    assert ([one.tolist() for one in told]) == [scores, tops]


def test_one_column_is_a_probability_where_that_is_said():
    found = reading(giving(ONE), "binary", "y", 1)
    assert found.scores(np.array([[0.25]]))[1].tolist() == [BINARY]


def test_the_first_of_two_columns_may_be_the_positive_one():
    found = reading(giving(PAIR), "auto", None, 0)
    assert found.scores(np.array([[0.25, 0.75]]))[0].tolist() == [0.25]


@pytest.mark.parametrize(
    ("signature", "kind", "output", "told"),
    [
        (giving(LABEL), "auto", None, "no output holds"),
        (giving(LABEL, PAIR), "auto", "other", "no output 'other'"),
        (giving(FIVE), "binary", None, "does not hold scores of binary"),
        (giving(TensorSpec("y", "FP32", (-1, -1))), "auto", None, "varies"),
        (giving(TensorSpec("s", "BYTES", (-1, 1))), "value", "s", "expected numbers"),
        (giving(ONE, batched=False), "auto", None, "do not count rows"),
    ],
)
def test_outputs_that_hold_no_such_scores_are_refused_by_name(signature, kind, output, told):
    with pytest.raises(ValueError, match=told):
        reading(signature, kind, output, 1)


class Written:
    def __init__(self, pool):
        self.words = np.zeros(ring.words_for(16), np.int64)
        self.slot = Slot(self.words, pool)
        scores = reading(giving(LABEL, PAIR), "auto", None, 1)
        self.writer = LedgerWriter(scores, self.slot, 7, 3, lambda: 12.5)

    @property
    def records(self):
        return ring.read(self.words).records


@pytest.fixture
def written():
    with ThreadPoolExecutor(1) as pool:
        yield Written(pool)


def test_a_batch_leaves_a_record_for_each_row_that_was_answered(written):
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], np.float32)
    written.writer.record([None, scores], [NOBODY, 40], [1, 2])
    found = written.records
    assert found[:, ring.SEQUENCE].tolist() == [40, 40]
    assert ring.lower(found[:, ring.SERIES_AND_ROW]).tolist() == [0, 1]
    assert ring.upper(found[:, ring.SERIES_AND_ROW]).tolist() == [7, 7]
    assert ring.lower(found[:, ring.TOP_AND_EPOCH]).tolist() == [3, 3]
    assert found[:, ring.TIME_MS].tolist() == [12_500, 12_500]
    told = found[:, ring.SCORE].copy().view(np.float64)
    assert told == pytest.approx([0.4, 0.8], rel=1e-7)


def test_rows_whose_score_nobody_asked_for_are_counted(written):
    written.writer.record([np.zeros(3, np.int64), None], [1], [3])
    assert len(written.records) == 0
    assert written.words[layout.SKETCH_SKIPPED] == 3


def test_a_batch_that_does_not_fit_harms_nobody_and_is_counted(written, caplog):
    for _ in range(2):
        written.writer.record([None, np.zeros((2, 0), np.float32)], [1], [2])
    assert written.words[layout.SKETCH_SKIPPED] == 4
    assert len(caplog.records) == 1


def test_control_keeps_the_ring_as_long_as_somebody_writes(written):
    assert written.words[layout.SKETCH_HELD] == 1
    written.writer.close()
    assert written.words[layout.SKETCH_HELD] == 0
