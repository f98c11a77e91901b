"""What was answered is written down: its score, its address, and only if somebody got it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gateway.digests import digest
from gateway.monitor import layout
from gateway.monitor.hold_out import HoldOut
from gateway.monitor.ledger import NOBODY, LedgerWriter
from gateway.monitor.scores import Reading, reading
from gateway.monitor.slot import Slot
from gateway.tensors import Signature, TensorSpec
from kernels import marks, ring
from kernels.performance import BINARY, VALUE
from kernels.shares import chosen, limit


def giving(*outputs, batched=True):
    return Signature((TensorSpec("x", "FP32", (-1, 2)),), outputs, batched)


LABEL = TensorSpec("label", "INT64", (-1,))
PAIR = TensorSpec("probabilities", "FP32", (-1, 2))
FIVE = TensorSpec("probabilities", "FP32", (-1, 5))
ONE = TensorSpec("y", "FP64", (-1, 1))


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        pytest.param(PAIR, Reading("binary", 1, 1, BINARY), id="pair"),
        pytest.param(FIVE, Reading("multiclass", 1, ring.BEST, 0), id="five-classes"),
        pytest.param(ONE, Reading("value", 1, 0, VALUE), id="one-number"),
    ],
)
def test_the_width_of_the_first_float_output_says_what_a_score_is(spec, wanted):
    assert reading(giving(LABEL, spec), "auto", None, 1) == wanted


def test_one_column_is_a_probability_where_that_is_said():
    assert reading(giving(ONE), "binary", "y", 1) == Reading("binary", 0, 0, BINARY)


def test_the_first_of_two_columns_may_be_the_positive_one():
    assert reading(giving(PAIR), "auto", None, 0).column == 0


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 1, 1)])
@pytest.mark.parametrize("datatype", [np.float16, np.float32, np.float64, np.int64])
def test_outputs_of_any_shape_and_precision_become_a_matrix(shape, datatype):
    found = reading(giving(ONE), "value", "y", 1).matrix(
        np.arange(4, dtype=datatype).reshape(shape)
    )
    assert (found.shape, found[:, 0].tolist()) == ((4, 1), [0, 1, 2, 3])


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
    def __init__(self, pool, hold_out=None, share=1.0):
        self.words = np.zeros(ring.words_for(16), np.int64)
        self.slot = Slot(self.words, pool)
        scores = reading(giving(LABEL, PAIR), "auto", None, 1)
        self.writer = LedgerWriter(
            scores, self.slot, 7, 3, hold_out, share=share, wall=lambda: 12.5
        )

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


@pytest.mark.parametrize("as_told", [lambda told: told, lambda told: lambda: told])
def test_who_was_held_out_stands_beside_the_score_and_the_groups(as_told):
    group = marks.grouped(0, 3)[1]
    hold_out = HoldOut(0.5, "approve", seed=2)
    with ThreadPoolExecutor(1) as pool:
        written = Written(pool, hold_out)
        scores = np.full((40, 2), 0.5, np.float32)
        written.writer.record([None, scores], range(20), [2] * 20)
        written.writer.record([None, scores[:1]], [3], [1], as_told(np.array([group])))
    found = written.records[:, ring.MARKS]
    held = [hold_out.holds(one) for one in range(20)]
    # The ring holds sixteen.
    assert ((found[:-1] & marks.HELD_OUT) != 0).tolist() == np.repeat(held, 2)[-15:].tolist()
    assert found[-1] & group == group
    assert bool(found[-1] & marks.HELD_OUT) == held[3]


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


def test_of_a_share_the_rows_of_other_requests_are_counted_and_not_written():
    with ThreadPoolExecutor(1) as pool:
        written = Written(pool, share=0.25)
        scores = np.full((30, 2), 0.5, np.float32)
        written.writer.record([None, scores], [NOBODY, *range(8, 22)], [2] * 15)
        kept = [number for number in range(8, 22) if chosen(number, limit(0.25))]
        assert written.records[::2, ring.SEQUENCE].tolist() == kept
        left = 2 * (14 - len(kept))
        assert written.words[layout.LEDGER_UNSAMPLED] == left
        written.writer.record([None, None], [*range(8, 22)], [2] * 14)
        assert written.words[layout.SKETCH_SKIPPED] == 2 * len(kept)
        assert written.words[layout.LEDGER_UNSAMPLED] == 2 * left


def test_how_each_request_got_its_variant_stands_in_its_rows(written):
    scores = np.full((3, 2), 0.5, np.float32)
    written.writer.record([None, scores], [5, 6], [1, 2], lots=[70, 80])
    written.writer.record([None, scores[:1]], [7], [1])
    assert written.records[:, ring.LOT].tolist() == [70, 80, 80, 0]


def test_what_clients_call_their_requests_is_written_beside_them(written):
    scores = np.full((4, 2), 0.5, np.float32)
    written.writer.record([None, scores], [5, NOBODY, 7], [1, 1, 2], ids=["a", "b", None])
    found = written.records
    assert ring.names(found).tolist() == [False, False, False, True]
    entry = found[3]
    assert entry[[ring.SEQUENCE, ring.SCORE]].tolist() == [5, digest("a")]
    assert ring.upper(entry)[[ring.SERIES_AND_ROW, ring.TOP_AND_EPOCH]].tolist() == [7, 1]
    assert ring.lower(entry)[ring.TOP_AND_EPOCH] == 3
