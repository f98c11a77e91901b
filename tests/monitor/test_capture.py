"""Inputs and outputs are kept as the configuration says, of those that were answered alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gateway.capture import ring
from gateway.capture.frames import ALARM, FULL, SAMPLE, SHADOW, UNSURE, Frame, decode
from gateway.capture.ring import Ring, words_for
from gateway.capture.schema import schema_of
from gateway.errors import InvalidParameter
from gateway.monitor import layout
from gateway.monitor.capture import CaptureWriter, Choice
from gateway.monitor.ledger import NOBODY
from gateway.monitor.scores import reading
from gateway.monitor.slot import Slot
from gateway.profiles.plans import column_names
from gateway.tensors import Signature, TensorSpec

PAIR = Signature(
    (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("tokens", "INT64", (-1, -1))),
    (TensorSpec("p", "FP32", (-1, 2)),),
    batched=True,
)
NAMES = {"x": ["age", "pay", "at"]}
SCORES = {"kind": "auto", "output": None, "positive": 1}


def schema(signature=PAIR, **hidden):
    return schema_of("m", 1, signature, NAMES, column_names, SCORES, **hidden)


class Written:
    """A ring, and who writes into it."""

    def __init__(self, pool, choice, size=1 << 16, signature=PAIR, **hidden):
        self.words = np.zeros(words_for(size), np.int64)
        self.schema = schema(signature, **hidden)
        scores = reading(signature, "auto", None, 1) if signature.batched else None
        self.writer = CaptureWriter(
            self.schema, signature, scores, choice, Slot(self.words, pool), 4, lambda: 2.5, seed=1
        )

    def frames(self) -> list[Frame]:
        datatypes = [part.datatype for part in self.schema.parts]
        return [decode(frame, datatypes) for frame in Ring(self.words).read().frames]

    def answer(self, *confident, sequences=(7,)):
        """A batch of requests of a row each; how sure the model was of each."""
        p = np.array([[1 - c, c] for c in confident], np.float32)
        rows = len(confident)
        tensors = [
            np.arange(3 * rows, dtype=np.float32).reshape(rows, 3),
            np.zeros((rows, 5), "i8"),
        ]
        counts = [1] * rows if len(sequences) == rows else [rows]
        self.writer.record(tensors, [p], sequences, counts)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as made:
        yield made


def test_a_whole_batch_is_kept_as_it_was(pool):
    written = Written(pool, Choice(True))
    written.answer(0.9, 0.2)
    (frame,) = written.frames()
    assert (frame.at_ms, frame.epoch, frame.sequences.tolist()) == (2500, 4, [7, 7])
    assert frame.why.tolist() == [FULL] * 2
    x, tokens, p = frame.arrays
    assert x is not None
    assert tokens is not None
    assert p is not None
    assert (x.tolist(), tokens.shape) == ([[0, 1, 2], [3, 4, 5]], (2, 5))
    assert p[:, 1] == pytest.approx([0.9, 0.2])


@pytest.mark.parametrize("choice", [Choice(True), Choice(False, share=1.0)])
def test_rows_that_nobody_got_an_answer_to_are_left_out(pool, choice):
    written = Written(pool, choice)
    written.answer(0.9, 0.2, 0.4, sequences=(5, NOBODY, 6))
    assert written.frames()[0].sequences.tolist() == [5, 6]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        pytest.param(Choice(False, below=0.8), [1, 2, 4], id="unsure"),
        pytest.param(Choice(False, between=(0.25, 0.55)), [2, 4], id="score"),
        pytest.param(Choice(False, share=1.0), [0, 1, 2, 3, 4], id="sample"),
        pytest.param(Choice(False, alarms=True), [], id="no-alarm"),
    ],
)
def test_rules_take_rows_by_what_was_answered(pool, choice, wanted):
    written = Written(pool, choice)
    written.answer(0.9, 0.7, 0.3, 0.1, np.nan)
    assert [row for frame in written.frames() for row in frame.rows.tolist()] == wanted


def test_while_an_alarm_fires_all_rows_are_kept_and_each_says_why(pool):
    written = Written(pool, Choice(False, below=0.8, alarms=True))
    written.words[ring.ALARM] = 1
    written.answer(0.9, 0.6)
    assert written.frames()[0].why.tolist() == [ALARM, ALARM | UNSURE]


def test_a_sample_is_of_rows_and_as_large_as_it_was_asked_for(pool):
    written = Written(pool, Choice(False, share=0.1), size=1 << 20)
    for _ in range(40):
        written.answer(*[0.5] * 100)
    found = written.frames()
    assert sum(len(frame.rows) for frame in found) == pytest.approx(400, abs=80)
    assert {why for frame in found for why in frame.why.tolist()} == {SAMPLE}


def test_what_is_masked_never_comes_into_the_ring(pool):
    written = Written(pool, Choice(True), mask=["pay", "tokens"])
    written.answer(0.9)
    x, tokens, _ = written.frames()[0].arrays
    assert x is not None
    assert tokens is not None
    assert (x.tolist(), tokens.shape) == ([[0, 0, 2]], (1, 0))


def test_a_name_that_is_no_columns_hides_nothing_and_is_a_fault():
    with pytest.raises(InvalidParameter, match="'agee'"):
        schema(mask=["agee"])
    with pytest.raises(InvalidParameter, match="'tokens' is a list"):
        schema(hashes=["tokens"])


def test_columns_that_are_called_as_ours_are_get_longer_names():
    assert schema().parts[0].columns == ("age", "pay", "x.at")


def test_a_batch_that_is_larger_than_a_frame_may_be_is_kept_in_parts(pool):
    written = Written(pool, Choice(True), size=1 << 14)
    written.answer(*[0.5] * 100)
    found = written.frames()
    assert len(found) > 1
    assert [row for frame in found for row in frame.rows.tolist()] == list(range(100))


def test_rows_that_find_no_room_are_counted(pool):
    written = Written(pool, Choice(True), size=1 << 12)
    for _ in range(50):
        written.answer(0.5, 0.5)
    kept = sum(len(frame.rows) for frame in written.frames())
    assert 0 < kept < 100
    assert written.words[ring.ROWS] == kept
    assert written.words[ring.DROPPED] == 100 - kept


def test_what_goes_wrong_is_counted_and_told_once(pool, caplog):
    written = Written(pool, Choice(True))
    for _ in range(2):
        written.writer.record([None], [None], [1], [3])
    assert written.words[layout.SKETCH_SKIPPED] == 6
    assert len(caplog.records) == 1


def test_a_model_without_rows_is_kept_a_request_at_a_time(pool):
    signature = Signature(
        (TensorSpec("x", "FP32", (3,)),), (TensorSpec("y", "FP32", (2,)),), batched=False
    )
    written = Written(pool, Choice(True), signature=signature)
    written.writer.record([np.ones(3, np.float32)], [np.zeros(2, np.float32)], [3], [1])
    x, y = written.frames()[0].arrays
    assert x is not None
    assert y is not None
    assert (x.shape, y.shape) == ((1, 3), (1, 2))
    assert written.schema.parts[1].columns == ("y[0]", "y[1]")


def test_control_keeps_the_ring_as_long_as_somebody_writes(pool):
    written = Written(pool, Choice(True))
    assert written.words[layout.SKETCH_HELD] == 1
    written.writer.close()
    assert written.words[layout.SKETCH_HELD] == 0


def test_rows_of_which_a_shadow_says_otherwise_are_kept_later_and_none_twice(pool):
    written = Written(pool, Choice(False, below=0.8, shadows=True))
    written.answer(0.9, 0.7, 0.95, sequences=(5, 6, 7))  # the middle one is kept at once
    tensors = [np.zeros((3, 3), np.float32), np.zeros((3, 5), "i8")]
    p = np.full((3, 2), 0.5, np.float32)
    for _ in range(2):
        written.writer.keep(tensors, [p], [5, 6, 7], [1, 1, 1], None, np.array([1, 2]))
    first, second = written.frames()
    assert (first.sequences.tolist(), first.why.tolist()) == ([6], [UNSURE])
    assert (second.sequences.tolist(), second.why.tolist()) == ([7], [SHADOW])


def test_which_row_of_a_request_it_is_is_known_later_too(pool):
    written = Written(pool, Choice(False, shadows=True))
    tensors = [np.zeros((5, 3), np.float32), np.zeros((5, 5), "i8")]
    p = np.full((5, 2), 0.5, np.float32)
    written.writer.keep(tensors, [p], [5, 6], [2, 3], None, np.array([1, 4]))
    written.writer.keep(tensors, [p], [5, 6], [2, 3], None, np.array([1, 3, 4]))
    found = [(frame.sequences.tolist(), frame.rows.tolist()) for frame in written.frames()]
    assert found == [([5, 6], [1, 2]), ([6], [1])]
